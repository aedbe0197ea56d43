"""The fused loop on PyTorch's GPUs: one Triton kernel each way.

A program takes a block of neurons of one sample through all timesteps, with
their potentials in registers, so it reads and writes each array once. The
derivative of a surrogate that the kernel does not know is computed in advance,
into an array of its own.

The neuron's constants are operands, so that all neurons of a kind share a
kernel. Triton passes numbers as float32, which would round them for float64.
So they travel as the 64 bits of a double, in an integer.
"""

import struct

import torch
import triton
import triton.language as tl

from keras_snn import surrogates

__all__ = ["backward", "forward"]

LARGEST_BLOCK = 512
# Triton would compile a kernel of its own for bits that 16 divides.
CONSTANTS = ["k", "lam", "theta", "a"]
# The kernel's name for each surrogate, and the factor that converts its
# steepness: the smooth step tanh(a x) / 2 + 1 / 2 is the sigmoid of 2 a x.
KNOWN = {
    surrogates.Sigmoid: ("sigmoid", 1.0),
    surrogates.Tanh: ("sigmoid", 2.0),
    surrogates.HardTanh: ("hardtanh", 1.0),
    surrogates.Arctan: ("arctan", 1.0),
}


@triton.jit
def _number(bits, dtype: tl.constexpr):
    """Returns the double of these bits in another float type."""
    return bits.to(tl.float64, bitcast=True).to(dtype)


@triton.jit
def _slope(distance, given, a, SURROGATE: tl.constexpr, GATED: tl.constexpr):
    """Returns the surrogate's derivative (Table A3), or the given one."""
    if SURROGATE == "sigmoid":
        smooth = 1 / (1 + tl.exp(-a * distance))
        slope = a * smooth * (1 - smooth)
    elif SURROGATE == "hardtanh":
        on_ramp = tl.abs(distance) < 1 / (2 * a)
        slope = a * on_ramp.to(distance.dtype)
    elif SURROGATE == "arctan":
        scaled = 3.141592653589793 * a * distance
        slope = a / (1 + scaled * scaled)
    else:
        slope = given
    if GATED:
        slope = tl.where(distance > 0, slope, 0.0)
    return slope.to(distance.dtype)


