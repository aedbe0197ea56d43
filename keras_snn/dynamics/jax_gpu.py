"""The fused loop on JAX's GPUs: calls the kernels of `triton.py`."""

import jax
import jax.numpy as jnp
import jax_triton
from jax.custom_batching import sequential_vmap

from keras_snn.dynamics import triton as kernels
from keras_snn.dynamics.neuron import refuse_second_derivative

__all__ = ["backward", "forward"]


def _call(kernel, shape, inputs, constants, outputs, **options):
    batch, timesteps, units = shape
    if 0 in (batch, units):
        return [jnp.zeros(x.shape, x.dtype) for x in outputs]
    grid, block = kernels.grid(batch, units)

    @jax.custom_jvp
    @sequential_vmap
    def call(*arrays):
        return jax_triton.triton_call(
            *arrays,
            timesteps,
            units,
            kernel=kernel,
            out_shape=outputs,
            grid=grid,
            BLOCK=block,
            **options,
        )

    call.defjvp(refuse_second_derivative)
    return call(*inputs, *map(jnp.asarray, constants))


def forward(neuron, current, potential, mask, keep=True):
    """See `keras_snn.dynamics.loop.forward`."""
    like = jax.ShapeDtypeStruct
    spikes = like(current.shape, current.dtype)
    final = like(potential.shape, potential.dtype)
    # The kernel needs pointers even for what it does not read or write.
    flags = current if mask is None else mask
    distance = spikes if keep else like((1,), current.dtype)
    spikes, final, distance = _call(
        kernels.forward_kernel,
        current.shape,
        (current, potential, flags),
        (neuron.k, neuron.lam, neuron.theta),
        (spikes, final, distance),
        KEEP=keep,
        **kernels.options(neuron, mask),
    )
    return spikes, final, distance if keep else None


def backward(neuron, distance, spikes_gradient, potential_gradient, mask):
    """See `keras_snn.dynamics.loop.backward`."""
    like = jax.ShapeDtypeStruct
    dtype = potential_gradient.dtype
    a, options = kernels.surrogate_options(neuron.surrogate)
    slopes = distance
    if options["SURROGATE"] == "given":
        slopes = neuron.surrogate.derivative(distance.astype(dtype))
        slopes = jnp.broadcast_to(slopes, distance.shape).astype(dtype)
    flags = distance if mask is None else mask
    return tuple(
        _call(
            kernels.backward_kernel,
            distance.shape,
            (distance, slopes, spikes_gradient, potential_gradient, flags),
            (neuron.k, neuron.lam, neuron.theta, a),
            (
                like(distance.shape, distance.dtype),
                like(potential_gradient.shape, dtype),
            ),
            DETACHED=neuron.detach_reset,
            **options,
            **kernels.options(neuron, mask),
        )
    )
