"""Spiking neurons over time: one definition, one fused loop per backend.

- `system.py` has one timestep (Eq. 2) and its gradient, for all models.
  `neuron.py` has the models.
- `reference.py` unrolls it over time and leaves the gradient to the backend.
  This is the definition.
- `loop.py` computes the same with a forward and a backward loop, which
  TensorFlow and JAX compile with XLA.
- `torch_loop.py` and `torch_adjoint.py` have these loops for PyTorch.
  `torch.py` makes them a node of autograd and an operator.
- `triton.py` has the loops of LIF neurons as kernels for GPUs. `torch_gpu.py`
  and `jax_gpu.py` launch them.
"""

import importlib

import keras

from keras_snn.dynamics import reference
from keras_snn.dynamics.neuron import Adaptive, Cuba, Integrator, Neuron
from keras_snn.dynamics.system import RESETS, System

__all__ = [
    "RESETS",
    "Adaptive",
    "Cuba",
    "Integrator",
    "Neuron",
    "System",
    "run",
]

# Keras fixes its backend on import, so only one module is needed. Backends
# without gradients (NumPy, OpenVINO) run the definition.
_NAME = keras.config.backend()
_FUSED = ("tensorflow", "jax", "torch")
_backend = importlib.import_module(
    f"keras_snn.dynamics.{_NAME if _NAME in _FUSED else 'reference'}"
)


def run(
    system: System,
    current,
    states=None,
    mask=None,
    recurrent=None,
    unroll=False,
):
    """Runs neurons over time.

    A neuron whose potential becomes NaN emits NaN from then on, so the loss
    shows it.

    Args:
        system: The `System`. Entries that are tensors have gradients.
        current: Float tensor `(batch, timesteps, units)`.
        states: Tuple of the initial states, float tensors `(batch, units)`, the
            potential first. The neurons are integrated in their dtype. `None`:
            the neurons start at rest, and kernels of GPUs read no states.
        mask: Optional boolean tensor `(batch, timesteps)`. Where it is false,
            the neuron keeps its states and emits 0.
        recurrent: Optional kernel `(units, units)` from the spikes of a
            timestep to the current of the next. The spikes before the first
            timestep are then the last of the `states`.
        unroll: Whether to run the definition instead of the fused loop: plain
            operations, which every export format has. Rounding may differ. The
            number of timesteps must be known.

    Returns:
        `(spikes, states)`: the spikes, 0 or 1, in the shape and dtype of
        `current`, and the states after the last timestep. A system without
        spikes returns its potential in place of them.
    """
    backend = reference if unroll else _backend
    states = None if states is None else tuple(states)
    return backend.run(system, current, states, mask, recurrent)
