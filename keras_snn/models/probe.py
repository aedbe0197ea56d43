"""A model that returns the spikes inside another model."""

import collections
import contextlib
import functools
import inspect

import keras
from keras import ops

from keras_snn.layers import LIF, LIFRNNCell, Recompute, RecurrentCell

__all__ = [
    "check_graph",
    "runs_its_graph",
    "is_spiking",
    "numbered",
    "observed_outputs",
    "probe",
    "refuse_neurons_inside",
    "rerun",
    "spiking_outputs",
]


def probe(model):
    """Builds a model that returns the spikes of every layer of neurons.

    It shares the layers and weights of `model`. It runs, compiles and predicts
    like any Keras model.

    At masked timesteps, the spikes are those that the layer returns: it repeats
    its last output. `keras_snn.callbacks.firing_rates` leaves them out.

    Args:
        model: A built functional or `Sequential` model. The probe includes
            models inside it and models that `Recompute` wraps.

    Returns:
        A `keras.Model` with the inputs of `model`. Its output is a dictionary,
        in the order of the graph, that maps names of layers to their outputs.
        It has every layer of spiking neurons, such as `LIF` and
        `RecurrentLIF`, and every `keras.layers.RNN` of such a cell, such as
        `LIFRNNCell`.
        The second call of a layer is named `name:2`. If no call uses the
        output of another, Keras may have changed their order.

    Raises:
        ValueError: If the model has no neurons, or if its graph does not show
            all of them. Custom layers, wrappers such as `PerTimestep`, stacked
            RNN cells, functions in `keras.layers.Lambda` and subclassed models
            hide the neurons inside them. The search covers their attributes and
            the code of `call`, but not other Python objects.

    Example:
    >>> from keras_snn.models import five_layer_snn
    >>> spikes = probe(five_layer_snn((8, 8, 1), timesteps=2)).output
    >>> spikes["lif3"].shape
    (None, 2, 500)
    """
    graph, found = spiking_outputs(
        model,
        lambda layer, spikes, sequences, mask: spikes,  # noqa: ARG005
    )
    # Keras sorts the keys of plain dictionaries.
    outputs = collections.OrderedDict(found)
    return keras.Model(graph.input, outputs, name=f"{model.name}_probe")


def spiking_outputs(model, observe):
    """Rebuilds the graph of a model and observes every call of its neurons.

    Args:
        model: See `probe`.
        observe: Function of `(layer, spikes, sequences, mask)`. It returns the
            symbolic tensors to keep of this call. `sequences` is the input of
            the layer. `mask` is its argument of this name, which is `None` if
            Keras passes the mask of `sequences`.

    Returns:
        `(graph, found)`: a model that shares the layers of `model`, and a
        dictionary that maps the names of `probe` to what `observe` returned.

    Raises:
        ValueError: See `probe`.
    """
    graph, found = observed_outputs(model, observe, is_spiking)
    if not found:
        raise ValueError(
            "`model` must have a `LIF` layer or an `RNN` of `LIFRNNCell`. "
            f"Received: {model.name!r}"
        )
    return graph, found


def observed_outputs(model, observe, picks):
    """Rebuilds the graph of a model and observes every call of some layers.

    Args:
        model: See `probe`. All its neurons must be in its graph.
        observe: See `spiking_outputs`. `spikes` is the first output.
        picks: Function of a layer. Returns whether to observe its calls.

    Returns:
        See `spiking_outputs`.
    """
    check_graph(model)
    graph, pairs = _observed(model, observe, picks)
    names = numbered(layer for layer, _ in pairs)
    found = dict(zip(names, (each for _, each in pairs), strict=True))
    return graph, found


def check_graph(model):
    """Raises an error unless a model is built and runs as its graph says."""
    if not runs_its_graph(model):
        raise ValueError(
            "`model` must be a built functional or Sequential model that does "
            f"not override `call`. Received: {model!r}"
        )


def runs_its_graph(layer):
    """Returns whether a layer is a model that runs as its graph says."""
    return isinstance(layer, keras.Model) and bool(_ends(layer))


def numbered(names):
    """Returns unique names: the second `lif` becomes `lif:2`, and so on."""
    found = {}
    for name in names:
        unique, number = name, 1
        while unique in found:
            number += 1
            unique = f"{name}:{number}"
        found[unique] = None
    return list(found)


def rerun(model, call):
    """Runs the graph of a model on new inputs, and returns the new graph.

    Args:
        model: A model of which `runs_its_graph` is true.
        call: Function of an operation and its arguments. It returns the
            outputs.
    """
    # Clones the bare graph, because Keras compiles clones of compiled models.
    return keras.models.clone_model(
        keras.Model(*_ends(model)),
        clone_function=lambda layer: layer,
        call_function=call,
    )


