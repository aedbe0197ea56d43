"""The neuron over time as one loop forward and one loop backward.

Written in `keras.ops` for the backends that compile loops with XLA, TensorFlow
and JAX. What passes from one loop to the other is `distance = u - theta`, the
single array kept for the gradient: its sign is the spike, its value feeds the
surrogate.

Both loops slice and update axis 1 in place, so that batch-major data never
moves, and neither grows with the number of timesteps. Both carry what they
write, the potential before the reset and the gradient at it, and take the
reset and the leak at the start of the next timestep: XLA then computes a
timestep once and copies it into place. Where the two differ, it computes the
whole timestep twice, once for each.
"""

from keras import ops


def _read(array, t):
    """`array[:, t]` for an index that only the loop knows."""
    batch, _, *rest = ops.shape(array)
    start = (0, t) + (0,) * len(rest)
    return ops.squeeze(ops.slice(array, start, (batch, 1, *rest)), axis=1)


def _write(array, t, value):
    """`array` with `array[:, t] = value`."""
    start = (0, t, 0)
    value = ops.cast(ops.expand_dims(value, 1), array.dtype)
    return ops.slice_update(array, start, value)


def _first(mask):
    """Index of the first timestep that runs; without a mask, 0."""
    if mask is None:
        return 0
    timesteps = ops.shape(mask)[1]
    indices = ops.where(mask, ops.arange(timesteps), timesteps)
    return ops.min(indices, axis=1, keepdims=True)


def _last(mask, timesteps):
    """Index of the last timestep that runs; where none does, -1."""
    if mask is None:
        return timesteps - 1
    indices = ops.where(mask, ops.arange(timesteps), -1)
    return ops.max(indices, axis=1, keepdims=True)


def forward(neuron, current, potential, mask, keep=True):
    """Runs the neuron over time.

    Args:
        neuron: The `Neuron`.
        current: `(batch, timesteps, units)`.
        potential: `(batch, units)`; its dtype is the one integrated in.
        mask: Booleans `(batch, timesteps)`, or `None`.
        keep: Whether there will be a backward pass.

    Returns:
        `(spikes, potential, distance)`: 0 or 1 in the shape and dtype of
        `current`, the final potential, and `u - theta` in the shape and dtype
        of `current`, not above zero where masked; `None` unless `keep`.
    """
    first = _first(mask)
    timesteps = ops.shape(current)[1]

    def distance_of(integrated):
        # The spike is read off the distance as it is stored, so that forward
        # and backward agree on it in half precision too.
        return ops.cast(integrated - neuron.theta, current.dtype)

    def after_reset(t, integrated):
        spikes = ops.cast(distance_of(integrated) > 0, integrated.dtype)
        after = neuron.after_spike(integrated, spikes)
        # The potential to start from may lie above the threshold.
        return ops.where(t > first, after, integrated)

    def timestep(t, carry):
        before, written = carry
        now = ops.cast(_read(current, t), before.dtype)
        integrated = neuron.integrate(after_reset(t, before), now)
        kept = distance_of(integrated)
        if mask is not None:
            runs = ops.expand_dims(_read(mask, t), -1)
            integrated = ops.where(runs, integrated, before)
            kept = ops.where(runs, kept, ops.zeros_like(kept))
        if not keep:
            kept = kept > 0
        return integrated, _write(written, t, kept)

    integrated, written = ops.fori_loop(
        0, timesteps, timestep, (potential, ops.zeros_like(current))
    )
    final = after_reset(timesteps, integrated)
    if not keep:
        return written, final, None
    return ops.cast(written > 0, written.dtype), final, written


def backward(neuron, distance, spikes_gradient, potential_gradient, mask):
    """Runs the adjoint of `forward` back through time.

    Args:
        neuron: The `Neuron`.
        distance: What `forward` returned.
        spikes_gradient: Gradient at the spikes, of the shape of `distance`.
        potential_gradient: Gradient at the final potential.
        mask: As given to `forward`.

    Returns:
        `(current_gradient, potential_gradient)`, the gradients at the current
        and at the initial potential.
    """
    dtype = potential_gradient.dtype
    timesteps = ops.shape(distance)[1]
    last = _last(mask, timesteps)

    def through_leak(t, gradient):
        # The final potential is the one that no leak follows.
        return ops.where(t < last, neuron.k * gradient, gradient)

    def timestep(n, carry):
        after, current_gradient = carry
        t = timesteps - 1 - n
        now = ops.cast(_read(distance, t), dtype)
        slope, carried = neuron.adjoint(now, ops.cast(now <= 0, dtype))
        at_spikes = ops.cast(_read(spikes_gradient, t), dtype)
        gradient = slope * at_spikes + carried * through_leak(t, after)
        kept = gradient
        if mask is not None:
            runs = ops.expand_dims(_read(mask, t), -1)
            gradient = ops.where(runs, gradient, after)
            kept = ops.where(runs, gradient, ops.zeros_like(gradient))
        return gradient, _write(current_gradient, t, neuron.lam * kept)

    gradient, current_gradient = ops.fori_loop(
        0,
        timesteps,
        timestep,
        (potential_gradient, ops.zeros_like(distance)),
    )
    return current_gradient, through_leak(-1, gradient)
