"""Gathers stored runs: which exist, how long they are, and their means."""

import dataclasses
import math
from typing import Any

import numpy as np

from experiments.catalogue import Experiment, variant
from experiments.records import Record

__all__ = [
    "Extent",
    "accuracy_interval",
    "common",
    "extent",
    "gather",
    "half_interval",
    "longest",
    "mean_and_interval",
    "mostly_run",
    "seeds",
]

# The records of an experiment, one per seed, by panel and method.
Gathered = dict[tuple, dict[str, list[Record]]]


def gather(records: dict[str, Record], experiment: Experiment) -> Gathered:
    """Finds the stored runs of an experiment.

    Untrained networks only count if the experiment needs no training. Then
    trained ones count as they were before it.

    Args:
        records: What `Store.read` returns.
        experiment: The experiment.

    Returns:
        Lists of records, one record per seed, by panel and method.
    """
    untrained = experiment.epochs == 0
    seeds = sorted({x.recipe.seed for x in records.values()})

    def stored(recipe, method):
        keys = (variant(recipe, method, seed).key for seed in seeds)
        there = [records[key] for key in keys if key in records]
        if untrained:
            return [dataclasses.replace(x, iterations=0) for x in there]
        return [x for x in there if x.iterations]

    return {
        panel: {x: stored(recipe, x) for x in experiment.methods}
        for panel, recipe in experiment.panels.items()
    }


def longest(records: list[Record]) -> list[Record]:
    """Returns the records with the most iterations."""
    most = max((x.iterations for x in records), default=0)
    return [x for x in records if x.iterations == most]


def common(gathered: Gathered) -> tuple[int, Gathered]:
    """Finds the largest length that all methods with runs have reached.

    Args:
        gathered: What `gather` returns, or some of its panels.

    Returns:
        The number of iterations, and the records that have reached it.
    """
    cells = [x for methods in gathered.values() for x in methods.values() if x]
    limit = min((longest(x)[0].iterations for x in cells), default=0)

    def long(records):
        return [x for x in records if x.iterations >= limit]

    kept = {
        panel: {method: long(records) for method, records in methods.items()}
        for panel, methods in gathered.items()
    }
    return limit, kept


def mostly_run(gathered: Gathered, coarse: tuple) -> Gathered:
    """Chooses the panels and methods that a map over many panels shows.

    Other experiments share single runs with a map, which would leave most of
    its rows and columns empty.

    Args:
        gathered: What `gather` returns.
        coarse: Panels of a quick run.

    Returns:
        All panels if most of them have runs, and the coarse ones otherwise,
        with the methods that were run for most of these panels.
    """

    def most(panels, method):
        return 2 * sum(bool(gathered[x][method]) for x in panels) > len(panels)

    methods = next(iter(gathered.values()))
    fine = any(most(gathered, x) for x in methods)
    panels = gathered if fine else coarse
    kept = [x for x in methods if most(panels, x)]
    return {x: {y: gathered[x][y] for y in kept} for x in panels}


def mean_and_interval(
    values: list[float], samples: int
) -> tuple[float, float, float]:
    """Computes the mean of some accuracies and its 95 % interval.

    Args:
        values: One accuracy per seed.
        samples: Number of test samples of each.

    Returns:
        Mean, low and high: Wilson's interval over the test samples, which all
        seeds share. With several seeds, also all of Student's over them.
    """
    mean = float(np.mean(values))
    low, high = _wilson(mean, samples)
    if len(values) > 1:
        half = float(half_interval(values))
        low, high = min(low, mean - half), max(high, mean + half)
    return mean, max(0.0, low), min(1.0, high)


def _wilson(mean, samples):
    # SciPy's takes whole hits, and the mean of several seeds has none.
    from scipy import stats

    z = float(stats.norm.ppf(0.975))
    center = mean + z**2 / (2 * samples)
    half = z * math.sqrt(mean * (1 - mean) / samples + (z / samples) ** 2 / 4)
    scale = 1 + z**2 / samples
    return (center - half) / scale, (center + half) / scale


def accuracy_interval(
    records: list[Record], iteration: int | None = None
) -> tuple[float, float, float]:
    """Computes the mean test accuracy of some seeds and its 95 % interval.

    Args:
        records: One record per seed. All must have been tested.
        iteration: When, by default at the end.

    Returns:
        As `mean_and_interval`.
    """
    values = [x.test_accuracy(iteration) for x in records]
    return mean_and_interval(values, records[0].test_samples)


def seeds(records: list) -> str:
    """Returns the number of seeds as text if there is more than one."""
    return f", {len(records)} seeds" * (len(records) > 1)


def half_interval(values: Any) -> Any:
    """Computes half of Student's 95 % interval of the mean over axis 0."""
    from scipy import stats

    return stats.t.ppf(0.975, len(values) - 1) * stats.sem(values, axis=0)


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much of an experiment is stored.

    Args:
        runs: For each run: its iterations, the paper's iterations, its training
            samples, the paper's training samples.
        seeds: Number of seeds of each cell that has a run.
        cells: Number of cells.
    """

    runs: tuple[tuple[int, int, int, int], ...] = ()
    seeds: tuple[int, ...] = ()
    cells: int = 0

    @property
    def reduced(self) -> bool:
        """Whether this is less than in the paper."""
        return len(self.seeds) < self.cells or any(
            length != full or samples < published
            for length, full, samples, published in self.runs
        )

    def __add__(self, other: "Extent") -> "Extent":
        """Joins the extents of two experiments."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Extent(*(x + y for x, y in pairs))

    def __str__(self) -> str:
        """Describes the extent, for a figure."""
        if not self.seeds:
            return "not run"
        lengths, full, samples, published = zip(*self.runs, strict=True)
        if lengths != full:
            text = f"the first {_range(lengths)} of {_range(full)} iterations"
        elif any(full):
            text = f"all {_range(full)} iterations"
        else:
            text = "untrained"
        text += f", {_range(self.seeds)} seed" + "s" * (max(self.seeds) > 1)
        if len(self.seeds) < self.cells:
            text += f", {len(self.seeds)} of {self.cells} cells"
        if any(x < y for x, y in zip(samples, published, strict=True)):
            text += f", {_range(samples)} of {_range(published)} samples"
        return "REDUCED: " * self.reduced + text


def _range(numbers):
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def extent(
    experiment: Experiment, gathered: Gathered, limit: float = math.inf
) -> Extent:
    """Measures how much of an experiment is stored.

    Args:
        experiment: The experiment.
        gathered: Its records, from `gather` or `common`.
        limit: Number of iterations of each run that are shown.
    """
    runs, seeds, cells = [], [], 0
    for panel, methods in gathered.items():
        recipe = experiment.panels[panel]
        full = experiment.full(recipe)
        cells += len(methods)
        for records in filter(None, methods.values()):
            seeds.append(len(records))
            for x in records:
                shown = int(min(full, limit, x.iterations))
                samples = x.train_samples, x.published_samples
                runs.append((shown, full, *samples))
    return Extent(tuple(runs), tuple(seeds), cells)
