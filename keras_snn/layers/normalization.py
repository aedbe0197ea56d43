"""Batch normalization of sequences, between the synapses and the neurons.

For one set of statistics over batch, space and time no layer is needed here:
`keras.layers.BatchNormalization()` computes it, on `(batch, timesteps, ...)` as
on any other shape; with channels first it wants `axis=2`. Masks `(batch,
timesteps)` it takes (Keras 3.15) only for `(batch, timesteps, channels)` of two
channels or more; `TDBN(theta=1.0, epsilon=1e-3, momentum=0.99)` is the same
layer and takes them for any shape.

A mean is subtracted in any case: a bias of the layer before does nothing.
"""

import functools
import numbers

import keras
from keras import ops

from keras_snn.validation import (
    check_count,
    check_number,
    check_shape,
    check_time_axis,
)


class _BatchNormalization(keras.layers.Layer):
    """Base: statistics of the batch in training, moving ones in inference.

    A subclass says which axes keep statistics of their own.
    """

    def __init__(self, epsilon, momentum, axis, **kwargs):
        super().__init__(**kwargs)
        check_number("epsilon", epsilon)
        check_number("momentum", momentum, high=1.0, included="both")
        if isinstance(axis, bool) or not isinstance(axis, numbers.Integral):
            raise TypeError(
                f"`axis` must be an integer. Received: axis={axis!r}"
            )
        self.epsilon, self.momentum = epsilon, momentum
        self.axis = int(axis)
        self.supports_masking = True

    def _channel_axis(self, shape):
        """The axis of the channels, counted from the front."""
        check_time_axis(self, shape)
        axis = self.axis + len(shape) if self.axis < 0 else self.axis
        if not 2 <= axis < len(shape):
            raise ValueError(
                "`axis` must be that of the channels, behind batch and time. "
                f"Received: axis={self.axis}, shape={tuple(shape)}"
            )
        return axis

    def build(self, input_shape):
        """Makes the weights."""
        axis = self._channel_axis(input_shape)
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                f"`{type(self).__name__}` expects a fixed number of channels. "
                f"Received: axis={self.axis}, shape={tuple(input_shape)}"
            )
        # Half precision rounds neither the weights on their way into `call`
        # (as in Keras) nor the statistics where they are kept.
        make = functools.partial(
            self.add_weight,
            shape=self._statistics_shape(channels),
            autocast=False,
        )
        keep = functools.partial(
            make,
            dtype=keras.backend.result_type(self.variable_dtype, "float32"),
            trainable=False,
        )
        self.gamma = make(name="gamma", initializer="ones")
        if self._center:
            self.beta = make(name="beta", initializer="zeros")
        self.moving_mean = keep(name="moving_mean", initializer="zeros")
        self.moving_variance = keep(name="moving_variance", initializer="ones")
        self.input_spec = keras.layers.InputSpec(
            ndim=len(input_shape), axes={axis: channels}
        )

    def call(self, inputs, training=None, mask=None):
        """Normalizes, in float32 or better."""
        axis = self._channel_axis(inputs.shape)
        if self._per_timestep and inputs.shape[1] is None:
            inputs = self._check_when_run(inputs)
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        x = ops.cast(inputs, dtype)

        # Each place along these axes has statistics of its own, taken over
        # the others.
        axes = (1, axis) if self._per_timestep else (axis,)
        others = [i for i in range(len(x.shape)) if i not in axes]

        def spread(weight):
            return ops.expand_dims(ops.cast(weight, dtype), others)

        mean = spread(self.moving_mean)
        variance = spread(self.moving_variance)
        if training and self.trainable:
            mean, variance = _moments(x, others, mask, (mean, variance))
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance)
        scale = self._factor * spread(self.gamma)
        scale = scale * ops.rsqrt(variance + self.epsilon)
        if self._per_timestep:
            # In a step of its own, for the gradients to be summed as in
            # `_mean`.
            batch = ops.shape(x)[0]
            mean, scale = (
                ops.broadcast_to(each, (batch, *each.shape[1:]))
                for each in (mean, scale)
            )
        outputs = (x - mean) * scale
        if self._center:
            outputs = outputs + spread(self.beta)
        return ops.cast(outputs, self.compute_dtype)

    def _move(self, average, value):
        value = ops.cast(ops.reshape(value, average.shape), average.dtype)
        average.assign(self.momentum * average + (1 - self.momentum) * value)

    def compute_output_shape(self, input_shape):
        """That of the input."""
        self._channel_axis(input_shape)
        return tuple(input_shape)

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {
            "epsilon": self.epsilon,
            "momentum": self.momentum,
            "axis": self.axis,
        }


def _moments(x, axes, mask, otherwise):
    """Mean and variance over axes, kept as ones, of what the mask lets through.

    The mean of the centered squares on all backends: on PyTorch Keras takes
    the difference of two means, which vanishes beside a large mean. That the
    variance has no gradient in the mean is the algebra, not an approximation.
    """
    if mask is None:
        mean = _mean(x, axes)
        return mean, _mean(ops.square(x - ops.stop_gradient(mean)), axes)
    check_shape("mask", mask, x.shape[:2])
    mask = ops.cast(mask, "bool")
    mask = ops.expand_dims(mask, list(range(2, len(x.shape))))
    counted = _mean(ops.cast(mask, x.dtype), axes)
    some = counted > 0
    counted = ops.where(some, counted, 1)
    mean = _mean(ops.where(mask, x, 0), axes) / counted
    # Masked before it is squared: what is there may be NaN.
    centered = ops.where(mask, x - ops.stop_gradient(mean), 0)
    variance = _mean(ops.square(centered), axes) / counted
    # Where all is masked there is nothing to learn.
    return (
        ops.where(some, mean, otherwise[0]),
        ops.where(some, variance, otherwise[1]),
    )


