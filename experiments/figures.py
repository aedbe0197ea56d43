"""The paper's figures, drawn from what is stored."""

import math

import numpy as np

from experiments import results
from keras_snn import plots, theory

SMALL = {"fontsize": 9}
SMOOTH = 10  # iterations that a point of a curve averages
METRICS = {
    "loss": f"training loss, means of {SMOOTH}",
    "accuracy": f"training accuracy, means of {SMOOTH}",
}
# What a picture of several seeds says of its bands and bars.
SEEDS = "bands and bars: 95 % intervals of the mean over seeds (Student)"


def _figure(rows, columns, size, title, **options):
    from matplotlib.figure import Figure

    width, height = size
    figure = Figure(
        figsize=(width * columns, height * rows + 0.6), layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=10)
    return figure, axes


def seeds_note(gathered):
    """What a picture adds to its title if there are several seeds."""
    most = max(len(x) for y in gathered.values() for x in y.values())
    return f"\n{SEEDS}" * (most > 1)


def _style(method):
    return {
        "color": plots.COLORS[method],
        "linestyle": plots.DASHES.get(method, "-"),
        "linewidth": 1.5,
    }


def _legend(figure, axis):
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside right center",
        frameon=False,
        handlelength=3,
    )


def draw_curve(axis, records, name, method, limit):
    """A curve as the mean over seeds, with its interval as a band."""
    curves = [results.curve(x, name, limit) for x in records]
    # One that was lost ends before the others.
    length = min(len(at) for at, _ in curves)
    if not length:
        return
    at = curves[0][0][:length]
    values = np.array([y[:length] for _, y in curves])
    # Those behind the first are means already.
    fine = min(length, *(len(x[name]) for x in records))
    for y in values:
        y[:fine] = plots.trailing_mean(y[:fine], SMOOTH)
    _mean_and_band(axis, at, values, method)


def _mean_and_band(axis, at, values, method):
    """The mean of values of several seeds, and its interval."""
    style, mean = _style(method), values.mean(0)
    axis.plot(at, mean, label=method, **style)
    if len(values) > 1:
        half = results.half_interval(values)
        axis.fill_between(
            at,
            *(np.maximum(mean - half, 0), mean + half),
            color=style["color"],
            alpha=0.2,
            linewidth=0,
        )


def _finish(axis, name):
    axis.set_ylim(bottom=0)
    if name == "accuracy":
        axis.set_ylim(0, 1)
        axis.axhline(0.6, color="gray", linewidth=0.6, linestyle=":")


def beginning(gathered, title, limit):
    """Loss, accuracy and firing rate of one panel (Fig. 1)."""
    (methods,) = gathered.values()
    figure, axes = _figure(1, 3, (3.9, 3.0), title)
    for method, records in methods.items():
        if not records:
            continue
        for axis, name in zip(axes[0], METRICS, strict=False):
            draw_curve(axis, records, name, method, limit)
        _draw_rates(axes[0, 2], records, method, limit)
    for axis, name in zip(axes[0], METRICS, strict=False):
        axis.set_title(METRICS[name], **SMALL)
        _finish(axis, name)
    axes[0, 2].set_title("spikes per neuron and timestep", **SMALL)
    axes[0, 2].set_ylim(bottom=0)
    for axis in axes[0]:
        axis.set_xlabel("iteration", **SMALL)
    _legend(figure, axes[0, 2])
    return figure


def _draw_rates(axis, records, method, limit):
    rates = []
    for record in records:
        at, *layers = record["rates"].values()
        rates.append(dict(zip(at, np.mean(layers, 0), strict=True)))
    # Where all were measured.
    at = [x for x in rates[0] if x <= limit and all(x in y for y in rates)]
    values = np.array([[y[x] for x in at] for y in rates])
    _mean_and_band(axis, at, values, method)


