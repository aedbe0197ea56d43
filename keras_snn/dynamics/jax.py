"""The fused loop on JAX."""

import functools

import jax
import jax.numpy as jnp

from keras_snn.dynamics import loop

__all__ = ["lif"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(neuron, current, potential, mask):
    """Runs without a gradient, so it keeps nothing for the backward pass."""
    return loop.forward(neuron, current, potential, mask, keep=False)[:2]


def _forward(neuron, current, potential, mask):
    spikes, final, distance = loop.forward(neuron, current, potential, mask)
    return (spikes, final), (distance, mask)


def _backward(neuron, residuals, gradients):
    distance, mask = residuals
    at_spikes, at_potential = gradients
    found = loop.backward(neuron, distance, at_spikes, at_potential, mask)
    return *found, None


_run.defvjp(_forward, _backward)
# Compiled even if the caller runs eagerly.
_jitted = jax.jit(_run, static_argnums=0)


def lif(neuron, current, potential, mask=None):
    """See `keras_snn.dynamics.lif`."""
    current, potential = jnp.asarray(current), jnp.asarray(potential)
    return _jitted(neuron, current, potential, mask)
