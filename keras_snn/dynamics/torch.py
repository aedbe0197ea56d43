"""The fused loop on PyTorch: one autograd node, or one operator.

The loops are in `torch_loop.py` and `torch_adjoint.py`. The autograd node
serves eager code, including the transformations of `torch.func`. The operators
serve `torch.compile`.
"""

import functools
import inspect
import json

import torch
from torch import Tensor
from torch.autograd import forward_ad

from keras_snn import surrogates
from keras_snn.dynamics import reference
from keras_snn.dynamics.loop import at_recurrent
from keras_snn.dynamics.system import System, refuse_second_derivative
from keras_snn.dynamics.torch_adjoint import backward, push
from keras_snn.dynamics.torch_loop import contiguous_like, dtype_of, forward

__all__ = ["run"]

NO_TRANSFORMATION = (
    "`torch.func.jvp` and `torch.func.vmap` do not support neurons with learnt "
    "constants or a recurrent kernel. Use `torch.func.grad`, or fix the "
    "constants."
)


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
    """A function of a system and tensors that refuses to be differentiated."""

    @staticmethod
    def forward(function, system, *tensors):
        return function(system, *tensors)

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
    def vmap(info, in_dims, function, system, *tensors):
        folded = _fold(info, in_dims[2:], tensors)
        return _unfold(info, _Once.apply(function, system, *folded))


def _backward_flat(
    count, wanted, system, distance, at_spikes, mask, recurrent, *rest
):
    """Calls `backward` on tensors alone. Returns the gradients of `_Run`."""
    at_states, rest = rest[:count] or None, rest[count:]
    looped = recurrent is not None
    kept, rest = (distance, *rest[:looped]), rest[looped:]
    current, *starts = rest or (None,)
    kept = *kept, *starts
    at_current, at_states, at_entries = backward(
        system, kept, at_spikes, at_states, mask, recurrent, current, wanted
    )
    at_kernel = at_recurrent(kept, at_current) if looped else None
    return at_kernel, at_current, *(at_states or ()), *at_entries


def _unless_none(tensors):
    """Returns the tensors, or `None` if they are all `None`."""
    return None if all(x is None for x in tensors) else tensors


def _push_flat(system, distance, current, mask, *states):
    """Calls `push` on tensors alone."""
    spikes, states, distances = push(system, (distance,), current, states, mask)
    return spikes, *states, distances


class _Run(torch.autograd.Function):
    """The eager path.

    `distance` is an output, so that `torch.func` may keep it for the gradient,
    and a differentiable one, so that second derivatives meet `_Once`.

    At rest, the states are `None`.
    """

    @staticmethod
    def forward(system, keep, mask, recurrent, current, count, *rest):
        states, entries = rest[:count], rest[count:]
        if entries:
            system = system.with_entries(entries)
        learns = bool(entries) and keep
        states = _unless_none(states)
        spikes, final, kept = forward(
            system, current, states, mask, recurrent, keep, learns
        )
        return spikes, *final, *kept

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.system, _, mask, recurrent, current, ctx.count, *rest = inputs
        states, entries = rest[: ctx.count], rest[ctx.count :]
        ctx.at_rest = _unless_none(states) is None
        ctx.dtype, ctx.learnt = output[1].dtype, len(entries)
        # Otherwise PyTorch makes zeros in place of the gradient at `distance`.
        ctx.set_materialize_grads(False)
        kept = output[1 + ctx.count :]
        learnt = (current, *entries) if entries else ()
        ctx.save_for_backward(mask, recurrent, *learnt, *kept)
        ctx.save_for_forward(mask, recurrent, *kept)

    @staticmethod
    def backward(ctx, at_spikes, *rest):
        mask, recurrent, *saved = ctx.saved_tensors
        system, count, extra = ctx.system, ctx.count, ()
        wanted = ctx.needs_input_grad[6 + count :]
        if ctx.learnt:
            current, *saved = saved
            entries, saved = saved[: ctx.learnt], saved[ctx.learnt :]
            system, extra = system.with_entries(entries), (current,)
        distance, *kept = saved
        if recurrent is not None:
            fed, *kept = kept
            extra = fed, *extra
        at_states = rest[:count]
        if ctx.at_rest and _unless_none(at_states) is None:
            at_states = ()
        at_spikes, *at_states = _or_zeros(
            distance, at_spikes, at_states, ctx.dtype
        )
        arrays = distance, at_spikes, mask, recurrent, *at_states
        function = functools.partial(_backward_flat, len(at_states), wanted)
        found = _Once.apply(function, system, *arrays, *extra, *kept)
        at_kernel, at_current, *others = found
        if ctx.at_rest:
            others = *count * (None,), *others[len(at_states) :]
        return None, None, None, at_kernel, at_current, None, *others

    @staticmethod
    def jvp(ctx, _system, _keep, _mask, _recurrent, current, _count, *rest):
        mask, recurrent, distance = ctx.saved_tensors[:3]
        if ctx.learnt or recurrent is not None:
            raise NotImplementedError(NO_TRANSFORMATION)
        current, *states = _or_zeros(distance, current, rest, ctx.dtype)
        return _Once.apply(
            _push_flat, ctx.system, distance, current, mask, *states
        )

    @staticmethod
    def vmap(
        info, in_dims, system, keep, mask, recurrent, current, count, *rest
    ):
        if len(rest) > count or recurrent is not None:
            raise NotImplementedError(NO_TRANSFORMATION)
        tensors = mask, current, *rest
        dims = in_dims[2], in_dims[4], *in_dims[6:]
        mask, current, *states = _fold(info, dims, tensors)
        arguments = mask, None, current, count, *states
        found = _Run.apply(system, keep or _is_dual(current), *arguments)
        return _unfold(info, found)