@triton.jit(do_not_specialize=CONSTANTS[:3])
def _forward_kernel(
    current,
    initial,
    mask,
    spikes,
    distance,
    final,
    timesteps,
    units,
    k: tl.int64,
    lam: tl.int64,
    theta: tl.int64,
    RESET: tl.constexpr,
    MASKED: tl.constexpr,
    KEEP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # Samples are on axis 0, which has the larger limit. Indices have 64 bits,
    # because batch * timesteps * units may exceed 2**31.
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < units
    neuron = row * units + column
    at = row * timesteps * units + column
    potential = tl.load(initial + neuron, mask=inside, other=0.0)
    k = _number(k, potential.dtype)
    lam = _number(lam, potential.dtype)
    theta = _number(theta, potential.dtype)
    for t in range(timesteps):
        now = tl.load(current + at, mask=inside, other=0.0)
        integrated = k * potential + lam * now.to(potential.dtype)
        # The spike is computed from the stored, rounded distance, so both
        # passes see the same spikes even in half precision.
        kept = (integrated - theta).to(distance.dtype.element_ty)
        after = integrated
        if RESET == "zero":
            after = tl.where(kept > 0, 0.0, integrated)
        elif RESET == "subtract":
            after = tl.where(kept > 0, integrated - theta, integrated)
        if MASKED:
            runs = tl.load(mask + row * timesteps + t) != 0
            kept = tl.where(runs, kept, 0.0).to(kept.dtype)
            after = tl.where(runs, after, potential)
        if KEEP:
            tl.store(distance + at, kept, mask=inside)
        # NaN stays NaN.
        fired = tl.where(kept == kept, (kept > 0).to(kept.dtype), kept)
        tl.store(spikes + at, fired, mask=inside)
        potential = after
        at += units
    tl.store(final + neuron, potential, mask=inside)


@triton.jit(do_not_specialize=CONSTANTS)
def _backward_kernel(
    distance,
    slopes,
    spikes_gradient,
    final_gradient,
    mask,
    current_gradient,
    initial_gradient,
    timesteps,
    units,
    k: tl.int64,
    lam: tl.int64,
    theta: tl.int64,
    a: tl.int64,
    SURROGATE: tl.constexpr,
    GATED: tl.constexpr,
    RESET: tl.constexpr,
    DETACHED: tl.constexpr,
    MASKED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < units
    neuron = row * units + column
    at = (row * timesteps + timesteps - 1) * units + column
    carry = tl.load(final_gradient + neuron, mask=inside, other=0.0)
    k = _number(k, carry.dtype)
    lam = _number(lam, carry.dtype)
    theta = _number(theta, carry.dtype)
    a = _number(a, carry.dtype)
    for n in range(timesteps):
        kept = tl.load(distance + at, mask=inside, other=0.0).to(carry.dtype)
        # The surrogate's derivative at infinity is 0; infinity times 0 is NaN.
        kept = tl.where(kept > 3e38, 3e38, kept)
        given = kept
        if SURROGATE == "given":
            given = tl.load(slopes + at, mask=inside, other=0.0)
        slope = _slope(kept, given, a, SURROGATE, GATED)
        # `Neuron.adjoint`
        through = carry
        if RESET == "zero":
            through = tl.where(kept > 0, 0.0, carry)
            if not DETACHED:
                through -= (kept + theta) * slope * carry
        elif RESET == "subtract" and not DETACHED:
            through -= theta * slope * carry
        here = tl.load(spikes_gradient + at, mask=inside, other=0.0)
        gradient = slope * here.to(carry.dtype) + through
        before = k * gradient
        if MASKED:
            runs = tl.load(mask + row * timesteps + timesteps - 1 - n) != 0
            gradient = tl.where(runs, gradient, 0.0)
            before = tl.where(runs, before, carry)
        scaled = (lam * gradient).to(current_gradient.dtype.element_ty)
        tl.store(current_gradient + at, scaled, mask=inside)
        carry = before
        at -= units
    tl.store(initial_gradient + neuron, carry, mask=inside)


def _launch(kernel, shape, *arguments, **constants):
    batch, timesteps, units = shape
    if 0 in (batch, units):
        return
    block = min(triton.next_power_of_2(units), LARGEST_BLOCK)
    grid = batch, triton.cdiv(units, block)
    with torch.cuda.device_of(arguments[0]):
        kernel[grid](*arguments, timesteps, units, BLOCK=block, **constants)


def _bits(number):
    """Returns the bits of a double as an integer."""
    return struct.unpack("<q", struct.pack("<d", number))[0]


def _neuron_constants(neuron, mask):
    return {
        "k": _bits(neuron.k),
        "lam": _bits(neuron.lam),
        "theta": _bits(neuron.theta),
        "RESET": neuron.reset,
        "MASKED": mask is not None,
    }


def _surrogate_constants(surrogate):
    """Returns the kernel's constants for a surrogate."""
    gated = type(surrogate) is surrogates.SpikeGated
    inner = surrogate.surrogate if gated else surrogate
    name, factor = KNOWN.get(type(inner), ("given", None))
    if factor is None:
        return {"SURROGATE": name, "a": _bits(1.0), "GATED": False}
    a = _bits(factor * inner.get_config()["a"])
    return {"SURROGATE": name, "a": a, "GATED": gated}


def forward(neuron, current, potential, mask, keep=True):
    """See `keras_snn.dynamics.loop.forward`."""
    current, potential = current.contiguous(), potential.contiguous()
    spikes = torch.empty_like(current)
    distance = torch.empty_like(current) if keep else spikes
    final = torch.empty_like(potential)
    _launch(
        _forward_kernel,
        current.shape,
        current,
        potential,
        # The kernel needs a pointer even when it reads no mask.
        current if mask is None else mask.contiguous(),
        spikes,
        distance,
        final,
        KEEP=keep,
        **_neuron_constants(neuron, mask),
    )
    return spikes, final, distance if keep else None


def backward(neuron, distance, spikes_gradient, potential_gradient, mask):
    """See `keras_snn.dynamics.loop.backward`."""
    current_gradient = torch.empty_like(distance)
    initial_gradient = torch.empty_like(
        potential_gradient, memory_format=torch.contiguous_format
    )
    constants = _surrogate_constants(neuron.surrogate)
    slopes = distance
    if constants["SURROGATE"] == "given":
        slopes = neuron.surrogate.derivative(distance.to(initial_gradient))
        slopes = torch.as_tensor(slopes).to(initial_gradient)
        slopes = slopes.expand(distance.shape).contiguous()
    _launch(
        _backward_kernel,
        distance.shape,
        distance,
        slopes,
        spikes_gradient.contiguous(),
        potential_gradient.contiguous(),
        distance if mask is None else mask.contiguous(),
        current_gradient,
        initial_gradient,
        DETACHED=neuron.detach_reset,
        **constants,
        **_neuron_constants(neuron, mask),
    )
    return current_gradient, initial_gradient
