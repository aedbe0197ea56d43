"""Spike codings of one image."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from keras_snn.plots.frames import (
    OFF,
    ON,
    colored,
    draw_frame,
    draw_frames,
    full,
)
from keras_snn.plots.style import Array, evenly, spread, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["codings"]

FRAMES = 6  # frames per coding
PIXELS = 17  # pixels shown over time


def codings(image: ArrayLike, coded: Mapping[str, ArrayLike]) -> "Figure":
    """Draws one image under several codings, one row each.

    A row shows, from left to right:

    - the first frames and the mean of all frames;
    - some pixels over time, from the darkest at the bottom to the brightest at
      the top;
    - the mean of every pixel against its intensity. The gray line marks equal
      values.

    Black means 1. Events have the color of their polarity. The largest count of
    a row has the full color.

    Args:
        image: `(height, width)` or `(height, width, 1)`, `uint8` or floats in
            [0, 1].
        coded: Maps the title of a row to the coded image, of shape `(timesteps,
            height, width, channels)`: either one channel with values in [0, 1],
            or two channels with event counts, OFF and ON.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If `coded` is empty or a shape is wrong.

    Example:
    >>> image = np.array([[0.0, 1.0]])
    >>> figure = codings(image, {"constant": np.stack([image[..., None]] * 4)})
    >>> [axis.get_xlabel() for axis in figure.axes[:5]]
    ['t = 1', 't = 2', 't = 3', 't = 4', 'mean of all']
    """
    from matplotlib.figure import Figure

    intensity = _intensity(image)
    height, width = intensity.shape
    if not coded:
        raise ValueError("`coded` must have at least one coding. Received: {}")
    figure = Figure(figsize=(13, 2.05 * len(coded)), layout="constrained")
    ratios = [1] * (FRAMES + 1) + [2.3, 2.3]
    rows = figure.subplots(
        len(coded), len(ratios), squeeze=False, width_ratios=ratios
    )
    for axes, (title, values) in zip(rows, coded.items(), strict=True):
        *tiles, mean, pixels, rates = axes
        frames = np.asarray(values)
        shapes = (height, width, 1), (height, width, 2)
        if frames.shape[1:] not in shapes or not len(frames):
            raise ValueError(
                f"`coded` must hold arrays of shape (timesteps, {height}, "
                f"{width}, 1 or 2). Received: shape={frames.shape}"
            )
        draw_frames(tiles, frames, range(len(frames)))
        average = frames.mean(0)
        draw_frame(mean, average, full(average), "mean of all")
        # An axis title would widen the column of the first frame.
        axes[0].annotate(
            title, (0, 1.1), xycoords="axes fraction", fontsize=11
        ).set_in_layout(False)
        _pixels(pixels, frames, intensity)
        _rates(rates, average, intensity)
    return figure


def _intensity(image: ArrayLike) -> Array:
    """Returns the image in [0, 1], without the channel axis."""
    values = np.asarray(image)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 2 or not values.size:
        raise ValueError(
            "`image` must have shape (height, width) or (height, width, 1). "
            f"Received: shape={np.shape(image)}"
        )
    return values / 255 if values.dtype == np.uint8 else values


def _raster(axis: "Axes", values: Array) -> None:
    """Draws `(timesteps, rows, channels)`, the first row at the bottom."""
    timesteps, rows, _ = values.shape
    axis.imshow(
        colored(values, full(values)).swapaxes(0, 1),
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        extent=(0.5, timesteps + 0.5, -0.5, rows - 0.5),
    )


def _pixels(axis: "Axes", frames: Array, intensity: Array) -> None:
    """Draws pixels with evenly spaced intensities over time."""
    found = spread(intensity, PIXELS)
    pixels = frames.reshape(len(frames), -1, frames.shape[-1])[:, found]
    _raster(axis, pixels)
    levels, ticks = intensity.flat[found], evenly(len(found), 3)
    axis.set_yticks(ticks, [f"{x:.2g}" for x in levels[ticks]])
    axis.set(xlabel="timestep", ylabel="intensity")


def _rates(axis: "Axes", average: Array, intensity: Array) -> None:
    """Draws the mean of each pixel against its intensity."""
    x, means = intensity.ravel(), average.reshape(intensity.size, -1).T
    if len(means) == 1:
        axis.plot([0, 1], [0, 1], color="gray", lw=0.8, zorder=0)
        axis.scatter(x, means[0], s=8, alpha=0.6, color="black")
    else:
        # OFF and ON may have equal means. A ring stays visible around a dot.
        ring = axis.scatter(x, means[0], 40, "none", alpha=0.6, label="OFF")
        ring.set_edgecolor(OFF)
        axis.scatter(x, means[1], 8, ON, alpha=0.6, label="ON")
        corner = {"loc": "lower right", "bbox_to_anchor": (1, 1)}
        axis.legend(**corner, ncols=2, handlelength=1, frameon=False)
    tidy(axis, xlabel="intensity", ylabel="mean per timestep")
    axis.set_xlim(-0.05, 1.05)
