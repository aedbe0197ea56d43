"""Batch normalization of sequences, between synapses and neurons.

For statistics over batch, space and time together, use
`keras.layers.BatchNormalization()`. It accepts `(batch, timesteps, ...)` like
any other shape. With channels first, pass `axis=2`. In Keras 3.15 it supports
masks `(batch, timesteps)` only for inputs `(batch, timesteps, channels)`.
`TDBN(theta=1.0, epsilon=1e-3, momentum=0.99)` computes the same and supports
masks for every shape.

All of these layers subtract a mean, so a bias before them has no effect. They
also set the scale of the currents, whatever the weights. For a scale and a
shift that suit the neurons, see `keras_snn.initializers.for_normalization`.
"""

import functools
import numbers

import keras
from keras import ops

from keras_snn.layers.moments import moments
from keras_snn.precision import at_least_float32
from keras_snn.validation import (
    check_choice,
    check_count,
    check_number,
    check_shape,
    check_time_axis,
)

__all__ = ["BNTT", "TDBN"]


class _BatchNormalization(keras.layers.Layer):
    """Base class: batch statistics in training, moving averages in inference.

    A subclass sets `_per_timestep` (whether each timestep has its own
    statistics), `_center` (whether to learn a shift) and `_factor` (multiplies
    the output).
    """

    def __init__(
        self, epsilon, momentum, axis, synchronized, gamma_initializer, **kwargs
    ):
        super().__init__(**kwargs)
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.epsilon = check_number("epsilon", epsilon)
        self.momentum = check_number(
            "momentum", momentum, high=1.0, included="both"
        )
        if isinstance(axis, bool) or not isinstance(axis, numbers.Integral):
            raise TypeError(
                f"`axis` must be an integer. Received: axis={axis!r}"
            )
        self.axis = int(axis)
        self.synchronized = check_choice(
            "synchronized", synchronized, (False, True)
        )
        self.supports_masking = True

    def _channel_axis(self, shape):
        """Returns the axis of the channels, counted from the front."""
        check_time_axis(self, shape)
        axis = self.axis + len(shape) if self.axis < 0 else self.axis
        if not 2 <= axis < len(shape):
            raise ValueError(
                "`axis` must be a channel axis, after batch and time. "
                f"Received: axis={self.axis}, shape={tuple(shape)}"
            )
        return axis

    def build(self, input_shape):
        """Adds the weights."""
        axis = self._channel_axis(input_shape)
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                f"`{type(self).__name__}` expects a fixed number of channels. "
                f"Received: axis={self.axis}, shape={tuple(input_shape)}"
            )
        # As in Keras, a half-precision policy rounds neither the weights that
        # `call` reads nor the statistics.
        make = functools.partial(
            self.add_weight,
            shape=self._statistics_shape(channels),
            autocast=False,
        )
        keep = functools.partial(
            make,
            dtype=at_least_float32(self.variable_dtype),
            trainable=False,
            aggregation="mean",  # keeps TensorFlow's replicas equal
        )
        self.gamma = make(name="gamma", initializer=self.gamma_initializer)
        if self._center:
            self.beta = make(name="beta", initializer=self.beta_initializer)
        self.moving_mean = keep(name="moving_mean", initializer="zeros")
        self.moving_variance = keep(name="moving_variance", initializer="ones")
        self.input_spec = keras.layers.InputSpec(
            ndim=len(input_shape), axes={axis: channels}
        )

    def call(self, inputs, training=None, mask=None):
        """Normalizes, in float32 or wider."""
        axis = self._channel_axis(inputs.shape)
        if self._per_timestep and inputs.shape[1] is None:
            inputs = self._check_when_run(inputs)
        dtype = at_least_float32(self.compute_dtype)
        x = ops.cast(inputs, dtype)
        if mask is not None:
            check_shape("mask", mask, x.shape[:2])
            # Masked values may be NaN, and 0 times NaN is NaN in gradients.
            runs = ops.expand_dims(
                ops.cast(mask, "bool"), list(range(2, len(x.shape)))
            )
            x = ops.where(ops.logical_or(runs, ops.isfinite(x)), x, 0)

        # Statistics are taken over the other axes.
        axes = (1, axis) if self._per_timestep else (axis,)
        others = [i for i in range(len(x.shape)) if i not in axes]

        def spread(weight):
            return ops.expand_dims(ops.cast(weight, dtype), others)

        mean = spread(self.moving_mean)
        variance = spread(self.moving_variance)
        if training and self.trainable:
            *found, some = moments(x, others, mask, self.synchronized)
            mean = self._move(self.moving_mean, mean, found[0], some)
            variance = self._move(
                self.moving_variance, variance, found[1], some
            )
        scale = self._factor * spread(self.gamma)
        scale = scale * ops.rsqrt(variance + self.epsilon)
        if self._per_timestep:
            # Broadcasts the batch here, so that gradients are summed over space
            # first, as in `_reduce`.
            batch = ops.shape(x)[0]
            mean, scale = (
                ops.broadcast_to(each, (batch, *each.shape[1:]))
                for each in (mean, scale)
            )
        outputs = (x - mean) * scale
        if self._center:
            outputs = outputs + spread(self.beta)
        return ops.cast(outputs, self.compute_dtype)

    def _move(self, average, old, new, some):
        """Moves an average and returns the value to normalize with.

        Where there are no values (`some` is false), both stay the same.
        """
        moved = self.momentum * old + (1 - self.momentum) * new
        moved = ops.where(some, moved, old)
        average.assign(ops.reshape(moved, average.shape))
        return ops.where(some, new, old)

    def compute_output_shape(self, input_shape):
        """Returns the input shape."""
        self._channel_axis(input_shape)
        return tuple(input_shape)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "epsilon": self.epsilon,
            "momentum": self.momentum,
            "axis": self.axis,
            "synchronized": self.synchronized,
            "gamma_initializer": keras.initializers.serialize(
                self.gamma_initializer
            ),
        }


