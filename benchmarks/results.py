"""Stored results: one JSON file per machine and backend, and their tables."""

import json
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks import contenders

__all__ = ["FOLDER", "load", "notes", "path_of", "store", "tables"]

FOLDER = pathlib.Path(__file__).with_name("results")
LABELS = {
    "keras_snn": "`keras_snn`",
    "against": "`keras_snn` of the other checkout",
    "relu": "ReLU in place of the neurons",
    "rnn": "`keras.layers.RNN(LIFRNNCell)`",
    "copy": "copies of the same bytes",
    "spikingjelly": "SpikingJelly",
    "snntorch": "snnTorch",
    "spyx": "Spyx",
    "tensorflow": "TensorFlow",
    "jax": "JAX",
    "torch": "PyTorch",
}


def path_of(result: dict[str, Any], folder: pathlib.Path = FOLDER):
    """Returns the path of a result: `<GPU or CPU and cores>-<backend>.json`."""
    machine = re.sub(r"[^a-z0-9]+", "-", _machine(result).lower()).strip("-")
    return folder / f"{machine}-{result['backend']}.json"


def store(path: pathlib.Path, key: str, result: dict[str, Any]) -> None:
    """Adds a result to a file. Replaces an older result with the same key.

    Args:
        path: The JSON file. It and its folder need not exist.
        key: `Case.key` of the result's case.
        result: What `measure` returned.
    """
    # Imported late, because it imports Keras. Only `store` needs it here.
    from keras_snn.files import replacing

    stored = json.loads(path.read_text()) if path.exists() else {}
    stored = dict(sorted((stored | {key: result}).items()))
    with replacing(path) as partial:
        partial.write_text(json.dumps(stored, indent=1) + "\n")


def load(folder: pathlib.Path = FOLDER) -> list[dict[str, dict[str, Any]]]:
    """Reads all files of a folder, sorted by name."""
    return [
        json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))
    ]


def tables(stored: Iterable[dict[str, dict[str, Any]]]) -> str:
    """Returns Markdown tables per case and machine, with a column per backend.

    Args:
        stored: For every machine and backend, the results by `Case.key`.
    """
    grouped = {}
    for file in stored:
        for key, result in file.items():
            group = grouped.setdefault((key, _machine(result)), {})
            group[result["backend"]] = result
    groups = sorted(grouped.items(), key=lambda pair: pair[0])
    return "\n\n".join(_section(*pair) for pair in groups)


def _section(heading, results):
    key, machine = heading
    first = next(iter(results.values()))
    names = ("keras_snn", "against", *contenders.OWN, *contenders.PEERS)
    rows = [
        name
        for name in dict.fromkeys(names)
        if any(name in result["contenders"] for result in results.values())
    ]
    columns = [x for x in contenders.BACKENDS if x in results]

    def grid(title, cell: Callable[[dict], str]):
        lines = [[title, *map(LABELS.get, columns)]]
        lines.append(["---", *["---:" for _ in columns]])
        for name in rows:
            found = [results[x]["contenders"].get(name) for x in columns]
            cells = [cell(row) if row else "" for row in found]
            lines.append([LABELS[name], *cells])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    parts = [
        f"### {key}: {first['case']['title']}",
        f"{machine}. {_versions(results.values())}. Medians of "
        f"{first['rounds'] * first['steps']} steps; in brackets the ratio to "
        "`keras_snn` in the same round, with its range.",
        grid("ms per step", _time),
        grid("first step, s", lambda row: f"{row['first_step_s']:.2f}"),
        grid("peak memory, MB", _memory),
    ]
    return "\n\n".join(parts)


def _machine(result):
    """Returns the GPU of `keras_snn`, or the CPU and its number of cores."""
    devices = [row["device"] for row in result["contenders"].values()]
    if devices and devices[0] != "cpu":
        return devices[0]
    return f"{result['machine']['cpu']}, {result['machine']['cores']} cores"


def _versions(results):
    versions = {
        f"{name} {version}"
        for result in results
        for row in result["contenders"].values()
        for name, version in row["versions"].items()
    }
    return ", ".join(sorted(versions))


def _time(row):
    milliseconds = 1e3 * row["step_s"]["median"]
    text = f"{milliseconds:{'.3g' if milliseconds < 1000 else '.0f'}}"
    ratio = row.get("ratio")
    if not ratio or ratio["min"] == ratio["max"] == 1:
        return text
    low, high = f"{ratio['min']:.2f}", f"{ratio['max']:.2f}"
    return f"{text} ({ratio['median']:.2f}, {low}-{high})"


def _memory(row):
    peak = row["peak_bytes"]
    return "?" if peak is None else f"{peak / 1e6:.0f}"


def notes(result: dict[str, Any]) -> str:
    """Returns notes on what was checked, what failed and what is doubtful."""
    machine, check = result["machine"], result["check"]
    lines = []
    if check:
        rates = ", ".join(f"{rate:.3f}" for rate in check["firing_rates"])
        names = ", ".join(check["gradient_norms"])
        lines.append(f"same {check['spikes']} spikes, rates {rates}: {names}")
    lines += [
        f"not measured: {name}: {reason}"
        for name, reason in result["failed"].items()
    ]
    load = machine["load_average"][0]
    if load > machine["cores"] / 2:
        lines.append(f"BUSY: the load average was {load:.1f}")
    devices = {name: x["device"] for name, x in result["contenders"].items()}
    if len(set(devices.values())) > 1:
        where = ", ".join(f"{name} {x}" for name, x in devices.items())
        lines.append(f"NOT COMPARABLE, different devices: {where}")
    return "\n".join(lines)
