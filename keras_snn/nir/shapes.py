"""Layers without a node: they move axes, add, encode or do nothing."""

import keras
import numpy as np

from keras_snn import encoders, layers
from keras_snn.models.time_axis import CLOCKED, STATIONARY
from keras_snn.nir.recipes import channels_last
from keras_snn.nir.weights import refusal

__all__ = ["ENCODERS", "added", "encoded", "is_sum", "moved"]

IMAGE_ENCODERS = (*STATIONARY, *CLOCKED)
ENCODERS = (*IMAGE_ENCODERS, encoders.DeltaEncoder)
# Layers that do nothing, in inference or to one timestep.
NOTHING = (
    keras.layers.ActivityRegularization,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    layers.FoldTime,
    layers.UnfoldTime,
)


def is_sum(layer):
    """Returns whether a layer, or an operation of Keras, adds its inputs."""
    if isinstance(layer, keras.layers.Layer):
        return type(layer) is keras.layers.Add
    # The class is not public. Its name is that of `ops.add`.
    return type(layer).__name__ == "Add"


def added(layer, values):
    """Adds tensors: NIR adds all inputs of a node."""
    first, *others = values
    sources = [source for value in values for source in value.sources]
    alike = all(
        np.array_equal(x.where, first.where)
        and (x.shape, x.averaged) == (first.shape, first.averaged)
        for x in others
    )
    plain = others and not any(x.padding for x in values)
    if not (alike and plain and len(set(sources)) == len(sources)):
        raise refusal(
            layer, "it must add different tensors of the same shape and order"
        )
    return first.but(sources=tuple(sources))


def encoded(recipes, layer, value, lead):
    """Leaves out an encoder: the graph starts behind it."""
    if type(layer) not in ENCODERS:
        return None
    (name, *others), kinds = value.sources, recipes.nodes
    used = any(start == name for start, _ in recipes.edges)
    if others or used or kinds[name][0] != "Input":
        raise refusal(layer, "it must be the only layer behind an input")
    if type(layer) in IMAGE_ENCODERS:
        return value
    if len(lead) != 2 or not np.array_equal(
        value.where, channels_last(value.shape)
    ):
        raise refusal(layer, "its axes were moved")
    shape = (2 * value.shape[0], *value.shape[1:])
    kinds[name] = "Input", {"input_type": {"input": np.array(shape)}}
    return value.but(shape=shape, where=channels_last(shape))


def moved(recipes, layer, value, lead):
    """Moves axes. Returns `None` for other layers."""
    del recipes
    kind, where = type(layer), value.where
    if kind in NOTHING or (
        kind is keras.layers.Activation
        and layer.activation is keras.activations.linear
    ):
        return value
    if kind is keras.layers.GlobalAveragePooling1D:
        if len(lead) != 2 or layer.keepdims:
            raise refusal(layer, "it is not a mean over time")
        if layer.data_format != "channels_last" or where.ndim != 1:
            raise refusal(layer, "it is not a mean over time")
        return value.but(averaged=True)
    if _adds_time(layer, lead):
        return value
    if kind is keras.layers.Permute:
        if layer.dims[: len(lead) - 1] != (1,) * (len(lead) - 1):
            raise refusal(layer, "it moves the time axis")
        axes = [x - len(lead) for x in layer.dims[len(lead) - 1 :]]
        return value.but(where=where.transpose(axes))
    if kind not in (keras.layers.Flatten, keras.layers.Reshape):
        return None
    if len(lead) != 1:
        raise refusal(layer, "it reshapes the time axis")
    if kind is keras.layers.Reshape:
        return value.but(where=where.reshape(layer.target_shape))
    if layer.data_format == "channels_first" and where.ndim > 1:
        where = np.moveaxis(where, 0, -1)
    return value.but(where=where.reshape(-1))


def _adds_time(layer, lead):
    """Returns whether an operation makes the time axis of a still image."""
    # The classes are not public. Their names are those of `keras.ops`.
    name = type(layer).__name__
    if name == "ExpandDims":
        return len(lead) == 1 and layer.axis == 1
    return name == "Repeat" and layer.axis == 1 and lead[1:] == (1,)
