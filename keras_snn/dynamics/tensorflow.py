"""The fused loop on TensorFlow.

Each loop is compiled with XLA. The convolutions of the surrounding graph still
use oneDNN or cuDNN.
"""

import functools
import math

import tensorflow as tf

from keras_snn.dynamics import loop
from keras_snn.dynamics.system import REFUSAL, refuse_second_derivative

__all__ = ["run"]


# One program per kind of neuron. Bounded, because each surrogate of a user may
# be a kind of its own.
@functools.lru_cache(maxsize=128)
def _compiled(function, kind, ranks, **options):
    """Compiles a loop for a kind of neuron, once per dtype.

    `ranks` only separates cache entries: one function for all of them would be
    traced with an unknown rank.
    """
    del ranks

    def run(operands, *arrays):
        return function(kind.unflatten(*operands), *arrays, **options)

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
def _once(*inputs):
    """Ties the gradients to the marker, the last of the inputs."""
    *gradients, _ = inputs
    return [tf.identity(x) for x in gradients], _refusal(inputs)


def _set_shapes(tensors, like):
    """Restores static shapes, which a function loses that serves several."""
    for tensor, x in zip(tensors, like, strict=True):
        tensor.set_shape(x.shape)


def run(system, current, states, mask=None, recurrent=None):
    """See `keras_snn.dynamics.run`."""
    states = states or system.at_rest(current, recurrent)
    kind, entries, steepness = system.flatten()
    learns = any(map(tf.is_tensor, entries))
    dtype = states[0].dtype
    entries = [tf.convert_to_tensor(x, dtype) for x in entries]
    steepness = [tf.convert_to_tensor(x, dtype) for x in steepness]
    ranks = tuple(x.shape.rank for x in entries)
    forward = _compiled(loop.forward, kind, ranks, learns=learns)
    backward = _compiled(loop.backward, kind, ranks)
    count = len(states)
    learnt = entries if learns else []
    if recurrent is not None:
        learnt = [tf.convert_to_tensor(recurrent, dtype), *learnt]
    marker = _marker(current, *states, *learnt)

    @tf.custom_gradient
    def call(current, *rest):
        # An eager caller's tape records here, too, but only `grad` may count.
        current, *rest = map(tf.stop_gradient, (current, *rest))
        states, learnt = tuple(rest[:count]), rest[count:]
        kernel = None if recurrent is None else learnt.pop(0)
        operands = learnt or entries, steepness
        spikes, final, kept = forward(operands, current, states, mask, kernel)
        _set_shapes((spikes, *final), (current, *states))

        def grad(at_spikes, *at_states):
            arrays = kept, at_spikes, at_states, mask, kernel
            found = backward(operands, *arrays, current if learns else None)
            at_current, at_states, at_entries = found
            others = (
                [] if kernel is None else [loop.at_recurrent(kept, at_current)]
            )
            others += map(loop.summed, at_entries, operands[0])
            found = at_current, *at_states, *others
            _set_shapes(found, (current, *rest))
            # The loop itself has no gradient: only the marker refuses.
            return _once(*map(tf.stop_gradient, found), marker)

        return (spikes, *final), grad

    spikes, *final = call(current, *states, *learnt)
    return spikes, tuple(final)
