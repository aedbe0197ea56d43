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


def forward(neuron, current, potential, mask, keep=True):
    """See `keras_snn.dynamics.loop.forward`."""
    current, potential = current.contiguous(), potential.contiguous()
    spikes, final = torch.empty_like(current), torch.empty_like(potential)
    distance = torch.empty_like(current) if keep else spikes
    # The kernel needs a pointer even when it reads no mask.
    flags = current if mask is None else mask.contiguous()
    _launch(
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
    current_gradient = torch.empty_like(distance)
    initial_gradient = torch.empty_like(
        potential_gradient, memory_format=torch.contiguous_format
    )
    a, options = kernels.surrogate_options(neuron.surrogate)
    slopes = distance
    if options["SURROGATE"] == "given":
        slopes = neuron.surrogate.derivative(distance.to(initial_gradient))
        slopes = torch.as_tensor(slopes).to(initial_gradient)
        slopes = slopes.expand(distance.shape).contiguous()
    gradients = spikes_gradient.contiguous(), potential_gradient.contiguous()
    flags = distance if mask is None else mask.contiguous()
    _launch(
        kernels.backward_kernel,
        distance.shape,
        (distance, slopes, *gradients, flags),
        (neuron.k, neuron.lam, neuron.theta, a),
        (current_gradient, initial_gradient),
        DETACHED=neuron.detach_reset,
        **options,
        **kernels.options(neuron, mask),
    )
    return current_gradient, initial_gradient
