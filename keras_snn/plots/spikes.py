"""Spikes of the layers of a network."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from keras_snn.models.traces import traces
from keras_snn.plots.style import Array, evenly
from keras_snn.validation import check_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check_layers", "draw_spikes", "raster"]

NEURONS = 64  # neurons per layer


def raster(model: Any, x: Any, neurons: int = NEURONS) -> "Figure":
    """Draws the spikes of every layer of neurons for one input.

    There is a row per layer, the first at the top. A dot is a spike. The title
    gives the firing rate over all neurons and timesteps.

    It runs the model in inference and leaves it as it was. It does not draw
    masked timesteps, and they do not count. If a layer does not return
    sequences, only the spikes of its last timestep are known.

    Args:
        model: A model that `keras_snn.models.probe` takes.
        x: Inputs as `predict` takes them, with the axis of the samples. The
            figure shows the first sample.
        neurons: Largest number of neurons to draw per layer, at least 1. They
            are evenly spaced over the layer.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        TypeError: If `x` is not an input of a model.
        ValueError: If `probe` does not accept the model, or `x` does not fit
            it.

    Example:
    >>> from keras_snn.models import five_layer_snn
    >>> model = five_layer_snn((8, 8, 1), timesteps=4)
    >>> figure = raster(model, np.zeros((1, 8, 8, 1)))
    >>> [axis.get_title() for axis in figure.axes][-1]
    'lif4: firing rate 0.000'
    """
    from matplotlib.figure import Figure

    neurons = check_count("neurons", neurons)
    layers = traces(model, x)
    size = 9, 0.7 + 1.5 * len(layers)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(layers), sharex=True, squeeze=False)[:, 0]
    for axis, (name, trace) in zip(axes, layers.items(), strict=True):
        draw_spikes(axis, name, trace.spikes, trace.known, neurons)
    axes[-1].set_xlabel("timestep")
    axes[-1].locator_params("x", integer=True)
    figure.align_ylabels()
    return figure


def check_layers(
    spikes: Mapping[str, ArrayLike], name: str, like: Array
) -> dict[str, Array]:
    """Returns the spikes of each layer, with the timesteps of an array."""
    layers = {key: np.asarray(x) for key, x in spikes.items()}
    if not layers or any(len(x) != len(like) for x in layers.values()):
        raise ValueError(
            f"`spikes` must hold layers with the timesteps of `{name}`. "
            f"Received: {[x.shape for x in layers.values()]} and {like.shape}"
        )
    return layers


def draw_spikes(
    axis: "Axes",
    name: str,
    spikes: Array,
    known: Array | None = None,
    most: int = NEURONS,
) -> Array:
    """Draws the spikes of a layer as dots, the first neuron at the bottom.

    Args:
        axis: Where to draw.
        name: Name of the layer.
        spikes: `(timesteps, ...)`, 0 or 1.
        known: `(timesteps,)`, false at timesteps to leave out.
        most: Largest number of neurons to draw.

    Returns:
        The spikes of all neurons, `(timesteps, neurons)`.
    """
    timesteps = len(spikes)
    known = np.full(timesteps, True) if known is None else known
    spikes = spikes.reshape(timesteps, -1)
    shown = evenly(spikes.shape[1], most)
    step, row = np.nonzero((spikes[:, shown] > 0) & known[:, None])
    axis.scatter(step + 1, row, s=7, lw=0, color="black")
    # One row per neuron, silent ones included.
    axis.set_ylim(-1, len(shown))
    axis.set_xlim(0.5, timesteps + 0.5)
    rate = spikes[known].mean() if known.any() else math.nan
    axis.set_title(f"{name}: firing rate {rate:.3f}", fontsize=11)
    count = f"{len(shown)} of {spikes.shape[1]:,}"
    axis.set_ylabel(f"{count}\nneurons", fontsize=9)
    axis.set_yticks([])
    axis.spines[["top", "right"]].set_visible(False)
    return spikes