def _observed(model, observe, picks):
    """Returns the rebuilt graph, and pairs of a layer's name and its tensors.

    The pairs are in the order of the calls.
    """
    pairs, rebuilt = [], {}

    def call(operation, *args, **kwargs):
        layer = operation
        while isinstance(layer, Recompute):
            layer = layer.layer
        if layer is not operation and not operation.supports_masking:
            # The copy has no mask, like the tensor inside `Recompute`.
            args = keras.tree.map_structure(ops.copy, args)
        if runs_its_graph(layer):
            if id(operation) not in rebuilt:
                rebuilt[id(operation)] = _with_more_outputs(
                    *_observed(layer, observe, picks), operation.name
                )
            more, names = rebuilt[id(operation)]
            if not names:
                return operation(*args, **kwargs)
            outputs, observed = more(*args, **kwargs)
            pairs.extend(zip(names, observed, strict=True))
            return outputs
        outputs = operation(*args, **kwargs)
        if picks(layer):
            spikes = keras.tree.flatten(outputs)[0]
            given = inspect.signature(operation.call).bind(*args, **kwargs)
            sequences, *_ = given.args
            mask = given.arguments.get("mask")
            pairs.append((layer.name, observe(layer, spikes, sequences, mask)))
        if not is_spiking(layer):
            refuse_neurons_inside(operation, args, kwargs)
        return outputs

    return rerun(model, call), pairs


def _with_more_outputs(graph, pairs, name):
    """Returns a model that also returns what was observed, and the names."""
    if not pairs:
        return graph, []
    names, observed = zip(*pairs, strict=True)
    outputs = [graph.output, list(observed)]
    return keras.Model(graph.input, outputs, name=name), names


def refuse_neurons_inside(operation, args, kwargs):
    """Raises an error if an operation may run neurons of its own."""
    for inside in _reachable([operation, args, kwargs]):
        name = None
        if is_spiking(inside) or isinstance(inside, LIFRNNCell):
            name = inside.name
        elif inspect.isclass(inside) and issubclass(inside, (LIF, LIFRNNCell)):
            name = inside.__name__
        if name is not None:
            raise ValueError(
                "`model` must have all neurons in its graph. Received: "
                f"layer {operation.name!r}, with {name!r} inside"
            )


def _reachable(root):
    """Yields the objects that an operation may run.

    These are its attributes, the items of containers, and what functions refer
    to, including the `call` of a layer. The outermost come first.
    """
    # Keeps the values, because a freed object's id may be used again.
    seen, waiting = {}, collections.deque([root])
    while waiting:
        value = waiting.popleft()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        yield value
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting.extend(value)
        elif isinstance(value, keras.Operation):
            waiting.extend([*vars(value).values(), value.call])
        elif isinstance(value, functools.partial):
            waiting.extend([value.func, value.args, value.keywords])
        elif inspect.ismethod(value):
            waiting.extend([value.__self__, value.__func__])
        elif inspect.isfunction(value) and not _library(value):
            for cell in value.__closure__ or ():
                with contextlib.suppress(ValueError):  # an empty cell
                    waiting.append(cell.cell_contents)
            waiting.extend(_globals(value.__code__, value.__globals__))


def _library(function):
    return (function.__module__ or "").split(".")[0] in ("keras", "keras_snn")


def _globals(code, names):
    """Returns the global objects that a function and those inside it use."""
    used = []
    for name in code.co_names:
        modules = [vars(each) for each in used if inspect.ismodule(each)]
        used += [space[name] for space in (names, *modules) if name in space]
    for inner in filter(inspect.iscode, code.co_consts):
        used += _globals(inner, names)
    return used


def _ends(model):
    """Returns the inputs and outputs of a model's graph, or `None`.

    Also returns `None` if the class overrides `call`, which may do more than
    the graph.
    """
    if isinstance(model, keras.Sequential):
        # Inside another model, `output` belongs to that model's graph.
        plain = keras.Sequential
        ends = (model.inputs[0], model.outputs[0]) if model.built else None
    else:
        try:
            ends = model.input, model.output
        except (AttributeError, ValueError):
            return None
        plain = type(keras.Model(*ends))
    return ends if type(model).call is plain.call else None


def is_spiking(layer):
    """Returns whether a layer consists of neurons that spike."""
    if isinstance(layer, keras.layers.RNN):
        return isinstance(layer.cell, (LIFRNNCell, RecurrentCell))
    return isinstance(layer, LIF)
