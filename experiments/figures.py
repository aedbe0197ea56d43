"""Draws the paper's figures from stored runs."""

import dataclasses
import itertools
import math
import textwrap
from typing import Any

import numpy as np

from experiments import results
from experiments.recipes import neuron
from keras_snn import theory
from keras_snn.plots import STYLES

__all__ = [
    "COLORS",
    "SMALL",
    "curves",
    "early_curves",
    "firing_rates",
    "iterations_to_60",
    "make",
    "responses",
    "surrogates",
]

COLORS = {name: style["color"] for name, style in STYLES.items()} | {
    "stationary": "#56B4E9",
    "copy": "#000000",
    "lee2020": "#F0E442",
    "rossbroich": "#8C564B",
    "micheli": "#7F7F7F",
    "shi": "#17BECF",
}
DASHES: dict[str, Any] = {
    name: style["ls"] for name, style in STYLES.items() if "ls" in style
}
SMALL = {"fontsize": 9}
SMOOTH = 10  # iterations averaged per point of a curve
METRICS = {
    "loss": f"training loss, means of {SMOOTH}",
    "accuracy": f"training accuracy, means of {SMOOTH}",
    "tested": "test accuracy",
    "rates": "spikes per neuron and timestep",
}
SEEDS = "bands and bars: 95 % intervals of the mean over seeds (Student)"


def make(rows, columns, size, title, **options):
    """Makes a figure and its axes, in a grid."""
    from matplotlib.figure import Figure

    # A single small panel leaves room for the title and the legend.
    size = max(5, size[0] * columns), size[1] * rows + 0.6
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    letters = int(12 * size[0])  # 12 per inch
    lines = (textwrap.wrap(x, letters) for x in title.split("\n"))
    figure.suptitle("\n".join(itertools.chain(*lines)), fontsize=10)
    return figure, axes


def _legend(figure, axis):
    place = {"loc": "outside right center", "frameon": False}
    figure.legend(*axis.get_legend_handles_labels(), handlelength=3, **place)


def _draw_metric(axis, records, name, method, limit):
    """Draws loss or accuracy of a method."""
    found = [x.curve(name, limit) for x in records]
    # A run whose loss became NaN is shorter than the others.
    length = min(len(at) for at, _ in found)
    if not length:
        return
    values = np.array([y[:length] for _, y in found])
    # Later values are already means.
    fine = min(length, *(len(getattr(x, name)) for x in records))
    values[:, :fine] = np.transpose(
        [values[:, max(0, i - SMOOTH) : i].mean(1) for i in range(1, fine + 1)]
    )
    _draw_mean(axis, found[0][0][:length], values, method)


def _draw_rates(axis, records, method, limit):
    """Draws the mean firing rate of all layers."""
    rates = []
    for x in records:
        at, *layers = x.rates.values()
        rates.append(dict(zip(at, np.mean(layers, 0), strict=True)))
    at = [x for x in rates[0] if x <= limit and all(x in y for y in rates)]
    values = np.array([[y[x] for x in at] for y in rates])
    _draw_mean(axis, at, values, method)


def _draw_tested(axis, records, method):
    """Draws the test accuracy at the end of each epoch of the longest runs."""
    tested = [
        {at: hits / x.test_samples for at, hits in x.tested}
        for x in results.longest(records)
    ]
    at = [x for x in tested[0] if all(x in y for y in tested)]
    if at:
        values = np.array([[y[x] for x in at] for y in tested])
        _draw_mean(axis, at, values, method, marker=".")


def _draw_mean(axis, at, values, method, **style):
    """Draws the mean over seeds, and its interval as a band."""
    color, mean = COLORS[method], values.mean(0)
    style |= {"color": color, "linestyle": DASHES.get(method, "-")}
    axis.plot(at, mean, label=method, **style)
    if len(values) > 1:
        half = results.half_interval(values)
        low, high = np.maximum(mean - half, 0), mean + half
        if len(at) == 1:
            axis.vlines(at, low, high, color=color, alpha=0.4)
        else:
            style = {"color": color, "alpha": 0.2, "linewidth": 0}
            axis.fill_between(at, low, high, **style)


def _finish(axis, name):
    axis.set_xlabel("iteration", **SMALL)
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    if name in ("accuracy", "tested"):
        axis.set_ylim(0, 1)
        axis.axhline(0.6, color="gray", linewidth=0.6, linestyle=":")


