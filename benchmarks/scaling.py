"""How a step of `keras_snn`, and the first one, grow with the timesteps."""

import contextlib
import dataclasses

from benchmarks import measure, report, stats

STEPS = (20, 200)
FIRST_STEPS = (20, 500)


def run(case, backends, plan, say, steps=STEPS, first_steps=FIRST_STEPS):
    """Measures `keras_snn` at several lengths.

    Args:
        case: A `workloads.Case`; its timesteps are replaced.
        backends: Keras backends.
        plan: The `measure.Plan`.
        say: What is told of the progress.
        steps: Lengths at which warm steps are timed, in turns.
        first_steps: Lengths at which the first step is timed.

    Returns:
        A dictionary for the results file.
    """
    result = {"case": case.to_json(), "contenders": {}, "failed": {}}
    # The long ones end before the others start: they need the memory.
    alone = [(length,) for length in first_steps if length not in steps]
    names = [f"keras_snn/{backend}" for backend in backends]
    result["check"] = measure.check(case, names, plan, result["failed"], say)
    for name in (x for x in names if x not in result["failed"]):
        row = {"first_step_s": {}, "times_s": {}}
        for together in (*alone, steps):
            say(f"{name} at {together} timesteps")
            _measure(case, name, together, plan, row, result["failed"])
        if row["first_step_s"]:
            row["step_s"] = {
                length: stats.summary(sum(times, []))
                for length, times in row["times_s"].items()
            }
            result["contenders"][name] = row
    return result


def _measure(case, name, lengths, plan, row, failures):
    """Adds to a row what is measured with workers of several lengths."""
    with contextlib.ExitStack() as stack:
        handles = {}
        for length in lengths:
            label = f"{name}, {length} timesteps"
            one = dataclasses.replace(case, timesteps=length)
            ready, answers = stack.enter_context(
                measure.prepared(one, {label: name}, plan, failures)
            )
            if label in answers:
                row["first_step_s"][length] = answers[label]["first_step_s"]
            if label in ready:
                handles[length] = ready[label]
        if len(handles) > 1:
            row["times_s"] |= measure.rounds(handles, failures, plan)


def table(result):
    """Seconds of the first step, milliseconds of a warm one, by length."""
    rows = [["", "timesteps", "first step s", "step ms", "range"]]
    for name, row in result["contenders"].items():
        for length, first in sorted(row["first_step_s"].items()):
            step, spread = "", ""
            if length in row["step_s"]:
                summary = row["step_s"][length]
                step = f"{1e3 * summary['median']:.3g}"
                spread = report.spread(summary, "min", "max")
            rows.append([name, str(length), f"{first:.2f}", step, spread])
    return "\n".join([report.table(rows), *report.failures(result)])
