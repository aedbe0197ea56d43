"""Networks of one timestep, for streams and other devices."""

import math

import keras
from keras import ops, tree

from keras_snn import encoders, layers
from keras_snn.layers.over_time import OverTime
from keras_snn.layers.precision import at_least_float32

__all__ = ["StepModel", "step_model"]

# Layers that treat all timesteps alike, but need a time axis.
ALIKE = (
    keras.layers.Activation,
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
    layers.TDBN,
)
# Layers that do the same with and without a time axis.
DIRECT = (
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Dense,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.Subtract,
)
# Encoders that do the same at every timestep.
STATIONARY = (encoders.ConstantEncoder, encoders.PoissonEncoder)
STATE = "step_state"  # the beginning of the names of the states


@keras.saving.register_keras_serializable(package="keras_snn")
class StepModel(keras.Model):
    """A network of one timestep, as returned by `step_model`.

    Call arguments:
        inputs: List of the inputs of one timestep, `(batch, ...)`, and the
            states.

    Returns:
        List of the outputs and the new states.
    """

    def initial_states(self, batch_size: int) -> list:
        """Returns the states at rest.

        Args:
            batch_size: Number of streams.
        """
        states = [x for x in self.inputs if x.name.startswith(STATE)]
        return [ops.zeros((batch_size, *x.shape[1:]), x.dtype) for x in states]

    def stream(self, timesteps, batch_size: int = 1):
        """Runs a stream from rest.

        Args:
            timesteps: Iterable of the input of each timestep,
                `(batch_size, ...)`, or of lists of inputs.
            batch_size: Number of streams.

        Yields:
            The output of each timestep, or the list of outputs.
        """
        states = self.initial_states(batch_size)
        for x in timesteps:
            inputs = x if isinstance(x, (list, tuple)) else [x]
            inputs = map(ops.convert_to_tensor, inputs)
            found = self([*inputs, *states], training=False)
            count = len(found) - len(states)
            outputs, states = found[:count], found[count:]
            yield outputs if outputs[1:] else outputs[0]


