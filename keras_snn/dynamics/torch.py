"""The fused loop on PyTorch: one autograd node, or one operator.

On a GPU both ways are the kernels of `triton.py`, where Triton is installed.
Elsewhere elementwise operations are all that eager PyTorch offers, each a pass
over memory: they work in place and block by block, so that what one writes is
still in the cache when the next one reads it, and what does not depend on the
timestep before is done for all timesteps at once.
"""

import functools
import importlib.util
import warnings

import torch
from torch import Tensor

from keras_snn.dynamics import pages, reference
from keras_snn.dynamics.neuron import Neuron

# Elements of a block: 16 MB and 4 MB of float32 were fastest on two cores.
FORWARD_BLOCK = 2**22
BACKWARD_BLOCK = 2**20
# What `pages` makes, in a trace: the order of the axes must be what it says.
_like = functools.partial(
    torch.empty_like, memory_format=torch.contiguous_format
)


def _blocks(array, size):
    """Slices of `(batch, timesteps, units)` into blocks of about `size`."""
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


@functools.cache
def _kernels():
    """The module `triton`, or `None` where Triton is not installed."""
    if importlib.util.find_spec("triton") is None:
        warnings.warn(
            "Triton is not installed: spiking neurons run on the GPU as "
            "elementwise operations, one by one.",
            stacklevel=2,
        )
        return None
    from keras_snn.dynamics import triton

    return triton


def forward(neuron, current, potential, mask, keep=True):
    """See `keras_snn.dynamics.loop.forward`."""
    if current.is_cuda and (kernels := _kernels()):
        return kernels.forward(neuron, current, potential, mask, keep)
    distance = pages.empty_like(current)
    # Without a backward pass they take the place of the distance.
    spikes = pages.empty_like(current) if keep else distance
    final = potential.clone(memory_format=torch.contiguous_format)
    for rows, columns in _blocks(current, FORWARD_BLOCK):
        block = rows, slice(None), columns
        runs = None if mask is None else mask[rows, :, None]
        _forward_block(
            neuron, current[block], final[rows, columns], runs, distance[block]
        )
        torch.gt(distance[block], 0, out=spikes[block])
    return spikes, final, distance if keep else None


def _forward_block(neuron, current, potential, runs, distance):
    """Advances `potential` in place and fills `distance`."""
    # Comparisons into floats are vectorized, those into booleans are not.
    fired = torch.empty_like(potential)
    for t in range(current.shape[1]):
        before = None if runs is None else potential.clone()
        potential.mul_(neuron.k).add_(current[:, t], alpha=neuron.lam)
        # The spike is read off the distance as it is stored, so that forward
        # and backward agree on it in half precision too.
        kept = distance[:, t]
        torch.sub(potential, neuron.theta, out=kept)
        torch.gt(kept, 0, out=fired)
        if neuron.reset == "zero":
            potential.addcmul_(potential, fired, value=-1)
        elif neuron.reset == "subtract":
            potential.sub_(fired, alpha=neuron.theta)
        if runs is not None:
            kept.masked_fill_(~runs[:, t], 0.0)
            torch.where(runs[:, t], potential, before, out=potential)


def backward(
    neuron, distance, spikes_gradient, potential_gradient, mask, out=None
):
    """See `keras_snn.dynamics.loop.backward`; `out` may be `distance`."""
    gradients = spikes_gradient, potential_gradient
    if distance.is_cuda and (kernels := _kernels()):
        return kernels.backward(neuron, distance, *gradients, mask, out)
    current_gradient = pages.empty_like(distance) if out is None else out
    initial_gradient = pages.empty_like(potential_gradient)
    for rows, columns in _blocks(distance, BACKWARD_BLOCK):
        block = rows, slice(None), columns
        gradient, initial_gradient[rows, columns] = _backward_block(
            neuron,
            distance[block].to(potential_gradient.dtype),
            spikes_gradient[block],
            potential_gradient[rows, columns],
            None if mask is None else mask[rows, :, None],
        )
        torch.mul(gradient, neuron.lam, out=current_gradient[block])
    return current_gradient, initial_gradient


