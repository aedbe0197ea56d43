"""Neurons over time as one forward and one backward loop.

The loops use `keras.ops`. They serve the backends that compile loops with XLA:
TensorFlow and JAX. The forward loop keeps one array for the gradient,
`distance = u - theta`. Its sign determines the spike, and its value is the
argument of the surrogate. With a recurrent kernel, it also keeps the spikes
that the kernel takes. If the entries of the system are learnt, it keeps the
states at the start of every timestep, too.

Both loops read and write axis 1 in place, so batch-major data is never
transposed. The size of the compiled program does not depend on the number of
timesteps. Each loop carries the values that it computes: the states before the
reset, and the gradients at these states. The reset and the leak therefore come
at the start of the next timestep. If the carried value differed from the
written one, XLA would compute every timestep twice.
"""

from keras import ops

from keras_snn import surrogates

__all__ = ["at_recurrent", "backward", "forward", "summed"]

LARGEST = 3e38  # almost the largest float32


def _read(array, t):
    """Returns `array[:, t]` for an index that is known only in the loop."""
    batch, _, *rest = ops.shape(array)
    start = (0, t) + (0,) * len(rest)
    return ops.squeeze(ops.slice(array, start, (batch, 1, *rest)), axis=1)


def _write(array, t, value):
    """Returns `array` with `value` at `array[:, t]`."""
    value = ops.cast(ops.expand_dims(value, 1), array.dtype)
    return ops.slice_update(array, (0, t, 0), value)


def _first(mask):
    """Returns the first unmasked timestep of each sample."""
    if mask is None:
        return 0
    timesteps = ops.shape(mask)[1]
    indices = ops.where(mask, ops.arange(timesteps), timesteps)
    return ops.min(indices, axis=1, keepdims=True)


def _last(mask, timesteps):
    """Returns the last unmasked timestep of each sample, or -1."""
    if mask is None:
        return timesteps - 1
    indices = ops.where(mask, ops.arange(timesteps), -1)
    return ops.max(indices, axis=1, keepdims=True)


def _where(condition, ours, others):
    """Selects between two tuples of tensors."""
    pairs = zip(ours, others, strict=True)
    return tuple(ops.where(condition, x, y) for x, y in pairs)


def forward(
    system, current, states, mask, recurrent=None, keep=True, learns=False
):
    """Runs the neurons forward in time.

    Args:
        system: The `System`.
        current: `(batch, timesteps, units)`.
        states: Tuple of `(batch, units)`, integrated in their dtype, or `None`
            to start at rest.
        mask: Booleans `(batch, timesteps)`, or `None`.
        recurrent: Kernel `(units, units)` from spikes to the next current, or
            `None`. With it, the last of the states are spikes.
        keep: Whether a backward pass will follow.
        learns: Whether it will differentiate by the entries of the system.

    Returns:
        `(spikes, states, kept)`. The spikes, 0 or 1, have the shape and dtype
        of `current`. `states` are the final ones. `kept` is a tuple of what
        `backward` needs: `distance`, like `current`; with a `recurrent` kernel
        the spikes that it took; and if `learns` every state at the start of
        every timestep. `distance` and the spikes are 0 where masked. Unless
        `keep`, `kept` is empty.
    """
    states = states or system.at_rest(current, recurrent)
    dtype = states[0].dtype
    if recurrent is not None:
        *states, fed_first = states
    first, timesteps = _first(mask), ops.shape(current)[1]

    def distance_of(integrated):
        # The spike is computed from the stored, rounded distance, so both
        # passes see the same spikes even in half precision.
        return ops.cast(integrated[0] - system.theta, current.dtype)

    def after_reset(t, integrated):
        after = system.after(distance_of(integrated) > 0, integrated)
        # The initial potential is not reset, even above the threshold.
        return _where(t > first, after, integrated)

    def fed(t, integrated):
        """Returns the spikes of the timestep before."""
        fired = ops.cast(surrogates.fire(distance_of(integrated)), dtype)
        return ops.where(t > first, fired, fed_first)

    def timestep(t, carry):
        before, written, starts = carry
        now = ops.cast(_read(current, t), dtype)
        start = after_reset(t, before)
        taken = start
        if recurrent is not None:
            taken = (fed(t, before), *start)
            # `ops.matmul` would narrow float64.
            now = now + taken[0] @ recurrent
        integrated = system.integrate(start, now)
        kept = distance_of(integrated)
        if mask is not None:
            runs = ops.expand_dims(_read(mask, t), -1)
            integrated = _where(runs, integrated, before)
            kept = ops.where(runs, kept, ops.zeros_like(kept))
        if not keep:
            kept = _output(system, kept)
        starts = tuple(
            _write(array, t, x) for array, x in zip(starts, taken, strict=False)
        )
        return integrated, _write(written, t, kept), starts

    count = keep * ((recurrent is not None) + learns * len(states))
    starts = (ops.zeros(ops.shape(current), dtype),) * count
    integrated, written, starts = ops.fori_loop(
        0,
        timesteps,
        timestep,
        (tuple(states), ops.zeros_like(current), starts),
    )
    final = after_reset(timesteps, integrated)
    if recurrent is not None:
        final = (*final, fed(timesteps, integrated))
    if not keep:
        return written, final, ()
    return _output(system, written), final, (written, *starts)


