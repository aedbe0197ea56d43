"""A model that returns the spikes inside another model."""

import collections

import keras

from keras_snn.layers import LIF, LIFRNNCell, Recompute
from keras_snn.layers.walk import walk

__all__ = ["probe", "spiking_outputs"]


def probe(model):
    """Builds a model that returns the spikes of every layer of neurons.

    It shares the layers and weights of `model`. It runs, compiles and predicts
    like any Keras model.

    Args:
        model: A built functional or `Sequential` model. The probe includes
            models inside it and layers that `Recompute` wraps.

    Returns:
        A `keras.Model` with the inputs of `model`. Its output is a dictionary,
        in the order of the graph, that maps names of layers to their outputs.
        It has every `LIF` layer and every `keras.layers.RNN` of a `LIFRNNCell`.
        The second call of a layer is named `name:2`.

    Raises:
        ValueError: If the model has no neurons, or if its graph does not show
            all of them. Custom layers, wrappers and subclassed models hide the
            neurons inside them.

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
    """Rebuilds the graph of a model and keeps the outputs of all neurons.

    Args:
        model: See `probe`.

    Returns:
        `(graph, found)`: a model that shares the layers of `model`, and a
        dictionary that maps the names of `probe` to `(layer, output)`.

    Raises:
        ValueError: See `probe`.
    """
    if _ends(model) is None:
        raise ValueError(
            "`model` must be a built functional or Sequential model that does "
            f"not override `call`. Received: {model!r}"
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
            # The inner model, with its spikes as additional outputs.
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
                    "`model` must have all neurons in its graph. Received: "
                    f"layer {layer.name!r}, with {inside.name!r} inside"
                )
        return outputs

    # Clones the bare graph, because Keras compiles clones of compiled models.
    clone = keras.models.clone_model(
        keras.Model(*_ends(model)),
        clone_function=lambda layer: layer,
        call_function=call,
    )
    return clone, found


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


def _spikes(layer):
    if isinstance(layer, keras.layers.RNN):
        return isinstance(layer.cell, LIFRNNCell)
    return isinstance(layer, LIF)