# PyTorch asks for the signature at every call, and `inspect` takes long.
for _function in (_Once, _Run):
    _function.forward.__signature__ = inspect.signature(_function.forward)


def _or_zeros(distance, sequence, states, dtype):
    """Replaces gradients or tangents that are `None`."""
    batch, _, units = distance.shape
    if sequence is None:
        sequence = torch.zeros_like(distance)
    return sequence, *(
        distance.new_zeros((batch, units), dtype=dtype) if x is None else x
        for x in states
    )


def _is_dual(tensor):
    """Returns whether forward mode differentiates by the tensor."""
    try:
        return forward_ad.unpack_dual(tensor).tangent is not None
    except RuntimeError:  # `vmap` cannot tell, but `_Run.vmap` asks again.
        return False


# The compiled path. `torch.compile` does not look into operators. Otherwise it
# would unroll the loop over time and change the rounding. Operators accept no
# objects, so these take the kind of a system as JSON.
@functools.lru_cache(maxsize=128)
def _read(kind):
    """Rebuilds a kind from its `text`."""
    fields = json.loads(kind)
    surrogate = fields.pop("surrogate")
    if surrogate is not None:
        surrogate = surrogates.get(surrogate)
    fields["decay"] = tuple(map(tuple, fields["decay"]))
    for name in ("gain", "jump"):
        fields[name] = tuple(fields[name])
    return System(surrogate=surrogate, **fields)


@torch.library.custom_op("keras_snn::run", mutates_args=())
def _forward_operator(
    current: Tensor,
    states: Tensor,
    mask: Tensor | None,
    entries: list[float],
    kind: str,
) -> tuple[Tensor, Tensor, Tensor]:
    system = _read(kind).with_entries(entries)
    spikes, final, kept = forward(system, current, states.unbind(), mask)
    (distance,) = kept  # pyright: ignore
    return spikes, torch.stack(final), distance.contiguous()


@_forward_operator.register_fake
def _(current, states, mask, entries, kind):
    del mask, entries, kind
    like = contiguous_like
    return like(current), like(states), like(current)


@torch.library.custom_op("keras_snn::run_backward", mutates_args=())
def _backward_operator(
    distance: Tensor,
    at_spikes: Tensor,
    at_states: Tensor,
    mask: Tensor | None,
    entries: list[float],
    kind: str,
) -> tuple[Tensor, Tensor]:
    system = _read(kind).with_entries(entries)
    at_current, at_first, _ = backward(
        system, (distance,), at_spikes, at_states.unbind(), mask
    )
    return at_current, torch.stack(at_first)  # pyright: ignore


@_backward_operator.register_fake
def _(distance, at_spikes, at_states, mask, entries, kind):
    del at_spikes, mask, entries, kind
    return contiguous_like(distance), contiguous_like(at_states)


def _keep(ctx, inputs, output):
    _, _, mask, ctx.entries, ctx.kind = inputs
    ctx.save_for_backward(output[2], mask)
    ctx.mark_non_differentiable(output[2])


def _call_backward_operator(ctx, at_spikes, at_states, _):
    distance, mask = ctx.saved_tensors
    found = _backward_operator(
        distance, at_spikes, at_states, mask, ctx.entries, ctx.kind
    )
    return *found, None, None, None


_forward_operator.register_autograd(
    _call_backward_operator, setup_context=_keep
)


def run(system, current, states, mask=None, recurrent=None):
    """See `keras_snn.dynamics.run`."""
    learnt = any(map(torch.is_tensor, system.entries))
    dtype = dtype_of(current, states)
    entries = [
        x
        if isinstance(x, float) and not learnt
        else torch.as_tensor(x, dtype=dtype, device=current.device)
        for x in system.entries
    ]
    several = any(map(torch.is_tensor, entries))
    if several:
        system = system.with_entries(entries)
    compiling = torch.compiler.is_compiling()
    duals = any(map(_is_dual, (current, *(states or ()))))
    if compiling and duals:
        raise NotImplementedError(
            "A compiled neuron has no forward mode. Call `torch.func.jvp` "
            "outside `torch.compile`."
        )
    unrolled = compiling and (several or recurrent is not None)
    if torch.onnx.is_in_onnx_export():
        raise ValueError(
            "Neurons go into an ONNX file only if they are unrolled. Export "
            "inside `with keras_snn.layers.unrolled(model):`."
        )
    if torch.compiler.is_exporting() or unrolled:
        # An exported program runs where our operators are not installed. And
        # the operator has no gradient at tensors of constants or a kernel.
        return reference.run(system, current, states, mask, recurrent)
    if compiling:
        states = states or system.at_rest(current)
        spikes, final, _ = _forward_operator(
            current, torch.stack(states), mask, entries, system.text
        )
        return spikes, final.unbind()
    if learnt:
        system = system.with_entries([1.0] * len(entries))
    else:
        entries = []
    inputs = [current, *(states or ()), *entries]
    if recurrent is not None:
        recurrent = torch.as_tensor(recurrent).to(current.device, dtype)
        inputs.append(recurrent)
    needed = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    count = len(system.gain) + (recurrent is not None)
    states = states or count * (None,)
    arguments = mask, recurrent, current, count, *states, *entries
    found = _Run.apply(system, duals or needed, *arguments)
    return found[0], tuple(found[1 : 1 + count])
