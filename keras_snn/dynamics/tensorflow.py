"""The fused loop on TensorFlow.

Each loop is compiled with XLA. The convolutions of the surrounding graph still
use oneDNN or cuDNN.
"""

import functools

import tensorflow as tf

from keras_snn.dynamics import loop

__all__ = ["lif"]


# Bounded, so a sweep over neurons does not keep every compiled program.
@functools.lru_cache(maxsize=128)
def _compiled(function, neuron):
    """Compiles a loop for a neuron, once per rank and dtype."""
    return tf.function(
        functools.partial(function, neuron),
        jit_compile=True,
        reduce_retracing=True,
        autograph=False,
    )


def lif(neuron, current, potential, mask=None):
    """See `keras_snn.dynamics.lif`."""
    forward = _compiled(loop.forward, neuron)
    backward = _compiled(loop.backward, neuron)

    @tf.custom_gradient
    def run(current, potential):
        # An eager caller's tape records here, too, but only `grad` may count.
        current, potential = map(tf.stop_gradient, (current, potential))
        spikes, final, distance = forward(current, potential, mask)

        def grad(spikes_gradient, potential_gradient):
            return backward(distance, spikes_gradient, potential_gradient, mask)

        return (spikes, final), grad

    return run(current, potential)