@keras.saving.register_keras_serializable(package="keras_snn")
class BNTT(_BatchNormalization):
    """Batch normalization through time: one per timestep (Kim & Panda 2020).

    Computes `gamma_t (x_t - mean(x_t)) / sqrt(var(x_t) + epsilon)`. In
    training, the mean and variance are taken over batch and space, separately
    for each timestep `t`. In inference, and if the layer is not `trainable`, it
    uses their moving averages. It learns a scale per timestep and channel, but
    no shift.

    Args:
        timesteps: Length of the time axis, at least 1.
        epsilon: Added to the variance, above 0.
        momentum: Fraction that a moving average keeps per batch, in `[0, 1]`.
            The paper gives the new value a weight of 0.1.
        axis: Channel axis, after batch and time. Use 2 for channels first.
        synchronized: Whether replicas of the model (TensorFlow's strategies,
            PyTorch's `DistributedDataParallel`) share their statistics. If
            `False`, each replica uses those of its part of the batch. On JAX
            with `keras.distribution`, statistics always cover the whole batch.
        gamma_initializer: Initializer of the scale, as in
            `keras.layers.BatchNormalization`.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: `(batch, timesteps, ..., channels)`.
        training: Whether to use the statistics of the batch and update the
            moving averages.
        mask: Booleans `(batch, timesteps)`. Statistics ignore masked timesteps.
            If a timestep is masked in all samples, its statistics stay the
            same.

    Returns:
        Floats in the shape of `inputs`.

    Raises:
        ValueError: If the inputs do not have `timesteps` timesteps.

    Reference:
        Kim and Panda, "Revisiting batch normalization for training low-latency
        deep spiking neural networks from scratch", 2020. The moving variance
        averages the variance of the batch, as in Keras. PyTorch's is larger by
        a factor of n / (n - 1).

    Example:
    >>> x = ops.reshape(ops.arange(8, dtype="float32"), (4, 2, 1))
    >>> y = BNTT(timesteps=2)(x, training=True)
    >>> [round(float(t), 3) for t in ops.convert_to_numpy(y).ravel()]
    [-1.342, -1.342, -0.447, -0.447, 0.447, 0.447, 1.342, 1.342]
    """

    needs_time_axis = True

    _per_timestep, _center, _factor = True, False, 1.0

    def __init__(
        self,
        timesteps,
        epsilon=1e-4,
        momentum=0.9,
        axis=-1,
        synchronized=False,
        gamma_initializer="ones",
        **kwargs,
    ):
        super().__init__(
            epsilon, momentum, axis, synchronized, gamma_initializer, **kwargs
        )
        self.timesteps = check_count("timesteps", timesteps)

    def _channel_axis(self, shape):
        axis = super()._channel_axis(shape)
        if shape[1] not in (None, self.timesteps):
            raise ValueError(
                f"`BNTT` was made for timesteps={self.timesteps}. "
                f"Received: timesteps={shape[1]}, "
                f"shape={tuple(shape)}"
            )
        return axis

    def _check_when_run(self, inputs):
        # A TensorFlow graph may not know the number of timesteps, even if the
        # model fixes it: Keras traces for any number once it has seen two.
        # Without the check, a single timestep would be broadcast to all.
        import tensorflow as tf

        shape = inputs.shape.as_list()
        return tf.ensure_shape(inputs, [shape[0], self.timesteps, *shape[2:]])

    def _statistics_shape(self, channels):
        return self.timesteps, channels

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"timesteps": self.timesteps}