def _mean(x, axes):
    # Space first: TensorFlow takes 15 times as long over axes on both sides of
    # one that it keeps.
    for some in ([i for i in axes if i > 1], [i for i in axes if i <= 1]):
        if some:
            x = ops.mean(x, some, keepdims=True)
    return x


@keras.saving.register_keras_serializable(package="keras_snn")
class BNTT(_BatchNormalization):
    """Batch normalization through time: one per timestep (Kim & Panda 2020).

    In training `gamma_t (x_t - mean(x_t)) / sqrt(var(x_t) + epsilon)` with mean
    and variance over batch and space of timestep `t` alone; in inference, and
    where `trainable` is off, with their moving averages. A scale per timestep
    and channel is learned, a shift is not. All timesteps at once.

    Args:
        timesteps: Length of the time axis, at least 1.
        epsilon: What is added to the variance, above 0.
        momentum: What a moving average keeps of itself per batch, in `[0, 1]`;
            0.9 is the paper's weight of 0.1 for the new value.
        axis: That of the channels, behind batch and time; 2 where they come
            first.
        **kwargs: Those of `keras.layers.Layer`.

    Call arguments:
        inputs: `(batch, timesteps, ..., channels)`.
        training: Whether to take the statistics of the batch, and to update
            the moving ones.
        mask: Booleans `(batch, timesteps)`. Statistics leave out what is
            masked; those of a timestep that is masked everywhere stay.

    Returns:
        Floats in the shape of `inputs`.

    Raises:
        ValueError: If there are not `timesteps` timesteps.

    Reference:
        Kim and Panda, "Revisiting batch normalization for training low-latency
        deep spiking neural networks from scratch", 2020. The moving variance
        is that of the batch, as in Keras; PyTorch's is larger by n / (n - 1).

    Example:
    >>> x = ops.reshape(ops.arange(8, dtype="float32"), (4, 2, 1))
    >>> y = BNTT(timesteps=2)(x, training=True)
    >>> [round(float(t), 3) for t in ops.convert_to_numpy(y).ravel()]
    [-1.342, -1.342, -0.447, -0.447, 0.447, 0.447, 1.342, 1.342]
    """

    _per_timestep, _center, _factor = True, False, 1.0

    def __init__(
        self, timesteps, epsilon=1e-4, momentum=0.9, axis=-1, **kwargs
    ):
        super().__init__(epsilon, momentum, axis, **kwargs)
        check_count("timesteps", timesteps)
        self.timesteps = int(timesteps)

    def _channel_axis(self, shape):
        axis = super()._channel_axis(shape)
        if shape[1] not in (None, self.timesteps):
            raise ValueError(
                f"`BNTT` was made for timesteps={self.timesteps}, with "
                f"statistics for each. Received: timesteps={shape[1]}, "
                f"shape={tuple(shape)}"
            )
        return axis

    def _check_when_run(self, inputs):
        # A graph of TensorFlow may know the length no sooner, even if the model
        # fixes it: Keras traces for any length once it has seen two. A single
        # timestep would be broadcast to all.
        import tensorflow as tf

        shape = inputs.shape.as_list()
        return tf.ensure_shape(inputs, [shape[0], self.timesteps, *shape[2:]])

    def _statistics_shape(self, channels):
        return self.timesteps, channels

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {"timesteps": self.timesteps}


@keras.saving.register_keras_serializable(package="keras_snn")
class TDBN(_BatchNormalization):
    """Threshold-dependent batch normalization (Zheng et al. 2021).

    `gamma alpha theta (x - mean(x)) / sqrt(var(x) + epsilon) + beta`, with mean
    and variance over batch, space and time together in training, and with
    their moving averages in inference and where `trainable` is off; so that
    currents arrive in the measure of the threshold. `gamma` and `beta` are
    learned, one per channel.

    Args:
        theta: Firing threshold of the neurons behind it, above 0.
        alpha: Factor beside it, above 0: 1, or `1 / sqrt(n)` where n branches
            are added up.
        epsilon: What is added to the variance, above 0.
        momentum: What a moving average keeps of itself per batch, in `[0, 1]`.
        axis: That of the channels, behind batch and time; 2 where they come
            first.
        **kwargs: Those of `keras.layers.Layer`.

    Call arguments:
        inputs: `(batch, timesteps, ..., channels)`.
        training: Whether to take the statistics of the batch, and to update
            the moving ones.
        mask: Booleans `(batch, timesteps)`. Statistics leave out what is
            masked.

    Returns:
        Floats in the shape of `inputs`.

    Reference:
        Zheng et al., "Going deeper with directly-trained larger spiking neural
        networks", 2021.

    Example:
    >>> x = ops.reshape(ops.arange(8, dtype="float32"), (4, 2, 1))
    >>> y = ops.convert_to_numpy(TDBN(theta=0.5)(x, training=True))
    >>> [round(float(t), 3) for t in (y.mean(), y.std())]
    [0.0, 0.5]
    """

    _per_timestep, _center = False, True
    _factor = property(lambda self: self.alpha * self.theta)

    def __init__(
        self,
        theta,
        alpha=1.0,
        epsilon=1e-5,
        momentum=0.9,
        axis=-1,
        **kwargs,
    ):
        super().__init__(epsilon, momentum, axis, **kwargs)
        check_number("theta", theta)
        check_number("alpha", alpha)
        self.theta, self.alpha = theta, alpha

    def _statistics_shape(self, channels):
        return (channels,)

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {
            "theta": self.theta,
            "alpha": self.alpha,
        }
