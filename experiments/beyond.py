"""Tables of the experiments that the paper does not have."""

import math
import statistics

from experiments import results
from experiments.comparison import FAILED
from experiments.records import Record

__all__ = ["NUMBERS", "TEXTS", "table"]

_SURROGATE = (
    " Each initialization has the surrogate of `initializers.for_gradient`."
)
_SPLIT = (
    "The digits' training and test images are pooled and split again at random."
)
# What is said about the runs, after their number of iterations.
TEXTS = {
    "depth": "of Adam(3e-4) with a batch of 64. " + _SPLIT + _SURROGATE,
    "residual": "of Adam with a batch of 32, at 2e-3 for 20 layers, 1e-3 for "
    "110 and 5e-4 for 1,000, 4 timesteps, constant coding and k=0.8, λ=0.2, "
    "θ=1. " + _SPLIT + _SURROGATE,
    "vgg9": "of Adam(1e-3) with a batch of 32, 8 timesteps, Poisson coding and "
    "k=0.8, λ=0.2, θ=1." + _SURROGATE,
    "stationary": "with the paper's optimizers and rates. Runs before commit "
    "e610c48 count the padding of convolutions as inputs, which makes their "
    "weights 2 to 5 % smaller." + _SURROGATE,
    "normalization": "with k=0.8, λ=0.2, θ=1. The scale and the shift of batch "
    "normalization start for the neurons under the asymptote, and as in Keras "
    "under Glorot. The kernels before them start alike.",
}
NUMBERS = (
    "Test accuracy in percent with its 95 % interval, and in brackets the "
    "median iteration of 60 % training accuracy."
)


def table(gathered: results.Gathered, iterations: int) -> list[list[str]]:
    """Tables the runs of an experiment.

    Args:
        gathered: What `results.gather` returns.
        iterations: The least length of the runs to show. Cells of longer runs
            say so.

    Returns:
        Rows of texts, with a head: a row for each panel with a run, and a
        column for each initialization with a run.
    """
    gathered = {
        panel: {
            x: results.longest([y for y in runs if y.iterations >= iterations])
            for x, runs in cells.items()
        }
        for panel, cells in gathered.items()
    }
    methods = dict.fromkeys(
        x for cells in gathered.values() for x in cells if cells[x]
    )
    rows = [["network", *methods]]
    for panel, cells in gathered.items():
        texts = [_cell(cells[x], iterations) for x in methods]
        if any(texts):
            rows.append([", ".join(panel), *texts])
    return rows


def _cell(records: list[Record], iterations: int) -> str:
    """Describes the runs of a cell, or returns an empty text."""
    if not records:
        return ""
    mean, low, high = results.accuracy_interval(records)
    reached = (math.inf if x.to_60 is None else x.to_60 for x in records)
    median = statistics.median(reached)
    median = f"{median:g}" if median < math.inf else FAILED
    interval = f"{100 * low:.1f}–{100 * high:.1f}{results.seeds(records)}"
    length = records[0].iterations
    longer = f" after {length:,}" * (length > iterations)
    return f"{100 * mean:.1f} ({interval}) [{median}]{longer}"
