"""Recordings of event cameras."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from keras_snn.plots.frames import OFF, ON, draw_frames
from keras_snn.plots.spikes import check_layers, draw_spikes
from keras_snn.plots.style import Array, evenly, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["recording"]

EVENTS = 10_000  # events per recording


def recording(
    events: Array,
    frames: ArrayLike,
    spikes: Mapping[str, ArrayLike],
    title: str = "",
) -> "Figure":
    """Draws a recording, its frames, and the spikes of a network.

    The top shows the events in space and time, and ten of the frames. The
    bottom shows, for each layer, the spikes of some neurons and the mean over
    all neurons at each timestep.

    Args:
        events: Structured array with the fields `t` (microseconds), `x`, `y`
            and `p`, as `keras_snn.events.read` returns.
        frames: Event counts, `(timesteps, height, width, 2)`.
        spikes: Maps the name of each layer to its spikes, 0 or 1, of shape
            `(timesteps, ...)`. It must have at least one layer.
        title: Title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If `frames` has the wrong shape, `spikes` is empty, or
            their numbers of timesteps differ.

    Example:
    >>> from keras_snn.events import saccade, to_frames
    >>> events = saccade(np.eye(16), (16, 16))
    >>> frames = to_frames(events, 20, (16, 16))
    >>> figure = recording(events, frames, {"lif": np.eye(20)}, "A line")
    >>> figure.get_suptitle()
    'A line'
    """
    from matplotlib.figure import Figure

    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 2 or not frames.size:
        raise ValueError(
            "`frames` must have shape (timesteps, height, width, 2). "
            f"Received: shape={frames.shape}"
        )
    layers = check_layers(spikes, "frames", frames)
    figure = Figure(figsize=(13, 8), layout="constrained")
    figure.suptitle(title, fontsize=13)
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.15, 1])
    left, right = top.subfigures(1, 2, width_ratios=[1, 1.6])
    _cloud(left.add_subplot(projection="3d"), events)
    right.suptitle("Counts per frame", fontsize=11)
    tiles = right.subplots(2, 5).ravel()
    draw_frames(tiles, frames, evenly(len(frames), len(tiles)))
    rasters, means = bottom.subplots(
        2, len(layers), sharex=True, squeeze=False, height_ratios=[3, 1]
    )
    for raster, mean, (name, values) in zip(
        rasters, means, layers.items(), strict=True
    ):
        neurons = draw_spikes(raster, name, values)
        mean.bar(np.arange(1, len(values) + 1), neurons.mean(1), color="black")
        mean.sharey(means[0])
        tidy(mean, xlabel="timestep")
    means[0].set_ylim(bottom=0)
    means[0].set_ylabel("mean")
    bottom.align_ylabels([rasters[0], means[0]])
    return figure


def _cloud(axis: Any, events: Array) -> None:
    """Draws events in space and time, with time to the right."""
    events = events[:: math.ceil(len(events) / EVENTS) or 1]
    for p, (name, color) in enumerate((("OFF", OFF), ("ON", ON))):
        t, x, y = (events[events["p"] == p][key] for key in ("t", "x", "y"))
        axis.scatter(t / 1000, x, y, s=2, lw=0, color=color, label=name)
    axis.invert_zaxis()  # row 0 of a camera is at the top
    axis.set(ylabel="x", zlabel="y", box_aspect=(2, 1, 1))
    axis.set_xlabel("time (ms)", labelpad=10)
    axis.locator_params("y", nbins=4)
    axis.locator_params("z", nbins=4)
    axis.legend(frameon=False, markerscale=4, loc="upper left")
    axis.set_title("Events", fontsize=11)
