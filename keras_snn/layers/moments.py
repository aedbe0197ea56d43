"""Mean and variance over some axes, with masks and replicas."""

import math

import keras
from keras import ops

from keras_snn.replicas import sum_over_replicas

__all__ = ["moments"]


def moments(x, axes, mask, synchronized):
    """Returns mean and variance over the unmasked values, with axes kept.

    The variance is the mean of centered squares. Keras on PyTorch uses the
    difference of two means, which loses all digits if the mean is large. The
    gradient of the variance with respect to the mean is exactly zero.

    Returns:
        Mean, variance, and whether there are any values. Where there are none,
        mean and variance have no meaning.
    """
    if mask is not None:
        mask = ops.cast(mask, "bool")
        mask = ops.expand_dims(mask, list(range(2, len(x.shape))))

    def average(values):
        return _average(values, axes, mask, synchronized)

    # Masked values may be NaN.
    x = x if mask is None else ops.where(mask, x, 0)
    mean, some = average(x)
    centered = x - ops.stop_gradient(mean)
    centered = centered if mask is None else ops.where(mask, centered, 0)
    variance, _ = average(ops.square(centered))
    return mean, variance, some


def _average(values, axes, mask, synchronized):
    """Returns the average over `axes`, and whether there are any values.

    The values must be 0 where `mask` is false.
    """
    size = _size(values, axes)
    if mask is None and not synchronized:
        return _reduce(_mean, values, axes), size > 0
    if mask is None:
        count = ops.cast(size, values.dtype)
    else:
        count = _reduce(ops.sum, ops.cast(mask, values.dtype), axes)
        space = _size(values, [axis for axis in axes if axis > 1])
        count = count * ops.cast(space, values.dtype)
    total = _reduce(ops.sum, values, axes)
    if synchronized:
        # Replicas may have different numbers of values, so their means do not
        # count alike.
        total, count = sum_over_replicas(total, count)
    return total / ops.maximum(count, 1), count > 0


def _reduce(operation, x, axes):
    # Reduces space first. TensorFlow takes 15 times as long if it reduces axes
    # on both sides of an axis that stays.
    for some in ([i for i in axes if i > 1], [i for i in axes if i <= 1]):
        if some:
            x = operation(x, some, keepdims=True)
    return x


def _mean(x, axes, keepdims):
    if keras.backend.standardize_dtype(x.dtype) != "float64":
        return ops.mean(x, axes, keepdims=keepdims)
    # On PyTorch, `ops.mean` computes in float32.
    count = ops.cast(_size(x, axes), x.dtype)
    return ops.sum(x, axes, keepdims=keepdims) / count


def _size(x, axes):
    return math.prod(ops.shape(x)[axis] for axis in axes)