def early_curves(gathered, title: str, limit: int, last: str):
    """Draws loss, accuracy and a third curve of one panel (Figs. 1 and 4).

    Args:
        gathered: Records of a single panel.
        title: Title of the figure.
        limit: Iteration at which to stop.
        last: `"tested"` for the test accuracy, which shows the longest runs of
            each method to their ends, or `"rates"` for the firing rate.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    (methods,) = gathered.values()
    names = ("loss", "accuracy", last)
    figure, axes = make(1, len(names), (4.0, 3.0), title)
    for axis, name in zip(axes[0], names, strict=True):
        for method, records in methods.items():
            if records and name == "rates":
                _draw_rates(axis, records, method, limit)
            elif records and name == "tested":
                _draw_tested(axis, records, method)
            elif records:
                _draw_metric(axis, records, name, method, limit)
        axis.set_title(METRICS[name], **SMALL)
        _finish(axis, name)
    _legend(figure, axes[0, 0])
    return figure


def curves(gathered, title: str, limit: int):
    """Draws the training accuracy of several panels.

    Panels with two labels form a grid. Others come in rows of three, without
    those that have no records.

    Args:
        gathered: Records by panel and method.
        title: Title of the figure.
        limit: Iteration at which to stop.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    panels = list(gathered)
    if len(panels[0]) != 2:
        panels = [x for x in panels if any(gathered[x].values())]
    rows, columns = math.ceil(len(panels) / 3), min(3, len(panels))
    if len(panels[0]) == 2:
        rows, columns = (len({x[i] for x in panels}) for i in (0, 1))
    shared = {"sharex": True, "sharey": True}
    figure, axes = make(rows, columns, (2.7, 1.9), title, **shared)
    for axis, panel in zip(axes.flat, panels, strict=False):
        for method, records in gathered[panel].items():
            if records:
                _draw_metric(axis, records, "accuracy", method, limit)
        # Long labels take two lines.
        label = ", ".join(panel).replace(", k=", "\nk=")
        axis.set_title(label, fontsize=8)
        _finish(axis, "accuracy")
        axis.label_outer()
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel(METRICS["accuracy"].replace(", ", ",\n"), fontsize=7)
    _legend(figure, max(axes.flat, key=lambda x: len(x.lines)))
    return figure


def iterations_to_60(gathered, title: str, limit: int, leaky: int = 0):
    """Draws iterations to 60 % and test accuracy by neuron (Fig. 5).

    Args:
        gathered: Records by panel and method.
        title: Title of the figure.
        limit: Length of the runs.
        leaky: Where the leaky neurons begin. No line joins them to the others.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure, axes = make(2, 1, (10, 2.6), title, sharex=True)
    bars, lines = axes[:, 0]
    methods = list(next(iter(gathered.values())))
    width = 0.8 / len(methods)
    for column, method in enumerate(methods):
        place = (column - (len(methods) - 1) / 2) * width
        tested = {}
        for row, cells in enumerate(gathered.values()):
            if cells[method]:
                _draw_bar(
                    bars, row + place, width, cells[method], method, limit
                )
                found = [x.test_accuracy(limit) for x in cells[method]]
                if None not in found:
                    tested[row] = found
        bars.bar(0, 0, color=COLORS[method], label=method)
        style = {"color": COLORS[method], "ls": DASHES.get(method, "-")}
        for rows in (range(leaky), range(leaky, len(gathered))):
            there = [x for x in rows if x in tested]
            means = [np.mean(tested[x]) for x in there]
            if there:
                lines.plot(there, means, marker="o", markersize=4, **style)
    lines.set_xticks(range(len(gathered)))
    lines.set_xticklabels([x[0] for x in gathered], fontsize=8)
    bars.set_ylabel(f"iterations to 60 %\n(– : not in {limit:,})", **SMALL)
    lines.set_ylabel("test accuracy", **SMALL)
    lines.set_ylim(0, 1)
    _legend(figure, bars)
    return figure


def _draw_bar(axis, place, width, records, method, limit):
    reached = [x.reached(limit) for x in records]
    there = np.array([x for x in reached if x])
    align = {"ha": "center", "va": "bottom"}
    if not len(there):  # the paper draws a hyphen, too
        dash = {"fontsize": 16, "fontweight": "bold", "color": COLORS[method]}
        axis.text(place, 0, "–", **dash, **align)
        return
    half = results.half_interval(there) if len(there) > 1 else None
    style = {"color": COLORS[method], "capsize": 2}
    axis.bar(place, there.mean(), width * 0.9, yerr=half, **style)
    text = f"{there.mean():.0f}"
    if len(there) < len(reached):
        text += f"\n{len(there)} of {len(reached)}"
    axis.annotate(text, (place, there.mean()), fontsize=6, **align)


def firing_rates(gathered, title: str):
    """Draws the firing rate of every layer before training (Fig. 3).

    Args:
        gathered: Records of a single panel.
        title: Title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    (methods,) = gathered.values()
    figure, axes = make(1, 1, (5.6, 3.2), title)
    axis = axes[0, 0]
    for method, records in methods.items():
        if not records:
            continue
        layers = (list(x.rates.values())[1:] for x in records)
        values = np.array([[rates[0] for rates in x] for x in layers])
        at = np.arange(1, values.shape[1] + 1)
        half = results.half_interval(values) if len(values) > 1 else None
        style = {"marker": "o", "markersize": 4, "label": method}
        style |= {"color": COLORS[method], "linestyle": DASHES.get(method, "-")}
        axis.errorbar(at, values.mean(0), half, **style)
        axis.set_xticks(at)
    axis.set_xlabel("spiking layer", **SMALL)
    axis.set_ylabel(METRICS["rates"], **SMALL)
    axis.set_ylim(bottom=-0.001)
    _legend(figure, axis)
    return figure


