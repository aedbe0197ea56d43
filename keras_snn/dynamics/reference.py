"""The definition of neurons over time: one timestep after another."""

from keras import ops

__all__ = ["run"]


def run(system, current, states, mask=None, recurrent=None):
    """Unrolls `System.step` over time. See `keras_snn.dynamics.run`.

    In half precision, a loop takes its spikes from rounded distances, and this
    from exact ones.
    """
    outputs, states = [], states or system.at_rest(current, recurrent)
    system = system.with_tensors(states[0].dtype)
    for t in range(current.shape[1]):
        now, own = ops.cast(current[:, t], states[0].dtype), states
        if recurrent is not None:
            *own, fed = states
            now = now + fed @ recurrent
        output, after = system.step(tuple(own), now)
        if recurrent is not None:
            after = (*after, output)
        if mask is not None:
            runs = mask[:, t, None]
            output = ops.where(runs, output, 0.0)
            pairs = zip(after, states, strict=True)
            after = tuple(ops.where(runs, new, old) for new, old in pairs)
        outputs.append(ops.cast(output, current.dtype))
        states = after
    return ops.stack(outputs, axis=1), tuple(states)
