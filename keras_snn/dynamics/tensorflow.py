"""The fused loop on TensorFlow.

Each loop is an XLA computation of its own inside the surrounding graph, whose
convolutions stay on oneDNN or cuDNN.
"""

import contextlib
import contextvars
import functools

import tensorflow as tf

from keras_snn.dynamics import loop

_keep = contextvars.ContextVar("keep", default=True)


@contextlib.contextmanager
def without_residuals():
    """Within, neurons keep nothing and have no gradient.

    A graph does not know beforehand whether it will be differentiated.
    """
    token = _keep.set(False)
    try:
        yield
    finally:
        _keep.reset(token)


# A sweep over neurons must not keep them all.
@functools.lru_cache(maxsize=128)
def _compiled(function, neuron, **options):
    """A compiled loop of a neuron, traced once per rank and dtype."""
    return tf.function(
        functools.partial(function, neuron, **options),
        jit_compile=True,
        reduce_retracing=True,
        autograph=False,
    )


def lif(neuron, current, potential, mask=None):
    """See `keras_snn.dynamics.lif`."""
    if not _keep.get():
        run = _compiled(loop.forward, neuron, keep=False)
        return run(current, potential, mask)[:2]
    forward = _compiled(loop.forward, neuron)
    backward = _compiled(loop.backward, neuron)

    @tf.custom_gradient
    def run(current, potential):
        # The tape of an eager caller is still listening here.
        current, potential = map(tf.stop_gradient, (current, potential))
        spikes, final, distance = forward(current, potential, mask)

        def grad(spikes_gradient, potential_gradient):
            return backward(distance, spikes_gradient, potential_gradient, mask)

        return (spikes, final), grad

    return run(current, potential)
