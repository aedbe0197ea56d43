"""Time folded into the batch."""

import keras
from keras import ops

from keras_snn.validation import check_time_axis

__all__ = ["PerTimestep"]


@keras.saving.register_keras_serializable(package="keras_snn")
class PerTimestep(keras.layers.Wrapper):
    """Applies a layer to every timestep at once: time folded into the batch.

    What `keras.layers.TimeDistributed` computes, in one call of the layer on
    `batch * timesteps` samples in place of one call per timestep.

    Args:
        layer: Any `keras.layers.Layer` without a time axis of its own.
        **kwargs: Those of `keras.layers.Layer`.

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
        """Folds time into the batch, applies the layer, unfolds."""
        check_time_axis(self, inputs.shape)
        batch, timesteps, *features = ops.shape(inputs)
        folded = ops.reshape(inputs, (batch * timesteps, *features))
        outputs = self.layer(folded)
        return ops.reshape(outputs, (batch, timesteps, *ops.shape(outputs)[1:]))

    def compute_output_shape(self, input_shape):
        """`(batch, timesteps)`, then what the layer makes of a timestep."""
        check_time_axis(self, input_shape)
        output = self.layer.compute_output_shape((None, *input_shape[2:]))
        return (*input_shape[:2], *output[1:])
