"""Spiking neurons over time: one definition, one fused loop per backend.

`neuron.py` holds Eq. 2 and its adjoint for one timestep, `reference.py` unrolls
it, and each backend's file runs the same timesteps as one loop with a gradient
written by hand. All agree to the last spike.
"""

import importlib

import keras

from keras_snn.dynamics.neuron import RESETS, Neuron

FUSED = ("tensorflow", "jax", "torch")

__all__ = ["FUSED", "RESETS", "Neuron", "lif"]

# Keras has chosen its backend by now. Only that one is imported; those that
# have no gradients (NumPy) run the definition.
_name = keras.config.backend()
_backend = importlib.import_module(
    f"keras_snn.dynamics.{_name if _name in FUSED else 'reference'}"
)


def lif(neuron, current, potential, mask=None):
    """Runs a layer of neurons over time (Eq. 2).

    Args:
        neuron: The `Neuron`.
        current: Float tensor `(batch, timesteps, units)`.
        potential: Initial potential, float tensor `(batch, units)`. Potentials
            are integrated in its dtype.
        mask: Optional boolean tensor `(batch, timesteps)`: where it is false
            the neuron neither integrates nor fires.

    Returns:
        `(spikes, potential)`: 0 or 1 in the shape and dtype of `current`, and
        the potential after the last timestep.
    """
    return _backend.lif(neuron, current, potential, mask)
