"""Curves and firing rates over the iterations of training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_snn.models.diagnose import SILENT
from keras_snn.plots.style import STYLES, VERMILION, Array, tidy
from keras_snn.validation import check_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["firing_rates", "learning_curves"]

LABELS = 30  # layers with a label


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

    Raises:
        TypeError: If `runs` is not a dictionary.
        ValueError: If it is empty, or a run lacks one of these keys.

    Example:
    >>> run = {
    ...     "loss": [2.3, 1.1],
    ...     "accuracy": [0.1, 0.6],
    ...     "iteration": [0, 2],
    ...     "lif1_firing_rate": [0.05, 0.1],
    ... }
    >>> figure = learning_curves({"asymptote": run})
    >>> figure.axes[2].lines[0].get_ydata().tolist()
    [0.05, 0.1]
    """
    from matplotlib.figure import Figure

    smooth = check_count("smooth", smooth)
    _check_mapping("runs", runs)
    if not runs:
        raise ValueError("`runs` must have at least one run. Received: {}")
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for name, run in runs.items():
        _check_run(name, run)
        style = {"lw": 1.8} | STYLES.get(name, {})
        for axis, key in ((loss, "loss"), (accuracy, "accuracy")):
            values = _trailing_mean(run[key], smooth)
            axis.plot(np.arange(1, len(values) + 1), values, **style)
        rates = [run[key] for key in run if key.endswith("firing_rate")]
        rate.plot(run["iteration"], np.mean(rates, 0), label=name, **style)
    tidy(loss, title="Training loss", ylim=(0, None))
    tidy(accuracy, title="Training accuracy", ylim=(0, 1))
    tidy(rate, title="Spikes per neuron and timestep", ylim=(0, None))
    for axis in (loss, accuracy, rate):
        axis.set_xlabel("iteration")
    accuracy.axhline(0.6, color="gray", lw=0.8, ls="--")
    figure.legend(loc="outside right center", frameon=False, handlelength=3.5)
    return figure


def firing_rates(history: Mapping[str, Sequence[float]]) -> "Figure":
    """Draws the firing rate of every layer over the iterations, as a heatmap.

    A row is a layer, the first at the top. A column is a measurement. Layers
    that fire at less than 0.5 % of the timesteps are vermilion: they are
    silent, as `keras_snn.diagnose` says. NaN is gray.

    Args:
        history: The `history` of `callbacks.FiringRateMonitor`: `"iteration"`,
            and keys that end in `"firing_rate"`, with a value per measurement.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        TypeError: If `history` is not a dictionary.
        ValueError: If it has no rates, or lists of unequal lengths.

    Example:
    >>> figure = firing_rates({
    ...     "iteration": [0, 50, 100],
    ...     "lif1_firing_rate": [0.05, 0.1, 0.12],
    ...     "lif2_firing_rate": [0.0, 0.02, 0.1],
    ... })
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['lif1', 'lif2']
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    _check_mapping("history", history)
    iterations = np.asarray(history.get("iteration", ()), "float64")
    rates = {
        key.removesuffix("_firing_rate"): values
        for key, values in history.items()
        if key.endswith("firing_rate")
    }
    sizes = {len(iterations), *map(len, rates.values())}
    if not rates or len(sizes) > 1 or 0 in sizes:
        raise ValueError(
            '`history` must have "iteration" and keys that end in '
            '"firing_rate", with one value per measurement. Received: '
            f"{ {key: len(values) for key, values in history.items()} }"
        )
    values = np.array(list(rates.values()), "float64")
    size = 8, 1.4 + 0.4 * max(4, min(len(rates), 20))
    figure = Figure(figsize=size, layout="constrained")
    axis = figure.subplots()
    colors = colormaps["viridis"].with_extremes(bad="gray", under=VERMILION)
    image = axis.pcolormesh(
        _edges(iterations),
        np.arange(len(rates) + 1) - 0.5,
        values,
        cmap=colors,
        vmin=SILENT,
        vmax=np.nanmax([*values.flat, 10 * SILENT]),
    )
    rows = range(0, len(rates), 1 + len(rates) // LABELS)
    axis.set_yticks(rows, [list(rates)[row] for row in rows])
    axis.invert_yaxis()
    axis.set_xlabel("iteration")
    axis.set_title("Firing rate of every layer", fontsize=11, loc="left")
    figure.colorbar(image, label="spikes per neuron and timestep")
    silent = Patch(color=VERMILION, label=f"silent: below {SILENT}")
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1)}
    axis.legend(handles=[silent], **place, frameon=False)
    return figure


def _check_mapping(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(
            f"`{name}` must be a dictionary. Received: {name}={value!r}"
        )


def _check_run(name: str, run: Mapping[str, Sequence[float]]) -> None:
    _check_mapping(f"runs[{name!r}]", run)
    rates = any(key.endswith("firing_rate") for key in run)
    if not rates or not {"loss", "accuracy", "iteration"} <= set(run):
        raise ValueError(
            f'`runs[{name!r}]` must have "loss", "accuracy", "iteration" and '
            'keys that end in "firing_rate". '
            f"Received: keys {', '.join(map(repr, run))}"
        )


def _edges(places: Array) -> Array:
    """Returns the edges of cells around some places, halfway between them."""
    if len(places) == 1:
        return places + [-0.5, 0.5]
    halfway = (places[1:] + places[:-1]) / 2
    first, last = 2 * places[0] - halfway[0], 2 * places[-1] - halfway[-1]
    return np.array([first, *halfway, last])


def _trailing_mean(values: Sequence[float], width: int) -> Array:
    """Averages each value with the values before it, `width` in all."""
    # Differences of cumulative sums would not recover from infinity.
    stops = range(1, len(values) + 1)
    return np.array([np.mean(values[max(0, x - width) : x]) for x in stops])
