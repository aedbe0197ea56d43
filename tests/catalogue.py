"""One row per public class: its arguments, and a network that uses it.

`test_catalogue.py` runs the checks that every Keras object must pass on each
row. It fails for a public class without a row.
"""

import dataclasses
import functools
from collections.abc import Callable

import keras

from keras_snn import (
    callbacks,
    datasets,
    encoders,
    initializers,
    layers,
    losses,
    models,
    nir,
    optimizers,
    surrogates,
)

NEURON = {"k": 0.5, "lam": 0.25, "theta": 0.75}
CONV = functools.partial(keras.layers.Conv2D, 2, 3)


@dataclasses.dataclass(frozen=True)
class Row:
    cls: type
    # Every argument, with a value other than the default. A partial is called
    # for each object, so that no two objects share a layer.
    arguments: dict
    input_shape: tuple
    layer: Callable = lambda made: made  # the layer that uses the object
    target_shape: tuple = (4, 2)

    def make(self, **others):
        """A new object, with some arguments replaced by others."""
        arguments = self.arguments | others
        for name, value in arguments.items():
            if isinstance(value, functools.partial):
                arguments[name] = value()
        return self.cls(**arguments)

    def network(self):
        """A compiled model that uses a new object."""
        made = self.make()
        inputs = keras.Input(batch_shape=self.input_shape)
        x = keras.layers.Flatten()(self.layer(made)(inputs))
        model = keras.Model(inputs, keras.layers.Dense(2)(x))
        options = {"optimizer": "sgd", "loss": "mse"}
        if isinstance(made, keras.optimizers.Optimizer):
            options["optimizer"] = made
        elif isinstance(made, keras.losses.Loss):
            options["loss"] = made
        elif isinstance(made, keras.metrics.Metric):
            options["metrics"] = [made]
        model.compile(**options)
        return model


def kernel(initializer):
    return keras.layers.Dense(3, kernel_initializer=initializer)


def behind_weights(layer):
    """A gradient passes through the layer, and its neurons fire."""
    strong = keras.initializers.Constant(4.0)
    dense = keras.layers.Dense(3, kernel_initializer=strong)
    return keras.Sequential([dense, layer])


def beside(_):
    """A layer for objects that are not part of one."""
    return keras.layers.Dense(3)


def neurons(surrogate):
    return behind_weights(layers.LIF(surrogate=surrogate))


def over_time(cell):
    return behind_weights(keras.layers.RNN(cell, return_sequences=True))