@keras.saving.register_keras_serializable(package="keras_snn")
class TDBN(_BatchNormalization):
    """Threshold-dependent batch normalization (Zheng et al. 2021).

    Scales the currents to the threshold:

        gamma (alpha theta / lam) (x - mean(x)) / sqrt(var(x) + epsilon) + beta

    In training, the mean and variance are taken over batch, space and time
    together. In inference, and if the layer is not `trainable`, it uses their
    moving averages. It learns `gamma` and `beta`, one per channel.

    Args:
        theta: Firing threshold of the neurons that follow, above 0.
        alpha: A second factor, above 0. Use `1 / sqrt(n)` if the outputs of n
            branches are added.
        epsilon: Added to the variance, above 0.
        momentum: Fraction that a moving average keeps per batch, in `[0, 1]`.
        axis: Channel axis, after batch and time. Use 2 for channels first.
        synchronized: Whether replicas of the model (TensorFlow's strategies,
            PyTorch's `DistributedDataParallel`) share their statistics. If
            `False`, each replica uses those of its part of the batch. On JAX
            with `keras.distribution`, statistics always cover the whole batch.
        gamma_initializer: Initializer of the scale, as in
            `keras.layers.BatchNormalization`.
        beta_initializer: Initializer of the shift.
        lam: Gain of the neurons that follow, above 0. The authors' is 1.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: `(batch, timesteps, ..., channels)`.
        training: Whether to use the statistics of the batch and update the
            moving averages.
        mask: Booleans `(batch, timesteps)`. Statistics ignore masked timesteps.
            If all are masked, the statistics stay the same.

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

    needs_time_axis = True

    _per_timestep, _center = False, True
    _factor = property(lambda self: self.alpha * self.theta / self.lam)

    def __init__(
        self,
        theta,
        alpha=1.0,
        epsilon=1e-5,
        momentum=0.9,
        axis=-1,
        synchronized=False,
        gamma_initializer="ones",
        beta_initializer="zeros",
        lam=1.0,
        **kwargs,
    ):
        super().__init__(
            epsilon, momentum, axis, synchronized, gamma_initializer, **kwargs
        )
        self.beta_initializer = keras.initializers.get(beta_initializer)
        self.theta = check_number("theta", theta)
        self.alpha = check_number("alpha", alpha)
        self.lam = check_number("lam", lam)

    def _statistics_shape(self, channels):
        return (channels,)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "theta": self.theta,
            "alpha": self.alpha,
            "beta_initializer": keras.initializers.serialize(
                self.beta_initializer
            ),
            "lam": self.lam,
        }
