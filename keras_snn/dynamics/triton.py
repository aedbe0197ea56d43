"""The loop of LIF neurons on GPUs: a Triton kernel each way.

A program takes a block of neurons of one sample through all timesteps, with
their potentials in registers, so it reads and writes each array once. It reads
the next timestep before it writes the current one: otherwise it would wait for
the memory at every timestep. The derivative of a surrogate that the kernel does
not know is computed in advance, into an array of its own.

The neuron's constants are operands, so that all neurons of a kind share a
kernel. JAX passes them as arrays. PyTorch would first have to copy them to the
GPU, and Triton rounds numbers to float32. So PyTorch passes the 64 bits of each
double as an integer.

`torch_gpu.py` and `jax_gpu.py` launch the kernels.
"""

import triton
import triton.language as tl

from keras_snn import surrogates

__all__ = [
    "backward_kernel",
    "forward_kernel",
    "grid",
    "options",
    "surrogate_options",
]

BLOCK_BYTES = 2048  # of an array, per program and timestep
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
def _number(constant, dtype: tl.constexpr):
    """Returns a constant: the number at an address, or of the bits."""
    if constant.dtype.is_ptr():
        number = tl.load(constant)
    else:
        number = constant.to(tl.float64, bitcast=True)
    return number.to(dtype)


@triton.jit
def _finite(distance):
    """Returns the distance, but no infinity, as infinity times 0 is NaN."""
    distance = tl.where(distance > 3e38, 3e38, distance)
    return tl.where(distance < -3e38, -3e38, distance)


@triton.jit
def _start(given, like, neuron, inside, ZERO: tl.constexpr):
    """Returns what a loop carries first: what is given, or zeros."""
    if ZERO:
        start = tl.zeros(neuron.shape, like.dtype.element_ty)
    else:
        start = tl.load(given + neuron, mask=inside, other=0.0)
    return start


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


@triton.jit
def _through_reset(
    distance, slope, theta, after, RESET: tl.constexpr, DETACHED: tl.constexpr
):
    """Returns the gradient before the reset, as in `System.adjoint`."""
    before = after
    if RESET == "zero":
        before = tl.where(distance > 0, 0.0, after)
        if not DETACHED:
            before -= (distance + theta) * slope * after
    elif RESET == "subtract" and not DETACHED:
        before -= theta * slope * after
    return before


@triton.jit
def _if_any(inside, left):
    """Returns `inside` if any timesteps are left, else false."""
    return inside & (tl.zeros_like(inside) + left > 0)


@triton.jit(do_not_specialize=CONSTANTS[:3])
def forward_kernel(
    current,
    initial,
    mask,
    k: tl.int64,
    lam: tl.int64,
    theta: tl.int64,
    timesteps,
    units,
    spikes,
    final,
    distance,
    AT_REST: tl.constexpr,
    RESET: tl.constexpr,
    MASKED: tl.constexpr,
    KEEP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Computes what `loop.forward` does.

    `initial` is read unless `AT_REST`, and `distance` written if `KEEP`.
    """
    # Samples are on axis 0, which has the larger limit. Indices have 64 bits,
    # because batch * timesteps * units may exceed 2**31.
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < units
    neuron = row * units + column
    at = row * timesteps * units + column
    potential = _start(initial, final, neuron, inside, AT_REST)
    k = _number(k, potential.dtype)
    lam = _number(lam, potential.dtype)
    theta = _number(theta, potential.dtype)
    now = tl.load(current + at, mask=_if_any(inside, timesteps), other=0.0)
    for t in range(timesteps):
        further = _if_any(inside, timesteps - 1 - t)
        following = tl.load(current + at + units, mask=further, other=0.0)
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
        potential, now = after, following
        at += units
    tl.store(final + neuron, potential, mask=inside)


@triton.jit(do_not_specialize=CONSTANTS)
def backward_kernel(
    distance,
    slopes,
    spikes_gradient,
    final_gradient,
    mask,
    k: tl.int64,
    lam: tl.int64,
    theta: tl.int64,
    a: tl.int64,
    timesteps,
    units,
    current_gradient,
    initial_gradient,
    ONLY_SPIKES: tl.constexpr,
    SURROGATE: tl.constexpr,
    GATED: tl.constexpr,
    RESET: tl.constexpr,
    DETACHED: tl.constexpr,
    MASKED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Computes what `loop.backward` does.

    `slopes` is read if "given". If `ONLY_SPIKES`, the gradient at the final
    potential is zero, and the one at the initial potential is not written.
    """
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < units
    neuron = row * units + column
    at = (row * timesteps + timesteps - 1) * units + column
    like = initial_gradient
    carry = _start(final_gradient, like, neuron, inside, ONLY_SPIKES)
    k = _number(k, carry.dtype)
    lam = _number(lam, carry.dtype)
    theta = _number(theta, carry.dtype)
    a = _number(a, carry.dtype)
    last = _if_any(inside, timesteps)
    kept_now = tl.load(distance + at, mask=last, other=0.0)
    here_now = tl.load(spikes_gradient + at, mask=last, other=0.0)
    for n in range(timesteps):
        kept, here = kept_now.to(carry.dtype), here_now.to(carry.dtype)
        further = _if_any(inside, timesteps - 1 - n)
        before = at - units
        kept_now = tl.load(distance + before, mask=further, other=0.0)
        here_now = tl.load(spikes_gradient + before, mask=further, other=0.0)
        kept = _finite(kept)
        given = kept
        if SURROGATE == "given":
            given = tl.load(slopes + at, mask=inside, other=0.0)
        slope = _slope(kept, given, a, SURROGATE, GATED)
        through = _through_reset(kept, slope, theta, carry, RESET, DETACHED)
        gradient = slope * here + through
        leaked = k * gradient
        if MASKED:
            runs = tl.load(mask + row * timesteps + timesteps - 1 - n) != 0
            gradient = tl.where(runs, gradient, 0.0)
            leaked = tl.where(runs, leaked, carry)
        scaled = (lam * gradient).to(current_gradient.dtype.element_ty)
        tl.store(current_gradient + at, scaled, mask=inside)
        carry, at = leaked, before
    if not ONLY_SPIKES:
        tl.store(initial_gradient + neuron, carry, mask=inside)


def grid(batch, units, itemsize):
    """Returns the numbers of programs, and the neurons of each.

    Args:
        batch: Number of samples.
        units: Number of neurons.
        itemsize: Bytes of a current.
    """
    # Triton's own functions for this take 10 µs per call.
    block = min(1 << (units - 1).bit_length(), BLOCK_BYTES // itemsize)
    return (batch, -(-units // block)), block


def options(system, mask):
    """Returns the choices that both kernels are compiled for."""
    return {"RESET": system.reset, "MASKED": mask is not None}


def surrogate_options(surrogate):
    """Returns the kernel's steepness, and the choices it is compiled for."""
    gated = type(surrogate) is surrogates.SpikeGated
    inner = surrogate.surrogate if gated else surrogate
    name, factor = KNOWN.get(type(inner), ("given", None))
    if factor is None:
        return 1.0, {"SURROGATE": name, "GATED": False}
    a = factor * inner.get_config()["a"]
    return a, {"SURROGATE": name, "GATED": gated}
