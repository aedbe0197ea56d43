"""Forward and backward of a Keras model, compiled as its backend does it."""

import keras
from keras import ops


def step(model, x, cotangent, at_weights, training):
    """A function that runs a model forward and back.

    Args:
        model: A built `keras.Model`.
        x: Its input, a NumPy array.
        cotangent: Gradient at its output, a NumPy array.
        at_weights: Whether to return the gradients at the trainable weights
            (the input then has none), or that at the input.
        training: As in `model.call`.

    Returns:
        A function without arguments that returns the output and the list of
        gradients.
    """
    (dtype,) = {tensor.dtype for tensor in model.inputs}
    x = ops.cast(ops.convert_to_tensor(x), dtype)
    cotangent = ops.cast(ops.convert_to_tensor(cotangent), model.output.dtype)
    steps = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    make = steps[keras.config.backend()]
    return make(model, x, cotangent, at_weights, training)


def _tensorflow(model, x, cotangent, at_weights, training):
    import tensorflow as tf

    variables = [variable.value for variable in model.trainable_variables]

    # The data are arguments, or TensorFlow would fold them as constants.
    @tf.function
    def run(x, cotangent):
        with tf.GradientTape() as tape:
            if not at_weights:
                tape.watch(x)
            output = model(x, training=training)
        at = variables if at_weights else [x]
        return output, tape.gradient(output, at, output_gradients=cotangent)

    return lambda: run(x, cotangent)


def _jax(model, x, cotangent, at_weights, training):
    import jax

    fixed = [variable.value for variable in model.non_trainable_variables]
    variables = [variable.value for variable in model.trainable_variables]

    @jax.jit
    def run(variables, x, cotangent):
        def output_of(variables, x):
            return model.stateless_call(variables, fixed, x, training=training)[
                0
            ]

        if at_weights:
            output, pull = jax.vjp(lambda w: output_of(w, x), variables)
            return output, pull(cotangent)[0]
        output, pull = jax.vjp(lambda x: output_of(variables, x), x)
        return output, list(pull(cotangent))

    return lambda: run(variables, x, cotangent)


def _torch(model, x, cotangent, at_weights, training):
    import torch

    if not at_weights:
        x = x.detach().requires_grad_()

    def run():
        output = model(x, training=training)
        variables = [variable.value for variable in model.trainable_variables]
        at = variables if at_weights else [x]
        return output, torch.autograd.grad(output, at, cotangent)

    return run
