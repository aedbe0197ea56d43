"""Memory for time: layers that run again in the backward pass.

What `keras.remat` does, with differences that matter to spiking networks:
spikes are kept as bytes, neurons that will run again keep nothing, and the
batch may go through in parts. `keras_snn.layers` offers the layer.
"""

import inspect

import keras
from keras import ops

from keras_snn.validation import check_choice, check_count


@keras.saving.register_keras_serializable(package="keras_snn")
class Recompute(keras.layers.Wrapper):
    """Keeps a layer's input alone for the gradient, and runs it again for it.

    Trades time for memory: nothing inside, neither currents nor potentials,
    outlives the forward pass. What the layer needs while it runs remains; where
    that is most of it, `parts` makes it smaller. Gradients are the same, in
    parts up to rounding. On JAX's CPU convolutions in parts are slow. Under
    `torch.compile` it has no effect: that compiler decides what to keep. Masks
    end here.

    Args:
        layer: The layer to run twice, for instance a `keras.Sequential`. Its
            random numbers are the same both times, and its running statistics
            are updated once. It may have losses of its own only where they do
            not depend on the input.
        spikes: Whether the inputs are spikes, or counts up to 255: they are
            kept as bytes, a quarter of float32. Other inputs would be rounded.
        parts: In how many parts the batch goes through the layer, one after
            the other, forward and backward: what the layer needs while it runs
            shrinks by as much. Above 1 the layer must have no state, such as
            running statistics or seeds, and no sample may depend on another.
            A batch that it does not divide goes through in the most parts
            below it that do.
        **kwargs: Those of `keras.layers.Layer`.

    Call arguments:
        inputs: What the layer takes, one tensor.

    Returns:
        What the layer returns, one tensor.

    Example:
    >>> from keras_snn.layers import LIF, PerTimestep
    >>> block = keras.Sequential([PerTimestep(keras.layers.Dense(3)), LIF()])
    >>> tuple(Recompute(block, spikes=True)(ops.ones((2, 5, 4))).shape)
    (2, 5, 3)
    """

    def __init__(self, layer, spikes=False, parts=1, **kwargs):
        super().__init__(layer, **kwargs)
        check_choice("spikes", spikes, (False, True))
        check_count("parts", parts)
        self.spikes = spikes
        self.parts = int(parts)

    def build(self, input_shape):
        """Builds the layer."""
        if not self.layer.built:
            self.layer.build(input_shape)
        state = [x.path for x in self.layer.non_trainable_variables]
        if self.parts > 1 and state:
            raise ValueError(
                "`parts` above 1 needs a layer without state. "
                f"Received: parts={self.parts}, and a layer with {state}"
            )
        inputs = keras.KerasTensor(input_shape, self.compute_dtype)
        self._output = self.layer.compute_output_spec(inputs)
        self.built = True

    def call(self, inputs, training=None):
        """Runs the layer with its state going in and coming out."""
        trainable = self.layer.trainable_variables
        state = self.layer.non_trainable_variables
        taken = inspect.signature(self.layer.call).parameters
        options = {"training": training} if "training" in taken else {}

        def function(inputs, weights):
            output, after = self.layer.stateless_call(
                weights[: len(trainable)],
                weights[len(trainable) :],
                inputs,
                **options,
            )
            return [output, *after] if self.parts == 1 else [output]

        dtype = inputs.dtype
        # The state is copied, since it is overwritten before the second run.
        weights = [
            *map(ops.convert_to_tensor, trainable),
            *map(ops.copy, state),
        ]
        output, *after = _run(
            function,
            inputs,
            weights,
            pack=lambda x: ops.cast(x, "uint8") if self.spikes else x,
            unpack=lambda x: ops.cast(x, dtype) if self.spikes else x,
            parts=self.parts,
            spec=self._output,
        )
        if self.parts == 1:
            for variable, value in zip(state, after, strict=True):
                variable.assign(value)
        return output

    def compute_output_shape(self, input_shape):
        """The layer's."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {
            "spikes": self.spikes,
            "parts": self.parts,
        }


def _run(function, inputs, weights, pack, unpack, parts, spec):
    """Calls `function(inputs, weights)` and forgets everything but them.

    Args:
        function: Maps a tensor and a list of tensors to a list of tensors, of
            which only the first has a gradient. Called a second time, it must
            compute the same.
        inputs: The tensor, kept for the backward pass as `pack(inputs)`.
        weights: List of tensors.
        pack: Makes what is kept from the inputs.
        unpack: Makes the inputs from what is kept.
        parts: In how many parts, at most, the batch goes through one after
            the other, forward and backward: the largest number that divides
            it. Above 1 the function returns a single tensor, each row of
            which depends on the same row of the inputs alone.
        spec: A `KerasTensor` like the first tensor that it returns.

    Returns:
        What `function` returns.
    """
    again = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    backend = again.get(keras.config.backend())
    if backend is None:  # no gradients there
        return function(inputs, weights)
    return backend(function, inputs, weights, pack, unpack, parts, spec)


def _divisor(batch, parts):
    """The largest number of equal parts up to `parts`."""
    return max(n for n in range(1, parts + 1) if batch % n == 0)


def _tensorflow(function, inputs, weights, pack, unpack, parts, spec):
    import tensorflow as tf

    from keras_snn.dynamics.tensorflow import without_residuals

    def in_parts(step, arrays, total, spec):
        """`step(rows, total)` returns an array for the rows and a new total."""
        # A graph may not know the batch beforehand.
        batch = tf.shape(arrays[0])[0]
        counts = tf.range(1, parts + 1)
        count = tf.reduce_max(tf.where(batch % counts == 0, counts, 1))

        def split(x):
            shape = [[count, batch // count], tf.shape(x)[1:]]
            rows = tf.reshape(x, tf.concat(shape, axis=0))
            rows.set_shape((None, None, *x.shape[1:]))
            return rows

        def body(n, found, total):
            part, total = step([x[n] for x in rows], total)
            return n + 1, found.write(n, part), total

        rows = [split(x) for x in arrays]
        found = tf.TensorArray(
            spec.dtype, count, element_shape=(None, *spec.shape[1:])
        )
        _, found, total = tf.while_loop(
            lambda n, *_: n < count,
            body,
            (0, found, total),
            parallel_iterations=1,
        )
        found = found.concat()
        found.set_shape((arrays[0].shape[0], *spec.shape[1:]))
        return found, total

    @tf.custom_gradient
    def call(inputs, *weights):
        kept = pack(inputs)
        # The tape of an eager caller is still listening here.
        inputs, *weights = map(tf.stop_gradient, (inputs, *weights))
        with without_residuals():
            if parts == 1:
                outputs = function(inputs, weights)
            else:
                output, _ = in_parts(
                    lambda rows, total: (function(*rows, weights)[0], total),
                    [inputs],
                    (),
                    spec,
                )
                outputs = [output]

        def pull_back(kept, gradient):
            sources = [unpack(kept), *weights]
            with tf.GradientTape() as tape:
                tape.watch([x for x in sources if x.dtype.is_floating])
                output = function(sources[0], weights)[0]
            return tape.gradient(
                output,
                sources,
                gradient,
                unconnected_gradients="zero" if parts > 1 else "none",
            )

        def step(rows, total):
            found, *more = pull_back(*rows)
            return found, [x + y for x, y in zip(total, more, strict=True)]

        def grad(gradient, *_, variables=()):
            # Not before it is due, and not as one with the first call.
            with tf.control_dependencies([gradient]):
                again = tf.identity(kept)
            if parts == 1:
                found = pull_back(again, gradient)
            else:
                first, more = in_parts(
                    step,
                    [again, gradient],
                    [*map(tf.zeros_like, weights)],
                    inputs,
                )
                found = [first, *more]
            # TensorFlow lists the variables as well; `weights` stand for them.
            return (found, [None] * len(variables)) if variables else found

        return outputs, grad

    return call(inputs, *weights)


def _jax(function, inputs, weights, pack, unpack, parts, spec):
    import jax

    del spec

    parts = _divisor(inputs.shape[0], parts)

    def split(x):
        return x.reshape(parts, x.shape[0] // parts, *x.shape[1:])

    def merge(x):
        return x.reshape(-1, *x.shape[2:])

    @jax.custom_vjp
    def call(inputs, weights):
        if parts == 1:
            return function(inputs, weights)
        outputs = jax.lax.map(lambda x: function(x, weights), split(inputs))
        return [merge(x) for x in outputs]

    def forward(inputs, weights):
        return call(inputs, weights), (pack(inputs), weights)

    def backward(residuals, gradients):
        # Or XLA makes the second call one with the first.
        residuals, gradients = jax.lax.optimization_barrier(
            (residuals, gradients)
        )
        kept, weights = residuals

        def pull_back(kept, gradients):
            return jax.vjp(function, unpack(kept), weights)[1](gradients)

        if parts == 1:
            return pull_back(kept, gradients)

        def step(total, rows):
            found, more = pull_back(*rows)
            return [x + y for x, y in zip(total, more, strict=True)], found

        total, found = jax.lax.scan(
            step,
            [jax.numpy.zeros_like(x) for x in weights],
            (split(kept), [split(x) for x in gradients]),
        )
        return merge(found), total

    call.defvjp(forward, backward)
    return call(inputs, weights)


def _torch(function, inputs, weights, pack, unpack, parts, spec):
    import torch

    del spec

    if torch.compiler.is_compiling():
        # The compiler decides by itself what to keep.
        return function(inputs, weights)

    batch = inputs.shape[0]
    rows = batch // _divisor(batch, parts)
    slices = [slice(n, n + rows) for n in range(0, batch, rows or 1)]
    # Keras draws what has no seed, such as dropout, from PyTorch's generators.
    devices = [inputs.device] if inputs.is_cuda else []
    states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]

    class Call(torch.autograd.Function):
        @staticmethod
        def forward(ctx, inputs, *weights):
            ctx.save_for_backward(pack(inputs), *weights)
            if len(slices) <= 1:
                outputs = function(inputs, list(weights))
                ctx.mark_non_differentiable(*outputs[1:])
                return tuple(outputs)
            output = None
            for part in slices:
                (found,) = function(inputs[part], list(weights))
                if output is None:
                    output = found.new_empty((batch, *found.shape[1:]))
                output[part] = found
            return (output,)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, gradient, *_):
            with torch.random.fork_rng(devices):
                torch.set_rng_state(states[0])
                for device in devices:
                    torch.cuda.set_rng_state(states[1], device)
                return run_again(ctx, gradient)

    def run_again(ctx, gradient):
        kept, *weights = ctx.saved_tensors
        first, *more = ctx.needs_input_grad
        weights = [
            x.detach().requires_grad_(needed)
            for x, needed in zip(weights, more, strict=True)
        ]
        needed = [x for x in weights if x.requires_grad]
        gradients, total = [], None
        for part in slices or [slice(None)]:
            x = unpack(kept[part]).detach().requires_grad_(first)
            with torch.enable_grad():
                output = function(x, weights)[0]
            found = torch.autograd.grad(
                output,
                [x] * first + needed,
                gradient[part],
                allow_unused=True,
                materialize_grads=True,
            )
            found = list(found)
            del output
            if first:
                gradients.append(found.pop(0))
            if total is None:
                total = found
            else:
                for x, y in zip(total, found, strict=True):
                    x.add_(y)
        total = iter(total)
        return (
            torch.cat(gradients) if first else None,
            *(next(total) if x.requires_grad else None for x in weights),
        )

    return list(Call.apply(inputs, *weights))
