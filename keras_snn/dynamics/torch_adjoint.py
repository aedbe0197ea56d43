"""The backward loop of PyTorch, and that of tangents. See `torch_loop.py`."""

import torch

from keras_snn.dynamics.loop import summed
from keras_snn.dynamics.torch_loop import (
    blocks,
    contiguous_like,
    kernels_for,
    of_columns,
    with_numbers,
)

__all__ = ["backward", "push"]

# Elements per block: 4 MB of float32 was fastest on two cores.
BACKWARD_BLOCK = 2**20


def backward(
    system,
    kept,
    at_spikes,
    at_states,
    mask,
    recurrent=None,
    current=None,
    wanted=(),
):
    """See `keras_snn.dynamics.loop.backward`.

    `wanted` says which entries are learnt. The others have any gradient.
    """
    distance, *starts = kept
    if kernels := kernels_for(system, distance, recurrent):
        return kernels.backward(system, kept, at_spikes, at_states, mask)
    only_spikes = at_states is None
    if only_spikes:
        at_states = system.at_rest(distance, recurrent)
    shapes, system = system.entries, with_numbers(system, distance)
    looped = recurrent is not None
    fed, starts = starts[:looped], starts[looped:]
    at_current = contiguous_like(at_spikes)
    at_first = tuple(map(contiguous_like, at_states))
    entries = [torch.zeros_like(at_states[0]) for _ in system.entries if starts]
    for rows, columns in blocks(distance, BACKWARD_BLOCK, looped):
        block = rows, slice(None), columns
        learnt = ()
        if starts:
            now = current[block]  # pyright: ignore
            if recurrent is not None:
                now = now + fed[0][rows] @ recurrent
            sums = [x[rows, columns] for x in entries]
            learnt = [x[block] for x in starts], now, sums, wanted
        found = _differentiate(
            of_columns(system, columns),
            _widened(distance[block], at_states[0].dtype),
            at_spikes[block],
            [x[rows, columns] for x in at_states],
            None if mask is None else mask[rows, :, None],
            at_current[block],
            learnt,
            recurrent,
        )
        for whole, x in zip(at_first, found, strict=True):
            whole[rows, columns] = x
    at_first = None if only_spikes else at_first
    return at_current, at_first, tuple(map(summed, entries, shapes))


def _widened(distance, dtype):
    """Returns distances, all finite, in the dtype of the potential."""
    if distance.dtype == dtype:
        return distance
    # float16 makes large potentials infinite. Infinity times 0 is NaN.
    largest = torch.finfo(dtype).max / 2
    return distance.to(dtype).clamp_(-largest, largest)


def _factors(system, distance):
    """Returns the factors of `System.adjoint` as tensors."""
    silent = torch.le(distance, 0, out=torch.empty_like(distance))
    factors = system.adjoint(distance, silent)
    return [
        torch.as_tensor(x).to(distance).expand_as(distance) for x in factors
    ]


def _differentiate(
    system, distance, at_spikes, after, runs, at_current, learnt, recurrent
):
    """Fills `at_current`. Returns the gradients at the initial states."""
    fed = []  # the gradient at the spikes that `recurrent` takes
    if recurrent is not None:
        *after, last = after
        fed = [last]
    slope, carried = _factors(system, distance)
    gradient = slope * at_spikes
    decay, gain = system.decay[0][0], system.gain[0]
    single = len(after) == 1 and not fed
    at_once = learnt and single and runs is None
    at_once = at_once and _are_scales(system, learnt[-1])
    leak = 1.0  # No leak follows the final potential.
    for t in reversed(range(distance.shape[1])):
        here = gradient[:, t]
        if not single:
            raised = system.raised(sum(fed), after)
            if torch.is_tensor(raised):
                here.addcmul_(slope[:, t], raised)
        here.addcmul_(carried[:, t], after[0], value=leak)
        gradients = (here, *after[1:])
        if learnt and not at_once:
            scaled = [leak * after[0], *after[1:]]
            _accumulate(system, t, distance, gradients, scaled, runs, learnt)
        if not single:
            now = system.pull(gradients)[1]
            if recurrent is not None:
                at_fed = now @ recurrent.T
                if runs is not None:
                    at_fed = torch.where(runs[:, t], at_fed, fed[0])
                fed = [at_fed]
            if runs is not None:
                now = now.masked_fill(~runs[:, t], 0.0)
            at_current[:, t] = now
        if single and runs is None and not torch.is_tensor(decay):
            after, leak = [here], decay
            continue
        pulled, leak = system.pull(gradients)[0], 1.0
        if runs is not None:
            pulled = [
                torch.where(runs[:, t], x, old)
                for x, old in zip(pulled, after, strict=True)
            ]
            here.masked_fill_(~runs[:, t], 0.0)
        after = list(pulled)
    if at_once:
        _accumulate_at_once(gradient, learnt)
    if single:
        torch.mul(gradient, gain, out=at_current)
    return [leak * after[0], *after[1:], *fed]


def _are_scales(system, wanted):
    """Returns whether `k` or `lam` are learnt, as numbers, but not `theta`."""
    return not wanted[-1] and not any(map(torch.is_tensor, system.entries))


def _accumulate_at_once(gradient, learnt):
    """Adds the gradients at `k` and `lam` of a LIF neuron in all timesteps."""
    (start,), current, sums, wanted = learnt
    for total, x, needed in zip(sums, (start, current), wanted, strict=False):
        if needed:
            x = x.to(gradient.dtype).reshape(-1)
            total[0, 0] = torch.dot(gradient.reshape(-1), x)


def _accumulate(system, t, distance, gradients, after, runs, learnt):
    """Adds the gradients at the entries in one timestep."""
    starts, current, sums, _ = learnt
    states = [x[:, t] for x in starts]
    silent = (distance[:, t] <= 0).to(distance.dtype)
    now = current[:, t].to(distance.dtype)
    found = system.at_entries(gradients, after, states, now, silent)
    for total, x in zip(sums, found, strict=True):
        total += x if runs is None else x.masked_fill(~runs[:, t], 0.0)


def push(system, kept, current, states, mask):
    """Advances tangents through the linearized neurons, in forward mode.

    Returns the tangents of the spikes, the final states and the distance.
    """
    distance = _widened(kept[0], states[0].dtype)
    slope, carried = _factors(system, distance)
    spikes, distances = torch.empty_like(distance), torch.empty_like(distance)
    for t in range(distance.shape[1]):
        integrated = system.integrate(states, current[:, t])
        spike = slope[:, t] * integrated[0]
        after = [carried[:, t] * integrated[0]]
        for x, jump in zip(integrated[1:], system.jump, strict=True):
            after.append(x if jump is None else x + jump * spike)
        first = integrated[0]
        if mask is not None:
            runs = mask[:, t, None]
            spike, first = (x.masked_fill(~runs, 0.0) for x in (spike, first))
            pairs = zip(after, states, strict=True)
            after = [torch.where(runs, new, old) for new, old in pairs]
        spikes[:, t], distances[:, t] = spike, first
        states = after
    like = kept[0].dtype
    return spikes.to(like), tuple(states), distances.to(like)
