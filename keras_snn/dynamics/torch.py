"""The fused loop on PyTorch: one autograd node, or one operator.

The loops are in `torch_loop.py`. The autograd node serves eager code, including
the transformations of `torch.func`. The operators serve `torch.compile`.
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad

from keras_snn.dynamics import reference
from keras_snn.dynamics.neuron import Neuron, refuse_second_derivative
from keras_snn.dynamics.torch_loop import (
    backward,
    contiguous_like,
    forward,
    push,
)

__all__ = ["lif"]


def _fold(info, in_dims, tensors):
    """Folds an axis that `torch.func.vmap` maps over into the batch axis."""
    for tensor, dim in zip(tensors, in_dims, strict=True):
        if tensor is None:
            yield None
        elif dim is None:
            shape = info.batch_size, *tensor.shape
            yield tensor.expand(shape).flatten(0, 1)
        else:
            yield tensor.movedim(dim, 0).flatten(0, 1)


def _unfold(info, outputs):
    """Undoes `_fold` for the outputs, and says where the axis is."""
    size = info.batch_size
    unfolded = [
        x if x is None else x.unflatten(0, (size, x.shape[0] // size))
        for x in outputs
    ]
    return tuple(unfolded), tuple(None if x is None else 0 for x in outputs)


class _Once(torch.autograd.Function):
    """A function of a neuron and tensors that refuses to be differentiated."""

    @staticmethod
    def forward(function, neuron, *tensors):
        return function(neuron, *tensors)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keeps nothing."""

    @staticmethod
    def backward(ctx, *_):
        del ctx
        refuse_second_derivative()

    @staticmethod
    def jvp(ctx, *_):
        del ctx
        refuse_second_derivative()

    @staticmethod
    def vmap(info, in_dims, function, neuron, *tensors):
        folded = _fold(info, in_dims[2:], tensors)
        return _unfold(info, _Once.apply(function, neuron, *folded))


class _LIF(torch.autograd.Function):
    """The eager path.

    `distance` is an output, so that `torch.func` may keep it for the gradient,
    and a differentiable one, so that second derivatives meet `_Once`.
    """

    @staticmethod
    def forward(neuron, current, potential, mask, keep):
        return forward(neuron, current, potential, mask, keep)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.neuron, _, potential, mask, _ = inputs
        ctx.dtype = potential.dtype
        # Otherwise PyTorch makes zeros in place of the gradient at `distance`.
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output[2], mask)
        ctx.save_for_forward(output[2], mask)

    @staticmethod
    def backward(ctx, at_spikes, at_potential, _):
        distance, mask = ctx.saved_tensors
        at_spikes, at_potential = _or_zeros(
            distance, at_spikes, at_potential, ctx.dtype
        )
        found = _Once.apply(
            backward, ctx.neuron, distance, at_spikes, at_potential, mask
        )
        return None, *found, None, None

    @staticmethod
    def jvp(ctx, _neuron, current, potential, _mask, _keep):
        distance, mask = ctx.saved_tensors
        tangents = _or_zeros(distance, current, potential, ctx.dtype)
        return _Once.apply(push, ctx.neuron, distance, *tangents, mask)

    @staticmethod
    def vmap(info, in_dims, neuron, current, potential, mask, keep):
        tensors = current, potential, mask
        folded = list(_fold(info, in_dims[1:4], tensors))
        return _unfold(info, _apply(neuron, *folded, keep=keep))


def _or_zeros(distance, sequence, state, dtype):
    """Replaces gradients or tangents that are `None`."""
    batch, _, units = distance.shape
    if sequence is None:
        sequence = torch.zeros_like(distance)
    if state is None:
        state = distance.new_zeros((batch, units), dtype=dtype)
    return sequence, state


def _is_dual(tensor):
    """Returns whether forward mode differentiates by the tensor."""
    try:
        return forward_ad.unpack_dual(tensor).tangent is not None
    except RuntimeError:  # `vmap` cannot tell, but `_LIF.vmap` asks again.
        return False


def _apply(neuron, current, potential, mask, keep=False):
    """Runs eagerly. Keeps `distance` if it must, or if a gradient needs it."""
    needed = current.requires_grad or potential.requires_grad
    keep |= torch.is_grad_enabled() and needed
    keep |= _is_dual(current) or _is_dual(potential)
    return _LIF.apply(neuron, current, potential, mask, keep)


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
    like = contiguous_like
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
    return contiguous_like(distance), contiguous_like(potential_gradient)


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
        if _is_dual(current) or _is_dual(potential):
            raise NotImplementedError(
                "A compiled neuron has no forward mode. Call `torch.func.jvp` "
                "outside `torch.compile`."
            )
        spikes, final, _ = _forward_operator(
            current, potential, mask, *neuron.plain
        )
        return spikes, final
    return _apply(neuron, current, potential, mask)[:2]
