"""Frames as images: one channel, or the two of event frames."""

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_snn.plots.style import BLUE, VERMILION, Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["OFF", "ON", "colored", "draw_frame", "draw_frames", "full"]

OFF, ON = BLUE, VERMILION  # the channels of event frames


def full(values: Array) -> float:
    """Returns the value with the full color: 1 for intensities and spikes."""
    return 1 if values.shape[-1] == 1 else values.sum(-1).max() or 1


def colored(values: Array, full: float) -> Array:
    """Mixes the colors of 1 or 2 channels on a white background."""
    from matplotlib.colors import to_rgb

    names = ["black"] if values.shape[-1] == 1 else [OFF, ON]
    return 1 - values / full @ (1 - np.array([to_rgb(x) for x in names]))


def draw_frame(axis: "Axes", values: Array, full: float, label: str) -> None:
    """Draws one frame without ticks."""
    axis.imshow(colored(values, full))
    axis.set(xticks=[], yticks=[], xlabel=label)


def draw_frames(axes: Any, frames: Array, steps: Any) -> None:
    """Draws the frames of these timesteps and removes the unused axes."""
    for axis, step in zip(axes, steps, strict=False):
        draw_frame(axis, frames[step], full(frames), f"t = {step + 1}")
    for axis in axes[len(steps) :]:
        axis.remove()
