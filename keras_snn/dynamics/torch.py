"""The fused loop on PyTorch: one autograd node, or one operator.

As in `loop.py`, the forward pass keeps `distance = u - theta` for the gradient.

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

# Elements per block: 16 MB and 4 MB of float32 were fastest on two cores.
FORWARD_BLOCK = 2**22
BACKWARD_BLOCK = 2**20


def _blocks(array, size):
    """Cuts `(batch, timesteps, units)` into blocks of about `size` numbers."""
    batch, timesteps, units = array.shape
    if array.device.type != "cpu":
        return [(slice(None), slice(None))]
    rows = max(1, size // max(1, timesteps * units))
    columns = max(1, min(units, size // max(1, timesteps)))
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


def forward(neuron, current, potential, mask, keep=True):
    """See `keras_snn.dynamics.loop.forward`."""
    if current.is_cuda and (kernels := _kernels()):
        return kernels.forward(neuron, current, potential, mask, keep)
    distance = _contiguous_like(current)
    # Without a backward pass, the spikes overwrite the distances.
    spikes = _contiguous_like(current) if keep else distance
    final = _contiguous_like(potential)
    for rows, columns in _blocks(current, FORWARD_BLOCK):
        block = rows, slice(None), columns
        runs = None if mask is None else mask[rows, :, None]
        start = potential[rows, columns]
        after = _integrate(neuron, current[block], start, runs, distance[block])
        final[rows, columns] = after
        if math.isfinite(after.sum()):
            torch.gt(distance[block], 0, out=spikes[block])
        else:  # A potential that has become NaN is NaN at the end, too.
            spikes[block] = surrogates.fire(distance[block])
    return spikes, final, distance if keep else None


def _integrate(neuron, current, start, runs, distance):
    """Fills `distance` with `u - theta` and returns the final potential."""
    potential = start.clone(memory_format=torch.contiguous_format)
    _advance(neuron, current, potential, runs, distance, _multiply)
    if not math.isfinite(potential.sum()):
        # Infinity times 0 is NaN. Start over, with selections.
        potential.copy_(start)
        _advance(neuron, current, potential, runs, distance, _select)
        # The surrogate's derivative at infinity is 0, times infinity NaN.
        largest = torch.finfo(distance.dtype).max / 2
        distance.clamp_(-largest, largest)
    return potential


def _advance(neuron, current, potential, runs, distance, reset):
    """Advances `potential` in place through all timesteps."""
    fired = torch.empty_like(potential)
    for t in range(current.shape[1]):
        before = potential if runs is None else potential.clone()
        potential.mul_(neuron.k).add_(current[:, t], alpha=neuron.lam)
        # The spike depends on the distance in the dtype in which it is stored,
        # so both passes agree on it in half precision, too.
        kept = distance[:, t]
        torch.sub(potential, neuron.theta, out=kept)
        reset(neuron, kept, potential, fired)
        if runs is not None:
            kept.masked_fill_(~runs[:, t], 0.0)
            torch.where(runs[:, t], potential, before, out=potential)


def _multiply(neuron, distance, potential, fired):
    """Resets in place, ten times as fast as `_select`.

    PyTorch vectorizes comparisons that write floats, but not those that write
    booleans.
    """
    torch.gt(distance, 0, out=fired)
    if neuron.reset == "zero":
        potential.addcmul_(potential, fired, value=-1)
    elif neuron.reset == "subtract":
        potential.sub_(fired, alpha=neuron.theta)


def _select(neuron, distance, potential, fired):
    """Resets in place, infinite potentials too."""
    del fired
    potential.copy_(neuron.reset_where(distance > 0, potential))


def backward(neuron, distance, spikes_gradient, potential_gradient, mask):
    """See `keras_snn.dynamics.loop.backward`."""
    gradients = spikes_gradient, potential_gradient
    if distance.is_cuda and (kernels := _kernels()):
        return kernels.backward(neuron, distance, *gradients, mask)
    current_gradient = _contiguous_like(distance)
    initial_gradient = _contiguous_like(potential_gradient)
    for rows, columns in _blocks(distance, BACKWARD_BLOCK):
        block = rows, slice(None), columns
        gradient, initial_gradient[rows, columns] = _differentiate(
            neuron,
            distance[block].to(potential_gradient.dtype),
            spikes_gradient[block],
            potential_gradient[rows, columns],
            None if mask is None else mask[rows, :, None],
        )
        torch.mul(gradient, neuron.lam, out=current_gradient[block])
    return current_gradient, initial_gradient


def _differentiate(neuron, distance, at_spikes, after, runs):
    """Returns the gradients at `u` and at the initial potential."""
    silent = torch.le(distance, 0, out=torch.empty_like(distance))
    slope, carried = neuron.adjoint(distance, silent)
    carried = torch.as_tensor(carried).to(distance)
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
    """The eager path."""

    @staticmethod
    def forward(ctx, neuron, current, potential, mask, keep):
        spikes, final, distance = forward(
            neuron, current, potential, mask, keep
        )
        ctx.neuron = neuron
        ctx.save_for_backward(distance, mask)
        return spikes, final

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, at_spikes, at_potential):
        distance, mask = ctx.saved_tensors
        found = backward(ctx.neuron, distance, at_spikes, at_potential, mask)
        return None, *found, None, None


# The compiled path. `torch.compile` does not look into operators. Otherwise it
# would unroll the loop over time and change the rounding. Operators accept no
# objects, so these take the values of `Neuron.plain`.
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
) -> tuple[Tensor, Tensor, Tensor]:
    neuron = Neuron.from_plain(k, lam, theta, surrogate, reset, detach_reset)
    spikes, final, distance = forward(neuron, current, potential, mask)
    assert distance is not None
    return spikes, final, distance


@_forward_operator.register_fake
def _(current, potential, mask, *plain):
    del mask, plain
    like = _contiguous_like
    return like(current), like(potential), like(current)


@torch.library.custom_op("keras_snn::lif_backward", mutates_args=())
def _backward_operator(
    distance: Tensor,
    spikes_gradient: Tensor,
    potential_gradient: Tensor,
    mask: Tensor | None,
    k: float,
    lam: float,
    theta: float,
    surrogate: str,
    reset: str,
    detach_reset: bool,
) -> tuple[Tensor, Tensor]:
    neuron = Neuron.from_plain(k, lam, theta, surrogate, reset, detach_reset)
    gradients = spikes_gradient, potential_gradient
    return backward(neuron, distance, *gradients, mask)


@_backward_operator.register_fake
def _(distance, spikes_gradient, potential_gradient, mask, *plain):
    del spikes_gradient, mask, plain
    return _contiguous_like(distance), _contiguous_like(potential_gradient)


def _keep(ctx, inputs, output):
    _, _, mask, *ctx.plain = inputs
    ctx.save_for_backward(output[2], mask)
    ctx.mark_non_differentiable(output[2])


def _call_backward_operator(ctx, at_spikes, at_potential, _):
    distance, mask = ctx.saved_tensors
    found = _backward_operator(
        distance, at_spikes, at_potential, mask, *ctx.plain
    )
    return *found, *[None] * (1 + len(ctx.plain))


_forward_operator.register_autograd(
    _call_backward_operator, setup_context=_keep
)


def lif(neuron, current, potential, mask=None):
    """See `keras_snn.dynamics.lif`."""
    if torch.compiler.is_exporting():
        # An exported program runs where our operators are not installed.
        return reference.lif(neuron, current, potential, mask)
    if torch.compiler.is_compiling():
        spikes, final, _ = _forward_operator(
            current, potential, mask, *neuron.plain
        )
        return spikes, final
    needed = current.requires_grad or potential.requires_grad
    keep = torch.is_grad_enabled() and needed
    return _LIF.apply(neuron, current, potential, mask, keep)
