"""Images to spike trains, as Keras layers, inside the model.

Images are `uint8`, scaled by 1/255, or floats in [0, 1]; a time axis is put
behind the batch axis.
"""

import keras
from keras import ops

from keras_snn.validation import (
    check_choice,
    check_count,
    check_number,
    check_seed,
)


def as_intensity(images, name="images"):
    """Scales `uint8` images by 1/255 and checks that floats are in [0, 1].

    Args:
        images: Tensor or NumPy array of any shape, `uint8` or float.
        name: What the message calls them.

    Returns:
        Floats in [0, 1], of the same shape; `images` itself if float.

    Raises:
        TypeError: If the dtype is neither `uint8` nor a float.
        ValueError: If a value lies outside [0, 1]. Only values that are there
            to be looked at are checked: not inside a compiled function.
    """
    dtype = keras.backend.standardize_dtype(images.dtype)
    if dtype == "uint8":
        return ops.cast(images, keras.config.floatx()) / 255
    if "float" not in dtype:
        raise TypeError(
            f"`{name}` must be `uint8`, or floats in [0, 1]. "
            f"Received: dtype={dtype}"
        )
    if _is_concrete(images) and 0 not in images.shape:
        low, high = float(ops.min(images)), float(ops.max(images))
        # Put this way round, NaN fails as well.
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"`{name}` must be `uint8`, or floats in [0, 1]. "
                f"Received: floats in [{low:g}, {high:g}]"
            )
    return images


def _is_concrete(x):
    """Whether the values of `x` can be read now, outside any trace."""
    if keras.backend.is_keras_tensor(x):
        return False
    if not ops.is_tensor(x):
        return True  # NumPy
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.executing_eagerly()
    if backend == "jax":
        import jax

        return not isinstance(x, jax.core.Tracer)
    if backend == "torch":
        import torch

        return x.device.type != "meta" and not torch.compiler.is_compiling()
    return True


