"""Networks of one timestep, for streams and other devices."""

import collections

import keras
from keras import tree

from keras_snn import encoders, layers
from keras_snn.layers.over_time import OverTime
from keras_snn.models.one_timestep import (
    STATE,
    OneBNTT,
    OneCode,
    OneDelta,
    OneTimestep,
    RunningMean,
    StepModel,
)
from keras_snn.models.time_axis import (
    CLOCKED,
    PER_TIMESTEP,
    STATIONARY,
    check_has_graph,
    has_graph,
    is_direct,
    is_elementwise,
    is_symbolic,
    makes_masks,
    needs_time,
    operations,
    recomputed,
    repeats,
    replay,
    takes_images,
    treats_alike,
)
from keras_snn.precision import at_least_float32

__all__ = ["step_model"]

# What became of the time axis of a tensor of the model.
TIME = "the second axis"
FOLDED = "folded into the batch"
STILL = "none so far: the same at every timestep"
REDUCED = "gone: the timesteps so far in one"


def step_model(model: keras.Model) -> StepModel:
    """Builds the network of one timestep of a model.

    It computes what the model computes for a whole sequence, one timestep after
    another, in inference, with the same spikes. It shares the weights of
    `model`. It can be saved, and exported with `export`.

    At every timestep, a mean over time is that of the timesteps so far. Images
    go to their encoder at every timestep. `PoissonEncoder` draws new
    spikes. `RetinaEncoder` and `LatencyEncoder` emit none after their last
    timestep.
    `BNTT` counts timesteps. After its last, it keeps using the weights of that
    timestep.

    Args:
        model: A built functional or `Sequential` model. Each of its inputs is
            a sequence, `(batch, timesteps, ...)`, unless an encoder of images
            takes it. Layers over time must be layers of neurons,
            `DeltaEncoder`, `PerTimestep`, `TimeDistributed`, `FoldTime`,
            `UnfoldTime`, `BNTT`, `TDBN`, `Recompute`, `GlobalAveragePooling1D`,
            layers of Keras that treat all timesteps alike, sums and products,
            or models of these.

    Returns:
        A `StepModel`. It maps `[*inputs, *states]` to `[*outputs, *states]`.

    Raises:
        ValueError: If a layer cannot be taken apart in time: an unknown one, or
            neurons with `go_backwards`, `return_state` or an `initial_state`.

    Example:
    >>> inputs = keras.Input((None, 2))
    >>> spikes = layers.LIF(k=0.5, lam=1.0, theta=1.25)(inputs)
    >>> step = step_model(keras.Model(inputs, spikes))
    >>> spikes = step.stream([keras.ops.ones((1, 2))] * 4)
    >>> [keras.ops.convert_to_numpy(x)[0, 0].item() for x in spikes]
    [0.0, 1.0, 0.0, 1.0]
    """
    check_has_graph(model)
    kinds = [STILL if takes_images(model) else TIME] * len(model.inputs)
    step, _ = _take_apart(model, kinds, f"{model.name}_step")
    return step


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
    for layer in operations(model):
        # Refused first, because their masks are operations, too.
        if makes_masks(layer):
            steps.refuse(layer)
    inputs = [
        steps.input(x, kind)
        for x, kind in zip(model.inputs, kinds, strict=True)
    ]
    outputs = replay(model, inputs, steps)
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
        self.nested = {}  # models of one timestep, by model and kinds
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
        layer = recomputed(layer)
        tensors = [x for x in tree.flatten((args, kwargs)) if is_symbolic(x)]
        kinds = {self.kind(x) for x in tensors}
        if kinds == {STILL, REDUCED}:
            kinds = {REDUCED}
        if len(kinds) > 1:
            # Without the time axis, the shapes may fit in another way.
            self.refuse(layer)
        (kind,) = kinds
        if has_graph(layer):
            return self._nested(layer, tensors)
        if kind == TIME:
            return self._over_time(layer, *args, **kwargs)
        # A new tensor, because others may take this one as it is.
        if kind == FOLDED and isinstance(layer, layers.UnfoldTime):
            return self._as(TIME, _same(layer, *args))
        if kind != REDUCED:
            if repeats(layer) and args[0].shape[1] == 1:
                return self._as(TIME, self._now(layer, args[0]))
            if kind == STILL and isinstance(layer, STATIONARY):
                return self._as(TIME, self._encode(layer, *args))
            if kind == STILL and isinstance(layer, CLOCKED):
                return self._as(TIME, self._clocked(layer, *args))
        if isinstance(layer, (*STATIONARY, *CLOCKED)) or needs_time(layer):
            self.refuse(layer)
        return self._as(kind, layer(*args, **kwargs))

    def _over_time(self, layer, *args, **kwargs):
        """Calls a layer that has a time axis in the model."""
        if is_elementwise(layer, args):
            return self._as(TIME, layer(*args))
        if any(hasattr(x, "shape") for x in tree.flatten((args[1:], kwargs))):
            # Such as an initial state.
            self.refuse(layer)
        if isinstance(layer, PER_TIMESTEP):
            return self._as(TIME, self._once(layer, *args))
        if isinstance(layer, layers.FoldTime):
            return self._as(FOLDED, _same(layer, *args))
        if type(layer) is keras.layers.Permute and layer.dims[0] == 1:
            dims = [x - 1 for x in layer.dims[1:]]
            once = keras.layers.Permute(dims, name=self._name(layer))
            return self._as(TIME, once(*args))
        if isinstance(layer, keras.layers.GlobalAveragePooling1D):
            if layer.keepdims or layer.data_format != "channels_last":
                self.refuse(layer)
            return self._as(REDUCED, self._mean(layer, *args))
        if isinstance(layer, OverTime):
            if layer.go_backwards or layer.return_state:
                self.refuse(layer)
            kind = TIME if layer.return_sequences else REDUCED
            return self._as(kind, self._neurons(layer, *args))
        if isinstance(layer, layers.BNTT):
            return self._as(TIME, self._normalize(layer, *args))
        if isinstance(layer, encoders.DeltaEncoder):
            return self._as(TIME, self._compare(layer, *args))
        if is_direct(layer, args):
            return self._as(TIME, layer(*args))
        if treats_alike(layer, args):
            return self._as(TIME, self._once(layer, *args))
        return self.refuse(layer)

    def refuse(self, layer):
        """Raises the error for a layer that cannot be taken apart."""
        inside = isinstance(layer, keras.layers.Layer) and needs_time(layer)
        raise ValueError(
            f"`step_model` cannot take the layer `{layer.name}` of type "
            f"{type(layer).__name__} apart in time."
            + " If it needs no time axis, wrap it in `PerTimestep`."
            * (not inside)
        )

    def _once(self, layer, inputs):
        """Calls a layer over time on sequences of one timestep."""
        # Operations named by Keras may have the name of one from a file.
        once = tree.map_structure(
            lambda x: layers.UnfoldTime(
                1, dtype=x.dtype, name=self._name(layer)
            )(x),
            inputs,
        )
        return tree.map_structure(lambda x: self._now(layer, x), layer(once))

    def _now(self, layer, x):
        """Removes the time axis of the single timestep of a layer."""
        return layers.FoldTime(dtype=x.dtype, name=self._name(layer))(x)

    def _encode(self, encoder, image):
        config = encoder.get_config() | {"timesteps": 1}
        once = type(encoder).from_config(config)
        return self._now(encoder, once(image))

    def _clocked(self, encoder, image):
        once = OneCode(encoder, name=self._name(encoder))
        likes, names = [((1,), "float32")], [f"{encoder.name}_count"]
        (spikes,) = self._stateful(once, [image], likes, names)
        return spikes

    def _compare(self, encoder, x):
        once = OneDelta(encoder, name=self._name(encoder))
        like = x.shape[1:], "float32"
        likes = [like, like, ((1,), "float32")]
        names = [f"{encoder.name}_{n}" for n in ("first", "level", "count")]
        (spikes,) = self._stateful(once, [x], likes, names)
        return spikes

    def _nested(self, model, tensors):
        """Calls a model inside the model."""
        kinds = [self.kind(x) for x in tensors]
        # A model in use twice must stay one model, or its file does not load.
        key = id(model), *kinds
        if key not in self.nested:
            self.nested[key] = _take_apart(model, kinds, self._name(model))
        once, kinds = self.nested[key]
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
        dtype = at_least_float32(layer.compute_dtype)
        names = [f"{layer.name}_sum", f"{layer.name}_count"]
        once = RunningMean(name=self._name(layer), dtype=layer.dtype_policy)
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


def _same(layer, x):
    """Returns a new tensor with the same values, in the dtype of a layer."""
    return keras.layers.Identity(dtype=layer.dtype_policy)(x)
