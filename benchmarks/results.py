"""Stored results: one JSON file per machine and backend, and their tables."""

import json
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks import cases, contenders

__all__ = [
    "FOLDER",
    "Damaged",
    "fill",
    "load",
    "notes",
    "path_of",
    "store",
    "tables",
]

FOLDER = pathlib.Path(__file__).with_name("results")
LABELS = {
    "keras_snn": "`keras_snn`",
    "against": "`keras_snn` of another checkout",
    "relu": "ReLU in place of the neurons",
    "rnn": "`keras.layers.RNN(LIFRNNCell)`",
    "copy": "copies of the same bytes",
    **{name: name for name in contenders.NEURONS},
    "spikingjelly": "SpikingJelly",
    "snntorch": "snnTorch",
    "spyx": "Spyx",
}
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


class Damaged(ValueError):
    """A file of results cannot be read."""


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

    stored = _read(path) if path.exists() else {}
    stored = dict(sorted((stored | {key: result}).items()))
    with replacing(path) as partial:
        partial.write_text(json.dumps(stored, indent=1) + "\n")


def load(folder: pathlib.Path = FOLDER) -> list[dict[str, dict[str, Any]]]:
    """Reads all files of a folder, sorted by name.

    Raises:
        Damaged: If a file does not hold results.
    """
    return [_read(path) for path in sorted(folder.glob("*.json"))]


def _read(path):
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        found = error
    if not (
        isinstance(found, dict)
        and all(
            isinstance(x, dict) and isinstance(x.get("case"), dict)
            for x in found.values()
        )
    ):
        raise Damaged(
            f"`{path}` must hold results of `python -m benchmarks`. Move it to "
            f"another folder. Received: {str(found)[:80]}"
        )
    return found


def fill(page: str, stored: Iterable[dict[str, dict[str, Any]]]) -> str:
    """Returns a page with the tables of all results in its two blocks.

    One lies between `<!-- CPU: begin -->` and `<!-- CPU: end -->`. The other is
    marked with GPU. Without results, a block is empty.
    """
    stored = list(stored)
    for block in ("CPU", "GPU"):
        text = tables(
            {key: x for key, x in file.items() if _block(x) == block}
            for file in stored
        )
        begin, end = f"<!-- {block}: begin -->", f"<!-- {block}: end -->"
        before, rest = page.split(begin)
        _, after = rest.split(end)
        between = f"\n\n{text}\n\n" if text else "\n"
        page = f"{before}{begin}{between}{end}{after}"
    return page


def _block(result):
    return "CPU" if _device(result) == "cpu" else "GPU"


def tables(stored: Iterable[dict[str, dict[str, Any]]]) -> str:
    """Returns Markdown tables per machine and case, with a column per backend.

    Results that differ only in their timesteps share a table.

    Args:
        stored: For every machine and backend, the results by `Case.key`.
    """
    machines = {}
    for result in (result for file in stored for result in file.values()):
        case = result["case"]
        key = case["name"], case["batch"], case["dtype"], case["title"]
        sections = machines.setdefault(_machine(result), {})
        sections.setdefault(key, []).append(result)
    parts = []
    for machine, sections in sorted(machines.items()):
        parts.append(f"## {machine}")
        parts += [_section(results) for _, results in sorted(sections.items())]
    return "\n\n".join(parts)


def _section(results):
    case = results[0]["case"]
    lengths = sorted({x["case"]["timesteps"] for x in results})
    columns = [x for x in BACKENDS if any(x == y["backend"] for y in results)]
    found = {
        (result["case"]["timesteps"], name, result["backend"]): row
        for result in results
        for name, row in result["contenders"].items()
    }

    def grid(title, cell: Callable[[dict], str]):
        lines = [[title, *map(BACKENDS.get, columns)]]
        for timesteps in lengths:
            for name in LABELS:
                rows = [found.get((timesteps, name, x)) for x in columns]
                if any(rows):
                    label = _label(name, next(filter(None, rows)))
                    if len(lengths) > 1:
                        label += f", {timesteps} timesteps"
                    lines.append([label, *[x and cell(x) for x in rows]])
        return _markdown(lines)

    parts = [
        f"### {case['name']}, {case['dtype']}: {case['title']}",
        f"{_sizes(case, lengths)} {_versions(results)}.",
        grid("ms per step (ratio to `keras_snn`, quartiles)", _time),
    ]
    if cases.CASES[case["name"]].trains:
        parts.append(grid("peak memory, MB (first step, s)", _memory))
    imports = {x["backend"]: x["import_s"] for x in results if "import_s" in x}
    if imports:
        parts.append(_imports(imports, columns))
    return "\n\n".join(parts)


def _imports(imports, columns):
    lines = [["import, s", *map(BACKENDS.get, columns)]]
    labels = {"keras": "`keras`", "keras_snn": "`keras_snn`, after `keras`"}
    for name, label in labels.items():
        times = [
            imports[x][name]["median"] if x in imports else None
            for x in columns
        ]
        lines.append([label, *[x and f"{x:.2f}" for x in times]])
    return _markdown(lines)


def _markdown(lines):
    heads, *_ = lines
    lines.insert(1, ["---", *["---:" for _ in heads[1:]]])
    return "\n".join(
        f"| {' | '.join(cell or '' for cell in line)} |" for line in lines
    )


def _label(name, row):
    of = row.get("of", ["keras_snn"])
    if of == ["keras_snn"]:
        return LABELS[name]
    return f"{LABELS[name]} (ratio to {' and '.join(map(LABELS.get, of))})"


def _sizes(case, lengths):
    shape = "x".join(map(str, case["input_shape"]))
    steps = ", ".join(map(str, lengths))
    return f"Inputs {shape}, batch {case['batch']}, {steps} timesteps."


def _device(result):
    """Returns the name of the GPU that `keras_snn` used, or "cpu"."""
    devices = [row["device"] for row in result["contenders"].values()]
    return devices[0] if devices else "cpu"


def _machine(result):
    """Returns the GPU of `keras_snn`, or the CPU and its number of cores."""
    if _device(result) != "cpu":
        return _device(result)
    return f"{result['machine']['cpu']}, {result['machine']['cores']} cores"


def _versions(results):
    versions = {
        f"{name} {version}"
        for result in results
        for row in result["contenders"].values()
        for name, version in row["versions"].items()
    }
    commits = {x["machine"].get("commit") or "unknown" for x in results}
    commits = [f"commit {x[:10]}{'+' * ('+' in x)}" for x in sorted(commits)]
    return ", ".join([*sorted(versions), *commits])


def _time(row):
    milliseconds = 1e3 * row["step_s"]["median"]
    digits = sum(milliseconds < limit for limit in (1, 10, 100))
    text = f"{milliseconds:.{digits}f}"
    ratio = row.get("ratio")
    if not ratio or ratio["q1"] == ratio["q3"] == 1:
        return text
    low, high = f"{ratio['q1']:.2f}", f"{ratio['q3']:.2f}"
    return f"{text} ({ratio['median']:.2f}, {low}–{high})"


def _memory(row):
    peak = row["peak_bytes"]
    text = "?" if peak is None else f"{peak / 1e6:.0f}"
    return f"{text} ({row['first_step_s']:.1f})"


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
