"""Potentials of neurons in a network, and the response of one neuron."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_snn import theory
from keras_snn.models.traces import potentials as trace_potentials
from keras_snn.models.traces import traces
from keras_snn.plots.style import STYLES, VERMILION, Array, spread, tidy
from keras_snn.validation import check_neuron

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["potentials", "response"]

NEURONS = 4  # neurons per figure
LINE = {"color": STYLES["glorot"]["color"], "lw": 1.4}
THRESHOLD = {"color": "gray", "lw": 0.9, "ls": "--"}


def potentials(
    model: Any, x: Any, layer: str, neurons: Sequence[int] | None = None
) -> "Figure":
    """Draws the potentials of some neurons of a layer for one input.

    There is a row per neuron. At each timestep, the line first reaches the
    potential before the reset, `u_t`. If the neuron spikes, a dot marks this
    potential, and the line drops to the potential after the reset, `v_{t+1}`.
    The line has gaps at masked timesteps.

    The potentials follow the equations of the layer, driven by the currents
    that it receives in the model. The model runs in inference and stays as it
    was.

    Args:
        model: A model that `keras_snn.models.probe` takes.
        x: Inputs as `predict` takes them, with the axis of the samples. The
            figure shows the first sample.
        layer: Name of a layer of neurons, one of those of `probe`.
        neurons: Indices of the neurons, from 0. In layers of images they count
            in the order of `keras.layers.Flatten`. `None` means up to four:
            from the one with the fewest spikes to the one with the most.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        TypeError: If `x` is not an input of a model.
        ValueError: If `probe` does not accept the model, `x` does not fit it,
            the model has no such layer or neurons, or the layer gets an
            `initial_state`.

    Example:
    >>> import keras
    >>> from keras_snn.layers import LIF
    >>> inputs = keras.Input((4, 1))
    >>> spikes = LIF(k=0.5, lam=1.0, theta=1.25, name="lif")(inputs)
    >>> figure = potentials(
    ...     keras.Model(inputs, spikes), np.ones((1, 4, 1)), "lif"
    ... )
    >>> line = figure.axes[0].lines[0]
    >>> line.get_xdata().tolist()
    [1, 1, 2, 2, 3, 3, 4, 4]
    >>> line.get_ydata().tolist()
    [1.0, 1.0, 1.5, 0.0, 1.0, 1.0, 1.5, 0.0]
    """
    from matplotlib.figure import Figure

    if not isinstance(layer, str):
        raise TypeError(f"`layer` must be a name. Received: layer={layer!r}")
    trace = traces(model, x, layer)[layer]
    integrated, kept, theta, spikes = trace_potentials(trace)
    timesteps, *features = integrated.shape
    integrated, kept, spikes = (
        values.reshape(timesteps, -1) for values in (integrated, kept, spikes)
    )
    neurons = _check_neurons(neurons, spikes.sum(0))
    figure = Figure(figsize=(9, 0.9 + 1.5 * len(neurons)), layout="constrained")
    axes = figure.subplots(len(neurons), sharex=True, squeeze=False)[:, 0]
    steps = np.arange(1, timesteps + 1)
    for axis, neuron in zip(axes, neurons, strict=True):
        line = np.stack([integrated[:, neuron], kept[:, neuron]], -1).ravel()
        axis.plot(np.repeat(steps, 2), line, label="potential", **LINE)
        axis.axhline(theta.flat[neuron], label="threshold", **THRESHOLD)
        fired = spikes[:, neuron] > 0
        dots = steps[fired], integrated[fired, neuron]
        axis.plot(*dots, "o", color=VERMILION, ms=4, label="spike")
        name = f"neuron {neuron}"
        if len(features) > 1:
            place = np.unravel_index(neuron, features)
            name += f"\n({', '.join(map(str, place))})"
        tidy(axis, ylabel=name)
    axes[-1].set_xlabel("timestep")
    axes[-1].locator_params("x", integer=True)
    figure.align_ylabels()
    # On the line of the title, where it covers no potential.
    corner = {"loc": "lower right", "bbox_to_anchor": (1, 1)}
    axes[0].legend(**corner, ncols=3, frameon=False, borderaxespad=0.2)
    axes[0].set_title(f"{layer}: potentials", fontsize=11, loc="left")
    return figure


def _check_neurons(neurons: Sequence[int] | None, counts: Array) -> list[int]:
    """Returns the indices of the neurons to draw.

    Args:
        neurons: See `potentials`.
        counts: Spikes of every neuron.
    """
    if neurons is None:
        return spread(counts, NEURONS).tolist()
    size = len(counts)
    indices = np.asarray(neurons)
    if (
        indices.ndim != 1
        or not indices.size
        or indices.dtype.kind not in "iu"
        or not (indices.min() >= 0 and indices.max() < size)
    ):
        raise ValueError(
            f"`neurons` must be a list of indices from 0 to {size - 1}. "
            f"Received: neurons={neurons!r}"
        )
    return indices.tolist()


def response(
    k: float, lam: float, theta: float, timesteps: int = 20
) -> "Figure":
    """Draws the firing rate of a neuron over a constant current.

    The curves are the rate in continuous time (Theorem 1), its slant asymptote
    (Theorem 2), and a simulation of Eq. 2. A neuron in discrete time fires
    every n-th timestep, so its rate moves in steps.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        timesteps: Number of timesteps of the simulation, at least 1.

    Returns:
        A `matplotlib.figure.Figure`.

    Reference:
        "Accelerating Training of Deep Spiking Neural Networks with Parameter
        Initialization" (ICLR 2022 submission), Theorems 1 and 2, Fig. 2.

    Example:
    >>> figure = response(k=0.8, lam=0.2, theta=1.0, timesteps=20)
    >>> figure.axes[0].get_title()
    'k = 0.8, lam = 0.2, theta = 1'
    """
    from matplotlib.figure import Figure

    k, lam, theta = neuron = check_neuron(k, lam, theta)
    # The asymptote reaches 1 at 5/6 of the range.
    current = np.linspace(0, 0.6 * (3 - k) * theta / lam, 301)
    spikes, _ = theory.simulate(current, *neuron, timesteps)
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axis = figure.subplots()
    name = f"simulation, {timesteps} timesteps"
    axis.plot(current, spikes.mean(0), color="gray", lw=1.2, label=name)
    rate = theory.firing_rate(current, *neuron)
    axis.plot(current, rate, label="Theorem 1", lw=1.8, **STYLES["glorot"])
    line = theory.asymptote(current, *neuron)
    style = {"ls": "--", "lw": 1.8} | STYLES["asymptote"]
    axis.plot(current, line, label="asymptote", **style)
    tidy(axis, xlabel="current", ylabel="firing rate")
    axis.set_title(f"k = {k:g}, lam = {lam:g}, theta = {theta:g}", fontsize=11)
    axis.legend(frameon=False)
    return figure
