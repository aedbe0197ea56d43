"""One case from start to end: workers, check, rounds, memory."""

import contextlib
import dataclasses
import pathlib
import tempfile
import time

import numpy as np

from benchmarks import contenders, equality, machine, material, reference, stats
from benchmarks.workers import Failed, started
from benchmarks.workloads import output_shape

# The threads of the worker before go on spinning for a moment.
PAUSE = 0.05
# Caches belong to whoever ran last: the first step of a turn is not timed.
UNTIMED = 1


def silent(text):
    """Tells nobody."""
    del text


@dataclasses.dataclass(frozen=True)
class Plan:
    """How often and how patiently to measure.

    Args:
        rounds: Turns of every contender.
        steps: Timed steps per turn.
        timeout: Seconds within which a worker must answer.
        keep_memory: Whether workers keep the memory that they free (glibc).
            By default libraries that free and allocate large arrays in every
            step have the system clear new pages each time, which a virtual
            machine may be slow at.
        against: Another checkout of the project, compared with this one.
    """

    rounds: int = 10
    steps: int = 3
    timeout: float = 1800.0
    keep_memory: bool = False
    against: str | None = None


def run_case(case, names, plan, say=silent):
    """Measures contenders on a case.

    Args:
        case: The `workloads.Case`.
        names: Names of contenders.
        plan: The `Plan`.
        say: What is told of the progress.

    Returns:
        A dictionary for the results file.

    Raises:
        equality.Different: If contenders do not compute the same.
    """
    failures, rows = {}, {}
    checked = check(case, names, plan, failures, say)
    labels = {name: name for name in names if name not in failures}
    with prepared(case, labels, plan, failures, say) as (handles, answers):
        stalls, start = machine.stalls(), time.monotonic()
        times = rounds(handles, failures, plan, say)
        elapsed = time.monotonic() - start
        stalled = {
            resource: (seconds - stalls[resource]) / elapsed
            for resource, seconds in machine.stalls().items()
        }
        memory = {
            name: _ask(handles, failures, name, "memory")
            for name in list(handles)
        }
        for name in handles:
            rows[name] = answers[name] | memory[name] | timing(name, times)
    return {
        "case": case.to_json(),
        "check": checked,
        "stalled": stalled,
        "contenders": rows,
        "failed": failures,
    }


@contextlib.contextmanager
def prepared(case, labels, plan, failures, say=silent):
    """Fresh workers that have run their first steps.

    Args:
        case: The `workloads.Case`.
        labels: Contenders' names by label; one contender may run twice.
        plan: The `Plan`.
        failures: Dictionary to which the reasons of those that fail are added.
        say: What is told of the progress.

    Yields:
        `(handles, answers)`: the workers and their answers by label.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        started(labels, plan, case.tf32, failures) as (handles, hellos),
    ):
        request = _timed_material(case, pathlib.Path(folder))
        answers = {}
        for label in list(handles):
            say(f"first steps of {label}")
            answer = _ask(handles, failures, label, "prepare", **request)
            answers[label] = hellos[label] | answer
        yield handles, answers


def _ask(handles, failures, name, do, **arguments):
    """Asks a worker; one that fails is out of the race, with its reason."""
    try:
        return handles[name].ask(do, **arguments)
    except Failed as failure:
        failures[name] = str(failure)
        del handles[name]
        return {}


def check(case, names, plan, failures, say=silent):
    """Raises unless all spiking contenders compute the same.

    Their processes end with the check, so that the first step and the memory
    of the timed ones are those of a fresh process.

    Args:
        case: The case to be timed; a short one like it is checked.
        names: Names of contenders.
        plan: The `Plan`.
        failures: Dictionary to which the reasons of those that fail are added.
        say: What is told of the progress.

    Returns:
        What was checked: shapes, firing rates, names.
    """
    small = material.check_case(case)
    weights = material.weights(small, material.EXACT, exact=True)
    x = material.sequences(small, exact=True)
    expected = reference.run(small, weights, x, material.EXACT)
    result = {
        "input_shape": list(x.shape),
        "spikes": sum(int(spikes.sum()) for spikes in expected),
        "firing_rates": equality.check_firing(small.layers, expected),
        "gradient_norms": {},
    }
    labels = {name: name for name in names if contenders.spiking(name)}
    with (
        tempfile.TemporaryDirectory() as folder,
        started(labels, plan, case.tf32, failures) as (handles, _),
    ):
        folder = pathlib.Path(folder)
        request = _checked_material(small, weights, x, folder)
        for name in list(handles):
            say(f"checking {name}")
            reply = _ask(handles, failures, name, "check", **request)
            if name in handles:
                with np.load(request["out"]) as file:
                    spikes = list(file.values())
                equality.check_spikes(name, small.layers, expected, spikes)
                result["gradient_norms"][name] = reply["gradient_norms"]
    equality.check_gradients(result["gradient_norms"])
    return result


def _checked_material(case, weights, x, folder):
    """Writes weights and data of the check; returns a worker's arguments."""
    material.save(folder / "weights.npz", weights)
    y = material.cotangent((case.batch, *output_shape(case)))
    return _request(case, material.EXACT, x, y, folder) | {
        "out": str(folder / "spikes.npz")
    }


def _timed_material(case, folder):
    """Writes weights and data of the timed steps; returns the arguments."""
    neuron = material.TIMED
    weights = material.weights(case, neuron, exact=False)
    material.save(folder / "weights.npz", weights)
    if case.trains:
        x, y = material.images(case)
    else:
        x = material.sequences(case, exact=False)
        y = material.cotangent((case.batch, *output_shape(case)))
    return _request(case, neuron, x, y, folder)


def _request(case, neuron, x, y, folder):
    np.savez(folder / "data.npz", x=x, y=y)
    return {
        "case": case.to_json(),
        "data": str(folder / "data.npz"),
        "weights": str(folder / "weights.npz"),
        "neuron": dataclasses.asdict(neuron),
    }


def rounds(handles, failures, plan, say=silent):
    """Alternates the workers: a few steps each, round by round.

    Every round starts with another one, so that none always runs behind the
    same neighbour.

    Returns:
        For every worker that lasts, the list of times of every round.
    """
    times = {name: [] for name in handles}
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}")
        names = list(handles)
        shift = number % max(len(names), 1)
        for name in names[shift:] + names[:shift]:
            time.sleep(PAUSE)
            count = UNTIMED + plan.steps
            reply = _ask(handles, failures, name, "steps", count=count)
            if name in handles:
                times[name].append(reply["times"][UNTIMED:])
    return {name: times[name] for name in handles}


def timing(name, times):
    """Times of a contender, their summary, and ratios to `keras_snn`."""
    steps = [step for one_round in times[name] for step in one_round]
    return {
        "times_s": times[name],
        "summary_s": stats.summary(steps),
        "ratios": {
            other: stats.ratios(times[name], times[other])
            for other in times
            if contenders.parse(other)[0] == "keras_snn"
        },
    }
