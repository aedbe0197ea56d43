"""Rescales the weights of any network so that all its neurons fire."""

from typing import NamedTuple

import keras
import numpy as np

from keras_snn import theory
from keras_snn.layers.walk import walk
from keras_snn.models.rates import Batches, FiringRates
from keras_snn.models.report import table
from keras_snn.models.sweep import Sweep
from keras_snn.surrogates import Exponential
from keras_snn.validation import check_choice, check_number

__all__ = ["Calibration", "Row", "calibrate"]

CLOSE = 0.1  # relative deviation of the rate that needs no note


class Row(NamedTuple):
    """What `calibrate` did to one layer of neurons.

    Attributes:
        layer: Name of the layer, as in `probe`.
        before: Firing rate before.
        after: Firing rate after.
        factor: What the weights were multiplied by.
        steepness: The `a` of the surrogate, or `None` if it has none.
        note: Why the rate is not the target, or an empty string.
    """

    layer: str
    before: float
    after: float
    factor: float
    steepness: float | None
    note: str


class Calibration(list):
    """A list of `Row` that prints as a table."""

    def __str__(self):
        """Returns the table."""
        return table(
            ("layer", "before", "after", "factor", "steepness", ""),
            [
                (
                    row.layer,
                    f"{row.before:.4f}",
                    f"{row.after:.4f}",
                    f"{row.factor:.4g}",
                    "" if row.steepness is None else f"{row.steepness:.3f}",
                    row.note,
                )
                for row in self
            ],
        )


def calibrate(model, x, rate=0.15, batch_size=None, surrogate=True):
    """Rescales the weights so that every layer of neurons fires at a rate.

    It works in place, before training, on any graph: shortcuts, branches,
    normalization, recurrence and models inside the model.

    It goes through the network once. For every layer of neurons, it multiplies
    the nearest weights upstream by one factor: kernel and bias, scale and shift
    of a normalization, and a recurrent kernel. Weights between the input and
    several layers of neurons take the factor of the first. The readout keeps
    its weights. Input that passes through no weights, such as spikes through a
    shortcut, keeps its size.

    Do not use it if neurons fire at every timestep on purpose, as in
    `residual_snn(block="sew-and")`.

    It measures as `fit` runs the model: dropout is active, and batch
    normalization uses the statistics of each batch. Moving averages, states and
    random generators stay as they were, so equal models get equal factors.
    An error or an interrupt during the search restores the weights.

    It also gives all neurons the surrogate that keeps the norm of the gradient
    over many layers, `Exponential(theory.stationary_steepness(k, theta, ...))`,
    with a detached reset. A compiled model rebuilds its training step. If your
    model is part of another compiled model, compile that one again.

    Args:
        model: A built functional or `Sequential` model, as `probe` takes it.
        x: Inputs as `predict` takes them, or batches of them, see
            `callbacks.firing_rates`. A hundred samples are enough. All of them
            are held in memory.
        rate: The firing rate to reach, in `(0, 1)`: mean spikes per neuron and
            timestep.
        batch_size: Samples per call of the model, at least 1. `None` means 32.
            For normalization, use the batch size of training. It must be `None`
            if `x` comes in batches.
        surrogate: Whether to set the surrogates, too.

    Returns:
        A list with one row `(layer, before, after, factor, steepness, note)`
        per layer of neurons. It prints as a table. If no factor leads to the
        rate, the layer has the one that comes closest, and `note` says so.

    Raises:
        TypeError: If `x` is none of the above.
        ValueError: If an argument is out of range, or `probe` does not accept
            the model.

    Example:
    >>> from keras_snn.models import sequential_snn
    >>> model = sequential_snn("FC50*3", (8, 8, 1), 10, initializer="glorot")
    >>> report = calibrate(model, np.ones((16, 8, 8, 1)), rate=0.2)
    >>> [row.layer for row in report if 0.18 < row.after < 0.22]
    ['lif1', 'lif2', 'lif3']
    """
    rate = check_number("rate", rate, high=1.0, included="neither")
    check_choice("surrogate", surrogate, (False, True))
    batches = list(Batches(x, batch_size))
    measure = FiringRates(model, training=True)
    before = measure(batches)
    sweep = Sweep(model, batches, rate)
    found = sweep.run()
    if surrogate:
        _set_surrogates(model, sweep, rate)
    after = measure(batches)
    rows = Calibration()
    for neurons in sweep.found:
        name = neurons.name
        steepness = getattr(sweep.constants(neurons).surrogate, "a", None)
        rates = before[name][0], after[name][0]
        factor, note = found[name]
        if not note and not abs(rates[1] - rate) <= CLOSE * rate:
            note = "misses the rate"
        rows.append(Row(name, *rates, factor, steepness, note))
    return rows


def _set_surrogates(model, sweep, rate):
    """Gives all neurons the surrogate of the stationary law."""
    # The law has no steepness outside of this range.
    rate = float(np.clip(rate, theory.LOWEST_RATE, theory.HIGHEST_RATE))
    found = []
    for neurons in sweep.found:
        constants = sweep.constants(neurons)
        k, theta = np.mean(constants.k), np.mean(constants.theta)
        timesteps = sweep.timesteps[neurons.name]
        a = theory.stationary_steepness(float(k), float(theta), rate, timesteps)
        found.append((constants, Exponential(a)))
    for constants, surrogate in found:  # all or none, since the law takes long
        constants.set_gradient(surrogate, detach_reset=True)
    for layer in walk(model):
        if isinstance(layer, keras.Model) and layer.compiled:
            layer.make_train_function(force=True)
