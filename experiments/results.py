"""What stored runs say: which there are, how far, who trains, who wins."""

import dataclasses
import math

import numpy as np

from examples import training
from experiments.experiments import TRAINING
from experiments.runs import Run
from keras_snn.datasets import CLASSES

LAST = 20  # iterations that the end of a curve is the mean of
# Of training accuracy at the end, in units of chance, from which on a network
# counts as training. The most frequent digit alone gives 1.1, with a standard
# deviation of 0.1 over 20 batches of 64.
TRAINS = 1.5


def gather(records, experiment):
    """The stored runs of an experiment.

    Args:
        records: What `Store.read` returns.
        experiment: An `Experiment`.

    Returns:
        Dictionary from panel to a dictionary from method to a list of records,
        one for each seed that is stored. Networks that were only looked at
        untrained count where nothing more is asked for.
    """
    least = min(1, experiment.epochs if experiment.epochs is not None else 1)
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
            there = [records[x] for x in keys if x in records]
            gathered[panel][method] = [
                x for x in there if x["iterations"] >= least
            ]
    return gathered


def length(records):
    """Iterations of the longest of some records, 0 if there are none."""
    return max((x["iterations"] for x in records), default=0)


def longest(records):
    """Those as long as the longest, which are what a table shows."""
    return [x for x in records if x["iterations"] == length(records)]


def common(gathered):
    """What all methods that have runs can be compared on.

    Args:
        gathered: What `gather` returns, or some of its panels.

    Returns:
        `(iterations, gathered)`: as far as the longest runs of all go, and
        those runs that go so far.
    """
    lengths = [
        length(records)
        for methods in gathered.values()
        for records in methods.values()
        if records
    ]
    limit = min(lengths, default=0)
    kept = {
        panel: {
            method: [x for x in records if x["iterations"] >= limit]
            for method, records in methods.items()
        }
        for panel, methods in gathered.items()
    }
    return limit, kept


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
    end = record["iterations"] if not record["lost"] else record["lost"] - 1
    every = record["later"]["every"]
    means = len(first) + every * np.arange(1, len(later) + 1)
    at = np.concatenate([np.arange(1, len(first) + 1), np.minimum(means, end)])
    kept = at <= limit
    return at[kept], np.concatenate([first, later])[kept]


def accuracy_at(record, iteration):
    """Training accuracy around an iteration; 0 from a lost loss on.

    The mean of the `LAST` iterations that end there; of the last mean in parts
    of the curve that only has means.
    """
    if record["lost"] and record["lost"] <= iteration:
        return 0.0
    at, values = curve(record, "accuracy", iteration)
    return float(values[at > at[-1] - LAST].mean())


def trains(records, iteration):
    """Whether a network trains, by the mean over its seeds."""
    chance = 1 / CLASSES[records[0]["recipe"]["dataset"]]
    mean = np.mean([accuracy_at(x, iteration) for x in records])
    return bool(mean >= TRAINS * chance)


def held_out(record, iteration=None):
    """Test accuracy at an iteration, by default at the end.

    Returns:
        A number, 0 from a lost loss on; `None` if there was no test then.
    """
    if record["lost"] and record["lost"] <= (iteration or math.inf):
        return 0.0
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
    mean = float(np.mean(values))
    if len(values) == 1:
        if samples is None:
            return mean, math.nan, math.nan
        return mean, *training.wilson(mean * samples, samples)
    half = float(half_interval(values))
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def half_interval(values):
    """Half of Student's interval of 95 % of the mean over the first axis."""
    from scipy import stats

    return stats.t.ppf(0.975, len(values) - 1) * stats.sem(values, axis=0)


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much of an experiment is there.

    Args:
        lengths: Iterations of the stored runs, as far as the paper's go.
        full: Those of the paper's run of each.
        samples: Training samples of each.
        published: Those of the paper's.
        seeds: How many of each cell that has any.
        cells: How many cells there are.
    """

    lengths: tuple = ()
    full: tuple = ()
    samples: tuple = ()
    published: tuple = ()
    seeds: tuple = ()
    cells: int = 0

    @property
    def stored(self):
        """How many cells have a run."""
        return len(self.seeds)

    @property
    def reduced(self):
        """Whether it is less than the paper's."""
        return (
            self.stored < self.cells
            or self.lengths != self.full
            or any(map(int.__lt__, self.samples, self.published))
        )

    def __add__(self, other):
        """That of two experiments together."""
        fields = (x.name for x in dataclasses.fields(self))
        return Extent(*(getattr(self, x) + getattr(other, x) for x in fields))

    def __str__(self):
        """What a figure says on its face."""
        if not self.stored:
            return "not run"
        parts = ["untrained"]
        if any(self.full):
            parts = [f"all {_range(self.full)} iterations"]
        if self.lengths != self.full:
            parts = [
                f"the first {_range(self.lengths)} of {_range(self.full)} "
                "iterations"
            ]
        plural = "s" * (max(self.seeds) > 1)
        parts.append(f"{_range(self.seeds)} seed{plural}")
        if self.stored < self.cells:
            parts.append(f"{self.stored} of {self.cells} cells")
        if any(map(int.__lt__, self.samples, self.published)):
            parts.append(
                f"{_range(self.samples)} of {_range(self.published)} samples"
            )
        return "REDUCED: " * self.reduced + ", ".join(parts)


def _range(numbers):
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def extent(experiment, gathered, limit=math.inf):
    """Says how much of an experiment is there.

    Args:
        experiment: An `Experiment`.
        gathered: What `gather` returns of it, or `common` of that.
        limit: Iterations that are shown of every run.

    Returns:
        An `Extent`.
    """
    found, seeds, cells = [], [], 0
    for panel, methods in gathered.items():
        recipe = experiment.panels[panel]
        full, published = experiment.full(recipe), TRAINING[recipe.dataset]
        for records in methods.values():
            cells += 1
            seeds += [len(records)] * bool(records)
            for x in records:
                shown = min(full, limit, x["iterations"])
                found.append((shown, full, x["train_samples"], published))
    columns = zip(*found, strict=True) if found else [()] * 4
    return Extent(*map(tuple, columns), tuple(seeds), cells)
