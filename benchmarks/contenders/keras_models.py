"""A described network in Keras: with `LIF`, with ReLU, or with Keras's RNN."""

import math

import keras

from benchmarks import material
from benchmarks.workloads import traced
from keras_snn import surrogates
from keras_snn.encoders import PoissonEncoder
from keras_snn.layers import LIF, LIFRNNCell, PerTimestep


def channels_first():
    """Whether images are channels first inside: cuDNN's order on PyTorch."""
    return keras.config.backend() == "torch"


def build(kind, case, neuron, encoded):
    """Builds a network.

    Args:
        kind: `"keras_snn"`, `"relu"` or `"rnn"`.
        case: The `workloads.Case`.
        neuron: The `material.Neuron`.
        encoded: Whether images come in and are Poisson-encoded inside, rather
            than sequences.

    Returns:
        `(model, fired, layers)`: the model, the symbolic outputs of the layers
        of neurons, and for every described layer the Keras layer with its
        weights, or `None`.
    """
    first = case.image and channels_first()
    inputs = x = _inputs(case, encoded)
    if first:
        axes = (3, 1, 2) if encoded else (1, 4, 2, 3)
        x = keras.layers.Permute(axes)(x)
    if encoded:
        x = PoissonEncoder(case.timesteps)(x)
    fired, weighted, block, timed = [], [], [], True
    for layer, shape in traced(case.layers, case.input_shape):
        if layer.kind == "lif":
            block += _neurons(kind, case, neuron, shape, first)
            x, block = _run(block, x), []
            fired.append(x)
            weighted.append(None)
        else:
            made = _synapses(layer, timed, first)
            block.append(made)
            weighted.append(getattr(made, "layer", made))
        timed = timed and layer.kind != "mean"
    for made in block:
        x = made(x)
    return keras.Model(inputs, x), fired, weighted


def set_weights(case, layers, weights):
    """Gives the layers of a built network their weights."""
    if case.image and channels_first():
        weights = material.channels_first(case, weights)
    for layer, arrays in zip(layers, weights, strict=True):
        if arrays:
            layer.set_weights(arrays)


def _inputs(case, encoded):
    if encoded:
        return keras.Input(case.input_shape)
    # A stream of currents arrives in the dtype that it is computed in.
    dtype = keras.config.dtype_policy().compute_dtype
    return keras.Input((case.timesteps, *case.input_shape), dtype=dtype)


def _run(block, x):
    """Applies the layers from behind one layer of neurons to the next."""
    for made in block:
        x = made(x)
    return x


def _synapses(layer, timed, first):
    """The Keras layer for anything but neurons."""
    order = "channels_first" if first else "channels_last"
    if layer.kind == "mean":
        return keras.layers.GlobalAveragePooling1D(data_format="channels_last")
    if layer.kind == "dropout":
        # One mask for all timesteps, as SpikingJelly's.
        return keras.layers.Dropout(layer.size, noise_shape=(None, 1, None))
    made = {
        "conv": lambda: keras.layers.Conv2D(
            layer.size, 3, padding="same", data_format=order
        ),
        "norm": lambda: keras.layers.BatchNormalization(
            1 if first else -1, epsilon=material.EPSILON
        ),
        "pool": lambda: keras.layers.AveragePooling2D(2, data_format=order),
        # As the data lies; the next layer's weights are turned instead.
        "flatten": lambda: keras.layers.Flatten(data_format="channels_last"),
        "dense": lambda: keras.layers.Dense(layer.size),
    }[layer.kind]()
    return PerTimestep(made) if timed else made


def _neurons(kind, case, neuron, shape, first):
    """The Keras layers for neurons."""
    if kind == "relu":
        return [keras.layers.ReLU()]
    constants = {
        "k": neuron.k,
        "lam": neuron.lam,
        "theta": neuron.theta,
        "surrogate": surrogates.Arctan(neuron.a),
    }
    if kind == "keras_snn":
        return [LIF(**constants)]
    # The definition: Keras's RNN of a cell, which takes flat features.
    units = math.prod(shape)
    if first and len(shape) == 3:
        shape = (shape[2], *shape[:2])
    cell = LIFRNNCell(units, **constants)
    return [
        keras.layers.Reshape((case.timesteps, units)),
        keras.layers.RNN(cell, return_sequences=True),
        keras.layers.Reshape((case.timesteps, *shape)),
    ]
