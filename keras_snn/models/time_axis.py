"""What layers do with the time axis, and a graph run layer by layer."""

import numbers

import keras
import numpy as np
from keras import tree

from keras_snn import encoders, layers
from keras_snn.layers.walk import walk

__all__ = [
    "CLOCKED",
    "PER_TIMESTEP",
    "STATIONARY",
    "check_has_graph",
    "has_graph",
    "is_direct",
    "is_elementwise",
    "is_symbolic",
    "makes_masks",
    "needs_time",
    "operations",
    "recomputed",
    "repeats",
    "replay",
    "takes_images",
    "treats_alike",
]

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
    keras.layers.Subtract,
)
# Keras's operations behind `x + y` and the like, by name, because their classes
# are not public.
ELEMENTWISE = ("Add", "Maximum", "Minimum", "Multiply", "Subtract")
# Layers that run another one on every timestep.
PER_TIMESTEP = (keras.layers.TimeDistributed, layers.PerTimestep)
# Encoders that do the same at every timestep.
STATIONARY = (encoders.ConstantEncoder, encoders.PoissonEncoder)
# Encoders of images whose spikes depend on the time.
CLOCKED = (encoders.RetinaEncoder, encoders.LatencyEncoder)


def takes_images(model):
    """Returns whether an encoder, or a repetition, makes the time axis."""
    return any(
        isinstance(x, (*STATIONARY, *CLOCKED))
        or repeats(x)
        or (has_graph(x) and takes_images(x))
        for x in map(recomputed, operations(model))
    )


def operations(model):
    """Returns layers, and operations between them."""
    return getattr(model, "operations", model.layers)


def repeats(operation):
    """Returns whether an operation repeats a still image over time."""
    # The class is not public. Its name and attribute are those of `ops.repeat`.
    return type(operation).__name__ == "Repeat" and operation.axis == 1


class _End(keras.layers.Layer):
    """Marks the end of a graph: its inputs are the outputs of the model."""

    def call(self, inputs):
        return inputs


class _Ended(Exception):
    """Raised at the end of a graph, with the outputs."""


def replay(model, inputs, call):
    """Runs the graph of a model with a function in place of its layers.

    Unlike in a clone, the outputs may have any shape and number of axes.

    Args:
        model: A model of which `has_graph` is true.
        inputs: List of symbolic tensors for its inputs.
        call: Function of a layer and its arguments. Returns symbolic tensors.

    Returns:
        List of the tensors that stand for the outputs of the model.
    """

    def call_until_end(layer, *args, **kwargs):
        if isinstance(layer, _End):
            raise _Ended(tree.flatten(args))
        return call(layer, *args, **kwargs)

    # A list, because the inputs of `model` may be a dictionary.
    ended = keras.Model(list(model.inputs), _End()(list(model.outputs)))
    try:
        keras.models.clone_model(
            ended,
            input_tensors=inputs,
            clone_function=lambda layer: layer,
            call_function=call_until_end,
        )
    except _Ended as end:
        return end.args[0]


def check_has_graph(model):
    """Raises an error unless `has_graph` is true of a model."""
    if not has_graph(model):
        raise ValueError(
            "`model` must be a functional model or a built `Sequential`. "
            f"Received: {model!r}"
        )


def has_graph(layer):
    """Returns whether a layer is a functional or a built `Sequential` model."""
    if isinstance(layer, keras.Sequential):
        return layer.built
    return isinstance(layer, keras.Model) and hasattr(layer, "operations")


def recomputed(layer):
    """Returns what a `Recompute` recomputes, or the layer itself."""
    while isinstance(layer, layers.Recompute):
        layer = layer.layer
    return layer


def is_symbolic(x):
    """Returns whether something is a tensor of the graph."""
    return isinstance(x, keras.KerasTensor)


def needs_time(layer):
    """Returns whether a layer, or one inside it, only works over time."""
    if not isinstance(layer, keras.layers.Layer):
        return False
    return any(getattr(x, "needs_time_axis", False) for x in walk(layer))


def _same_rank(tensors):
    """Returns whether all tensors have the same rank.

    Otherwise broadcasting aligns other axes once the time axis is gone.
    """
    tensors = [x for x in tree.flatten(tensors) if is_symbolic(x)]
    return len({len(x.shape) for x in tensors}) == 1


def is_elementwise(operation, args):
    """Returns whether an operation adds or multiplies tensors and numbers."""
    return (
        type(operation).__name__ in ELEMENTWISE
        and not isinstance(operation, keras.layers.Layer)
        and all(is_symbolic(x) or isinstance(x, numbers.Number) for x in args)
        and _same_rank(args)
    )


def is_direct(layer, inputs):
    """Returns whether a layer does the same with and without a time axis."""
    if type(layer) is keras.layers.Rescaling:
        # Arrays might differ between timesteps.
        return np.ndim(layer.scale) == np.ndim(layer.offset) == 0
    # A subclass may do anything.
    return type(layer) in DIRECT and _same_rank(inputs)


def treats_alike(layer, inputs):
    """Returns whether a layer treats all timesteps alike.

    Args:
        layer: The layer.
        inputs: Its inputs, without the time axis.
    """
    if type(layer) not in ALIKE or not _same_rank(inputs):
        return False
    if isinstance(layer, keras.layers.Activation):
        # A function of the user may do anything.
        return layer.activation in vars(keras.activations).values()
    rank = 1 + len(tree.flatten(inputs)[0].shape)
    return getattr(layer, "axis", -1) not in (1, 1 - rank)


def makes_masks(layer):
    """Returns whether a layer masks timesteps."""
    masks = getattr(layer, "mask_zero", False)  # of `Embedding`
    return masks or isinstance(layer, keras.layers.Masking)