# With the weights of Eq. 11 and inputs that fire at a rate of 0.05, as in the
# five-layer network, currents have a standard deviation of sqrt(2 x 0.05)
# theta / lam.
NOISE = 0.32
TIMESTEPS = 2000  # of a simulation


def responses(neurons, title: str):
    """Draws responses to constant and noisy currents (Fig. 2).

    Args:
        neurons: Tuples `(k, lam, theta)`.
        title: Title of the figure.

    Returns:
        The figure, and a dictionary with three largest distances per neuron:
        from Theorem 1 to the rate under constant currents, from Theorem 1 to
        the asymptote, and from the asymptote to the rate under noisy currents.
    """
    columns = min(3, len(neurons))
    rows = math.ceil(len(neurons) / columns)
    figure, axes = make(rows, columns, (3.0, 2.3), title, sharey=True)
    distances = {}
    for axis, constants in zip(axes.flat, neurons, strict=False):
        k, lam, theta = constants
        # The asymptote saturates at 5/6 of the range.
        current = np.linspace(0, 0.6 * (3 - k) * theta / lam, 121)
        rate = theory.firing_rate(current, *constants)
        asymptote = theory.asymptote(current, *constants)
        spikes, _ = theory.simulate(current, *constants, TIMESTEPS)
        constant = spikes.mean(0)
        noisy = _noisy(current, k, lam, theta)
        gray = {"color": "gray"}
        axis.plot(current, constant, ":", label="constant current", **gray)
        dots = {"label": "noisy current", "markersize": 3}
        axis.plot(current[::4], noisy[::4], "o", **dots, **gray)
        axis.plot(current, rate, color=COLORS["glorot"], label="Theorem 1")
        style = {"color": COLORS["asymptote"], "label": "asymptote"}
        axis.plot(current, asymptote, "--", **style)
        axis.set_title(neuron(*constants), **SMALL)
        pairs = (constant, rate), (asymptote, rate), (asymptote, noisy)
        distances[constants] = [float(np.abs(a - b).max()) for a, b in pairs]
    for axis in axes[-1]:
        axis.set_xlabel("mean current", **SMALL)
    for axis in axes[:, 0]:
        axis.set_ylabel("firing rate", **SMALL)
    _legend(figure, axes[0, 0])
    return figure, distances


def _noisy(current, k, lam, theta):
    """Simulates currents with normal noise, in float64 on every backend."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, NOISE * theta / lam, (TIMESTEPS, *current.shape))
    spikes, _ = theory.simulate(current + noise, k, lam, theta)
    return spikes.mean(axis=0)


def surrogates(steepness: dict[str, float], title: str):
    """Draws surrogates against the distance to the threshold (Fig. A7).

    Args:
        steepness: Maps the name of each surrogate to `a`.
        title: Title of the figure.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    from keras import ops

    from keras_snn.surrogates import get

    figure, axes = make(1, 2, (4.2, 3.0), title)
    x = np.linspace(-2, 2, 801, dtype="float32")
    for name, a in steepness.items():
        surrogate: Any = dataclasses.replace(get(name), a=a)
        functions = surrogate.smooth, surrogate.derivative
        for axis, function in zip(axes[0], functions, strict=True):
            values = ops.convert_to_numpy(function(ops.convert_to_tensor(x)))
            axis.plot(x, values, label=f"{name}, a = {a:g}")
    axes[0, 0].step([-2, 0, 2], [0, 0, 1], "k:", linewidth=1, label="spike")
    axes[0, 0].set_title("h, in place of the step", **SMALL)
    axes[0, 1].set_title("h', in place of its derivative", **SMALL)
    for axis in axes[0]:
        axis.set_xlabel("potential - threshold", **SMALL)
    _legend(figure, axes[0, 0])
    return figure
