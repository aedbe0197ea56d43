"""The fused loop on JAX."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from keras_snn.dynamics import loop
from keras_snn.dynamics.neuron import refuse_second_derivative

__all__ = ["lif"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(kind, constants, current, potential, mask):
    """Runs without a gradient, so it keeps nothing for the backward pass."""
    neuron = kind.unflatten(constants)
    return loop.forward(neuron, current, potential, mask, keep=False)[:2]


def _forward(kind, constants, current, potential, mask):
    neuron = kind.unflatten(constants)
    spikes, final, distance = loop.forward(neuron, current, potential, mask)
    return (spikes, final), (constants, distance, mask)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiate(kind, constants, distance, at_spikes, at_potential, mask):
    neuron = kind.unflatten(constants)
    return loop.backward(neuron, distance, at_spikes, at_potential, mask)


def _backward(kind, residuals, gradients):
    constants, distance, mask = residuals
    found: Any = _differentiate(kind, constants, distance, *gradients, mask)
    return None, *found, None


_run.defvjp(_forward, _backward)
_differentiate.defvjp(refuse_second_derivative, refuse_second_derivative)
# Compiled even if the caller runs eagerly, once for all neurons of a kind.
_jitted = jax.jit(_run, static_argnums=0)


def lif(neuron, current, potential, mask=None):
    """See `keras_snn.dynamics.lif`."""
    current, potential = jnp.asarray(current), jnp.asarray(potential)
    kind, constants = neuron.flatten()
    constants = tuple(np.asarray(x, potential.dtype) for x in constants)
    return _jitted(kind, constants, current, potential, mask)
