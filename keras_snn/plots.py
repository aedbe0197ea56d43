"""Pictures of training; needs matplotlib."""

import numpy as np

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
            values = _trailing_mean(run[key], smooth)
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
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    # An untrained network may start far above the loss of guessing.
    axes[0].set_ylim(bottom=0)
    axes[1].axhline(0.6, color="gray", linewidth=0.8, linestyle="--")
    axes[1].set_ylim(0, 1)
    axes[2].set_ylim(bottom=0)
    figure.legend(loc="outside right center", frameon=False, handlelength=3.5)
    return figure


def _trailing_mean(values, width):
    sums = np.cumsum(np.concatenate([[0.0], values]))
    stop = np.arange(1, len(sums))
    start = np.maximum(stop - width, 0)
    return (sums[stop] - sums[start]) / (stop - start)
