"""The fused loop on PyTorch's GPUs: launches the kernels of `triton.py`."""

import struct

import torch

from keras_snn.dynamics import triton as kernels

__all__ = ["backward", "forward"]


def _launch(kernel, shape, inputs, constants, outputs, **options):
    batch, timesteps, units = shape
    if 0 in (batch, units):
        return
    grid, block = kernels.grid(batch, units)
    constants = map(_bits, constants)
    arguments = *inputs, *constants, timesteps, units, *outputs
    with torch.cuda.device_of(inputs[0]):
        kernel[grid](*arguments, BLOCK=block, **options)


def _bits(number):
    """Returns the bits of a double as an integer."""
    return struct.unpack("<q", struct.pack("<d", number))[0]


def forward(system, current, states, mask, keep=True):
    """See `keras_snn.dynamics.loop.forward`."""
    current, potential = current.contiguous(), states[0].contiguous()
    spikes, final = torch.empty_like(current), torch.empty_like(potential)
    distance = torch.empty_like(current) if keep else spikes
    # The kernel needs a pointer even when it reads no mask.
    flags = current if mask is None else mask.contiguous()
    _launch(
        kernels.forward_kernel,
        current.shape,
        (current, potential, flags),
        system.entries,
        (spikes, final, distance),
        KEEP=keep,
        **kernels.options(system, mask),
    )
    return spikes, (final,), (distance,) if keep else ()


def backward(system, kept, at_spikes, at_states, mask):
    """See `keras_snn.dynamics.loop.backward`."""
    (distance,), (at_final,) = kept, at_states
    at_current = torch.empty_like(distance)
    at_first = torch.empty_like(at_final, memory_format=torch.contiguous_format)
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
            at_final.contiguous(),
            flags,
        ),
        (*system.entries, a),
        (at_current, at_first),
        DETACHED=system.detach_reset,
        **options,
        **kernels.options(system, mask),
    )
    return at_current, (at_first,), ()