def _backward_block(neuron, distance, at_spikes, after, runs):
    """Gradients at `u`, all timesteps, and at the initial potential."""
    silent = torch.le(distance, 0, out=torch.empty_like(distance))
    slope, carried = neuron.adjoint(distance, silent)
    carried = torch.as_tensor(carried, dtype=slope.dtype, device=slope.device)
    carried = carried.expand(distance.shape)
    gradient = slope * at_spikes
    leak = 1.0  # none follows the final potential
    for t in reversed(range(distance.shape[1])):
        here = gradient[:, t]
        here.addcmul_(carried[:, t], after, value=leak)
        if runs is None:
            after, leak = here, neuron.k
        else:
            after = torch.where(runs[:, t], neuron.k * here, after)
            here.masked_fill_(~runs[:, t], 0.0)
    return gradient, leak * after


def _graph_is_kept():
    """Whether this backward pass may be run again, with the same residuals.

    If not, the gradient may take the place of the residual, which spares an
    array of the size of the current. Hooks on saved tensors that return the
    very tensor which they hold on to will find it overwritten.
    """
    kept = getattr(
        torch._C._autograd, "_get_current_graph_task_keep_graph", None
    )
    return kept is None or kept()


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
    def backward(ctx, *gradients):
        distance, mask = ctx.saved_tensors
        out = None if _graph_is_kept() else distance
        gradients = backward(ctx.neuron, distance, *gradients, mask, out)
        return None, *gradients, None, None


# Under `torch.compile` the loops are two operators that it does not look into:
# traced, they would unroll over time, and round in another way.
@torch.library.custom_op("keras_snn::lif", mutates_args=())
def _forward_operator(
    current: Tensor, potential: Tensor, mask: Tensor | None, neuron: int
) -> tuple[Tensor, Tensor, Tensor]:
    return forward(Neuron.numbered(neuron), current, potential, mask)


@_forward_operator.register_fake
def _(current, potential, mask, neuron):
    del mask, neuron
    return _like(current), _like(potential), _like(current)


@torch.library.custom_op("keras_snn::lif_backward", mutates_args=())
def _backward_operator(
    distance: Tensor,
    spikes_gradient: Tensor,
    potential_gradient: Tensor,
    mask: Tensor | None,
    neuron: int,
) -> tuple[Tensor, Tensor]:
    return backward(
        Neuron.numbered(neuron),
        distance,
        spikes_gradient,
        potential_gradient,
        mask,
    )


@_backward_operator.register_fake
def _(distance, spikes_gradient, potential_gradient, mask, neuron):
    del spikes_gradient, mask, neuron
    return _like(distance), _like(potential_gradient)


def _keep(ctx, inputs, output):
    _, _, mask, ctx.neuron = inputs
    ctx.save_for_backward(output[2], mask)
    ctx.mark_non_differentiable(output[2])


def _differentiate(ctx, spikes_gradient, potential_gradient, _):
    distance, mask = ctx.saved_tensors
    gradients = _backward_operator(
        distance, spikes_gradient, potential_gradient, mask, ctx.neuron
    )
    return *gradients, None, None


_forward_operator.register_autograd(_differentiate, setup_context=_keep)


def lif(neuron, current, potential, mask=None):
    """See `keras_snn.dynamics.lif`."""
    if torch.compiler.is_exporting():
        # An exported program knows neither our operators nor our numbers.
        return reference.lif(neuron, current, potential, mask)
    if torch.compiler.is_compiling():
        outputs = _forward_operator(current, potential, mask, neuron.number)
        return outputs[0], outputs[1]
    needed = current.requires_grad or potential.requires_grad
    keep = torch.is_grad_enabled() and needed
    return _LIF.apply(neuron, current, potential, mask, keep)
