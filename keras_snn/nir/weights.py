"""The nodes of dense layers, and of what can be part of weights."""

import keras
import numpy as np

from keras_snn import layers

__all__ = [
    "array",
    "check_plain",
    "dense",
    "flat",
    "flattened",
    "normalization",
    "refusal",
    "rescaling",
    "weights",
]


def refusal(layer, why):
    """Returns the error for a layer that has no counterpart in NIR."""
    return ValueError(
        f"NIR cannot express the layer {layer.name!r} of type "
        f"{type(layer).__name__}: {why}."
    )


def array(x):
    """Returns a tensor as an array of float64."""
    return keras.ops.convert_to_numpy(x).astype("float64")


def weights(kernel, bias):
    """Returns the parameters of weights, in float32."""
    return {"weight": kernel.astype("float32"), "bias": bias.astype("float32")}


def check_plain(layer):
    """Refuses what NIR's weights do not have."""
    if layer.activation is not keras.activations.linear:
        raise refusal(layer, "it has an activation")
    if getattr(layer, "quantization_mode", None) is not None:
        raise refusal(layer, "it is quantized")


def dense(recipes, layer, value, lead):
    """Writes an `Affine`, behind a `Flatten` if it weighs an image."""
    del lead
    check_plain(layer)
    value = flat(recipes, layer, value)
    kernel = array(layer.kernel).T
    weight = np.empty_like(kernel)
    weight[:, value.where] = kernel
    size = len(weight)
    bias = array(layer.bias) if layer.use_bias else np.zeros(size)
    name = recipes.add(
        layer.name, "Affine", value.sources, **weights(weight, bias)
    )
    return value.but(sources=(name,), shape=(size,), where=np.arange(size))


def flat(recipes, layer, value):
    """Returns a vector of the elements of a value, in the node's order."""
    if value.where.ndim != 1:
        raise refusal(layer, "its inputs are not vectors")
    return flattened(recipes, layer.name, value)


def flattened(recipes, name, value):
    """Adds a `Flatten` unless the node before gives a vector."""
    if len(value.shape) == 1:
        return value
    name = recipes.add(
        *(f"{name}_flatten", "Flatten", value.sources),
        input_type={"input": np.array(value.shape)},
        start_dim=0,
        end_dim=-1,
    )
    return value.but(sources=(name,), shape=value.where.shape)


def normalization(recipes, layer, value, lead):
    """Makes normalization with moving averages part of the weights before."""
    axis = layer.axis % (value.where.ndim + len(lead)) - len(lead)
    scale = 1 / np.sqrt(array(layer.moving_variance) + layer.epsilon)
    if isinstance(layer, layers.TDBN):
        scale *= layer.alpha * layer.theta / layer.lam
    if layer.gamma is not None:
        scale *= array(layer.gamma)
    offset = -array(layer.moving_mean) * scale
    if layer.beta is not None:
        offset += array(layer.beta)
    return _channelwise(recipes, layer, value, axis, scale, offset)


def rescaling(recipes, layer, value, lead):
    """Writes a `Scale`, or weights if something is added."""
    del lead
    shape = value.where.shape
    scale, offset = (
        np.broadcast_to(np.asarray(x, "float64"), shape)
        for x in (layer.scale, layer.offset)
    )
    if not np.any(offset):
        ordered = value.in_order(scale)
        name = recipes.add(layer.name, "Scale", value.sources, scale=ordered)
        return value.but(sources=(name,))
    channels = [x[(0,) * (len(shape) - 1)] for x in (scale, offset)]
    if not (np.all(scale == channels[0]) and np.all(offset == channels[1])):
        raise refusal(layer, "it adds a different number to each pixel")
    return _channelwise(recipes, layer, value, len(shape) - 1, *channels)


def _channelwise(recipes, layer, value, axis, scale, offset):
    """Scales channels and adds to them, in the weights before if it can."""
    image = value.where.ndim > 1
    if image and not (
        axis in (0, value.where.ndim - 1) and value.is_image(axis == 0)
    ):
        raise refusal(layer, "its axis is not the channel axis")
    if not image:
        value = flat(recipes, layer, value)
        scale, offset = map(value.in_order, (scale, offset))
    source, *others = value.sources
    kind, parameters = recipes.nodes[source]
    if kind in ("Affine", "Conv1d", "Conv2d") and not others:
        # A new node, because others may need the old one. Nodes that none
        # needs are left out.
        weight, bias = parameters["weight"], parameters["bias"]
        column = scale.reshape(-1, *[1] * (weight.ndim - 1))
        folded = weights(weight * column, bias * scale + offset)
        name = recipes.add(
            *(f"{source}_{layer.name}", kind, recipes.before(source)),
            **parameters | folded,
        )
    elif not image:
        name = recipes.add(
            *(layer.name, "Affine", value.sources),
            **weights(np.diag(scale), offset),
        )
    else:
        name = _one_by_one(recipes, layer, value, scale, offset)
    return value.but(sources=(name,))


def _one_by_one(recipes, layer, value, scale, offset):
    """Writes a convolution of one pixel that does not mix channels."""
    space = value.shape[1:]
    ones, zeros = (1,) * len(space), (0,) * len(space)
    weight = np.diag(scale).reshape(len(scale), -1, *ones)
    if len(space) == 1:
        space, ones, zeros = space[0], 1, 0
    return recipes.add(
        *(layer.name, f"Conv{weight.ndim - 2}d", value.sources),
        input_shape=space,
        stride=ones,
        padding=zeros,
        dilation=ones,
        groups=1,
        **weights(weight, offset),
    )
