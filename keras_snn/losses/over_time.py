"""The time axis of a classifier's outputs, for losses and metrics."""

import keras
from keras import ops

__all__ = [
    "LossOverTime",
    "Timesteps",
    "count_spikes",
    "labels_of",
    "number_of",
    "per_sample_mean",
]

BASE = 256


class Timesteps(keras.layers.Layer):
    """Returns outputs with a time axis, and which of their timesteps count.

    This is a layer because Keras passes masks to layers only. A loss would have
    to read a private attribute.
    """

    def __init__(self, dtype):
        super().__init__(dtype=dtype)
        self.supports_masking = True

    def __call__(self, outputs):
        """Accepts lists of numbers, too."""
        if not ops.is_tensor(outputs):
            outputs = ops.convert_to_tensor(outputs)
        return super().__call__(outputs)

    def call(self, outputs, mask=None):
        """Returns `(batch, timesteps, classes)`, `(batch, timesteps)`."""
        if len(outputs.shape) == 2:
            outputs = ops.expand_dims(outputs, 1)
        if len(outputs.shape) != 3:
            raise ValueError(
                "`y_pred` must have shape (batch, timesteps, classes) or "
                f"(batch, classes). Received: shape={tuple(outputs.shape)}"
            )
        outputs = ops.cast(outputs, self.compute_dtype)
        counts = ops.ones_like(outputs[:, :, 0])
        if mask is not None:
            mask = ops.reshape(mask, ops.shape(counts))
            counts = ops.cast(mask, self.compute_dtype)
        return outputs, counts

    def compute_mask(self, outputs, mask):
        """Drops the mask."""
        del outputs, mask
        return [None, None]


class LossOverTime(keras.losses.Loss):
    """Base class: `per_sample` computes the loss of each sample.

    Compiled code cannot raise an error, so the loss of a label outside the
    classes is NaN, whatever its weight.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        if not keras.backend.is_float_dtype(self.dtype):
            raise ValueError(
                f"`dtype` must be a float type. Received: dtype={self.dtype!r}"
            )
        self._timesteps = Timesteps(dtype=self.dtype)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Returns the loss of a batch."""
        # Keras casts the labels to the loss's dtype. bfloat16 holds
        # integers up to 256, so the labels travel as two digits.
        labels = labels_of(y_true)
        y_true = ops.stack([labels // BASE, labels % BASE], axis=1)
        # Keras would apply a mask of the timesteps to the samples' losses.
        y_pred = self._timesteps(y_pred)
        given, samples = labels.shape[0], y_pred[0].shape[0]
        if None not in (given, samples) and given != samples:
            raise ValueError(
                "`y_true` must have one class per sample. Received: "
                f"{given} classes for {samples} samples"
            )
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        """Returns the loss of each sample, `(batch,)`."""
        outputs, counts = y_pred
        digits = ops.cast(y_true, "int32")
        labels = digits[:, 0] * BASE + digits[:, 1]
        known = (labels >= 0) & (labels < ops.shape(outputs)[-1])
        losses = self.per_sample(ops.where(known, labels, 0), outputs, counts)
        return ops.where(known, losses, float("nan"))


def labels_of(y_true):
    """Returns labels as integers `(batch,)`."""
    y_true = ops.convert_to_tensor(y_true)
    # With `class_weight`, TensorFlow does not know the rank of the labels.
    if getattr(y_true.shape, "rank", 0) is not None:
        shape = tuple(y_true.shape)
        if len(shape) != 1 and shape[1:] != (1,):
            raise ValueError(
                "`y_true` must be classes of shape (batch,) or (batch, 1). "
                f"Received: shape={shape}"
            )
    return ops.cast(ops.reshape(y_true, (-1,)), "int32")


def per_sample_mean(values, counts):
    """Averages `(batch, timesteps)` over the timesteps that count."""
    # A selection: NaN times 0 is NaN.
    values = ops.where(counts > 0, values, ops.zeros_like(values))
    return ops.sum(values, axis=1) / number_of(counts)


def number_of(counts):
    """Returns the number of timesteps that count, `(batch,)`, at least 1."""
    return ops.maximum(ops.sum(counts, axis=1), 1)


def count_spikes(spikes, counts):
    """Counts spikes over time: `(batch, classes)`."""
    counts = ops.expand_dims(counts, -1) > 0
    return ops.sum(ops.where(counts, spikes, ops.zeros_like(spikes)), axis=1)
