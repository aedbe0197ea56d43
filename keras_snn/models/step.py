"""Networks of one timestep, for streams and other devices."""

import collections
import numbers

import keras
from keras import ops, tree

from keras_snn import encoders, layers
from keras_snn.layers.over_time import OverTime
from keras_snn.layers.precision import at_least_float32
from keras_snn.layers.walk import walk
from keras_snn.models.one_timestep import (
    STATE,
    OneBNTT,
    OneTimestep,
    RunningMean,
    StepModel,
)

__all__ = ["step_model"]

# Layers that treat all timesteps alike, but need a time axis.
ALIKE = (
    keras.layers.Activation,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
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
    keras.layers.Identity,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.Rescaling,
    keras.layers.Subtract,
)
# Operations that do, too: those of `x + y`, and so on. Their classes are not
# public.
ELEMENTWISE = ("Add", "Maximum", "Minimum", "Multiply", "Subtract")
# Layers that run another one on every timestep.
PER_TIMESTEP = (keras.layers.TimeDistributed, layers.PerTimestep)
# Layers that only have a meaning on a time axis.
OVER_TIME = (
    OverTime,
    encoders.DeltaEncoder,
    layers.BNTT,
    layers.FoldTime,
    layers.TDBN,
    layers.UnfoldTime,
)
# Encoders that do the same at every timestep.
STATIONARY = (encoders.ConstantEncoder, encoders.PoissonEncoder)
# What became of the time axis of a tensor of the model.
TIME = "the second axis"
FOLDED = "folded into the batch"
STILL = "none so far: the same at every timestep"
REDUCED = "gone: the timesteps so far in one"


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
    drawn anew. `BNTT` counts timesteps. After its last one, it goes on with the
    weights of the last.

    Args:
        model: A built functional or `Sequential` model. Each of its inputs is
            a sequence, `(batch, timesteps, ...)`, unless an encoder of images
            takes it. Layers over time must be layers of neurons,
            `PerTimestep`, `TimeDistributed`, `FoldTime`, `UnfoldTime`, `BNTT`,
            `TDBN`, `Recompute`, `GlobalAveragePooling1D`, layers of Keras that
            treat all timesteps alike, sums and products, or models of these.

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
    kinds = [STILL if _takes_images(model) else TIME] * len(model.inputs)
    step, _ = _take_apart(model, kinds, f"{model.name}_step")
    return step


def _takes_images(model):
    """Returns whether an encoder, or a repetition, makes the time axis."""
    return any(
        isinstance(x, STATIONARY)
        or _repeats(x)
        or (_has_graph(x) and _takes_images(x))
        for x in map(_recomputed, model.operations)
    )


def _repeats(operation):
    """Returns whether an operation repeats a still image over time."""
    # The class is not public. Its name and attribute are those of `ops.repeat`.
    return type(operation).__name__ == "Repeat" and operation.axis == 1


def _has_graph(layer):
    return isinstance(layer, keras.Model) and hasattr(layer, "operations")


def _recomputed(layer):
    """Returns what a `Recompute` recomputes, or the layer itself."""
    while isinstance(layer, layers.Recompute):
        layer = layer.layer
    return layer


def _take_apart(model, kinds, name):
    """Builds the network of one timestep.

    Args:
        model: The model.
        kinds: What became of the time axis of each of its inputs.
        name: Name of the network of one timestep.

    Returns:
        A `StepModel`, and the kinds of the outputs of `model`.
    """
    steps = _Steps()
    inputs = [
        steps.input(x, kind)
        for x, kind in zip(model.inputs, kinds, strict=True)
    ]
    # A list, because the inputs of `model` may be a dictionary.
    ended = keras.Model(list(model.inputs), _End()(list(model.outputs)))
    try:
        keras.models.clone_model(
            ended,
            input_tensors=inputs,
            clone_function=lambda layer: layer,
            call_function=steps,
        )
    except _Ended as end:
        (outputs,) = end.args
    taken, given = zip(*steps.states, strict=True) if steps.states else ((), ())
    step = StepModel([*inputs, *taken], [*outputs, *given], name=name)
    return step, [steps.kind(x) for x in outputs]


