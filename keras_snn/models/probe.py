"""A model of the spikes inside another model."""

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
    inputs, found = spiking_outputs(model)
    outputs = {name: output for name, (_, output) in found.items()}
    return keras.Model(inputs, outputs, name=f"{model.name}_probe")


def spiking_outputs(model):
    """Calls the layers of a model on new inputs and keeps every spike.

    Args:
        model: See `probe`.

    Returns:
        `(inputs, found)`: the new inputs, and a dictionary from the names that
        `probe` documents to `(layer, output)`.

    Raises:
        ValueError: See `probe`.
    """
    found = {}

    def call(layer, *args, **kwargs):
        if isinstance(layer, Recompute):
            layer = layer.layer
        if isinstance(layer, keras.Model) and _ends(layer):
            return inline(layer, *args)
        outputs = layer(*args, **kwargs)
        if _spikes(layer):
            name, number = layer.name, 1
            while name in found:
                number += 1
                name = f"{layer.name}:{number}"
            found[name] = layer, keras.tree.flatten(outputs)[0]
        elif isinstance(layer, keras.layers.Layer):
            for inside in filter(_spikes, walk(layer)):
                raise ValueError(
                    "`model` must show its neurons in its graph. Received: "
                    f"layer {layer.name!r}, with {inside.name!r} inside"
                )
        return outputs

    def inline(model, inputs):
        """Calls the layers of a model on new inputs; returns its outputs."""
        outputs = []

        def call_or_end(layer, *args, **kwargs):
            if layer is not last:
                return call(layer, *args, **kwargs)
            outputs.extend(args)
            return args[0]

        # The last layer shows which tensors are the outputs. The graph alone
        # is cloned, since cloning a compiled model would compile the clone.
        last = keras.layers.Identity()
        start, end = _ends(model)
        keras.models.clone_model(
            keras.Model(start, keras.tree.map_structure(last, end)),
            input_tensors=inputs,
            clone_function=lambda layer: layer,
            call_function=call_or_end,
        )
        return keras.tree.pack_sequence_as(end, outputs)

    if _ends(model) is None:
        raise ValueError(
            "`model` must be a built functional or Sequential model. "
            f"Received: {model!r}"
        )
    inputs = keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype),
        _ends(model)[0],
    )
    inline(model, inputs)
    if not found:
        raise ValueError(
            "`model` must have a `LIF` layer or an `RNN` of `LIFRNNCell`. "
            f"Received: {model.name!r}"
        )
    return inputs, found


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
