"""The definition of neurons over time: one timestep after another."""

from keras import ops

__all__ = ["lif"]


def lif(neuron, current, potential, mask=None):
    """Unrolls `Neuron.step` over time. See `keras_snn.dynamics.lif`."""
    spikes = []
    for t in range(current.shape[1]):
        fired, after = neuron.step(potential, current[:, t])
        if mask is not None:
            runs = mask[:, t, None]
            fired = ops.where(runs, fired, 0.0)
            after = ops.where(runs, after, potential)
        spikes.append(fired)
        potential = after
    return ops.stack(spikes, axis=1), potential