def curves(gathered, name, title, limit):
    """Curves in a grid: panels of two labels by both, others in rows of three.

    Args:
        gathered: What `results.gather` returns.
        name: "loss" or "accuracy".
        title: What is written above.
        limit: Iteration to end at.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    panels = list(gathered)
    if len(panels[0]) == 2:
        rows = list(dict.fromkeys(x[0] for x in panels))
        columns = list(dict.fromkeys(x[1] for x in panels))
        shape = len(rows), len(columns)
    else:
        shape = math.ceil(len(panels) / 3), min(3, len(panels))
    figure, axes = _figure(*shape, (2.7, 1.9), title, sharex=True, sharey=True)
    for axis, panel in zip(axes.flat, panels, strict=False):
        for method, records in gathered[panel].items():
            if records:
                draw_curve(axis, records, name, method, limit)
        axis.set_title(", ".join(panel), fontsize=8)
        _finish(axis, name)
    for axis in axes[-1]:
        axis.set_xlabel("iteration", **SMALL)
    for axis in axes[:, 0]:
        axis.set_ylabel(METRICS[name].replace(", ", ",\n"), fontsize=7)
    most = max(axes.flat, key=lambda x: len(x.lines))
    _legend(figure, most)
    return figure


def loss_and_accuracy(gathered, title, limit):
    """Loss beside accuracy of one panel (Fig. 4)."""
    (methods,) = gathered.values()
    figure, axes = _figure(1, 2, (4.2, 3.0), title)
    for axis, name in zip(axes[0], METRICS, strict=True):
        for method, records in methods.items():
            if records:
                draw_curve(axis, records, name, method, limit)
        axis.set_title(METRICS[name], **SMALL)
        axis.set_xlabel("iteration", **SMALL)
        _finish(axis, name)
    _legend(figure, axes[0, 1])
    return figure


def iterations_to_60(gathered, title, limit):
    """Iterations to 60 % of every neuron and method, as bars (Fig. 5)."""
    figure, axes = _figure(1, 1, (10, 3.4), title)
    axis = axes[0, 0]
    methods = list(next(iter(gathered.values())))
    width = 0.8 / len(methods)
    for row, cells in enumerate(gathered.values()):
        for column, method in enumerate(methods):
            records = cells[method]
            place = row + (column - (len(methods) - 1) / 2) * width
            color = plots.COLORS[method]
            if not records:
                continue
            values = [results.reached(x, limit) for x in records]
            there = [x for x in values if x]
            if not there:  # the paper's hyphen
                axis.text(
                    *(place, 0, "–"),
                    ha="center",
                    va="bottom",
                    color=color,
                    fontsize=16,
                    fontweight="bold",
                )
                continue
            mean = np.mean(there)
            half = (
                results.half_interval(np.array(there))
                if len(there) > 1
                else None
            )
            axis.bar(
                *(place, mean, width * 0.9), yerr=half, color=color, capsize=2
            )
            some = f"\n{len(there)} of {len(values)}"
            axis.annotate(
                f"{mean:.0f}{some * (len(there) < len(values))}",
                (place, mean),
                ha="center",
                va="bottom",
                fontsize=6,
            )
    for method in methods:
        axis.bar(0, 0, color=plots.COLORS[method], label=method)
    axis.set_xticks(range(len(gathered)))
    axis.set_xticklabels([x[0] for x in gathered], fontsize=8)
    axis.set_ylabel(f"iterations to 60 % (– : not in {limit:,})", **SMALL)
    _legend(figure, axis)
    return figure


def firing_rates(gathered, title):
    """Rate of every layer before training (Fig. 3)."""
    (methods,) = gathered.values()
    figure, axes = _figure(1, 1, (5.6, 3.2), title)
    axis = axes[0, 0]
    for method, records in methods.items():
        if not records:
            continue
        layers = [x for x in records[0]["rates"] if x != "iteration"]
        values = np.array([[r["rates"][x][0] for x in layers] for r in records])
        at, mean = np.arange(1, len(layers) + 1), values.mean(0)
        axis.errorbar(
            *(
                at,
                mean,
                results.half_interval(values) if len(values) > 1 else None,
            ),
            **_style(method),
            marker="o",
            markersize=4,
            label=method,
        )
    axis.set_xlabel("spiking layer", **SMALL)
    axis.set_ylabel("spikes per neuron and timestep", **SMALL)
    axis.set_xticks(at)
    axis.set_ylim(bottom=-0.001)
    _legend(figure, axis)
    return figure


# Standard deviation of the current of a network under Eq. 11 whose inputs fire
# at a rate of 0.05, as those of the five-layer network do: sqrt(2 x 0.05), in
# units of theta / lam.
NOISE = 0.32


def responses(neurons, title, timesteps=2000):
    """Response to constant and to noisy currents, and its asymptote (Fig. 2).

    Args:
        neurons: List of `(k, lam, theta)`.
        title: What is written above.
        timesteps: Of the simulation.

    Returns:
        `(figure, distances)`: for every neuron the largest distances from
        Theorem 1 to the rate under constant currents, and from the asymptote to
        Theorem 1 and to the rate under noisy currents.
    """
    columns = min(3, len(neurons))
    rows = math.ceil(len(neurons) / columns)
    figure, axes = _figure(rows, columns, (3.0, 2.3), title, sharey=True)
    distances = {}
    for axis, neuron in zip(axes.flat, neurons, strict=False):
        k, lam, theta = neuron
        # To a fifth beyond where the asymptote saturates.
        current = np.linspace(0, 0.6 * (3 - k) * theta / lam, 121)
        rate = theory.firing_rate(current, *neuron)
        asymptote = theory.asymptote(current, *neuron)
        spikes, _ = theory.simulate(current, *neuron, timesteps)
        constant = spikes.mean(0)
        noisy = _noisy(current, neuron, timesteps)
        axis.plot(
            current, constant, ":", color="gray", label="constant current"
        )
        axis.plot(
            *(current[::4], noisy[::4], "o"),
            color="gray",
            markersize=3,
            label="noisy current",
        )
        axis.plot(current, rate, color="#0072B2", label="Theorem 1")
        axis.plot(current, asymptote, "--", color="#D55E00", label="asymptote")
        axis.set_title(f"k={k:g}, λ={lam:g}, θ={theta:g}", **SMALL)
        distances[neuron] = tuple(
            float(np.abs(a - b).max())
            for a, b in (
                (constant, rate),
                (asymptote, rate),
                (asymptote, noisy),
            )
        )
    for axis in axes[-1]:
        axis.set_xlabel("mean current", **SMALL)
    for axis in axes[:, 0]:
        axis.set_ylabel("firing rate", **SMALL)
    _legend(figure, axes[0, 0])
    return figure, distances


def _noisy(current, neuron, timesteps):
    """The rate under currents to which each timestep adds normal noise.

    In float64, so that the report reads alike on every backend.
    """
    k, lam, theta = neuron
    rng = np.random.default_rng(0)
    potential, spikes = np.zeros_like(current), np.zeros_like(current)
    for _ in range(timesteps):
        noise = rng.normal(0, NOISE * theta / lam, current.shape)
        potential = k * potential + lam * (current + noise)
        fired = potential > theta
        potential = np.where(fired, 0, potential)
        spikes += fired
    return spikes / timesteps


def surrogates(steepness, title):
    """The surrogates over the distance to the threshold (Fig. A7).

    Args:
        steepness: Dictionary from the name of a surrogate to its `a`.
        title: What is written above.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    from keras import ops

    from keras_snn.surrogates import NAMES

    figure, axes = _figure(1, 2, (4.2, 3.0), title)
    x = np.linspace(-2, 2, 801, dtype="float32")
    for name, a in steepness.items():
        surrogate = NAMES[name](a=a)
        for axis, values in zip(
            axes[0], (surrogate.smooth(x), surrogate.derivative(x)), strict=True
        ):
            axis.plot(
                x, ops.convert_to_numpy(values), label=f"{name}, a = {a:g}"
            )
    axes[0, 0].step([-2, 0, 2], [0, 0, 1], "k:", linewidth=1, label="spike")
    axes[0, 0].set_title("h, in place of the step", **SMALL)
    axes[0, 1].set_title("h', in place of its derivative", **SMALL)
    for axis in axes[0]:
        axis.set_xlabel("potential - threshold", **SMALL)
    _legend(figure, axes[0, 0])
    return figure


GOOD, BAD, LATE, NONE = "#d5ead6", "#f6d0c4", "#fbedc3", "#eeeeee"


def table(rows, head, colors, title):
    """A table as a picture.

    Args:
        rows: Lists of texts, the first of each the row's name.
        head: Texts above them.
        colors: Lists of colours, one for every text behind the first.
        title: What is written above.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    from matplotlib.figure import Figure

    height = 0.27 * (len(rows) + 1)
    figure = Figure(
        figsize=(3.0 + 1.7 * (len(head) - 1), height + 0.5),
        layout="constrained",
    )
    axis = figure.subplots()
    axis.axis("off")
    widths = np.array([3.0] + [1.7] * (len(head) - 1))
    drawn = axis.table(
        cellText=rows,
        colLabels=head,
        cellColours=[["white", *line] for line in colors],
        colWidths=widths / widths.sum(),
        cellLoc="center",
        bbox=(0, 0, 1, 1),
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)
    for cell in drawn.get_celld().values():
        cell.set_linewidth(0.3)
    figure.suptitle(title, fontsize=9)
    return figure
