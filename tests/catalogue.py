"""One row per public class: how it is made, what it is called on.

`test_catalogue.py` asks of every row what is asked of every Keras object, and
fails for a public class without a row.
"""

import dataclasses
from collections.abc import Callable

import keras

from keras_snn import (
    callbacks,
    encoders,
    initializers,
    layers,
    optimizers,
    surrogates,
)

NEURON = {"k": 0.5, "lam": 0.25, "theta": 0.75}


@dataclasses.dataclass(frozen=True)
class Row:
    cls: type
    arguments: dict
    input_shape: tuple | None = None  # layers only
    wrap: Callable = lambda layer: layer


LAYERS = [
    Row(
        layers.LIFRNNCell,
        NEURON
        | {
            "units": 3,
            "surrogate": surrogates.Tanh(1.5),
            "reset": "subtract",
            "detach_reset": True,
        },
        (4, 5, 3),
        lambda cell: keras.layers.RNN(cell, return_sequences=True),
    ),
    Row(
        layers.LIF,
        NEURON
        | {
            "surrogate": surrogates.SpikeGated("sigmoid"),
            "reset": "none",
            "detach_reset": True,
            "return_sequences": False,
            "return_state": False,
            "stateful": True,
        },
        (4, 5, 6, 3),
    ),
    Row(
        layers.PerTimestep,
        {"layer": keras.layers.Conv2D(2, 3)},
        (4, 5, 6, 6, 3),
    ),
    Row(
        layers.Recompute,
        {"layer": keras.layers.Conv2D(2, 3), "spikes": True, "parts": 2},
        (4, 6, 6, 3),
    ),
    Row(
        layers.BNTT,
        {"timesteps": 5, "epsilon": 0.25, "momentum": 0.5, "axis": 2},
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
]
INITIALIZERS = [
    Row(initializers.AsymptoteInitializer, NEURON | {"fan_in": 9, "seed": 3}),
    Row(initializers.AsymptoteBias, NEURON),
    Row(initializers.WuInitializer, {"fan_in": 4, "seed": 3}),
    Row(initializers.LeeInitializer, {"fan_in": 4, "seed": 3}),
]
SURROGATES = [
    Row(surrogates.Sigmoid, {"a": 1.5}),
    Row(surrogates.Tanh, {"a": 1.5}),
    Row(surrogates.HardTanh, {"a": 1.5}),
    Row(surrogates.Arctan, {"a": 1.5}),
    Row(surrogates.SpikeGated, {"surrogate": surrogates.Arctan(0.5)}),
]
OPTIMIZERS = [
    Row(
        optimizers.ASGD,
        {"learning_rate": 0.5, "lambd": 0.25, "alpha": 0.5, "t0": 3},
    ),
]
# Without a config; their own tests speak for them.
OTHERS = {
    surrogates.Surrogate,
    callbacks.FiringRateMonitor,
    callbacks.IterationHistory,
    callbacks.Checkpoint,
    callbacks.EpochLog,
    callbacks.EpochSeeds,
}