class _Encoder(keras.layers.Layer):
    """Base of the encoders: checked images in, `timesteps` of them out."""

    def __init__(self, timesteps, **kwargs):
        super().__init__(**kwargs)
        # Keras would round the images to the compute dtype on the way in.
        self.autocast = False
        check_count("timesteps", timesteps)
        self.timesteps = timesteps

    def call(self, inputs):
        """Encodes images."""
        intensity = as_intensity(inputs)
        encoded = self.encode(ops.expand_dims(intensity, 1))
        return ops.cast(encoded, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """The input shape with `timesteps` behind the batch axis."""
        return (input_shape[0], self.timesteps, *input_shape[1:])

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {"timesteps": self.timesteps}


@keras.saving.register_keras_serializable(package="keras_snn")
class ConstantEncoder(_Encoder):
    """Constant coding: the analog image at every timestep.

    Args:
        timesteps: Length of the time axis, at least 1.
        **kwargs: Those of `keras.layers.Layer`.

    Call arguments:
        inputs: Images `(batch, ...)`, `uint8` or floats in [0, 1].

    Returns:
        Floats in [0, 1], `(batch, timesteps, ...)`.

    Example:
    >>> tuple(ConstantEncoder(3)(ops.ones((2, 28, 28, 1))).shape)
    (2, 3, 28, 28, 1)
    """

    def encode(self, intensity):
        """Repeats along the time axis."""
        return ops.repeat(intensity, self.timesteps, axis=1)


@keras.saving.register_keras_serializable(package="keras_snn")
class PoissonEncoder(_Encoder):
    """Poisson coding: a spike with probability equal to the intensity.

    Independently at every timestep and pixel, in inference as in training.

    Args:
        timesteps: Length of the time axis, at least 1.
        seed: `None` or an integer.
        **kwargs: Those of `keras.layers.Layer`.

    Call arguments:
        inputs: Images `(batch, ...)`, `uint8` or floats in [0, 1].

    Returns:
        Spikes, 0 or 1, `(batch, timesteps, ...)`.

    Example:
    >>> tuple(PoissonEncoder(3)(ops.ones((2, 28, 28, 1))).shape)
    (2, 3, 28, 28, 1)
    """

    def __init__(self, timesteps, seed=None, **kwargs):
        super().__init__(timesteps, **kwargs)
        self.seed = seed = check_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def encode(self, intensity):
        """Compares with fresh uniform numbers in [0, 1)."""
        batch, _, *rest = ops.shape(intensity)
        # In float32 whatever the policy: bfloat16 knows too few probabilities.
        uniform = keras.random.uniform(
            (batch, self.timesteps, *rest),
            dtype="float32",
            seed=self.seed_generator,
        )
        return uniform < ops.cast(intensity, "float32")

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {"seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_snn")
class RetinaEncoder(_Encoder):
    """Retina-like coding: every pixel integrates its intensity and fires.

    Deterministic. At every timestep `gain * intensity` is added to the pixel's
    accumulator; where that reaches `threshold` (`>=`, unlike the neurons, which
    fire above theirs) the pixel fires and the accumulator is reset. A constant
    intensity makes this a closed form, computed for all timesteps at once: with
    `rate = gain * intensity / threshold`, at most 1, and timesteps counted from
    1, `reset="zero"` fires at every multiple of `ceil(1 / rate)`, and
    `reset="subtract"` has fired `floor(t * rate)` times after `t` timesteps.

    Rates count as equal to ones larger by 1e-6 of themselves, so that an
    accumulator that would reach the threshold exactly, as 5 times 51 / 255
    does, is not kept from it by the rounding of float32. Where `gain /
    threshold` is 1, bytes are so encoded as in exact arithmetic for up to 2000
    timesteps.

    Args:
        timesteps: Length of the time axis, at least 1.
        gain: What an intensity of 1 adds per timestep, above 0.
        threshold: What makes a pixel fire, above 0. Only `gain / threshold`
            matters; at 1, the default, white fires at every timestep.
        reset: `"zero"` clears the accumulator (the paper's): rates are 1, 1/2,
            1/3, and so on; `"subtract"` lowers it by `threshold`: every rate
            is exact.
        **kwargs: Those of `keras.layers.Layer`.

    Call arguments:
        inputs: Images `(batch, ...)`, `uint8` or floats in [0, 1].

    Returns:
        Spikes, 0 or 1, `(batch, timesteps, ...)`.

    Reference:
        Zhu et al., "A retina-inspired sampling method for visual texture
        reconstruction", 2019.

    Example:
    >>> for reset in ("zero", "subtract"):
    ...     spikes = RetinaEncoder(6, reset=reset)(ops.full((1, 1), 0.75))
    ...     print(ops.convert_to_numpy(spikes).ravel().tolist())
    [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    [0.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    """

    def __init__(
        self, timesteps, gain=1.0, threshold=1.0, reset="zero", **kwargs
    ):
        super().__init__(timesteps, **kwargs)
        check_number("gain", gain)
        check_number("threshold", threshold)
        check_choice("reset", reset, ("zero", "subtract"))
        self.gain, self.threshold, self.reset = gain, threshold, reset

    def encode(self, intensity):
        """The closed form, in float32 whatever the policy."""
        # What the threshold is reached with in exact arithmetic must reach it
        # here: a handful of roundings of 6e-8, and a margin.
        slope = self.gain / self.threshold * (1 + 1e-6)
        rate = ops.minimum(slope * ops.cast(intensity, "float32"), 1)
        # 1, 2, ... along the time axis.
        t = ops.arange(1, self.timesteps + 1, dtype="int32")
        t = ops.reshape(t, (1, -1) + (1,) * (len(intensity.shape) - 2))
        if self.reset == "zero":
            # A period of twice the timesteps stands for all that are too long.
            period = ops.ceil(1 / ops.maximum(rate, 0.5 / self.timesteps))
            return ops.equal(ops.mod(t, ops.cast(period, "int32")), 0)
        t = ops.cast(t, "float32")
        return ops.floor(t * rate) - ops.floor((t - 1) * rate)

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {
            "gain": self.gain,
            "threshold": self.threshold,
            "reset": self.reset,
        }