@keras.saving.register_keras_serializable(package="keras_snn")
class OneTimestep(keras.layers.Layer):
    """One timestep of neurons: `[current, *states]` in, the same out.

    Args:
        layer: A layer of neurons over time. Its weights are shared.
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

    def compute_output_spec(self, inputs):
        """Returns the shapes and dtypes of the outputs."""
        current, *states = inputs
        spikes = keras.KerasTensor(current.shape, self.layer.compute_dtype)
        return [spikes, *(keras.KerasTensor(x.shape, x.dtype) for x in states)]

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
class RunningMean(keras.layers.Layer):
    """The mean of all timesteps so far: `[x, sum, count]` in, the same out."""

    def call(self, inputs):
        """Adds a timestep."""
        x, total, count = inputs
        total, count = total + ops.cast(x, total.dtype), count + 1
        return [ops.cast(total / count, x.dtype), total, count]


class _End(keras.layers.Layer):
    """Marks the end of a graph: its inputs are the outputs of the model."""

    def call(self, inputs):
        return inputs


class _Ended(Exception):
    """Raised at the end of a graph, with the outputs."""


def step_model(model: keras.Model) -> StepModel:
    """Builds the network of one timestep of a model.

    It computes what the model computes for a whole sequence, one timestep after
    another, in inference, with the same spikes. It shares the weights of
    `model`. It can be saved, and exported with `export`.

    At every timestep, a mean over time is that of the timesteps so far. Images
    go to `ConstantEncoder` and `PoissonEncoder` at every timestep. Noise is
    drawn anew.

    Args:
        model: A built functional or `Sequential` model. Each of its inputs is
            a sequence, `(batch, timesteps, ...)`, unless an encoder of images
            takes it. Layers over time must be layers of neurons,
            `PerTimestep`, `FoldTime`, `UnfoldTime`, `TDBN`,
            `GlobalAveragePooling1D`, or layers of Keras that treat all
            timesteps alike.

    Returns:
        A `StepModel`. It maps `[*inputs, *states]` to `[*outputs, *states]`.

    Raises:
        ValueError: If a layer cannot be taken apart in time: an unknown one, or
            neurons with `go_backwards`, `return_state` or an `initial_state`.

    Example:
    >>> inputs = keras.Input((None, 2))
    >>> spikes = layers.LIF(k=0.5, lam=1.0, theta=1.25)(inputs)
    >>> step = step_model(keras.Model(inputs, spikes))
    >>> spikes = step.stream([ops.ones((1, 2))] * 4)
    >>> [ops.convert_to_numpy(x)[0, 0].item() for x in spikes]
    [0.0, 1.0, 0.0, 1.0]
    """
    still = any(
        isinstance(x, STATIONARY) or _repeats(x) for x in model.operations
    )
    steps = _Steps()
    inputs = [steps.input(x, still) for x in model.inputs]
    ended = keras.Model(model.inputs, _End()(model.outputs))
    try:
        keras.models.clone_model(
            ended,
            input_tensors=inputs,
            clone_function=lambda layer: layer,
            call_function=steps,
        )
    except _Ended as end:
        (outputs,) = end.args
    name = f"{model.name}_step"
    taken, given = zip(*steps.states, strict=True) if steps.states else ((), ())
    return StepModel([*inputs, *taken], [*outputs, *given], name=name)


def _repeats(operation):
    """Returns whether an operation repeats a still image over time."""
    # The class is not public. Its name and attribute are those of `ops.repeat`.
    return type(operation).__name__ == "Repeat" and operation.axis == 1


class _Steps:
    """Calls the layers of a graph for one timestep.

    Attributes:
        states: Pairs of a state before and after the timestep.
    """

    def __init__(self):
        self.states = []
        self.streams = {}  # the tensors that have a time axis in the model
        self.folded = {}  # those whose time axis is part of the batch

    def input(self, like, still):
        """Returns the input of one timestep."""
        shape = like.shape[1:] if still else like.shape[2:]
        new = keras.Input(shape, dtype=like.dtype, name=like.name)
        return new if still else self.stream(new)

    def stream(self, tensor):
        """Remembers that a tensor has a time axis in the model."""
        self.streams[id(tensor)] = tensor
        return tensor

    def __call__(self, layer, *args, **kwargs):
        """Calls a layer on tensors without time axis."""
        if isinstance(layer, _End):
            raise _Ended(tree.flatten(args))
        tensors = tree.flatten(args)
        # A new tensor, because others may take this one as it is.
        if isinstance(layer, layers.UnfoldTime):
            return self.stream(keras.layers.Identity()(args[0]))
        if _repeats(layer):
            return self.stream(ops.squeeze(args[0], 1))
        if any(id(x) in self.folded for x in tensors):
            return self._fold(layer(*args, **kwargs))
        if not any(id(x) in self.streams for x in tensors):
            if isinstance(layer, STATIONARY):
                return self.stream(self._encode(layer, *args))
            return layer(*args, **kwargs)
        if isinstance(layer, layers.FoldTime):
            return self._fold(keras.layers.Identity()(args[0]))
        given = [x for x in tree.flatten(kwargs) if ops.is_tensor(x)]
        if given or not all(id(x) in self.streams for x in tensors):
            # Without the time axis, the shapes may fit in another way.
            self._refuse(layer)
        if isinstance(layer, keras.layers.GlobalAveragePooling1D):
            return self._mean(layer, *args)
        if isinstance(layer, OverTime):
            if layer.go_backwards or layer.return_state:
                self._refuse(layer)
            output = self._neurons(layer, *args)
            return self.stream(output) if layer.return_sequences else output
        return self.stream(self._alike(layer, *args))

    def _fold(self, tensor):
        self.folded[id(tensor)] = tensor
        return tensor

    def _alike(self, layer, *args):
        """Calls a layer that treats all timesteps alike."""
        if isinstance(layer, layers.PerTimestep):
            return layer.layer(*args)
        if isinstance(layer, DIRECT):
            return layer(*args)
        if isinstance(layer, ALIKE):
            return ops.squeeze(layer(ops.expand_dims(args[0], 1)), 1)
        return self._refuse(layer)

    def _refuse(self, layer):
        raise ValueError(
            f"`step_model` cannot take the layer `{layer.name}` of type "
            f"{type(layer).__name__} apart in time. If it needs no time axis, "
            "wrap it in `PerTimestep`."
        )

    def _encode(self, encoder, image):
        config = encoder.get_config() | {"timesteps": 1}
        once = type(encoder).from_config(config)
        return ops.squeeze(once(image), 1)

    def _neurons(self, layer, current):
        dtype = at_least_float32(layer.compute_dtype)
        names = layer.state_names
        before = [
            self._state(f"{layer.name}_{name}", current.shape[1:], dtype)
            for name in names
        ]
        once = OneTimestep(layer, name=f"{layer.name}_step")
        output, *after = once([current, *before])
        self.states += zip(before, after, strict=True)
        return output

    def _mean(self, layer, x):
        dtype = at_least_float32(x.dtype)
        before = [
            self._state(f"{layer.name}_sum", x.shape[1:], dtype),
            self._state(f"{layer.name}_count", (1,), dtype),
        ]
        once = RunningMean(name=f"{layer.name}_step")
        output, *after = once([x, *before])
        self.states += zip(before, after, strict=True)
        return output

    def _state(self, name, shape, dtype):
        name = f"{STATE}{len(self.states)}_{name}"
        return keras.Input(shape, dtype=dtype, name=name)
