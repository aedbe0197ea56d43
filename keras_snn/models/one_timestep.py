"""Models and layers of one timestep, with states in and out."""

import math

import keras
from keras import ops

from keras_snn.models.portable import PortableModel

__all__ = [
    "STATE",
    "OneBNTT",
    "OneCode",
    "OneDelta",
    "OneTimestep",
    "RunningMean",
    "StepModel",
]

STATE = "step_state"  # the beginning of the names of the states


@keras.saving.register_keras_serializable(package="keras_snn")
class StepModel(PortableModel):
    """A network of one timestep, as returned by `step_model`.

    Call arguments:
        inputs: List of the inputs of one timestep, `(batch, ...)`, and the
            states.

    Returns:
        List of the outputs and the new states. The output alone, if there is
        one and the network has no states.
    """

    def initial_states(self, batch_size: int) -> list:
        """Returns the states at rest.

        Args:
            batch_size: Number of streams.
        """
        states = [x for x in self.inputs if x.name.startswith(STATE)]
        return [ops.zeros((batch_size, *x.shape[1:]), x.dtype) for x in states]

    def stream(self, timesteps):
        """Runs a stream from rest.

        Args:
            timesteps: Iterable of the input of each timestep,
                `(batch, ...)`, or of lists of inputs. All have the batch size
                of the first.

        Yields:
            The output of each timestep, or the list of outputs.
        """
        states = None
        for x in timesteps:
            inputs = x if isinstance(x, (list, tuple)) else [x]
            inputs = [ops.convert_to_tensor(x) for x in inputs]
            if states is None:
                states = self.initial_states(len(inputs[0]))
            found = self([*inputs, *states], training=False)
            # Keras unpacks a single output.
            found = found if isinstance(found, (list, tuple)) else [found]
            count = len(found) - len(states)
            outputs, states = found[:count], found[count:]
            yield outputs if outputs[1:] else outputs[0]


class _Wrapper(keras.layers.Layer):
    """A layer over time, for one timestep.

    Args:
        layer: The layer. Its weights are shared.
    """

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer
        self.autocast = False  # Keras would round the states.

    def build(self, shapes):
        """Builds the layer, if a file has just been loaded."""
        if not self.layer.built:
            batch, *features = shapes[0]
            self.layer.build((batch, None, *features))

    def compute_output_spec(self, inputs):
        """Returns the shapes and dtypes of the outputs."""
        x, *states = inputs
        output = keras.KerasTensor(x.shape, self.layer.compute_dtype)
        return [output, *(keras.KerasTensor(x.shape, x.dtype) for x in states)]

    def get_config(self):
        """Returns the constructor's arguments."""
        layer = keras.saving.serialize_keras_object(self.layer)
        return super().get_config() | {"layer": layer}

    @classmethod
    def from_config(cls, config):
        """Rebuilds the layer."""
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**config | {"layer": layer})


@keras.saving.register_keras_serializable(package="keras_snn")
class OneTimestep(_Wrapper):
    """One timestep of neurons: `[current, *states]` in, the same out."""

    def call(self, inputs):
        """Runs the neurons over a sequence of one timestep."""
        current, *states = inputs
        current = ops.cast(current, self.layer.compute_dtype)
        shape, features = ops.shape(current), current.shape[1:]
        units = math.prod(features)
        spikes, states = self.layer._run(
            ops.reshape(current, (shape[0], 1, units)),
            [ops.reshape(x, (shape[0], units)) for x in states],
            None,
            features,
        )
        return [ops.reshape(x, shape) for x in (spikes, *states)]


@keras.saving.register_keras_serializable(package="keras_snn")
class RunningMean(keras.layers.Layer):
    """The mean of all timesteps so far: `[x, sum, count]` in, the same out."""

    def __init__(self, **kwargs):
        # Keras would round the states.
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs):
        """Adds a timestep."""
        x, total, count = inputs
        total, count = total + ops.cast(x, total.dtype), count + 1
        return [ops.cast(total / count, self.compute_dtype), total, count]


