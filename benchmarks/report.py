"""Results as a JSON file and as a table."""

import json
import os
import pathlib
import tempfile

MEGABYTE = 1e6
# Above this share of waiting the times are the machine's, not the library's.
STALLED = 0.02


def write_json(path, results):
    """Writes a file that is whole or not there."""
    path = pathlib.Path(path)
    # `keras_snn.files` does the same, but brings Keras with it.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        partial = pathlib.Path(folder) / path.name
        partial.write_text(json.dumps(results, indent=1, default=str) + "\n")
        os.replace(partial, path)


def table(rows):
    """Aligned columns, the first to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += [
            cell.rjust(width)
            for cell, width in zip(others, widths[1:], strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def machine_line(machine):
    """One line on the machine."""
    load = machine["load_average"][0]
    line = f"{machine['cpu']}, {machine['cores']} cores, load {load:.2f}"
    if load > machine["cores"] / 2:
        line += " (busy: expect wide spreads)"
    return line


def case_table(result):
    """The table of one case, with what was checked and what failed."""
    measured = result["contenders"]
    references = sorted({x for row in measured.values() for x in row["ratios"]})
    head = ["", "ms", "quartiles", "range", *(f"/ {x}" for x in references)]
    rows = [[*head, "first step s", "peak MB"]]
    ordered = sorted(
        measured.items(), key=lambda pair: pair[1]["summary_s"]["median"]
    )
    for name, row in ordered:
        ratios = [_ratio(row["ratios"][other]) for other in references]
        first = f"{row['first_step_s']:.2f}"
        cells = [name, *_times(row["summary_s"]), *ratios, first, _memory(row)]
        rows.append(cells)
    notes = [_checked(result["check"]), *_devices(measured)]
    notes += _disturbed(result["stalled"])
    return "\n".join([table(rows), *notes, *failures(result)])


def failures(result):
    """One line for everything that could not be measured."""
    return [
        f"not measured: {name}: {reason}"
        for name, reason in result["failed"].items()
    ]


def spread(summary, low, high):
    """Two numbers of a summary of seconds, in milliseconds."""
    return f"{1e3 * summary[low]:.3g}-{1e3 * summary[high]:.3g}"


def _times(summary):
    return (
        f"{1e3 * summary['median']:.3g}",
        spread(summary, "q1", "q3"),
        spread(summary, "min", "max"),
    )


def _ratio(ratio):
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"


def _memory(row):
    peak = row["peak_bytes"]
    return "?" if peak is None else f"{peak / MEGABYTE:.0f}"


def _checked(check):
    checked = list(check["gradient_norms"])
    if not checked:
        return "no spiking contender: no spikes compared"
    rates = ", ".join(f"{rate:.3f}" for rate in check["firing_rates"])
    return (
        f"same {check['spikes']} spikes from input "
        f"{tuple(check['input_shape'])}, firing rates {rates}: "
        + ", ".join(checked)
    )


def _disturbed(stalled):
    """Says so where the machine was short of something while it timed."""
    return [
        f"DISTURBED: for {share:.0%} of the rounds something on this machine "
        f"waited for {resource}; free some, or try --keep-memory"
        for resource, share in stalled.items()
        if share > STALLED
    ]


def _devices(measured):
    devices = {name: row["device"] for name, row in measured.items()}
    if len(set(devices.values())) < 2:
        return []
    where = ", ".join(f"{name} {device}" for name, device in devices.items())
    return [f"NOT COMPARABLE, different devices: {where}"]
