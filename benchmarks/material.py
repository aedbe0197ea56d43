"""Weights and inputs that all contenders share, made with NumPy.

Two sets. For the check every number is dyadic, so that float32 holds it
exactly whatever the order of summation, and spikes compare with `==`. For the
timing the weights follow the asymptote initialization of the timed neuron, so
that every layer fires there too.
"""

import dataclasses
import math

import numpy as np

from benchmarks.workloads import traced


@dataclasses.dataclass(frozen=True)
class Neuron:
    """The constants of Eq. 2 and the steepness of the arctan surrogate."""

    k: float
    lam: float
    theta: float
    a: float = 2.0


# A potential is a multiple of a power of two here and never meets 1.03: at the
# threshold SpikingJelly fires and the others do not.
EXACT = Neuron(0.5, 0.5, float(np.float32(1.03)))
TIMED = Neuron(0.8, 0.2, 1.0)

# Every timestep halves the potential, which takes one more bit of the 24 that
# float32 has; a longer run would round.
CHECKED_TIMESTEPS = 10
CHECKED_BATCH = 2
GRAIN = 64  # weights are multiples of 1/GRAIN

# A power of two, so that variance + epsilon is 1 without rounding.
EPSILON = 2.0**-10


def check_case(case):
    """The case in which spikes are compared: short, small and in float32."""
    return dataclasses.replace(
        case,
        batch=CHECKED_BATCH,
        timesteps=CHECKED_TIMESTEPS,
        dtype="float32",
    )


def weights(case, neuron, exact, seed=0):
    """The weights of every layer, in the order and layout of Keras.

    Args:
        case: The `Case`.
        neuron: The `Neuron` that the asymptote initialization is for.
        exact: Whether to round to multiples of 1/64.
        seed: Of the random numbers.

    Returns:
        A list with, for every layer, the list of its arrays.
    """
    rng = np.random.default_rng(seed)
    bias = neuron.theta * (1 - neuron.k) / (2 * neuron.lam)

    def rounded(array):
        array = np.round(array * GRAIN) / GRAIN if exact else array
        return array.astype("float32")

    def synapses(*shape):
        # The paper's Eq. 11.
        gain = math.sqrt(2 / math.prod(shape[:-1])) * neuron.theta / neuron.lam
        kernel = rng.standard_normal(shape, dtype="float32") * np.float32(gain)
        return [rounded(kernel), rounded(np.full(shape[-1], bias))]

    def normalization(channels):
        gain = 1.0 if exact else neuron.theta / (2 * neuron.lam)
        values = (gain, bias, 0.0, 1.0 - EPSILON)
        arrays = [np.full(channels, value, "float32") for value in values]
        return [arrays[0], rounded(arrays[1]), *arrays[2:]]

    def of(layer, shape):
        if layer.kind == "conv":
            return synapses(3, 3, shape[-1], layer.size)
        if layer.kind == "dense":
            return synapses(shape[-1], layer.size)
        if layer.kind == "norm":
            return normalization(shape[-1])
        return []

    return [of(*pair) for pair in traced(case.layers, case.input_shape)]


def sequences(case, exact, seed=1):
    """Input spikes `(batch, timesteps, ...)`; currents for bare neurons."""
    rng = np.random.default_rng(seed)
    shape = (case.batch, case.timesteps, *case.input_shape)
    if case.learns:
        rate = 0.3 if case.image else 0.1
        return (rng.random(shape, dtype="float32") < rate).astype("float32")
    current = rng.standard_normal(shape, dtype="float32") * 2 + 1
    return np.round(current * GRAIN) / GRAIN if exact else current


def images(case, classes=10, seed=2):
    """Images in [0, 1] with labels."""
    rng = np.random.default_rng(seed)
    x = rng.random((case.batch, *case.input_shape), dtype="float32")
    return x, rng.integers(classes, size=case.batch).astype("int32")


def cotangent(shape, seed=3):
    """Gradient at the output, to start the backward pass from."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape, dtype="float32")


def save(path, arrays):
    """Writes nested weights to an `.npz` file."""
    flat = {
        f"{layer}.{n}": array
        for layer, of_layer in enumerate(arrays)
        for n, array in enumerate(of_layer)
    }
    np.savez(path, layers=len(arrays), **flat)


def load(path):
    """Reads what `save` wrote."""
    with np.load(path) as file:
        nested = [[] for _ in range(int(file["layers"]))]
        for name in file.files:
            if name != "layers":
                nested[int(name.split(".")[0])].append(file[name])
    return nested


def channels_first(case, arrays):
    """The same weights for a network whose images are channels first.

    Only the first dense layer behind a flattening differs: its inputs arrive
    in another order.
    """
    turned, flattened = [], None
    pairs = traced(case.layers, case.input_shape)
    for (layer, shape), of_layer in zip(pairs, arrays, strict=True):
        if layer.kind == "flatten":
            flattened = shape
        elif layer.kind == "dense" and flattened:
            kernel, bias = of_layer
            kernel = kernel.reshape(*flattened, layer.size)
            kernel = kernel.transpose(2, 0, 1, 3).reshape(-1, layer.size)
            of_layer, flattened = [kernel, bias], None
        turned.append(of_layer)
    return turned
