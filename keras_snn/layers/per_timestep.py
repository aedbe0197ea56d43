"""Time folded into the batch, for layers without a state.

Convolutions and dense layers treat every timestep alike, so one call on
`batch * timesteps` samples replaces `timesteps` calls.
"""

import keras
from keras import ops

from keras_snn.validation import check_count, check_time_axis

__all__ = ["FoldTime", "PerTimestep", "UnfoldTime"]


def _fold(inputs):
    batch, timesteps, *features = ops.shape(inputs)
    return ops.reshape(inputs, (batch * timesteps, *features))


def _unfold(inputs, timesteps):
    samples, *features = ops.shape(inputs)
    return ops.reshape(inputs, (samples // timesteps, timesteps, *features))


@keras.saving.register_keras_serializable(package="keras_snn")
class PerTimestep(keras.layers.Wrapper):
    """Applies a layer to every timestep at once.

    It computes the same as `keras.layers.TimeDistributed`, in a single call of
    the layer. For several layers in a row, use `FoldTime` and `UnfoldTime`.

    Args:
        layer: Any `keras.layers.Layer` that does not need the time axis.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: `(batch, timesteps, ...)`.

    Returns:
        `(batch, timesteps, ...)`, the layer's output for every timestep.

    Example:
    >>> tuple(PerTimestep(keras.layers.Dense(3))(ops.ones((2, 5, 4))).shape)
    (2, 5, 3)
    """

    def __init__(self, layer, **kwargs):
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        """Builds the layer for one timestep."""
        check_time_axis(self, input_shape)
        if not self.layer.built:
            self.layer.build((None, *input_shape[2:]))
        self.built = True

    def call(self, inputs):
        """Folds time into the batch, applies the layer, and unfolds time."""
        check_time_axis(self, inputs.shape)
        return _unfold(self.layer(_fold(inputs)), ops.shape(inputs)[1])

    def compute_output_shape(self, input_shape):
        """Returns `(batch, timesteps, ...)` with the layer's output shape."""
        check_time_axis(self, input_shape)
        output = self.layer.compute_output_shape((None, *input_shape[2:]))
        return (*input_shape[:2], *output[1:])


@keras.saving.register_keras_serializable(package="keras_snn")
class FoldTime(keras.layers.Layer):
    """Folds the time axis into the batch axis, without a copy.

    Call arguments:
        inputs: `(batch, timesteps, ...)`.

    Returns:
        `(batch * timesteps, ...)`.

    Example:
    >>> tuple(FoldTime()(ops.ones((2, 5, 4))).shape)
    (10, 4)
    """

    def call(self, inputs):
        """Reshapes the inputs."""
        check_time_axis(self, inputs.shape)
        return _fold(inputs)

    def compute_output_shape(self, input_shape):
        """Returns the shape without the time axis."""
        check_time_axis(self, input_shape)
        batch, timesteps, *features = input_shape
        known = None not in (batch, timesteps)
        return (batch * timesteps if known else None, *features)


@keras.saving.register_keras_serializable(package="keras_snn")
class UnfoldTime(keras.layers.Layer):
    """Reverses `FoldTime`: restores the time axis, without a copy.

    Args:
        timesteps: Length of the time axis, at least 1.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: `(batch * timesteps, ...)`.

    Returns:
        `(batch, timesteps, ...)`.

    Example:
    >>> tuple(UnfoldTime(5)(ops.ones((10, 4))).shape)
    (2, 5, 4)
    """

    def __init__(self, timesteps, **kwargs):
        super().__init__(**kwargs)
        self.timesteps = check_count("timesteps", timesteps)

    def call(self, inputs):
        """Reshapes the inputs."""
        samples = inputs.shape[0]
        if samples is not None and samples % self.timesteps:
            raise ValueError(
                "`inputs` must have a batch that `timesteps` divides. "
                f"Received: batch {samples}, timesteps={self.timesteps}"
            )
        return _unfold(inputs, self.timesteps)

    def compute_output_shape(self, input_shape):
        """Returns the shape with `timesteps` after the batch axis."""
        samples, *features = input_shape
        batch = samples and samples // self.timesteps
        return (batch, self.timesteps, *features)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"timesteps": self.timesteps}
