"""The contenders in Keras: with our neurons, ReLU or Keras's RNN."""

import importlib
import math

import keras
import numpy as np
from keras import ops

import keras_snn
from benchmarks import contenders
from benchmarks.contenders.floors import FLOORS
from benchmarks.data import EPSILON, channels_first
from keras_snn import layers, models
from keras_snn.encoders import PoissonEncoder
from keras_snn.surrogates import Arctan

__all__ = ["Contender", "build", "set_weights"]

# On PyTorch, as in the builders of `keras_snn`.
CHANNELS_FIRST = keras.config.backend() == "torch"


class Contender:
    """A network in Keras.

    Args:
        name: `"keras_snn"`, `"against"`, `"relu"`, `"rnn"`, one of `FLOORS`, or
            neurons of this library.
        framework: From `frameworks.load`.
    """

    def __init__(self, name, framework):
        self.name, self.framework = name, framework
        backend = importlib.import_module(keras.config.backend())
        self.libraries = (keras_snn, keras, backend)

    def check(self, case, data):
        """Returns spikes and gradient norms; see `contenders`."""
        keras.config.set_dtype_policy(case.dtype)
        model, fired, weighted = build(self.name, case, data.neuron, False)
        set_weights(case, weighted, data.weights)
        spikes = keras.Model(model.input, fired).predict_on_batch(data.x)
        spikes = spikes if isinstance(spikes, list) else [spikes]
        _, gradients = _both_passes(model, case, data, training=False)()
        norms = [
            float(np.linalg.norm(ops.convert_to_numpy(x).astype("float64")))
            for x in gradients
        ]
        return [_channels_last(x) for x in spikes], norms

    def prepare(self, case, data):
        """Returns the step to be timed."""
        keras.config.set_dtype_policy(case.dtype)
        keras.utils.set_random_seed(0)
        if self.name in FLOORS:
            run = FLOORS[self.name](data)
        else:
            model, _, weighted = build(
                self.name, case, data.neuron, encoded=case.trains
            )
            set_weights(case, weighted, data.weights)
            if case.trains:
                return self._training_step(model, data)
            run = _both_passes(model, case, data, training=True)
        return lambda: self.framework.wait(run())

    def _training_step(self, model, data):
        model.compile(
            keras.optimizers.Adam(1e-3, beta_1=0.9, beta_2=0.99),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        x, y = ops.convert_to_tensor(data.x), ops.convert_to_tensor(data.y)

        def step():
            loss = float(model.train_on_batch(x, y))
            # The loss is known before the weights are updated.
            self.framework.wait([x.value for x in model.trainable_variables])
            return loss

        return step


def build(name, case, neuron, encoded):
    """Builds a network, with the library's own builder if the case has one.

    Args:
        name: Name of the contender.
        case: The `Case`.
        neuron: The `data.Neuron`.
        encoded: Whether the inputs are images, which the network encodes as
            Poisson spikes, instead of sequences.

    Returns:
        `(model, fired, weighted)`: the model, the symbolic outputs of the
        layers of neurons, and for every layer of the case the Keras layer
        that holds its weights.
    """
    if case.builder:
        return _of_builder(name, case, neuron, encoded)
    if encoded:
        inputs = x = keras.Input(case.input_shape)
    else:
        shape = (case.timesteps, *case.input_shape)
        dtype = keras.config.dtype_policy().compute_dtype
        inputs = x = keras.Input(shape, dtype=dtype)
    if case.image and CHANNELS_FIRST:
        axes = (3, 1, 2) if encoded else (1, 4, 2, 3)
        x = keras.layers.Permute(axes)(x)
    if encoded:
        x = PoissonEncoder(case.timesteps)(x)
    fired, weighted = [], []
    for position, layer in enumerate(case.layers):
        if layer.kind == "lif":
            x = _neurons(name, neuron)(x)
            fired.append(x)
            weighted.append(None)
        else:
            made = _synapses(layer)
            weighted.append(made)
            folds = position < case.timed and layer.kind != "dropout"
            x = layers.PerTimestep(made)(x) if folds else made(x)
    return keras.Model(inputs, x), fired, weighted


def _of_builder(name, case, neuron, encoded):
    """Builds the network that a user gets, see `build`."""
    model = getattr(models, case.builder)(
        case.input_shape,
        timesteps=case.timesteps,
        encoder="poisson" if encoded else None,
        **_constants(neuron),
    )
    if name in ("relu", "rnn"):
        fired = []

        def call(layer, x, **options):
            if type(layer).__name__ != "LIF":
                return layer(x, **options)
            fired.append(_neurons(name, neuron)(x))
            return fired[-1]

        model = keras.models.clone_model(model, call_function=call)
    else:
        fired = [
            layer.output
            for layer in model.layers
            if type(layer).__name__ == "LIF"
        ]
    synapses = iter(x for x in model.layers if x.trainable_weights)
    weighted = [
        next(synapses) if layer.kind in ("conv", "dense") else None
        for layer in case.layers
    ]
    return model, fired, weighted


def set_weights(case, weighted, weights):
    """Gives the layers of a built network their weights."""
    # The builders flatten in the order of the weights.
    if case.image and CHANNELS_FIRST and not case.builder:
        weights = channels_first(case, weights)
    for layer, arrays in zip(weighted, weights, strict=True):
        if arrays:
            layer.set_weights(arrays)


def _synapses(layer):
    """Returns the Keras layer for any layer but neurons."""
    order = "channels_first" if CHANNELS_FIRST else "channels_last"
    make = {
        "conv": lambda: keras.layers.Conv2D(
            layer.size, 3, padding="same", data_format=order
        ),
        "norm": lambda: keras.layers.BatchNormalization(
            1 if CHANNELS_FIRST else -1, epsilon=EPSILON
        ),
        "pool": lambda: keras.layers.AveragePooling2D(2, data_format=order),
        # Keeps the order in memory, because the weights are reordered instead.
        "flatten": lambda: keras.layers.Flatten(data_format="channels_last"),
        "dense": lambda: keras.layers.Dense(layer.size),
        # One mask for all timesteps, like SpikingJelly's.
        "dropout": lambda: keras.layers.Dropout(
            layer.size, noise_shape=(None, 1, None)
        ),
        "mean": lambda: keras.layers.GlobalAveragePooling1D(
            data_format="channels_last"
        ),
    }
    return make[layer.kind]()


def _constants(neuron):
    return {
        "k": neuron.k,
        "lam": neuron.lam,
        "theta": neuron.theta,
        "surrogate": Arctan(neuron.a),
    }


def _neurons(name, neuron):
    """Returns a function that applies the layers for neurons."""
    if name == "relu":
        return keras.layers.ReLU()
    if name in contenders.NEURONS:
        return lambda x: _others(name, x.shape[-1])(x)
    if name != "rnn":
        return layers.LIF(**_constants(neuron))

    def apply(x):
        # Keras's RNN takes flat features.
        _, timesteps, *shape = x.shape
        units = math.prod(shape)
        cell = layers.LIFRNNCell(units, **_constants(neuron))
        x = keras.layers.Reshape((timesteps, units))(x)
        x = keras.layers.RNN(cell, return_sequences=True)(x)
        return keras.layers.Reshape((timesteps, *shape))(x)

    return apply


def _others(name, units):
    """Returns a layer of other neurons than `LIF`."""
    kind, _, change = name.partition(", ")
    make = getattr(layers, kind)
    if kind.startswith("Recurrent"):
        return make(units)
    options = {
        "k learnt": {"learn": ("k",)},
        "k per channel": {"k": units * [0.8]},
    }
    return make(**options.get(change, {}))


def _channels_last(spikes):
    if spikes.ndim == 5 and CHANNELS_FIRST:
        spikes = spikes.transpose(0, 1, 3, 4, 2)
    return np.asarray(spikes)


def _both_passes(model, case, data, training):
    """Returns a function for both passes of a model, compiled if possible.

    Args:
        model: A built model with one input.
        case: The `Case`.
        data: The `data.Data`.
        training: Whether the model runs in training mode.

    Returns:
        A function of no arguments that returns the output and the gradients: at
        the trainable weights, and at the input if the case has no weights.
    """
    make = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    x = ops.convert_to_tensor(data.x, model.input.dtype)
    cotangent = ops.convert_to_tensor(data.y, model.output.dtype)
    make = make[keras.config.backend()]
    return make(model, x, cotangent, not case.learns, training)


def _tensorflow(model, x, cotangent, inputs, training):
    import tensorflow as tf

    variables = [variable.value for variable in model.trainable_variables]

    # The arrays are arguments, because TensorFlow would fold constants.
    @tf.function
    def run(x, cotangent):
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = model(x, training=training)
        at = [*variables, x] if inputs else variables
        return output, tape.gradient(output, at, output_gradients=cotangent)

    return lambda: run(x, cotangent)


def _jax(model, x, cotangent, inputs, training):
    import jax

    fixed = [variable.value for variable in model.non_trainable_variables]
    variables = [variable.value for variable in model.trainable_variables]

    @jax.jit
    def run(variables, x, cotangent):
        def call(variables, x):
            apply = model.stateless_call
            return apply(variables, fixed, x, training=training)[0]

        output, pull = jax.vjp(call, variables, x)
        at_variables, at_input = pull(cotangent)
        # XLA drops the gradient that is not returned.
        return output, [*at_variables, *([at_input] if inputs else [])]

    return lambda: run(variables, x, cotangent)


def _torch(model, x, cotangent, inputs, training):
    import torch

    if inputs:
        x = x.detach().requires_grad_()

    def run():
        output = model(x, training=training)
        variables = [variable.value for variable in model.trainable_variables]
        at = [*variables, x] if inputs else variables
        return output, torch.autograd.grad(output, at, cotangent)

    return run