def _output(system, distance):
    """Returns the spikes, or the potential of a system without them."""
    return distance if system.surrogate is None else surrogates.fire(distance)


def backward(
    system, kept, at_spikes, at_states, mask, recurrent=None, current=None
):
    """Runs the adjoint of `forward` back in time.

    Args:
        system: The `System`.
        kept: As returned by `forward`.
        at_spikes: Gradient at the spikes, in the shape of `current`.
        at_states: Tuple of the gradients at the final states, or `None` if they
            are zero and the gradients at the initial states are not needed.
        mask: As given to `forward`.
        recurrent: As given to `forward`.
        current: As given to `forward`, if the entries are learnt.

    Returns:
        `(at_current, at_states, at_entries)`: the gradients at the current, the
        initial states (or `None`) and the entries. Those at the entries are
        empty unless learnt. Each has the shape `(batch, units)`; `summed`
        reduces it.
        `at_recurrent` gives the gradient at the recurrent kernel.
    """
    distance, *starts = kept
    only_spikes = at_states is None
    at_states = at_states or system.at_rest(distance, recurrent)
    dtype = at_states[0].dtype
    at_fed = ()  # the gradient at the spikes that `recurrent` takes
    if recurrent is not None:
        (*at_states, at_fed), (_, *starts) = at_states, starts
    timesteps = ops.shape(distance)[1]
    last = _last(mask, timesteps)

    def through_leak(t, gradients):
        # No leak follows the final potential.
        return _where(t < last, system.pull(gradients)[0], gradients)

    def timestep(n, carry):
        following, at_current, at_entries, at_fed = carry
        t = timesteps - 1 - n
        after = through_leak(t, following)
        at_spike = ops.cast(_read(at_spikes, t), dtype)
        if recurrent is not None:
            at_spike = at_spike + at_fed
        now = ops.cast(_read(distance, t), dtype)
        gradients, silent = _through_spike(system, now, at_spike, after)
        at_now = system.pull(gradients)[1]
        if recurrent is not None:
            before = at_fed
            at_fed = at_now @ ops.transpose(recurrent)
        if starts:
            states = [_read(x, t) for x in starts]
            i = ops.cast(_read(current, t), dtype)
            if recurrent is not None:
                i = i + _read(kept[1], t) @ recurrent
            found = system.at_entries(gradients, after, states, i, silent)
        if mask is not None:
            runs = ops.expand_dims(_read(mask, t), -1)
            gradients = _where(runs, gradients, following)
            at_now = ops.where(runs, at_now, ops.zeros_like(at_now))
            if recurrent is not None:
                at_fed = ops.where(runs, at_fed, before)
        if starts:
            if mask is not None:
                found = [ops.where(runs, x, ops.zeros_like(x)) for x in found]
            pairs = zip(at_entries, found, strict=True)
            at_entries = tuple(x + y for x, y in pairs)
        return gradients, _write(at_current, t, at_now), at_entries, at_fed

    sums = tuple(ops.zeros_like(at_states[0]) for _ in system.entries if starts)
    gradients, at_current, at_entries, at_fed = ops.fori_loop(
        0,
        timesteps,
        timestep,
        (tuple(at_states), ops.zeros_like(distance), sums, at_fed),
    )
    at_first = through_leak(-1, gradients)
    at_first = at_first if recurrent is None else (*at_first, at_fed)
    return at_current, None if only_spikes else at_first, at_entries


def _through_spike(system, distance, at_spike, after):
    """Returns the gradients at `z_t`, and `1 - o_t`."""
    # The surrogate's derivative at infinity is 0; infinity times 0 is NaN.
    # Selections keep NaN, which `ops.clip` does not under XLA.
    distance = ops.where(distance > LARGEST, LARGEST, distance)
    distance = ops.where(distance < -LARGEST, -LARGEST, distance)
    silent = ops.cast(distance <= 0, distance.dtype)
    slope, carried = system.adjoint(distance, silent)
    at_spike = system.raised(at_spike, after)
    gradient = slope * at_spike + carried * after[0]
    return (gradient, *after[1:]), silent


def at_recurrent(kept, at_current):
    """Returns the gradient at the recurrent kernel, as one product."""
    fed = kept[1]
    units = ops.shape(fed)[-1]
    fed, at_current = (
        ops.reshape(ops.cast(x, fed.dtype), (-1, units))
        for x in (fed, at_current)
    )
    return ops.transpose(fed) @ at_current


def summed(gradient, entry):
    """Sums a gradient `(batch, units)` over what shares an entry."""
    axes = (0,) if len(ops.shape(entry)) else (0, 1)
    return ops.sum(gradient, axis=axes)
