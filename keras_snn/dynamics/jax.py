"""The fused loop on JAX."""

import functools
import importlib.util
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from keras_snn.dynamics import loop
from keras_snn.dynamics.system import refuse_second_derivative
from keras_snn.precision import at_least_float32

__all__ = ["run"]


@functools.cache
def _gpu_module():
    """Returns the module `jax_gpu`, or `None` where it cannot run."""
    if jax.default_backend() != "gpu":
        return None
    reasons = [
        f"{package} is not installed"
        for package in ("triton", "jax_triton")
        if importlib.util.find_spec(package) is None
    ]
    devices = jax.device_count()
    if devices > 1:
        # XLA would copy the arrays of all devices to each for a kernel.
        reasons.append(f"JAX sees {devices} devices, and kernels need one")
    if reasons:
        warnings.warn(
            f"{' and '.join(reasons)}: spiking neurons run on the GPU as one "
            "operation per timestep, which is slow.",
            stacklevel=2,
        )
        return None
    from keras_snn.dynamics import jax_gpu

    return jax_gpu


def _call(name, kind, operands, *arrays, **options):
    """Calls a function of `loop`, or of `jax_gpu` on an Nvidia GPU."""

    def call(module, operands, *arrays):
        system = kind.unflatten(*operands)
        return getattr(module, name)(system, *arrays, **options)

    elsewhere = functools.partial(call, loop)
    shared = all(jnp.ndim(x) == 0 for x in operands[0])
    plain = kind.is_lif and shared and arrays[-1] is None
    kernels = _gpu_module() if plain else None
    if kernels is None or options.get("learns") or "current" in options:
        return elsewhere(operands, *arrays)
    on_gpu = functools.partial(call, kernels)
    return jax.lax.platform_dependent(
        operands, *arrays, cuda=on_gpu, default=elsewhere
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _run(kind, learns, entries, steepness, current, states, mask, recurrent):
    """Runs without a gradient, so it keeps nothing for the backward pass."""
    del learns
    operands = entries, steepness
    arrays = current, states, mask, recurrent
    return _call("forward", kind, operands, *arrays, keep=False)[:2]


def _forward(kind, learns, *primals):
    entries, steepness, *arrays = jax.tree.map(lambda x: x.value, primals)
    operands, (current, states, mask, recurrent) = (entries, steepness), arrays
    spikes, final, kept = _call(
        "forward", kind, operands, *arrays, learns=learns
    )
    current = current if learns else None
    # Residuals must be arrays. `None` and `()` differ in structure, so they can
    # carry this flag.
    started = None if states is None else ()
    return (spikes, final), (started, operands, kept, mask, recurrent, current)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiate(
    kind, operands, kept, at_spikes, at_states, mask, recurrent, current
):
    arrays = kept, at_spikes, at_states, mask, recurrent
    options = {} if current is None else {"current": current}
    at_current, at_states, at_entries = _call(
        "backward", kind, operands, *arrays, **options
    )
    at_kernel = None
    if recurrent is not None:
        at_kernel = loop.at_recurrent(kept, at_current)
    at_entries = tuple(map(loop.summed, at_entries, operands[0]))
    return at_current, at_states, at_entries or None, at_kernel


def _is_zero(gradient):
    return isinstance(gradient, SymbolicZero)


def _backward(kind, learns, residuals, gradients):
    del learns
    started, operands, kept, *rest = residuals
    at_spikes, at_states = gradients
    only_spikes = started is None and all(map(_is_zero, at_states))
    at_spikes, at_states = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype) if _is_zero(x) else x,
        (at_spikes, None if only_spikes else at_states),
    )
    gradients = at_spikes, at_states
    found: Any = _differentiate(kind, operands, kept, *gradients, *rest)
    at_current, at_states, at_entries, at_kernel = found
    at_states = None if started is None else at_states
    return at_entries, None, at_current, at_states, None, at_kernel


_run.defvjp(_forward, _backward, symbolic_zeros=True)
_differentiate.defvjp(refuse_second_derivative, refuse_second_derivative)
# Compiled even if the caller runs eagerly, once for all neurons of a kind.
_jitted = jax.jit(_run, static_argnums=(0, 1))


def run(system, current, states, mask=None, recurrent=None):
    """See `keras_snn.dynamics.run`."""
    current = jnp.asarray(current)
    if states is None:
        dtype = at_least_float32(current.dtype)
    else:
        states = tuple(map(jnp.asarray, states))
        dtype = states[0].dtype
    kind, entries, steepness = system.flatten()
    learns = any(isinstance(x, jax.Array) for x in entries)
    convert = jnp.asarray if learns else np.asarray
    entries = tuple(convert(x, dtype) for x in entries)
    steepness = tuple(np.asarray(x, dtype) for x in steepness)
    if recurrent is not None:
        recurrent = jnp.asarray(recurrent, dtype)
    arrays = current, states, mask, recurrent
    return _jitted(kind, learns, entries, steepness, *arrays)
