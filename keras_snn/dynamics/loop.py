"""Neurons over time as one forward and one backward loop.

The loops use `keras.ops`. They serve the backends that compile loops with XLA:
TensorFlow and JAX. The forward loop keeps one array for the gradient,
`distance = u - theta`. Its sign determines the spike, and its value is the
argument of the surrogate.

Both loops read and write axis 1 in place, so batch-major data is never
transposed. The size of the compiled program does not depend on the number of
timesteps. Each loop carries the value that it writes: the potential before the
reset, and the gradient at this potential. The reset and the leak therefore come
at the start of the next timestep. If the carried value differed from the
written one, XLA would compute every timestep twice.
"""

from keras import ops

from keras_snn import surrogates

__all__ = ["backward", "forward"]

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


def forward(neuron, current, potential, mask, keep=True):
    """Runs the neurons forward in time.

    Args:
        neuron: The `Neuron`.
        current: `(batch, timesteps, units)`.
        potential: `(batch, units)`. Potentials are integrated in its dtype.
        mask: Booleans `(batch, timesteps)`, or `None`.
        keep: Whether a backward pass will follow.

    Returns:
        `(spikes, potential, distance)`. The spikes, 0 or 1, and `distance`,
        `u - theta`, have the shape and dtype of `current` and are 0 where
        masked. `potential` is the final potential. Unless `keep`, `distance` is
        `None`.
    """
    first = _first(mask)
    timesteps = ops.shape(current)[1]

    def distance_of(integrated):
        # The spike is computed from the stored, rounded distance, so both
        # passes see the same spikes even in half precision.
        return ops.cast(integrated - neuron.theta, current.dtype)

    def after_reset(t, integrated):
        after = neuron.reset_where(distance_of(integrated) > 0, integrated)
        # The initial potential is not reset, even above the threshold.
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
            kept = surrogates.fire(kept)
        return integrated, _write(written, t, kept)

    integrated, written = ops.fori_loop(
        0, timesteps, timestep, (potential, ops.zeros_like(current))
    )
    final = after_reset(timesteps, integrated)
    if not keep:
        return written, final, None
    return surrogates.fire(written), final, written


def backward(neuron, distance, spikes_gradient, potential_gradient, mask):
    """Runs the adjoint of `forward` back in time.

    Args:
        neuron: The `Neuron`.
        distance: As returned by `forward`.
        spikes_gradient: Gradient at the spikes, in the shape of `distance`.
        potential_gradient: Gradient at the final potential.
        mask: As given to `forward`.

    Returns:
        `(current_gradient, potential_gradient)`: the gradients at the current
        and at the initial potential.
    """
    dtype = potential_gradient.dtype
    timesteps = ops.shape(distance)[1]
    last = _last(mask, timesteps)

    def through_leak(t, gradient):
        # No leak follows the final potential.
        return ops.where(t < last, neuron.k * gradient, gradient)

    def timestep(n, carry):
        after, current_gradient = carry
        t = timesteps - 1 - n
        now = ops.cast(_read(distance, t), dtype)
        # The surrogate's derivative at infinity is 0; infinity times 0 is NaN.
        # Selections keep NaN, which `ops.clip` does not under XLA.
        now = ops.where(now > LARGEST, LARGEST, now)
        now = ops.where(now < -LARGEST, -LARGEST, now)
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
