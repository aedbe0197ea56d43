"""The forward loop of PyTorch, and the choice between it and a GPU's kernels.

As in `loop.py`, the forward pass keeps `distance = u - theta` for the gradient,
the spikes that a recurrent kernel takes, and the states if entries are learnt.

On a GPU the loops are the kernels of `triton.py`, if Triton is installed and
the system has one. Otherwise they are elementwise operations, and each
operation is a pass over memory. They work in place and block by block, so each
operation finds its block still in the cache.
"""

import functools
import importlib.util
import math
import warnings

import torch

from keras_snn import surrogates

__all__ = [
    "blocks",
    "contiguous_like",
    "dtype_of",
    "forward",
    "kernels_for",
    "of_columns",
    "with_numbers",
]

# Elements per block: 16 MB of float32 was fastest on two cores.
FORWARD_BLOCK = 2**22


def blocks(array, size, whole=False):
    """Cuts `(batch, timesteps, units)` into blocks of about `size` numbers.

    `whole` keeps all units in one block, as a recurrent kernel needs.
    """
    batch, timesteps, units = array.shape
    if array.device.type != "cpu":
        return [(slice(None), slice(None))]
    rows = max(1, size // max(1, timesteps * units))
    columns = max(1, min(units, size // max(1, timesteps)))
    columns = max(1, units) if whole else columns
    return [
        (slice(b, b + rows), slice(n, n + columns))
        for b in range(0, batch, rows)
        for n in range(0, units, columns)
    ]


def of_columns(system, columns):
    """Returns the system of some columns."""
    entries = [
        x[columns] if torch.is_tensor(x) and x.ndim else x
        for x in system.entries
    ]
    return system.with_entries(entries)


def with_numbers(system, array):
    """Returns the system with numbers for scalar tensors, on the CPU.

    Operations take numbers in the same pass. On a GPU, reading a tensor would
    wait for it.
    """
    if array.device.type != "cpu":
        return system
    entries = [
        x.item() if torch.is_tensor(x) and not x.ndim else x
        for x in system.entries
    ]
    return system.with_entries(entries)


def contiguous_like(array):
    """Returns an uninitialized array in row-major order."""
    return torch.empty_like(array, memory_format=torch.contiguous_format)


def dtype_of(current, states):
    """Returns the dtype of the potential: that of the states, if given."""
    if states is None:
        return torch.promote_types(current.dtype, torch.float32)
    return states[0].dtype


@functools.cache
def _gpu_module():
    """Returns the module `torch_gpu`, or `None` without Triton."""
    if importlib.util.find_spec("triton") is None:
        warnings.warn(
            "Triton is not installed: spiking neurons run on the GPU as "
            "separate elementwise operations, which is slow.",
            stacklevel=2,
        )
        return None
    from keras_snn.dynamics import torch_gpu

    return torch_gpu


def kernels_for(system, array, recurrent):
    """Returns the module `torch_gpu` if its kernels run this system."""
    plain = system.is_lif and not any(map(torch.is_tensor, system.entries))
    return (
        _gpu_module() if array.is_cuda and plain and recurrent is None else None
    )


def forward(
    system, current, states, mask, recurrent=None, keep=True, learns=False
):
    """See `keras_snn.dynamics.loop.forward`."""
    if kernels := kernels_for(system, current, recurrent):
        return kernels.forward(system, current, states, mask, keep=keep)
    states = states or system.at_rest(current, recurrent)
    system = with_numbers(system, current)
    spiking = system.surrogate is not None
    distance = contiguous_like(current)
    # Without a backward pass, the spikes overwrite the distances.
    spikes = contiguous_like(current) if keep and spiking else distance
    final = tuple(map(contiguous_like, states))
    looped = recurrent is not None
    count = keep * (looped + learns * (len(states) - looped))
    starts = [
        current.new_empty(current.shape, dtype=states[0].dtype)
        for _ in range(count)
    ]
    for rows, columns in blocks(current, FORWARD_BLOCK, looped):
        block = rows, slice(None), columns
        after = _integrate(
            of_columns(system, columns),
            current[block],
            [x[rows, columns] for x in states],
            None if mask is None else mask[rows, :, None],
            distance[block],
            [x[block] for x in starts],
            recurrent,
        )
        for whole, x in zip(final, after, strict=True):
            whole[rows, columns] = x
        if not spiking:
            continue
        if _finite(after):
            torch.gt(distance[block], 0, out=spikes[block])
        else:  # A potential that has become NaN is NaN at the end, too.
            spikes[block] = surrogates.fire(distance[block])
    if not keep:
        return spikes, final, ()
    if not spiking:  # The gradient does not read it.
        distance = distance.new_zeros(()).expand(distance.shape)
    return spikes, final, (distance, *starts)


def _finite(states):
    return all(math.isfinite(x.sum()) for x in states)


def _integrate(system, current, first, runs, distance, starts, recurrent):
    """Fills `distance` and `starts`, and returns the final states."""
    order = torch.contiguous_format
    arrays = current, runs, distance, starts, recurrent
    states = [x.clone(memory_format=order) for x in first]
    states = _advance(system, states, *arrays, _multiply)
    if not _finite(states):
        # Infinity times 0 is NaN. Start over, with selections.
        states = [x.clone(memory_format=order) for x in first]
        states = _advance(system, states, *arrays, _select)
        # The surrogate's derivative at infinity is 0, times infinity NaN.
        largest = torch.finfo(distance.dtype).max / 2
        if system.surrogate is not None:
            distance.clamp_(-largest, largest)
    return states


def _advance(system, states, current, runs, distance, starts, recurrent, reset):
    """Advances the states in place through all timesteps. Returns them."""
    fired, fed = torch.empty_like(states[0]), []
    if recurrent is not None:
        states, fed = states[:-1], [fired.copy_(states[-1])]
    spare = [torch.empty_like(x) for x in states]
    for t in range(current.shape[1]):
        for array, x in zip(starts, [*fed, *states], strict=False):
            array[:, t] = x
        before = [*states, *fed]
        before = before if runs is None else [x.clone() for x in before]
        now = current[:, t]
        if recurrent is not None:
            now = torch.addmm(now.to(fired.dtype), fired, recurrent)
        states, spare = _mix(system, states, now, spare)
        # The spike depends on the distance in the dtype in which it is stored,
        # so both passes agree on it in half precision, too.
        kept = distance[:, t]
        if torch.is_tensor(system.theta):
            kept.copy_(states[0] - system.theta)
        else:
            torch.sub(states[0], system.theta, out=kept)
        reset(system, kept, states, fired)
        if runs is not None:
            kept.masked_fill_(~runs[:, t], 0.0)
            for x, old in zip([*states, *fed], before, strict=True):
                torch.where(runs[:, t], x, old, out=x)
    return [*states, *fed]


def _mix(system, states, current, spare):
    """Computes `System.integrate` in place.

    Returns:
        The states, and tensors for the next call to write to.
    """
    if len(states) == 1:  # the same tensor
        states[0].mul_(system.decay[0][0])
        _add(states[0], current, system.gain[0])
        return states, spare
    rows = zip(spare, system.decay, system.gain, strict=True)
    for out, row, gain in rows:
        terms = zip((*states, current), (*row, gain), strict=True)
        (first, factor), *rest = (x for x in terms if x[1] is not None)
        torch.mul(first, factor, out=out)
        for x, factor in rest:
            _add(out, x, factor)
    return spare, states


def _add(array, x, factor):
    """Adds `factor * x` in place."""
    if torch.is_tensor(factor):
        array.add_(factor * x)
    else:
        array.add_(x, alpha=factor)


def _multiply(system, distance, states, fired):
    """Resets in place, ten times as fast as `_select`.

    PyTorch vectorizes comparisons that write floats, but not those that write
    booleans.
    """
    if system.surrogate is None:
        return
    torch.gt(distance, 0, out=fired)
    potential, *others = states
    if system.reset == "zero":
        potential.addcmul_(potential, fired, value=-1)
    elif system.reset == "subtract":
        _add(potential, fired, -system.theta)
    for x, jump in zip(others, system.jump, strict=True):
        if jump is not None:
            _add(x, fired, jump)


def _select(system, distance, states, fired):
    """Resets in place, infinite potentials too."""
    fired.copy_(surrogates.fire(distance))
    after = system.after(distance > 0, states)
    for x, new in zip(states, after, strict=True):
        x.copy_(new)
