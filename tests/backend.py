"""What Keras does not offer across backends: a gradient."""

import keras
import numpy as np
from keras import ops


def gradients(function, arrays, cotangents):
    """Gradients of sum(cotangent * output) for every array.

    `function` maps tensors to a tuple of tensors.
    """
    backend = keras.config.backend()

    def total(*tensors):
        outputs = function(*tensors)
        return sum(
            ops.sum(ops.cast(output, "float32") * ops.convert_to_tensor(weight))
            for output, weight in zip(outputs, cotangents, strict=True)
        )

    if backend == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = total(*tensors)
        results = tape.gradient(value, tensors)
    elif backend == "jax":
        import jax

        results = jax.grad(total, argnums=tuple(range(len(arrays))))(
            *(jax.numpy.asarray(array) for array in arrays)
        )
    else:
        tensors = [
            ops.convert_to_tensor(array).requires_grad_() for array in arrays
        ]
        total(*tensors).backward()
        results = [tensor.grad for tensor in tensors]
    return [to_numpy(result) for result in results]


def to_numpy(tensor):
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))