class _Steps:
    """Calls the layers of a graph for one timestep.

    Attributes:
        states: Pairs of a state before and after the timestep.
    """

    def __init__(self):
        self.states = []
        self._kinds = {}  # by the identities of tensors
        self._tensors = []  # Keeps them alive, and so their identities.
        self._names = collections.Counter()

    def input(self, like, kind):
        """Returns the input of one timestep."""
        shape = like.shape[2:] if kind == TIME else like.shape[1:]
        return self._as(
            kind, keras.Input(shape, dtype=like.dtype, name=like.name)
        )

    def kind(self, tensor):
        """Returns what became of the time axis of a tensor of the model."""
        return self._kinds[id(tensor)]

    def _as(self, kind, tensors):
        """Remembers what became of a time axis."""
        for tensor in tree.flatten(tensors):
            self._kinds[id(tensor)] = kind
            self._tensors.append(tensor)
        return tensors

    def __call__(self, layer, *args, **kwargs):
        """Calls a layer on tensors without time axis."""
        if isinstance(layer, _End):
            raise _Ended(tree.flatten(args))
        layer = _recomputed(layer)
        tensors = [x for x in tree.flatten((args, kwargs)) if _is_symbolic(x)]
        kinds = {self.kind(x) for x in tensors}
        if kinds == {STILL, REDUCED}:
            kinds = {REDUCED}
        if len(kinds) > 1:
            # Without the time axis, the shapes may fit in another way.
            self._refuse(layer)
        (kind,) = kinds
        if _has_graph(layer):
            return self._nested(layer, tensors)
        if kind == TIME:
            if any(_is_symbolic(x) for x in tree.flatten(kwargs)):
                self._refuse(layer)
            return self._over_time(layer, *args)
        # A new tensor, because others may take this one as it is.
        if kind == FOLDED and isinstance(layer, layers.UnfoldTime):
            return self._as(TIME, keras.layers.Identity()(args[0]))
        if kind != REDUCED:
            if _repeats(layer) and args[0].shape[1] == 1:
                return self._as(TIME, ops.squeeze(args[0], 1))
            if kind == STILL and isinstance(layer, STATIONARY):
                return self._as(TIME, self._encode(layer, *args))
        if _needs_time(layer):
            self._refuse(layer)
        return self._as(kind, layer(*args, **kwargs))

    def _over_time(self, layer, *args):
        """Calls a layer that has a time axis in the model."""
        if isinstance(layer, PER_TIMESTEP):
            return self._as(TIME, layer.layer(*args))
        if isinstance(layer, layers.FoldTime):
            return self._as(FOLDED, keras.layers.Identity()(args[0]))
        if isinstance(layer, keras.layers.GlobalAveragePooling1D):
            if layer.keepdims or layer.data_format != "channels_last":
                self._refuse(layer)
            return self._as(REDUCED, self._mean(layer, *args))
        if isinstance(layer, OverTime):
            if layer.go_backwards or layer.return_state:
                self._refuse(layer)
            kind = TIME if layer.return_sequences else REDUCED
            return self._as(kind, self._neurons(layer, *args))
        if isinstance(layer, layers.BNTT):
            return self._as(TIME, self._normalize(layer, *args))
        return self._as(TIME, self._alike(layer, *args))

    def _alike(self, layer, *args):
        """Calls a layer that treats all timesteps alike."""
        tensors = [x for x in tree.flatten(args) if _is_symbolic(x)]
        ranks = {len(x.shape) for x in tensors}
        if len(ranks) == 1:
            if isinstance(layer, DIRECT) or _is_elementwise(layer, args):
                return layer(*args)
            # Without the time axis, another axis would take its place.
            rank = 1 + ranks.pop()
            at_time = getattr(layer, "axis", -1) in (1, 1 - rank)
            if isinstance(layer, ALIKE) and not at_time:
                once = tree.map_structure(lambda x: ops.expand_dims(x, 1), args)
                return ops.squeeze(layer(*once), 1)
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

    def _nested(self, model, tensors):
        """Calls a model inside the model."""
        kinds = [self.kind(x) for x in tensors]
        once, kinds = _take_apart(model, kinds, self._name(model))
        like = once.inputs[len(tensors) :]
        names = [f"{model.name}_{_label(x)}" for x in like]
        outputs = self._stateful(
            once, tensors, [(x.shape[1:], x.dtype) for x in like], names
        )
        for kind, x in zip(kinds, outputs, strict=True):
            self._as(kind, x)
        return outputs

    def _neurons(self, layer, current):
        like = current.shape[1:], at_least_float32(layer.compute_dtype)
        names = [f"{layer.name}_{x}" for x in layer.state_names]
        once = OneTimestep(layer, name=self._name(layer))
        (output,) = self._stateful(once, [current], [like] * len(names), names)
        return output

    def _normalize(self, layer, x):
        like = (1,), at_least_float32(layer.compute_dtype)
        once = OneBNTT(layer, name=self._name(layer))
        (y,) = self._stateful(once, [x], [like], [f"{layer.name}_count"])
        return y

    def _mean(self, layer, x):
        dtype = at_least_float32(x.dtype)
        names = [f"{layer.name}_sum", f"{layer.name}_count"]
        once = RunningMean(name=self._name(layer))
        likes = [(x.shape[1:], dtype), ((1,), dtype)]
        (mean,) = self._stateful(once, [x], likes, names)
        return mean

    def _stateful(self, layer, inputs, likes, names):
        """Calls a layer with new states, and keeps these.

        Args:
            layer: Maps `[*inputs, *states]` to `[*outputs, *states]`.
            inputs: The inputs.
            likes: The shape and the dtype of each state.
            names: The names of the states.

        Returns:
            The outputs, as a list.
        """
        before = [
            keras.Input(shape, dtype=dtype, name=self._state_name(n, name))
            for n, ((shape, dtype), name) in enumerate(
                zip(likes, names, strict=True)
            )
        ]
        found = layer([*inputs, *before])
        count = len(found) - len(before)
        self.states += zip(before, found[count:], strict=True)
        return list(found[:count])

    def _state_name(self, index, name):
        return f"{STATE}{len(self.states) + index}_{name}"

    def _name(self, layer):
        """Returns a new name, because a model may use a layer twice."""
        name = f"{layer.name}_step"
        self._names[name] += 1
        count = self._names[name]
        return name if count == 1 else f"{name}{count}"


def _label(state):
    """Returns the name of a state without its number."""
    return state.name.removeprefix(STATE).partition("_")[2]


def _is_symbolic(x):
    return isinstance(x, keras.KerasTensor)


def _needs_time(layer):
    """Returns whether a layer, or one inside it, only works over time."""
    if not isinstance(layer, keras.layers.Layer):
        return False
    return any(isinstance(x, OVER_TIME) for x in walk(layer))


def _is_elementwise(operation, args):
    return type(operation).__name__ in ELEMENTWISE and all(
        _is_symbolic(x) or isinstance(x, numbers.Number)
        for x in tree.flatten(args)
    )
