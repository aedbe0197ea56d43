"""Pictures of codings, recordings and training; needs matplotlib."""

import math

import numpy as np

from keras_snn.validation import check_count

# One colour per initialization wherever it is drawn, told apart by the
# colour-blind too (Okabe and Ito, 2008).
COLORS = {
    "asymptote": "#D55E00",
    "glorot": "#0072B2",
    "he": "#009E73",
    "wu": "#CC79A7",
    "lee": "#E69F00",
}
# Silent networks lie on top of each other: gaps let each be seen.
DASHES = {"he": (0, (12, 2)), "wu": (0, (4, 8)), "lee": (6, (4, 8))}
# Of events, in the order of the channels of their frames.
POLARITIES = {"OFF": "#0072B2", "ON": "#D55E00"}
# More events than these are drawn as an even selection of them.
POINTS = 10_000


def learning_curves(runs, smooth=10):
    """Loss, accuracy and firing rate over the iterations (Figs. 1 and 4).

    Args:
        runs: Dictionary from the name of an initialization to a dictionary of
            `"loss"` and `"accuracy"`, one number per iteration, and
            `"iteration"` and `"firing_rate"`, one per measurement, the mean
            over all layers.
        smooth: Number of iterations that a point of loss and accuracy
            averages, itself the last.

    Returns:
        A `matplotlib.figure.Figure`, apart from pyplot's state.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for name, run in runs.items():
        style = {
            "color": COLORS.get(name),
            "linestyle": DASHES.get(name, "-"),
            "linewidth": 1.8,
        }
        for axis, key in zip(axes, ("loss", "accuracy"), strict=False):
            values = trailing_mean(run[key], smooth)
            axis.plot(np.arange(1, len(values) + 1), values, **style)
        axes[2].plot(run["iteration"], run["firing_rate"], label=name, **style)
    titles = (
        "Training loss",
        "Training accuracy",
        "Spikes per neuron and timestep",
    )
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("iteration")
        _curves(axis)
    # An untrained network may start far above the loss of guessing.
    axes[0].set_ylim(bottom=0)
    axes[1].axhline(0.6, color="gray", linewidth=0.8, linestyle="--")
    axes[1].set_ylim(0, 1)
    axes[2].set_ylim(bottom=0)
    figure.legend(loc="outside right center", frameon=False, handlelength=3.5)
    return figure


def trailing_mean(values, width):
    """The mean of every value and those before it.

    Args:
        values: One-dimensional array.
        width: How many are averaged, fewer at the beginning; at least 1.

    Returns:
        An array of the same length.

    Example:
    >>> trailing_mean([4.0, 2.0, 0.0], 2).tolist()
    [4.0, 3.0, 1.0]
    """
    sums = np.cumsum(np.concatenate([[0.0], values]))
    stop = np.arange(1, len(sums))
    start = np.maximum(stop - width, 0)
    return (sums[stop] - sums[start]) / (stop - start)


def codings(image, coded, frames=6, trains=17):
    """One image under several codings, a row of panels each.

    From left to right: the first frames, and the mean of all; what some pixels
    send over time, their intensities spread from black at the bottom to white
    at the top; and the rate of every pixel against its intensity, beside the
    line where the two are equal. Dark is 1, or the most of the row if that is
    more; events have the colours of their polarities.

    Args:
        image: `(height, width)` or `(height, width, 1)`, `uint8` or floats in
            [0, 1].
        coded: Dictionary from the title of a row to what a coding makes of the
            image, `(timesteps, height, width, channels)`: one channel, or OFF
            and ON. Frames of another height or width show something else, so
            that their pixels have no intensity: they are ordered by their
            counts, and the last panel tells how many pixels have how many.
        frames: Number of frames drawn, at least 1.
        trains: Number of pixels drawn over time, at least 1.

    Returns:
        A `matplotlib.figure.Figure`, apart from pyplot's state.

    Raises:
        ValueError: If an array is of another shape or a number out of range.
    """
    from matplotlib.figure import Figure

    check_count("frames", frames)
    check_count("trains", trains)
    intensity = _intensity(image)
    if not coded:
        raise ValueError("`coded` must have at least one coding. Received: {}")
    coded = {title: _checked("coded", x) for title, x in coded.items()}
    figure = Figure(figsize=(13, 2.05 * len(coded)), layout="constrained")
    rows = figure.subplots(
        len(coded),
        frames + 3,
        squeeze=False,
        width_ratios=[1] * (frames + 1) + [2.3, 2.3],
    )
    for axes, (title, values) in zip(rows, coded.items(), strict=True):
        *tiles, mean, over_time, rates = axes
        _tiles(tiles, values, range(min(frames, len(values))))
        average = values.mean(0)
        most = _most(average) if values.shape[-1] == 2 else 1
        _tile(mean, average, most, "mean of all")
        # As a title it would widen the column of the first frame.
        axes[0].annotate(
            title, (0, 1.1), xycoords="axes fraction", fontsize=11
        ).set_in_layout(False)
        _rates(rates, values, intensity)
        ordered, label = intensity, "intensity"
        if values.shape[1:3] != intensity.shape:
            ordered, label = values.sum((0, 3)), "events"
        _trains(over_time, values, ordered, trains)
        over_time.set_ylabel(label)
    return figure


def recording(events, frames, spikes, title=""):
    """A recording in space and time, its frames, and a network's spikes.

    Above: the events, and ten of the frames; below: for every layer the spikes
    of some neurons, spread evenly over it, and the mean over all of its
    neurons at every timestep.

    Args:
        events: Array with the fields `t` (microseconds), `x`, `y` and `p`.
        frames: Their counts, `(timesteps, height, width, 2)`.
        spikes: Dictionary from the name of a layer, at least one, to its
            spikes, 0 or 1, `(timesteps, ...)`.
        title: Of the whole figure.

    Returns:
        A `matplotlib.figure.Figure`, apart from pyplot's state.

    Raises:
        ValueError: If the shapes do not fit together.
    """
    from matplotlib.figure import Figure

    frames = _checked("frames", frames, channels=(2,))
    spikes = {name: np.asarray(x) for name, x in spikes.items()}
    if not spikes or any(len(x) != len(frames) for x in spikes.values()):
        raise ValueError(
            "`spikes` must hold layers of as many timesteps as `frames`. "
            f"Received: {[x.shape for x in spikes.values()]} and "
            f"{frames.shape}"
        )
    figure = Figure(figsize=(13, 8), layout="constrained")
    figure.suptitle(title, fontsize=13)
    above, below = figure.subfigures(2, 1, height_ratios=[1.15, 1])
    left, right = above.subfigures(1, 2, width_ratios=[1, 1.6])
    _cloud(left.add_subplot(projection="3d"), events)
    tiles = right.subplots(2, 5).ravel()
    _tiles(tiles, frames, _evenly(len(frames), len(tiles)))
    right.suptitle("Counts per frame", fontsize=11)
    axes = below.subplots(
        2, len(spikes), sharex=True, squeeze=False, height_ratios=[3, 1]
    )
    means = {name: x.reshape(len(x), -1).mean(1) for name, x in spikes.items()}
    top = 1.1 * max(max(mean.max() for mean in means.values()), 0.01)
    for (raster, mean), (name, values) in zip(
        axes.T, spikes.items(), strict=True
    ):
        neurons = values.reshape(len(values), -1)
        shown = _evenly(neurons.shape[1], 64)
        _over_time(raster, neurons[:, shown, None], 1)
        raster.set_yticks([])
        rate = means[name].mean()
        raster.set_title(
            f"{name}: {rate:.3f} per neuron and timestep", fontsize=11
        )
        mean.bar(np.arange(1, len(values) + 1), means[name], color="black")
        mean.set_xlabel("timestep")
        mean.set_ylim(0, top)
        _curves(mean)
    axes[0, 0].set_ylabel("some neurons")
    axes[1, 0].set_ylabel("mean")
    figure.align_ylabels(axes[:, 0])
    return figure


def _curves(axis):
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _intensity(image):
    image = np.asarray(image)
    values = image / 255 if image.dtype == np.uint8 else image
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 2 or not values.size:
        raise ValueError(
            "`image` must be of shape (height, width) or (height, width, 1). "
            f"Received: shape={image.shape}"
        )
    return values


def _checked(name, frames, channels=(1, 2)):
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] not in channels or not frames.size:
        many = " or ".join(map(str, channels))
        raise ValueError(
            f"`{name}` must be of shape (timesteps, height, width, {many}). "
            f"Received: shape={frames.shape}"
        )
    return frames


def _evenly(size, number):
    """At most so many indices, spread evenly over all of them."""
    return np.unique(np.linspace(0, size - 1, number).round().astype(int))


def _spread(values, number):
    """Indices of so many values, spread evenly from the least to the most."""
    left = np.array(values, float)
    found = []
    for wanted in np.linspace(left.min(), left.max(), min(number, left.size)):
        found.append(int(np.nanargmin(np.abs(left - wanted))))
        left[found[-1]] = np.nan
    return sorted(found, key=lambda i: values[i])


def _most(values):
    return values.sum(-1).max()


def _colored(values, most):
    """Pixels of one channel in gray, of two in the colours of polarities.

    Args:
        values: `(..., channels)`.
        most: The sum of the channels that has its colour in full.

    Returns:
        RGB in [0, 1], `(..., 3)`; white where there is nothing.
    """
    from matplotlib.colors import to_rgb

    names = ["black"] if values.shape[-1] == 1 else POLARITIES.values()
    total = values.sum(-1, keepdims=True)
    shares = values / np.where(total, total, 1)
    color = shares @ np.array([to_rgb(name) for name in names])
    return 1 - np.clip(total / (most or 1), 0, 1) * (1 - color)


def _tiles(axes, frames, steps):
    """Draws the frames of some timesteps; axes without one go."""
    for axis, step in zip(axes, steps, strict=False):
        _tile(axis, frames[step], max(1, _most(frames)), f"t = {step + 1}")
    for axis in axes[len(steps) :]:
        axis.remove()


def _tile(axis, values, most, label):
    axis.imshow(_colored(values, most))
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel(label)


def _over_time(axis, values, most):
    """Draws `(timesteps, rows, channels)`, the first row at the bottom."""
    timesteps, rows, _ = values.shape
    axis.imshow(
        np.swapaxes(_colored(values, most), 0, 1),
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        extent=(0.5, timesteps + 0.5, -0.5, rows - 0.5),
    )


def _trains(axis, values, ordered, number):
    """What some pixels send, from the least to the most of `ordered`."""
    chosen = _spread(ordered.ravel(), number)
    pixels = values.reshape(len(values), -1, values.shape[-1])[:, chosen]
    _over_time(axis, pixels, max(1, _most(pixels)))
    ticks = _evenly(len(chosen), 3)
    axis.set_yticks(ticks)
    axis.set_yticklabels(f"{ordered.flat[chosen[i]]:.2g}" for i in ticks)
    axis.set_xlabel("timestep")


def _rates(axis, values, intensity):
    channels = np.moveaxis(values, -1, 0)
    styles = [{"color": "black"}]
    if len(channels) == 2:
        styles = [{"color": x, "label": n} for n, x in POLARITIES.items()]
    if values.shape[1:3] == intensity.shape:
        if len(channels) == 1:
            axis.plot([0, 1], [0, 1], color="gray", linewidth=0.8, zorder=0)
        for i, (channel, style) in enumerate(
            zip(channels, styles, strict=True)
        ):
            rate = channel.mean(0).ravel()
            # A pixel may send as many of one as of the other: points in rings.
            ring = len(channels) - 1 - i
            look = {"s": 40, "facecolors": "none"} if ring else {"s": 8}
            axis.scatter(intensity.ravel(), rate, alpha=0.6, **look, **style)
        axis.set_xlim(-0.05, 1.05)
        axis.set_xlabel("intensity")
        axis.set_ylabel("mean per timestep")
    else:
        edges = np.arange(values.sum(0).max() + 2) - 0.5
        for channel, style in zip(channels, styles, strict=True):
            axis.hist(channel.sum(0).ravel(), edges, histtype="step", **style)
        axis.set_xlabel("events")
        axis.set_ylabel("pixels")
    axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
    if len(channels) == 2:
        axis.legend(
            frameon=False,
            ncols=2,
            handlelength=1,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            borderaxespad=0,
        )
    _curves(axis)


def _cloud(axis, events):
    """Events in space and time, the time going to the right."""
    events = events[:: math.ceil(len(events) / POINTS) or 1]
    for p, (name, color) in enumerate(POLARITIES.items()):
        t, x, y = (events[events["p"] == p][key] for key in ("t", "x", "y"))
        # The camera's rows go down.
        axis.scatter(
            *(t / 1000, x, y), s=2, color=color, label=name, linewidths=0
        )
    axis.invert_zaxis()
    axis.set_xlabel("time (ms)", labelpad=10)
    axis.set_ylabel("x")
    axis.set_zlabel("y")
    for each in (axis.yaxis, axis.zaxis):
        each.get_major_locator().set_params(nbins=4)
    axis.set_box_aspect((2, 1, 1))
    axis.legend(frameon=False, markerscale=4, loc="upper left")
    axis.set_title("Events", fontsize=11)
