"""The encoder of time series."""

import keras
from keras import ops

from keras_snn.validation import check_number, check_shape, check_time_axis

__all__ = ["DeltaEncoder"]


@keras.saving.register_keras_serializable(package="keras_snn")
class DeltaEncoder(keras.layers.Layer):
    """Delta coding: spikes tell that a value has risen or fallen.

    Every feature has a level. It starts at the feature's first value. At every
    timestep, the value `x` is compared with it (send-on-delta):

    - if `x - level >= threshold`, the feature sends an up spike and the level
      rises by `threshold`,
    - if `x - level <= -threshold`, it sends a down spike and the level falls by
      `threshold`.

    A series that changes by at most `threshold` per timestep stays within
    `threshold` of its level. After a larger change, the level catches up over
    several timesteps.

    This differs from a comparison with the previous timestep (`spikegen.delta`
    in snnTorch), which misses slow drifts.

    Args:
        threshold: Change that a spike stands for, above 0, in the unit of the
            series.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: Series `(batch, timesteps, ..., features)`. They are compared in
            float32 under every policy.
        mask: Booleans `(batch, timesteps)`. A masked timestep sends no spike
            and keeps the level. The mask goes on to the next layer.

    Returns:
        Spikes, 0 or 1, `(batch, timesteps, ..., 2 * features)`: the up spikes
        of all features, then their down spikes. NaN gives NaN at that timestep,
        or at every timestep if it is the first value.

    Reference:
        Miskowicz, "Send-on-delta concept: an event-based data reporting
        strategy", 2006.

    Example:
    >>> series = ops.reshape(ops.convert_to_tensor([5.0, 6.0, 8.0, 8.0, 7.0,
    ...                                             6.0]), (1, 6, 1))
    >>> up, down = ops.convert_to_numpy(DeltaEncoder(1.0)(series))[0].T.tolist()
    >>> print(up, down)
    [0.0, 1.0, 1.0, 1.0, 0.0, 0.0] [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    """

    needs_time_axis = True

    def __init__(self, threshold, **kwargs):
        super().__init__(**kwargs)
        self.threshold = check_number("threshold", threshold)
        self.supports_masking = True
        # Half precision would round the series on the way in.
        self.autocast = False

    def call(self, inputs, mask=None):
        """Encodes the series."""
        check_time_axis(self, inputs.shape)
        series = ops.cast(inputs, "float32")
        counts = _counts(series, mask)
        # Counted in thresholds, so that the level is a whole number.
        distance = (series - _first(series, counts)) / self.threshold
        wrong = ops.logical_and(ops.isnan(distance), counts)
        # A comparison with NaN is false, so it changes no level.
        change = _changes(ops.where(counts, distance, float("nan")))
        spikes = ops.concatenate([change > 0, change < 0], axis=-1)
        spikes = ops.cast(spikes, self.compute_dtype)
        wrong = ops.concatenate([wrong, wrong], axis=-1)
        return ops.where(wrong, float("nan"), spikes)

    def compute_output_shape(self, input_shape):
        """Returns the input shape with twice as many features."""
        check_time_axis(self, input_shape)
        *rest, features = input_shape
        return (*rest, None if features is None else 2 * features)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"threshold": self.threshold}


def _counts(series, mask):
    """Returns where the series counts, `(batch, timesteps, 1, ...)`."""
    shape = ops.shape(series)
    if mask is None:
        mask = ops.ones(shape[:2], "bool")
    check_shape("mask", mask, series.shape[:2])
    mask = ops.reshape(mask, (*shape[:2], *[1] * (len(shape) - 2)))
    return ops.cast(mask, "bool")


def _first(series, counts):
    """Returns the first value that counts, `(batch, 1, ...)`."""
    index = ops.argmax(ops.cast(counts, "int32"), axis=1, keepdims=True)
    index = ops.broadcast_to(index, ops.shape(series[:, :1]))
    return ops.take_along_axis(series, index, axis=1)


def _changes(distance):
    """Returns 1, 0 or -1 at every timestep: the steps of the level."""

    def step(level, now):
        up = ops.cast(now - level >= 1, "float32")
        down = ops.cast(now - level <= -1, "float32")
        return level + (up - down), up - down

    distance = ops.moveaxis(distance, 1, 0)
    _, changes = ops.scan(step, ops.zeros_like(distance[0]), distance)
    return ops.moveaxis(changes, 0, 1)
