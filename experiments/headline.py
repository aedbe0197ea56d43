"""The headline results: the asymptote initialization against Glorot's."""

import pathlib
import re

import numpy as np

from experiments import results
from experiments.catalogue import EXPERIMENTS, SIX, TWO
from experiments.recipes import neuron
from experiments.records import Record
from keras_snn.files import replacing

__all__ = ["headline", "markdown", "to_markdown", "write"]

BEGIN, END = "<!-- headline: begin -->", "<!-- headline: end -->"
NAMES = [f"table2-mnist-{x}" for x in ("constant", "poisson", "retina")]
NAMES += ["tableA6"]
# Of Table A6, the neurons of theta = 1 under Adam.
PANELS = [(neuron(*constants), "adam") for constants in SIX]


def headline(records: dict[str, Record]) -> list[dict]:
    """Returns the headline results, one dictionary per network and method.

    `to_60` is the mean number of iterations to 60 % training accuracy, or
    `None` if a seed does not reach it within `iterations`. `test_accuracy` is
    the mean at the end, and `interval` is its 95 % interval.

    Args:
        records: What `Store.read` returns.
    """
    rows = []
    for name in NAMES:
        gathered = results.gather(records, EXPERIMENTS[name])
        for panel, methods in gathered.items():
            if panel and panel not in PANELS:
                continue
            found = {x: results.longest(methods[x]) for x in TWO}
            rows += [_row(name, x, y) for x, y in found.items() if y]
    return rows


def _row(name, method, records):
    network, length = records[0].recipe.network, records[0].iterations
    reached = [x.to_60 for x in records]
    mean, low, high = results.accuracy_interval(records)
    command = f"python -m experiments run {name}"
    if length != EXPERIMENTS[name].quick:
        command += f" --iterations {length}"
    return {
        "experiment": name,
        "encoder": network["encoder"],
        "neuron": neuron(network["k"], network["lam"], network["theta"]),
        "initialization": method,
        "iterations": length,
        "to_60": None if None in reached else float(np.mean(reached)),
        "test_accuracy": mean,
        "interval": [low, high],
        "seeds": len(records),
        "command": command + f" --seeds {len(records)}" * (len(records) > 1),
    }


def to_markdown(rows: list[dict]) -> str:
    """Returns the headline results as a table between two markers.

    A line holds both initializations; it ends with the command that trains it.
    """
    table = [["five-layer network on MNIST, (k, λ, θ)", "iterations"]]
    table[0] += [f"{x}: iterations to 60 %, test accuracy" for x in TWO]
    table[0] += ["`python -m experiments run`"]
    lines = {}
    for x in rows:
        constants = re.sub("[kλθ]=", "", x["neuron"])
        name = f"{x['encoder']} coding, ({constants})"
        line = (name, f"{x['iterations']:,}", x["command"].split(" run ")[1])
        lines.setdefault(line, {})[x["initialization"]] = _cell(x)
    for (name, length, command), cells in lines.items():
        both = [cells.get(method, "not run") for method in TWO]
        table.append([name, length, *both, f"`{command}`"])
    return f"{BEGIN}\n{markdown(table)}\n{END}\n"


def _cell(row):
    low, high = (100 * value for value in row["interval"])
    reached = "never" if row["to_60"] is None else f"{row['to_60']:.0f}"
    accuracy = f"{100 * row['test_accuracy']:.1f} %"
    return f"{reached}, {accuracy} ({low:.1f}–{high:.1f})"


def markdown(rows) -> str:
    """Returns rows of text as a Markdown table. The first row is the head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "| --- " * len(rows[0]) + "|", *body])


def write(records: dict[str, Record], folder: pathlib.Path) -> None:
    """Writes `HEADLINE.md`."""
    with replacing(folder / "HEADLINE.md") as partial:
        partial.write_text(to_markdown(headline(records)), encoding="utf-8")
