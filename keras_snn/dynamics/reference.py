"""The neuron over time, step by step: the definition of the fused loops."""

from keras import ops


def lif(neuron, current, potential, mask=None):
    """Unrolls `neuron.step` over axis 1 and leaves the gradient to Keras.

    See `keras_snn.dynamics.lif` for arguments and result.
    """
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
