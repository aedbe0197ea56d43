"""What the tests of this folder share: exact currents, and a call of a loop."""

import keras
import numpy as np
from backend import to_numpy

from keras_snn import dynamics
from keras_snn.dynamics import reference


def exact_current(rng, shape):
    """Sixteenths: with `k` a power of 1/2, few steps stay exact in float32."""
    return (rng.integers(-16, 49, size=shape) / 16).astype("float32")


def run(function, neuron, current, potential=None, mask=None):
    if potential is None:
        potential = np.zeros((current.shape[0], current.shape[2]), "float32")
    outputs = function(
        neuron,
        keras.ops.convert_to_tensor(current),
        keras.ops.convert_to_tensor(potential),
        mask,
    )
    return [to_numpy(output) for output in outputs]


def lif(neuron, current, potential, mask=None, run=dynamics.run):
    """Runs a neuron whose only state is its potential."""
    spikes, (final,) = run(neuron.system(), current, (potential,), mask)
    return spikes, final


def unrolled(neuron, current, potential, mask=None):
    """Runs the definition in place of the fused loop."""
    return lif(neuron, current, potential, mask, reference.run)
