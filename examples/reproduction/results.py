"""What stored runs say: which there are, how far, who trains, who wins."""

import dataclasses
import math

import numpy as np

from examples import training
from examples.reproduction.runs import COARSE, FINE, Run

LAST = 20  # iterations that the end of a curve is the mean of
# Of training accuracy at the end, from which on a network counts as training:
# the most frequent digit alone gives 0.11, with a standard deviation of 0.01
# over 20 batches of 64.
TRAINS = 0.15


def gather(records, experiment):
    """The stored runs of an experiment.

    Args:
        records: What `Store.read` returns.
        experiment: An `Experiment`.

    Returns:
        Dictionary from panel to a dictionary from method to a list of records,
        one for each seed that is stored.
    """
    seeds = sorted({x["recipe"]["seed"] for x in records.values()})
    gathered = {}
    for panel, recipe in experiment.panels.items():
        gathered[panel] = {}
        for method in experiment.methods:
            keys = (
                Run(
                    dataclasses.replace(recipe, initializer=method, seed=seed),
                    0,
                ).key
                for seed in seeds
            )
            gathered[panel][method] = [records[x] for x in keys if x in records]
    return gathered


def curve(record, name, limit=math.inf):
    """Loss or accuracy over the iterations of a record.

    Args:
        record: A record.
        name: "loss" or "accuracy".
        limit: Iteration to end at.

    Returns:
        `(iterations, values)`, two arrays: one by one first, then the last
        iteration of every mean.
    """
    first, later = record[name], record["later"][name]
    at = np.concatenate(
        [
            np.arange(1, len(first) + 1),
            FINE + COARSE * np.arange(1, len(later) + 1),
        ]
    )
    kept = at <= limit
    return at[kept], np.concatenate([first, later])[kept]


def accuracy_at(record, iteration):
    """Training accuracy around an iteration, or `None` if there is none.

    The mean of the `LAST` iterations that end there; of the last mean in parts
    of the curve that only has means.
    """
    if record["lost"] and record["lost"] <= iteration:
        return 0.0
    at, values = curve(record, "accuracy", iteration)
    if not len(at):
        return None
    return float(values[at > at[-1] - LAST].mean())


def trains(records, iteration):
    """Whether a network trains, by the mean over its seeds."""
    return (
        np.mean([accuracy_at(x, iteration) for x in records]) >= TRAINS
    ).item()


def held_out(record, iteration=None):
    """Test accuracy at an iteration, by default at the end, or `None`."""
    for at, hits in reversed(record["tested"]):
        if iteration in (None, at):
            return hits / record["test_samples"]
    return None


def reached(record, limit):
    """The first iteration of 60 % training accuracy, up to a limit."""
    to_60 = record["to_60"]
    return to_60 if to_60 and to_60 <= limit else None


def mean_and_interval(values, samples=None):
    """The mean of some accuracies, and its interval of 95 %.

    Args:
        values: One for each seed.
        samples: How many test samples each was measured on.

    Returns:
        `(mean, low, high)`: Student's interval over the seeds, or Wilson's for
        the test samples if there is one seed alone.
    """
    from scipy import stats

    mean = float(np.mean(values))
    if len(values) == 1:
        if samples is None:
            return mean, math.nan, math.nan
        return mean, *training.wilson(mean * samples, samples)
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return mean, mean - float(half), mean + float(half)


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much of an experiment is there.

    Args:
        shortest: Iterations of the shortest run that it has.
        longest: Those of the longest.
        full: Those of the paper's.
        seeds: The fewest of a cell that has any, and the most.
        stored: Cells that have a run.
        cells: All cells.
        samples: Training samples of the stored runs.
        published: Those of the paper.
    """

    shortest: int
    longest: int
    full: int
    seeds: tuple
    stored: int
    cells: int
    samples: int
    published: int

    @property
    def reduced(self):
        """Whether it is less than the paper's."""
        return (
            self.shortest < self.full
            or self.stored < self.cells
            or self.samples < self.published
        )

    def __str__(self):
        """What a figure says on its face."""
        if not self.stored:
            return "not run"
        parts = [f"all {self.full:,} iterations" if self.full else "untrained"]
        if self.shortest < self.full:
            first = f"{self.shortest:,}"
            if self.longest > self.shortest:
                first += f" to {self.longest:,}"
            parts = [f"the first {first} of {self.full:,} iterations"]
        few, most = self.seeds
        seeds = f"{few}" if few == most else f"{few} to {most}"
        parts.append(f"{seeds} seed{'s' * (most > 1)}")
        if self.stored < self.cells:
            parts.append(f"{self.stored} of {self.cells} cells")
        if self.samples < self.published:
            parts.append(f"{self.samples:,} of {self.published:,} samples")
        return "REDUCED: " * self.reduced + ", ".join(parts)


def longest(records):
    """Those of some records that have the most iterations."""
    most = max((x["iterations"] for x in records), default=0)
    return [x for x in records if x["iterations"] == most]


def extent(experiment, gathered, samples):
    """Says how much of an experiment is there.

    Args:
        experiment: An `Experiment`.
        gathered: What `gather` returns of it.
        samples: Dictionary from the name of a dataset to the number of training
            samples that the paper's has.

    Returns:
        An `Extent`.
    """
    cells = [x for methods in gathered.values() for x in methods.values()]
    some = [x for x in cells if x]
    records = [record for cell in some for record in cell]
    full = max(map(experiment.full, experiment.panels.values()))
    dataset = next(iter(experiment.panels.values())).dataset
    lengths = [min(full, x["iterations"]) for x in records]
    return Extent(
        shortest=min(lengths, default=0),
        longest=max(lengths, default=0),
        full=full,
        seeds=(
            min(map(len, some), default=0),
            max(map(len, some), default=0),
        ),
        stored=len(some),
        cells=len(cells),
        samples=min((x["train_samples"] for x in records), default=0),
        published=samples[dataset],
    )
