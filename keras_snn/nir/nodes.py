"""The layers of a node of NIR that has no state: weights, pooling, shapes."""

import keras
import numpy as np
from keras.layers import (
    AveragePooling2D,
    Conv1D,
    Conv2D,
    Permute,
    Rescaling,
    Reshape,
    ZeroPadding1D,
    ZeroPadding2D,
)

from keras_snn.layers import PerTimestep, SumPooling2D

__all__ = ["ADDERS", "channels_last", "rescale"]


def _refuse(name, node, what):
    return ValueError(f"{type(node).__name__} {name!r} {what}")


def _numbers(value, count):
    """Returns a parameter of a window, one integer per axis."""
    return [int(x) for x in np.broadcast_to(np.ravel(value), (count,))]


def _affine(name, node, x, offset):
    """Adds a dense layer."""
    weight = np.asarray(node.weight)
    if tuple(x.shape[2:]) != weight.shape[1:]:
        raise _refuse(
            name,
            node,
            f"must get a vector of its {weight.shape[-1]} inputs, and have "
            "weights of two axes. Received: inputs of shape "
            f"{tuple(x.shape[2:])}, weights of shape {weight.shape}",
        )
    bias = getattr(node, "bias", None)
    use_bias = bias is not None or offset is not None
    layer = keras.layers.Dense(len(weight), use_bias=use_bias, name=name)
    y = layer(x)
    _set(layer, weight.T, bias, offset)
    return y


def _convolution(name, node, x, offset):
    """Adds a convolution, and the padding before it."""
    weight = np.asarray(node.weight)
    filters, _, *size = weight.shape
    if len(x.shape) - 3 != len(size):
        raise _refuse(
            name,
            node,
            f"must get inputs with channels and {len(size)} axes of space. "
            f"Received: {len(x.shape) - 2} axes",
        )
    strides = _numbers(node.stride, len(size))
    dilation = _numbers(node.dilation, len(size))
    padding = node.padding
    if not isinstance(padding, str):
        before = _numbers(padding, len(size))
        spans = [d * (n - 1) for d, n in zip(dilation, size, strict=True)]
        # One pass over memory instead of two.
        same = [2 * p for p in before] == spans and set(strides) == {1}
        padding = "same" if same else "valid"
        if not same:
            x = _pad(name, x, before)
    elif padding == "same" and set(strides) != {1}:
        raise _refuse(
            name,
            node,
            "must have a stride of 1 if its padding is 'same'. "
            f"Received: stride={strides}",
        )
    layer = (Conv1D if len(size) == 1 else Conv2D)(
        filters,
        size,
        strides=strides,
        padding=padding,
        data_format="channels_last",
        dilation_rate=dilation,
        groups=int(node.groups),
        name=f"{name}_conv",
    )
    y = PerTimestep(layer, name=name)(x)
    # (out, in, ...) becomes (..., in, out).
    _set(layer, np.moveaxis(weight, (0, 1), (-1, -2)), node.bias, offset)
    return y


def _set(layer, kernel, bias, offset):
    """Sets the weights of a layer. `offset` is added to the bias."""
    if layer.use_bias:
        bias = np.zeros(kernel.shape[-1]) if bias is None else bias
        bias = np.asarray(bias) + (0.0 if offset is None else offset)
        layer.set_weights([kernel, bias])
    else:
        layer.set_weights([kernel])


def _pad(name, x, before):
    if not any(before):
        return x
    if len(before) == 1:
        layer = ZeroPadding1D(before[0], name=f"{name}_zeros")
    else:
        options = {"data_format": "channels_last", "name": f"{name}_zeros"}
        layer = ZeroPadding2D(tuple(before), **options)
    return PerTimestep(layer, name=f"{name}_padding")(x)


def _pool(name, node, x, offset):
    """Adds a pooling. As in PyTorch, the zeros of the padding count."""
    del offset
    size = tuple(_numbers(node.kernel_size, 2))
    strides = tuple(_numbers(node.stride, 2))
    x = _pad(name, x, _numbers(node.padding, 2))
    options = {"name": f"{name}_pool"}
    if type(node).__name__ == "SumPool2d":
        layer = SumPooling2D(size, strides, **options)
    else:
        options["data_format"] = "channels_last"
        layer = AveragePooling2D(size, strides, **options)
    return PerTimestep(layer, name=name)(x)


def _flatten(name, node, x, offset):
    """Adds a change of shape, in NIR's order of axes."""
    del offset
    *space, channels = x.shape[2:]
    shape = [channels, *space]
    rank = len(shape)
    first, last = int(node.start_dim) % rank, int(node.end_dim) % rank
    size = int(np.prod(shape[first : last + 1]))
    shape = [*shape[:first], size, *shape[last + 1 :]]
    if rank > 1:
        order = (rank, *range(1, rank))
        permute = Permute(order, name=f"{name}_channels_first")
        x = PerTimestep(permute, name=f"{name}_first")(x)
    x = PerTimestep(Reshape(shape, name=f"{name}_shape"), name=name)(x)
    if len(shape) > 1:
        order = (*range(2, len(shape) + 1), 1)
        permute = Permute(order, name=f"{name}_channels_last")
        x = PerTimestep(permute, name=f"{name}_last")(x)
    return x


def _scale(name, node, x, offset):
    """Adds a multiplication by constants."""
    del offset
    return rescale(name, x, channels_last(node.scale), 0.0)


def channels_last(value):
    """Returns an array with its first axis last."""
    value = np.asarray(value)
    return np.moveaxis(value, 0, -1) if value.ndim else value


def rescale(name, x, scale, offset):
    """Multiplies by constants, and adds constants.

    Args:
        name: Name of the layer.
        x: Tensor `(batch, timesteps, ...)`.
        scale: A number, or an array in the shape of the features.
        offset: The same.
    """
    features = tuple(x.shape[2:])
    for value in (scale, offset):
        if np.size(value) > 1 and np.shape(value) != features:
            raise ValueError(
                f"Node {name!r} must have one number per input. Received: "
                f"numbers of shape {np.shape(value)}, inputs of {features}"
            )
    layer = Rescaling(_plain(scale), _plain(offset), name=f"{name}_values")
    return PerTimestep(layer, name=name)(x)


def _plain(value):
    """Returns a number if all are equal, or nested lists."""
    value = np.asarray(value, "float64")
    if np.all(value == value.flat[0]):
        return float(value.flat[0])
    return value.tolist()


# Each maps `(name, node, x, offset)` to a tensor. `offset` is a vector to add
# to the bias, or `None`.
ADDERS = {
    "Affine": _affine,
    "AvgPool2d": _pool,
    "Conv1d": _convolution,
    "Conv2d": _convolution,
    "Flatten": _flatten,
    "Linear": _affine,
    "Scale": _scale,
    "SumPool2d": _pool,
}
