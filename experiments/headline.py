"""The headline results, as JSON and as the table of the README."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from experiments import results
from experiments.catalogue import EXPERIMENTS, TWO, neuron
from experiments.records import Record
from keras_snn.files import replacing

__all__ = ["BEGIN", "END", "Headline", "headline", "markdown", "text", "write"]

BEGIN, END = "<!-- headline: begin -->", "<!-- headline: end -->"
# The experiments of the headline, and the options of `run` that store them.
COMMANDS = {
    "table2-mnist-constant": "table2-mnist",
    "table2-mnist-poisson": "table2-mnist",
    "table2-mnist-retina": "table2-mnist",
    "fig5": "fig5",
}


@dataclasses.dataclass(frozen=True)
class Headline:
    """A row of the table.

    Args:
        experiment: Name of the experiment.
        dataset: Name of the dataset.
        coding: Name of the coding, or `None` for recordings.
        network: Name of the network.
        neuron: Constants of the neuron.
        initialization: The method.
        iterations: Length of the runs.
        to_60: Mean number of iterations to 60 % training accuracy, or `None`
            if some seed does not reach it.
        test_accuracy: Mean test accuracy at the end.
        interval: Its 95 % interval.
        seeds: Number of seeds.
        command: Command that trains the runs.
    """

    experiment: str
    dataset: str
    coding: str | None
    network: str
    neuron: str
    initialization: str
    iterations: int
    to_60: float | None
    test_accuracy: float
    interval: tuple[float, float]
    seeds: int
    command: str


def headline(records: dict[str, Record]) -> list[Headline]:
    """Returns the headline results of the stored runs.

    They compare the asymptote initialization with Glorot's: Table 2 of MNIST,
    and the neurons of Fig. 5.

    Args:
        records: What `Store.read` returns.
    """
    rows = []
    for name, experiment in COMMANDS.items():
        gathered = results.gather(records, EXPERIMENTS[name])
        for methods in gathered.values():
            for method in TWO:
                found = results.longest(methods[method])
                if found and found[0].tested:
                    command = f"python -m experiments run {experiment}"
                    rows.append(_row(name, method, found, command))
    return rows


def _row(name, method, records, command):
    recipe = records[0].recipe
    options = recipe.network.options
    reached = [x.to_60 for x in records]
    mean, *interval = results.mean_and_interval(
        [x.test_accuracy() for x in records], records[0].test_samples
    )
    return Headline(
        experiment=name,
        dataset=recipe.data.name,
        coding=options["encoder"],
        network=recipe.network.name,
        neuron=neuron(*(options[x] for x in ("k", "lam", "theta"))),
        initialization=method,
        iterations=records[0].iterations,
        to_60=None if None in reached else float(np.mean(reached)),
        test_accuracy=mean,
        interval=(interval[0], interval[1]),
        seeds=len(records),
        command=command,
    )


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """Returns rows of text as a Markdown table; the first is its head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    bar = "| --- " * (head.count(" | ") + 1) + "|"
    return "\n".join([head, bar, *body])


def text(rows: list[Headline]) -> str:
    """Returns the headline results as Markdown between two markers."""
    head = ["dataset, coding", "network, neuron", "initialization"]
    head += ["iterations to 60 %", "test accuracy, 95 % interval"]
    head += ["after iterations", "seeds", "command"]
    table = [head]
    for x in rows:
        low, high = (100 * value for value in x.interval)
        table.append(
            [
                f"{x.dataset}, {x.coding or 'events'}",
                f"{x.network}, {x.neuron}",
                x.initialization,
                f"> {x.iterations:,}" if x.to_60 is None else f"{x.to_60:.0f}",
                f"{100 * x.test_accuracy:.2f} % ({low:.2f}–{high:.2f})",
                f"{x.iterations:,}",
                str(x.seeds),
                f"`{x.command}`",
            ]
        )
    return f"{BEGIN}\n{markdown(table)}\n{END}\n"


def write(records: dict[str, Record], folder: pathlib.Path) -> None:
    """Writes `headline.json` and `HEADLINE.md`."""
    rows = headline(records)
    content = json.dumps([dataclasses.asdict(x) for x in rows], indent=1)
    for name, written in (
        ("headline.json", content + "\n"),
        ("HEADLINE.md", text(rows)),
    ):
        with replacing(folder / name) as partial:
            partial.write_text(written, encoding="utf-8")
