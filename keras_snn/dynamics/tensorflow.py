"""The fused loop on TensorFlow.

Each loop is compiled with XLA. The convolutions of the surrounding graph still
use oneDNN or cuDNN.
"""

import functools

import tensorflow as tf

from keras_snn.dynamics import loop
from keras_snn.dynamics.neuron import refuse_second_derivative

__all__ = ["lif"]


# One program per kind of neuron. Bounded, because each surrogate of a user may
# be a kind of its own.
@functools.lru_cache(maxsize=128)
def _compiled(function, kind):
    """Compiles a loop for a kind of neuron, once per rank and dtype."""

    def run(constants, *arrays):
        return function(kind.unflatten(constants), *arrays)

    return tf.function(
        run, jit_compile=True, reduce_retracing=True, autograph=False
    )


@tf.custom_gradient
def _once(at_current, at_potential, *inputs):
    """Ties the gradients to the inputs that they depend on."""
    del inputs
    gradients = tf.identity(at_current), tf.identity(at_potential)
    return gradients, refuse_second_derivative


def lif(neuron, current, potential, mask=None):
    """See `keras_snn.dynamics.lif`."""
    kind, constants = neuron.flatten()
    constants = [tf.constant(x, potential.dtype) for x in constants]
    forward = _compiled(loop.forward, kind)
    backward = _compiled(loop.backward, kind)
    # Tapes follow empty arrays, too. Keeping whole ones would cost memory.
    inputs = current[:0], potential[:0]

    @tf.custom_gradient
    def run(current, potential):
        # An eager caller's tape records here, too, but only `grad` may count.
        current, potential = map(tf.stop_gradient, (current, potential))
        spikes, final, distance = forward(constants, current, potential, mask)

        def grad(*gradients):
            found = backward(constants, distance, *gradients, mask)
            return _once(*found, *inputs)

        return (spikes, final), grad

    return run(current, potential)
