"""Weights and inputs, the same for all contenders.

The check uses dyadic numbers. float32 represents them exactly, so the order of
summation does not matter and spikes can be compared with `==`. The timed steps
use the asymptote initialization, so every layer fires there, too.
"""

import dataclasses
import math

import numpy as np

from benchmarks.cases import Case

__all__ = ["Data", "Neuron", "channels_first", "checked_case", "make"]


@dataclasses.dataclass(frozen=True)
class Neuron:
    """Constants of the neuron (Eq. 2) and steepness of the arctan surrogate."""

    k: float
    lam: float
    theta: float
    a: float = 2.0


# In the check all potentials are dyadic, so none equals this threshold. Exactly
# at the threshold, SpikingJelly fires and the others do not.
EXACT = Neuron(0.5, 0.5, float(np.float32(1.03)))
TIMED = Neuron(0.8, 0.2, 1.0)

# The check's weights are multiples of 1 / GRAIN, and pooling divides by four.
GRAIN = 64
# A power of two: with the variance below, variance + epsilon is exactly 1.
EPSILON = 2.0**-10


@dataclasses.dataclass(frozen=True)
class Data:
    """The numbers that a contender computes with.

    Args:
        neuron: The `Neuron`.
        weights: The arrays of every layer, in the order and layout of Keras.
        x: Images in [0, 1], `(batch, height, width, channels)`, for a training
            step. Otherwise input spikes `(batch, timesteps, ...)`, or currents
            if the network has no weights.
        y: Labels for a training step, otherwise the gradient at the output.
    """

    neuron: Neuron
    weights: list[list[np.ndarray]]
    x: np.ndarray
    y: np.ndarray


def checked_case(case: Case) -> Case:
    """Returns the short version of a case, for comparing spikes.

    Every timestep halves the potential, which costs one of the 24 bits of
    float32. There are enough bits for ten timesteps.
    """
    return dataclasses.replace(case, batch=2, timesteps=10, dtype="float32")


def make(case: Case, exact: bool) -> Data:
    """Makes weights and inputs. Every call returns the same.

    Args:
        case: The `Case`.
        exact: Whether to make the dyadic numbers of the check.
    """
    rng = np.random.default_rng(0)
    neuron = EXACT if exact else TIMED
    weights = _weights(case, neuron, exact, rng)
    if case.trains and not exact:
        x = rng.random((case.batch, *case.input_shape), dtype="float32")
        (classes,) = case.output_shape
        y = rng.integers(classes, size=case.batch).astype("int32")
        return Data(neuron, weights, x, y)
    shape = (case.batch, case.timesteps, *case.input_shape)
    if case.learns:
        rate = 0.3 if case.image else 0.1
        x = (rng.random(shape, dtype="float32") < rate).astype("float32")
    else:
        x = _normal(rng, shape) * 2 + 1
        x = _rounded(x) if exact else x
    y = _normal(rng, (case.batch, *case.output_shape))
    return Data(neuron, weights, x, y)


def _normal(rng, shape):
    """Returns normal numbers, which repeat after 64 samples.

    To make as many as a GPU needs takes longer than to time a case.
    """
    few = (min(shape[0], 64), *shape[1:])
    return np.resize(rng.standard_normal(few, dtype="float32"), shape)


def _rounded(array):
    return np.round(array * GRAIN) / GRAIN


def _weights(case, neuron, exact, rng):
    bias = neuron.theta * (1 - neuron.k) / (2 * neuron.lam)
    bias = _rounded(bias) if exact else bias

    def synapses(*shape):
        # The asymptote initialization (Eq. 11).
        stddev = (
            math.sqrt(2 / math.prod(shape[:-1])) * neuron.theta / neuron.lam
        )
        kernel = rng.standard_normal(shape, dtype="float32")
        kernel *= np.float32(stddev)
        kernel = _rounded(kernel) if exact else kernel
        return [kernel, np.full(shape[-1], bias, "float32")]

    def normalization(channels):
        gamma = 1.0 if exact else neuron.theta / (2 * neuron.lam)
        values = (gamma, bias, 0.0, 1.0 - EPSILON)
        return [np.full(channels, value, "float32") for value in values]

    make = {
        "conv": lambda size, shape: synapses(3, 3, shape[-1], size),
        "dense": lambda size, shape: synapses(shape[-1], size),
        "norm": lambda _, shape: normalization(shape[-1]),
    }
    return [
        make[layer.kind](layer.size, shape) if layer.kind in make else []
        for layer, shape in case.trace()
    ]


def channels_first(
    case: Case, weights: list[list[np.ndarray]]
) -> list[list[np.ndarray]]:
    """Reorders weights for a network that computes channels first.

    Only the dense layer after a flattening changes, because its inputs have a
    different order.
    """
    reordered, image = [], None
    for (layer, shape), arrays in zip(case.trace(), weights, strict=True):
        if layer.kind == "flatten":
            image = shape
        elif layer.kind == "dense" and image:
            kernel = arrays[0].reshape(*image, layer.size)
            kernel = kernel.transpose(2, 0, 1, 3).reshape(-1, layer.size)
            arrays, image = [kernel, arrays[1]], None
        reordered.append(arrays)
    return reordered
