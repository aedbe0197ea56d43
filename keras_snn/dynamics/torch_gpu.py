"""The fused loop on PyTorch's GPUs: launches the kernels of `triton.py`."""

import struct

import torch

from keras_snn.dynamics import triton as kernels
from keras_snn.dynamics.torch_loop import dtype_of

__all__ = ["backward", "forward"]


def _launch(kernel, shape, inputs, constants, outputs, **options):
    batch, timesteps, units = shape
    if 0 in (batch, units):
        return
    grid, block = kernels.grid(batch, units, inputs[0].itemsize)
    constants = map(_bits, constants)
    arguments = *inputs, *constants, timesteps, units, *outputs
    with torch.cuda.device_of(inputs[0]):
        kernel[grid](*arguments, BLOCK=block, **options)


def _bits(number):
    """Returns the bits of a double as an integer."""
    return struct.unpack("<q", struct.pack("<d", number))[0]


def forward(system, current, states, mask, keep=True):
    """See `keras_snn.dynamics.loop.forward`."""
    current = current.contiguous()
    potential = states[0].contiguous() if states else current
    spikes = torch.empty_like(current)
    batch, _, units = current.shape
    final = current.new_empty((batch, units), dtype=dtype_of(current, states))
    distance = torch.empty_like(current) if keep else spikes
    # The kernel needs pointers even for what it does not read.
    flags = current if mask is None else mask.contiguous()
    _launch(
        kernels.forward_kernel,
        current.shape,
        (current, potential, flags),
        system.entries,
        (spikes, final, distance),
        AT_REST=not states,
        KEEP=keep,
        **kernels.options(system, mask),
    )
    return spikes, (final,), (distance,) if keep else ()


def backward(system, kept, at_spikes, at_states, mask):
    """See `keras_snn.dynamics.loop.backward`."""
    (distance,), only_spikes = kept, at_states is None
    at_current = torch.empty_like(distance)
    shape = (1,) if only_spikes else at_states[0].shape
    at_first = distance.new_empty(shape, dtype=dtype_of(distance, at_states))
    a, options = kernels.surrogate_options(system.surrogate)
    slopes = distance
    if options["SURROGATE"] == "given":
        slopes = system.surrogate.derivative(distance.to(at_first))
        slopes = torch.as_tensor(slopes).to(at_first)
        slopes = slopes.expand(distance.shape).contiguous()
    flags = distance if mask is None else mask.contiguous()
    _launch(
        kernels.backward_kernel,
        distance.shape,
        (
            distance,
            slopes,
            at_spikes.contiguous(),
            distance if only_spikes else at_states[0].contiguous(),
            flags,
        ),
        (*system.entries, a),
        (at_current, at_first),
        ONLY_SPIKES=only_spikes,
        DETACHED=system.detach_reset,
        **options,
        **kernels.options(system, mask),
    )
    return at_current, None if only_spikes else (at_first,), ()
