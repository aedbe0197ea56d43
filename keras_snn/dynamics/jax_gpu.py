"""The fused loop on JAX's GPUs: calls the kernels of `triton.py`."""

import jax
import jax.numpy as jnp
import jax_triton  # pyright: ignore[reportMissingImports]
from jax.custom_batching import sequential_vmap

from keras_snn.dynamics import triton as kernels
from keras_snn.dynamics.system import refuse_second_derivative

__all__ = ["backward", "forward"]


def _call(kernel, shape, inputs, constants, outputs, **options):
    batch, timesteps, units = shape
    if 0 in (batch, units):
        return [jnp.zeros(x.shape, x.dtype) for x in outputs]
    grid, block = kernels.grid(batch, units, inputs[0].dtype.itemsize)

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


def forward(
    system, current, states, mask, recurrent=None, keep=True, learns=False
):
    """See `keras_snn.dynamics.loop.forward`."""
    del recurrent, learns  # the kernels serve systems without
    like, (batch, _, units) = jax.ShapeDtypeStruct, current.shape
    spikes = like(current.shape, current.dtype)
    final = like((batch, units), system.theta.dtype)
    # The kernel needs pointers even for what it does not read or write.
    (potential,) = states or (current,)
    flags = current if mask is None else mask
    distance = spikes if keep else like((1,), current.dtype)
    spikes, final, distance = _call(
        kernels.forward_kernel,
        current.shape,
        (current, potential, flags),
        system.entries,
        (spikes, final, distance),
        AT_REST=states is None,
        KEEP=keep,
        **kernels.options(system, mask),
    )
    return spikes, (final,), (distance,) if keep else ()


def backward(system, kept, at_spikes, at_states, mask, recurrent=None):
    """See `keras_snn.dynamics.loop.backward`."""
    del recurrent  # the kernels serve systems without
    like, (distance,), dtype = jax.ShapeDtypeStruct, kept, system.theta.dtype
    a, options = kernels.surrogate_options(system.surrogate)
    slopes = distance
    if options["SURROGATE"] == "given":
        slopes = system.surrogate.derivative(distance.astype(dtype))
        slopes = jnp.broadcast_to(slopes, distance.shape).astype(dtype)
    flags = distance if mask is None else mask
    only_spikes = at_states is None
    (at_final,) = (distance,) if only_spikes else at_states
    first_shape = (1,) if only_spikes else at_final.shape
    at_current, at_first = _call(
        kernels.backward_kernel,
        distance.shape,
        (distance, slopes, at_spikes, at_final, flags),
        (*system.entries, a),
        (
            like(distance.shape, distance.dtype),
            like(first_shape, dtype),
        ),
        ONLY_SPIKES=only_spikes,
        DETACHED=system.detach_reset,
        **options,
        **kernels.options(system, mask),
    )
    return at_current, None if only_spikes else (at_first,), ()
