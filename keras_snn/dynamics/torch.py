"""The fused loop on PyTorch: one autograd node, or one operator.

For the gradient it keeps only the current, without a copy, and recomputes the
potentials. On the CPU this is faster than keeping a second array of the same
size, because the system must clear the memory of every large new array.

On a GPU the loops are the kernels of `triton.py`, if Triton is installed.
Otherwise they are elementwise operations, and each operation is a pass over
memory. They work in place and block by block, so each operation finds its block
still in the cache.
"""

import functools
import importlib.util
import math
import warnings

import torch
from torch import Tensor

from keras_snn import surrogates
from keras_snn.dynamics import reference
from keras_snn.dynamics.neuron import Neuron

__all__ = ["backward", "forward", "lif"]

# Elements per block: 4 MB of float32, which was fastest on two cores.
BLOCK = 2**20


def _blocks(array):
    """Returns slices of `(batch, timesteps, units)` of about `BLOCK` elements.

    Both passes use the same blocks, so they compute the same potentials to the
    last bit.
    """
    batch, timesteps, units = array.shape
    if array.device.type != "cpu":
        return [(slice(None), slice(None))]
    rows = max(1, BLOCK // max(1, timesteps * units))
    columns = max(1, min(units, BLOCK // max(1, timesteps)))
    return [
        (slice(b, b + rows), slice(n, n + columns))
        for b in range(0, batch, rows)
        for n in range(0, units, columns)
    ]


def _contiguous_like(array):
    return torch.empty_like(array, memory_format=torch.contiguous_format)


@functools.cache
def _kernels():
    """Returns the module `triton`, or `None` where Triton is not installed."""
    if importlib.util.find_spec("triton") is None:
        warnings.warn(
            "Triton is not installed: spiking neurons run on the GPU as "
            "separate elementwise operations, which is slow.",
            stacklevel=2,
        )
        return None
    from keras_snn.dynamics import triton

    return triton


def forward(neuron, current, potential, mask):
    """Runs the neurons forward in time.

    Args:
        neuron: The `Neuron`.
        current: `(batch, timesteps, units)`.
        potential: `(batch, units)`. Potentials are integrated in its dtype.
        mask: Booleans `(batch, timesteps)`, or `None`.

    Returns:
        `(spikes, potential)`, like `keras_snn.dynamics.lif`.
    """
    if current.is_cuda and (kernels := _kernels()):
        return kernels.forward(neuron, current, potential, mask)
    spikes = _contiguous_like(current)
    final = _contiguous_like(potential)
    for rows, columns in _blocks(current):
        block = rows, slice(None), columns
        runs = None if mask is None else mask[rows, :, None]
        distance = spikes[block]
        start = potential[rows, columns]
        after = _integrate(neuron, current[block], start, runs, distance)
        final[rows, columns] = after
        if math.isfinite(after.sum()):
            torch.gt(distance, 0, out=distance)
        else:  # A potential may have become NaN, and it stays NaN.
            distance.copy_(surrogates.fire(distance))
    return spikes, final


def _integrate(neuron, current, start, runs, distance):
    """Fills `distance` with `u - theta` and returns the final potential."""
    potential = start.clone(memory_format=torch.contiguous_format)
    _advance(neuron, current, potential, runs, distance, _multiply)
    if not math.isfinite(potential.sum()):
        # Start over, without products: infinity times 0 is NaN.
        potential.copy_(start)
        _advance(neuron, current, potential, runs, distance, _select)
    return potential


def _advance(neuron, current, potential, runs, distance, reset):
    """Advances `potential` in place through all timesteps."""
    for t in range(current.shape[1]):
        before = potential if runs is None else potential.clone()
        potential.mul_(neuron.k).add_(current[:, t], alpha=neuron.lam)
        # The spike is computed from the stored, rounded distance, so both
        # passes see the same spikes even in half precision.
        kept = distance[:, t]
        torch.sub(potential, neuron.theta, out=kept)
        reset(neuron, kept, potential)
        if runs is not None:
            kept.masked_fill_(~runs[:, t], 0.0)
            torch.where(runs[:, t], potential, before, out=potential)


def _multiply(neuron, distance, potential):
    """Resets in place, ten times as fast as `_select`.

    PyTorch vectorizes comparisons that write floats, but not comparisons that
    write booleans.
    """
    fired = torch.gt(distance, 0, out=torch.empty_like(potential))
    if neuron.reset == "zero":
        potential.addcmul_(potential, fired, value=-1)
    elif neuron.reset == "subtract":
        potential.sub_(fired, alpha=neuron.theta)


def _select(neuron, distance, potential):
    """Resets in place, including infinite potentials."""
    potential.copy_(neuron.reset_where(distance > 0, potential))


def backward(neuron, current, potential, mask, gradients):
    """Runs the adjoint of `forward` back in time.

    Args:
        neuron: As given to `forward`.
        current: As given to `forward`.
        potential: As given to `forward`.
        mask: As given to `forward`.
        gradients: Gradients at the spikes and at the final potential.

    Returns:
        `(current_gradient, potential_gradient)`: the gradients at the current
        and at the initial potential.
    """
    spikes_gradient, potential_gradient = gradients
    if current.is_cuda and (kernels := _kernels()):
        return kernels.backward(neuron, current, potential, mask, gradients)
    current_gradient = _contiguous_like(current)
    initial_gradient = _contiguous_like(potential_gradient)
    for rows, columns in _blocks(current):
        block = rows, slice(None), columns
        runs = None if mask is None else mask[rows, :, None]
        distance = _contiguous_like(current[block])
        start = potential[rows, columns]
        _integrate(neuron, current[block], start, runs, distance)
        gradient, initial_gradient[rows, columns] = _differentiate(
            neuron,
            distance.to(potential_gradient.dtype),
            spikes_gradient[block],
            potential_gradient[rows, columns],
            runs,
        )
        torch.mul(gradient, neuron.lam, out=current_gradient[block])
    return current_gradient, initial_gradient


def _differentiate(neuron, distance, at_spikes, after, runs):
    """Returns the gradients at `u` and at the initial potential."""
    silent = torch.le(distance, 0, out=torch.empty_like(distance))
    slope, carried = neuron.adjoint(distance, silent)
    carried = torch.as_tensor(carried, dtype=slope.dtype, device=slope.device)
    carried = carried.expand(distance.shape)
    gradient = slope * at_spikes
    leak = 1.0  # No leak follows the final potential.
    for t in reversed(range(distance.shape[1])):
        here = gradient[:, t]
        here.addcmul_(carried[:, t], after, value=leak)
        if runs is None:
            after, leak = here, neuron.k
        else:
            after = torch.where(runs[:, t], neuron.k * here, after)
            here.masked_fill_(~runs[:, t], 0.0)
    return gradient, leak * after


class _LIF(torch.autograd.Function):
    """The autograd node for eager code."""

    @staticmethod
    def forward(ctx, neuron, current, potential, mask):
        ctx.neuron = neuron
        ctx.save_for_backward(current, potential, mask)
        return forward(neuron, current, potential, mask)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *gradients):
        current, potential, mask = ctx.saved_tensors
        found = backward(ctx.neuron, current, potential, mask, gradients)
        return None, *found, None


# The operators for compiled code. `torch.compile` does not look inside
# operators. Otherwise it would unroll the loop over time and round differently.
# Operators do not accept objects, so these take the fields of `Neuron.plain`.
@torch.library.custom_op("keras_snn::lif", mutates_args=())
def _forward_operator(
    current: Tensor,
    potential: Tensor,
    mask: Tensor | None,
    k: float,
    lam: float,
    theta: float,
    surrogate: str,
    reset: str,
    detach_reset: bool,
) -> tuple[Tensor, Tensor]:
    neuron = Neuron.from_plain(k, lam, theta, surrogate, reset, detach_reset)
    return forward(neuron, current, potential, mask)


@_forward_operator.register_fake
def _(current, potential, mask, *plain):
    del mask, plain
    return _contiguous_like(current), _contiguous_like(potential)


@torch.library.custom_op("keras_snn::lif_backward", mutates_args=())
def _backward_operator(
    current: Tensor,
    potential: Tensor,
    mask: Tensor | None,
    spikes_gradient: Tensor,
    potential_gradient: Tensor,
    k: float,
    lam: float,
    theta: float,
    surrogate: str,
    reset: str,
    detach_reset: bool,
) -> tuple[Tensor, Tensor]:
    neuron = Neuron.from_plain(k, lam, theta, surrogate, reset, detach_reset)
    gradients = spikes_gradient, potential_gradient
    return backward(neuron, current, potential, mask, gradients)


@_backward_operator.register_fake
def _(current, potential, mask, spikes_gradient, potential_gradient, *plain):
    del potential, mask, spikes_gradient, plain
    return _contiguous_like(current), _contiguous_like(potential_gradient)


def _keep(ctx, inputs, output):
    del output
    current, potential, mask, *ctx.plain = inputs
    ctx.save_for_backward(current, potential, mask)


def _call_backward_operator(ctx, *gradients):
    found = _backward_operator(*ctx.saved_tensors, *gradients, *ctx.plain)
    return *found, *[None] * (1 + len(ctx.plain))


_forward_operator.register_autograd(
    _call_backward_operator, setup_context=_keep
)


def lif(neuron, current, potential, mask=None):
    """See `keras_snn.dynamics.lif`."""
    if torch.compiler.is_exporting():
        # An exported program must run without our operators.
        return reference.lif(neuron, current, potential, mask)
    if torch.compiler.is_compiling():
        return _forward_operator(current, potential, mask, *neuron.plain)
    return _LIF.apply(neuron, current, potential, mask)
