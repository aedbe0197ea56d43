"""Trades time for memory: runs layers again in the backward pass.

`keras.remat` does the same, but keeps its inputs as floats. `Recompute` keeps
spikes as bytes and can process the batch in parts.
"""

import functools

import keras
from keras import ops

from keras_snn.layers.walk import walk
from keras_snn.validation import check_choice, check_count

__all__ = ["Recompute"]


@keras.saving.register_keras_serializable(package="keras_snn")
class Recompute(keras.layers.Wrapper):
    """Keeps only a layer's input for the gradient, and runs the layer twice.

    Trades time for memory: recomputes the activations inside the layer in the
    backward pass. The memory that the layer needs while it runs stays the same,
    unless `parts` reduces it.

    Gradients are the same. With `parts`, they agree up to rounding. On JAX's
    CPU, convolutions in parts are slow. Under `torch.compile` the layer has no
    effect, because that compiler decides what to keep. Masks are not passed on.

    Args:
        layer: The layer to run twice, for instance a `keras.Sequential`. It
            draws the same random numbers both times and updates its running
            statistics once. It must have no activity regularizers and must not
            call `add_loss`.
        spikes: Whether the inputs are spikes, or counts up to 255. They are
            kept as bytes, a quarter of float32. Other inputs would be rounded,
            which makes the gradients wrong without an error.
        parts: Number of parts into which the batch is split. The parts pass
            through the layer one after another, forward and backward, which
            divides the memory of the running layer by this number. Above 1, the
            layer must not change its state (running statistics, random
            generators), and samples must not depend on each other. If `parts`
            does not divide the batch size, the next smaller divisor is used.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: One tensor, as the layer accepts it.

    Returns:
        One tensor, the layer's output.

    Example:
    >>> from keras_snn.layers import LIF, PerTimestep
    >>> block = keras.Sequential([PerTimestep(keras.layers.Dense(3)), LIF()])
    >>> tuple(Recompute(block, spikes=True)(ops.ones((2, 5, 4))).shape)
    (2, 5, 3)
    """

    def __init__(self, layer, spikes=False, parts=1, **kwargs):
        super().__init__(layer, **kwargs)
        self.spikes = check_choice("spikes", spikes, (False, True))
        self.parts = check_count("parts", parts)
        self.autocast = False  # The inner layer casts to its own dtype.

    def build(self, input_shape):
        """Builds the layer."""
        for inside in walk(self.layer):
            if inside.activity_regularizer is not None:
                raise ValueError(
                    "`layer` must have no activity regularizer, because its "
                    f"penalty would be lost. Received: layer {inside.name!r}"
                )
        if not self.layer.built:
            self.layer.build(input_shape)
        inputs = keras.KerasTensor(input_shape, self.compute_dtype)
        self._output = self.compute_output_spec(inputs)
        self.built = True

    def call(self, inputs, training=None):
        """Runs the layer as a function of its inputs, weights and state."""
        trainable = self.layer.trainable_variables
        state = self.layer.non_trainable_variables
        changed = []  # Indices in `state`, which also has frozen weights.

        def function(inputs, weights):
            variables = [*trainable, *state]
            with keras.StatelessScope(
                list(zip(variables, weights, strict=True)), collect_losses=True
            ) as scope:
                before = [scope.get_current_value(x) for x in state]
                # The second run is outside of the model's call, so Keras does
                # not know `training` there.
                output = self.layer(inputs, training=training)
                after = [scope.get_current_value(x) for x in state]
            if scope.losses:
                raise ValueError(
                    "`layer` must not call `add_loss`, as its losses would "
                    f"be lost. Received: layer {self.layer.name!r}"
                )
            pairs = enumerate(zip(after, before, strict=True))
            changed[:] = [i for i, (new, old) in pairs if new is not old]
            return [output, *(after[i] for i in changed)]

        dtype = inputs.dtype
        recompute = functools.partial(
            _BACKENDS.get(keras.config.backend(), _without_gradient),
            function,
            pack=lambda x: ops.cast(x, "uint8") if self.spikes else x,
            unpack=lambda x: ops.cast(x, dtype) if self.spikes else x,
        )
        # The state is copied, because it is overwritten before the second run.
        weights = [
            *map(ops.convert_to_tensor, trainable),
            *map(ops.copy, state),
        ]
        if self.parts == 1:
            output, *after = recompute(inputs, weights)
            for i, value in zip(changed, after, strict=True):
                state[i].assign(value)
            return output

        def part(rows):
            output, *_ = recompute(rows, weights)
            if changed:
                raise ValueError(
                    "`parts` above 1 needs a layer without state. Received: "
                    f"parts={self.parts}, and a layer that changes "
                    f"{[state[i].path for i in changed]}"
                )
            return output

        return _in_parts(part, inputs, self.parts, self._output)

    def compute_output_shape(self, input_shape):
        """Returns the layer's output shape."""
        return self.layer.compute_output_shape(input_shape)

    def compute_output_spec(self, inputs, training=None):
        """Returns the layer's output shape and dtype."""
        del training
        return self.layer.compute_output_spec(inputs)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "spikes": self.spikes,
            "parts": self.parts,
        }


