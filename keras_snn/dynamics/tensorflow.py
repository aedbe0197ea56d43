"""The fused loop on TensorFlow.

Each loop is compiled with XLA. The convolutions of the surrounding graph still
use oneDNN or cuDNN.
"""

import functools
import math

import tensorflow as tf

from keras_snn.dynamics import loop
from keras_snn.dynamics.neuron import REFUSAL, refuse_second_derivative

__all__ = ["lif"]


# One program per kind of neuron. Bounded, because each surrogate of a user may
# be a kind of its own.
@functools.lru_cache(maxsize=128)
def _compiled(function, kind):
    """Compiles a loop for a kind of neuron, once per rank and dtype."""

    def run(constants, *arrays):
        return function(kind.unflatten(tf.unstack(constants)), *arrays)

    return tf.function(
        run, jit_compile=True, reduce_retracing=True, autograph=False
    )


def _refusal(inputs):
    """Returns a gradient that refuses to be computed.

    Saving a model traces all gradients, so a graph refuses when it runs. XLA
    drops the assertion; there the gradient is NaN.
    """
    if tf.executing_eagerly():
        return refuse_second_derivative

    def grad(*_):
        check = tf.debugging.Assert(False, [REFUSAL])
        with tf.control_dependencies([check]):
            return [x * tf.constant(math.nan, x.dtype) for x in inputs]

    return grad


@tf.custom_gradient
def _marker(*inputs):
    """Returns a number that a tape follows back to the inputs.

    It stands for the inputs, which would otherwise stay in memory.
    """
    return tf.constant(0.0), _refusal(inputs)


@tf.custom_gradient
def _once(at_current, at_potential, marker):
    """Ties the gradients to the inputs that they depend on."""
    inputs = at_current, at_potential, marker
    gradients = tf.identity(at_current), tf.identity(at_potential)
    return gradients, _refusal(inputs)


def lif(neuron, current, potential, mask=None):
    """See `keras_snn.dynamics.lif`."""
    kind, constants = neuron.flatten()
    constants = tf.constant(constants, potential.dtype)
    forward = _compiled(loop.forward, kind)
    backward = _compiled(loop.backward, kind)
    marker = _marker(current, potential)

    @tf.custom_gradient
    def run(current, potential):
        # An eager caller's tape records here, too, but only `grad` may count.
        current, potential = map(tf.stop_gradient, (current, potential))
        spikes, final, distance = forward(constants, current, potential, mask)

        def grad(*gradients):
            found = backward(constants, distance, *gradients, mask)
            # The loop itself has no gradient: only the marker refuses.
            at_current, at_potential = map(tf.stop_gradient, found)
            return _once(at_current, at_potential, marker)

        return (spikes, final), grad

    return run(current, potential)