START = keras.initializers.RandomNormal(seed=1)
OVER_TIME = {
    "return_sequences": False,
    "return_state": False,
    "stateful": False,
    "go_backwards": True,
}
ROWS = [
    Row(
        layers.LIFRNNCell,
        NEURON
        | {
            "units": 3,
            "surrogate": surrogates.Tanh(1.5),
            "reset": "subtract",
            "detach_reset": True,
            "learn": ["lam"],
        },
        (4, 5, 3),
        over_time,
    ),
    Row(
        layers.LIF,
        NEURON
        | {
            "surrogate": surrogates.SpikeGated("sigmoid"),
            "reset": "none",
            "detach_reset": True,
            "learn": ["theta"],
        }
        | OVER_TIME
        | {"stateful": True},
        (4, 5, 6, 3),
        behind_weights,
    ),
    Row(
        layers.CubaLIF,
        NEURON | {"alpha": 0.75, "learn": ["alpha", "theta"]} | OVER_TIME,
        (4, 5, 3),
        behind_weights,
    ),
    Row(
        layers.SumPooling2D,
        {"pool_size": (2, 3), "strides": (1, 2)},
        (4, 5, 6, 2),
    ),
    Row(
        layers.AdaptiveLIF,
        NEURON
        | {"rho": 0.75, "coupling": -0.25, "jump": [0.5, 1.0, 1.5]}
        | OVER_TIME,
        (4, 5, 3),
        behind_weights,
    ),
    Row(
        layers.LeakyIntegrator,
        {"k": 0.5, "lam": [0.5, 1.0, 2.0], "learn": ["lam"]} | OVER_TIME,
        (4, 5, 3),
        behind_weights,
    ),
    Row(
        layers.RecurrentLIF,
        NEURON | {"units": 3, "recurrent_initializer": START} | OVER_TIME,
        (4, 5, 3),
        behind_weights,
    ),
    Row(
        layers.RecurrentCubaLIF,
        NEURON | {"units": 3, "alpha": 0.75, "recurrent_initializer": START},
        (4, 5, 3),
        behind_weights,
    ),
    Row(
        layers.RecurrentAdaptiveLIF,
        NEURON
        | {"units": 3, "rho": 0.75, "coupling": -0.25, "jump": 0.5}
        | {"recurrent_initializer": START},
        (4, 5, 3),
        behind_weights,
    ),
    Row(
        layers.CubaLIFCell,
        NEURON | {"units": 3, "alpha": 0.75, "learn": ["alpha", "theta"]},
        (4, 5, 3),
        over_time,
    ),
    Row(
        layers.AdaptiveLIFCell,
        NEURON | {"units": 3, "rho": 0.75, "coupling": -0.25, "jump": 0.5},
        (4, 5, 3),
        over_time,
    ),
    Row(
        layers.LeakyIntegratorCell,
        {"units": 3, "k": 0.5, "lam": 0.25, "learn": ["k"]},
        (4, 5, 3),
        over_time,
    ),
    Row(
        layers.RecurrentCell,
        {
            "cell": functools.partial(layers.LIFRNNCell, 3, **NEURON),
            "recurrent_initializer": START,
        },
        (4, 5, 3),
        over_time,
    ),
    Row(layers.PerTimestep, {"layer": CONV}, (4, 5, 6, 6, 3)),
    Row(
        layers.FoldTime,
        {},
        (4, 5, 3),
        lambda fold: keras.Sequential([fold, layers.UnfoldTime(5)]),
    ),
    Row(
        layers.UnfoldTime,
        {"timesteps": 5},
        (4, 5, 3),
        lambda unfold: keras.Sequential([layers.FoldTime(), unfold]),
    ),
    Row(
        layers.Recompute,
        {"layer": CONV, "spikes": True, "parts": 2},
        (4, 6, 6, 3),
    ),
    Row(
        layers.BNTT,
        {
            "timesteps": 5,
            "epsilon": 0.25,
            "momentum": 0.5,
            "axis": 2,
            "synchronized": True,
            "gamma_initializer": START,
        },
        (4, 5, 3, 6),
    ),
    Row(
        layers.TDBN,
        {
            "theta": 0.75,
            "alpha": 0.5,
            "epsilon": 0.25,
            "momentum": 0.5,
            "axis": 2,
            "synchronized": True,
            "gamma_initializer": START,
            "beta_initializer": START,
            "lam": 0.25,
        },
        (4, 5, 3, 6),
    ),
    Row(encoders.ConstantEncoder, {"timesteps": 3}, (4, 6, 1)),
    Row(encoders.PoissonEncoder, {"timesteps": 3, "seed": 7}, (4, 6, 1)),
    Row(
        encoders.RetinaEncoder,
        {"timesteps": 3, "gain": 1.5, "threshold": 0.75, "reset": "subtract"},
        (4, 6, 1),
    ),
    Row(
        encoders.LatencyEncoder,
        {
            "timesteps": 3,
            "mode": "logarithmic",
            "tau": 1.5,
            "threshold": 0.25,
        },
        (4, 6, 1),
    ),
    Row(encoders.DeltaEncoder, {"threshold": 0.25}, (4, 5, 3)),
    Row(
        initializers.AsymptoteInitializer,
        NEURON | {"fan_in": 9, "seed": 3},
        (4, 4),
        kernel,
    ),
    Row(
        initializers.AsymptoteBias,
        NEURON,
        (4, 4),
        lambda bias: keras.layers.Dense(3, bias_initializer=bias),
    ),
    Row(
        initializers.StationaryInitializer,
        NEURON | {"rate": 0.2, "timesteps": 3, "fan_in": 5, "seed": 3},
        (4, 4),
        kernel,
    ),
    Row(
        initializers.StationaryBias,
        NEURON | {"timesteps": 3},
        (4, 4),
        lambda made: keras.layers.Dense(3, bias_initializer=made),
    ),
    Row(
        initializers.CopyInitializer,
        NEURON | {"gain": 1.5, "noise": 0.2, "fan_in": 5, "seed": 3},
        (4, 4),
        kernel,
    ),
    Row(initializers.WuInitializer, {"fan_in": 4, "seed": 3}, (4, 4), kernel),
    Row(initializers.LeeInitializer, {"fan_in": 9, "seed": 3}, (4, 4), kernel),
    Row(
        initializers.Lee2020Initializer,
        {"kappa": 1.5, "fan_in": 9, "seed": 3},
        (4, 4),
        kernel,
    ),
    Row(
        initializers.RossbroichInitializer,
        NEURON
        | {"rate": 0.25, "xi": 1.5, "timesteps": 5, "fan_in": 9, "seed": 3},
        (4, 4),
        kernel,
    ),
    Row(
        initializers.MicheliInitializer,
        NEURON | {"fan_in": 9, "seed": 3},
        (4, 4),
        kernel,
    ),
    Row(
        initializers.ShiInitializer,
        NEURON | {"rate": 0.25, "timesteps": 5, "fan_in": 9, "seed": 3},
        (4, 4),
        kernel,
    ),
    Row(
        initializers.ScaledInitializer,
        {"initializer": START, "factor": 0.5},
        (4, 4),
        kernel,
    ),
    Row(surrogates.Sigmoid, {"a": 1.5}, (4, 5, 3), neurons),
    Row(surrogates.Tanh, {"a": 1.5}, (4, 5, 3), neurons),
    Row(surrogates.HardTanh, {"a": 1.5}, (4, 5, 3), neurons),
    Row(surrogates.Arctan, {"a": 1.5}, (4, 5, 3), neurons),
    Row(surrogates.FastSigmoid, {"a": 1.5}, (4, 5, 3), neurons),
    Row(surrogates.Triangular, {"a": 0.5}, (4, 5, 3), neurons),
    Row(surrogates.Exponential, {"a": 1.5}, (4, 5, 3), neurons),
    Row(surrogates.Gaussian, {"a": 0.5}, (4, 5, 3), neurons),
    Row(
        surrogates.SpikeGated,
        {"surrogate": surrogates.Arctan(0.5)},
        (4, 5, 3),
        neurons,
    ),
    Row(
        optimizers.ASGD,
        {"learning_rate": 0.5, "lambd": 0.25, "alpha": 0.5, "t0": 3},
        (4, 4),
        beside,
    ),
    Row(
        losses.TemporalCrossentropy,
        {"phi": 0.5, "lamb": 0.25, "from_logits": False},
        (4, 4),
        beside,
        (4, 1),
    ),
    Row(losses.CountCrossentropy, {}, (4, 4), beside, (4, 1)),
    Row(
        losses.CountMeanSquaredError,
        {"correct_rate": 0.75, "incorrect_rate": 0.25},
        (4, 4),
        beside,
        (4, 1),
    ),
    Row(
        losses.MembraneMeanSquaredError,
        {"correct_potential": 0.75, "incorrect_potential": -0.25},
        (4, 4),
        beside,
        (4, 1),
    ),
    Row(losses.RateAccuracy, {"name": "hits"}, (4, 4), beside, (4, 1)),
    Row(
        losses.FiringRateRegularizer,
        {"lower": 0.125, "upper": 0.25, "factor": 0.5},
        (4, 5, 3),
        lambda made: behind_weights(layers.LIF(activity_regularizer=made)),
    ),
]

# Classes without a config of their own. Their own tests cover them.
OTHERS = {
    callbacks.Checkpoint,
    callbacks.EpochLog,
    callbacks.EpochSeeds,
    callbacks.FiringRateMonitor,
    callbacks.IterationHistory,
    datasets.DatasetInfo,
    layers.Conv2D,  # has Keras's arguments
    models.Costs,
    models.Diagnosis,
    models.Energy,
    models.Finding,
    models.ImageModel,
    models.Profile,
    models.StepModel,
    models.PortableModel,
    nir.Difference,
    surrogates.Surrogate,
}
