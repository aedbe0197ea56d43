"""Figures of spike codings, recordings, time series and learning curves.

These functions need matplotlib and import it when they are called. Each returns
a `matplotlib.figure.Figure` that pyplot does not manage. Save it with
`figure.savefig(path)`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_snn.validation import check_choice, check_count, check_shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["STYLES", "codings", "learning_curves", "recording", "time_series"]

# Color-blind readers can tell these colors apart (Okabe and Ito, 2008). The
# curves of silent networks coincide, so gaps reveal the curves underneath.
STYLES = {
    "asymptote": {"color": "#D55E00"},
    "glorot": {"color": "#0072B2"},
    "he": {"color": "#009E73", "ls": (0, (12, 2))},
    "wu": {"color": "#CC79A7", "ls": (0, (4, 8))},
    "lee": {"color": "#E69F00", "ls": (6, (4, 8))},
}
OFF, ON = "#0072B2", "#D55E00"  # the channels of event frames

FRAMES = 6  # frames per coding
PIXELS = 17  # pixels shown over time
NEURONS = 64  # neurons per layer
EVENTS = 10_000  # events per recording

Array = NDArray[Any]


def learning_curves(
    runs: Mapping[str, Mapping[str, Sequence[float]]], smooth: int = 10
) -> "Figure":
    """Draws loss, accuracy and firing rate over the iterations (Figs. 1 and 4).

    Args:
        runs: Maps the name of an initializer, or another label, to one run. A
            run has `"loss"` and `"accuracy"` with a value per iteration. It has
            `"iteration"` and keys that end in `"firing_rate"` with a value per
            measurement. The figure shows the mean over these keys. Join the
            histories of `IterationHistory` and `FiringRateMonitor` to get a
            run: `{"he": curves.history | rates.history}`.
        smooth: Width of the trailing mean of loss and accuracy in iterations,
            at least 1.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    from matplotlib.figure import Figure

    smooth = check_count("smooth", smooth)
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for name, run in runs.items():
        style = {"lw": 1.8} | STYLES.get(name, {})
        for axis, key in ((loss, "loss"), (accuracy, "accuracy")):
            values = _trailing_mean(run[key], smooth)
            axis.plot(np.arange(1, len(values) + 1), values, **style)
        rates = [run[key] for key in run if key.endswith("firing_rate")]
        rate.plot(run["iteration"], np.mean(rates, 0), label=name, **style)
    _set(loss, title="Training loss", ylim=(0, None))
    _set(accuracy, title="Training accuracy", ylim=(0, 1))
    _set(rate, title="Spikes per neuron and timestep", ylim=(0, None))
    for axis in (loss, accuracy, rate):
        axis.set_xlabel("iteration")
    accuracy.axhline(0.6, color="gray", lw=0.8, ls="--")
    figure.legend(loc="outside right center", frameon=False, handlelength=3.5)
    return figure


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
        _tiles(tiles, frames, range(len(frames)))
        average = frames.mean(0)
        _tile(mean, average, _full(average), "mean of all")
        # An axis title would widen the column of the first frame.
        axes[0].annotate(
            title, (0, 1.1), xycoords="axes fraction", fontsize=11
        ).set_in_layout(False)
        _pixels(pixels, frames, intensity)
        _rates(rates, average, intensity)
    return figure


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
    """
    from matplotlib.figure import Figure

    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 2 or not frames.size:
        raise ValueError(
            "`frames` must have shape (timesteps, height, width, 2). "
            f"Received: shape={frames.shape}"
        )
    layers = _layers(spikes, "frames", frames)
    figure = Figure(figsize=(13, 8), layout="constrained")
    figure.suptitle(title, fontsize=13)
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.15, 1])
    left, right = top.subfigures(1, 2, width_ratios=[1, 1.6])
    _cloud(left.add_subplot(projection="3d"), events)
    right.suptitle("Counts per frame", fontsize=11)
    tiles = right.subplots(2, 5).ravel()
    _tiles(tiles, frames, _evenly(len(frames), len(tiles)))
    rasters, means = bottom.subplots(
        2, len(layers), sharex=True, squeeze=False, height_ratios=[3, 1]
    )
    for raster, mean, (name, values) in zip(
        rasters, means, layers.items(), strict=True
    ):
        neurons, shown = _layer(raster, name, values)
        _raster(raster, shown[..., None])
        mean.bar(np.arange(1, len(values) + 1), neurons.mean(1), color="black")
        mean.sharey(means[0])
        _set(mean, xlabel="timestep")
    means[0].set_ylim(bottom=0)
    rasters[0].set_ylabel("some neurons")
    means[0].set_ylabel("mean")
    bottom.align_ylabels([rasters[0], means[0]])
    return figure


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
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    series, outputs = np.asarray(series), np.asarray(outputs)
    check_shape("series", series, (None, None))
    check_shape("outputs", outputs, (len(series), None))
    layers = _layers(spikes, "series", series)
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
    _set(first)
    first.set_title("Input: a line per feature", fontsize=11)
    for axis, (name, values) in zip(rasters, layers.items(), strict=True):
        step, neuron = np.nonzero(_layer(axis, name, values)[1])
        axis.scatter(step + 1, neuron, s=7, lw=0, color="black")
        axis.set_ylabel("some neurons")
    last.plot(steps, outputs, color="silver", lw=1.2)
    if label is not None:
        label = check_choice("label", int(label), range(outputs.shape[1]))
        style = {"color": ON, "lw": 2.2, "label": f"class {label}"}
        last.plot(steps, outputs[:, label], zorder=3, **style)
        last.legend(frameon=False, loc="upper left")
    _set(last, xlabel="timestep")
    last.set_title("Output: a line per class", fontsize=11)
    last.locator_params("x", integer=True)
    return figure


def _layers(spikes: Mapping[str, ArrayLike], name: str, like: Array) -> dict:
    """Returns the spikes of each layer, with the timesteps of an array."""
    layers = {key: np.asarray(x) for key, x in spikes.items()}
    if not layers or any(len(x) != len(like) for x in layers.values()):
        raise ValueError(
            f"`spikes` must hold layers with the timesteps of `{name}`. "
            f"Received: {[x.shape for x in layers.values()]} and {like.shape}"
        )
    return layers


def _layer(axis: "Axes", name: str, values: Array) -> tuple[Array, Array]:
    """Writes the title. Returns the spikes of all neurons, and of some."""
    neurons = values.reshape(len(values), -1)
    axis.set_title(f"{name}: firing rate {neurons.mean():.3f}", fontsize=11)
    axis.set_yticks([])
    return neurons, neurons[:, _evenly(neurons.shape[1], NEURONS)]


def _set(axis: "Axes", **properties: Any) -> None:
    """Sets the properties of a plot of lines, points or bars."""
    axis.set(**properties)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _trailing_mean(values: Sequence[float], width: int) -> Array:
    """Averages each value with the values before it, `width` in all."""
    sums = np.cumsum(np.append(0.0, values))
    stop = np.arange(1, len(sums))
    start = np.maximum(stop - width, 0)
    return (sums[stop] - sums[start]) / (stop - start)


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


def _evenly(size: int, number: int) -> Array:
    """Returns at most `number` evenly spaced indices below `size`."""
    return np.unique(np.linspace(0, size - 1, number).round().astype(int))


def _full(values: Array) -> float:
    """Returns the value with the full color: 1 for intensities and spikes."""
    return 1 if values.shape[-1] == 1 else values.sum(-1).max() or 1


def _colored(values: Array, full: float) -> Array:
    """Mixes the colors of 1 or 2 channels on a white background."""
    from matplotlib.colors import to_rgb

    names = ["black"] if values.shape[-1] == 1 else [OFF, ON]
    return 1 - values / full @ (1 - np.array([to_rgb(x) for x in names]))


def _tile(axis: "Axes", values: Array, full: float, label: str) -> None:
    axis.imshow(_colored(values, full))
    axis.set(xticks=[], yticks=[], xlabel=label)


def _tiles(axes: Any, frames: Array, steps: Any) -> None:
    """Draws the frames of these timesteps and removes the unused axes."""
    for axis, step in zip(axes, steps, strict=False):
        _tile(axis, frames[step], _full(frames), f"t = {step + 1}")
    for axis in axes[len(steps) :]:
        axis.remove()


def _raster(axis: "Axes", values: Array) -> None:
    """Draws `(timesteps, rows, channels)`, the first row at the bottom."""
    timesteps, rows, _ = values.shape
    axis.imshow(
        _colored(values, _full(values)).swapaxes(0, 1),
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        extent=(0.5, timesteps + 0.5, -0.5, rows - 0.5),
    )


def _pixels(axis: "Axes", frames: Array, intensity: Array) -> None:
    """Draws pixels with evenly spaced intensities over time."""
    order = np.argsort(intensity, axis=None, kind="stable")
    levels = intensity.flat[order]
    wanted = np.linspace(levels[0], levels[-1], PIXELS)
    found = np.unique(np.searchsorted(levels, wanted))
    pixels = frames.reshape(len(frames), -1, frames.shape[-1])[:, order[found]]
    _raster(axis, pixels)
    ticks = _evenly(len(found), 3)
    axis.set_yticks(ticks, [f"{levels[i]:.2g}" for i in found[ticks]])
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
    _set(axis, xlabel="intensity", ylabel="mean per timestep")
    axis.set_xlim(-0.05, 1.05)


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
