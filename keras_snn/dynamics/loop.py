"""The neuron over time as one loop forward and one loop backward.

Written in `keras.ops` for the backends that compile loops, TensorFlow and JAX.
What passes from one to the other is `distance = u - theta`, the single array
kept for the gradient: its sign is the spike, its value feeds the surrogate.

Both loops slice and update axis 1 in place, so that batch-major data never
moves, and neither grows with the number of timesteps.
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


def forward(neuron, current, potential, mask):
    """Runs the neuron over time.

    Args:
        neuron: The `Neuron`.
        current: `(batch, timesteps, units)`.
        potential: `(batch, units)`; its dtype is the one integrated in.
        mask: Booleans `(batch, timesteps)`, or `None`.

    Returns:
        `(distance, potential)`: `u - theta` in the shape and dtype of
        `current`, not above zero where masked, and the final potential.
    """

    def timestep(t, carry):
        potential, distance = carry
        now = _read(current, t)
        integrated = neuron.integrate(potential, ops.cast(now, potential.dtype))
        # The spike is read off the distance as it is stored, so that forward
        # and backward agree on it in half precision too.
        kept = ops.cast(integrated - neuron.theta, current.dtype)
        spikes = ops.cast(kept > 0, potential.dtype)
        after = neuron.after_spike(integrated, spikes)
        if mask is not None:
            runs = ops.expand_dims(_read(mask, t), -1)
            kept = ops.where(runs, kept, ops.zeros_like(kept))
            after = ops.where(runs, after, potential)
        return after, _write(distance, t, kept)

    potential, distance = ops.fori_loop(
        0, ops.shape(current)[1], timestep, (potential, ops.zeros_like(current))
    )
    return distance, potential


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

    def timestep(n, carry):
        potential_gradient, current_gradient = carry
        t = timesteps - 1 - n
        gradient = neuron.adjoint(
            ops.cast(_read(distance, t), dtype),
            ops.cast(_read(spikes_gradient, t), dtype),
            potential_gradient,
        )
        before = neuron.k * gradient
        if mask is not None:
            runs = ops.expand_dims(_read(mask, t), -1)
            gradient = ops.where(runs, gradient, ops.zeros_like(gradient))
            before = ops.where(runs, before, potential_gradient)
        return before, _write(current_gradient, t, neuron.lam * gradient)

    potential_gradient, current_gradient = ops.fori_loop(
        0,
        timesteps,
        timestep,
        (potential_gradient, ops.zeros_like(distance)),
    )
    return current_gradient, potential_gradient
