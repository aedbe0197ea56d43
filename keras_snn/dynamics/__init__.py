"""Spiking neurons over time: one definition, one fused loop per backend.

`neuron.py` defines one timestep (Eq. 2) and its gradient. `reference.py`
unrolls it over time and leaves the gradient to the backend: that is the
definition. `loop.py` writes the same as two loops, one forward and one
backward, which TensorFlow and JAX compile with XLA; `torch.py` writes them for
eager PyTorch, and `triton.py` as kernels for its GPUs.
"""

import importlib

import keras

from keras_snn.dynamics.neuron import RESETS, Neuron

__all__ = ["RESETS", "Neuron", "lif"]

# Keras has fixed its backend by now, so only that one is imported. Backends
# without gradients (NumPy, OpenVINO) run the definition.
_NAME = keras.config.backend()
_FUSED = ("tensorflow", "jax", "torch")
_backend = importlib.import_module(
    f"keras_snn.dynamics.{_NAME if _NAME in _FUSED else 'reference'}"
)


def lif(neuron: Neuron, current, potential, mask=None):
    """Runs neurons over time.

    A neuron whose potential is NaN emits NaN from then on, so that the loss
    shows it.

    Args:
        neuron: The `Neuron`.
        current: Float tensor `(batch, timesteps, units)`.
        potential: Initial potential, float tensor `(batch, units)`. Its dtype
            is the one in which potentials are integrated.
        mask: Optional boolean tensor `(batch, timesteps)`. Where it is false,
            the neuron keeps its potential and emits 0.

    Returns:
        `(spikes, potential)`: 0 or 1 in the shape and dtype of `current`, and
        the potential after the last timestep.
    """
    return _backend.lif(neuron, current, potential, mask)
