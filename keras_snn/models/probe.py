"""A model of the spikes inside another model."""

import collections

import keras

from keras_snn.layers import LIF, LIFRNNCell, Recompute
from keras_snn.layers.walk import walk

__all__ = ["probe", "spiking_outputs"]


def probe(model):
    """Builds a model that returns the spikes of every layer of neurons.

    It shares the layers and weights of `model`, and runs, compiles and
    predicts as every Keras model does.

    Args:
        model: A built functional or `Sequential` model. Models inside it, and
            what `Recompute` wraps, are looked into.

    Returns:
        A `keras.Model` from the inputs of `model` to a dictionary from the name
        of each `LIF` layer, and each `keras.layers.RNN` of a `LIFRNNCell`, in
        the order of the graph, to its output. The second call of one layer is
        named `name:2`.

    Raises:
        ValueError: If the model has no neurons, or has some that a graph does
            not show: inside a custom layer, a wrapper or a subclassed model.

    Example:
    >>> from keras_snn.models import five_layer_snn
    >>> spikes = probe(five_layer_snn((8, 8, 1), timesteps=2)).output
    >>> spikes["lif3"].shape
    (None, 2, 500)
    """
    graph, found = spiking_outputs(model)
    # Keras sorts the keys of plain dictionaries.
    outputs = collections.OrderedDict(
        (name, output) for name, (_, output) in found.items()
    )
    return keras.Model(graph.input, outputs, name=f"{model.name}_probe")


def spiking_outputs(model):
    """Builds the graph of a model again and keeps every spike.

    Args:
        model: See `probe`.

    Returns:
        `(graph, found)`: a model that shares the layers of `model`, and a
        dictionary from the names that `probe` documents to `(layer, output)`.

    Raises:
        ValueError: See `probe`.
    """
    if _ends(model) is None:
        raise ValueError(
            "`model` must be a built functional or Sequential model. "
            f"Received: {model!r}"
        )
    graph, found = _observed(model)
    if not found:
        raise ValueError(
            "`model` must have a `LIF` layer or an `RNN` of `LIFRNNCell`. "
            f"Received: {model.name!r}"
        )
    return graph, found


def _observed(model):
    found = {}

    def add(layer, output):
        name, number = layer.name, 1
        while name in found:
            number += 1
            name = f"{layer.name}:{number}"
        found[name] = layer, output

    def call(layer, *args, **kwargs):
        if isinstance(layer, Recompute):
            layer = layer.layer
        if isinstance(layer, keras.Model) and _ends(layer):
            # The model inside, with its spikes as further outputs.
            graph, inside = _observed(layer)
            spikes = [output for _, output in inside.values()]
            more = keras.Model(
                graph.input, [graph.output, spikes], name=layer.name
            )
            outputs, spikes = more(*args, **kwargs)
            for (neurons, _), output in zip(
                inside.values(), spikes, strict=True
            ):
                add(neurons, output)
            return outputs
        outputs = layer(*args, **kwargs)
        if _spikes(layer):
            add(layer, keras.tree.flatten(outputs)[0])
        elif isinstance(layer, keras.layers.Layer):
            for inside in filter(_spikes, walk(layer)):
                raise ValueError(
                    "`model` must show its neurons in its graph. Received: "
                    f"layer {layer.name!r}, with {inside.name!r} inside"
                )
        return outputs

    # Of the bare graph: cloning a compiled model would compile the clone.
    clone = keras.models.clone_model(
        keras.Model(*_ends(model)),
        clone_function=lambda layer: layer,
        call_function=call,
    )
    return clone, found


def _ends(model):
    """Returns the inputs and outputs of a model's graph, or `None`."""
    if isinstance(model, keras.Sequential):
        # Its `output` is the one in the graph around it.
        return (model.inputs[0], model.outputs[0]) if model.built else None
    try:
        return model.input, model.output
    except (AttributeError, ValueError):
        return None


def _spikes(layer):
    if isinstance(layer, keras.layers.RNN):
        return isinstance(layer.cell, LIFRNNCell)
    return isinstance(layer, LIF)
