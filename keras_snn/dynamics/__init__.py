"""Spiking neurons over time: one definition, one fused loop per backend.

- `neuron.py` defines one timestep (Eq. 2) and its gradient.
- `reference.py` unrolls it over time and leaves the gradient to the backend.
  This is the definition.
- `loop.py` computes the same with a forward and a backward loop, which
  TensorFlow and JAX compile with XLA.
- `torch_loop.py` has these loops for PyTorch, and `triton.py` as kernels for
  PyTorch on GPUs. `torch.py` makes them a node of autograd and an operator.
"""

import importlib

import keras

from keras_snn.dynamics.neuron import RESETS, Neuron

__all__ = ["RESETS", "Neuron", "lif"]

# Keras fixes its backend on import, so only one module is needed. Backends
# without gradients (NumPy, OpenVINO) run the definition.
_NAME = keras.config.backend()
_FUSED = ("tensorflow", "jax", "torch")
_backend = importlib.import_module(
    f"keras_snn.dynamics.{_NAME if _NAME in _FUSED else 'reference'}"
)


def lif(neuron: Neuron, current, potential, mask=None):
    """Runs neurons over time.

    A neuron whose potential becomes NaN emits NaN from then on, so the loss
    shows it.

    Args:
        neuron: The `Neuron`.
        current: Float tensor `(batch, timesteps, units)`.
        potential: Initial potential, float tensor `(batch, units)`. Potentials
            are integrated in its dtype.
        mask: Optional boolean tensor `(batch, timesteps)`. Where it is false,
            the neuron keeps its potential and emits 0.

    Returns:
        `(spikes, potential)`: the spikes, 0 or 1, in the shape and dtype of
        `current`, and the potential after the last timestep.
    """
    return _backend.lif(neuron, current, potential, mask)
