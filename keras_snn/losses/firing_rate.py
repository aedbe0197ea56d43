"""A regularizer of firing rates."""

import keras
from keras import ops

from keras_snn.precision import at_least_float32
from keras_snn.validation import check_number, check_time_axis

__all__ = ["FiringRateRegularizer"]


@keras.saving.register_keras_serializable(package="keras_snn")
class FiringRateRegularizer(keras.regularizers.Regularizer):
    """Penalizes neurons that fire too rarely or too often.

    The firing rate of a neuron is its mean number of spikes per timestep, over
    the batch and over time. The penalty is

        factor * mean(max(lower - rate, 0, rate - upper)^2)

    The mean is over neurons. Pass the regularizer to a layer of neurons:
    `LIF(activity_regularizer=FiringRateRegularizer(0.01, 0.3))`. With
    `return_state=True`, Keras would apply it to the potential as well.

    Keras divides the value of an activity regularizer by the batch size. So
    this one multiplies by it, and the loss does not depend on the batch size.

    Keras does not pass masks to regularizers, so masked timesteps count, too.
    There, neurons repeat their last output.

    Args:
        lower: Lowest rate without a penalty, in [0, 1].
        upper: Highest rate without a penalty, in [lower, 1].
        factor: Weight of the penalty, at least 0.

    Call arguments:
        spikes: `(batch, timesteps, ...)`.

    Returns:
        The penalty times the batch size.

    Example:
    >>> regularizer = FiringRateRegularizer(0.0, 0.5)
    >>> float(regularizer(ops.ones((1, 4, 3))))  # rate 1: 0.5^2
    0.25
    """

    def __init__(self, lower, upper, factor=1.0):
        self.lower = check_number("lower", lower, high=1.0, included="both")
        self.upper = check_number(
            "upper", upper, low=self.lower, high=1.0, included="both"
        )
        self.factor = check_number("factor", factor, included="low")

    def __call__(self, spikes):
        """Returns the penalty times the batch size."""
        check_time_axis(self, spikes.shape)
        spikes = ops.cast(spikes, at_least_float32(spikes.dtype))
        batch, timesteps, *_ = ops.shape(spikes)
        batch = ops.cast(batch, spikes.dtype)
        number = batch * ops.cast(timesteps, spikes.dtype)
        # A replica gets no samples if a batch is smaller than their number.
        rate = ops.sum(spikes, axis=(0, 1)) / ops.maximum(number, 1)
        outside = ops.relu(self.lower - rate) + ops.relu(rate - self.upper)
        return batch * self.factor * ops.mean(ops.square(outside))

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            "lower": self.lower,
            "upper": self.upper,
            "factor": self.factor,
        }