def _in_parts(function, inputs, parts, output):
    """Maps `function` over parts of the batch, one after another.

    Args:
        function: Maps a part of `inputs` to the same part of the output.
        inputs: Tensor `(batch, ...)`.
        parts: Largest number of parts. The actual number divides the batch.
        output: A `KerasTensor` like the output.
    """
    backend = keras.config.backend()
    batch, *rest = ops.shape(inputs)
    if backend == "tensorflow":
        import tensorflow as tf

        # A graph may not know the batch size, and so not its divisors.
        counts = tf.range(1, parts + 1)
        count = tf.reduce_max(tf.where(batch % counts == 0, counts, 1))
        rows = tf.reshape(inputs, (count, batch // count, *rest))
        outputs = tf.map_fn(
            function,
            rows,
            parallel_iterations=1,
            fn_output_signature=tf.TensorSpec(
                (None, *output.shape[1:]), output.dtype
            ),
        )
    else:
        count = max(n for n in range(1, parts + 1) if batch % n == 0)
        rows = ops.reshape(inputs, (count, batch // count, *rest))
        if backend == "jax":
            outputs = ops.map(function, rows)
        else:
            return ops.concatenate([function(part) for part in rows])
    return ops.reshape(outputs, (batch, *ops.shape(outputs)[2:]))


# Each of these calls `function(inputs, weights)`, which returns a list of
# tensors. For the gradient of the first tensor, they keep only `pack(inputs)`
# and the weights, and call `function` again.


def _without_gradient(function, inputs, weights, pack, unpack):
    del pack, unpack
    return function(inputs, weights)


def _tensorflow(function, inputs, weights, pack, unpack):
    import tensorflow as tf

    @tf.custom_gradient
    def call(inputs, *weights):
        kept = pack(inputs)
        # An eager caller's tape records here, too, but only `grad` may count.
        inputs, *weights = map(tf.stop_gradient, (inputs, *weights))
        outputs = function(inputs, weights)

        def grad(gradient, *_, variables=()):
            # Makes TensorFlow wait for the gradient. Otherwise it could merge
            # this call with the first.
            with tf.control_dependencies([gradient]):
                sources = [unpack(tf.identity(kept)), *weights]
            with tf.GradientTape() as tape:
                tape.watch([x for x in sources if x.dtype.is_floating])
                output = function(sources[0], sources[1:])[0]
            found = tape.gradient(output, sources, gradient)
            # TensorFlow also expects gradients for variables. Their values are
            # in `weights`, so the variables themselves get none.
            return (found, [None] * len(variables)) if variables else found

        return outputs, grad

    return call(inputs, *weights)


def _jax(function, inputs, weights, pack, unpack):
    import jax

    @jax.custom_vjp
    def call(inputs, weights):
        return function(inputs, weights)

    def forward(inputs, weights):
        return call(inputs, weights), (pack(inputs), weights)

    def backward(residuals, gradients):
        # Keeps XLA from merging the second call with the first.
        (kept, weights), gradients = jax.lax.optimization_barrier(
            (residuals, gradients)
        )
        return jax.vjp(function, unpack(kept), weights)[1](gradients)

    call.defvjp(forward, backward)
    return call(inputs, weights)


def _torch(function, inputs, weights, pack, unpack):
    import torch

    if torch.compiler.is_compiling():
        return function(inputs, weights)
    # Without a seed, Keras draws dropout from PyTorch's own generators.
    devices = [inputs.device] if inputs.is_cuda else []
    states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]

    class Call(torch.autograd.Function):
        @staticmethod
        def forward(ctx, inputs, *weights):
            ctx.save_for_backward(pack(inputs), *weights)
            outputs = function(inputs, list(weights))
            ctx.mark_non_differentiable(*outputs[1:])
            return tuple(outputs)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, gradient, *_):
            kept, *weights = ctx.saved_tensors
            sources = [
                x.detach().requires_grad_(needed)
                for x, needed in zip(
                    (unpack(kept), *weights), ctx.needs_input_grad, strict=True
                )
            ]
            with torch.random.fork_rng(devices), torch.enable_grad():
                torch.set_rng_state(states[0])
                for device in devices:
                    torch.cuda.set_rng_state(states[1], device)
                output = function(sources[0], sources[1:])[0]
            needed = [x for x in sources if x.requires_grad]
            found = iter(
                torch.autograd.grad(output, needed, gradient, allow_unused=True)
            )
            return tuple(
                next(found) if x.requires_grad else None for x in sources
            )

    return list(Call.apply(inputs, *weights))


_BACKENDS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
