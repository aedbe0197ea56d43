"""The loops of PyTorch, and the choice between them and the kernels of a GPU.

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

from keras_snn import surrogates

__all__ = ["backward", "contiguous_like", "forward", "push"]

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


def contiguous_like(array):
    """Returns an uninitialized array in row-major order."""
    return torch.empty_like(array, memory_format=torch.contiguous_format)


@functools.cache
def _kernels():
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


def forward(neuron, current, potential, mask, keep=True):
    """See `keras_snn.dynamics.loop.forward`."""
    if current.is_cuda and (kernels := _kernels()):
        return kernels.forward(neuron, current, potential, mask, keep)
    distance = contiguous_like(current)
    # Without a backward pass, the spikes overwrite the distances.
    spikes = contiguous_like(current) if keep else distance
    final = contiguous_like(potential)
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
    current_gradient = contiguous_like(distance)
    initial_gradient = contiguous_like(potential_gradient)
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


def _factors(neuron, distance):
    """Returns the factors of `Neuron.adjoint` as tensors."""
    silent = torch.le(distance, 0, out=torch.empty_like(distance))
    slope, carried = neuron.adjoint(distance, silent)
    carried = torch.as_tensor(carried).to(distance)
    return slope, carried.expand(distance.shape)


def _differentiate(neuron, distance, at_spikes, after, runs):
    """Returns the gradients at `u` and at the initial potential."""
    slope, carried = _factors(neuron, distance)
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


def push(neuron, distance, current, potential, mask):
    """Advances tangents through the linearized neurons, in forward mode.

    Returns the tangents of the spikes, the final potential and the distance.
    """
    kept = distance.to(potential.dtype)
    slope, carried = _factors(neuron, kept)
    spikes, distances = torch.empty_like(kept), torch.empty_like(kept)
    for t in range(distance.shape[1]):
        integrated = neuron.k * potential + neuron.lam * current[:, t]
        after = carried[:, t] * integrated
        if mask is not None:
            runs = mask[:, t, None]
            integrated = integrated.masked_fill(~runs, 0.0)
            after = torch.where(runs, after, potential)
        spikes[:, t] = slope[:, t] * integrated
        distances[:, t] = integrated
        potential = after
    return spikes.to(distance.dtype), potential, distances.to(distance.dtype)
