"""The nodes of convolutions and pooling."""

import keras
import numpy as np

from keras_snn import layers
from keras_snn.nir.recipes import channels_last
from keras_snn.nir.weights import array, check_plain, refusal, weights

__all__ = ["convolution", "pool", "pool_all", "zeros"]


def _is_first(layer):
    # `SumPooling2D` has no data format.
    return getattr(layer, "data_format", None) == "channels_first"


def _space(layer, value):
    """Returns the sides of an image, padding included."""
    if not value.is_image(_is_first(layer)):
        raise refusal(layer, "its inputs are not images with NIR's axes")
    given = value.padding or (0,) * (len(value.shape) - 1)
    return [n + 2 * p for n, p in zip(value.shape[1:], given, strict=True)]


def _image(layer, value, name, shape):
    where = channels_last(shape)
    where = np.moveaxis(where, -1, 0) if _is_first(layer) else where
    return value.but(sources=(name,), shape=shape, where=where, padding=())


def _window(layer, value, size, strides, dilation):
    """Returns the zeros on each side, or `"same"`, and the new sides."""
    sides = _space(layer, value)
    given = value.padding or (0,) * len(sides)
    spans = [d * (n - 1) + 1 for d, n in zip(dilation, size, strict=True)]
    padding = getattr(layer, "padding", "valid")
    if padding == "same":
        new = [-(-n // s) for n, s in zip(sides, strides, strict=True)]
        rows = zip(new, strides, spans, sides, strict=True)
        total = [max((m - 1) * s + d - n, 0) for m, s, d, n in rows]
        if any(n % 2 for n in total):
            if set(strides) != {1} or any(given):
                raise refusal(layer, "it pads the two sides differently")
            return "same", new
        pairs = zip(given, total, strict=True)
        return tuple(p + n // 2 for p, n in pairs), new
    if padding != "valid":
        raise refusal(layer, f"its padding is {padding!r}")
    rows = zip(sides, spans, strides, strict=True)
    return given, [(n - span) // s + 1 for n, span, s in rows]


def convolution(recipes, layer, value, lead):
    """Writes a `Conv1d` or `Conv2d`."""
    del lead
    check_plain(layer)
    kernel, groups = array(layer.kernel), getattr(layer, "groups", 1)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        # (height, width, channels, multiplier): groups of one channel.
        groups = value.shape[0]
        kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
    size = kernel.shape[:-2]
    if len(set(size)) > 1:
        raise refusal(
            layer, "the package `nir` infers wrong shapes unless it is square"
        )
    strides, dilation = tuple(layer.strides), tuple(layer.dilation_rate)
    padding, new = _window(layer, value, size, strides, dilation)
    window = {
        "input_shape": value.shape[1:],
        "stride": strides,
        "padding": padding,
        "dilation": dilation,
    }
    if len(size) == 1:
        pairs = window.items()
        window = {k: x if isinstance(x, str) else x[0] for k, x in pairs}
    # (..., in, out) becomes (out, in, ...).
    weight = _ungrouped(np.moveaxis(kernel, (-1, -2), (0, 1)), groups)
    bias = array(layer.bias) if layer.use_bias else np.zeros(len(weight))
    name = recipes.add(
        *(layer.name, f"Conv{len(size)}d", value.sources),
        groups=1,
        **weights(weight, bias),
        **window,
    )
    return _image(layer, value, name, (len(weight), *new))


def _ungrouped(weight, groups):
    """Returns the weights between all channels, 0 between groups.

    Several simulators do not read groups, nor does the package `nir` infer
    their shapes.
    """
    filters, inputs, *size = weight.shape
    whole = np.zeros((filters, groups * inputs, *size))
    per_group = filters // groups
    for n in range(groups):
        rows = slice(n * per_group, (n + 1) * per_group)
        whole[rows, n * inputs : (n + 1) * inputs] = weight[rows]
    return whole


def pool(recipes, layer, value, lead):
    """Writes an `AvgPool2d` or a `SumPool2d`."""
    del lead
    adds = isinstance(layer, layers.SumPooling2D)
    size, strides = tuple(layer.pool_size), tuple(layer.strides)
    padding, new = _window(layer, value, size, strides, (1, 1))
    if padding != (value.padding or (0, 0)):
        raise refusal(layer, "its last squares are cut off")
    window = {"kernel_size": size, "stride": strides, "padding": padding}
    name = recipes.add(
        *(layer.name, "SumPool2d" if adds else "AvgPool2d", value.sources),
        **{key: np.array(x) for key, x in window.items()},
    )
    return _image(layer, value, name, (value.shape[0], *new))


def pool_all(recipes, layer, value, lead):
    """Writes an `AvgPool2d` of the whole image."""
    del lead
    size = np.array(_space(layer, value))
    name = recipes.add(
        *(layer.name, "AvgPool2d", value.sources),
        kernel_size=size,
        stride=size,
        padding=np.array(value.padding or (0, 0)),
    )
    pooled = _image(layer, value, name, (value.shape[0], 1, 1))
    if layer.keepdims:
        return pooled
    return pooled.but(where=np.arange(value.shape[0]))


def zeros(recipes, layer, value, lead):
    """Leaves padding with zeros to the next window."""
    del recipes, lead
    sides = [np.unique(x) for x in np.atleast_2d(layer.padding)]
    _space(layer, value)
    if any(len(x) > 1 for x in sides):
        raise refusal(layer, "it pads the two sides differently")
    given = value.padding or (0,) * len(sides)
    both = zip(given, (int(x[0]) for x in sides), strict=True)
    return value.but(padding=tuple(map(sum, both)))
