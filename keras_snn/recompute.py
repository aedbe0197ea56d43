"""A function whose inputs alone are kept, and which runs again for a gradient.

What `keras.remat` does, with two differences that matter to spiking networks:
spikes are kept as bytes, and neurons that will run again keep nothing. One
function for each backend, since each has its own way to give a gradient.
"""

import keras


def run(function, inputs, weights, pack, unpack, parts=1, dtype=None):
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
        dtype: That of this tensor, wanted with `parts` above 1.

    Returns:
        What `function` returns.
    """
    again = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    backend = again.get(keras.config.backend())
    if backend is None:  # no gradients there
        return function(inputs, weights)
    return backend(function, inputs, weights, pack, unpack, parts, dtype)


def _divisor(batch, parts):
    """The largest number of equal parts up to `parts`."""
    return max(n for n in range(1, parts + 1) if batch % n == 0)


def _tensorflow(function, inputs, weights, pack, unpack, parts, dtype):
    import tensorflow as tf

    from keras_snn.dynamics.tensorflow import without_residuals

    def size(batch):
        """Rows of a part; a graph may not know the batch beforehand."""
        counts = tf.range(1, parts + 1)
        even = tf.equal(batch % counts, 0)
        return tf.maximum(1, batch // tf.reduce_max(tf.where(even, counts, 1)))

    def in_parts(step, arrays, total, dtype):
        """`step(rows, total)` returns an array for the rows and a new total."""
        batch = tf.shape(arrays[0])[0]
        rows = size(batch)
        count = batch // rows
        shapes = [x.shape[1:] for x in arrays]
        shape = None

        def body(n, found, total):
            nonlocal shape
            chosen = [x[n * rows : (n + 1) * rows] for x in arrays]
            for x, shape in zip(chosen, shapes, strict=True):
                x.set_shape((None, *shape))
            part, total = step(chosen, total)
            shape = part.shape[1:]
            return n + 1, found.write(n, part), total

        found = tf.TensorArray(dtype, count)
        _, found, total = tf.while_loop(
            lambda n, *_: n < count,
            body,
            (0, found, total),
            parallel_iterations=1,
        )
        found = found.stack()
        found = tf.reshape(found, tf.concat([[batch], tf.shape(found)[2:]], 0))
        found.set_shape((arrays[0].shape[0], *shape))
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
                    dtype,
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
                    inputs.dtype,
                )
                found = [first, *more]
            # TensorFlow lists the variables as well; `weights` stand for them.
            return (found, [None] * len(variables)) if variables else found

        return outputs, grad

    return call(inputs, *weights)


def _jax(function, inputs, weights, pack, unpack, parts, dtype):
    import jax

    del dtype

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


def _torch(function, inputs, weights, pack, unpack, parts, dtype):
    import torch

    del dtype

    if torch.compiler.is_compiling():
        # The compiler decides by itself what to keep.
        return function(inputs, weights)

    batch = inputs.shape[0]
    rows = batch // _divisor(batch, parts)
    slices = [slice(n, n + rows) for n in range(0, batch, rows or 1)]

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
                found = list(
                    torch.autograd.grad(
                        output, [x] * first + needed, gradient[part]
                    )
                )
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
