"""Finds the synapses of every layer of neurons, and runs their graph.

`step_model` and `probe` build new graphs. This module lists the operations of a
graph instead, with those of models inside it, so that a part can run again.
"""

import dataclasses
import functools
import inspect
from typing import Any, NamedTuple

import keras
from keras import ops, tree

from keras_snn.layers.over_time import OverTime
from keras_snn.models.probe import (
    check_graph,
    is_spiking,
    numbered,
    refuse_neurons_inside,
    rerun,
    runs_its_graph,
)
from keras_snn.models.time_axis import PER_TIMESTEP, is_symbolic, recomputed

__all__ = [
    "Call",
    "Graph",
    "Neurons",
    "constants_of",
    "recurrent_kernel",
    "scaled_weights",
]

# The weights that scale the output of a layer, by the first that it has.
# A normalization undoes what happens to the weights before it.
SCALES = {
    "gamma": ("gamma", "beta"),
    "scale": ("scale",),
    "pointwise_kernel": ("pointwise_kernel", "bias"),
    "kernel": ("kernel", "bias"),
    "embeddings": ("embeddings",),
}


class Synapses(NamedTuple):
    """What scales the outputs of an operation.

    Attributes:
        layers: Layers whose weights do.
        others: Names of layers whose weights cannot be scaled.
        passes: Whether the inputs do, too.
    """

    layers: list
    others: list
    passes: bool


@dataclasses.dataclass(eq=False)
class Call:
    """One call of an operation.

    Every tensor of a graph has a number, its key.

    Attributes:
        operation: The operation, or a function.
        arguments: `(args, kwargs)`, with symbolic tensors.
        inputs: The key of each of these tensors, by its identity.
        outputs: The keys of the outputs.
        training: Whether the call runs in training. `None` leaves it open.
    """

    operation: Any
    arguments: tuple
    inputs: dict
    outputs: list
    training: bool | None = None

    def fill(self, values):
        """Returns the arguments, with values in place of tensors."""
        return tree.map_structure(
            lambda x: values[self.inputs[id(x)]] if is_symbolic(x) else x,
            self.arguments,
        )

    @functools.cached_property
    def synapses(self):
        """What scales the outputs, as `Synapses`."""
        return _synapses(self.operation)

    @property
    def sequences(self):
        """The key of the first argument of a layer."""
        return self.inputs[id(self._bound(*self.arguments).args[0])]

    def mask(self, values):
        """Returns the argument `mask` of a layer, or `None`."""
        return self._bound(*self.fill(values)).arguments.get("mask")

    def argument(self, name):
        """Returns an argument of a layer, or `None`."""
        return self._bound(*self.arguments).arguments.get(name)

    def _bound(self, args, kwargs):
        return inspect.signature(self.operation.call).bind(*args, **kwargs)


@dataclasses.dataclass(eq=False)
class Neurons:
    """One call of a layer of neurons, and where its current comes from.

    Attributes:
        name: Its name, as in `probe`.
        index: The index of its call.
        layers: The nearest layers upstream whose weights scale the current.
        others: Names of what else it comes from: other neurons, inputs, and
            layers with weights that cannot scale it.
        path: The indices of the calls from these to the neurons, in order.
    """

    name: str
    index: int
    layers: list
    others: list
    path: list


