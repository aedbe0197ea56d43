"""Time series."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from keras_snn.plots.spikes import check_layers, draw_spikes
from keras_snn.plots.style import VERMILION, tidy
from keras_snn.validation import check_choice, check_shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["time_series"]


def time_series(
    series: ArrayLike,
    spikes: Mapping[str, ArrayLike],
    outputs: ArrayLike,
    label: int | None = None,
    title: str = "",
) -> "Figure":
    """Draws a time series, the spikes of a network, and its outputs.

    From top to bottom, over one time axis: the features, the spikes of some
    neurons of each layer, and the outputs.

    Args:
        series: Values, `(timesteps, features)`.
        spikes: Maps the name of each layer to its spikes, 0 or 1, of shape
            `(timesteps, ...)`. It must have at least one layer.
        outputs: Outputs of the network, `(timesteps, classes)`.
        label: Class to draw in color, from 0.
        title: Title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If a shape is wrong, `spikes` is empty, the numbers of
            timesteps differ, or there is no class `label`.

    Example:
    >>> series, outputs = np.zeros((20, 3)), np.zeros((20, 2))
    >>> figure = time_series(series, {"lif": np.eye(20)}, outputs, label=1)
    >>> figure.axes[1].get_title()
    'lif: firing rate 0.050'
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    series, outputs = np.asarray(series), np.asarray(outputs)
    check_shape("series", series, (None, None))
    check_shape("outputs", outputs, (len(series), None))
    layers = check_layers(spikes, "series", series)
    figure = Figure(figsize=(8, 5 + 2 * len(layers)), layout="constrained")
    figure.suptitle(title, fontsize=13)
    ratios = [3] + [4] * len(layers) + [3]
    first, *rasters, last = figure.subplots(
        len(ratios), sharex=True, height_ratios=ratios
    )
    steps = np.arange(1, len(series) + 1)
    colors = colormaps["viridis"](np.linspace(0, 0.9, series.shape[1]))
    for values, color in zip(series.T, colors, strict=True):
        first.plot(steps, values, color=color, lw=1.2)
    tidy(first)
    first.set_title("Input: a line per feature", fontsize=11)
    for axis, (name, values) in zip(rasters, layers.items(), strict=True):
        draw_spikes(axis, name, values)
    last.plot(steps, outputs, color="silver", lw=1.2)
    if label is not None:
        label = check_choice("label", int(label), range(outputs.shape[1]))
        style = {"color": VERMILION, "lw": 2.2, "label": f"class {label}"}
        last.plot(steps, outputs[:, label], zorder=3, **style)
        last.legend(frameon=False, loc="upper left")
    tidy(last, xlabel="timestep")
    last.set_title("Output: a line per class", fontsize=11)
    last.locator_params("x", integer=True)
    return figure
