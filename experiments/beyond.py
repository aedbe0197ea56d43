"""Tables of the experiments that the paper does not have."""

import math
import statistics

from experiments import results
from experiments.records import Record

__all__ = ["TEXTS", "table"]

_NUMBERS = (
    " Test accuracy in percent with its 95 % interval, and in brackets the "
    "median iteration of 60 % training accuracy."
)
TEXTS = {
    "depth": "Not in the paper. 400 iterations of Adam(3e-4) with a batch of "
    "64, with training and test digits exchanged at random, and once on "
    "MNIST. Each "
    "initialization has the surrogate of `initializers.for_gradient`."
    + _NUMBERS,
    "residual": "Not in the paper. 300 iterations of Adam with a batch of 32, "
    "with training and test digits exchanged at random, at 1e-3 for 110 layers "
    "and 2e-3 for 20." + _NUMBERS,
    "laws": "Not in the paper. 300 iterations of Adam(1e-3) with a batch of "
    "32, 8 timesteps, Poisson coding and k=0.8, λ=0.2, θ=1. Each "
    "initialization has the surrogate of `initializers.for_gradient`."
    + _NUMBERS,
    "stationary": "Not in the paper. 200 iterations with its optimizers and "
    "rates, and the surrogate of `initializers.for_gradient`." + _NUMBERS,
    "normalization": "Not in the paper. 200 iterations with k=0.8, λ=0.2, θ=1, "
    "where batch normalization starts with a scale of 1 and a shift of 0, as "
    "in Keras, or with those of the asymptote." + _NUMBERS,
}


def table(gathered: results.Gathered, iterations: int) -> list[list[str]]:
    """Tables the runs of an experiment.

    Args:
        gathered: What `results.gather` returns.
        iterations: The length of the runs to show.

    Returns:
        Rows of texts, with a head: a row for each panel with a run, and a
        column for each initialization with a run.
    """
    gathered = {
        panel: {
            x: [each for each in runs if each.iterations == iterations]
            for x, runs in cells.items()
        }
        for panel, cells in gathered.items()
    }
    methods = dict.fromkeys(
        x for cells in gathered.values() for x in cells if cells[x]
    )
    rows = [["network", *methods]]
    for panel, cells in gathered.items():
        texts = [_cell(cells[x]) for x in methods]
        if any(texts):
            rows.append([", ".join(panel), *texts])
    return rows


def _cell(records: list[Record]) -> str:
    """Describes the runs of a cell, or returns an empty text."""
    if not records:
        return ""
    samples = records[0].test_samples
    mean, low, high = results.mean_and_interval(
        [x.tested[-1][1] / samples for x in records], samples
    )
    reached = (math.inf if x.to_60 is None else x.to_60 for x in records)
    median = statistics.median(reached)
    median = f"{median:g}" if median < math.inf else "-"
    seeds = f", {len(records)} seeds" if len(records) > 1 else ""
    return (
        f"{100 * mean:.1f} ({100 * low:.1f}-{100 * high:.1f}{seeds}) [{median}]"
    )