class Graph:
    """The operations of a model in the order in which they run.

    It contains those of models inside the model, even in `Recompute`.

    Args:
        model: See `probe`.

    Attributes:
        model: The same graph as a functional model.
        inputs: The keys of the inputs.
        outputs: The keys of the outputs.
        calls: List of `Call`.
    """

    def __init__(self, model):
        check_graph(model)
        self.calls = []
        self._makers, self._levels, self._names = {}, {}, {}
        self.model, *_ = self._level(model)
        tensors = self.model.inputs
        self.inputs = self._keys(tensors)
        for key, tensor in zip(self.inputs, tensors, strict=True):
            self._names[key] = tensor.name
        self.outputs = self._add(model, self.inputs, None)

    def neurons(self):
        """Returns the calls of neurons, in order, as `Neurons`."""
        found = []
        for index, call in enumerate(self.calls):
            if is_spiking(call.operation):
                parts = self.upstream([call.sequences])
                found.append((call.operation.name, index, *parts))
        names = numbered(name for name, *_ in found)
        return [
            Neurons(name, *rest)
            for name, (_, *rest) in zip(names, found, strict=True)
        ]

    def _keys(self, tensors):
        first = len(self._names)
        keys = list(range(first, first + len(tree.flatten(tensors))))
        self._names.update(dict.fromkeys(keys))
        return keys

    def _call(self, operation, arguments, keys, outputs, training=None):
        """Adds a call and returns the keys of its outputs."""
        inputs = {
            id(x): keys[id(x)] for x in tree.flatten(arguments) if id(x) in keys
        }
        call = Call(operation, arguments, inputs, self._keys(outputs), training)
        self._makers |= dict.fromkeys(call.outputs, len(self.calls))
        self.calls.append(call)
        return call.outputs

    def _add(self, model, given, training):
        """Adds the calls of a model, and returns the keys of its outputs."""
        graph, entry, level = self._level(model)
        keys = dict(zip(map(id, entry.inputs), given, strict=True))
        # Gives the inputs the dtype and rank that the model expects.
        standard = self._call(
            entry, ((list(entry.inputs),), {}), keys, entry.inputs, training
        )
        keys |= dict(zip(map(id, entry.inputs), standard, strict=True))
        for operation, args, kwargs, results in level:
            layer, arguments = recomputed(operation), (args, kwargs)
            if layer is not operation and not operation.supports_masking:
                keys = keys | self._copies(arguments, keys)
            if runs_its_graph(layer):
                tensors = filter(is_symbolic, tree.flatten(arguments))
                inside = [keys[id(x)] for x in tensors]
                own = kwargs.get("training")
                found = self._add(
                    layer, inside, training if own is None else own
                )
            else:
                if not is_spiking(layer):
                    refuse_neurons_inside(operation, args, kwargs)
                found = self._call(layer, arguments, keys, results, training)
            keys |= dict(
                zip(map(id, tree.flatten(results)), found, strict=True)
            )
        return [keys[id(x)] for x in graph.outputs]

    def _copies(self, arguments, keys):
        """Adds copies of tensors, which have no mask."""
        found = {}
        for x in filter(is_symbolic, tree.flatten(arguments)):
            (found[id(x)],) = self._call(ops.copy, ((x,), {}), keys, x)
        return found

    def _level(self, model):
        """Returns `(graph, entry, calls)` of one model.

        `entry` brings inputs into shape. The calls lack those of models inside.
        """
        if id(model) not in self._levels:
            calls = []

            def call(operation, *args, **kwargs):
                outputs = operation(*args, **kwargs)
                calls.append((operation, args, kwargs, outputs))
                return outputs

            graph = rerun(model, call)
            entry = keras.Model(list(graph.inputs), list(graph.inputs))
            self._levels[id(model)] = graph, entry, calls
        return self._levels[id(model)]

    def upstream(self, keys):
        """Returns `layers`, `others` and `path`, as `Neurons` has them.

        Args:
            keys: The tensors to go back from.
        """
        layers, others, path, seen = {}, {}, set(), set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            index = self._makers.get(key)
            if key in seen or index in path:
                continue
            seen.add(key)
            if index is None:
                others[self._names[key]] = key
                continue
            call = self.calls[index]
            if is_spiking(call.operation):
                others[call.operation.name] = key
                continue
            path.add(index)
            layers |= {id(x): (index, x) for x in call.synapses.layers}
            others |= dict.fromkeys(call.synapses.others, key)
            if call.synapses.passes:
                waiting += call.inputs.values()
        in_order = sorted(layers.values(), key=lambda pair: pair[0])
        return [x for _, x in in_order], sorted(others), sorted(path)


def _synapses(operation):
    """Returns the `Synapses` of an operation."""
    layer = operation
    while isinstance(layer, PER_TIMESTEP):
        layer = recomputed(layer.layer)
    if not isinstance(layer, keras.layers.Layer):
        return Synapses([], [], passes=True)
    if runs_its_graph(layer) and layer is not operation:
        graph = Graph(layer)
        layers, others, _ = graph.upstream(graph.outputs)
        inputs = {x.name for x in graph.model.inputs}
        return Synapses(
            layers,
            [x for x in others if x not in inputs],
            passes=any(x in inputs for x in others),
        )
    if scaled_weights(layer):
        return Synapses([layer], [], passes=False)
    linear = isinstance(layer, OverTime)
    normalizes = hasattr(layer, "gamma")
    if (layer.weights or normalizes) and not linear:
        return Synapses([], [layer.name], passes=False)
    return Synapses([], [], passes=True)


def scaled_weights(layer):
    """Returns the weights that scale the output of a layer, together.

    Returns:
        List of variables: kernel and bias, or scale and shift of a
        normalization. It is empty if there are none, or if they are frozen.
    """
    for first, names in SCALES.items():
        # `SpectralNormalization` has a kernel, but undoes its scale.
        if not hasattr(layer, first) or isinstance(layer, keras.layers.Wrapper):
            continue
        weights = [getattr(layer, name, None) for name in names]
        usable = [
            x
            for x in weights
            if isinstance(x, keras.Variable)
            and x.trainable
            and keras.backend.is_float_dtype(x.dtype)
        ]
        complete = len(usable) == len([x for x in weights if x is not None])
        return usable if complete and weights[0] is not None else []
    return []


def constants_of(layer):
    """Returns the object that holds the constants of a layer of neurons."""
    for _ in range(2):  # An `RNN` may hold a `RecurrentCell`.
        layer = getattr(layer, "cell", layer)
    return layer


def recurrent_kernel(layer):
    """Returns the recurrent kernel of a layer or of its cell, or `None`."""
    return getattr(getattr(layer, "cell", layer), "recurrent_kernel", None)