@keras.saving.register_keras_serializable(package="keras_snn")
class OneBNTT(_Wrapper):
    """One timestep of `BNTT` in inference: `[x, count]` in, the same out.

    `count` is the number of timesteps so far, `(batch, 1)`. After its last
    timestep, `BNTT` has no weights. The layer then keeps those of the last.
    """

    def call(self, inputs):
        """Normalizes with the weights of the timestep."""
        x, count = inputs
        bntt = self.layer
        t = ops.minimum(ops.cast(count[:, 0], "int32"), bntt.timesteps - 1)
        dtype = count.dtype
        axis = (bntt.axis if bntt.axis < 0 else bntt.axis - 1) % len(x.shape)
        others = [i for i in range(1, len(x.shape)) if i != axis]

        def now(weights):
            weight = ops.take(weights, t, axis=0)
            return ops.expand_dims(weight, others)

        # The same operations as in `BNTT`, on all its weights: rounding may
        # depend on their number.
        gamma, mean, variance = (
            ops.cast(weight, dtype)
            for weight in (bntt.gamma, bntt.moving_mean, bntt.moving_variance)
        )
        scale = gamma * ops.rsqrt(variance + bntt.epsilon)
        y = (ops.cast(x, dtype) - now(mean)) * now(scale)
        return [ops.cast(y, bntt.compute_dtype), count + 1]


@keras.saving.register_keras_serializable(package="keras_snn")
class OneCode(_Wrapper):
    """One timestep of an encoder of images: `[image, count]` in, the same out.

    `count` is the number of timesteps so far, `(batch, 1)`. After the last
    timestep of the encoder, there are no spikes.
    """

    def build(self, shapes):
        """Encoders have no weights."""

    def call(self, inputs):
        """Selects the spikes of the timestep."""
        image, count = inputs
        code = self.layer(image)
        shape = (-1, *[1] * (len(code.shape) - 1))
        t = ops.reshape(ops.cast(count, "int32"), shape)
        last = self.layer.timesteps - 1
        index = ops.broadcast_to(ops.minimum(t, last), ops.shape(code[:, :1]))
        spikes = ops.take_along_axis(code, index, axis=1)
        spikes = ops.where(t <= last, spikes, ops.zeros_like(spikes))
        return [ops.squeeze(spikes, 1), count + 1]


@keras.saving.register_keras_serializable(package="keras_snn")
class OneDelta(_Wrapper):
    """One timestep of `DeltaEncoder`: `[x, first, level, count]`, the same out.

    `first` is the first value of the series, and `level` counts thresholds
    from there.
    """

    def build(self, shapes):
        """The encoder has no weights."""

    def compute_output_spec(self, inputs):
        """Returns the shapes and dtypes of the outputs."""
        spikes, *states = super().compute_output_spec(inputs)
        shape = (*spikes.shape[:-1], 2 * spikes.shape[-1])
        return [keras.KerasTensor(shape, spikes.dtype), *states]

    def call(self, inputs):
        """Compares the value with the level, as `DeltaEncoder` does."""
        x, first, level, count = inputs
        x = ops.cast(x, first.dtype)
        begun = ops.reshape(count > 0, (-1, *[1] * (len(x.shape) - 1)))
        first = ops.where(begun, first, x)
        distance = (x - first) / self.layer.threshold
        up, down = distance - level >= 1, distance - level <= -1
        # Not `+=`, which would change the caller's state on PyTorch.
        level = level + ops.cast(up, level.dtype) - ops.cast(down, level.dtype)
        spikes = ops.concatenate([up, down], axis=-1)
        spikes = ops.cast(spikes, self.layer.compute_dtype)
        wrong = ops.isnan(ops.concatenate([distance, distance], axis=-1))
        spikes = ops.where(wrong, float("nan"), spikes)
        return [spikes, first, level, count + 1]
