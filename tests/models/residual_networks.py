"""Small residual networks."""

import math

import keras
import numpy as np
import pytest

from keras_snn import models
from keras_snn.models import residual_snn

BLOCKS = pytest.mark.parametrize("block", models.BLOCKS)
NEURON = {"k": 0.5, "lam": 1.0, "theta": 1.0}


def small(depth=(1, 1), shape=(6, 5, 2), classes=3, timesteps=3, **options):
    options = {"width": 1 / 4, "seed": 0} | NEURON | options
    return residual_snn(depth, shape, classes, timesteps, **options)


def layers_of(model):
    """The layers by name, those inside the blocks too."""
    found = {}
    for layer in model.layers:
        inside = layer.layers if isinstance(layer, keras.Model) else [layer]
        found |= {each.name: each for each in inside}
    return found


def randomize(model):
    """Gives a model random weights under which all its neurons fire."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        values = rng.normal(0, 0.5, weight.shape)
        if "kernel" in weight.path:
            values *= 3 / math.sqrt(math.prod(weight.shape[:-1]))
        elif "moving_variance" in weight.path:
            values = 1 + values**2
        elif "gamma" in weight.path:
            values += 1
        else:
            values += 0.2
        weight.assign(values)
