"""What neurons cannot be faster than: copies, and a recurrent kernel."""

import keras
import numpy as np
from keras import ops

__all__ = ["FLOORS"]


def _copies(data):
    """Returns a function that copies three arrays into new memory.

    Neurons cannot move fewer bytes. The forward pass reads the current and
    writes spikes and potential. The backward pass reads gradient and potential
    and writes a gradient. The function adds 1, because a plain copy might be
    optimized away.
    """
    dtype = keras.config.dtype_policy().compute_dtype
    arrays = (data.x, data.y, data.x + data.y)
    arrays = [ops.convert_to_tensor(array, dtype) for array in arrays]
    copy = _compiled(lambda array: array + 1)
    # All copies live until the end of the step, like a step's results.
    return lambda: [copy(array) for array in arrays]


def _products(data):
    """Returns a function for the products of a recurrent kernel.

    Each timestep needs two that wait for the timestep before, forward and
    backward. The gradient of the kernel is one product for all timesteps.
    """
    batch, timesteps, units = data.x.shape
    dtype = keras.config.dtype_policy().compute_dtype
    x, y = (
        ops.convert_to_tensor(np.ascontiguousarray(array.swapaxes(0, 1)), dtype)
        for array in (data.x, data.y)
    )
    kernel = ops.cast(0.01 * ops.eye(units), dtype)
    start = ops.zeros((batch, units), dtype)

    def run(x, y, kernel):
        def step(state, x):
            state = x + ops.matmul(state, kernel)
            return state, state

        _, forward = ops.scan(step, start, x)
        _, backward = ops.scan(step, start, y)
        flat = (batch * timesteps, units)
        at_kernel = ops.matmul(
            ops.transpose(ops.reshape(forward, flat)),
            ops.reshape(backward, flat),
        )
        return forward, backward, at_kernel

    run = _compiled(run)
    return lambda: run(x, y, kernel)


def _compiled(function):
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if backend == "jax":
        import jax

        return jax.jit(function)
    return function


# By contender, functions of a `data.Data`.
FLOORS = {"copy": _copies, "products": _products}
