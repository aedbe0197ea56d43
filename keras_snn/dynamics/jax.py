"""The fused loop on JAX."""

import functools
import importlib.util
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from keras_snn.dynamics import loop
from keras_snn.dynamics.neuron import refuse_second_derivative

__all__ = ["lif"]


@functools.cache
def _kernels():
    """Returns the module `jax_gpu`, or `None` where it cannot run."""
    # XLA would copy the arrays of all devices to each for a kernel.
    if jax.default_backend() != "gpu" or jax.device_count() > 1:
        return None
    for package in ("triton", "jax_triton"):
        if importlib.util.find_spec(package) is None:
            warnings.warn(
                f"{package} is not installed: spiking neurons run on the GPU "
                "as one operation per timestep, which is slow.",
                stacklevel=2,
            )
            return None
    from keras_snn.dynamics import jax_gpu

    return jax_gpu


def _call(name, kind, constants, *arrays, **options):
    """Calls a function of `loop`, or of `jax_gpu` on an Nvidia GPU."""

    def call(module, constants, *arrays):
        neuron = kind.unflatten(constants)
        return getattr(module, name)(neuron, *arrays, **options)

    kernels, elsewhere = _kernels(), functools.partial(call, loop)
    if kernels is None:
        return elsewhere(constants, *arrays)
    on_gpu = functools.partial(call, kernels)
    return jax.lax.platform_dependent(
        constants, *arrays, cuda=on_gpu, default=elsewhere
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(kind, constants, current, potential, mask):
    """Runs without a gradient, so it keeps nothing for the backward pass."""
    arrays = current, potential, mask
    return _call("forward", kind, constants, *arrays, keep=False)[:2]


def _forward(kind, constants, current, potential, mask):
    arrays = current, potential, mask
    spikes, final, distance = _call("forward", kind, constants, *arrays)
    return (spikes, final), (constants, distance, mask)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiate(kind, constants, distance, at_spikes, at_potential, mask):
    arrays = distance, at_spikes, at_potential, mask
    return _call("backward", kind, constants, *arrays)


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
