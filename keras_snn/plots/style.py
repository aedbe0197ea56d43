"""Colors, axes and choices that the figures share."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BLUE", "STYLES", "VERMILION", "Array", "evenly", "spread", "tidy"]

# Color-blind readers can tell these colors apart (Okabe and Ito, 2008). The
# curves of silent networks coincide, so gaps reveal the curves underneath.
STYLES = {
    "asymptote": {"color": "#D55E00"},
    "glorot": {"color": "#0072B2"},
    "he": {"color": "#009E73", "ls": (0, (12, 2))},
    "wu": {"color": "#CC79A7", "ls": (0, (4, 8))},
    "lee": {"color": "#E69F00", "ls": (6, (4, 8))},
}
BLUE, VERMILION = "#0072B2", "#D55E00"

Array = NDArray[Any]


def evenly(size: int, number: int) -> Array:
    """Returns at most `number` evenly spaced indices below `size`."""
    return np.unique(np.linspace(0, size - 1, number).round().astype(int))


def tidy(axis: "Axes", **properties: Any) -> None:
    """Sets the properties of a plot of lines, points or bars."""
    axis.set(**properties)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def spread(values: Array, number: int) -> Array:
    """Returns at most `number` indices of evenly spaced values, rising.

    They run from the smallest value to the largest.
    """
    order = np.argsort(values, axis=None, kind="stable")
    levels = values.flat[order]
    wanted = np.linspace(levels[0], levels[-1], number)
    return order[np.unique(np.searchsorted(levels, wanted))]
