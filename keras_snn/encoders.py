"""Keras layers that turn images into spike trains, inside the model.

Images are bytes (whole numbers in [0, 255], of any dtype) or intensities
(floats in [0, 1]). Encoders insert a time axis after the batch axis.
"""

import keras
from keras import ops

from keras_snn.replicas import ReplicaSeedGenerator
from keras_snn.validation import (
    check_choice,
    check_count,
    check_number,
    check_seed,
)

__all__ = [
    "ConstantEncoder",
    "PoissonEncoder",
    "RetinaEncoder",
    "as_intensity",
]


def as_intensity(images):
    """Scales images to intensities in [0, 1].

    `uint8` images are divided by 255. Keras models cast their inputs, so bytes
    often arrive as floats. For other dtypes, the values of the whole batch
    decide: if none exceeds 1, they are intensities; if they are whole numbers
    up to 255, they are bytes and are divided by 255.

    Args:
        images: Tensor or NumPy array of any shape.

    Returns:
        Floats in [0, 1], in the shape of `images`. A compiled function cannot
        raise an error. There, images that are neither bytes nor intensities
        give NaN everywhere, so the loss becomes NaN, too.

    Raises:
        ValueError: If the images are neither bytes nor intensities.
    """
    dtype = keras.backend.standardize_dtype(images.dtype)
    is_uint8 = dtype == "uint8"
    if "float" not in dtype:
        dtype = keras.config.floatx()
    if keras.config.backend() == "jax":
        import jax

        # JAX has float64 only if it is switched on, and warns otherwise.
        dtype = str(jax.dtypes.canonicalize_dtype(dtype))
    images = ops.cast(images, dtype)
    if is_uint8:
        return images / 255
    # Both comparisons are false for NaN.
    intensities = ops.all((images >= 0) & (images <= 1))
    whole = ops.equal(images, ops.floor(images))
    bytes_ = ops.all((images >= 0) & (images <= 255) & whole)
    if _is_concrete(images) and not (bool(intensities) or bool(bytes_)):
        low, high = float(ops.min(images)), float(ops.max(images))
        raise ValueError(
            "Images must be floats in [0, 1] or whole numbers in [0, 255]. "
            f"Received: values in [{low:g}, {high:g}]"
        )
    scaled = ops.where(bytes_, images / 255, float("nan"))
    return ops.where(intensities, images, scaled)


def _is_concrete(tensor):
    """Says whether the values of a tensor can be read: not while tracing."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.executing_eagerly()
    if backend == "jax":
        import jax

        return not isinstance(tensor, jax.core.Tracer)
    if backend == "torch":
        import torch

        if tensor.device.type == "meta" or torch.compiler.is_compiling():
            return False
        try:
            bool(tensor.flatten()[:1].isnan().any())
        except RuntimeError:  # under `torch.func.vmap`
            return False
        return True
    return not keras.backend.is_keras_tensor(tensor)


class _Encoder(keras.layers.Layer):
    """Base class of the encoders: turns an image into `timesteps` images."""

    def __init__(self, timesteps, **kwargs):
        super().__init__(**kwargs)
        # Keras would round the images to the compute dtype on the way in.
        self.autocast = False
        self.timesteps = check_count("timesteps", timesteps)

    def call(self, inputs):
        """Encodes the images."""
        intensity = ops.expand_dims(as_intensity(inputs), 1)
        encoded = ops.cast(self.encode(intensity), self.compute_dtype)
        # An encoder's comparisons would turn NaN into 0.
        wrong = ops.any(ops.isnan(intensity))
        return ops.where(wrong, float("nan"), encoded)

    def compute_output_shape(self, input_shape):
        """Returns the input shape with `timesteps` after the batch axis."""
        return (input_shape[0], self.timesteps, *input_shape[1:])

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"timesteps": self.timesteps}


@keras.saving.register_keras_serializable(package="keras_snn")
class ConstantEncoder(_Encoder):
    """Constant coding: repeats the image at every timestep.

    Args:
        timesteps: Length of the time axis, at least 1.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: Images `(batch, ...)`: bytes, or intensities in [0, 1].

    Returns:
        Floats in [0, 1], `(batch, timesteps, ...)`.

    Example:
    >>> tuple(ConstantEncoder(3)(ops.ones((2, 28, 28, 1))).shape)
    (2, 3, 28, 28, 1)
    """

    def encode(self, intensity):
        """Repeats the image along the time axis."""
        return ops.repeat(intensity, self.timesteps, axis=1)


@keras.saving.register_keras_serializable(package="keras_snn")
class PoissonEncoder(_Encoder):
    """Poisson coding: the intensity is the probability of a spike.

    Every pixel draws independently at every timestep, in training and in
    inference. In data-parallel training, every replica draws its own numbers.

    Args:
        timesteps: Length of the time axis, at least 1.
        seed: `None` or an integer.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: Images `(batch, ...)`: bytes, or intensities in [0, 1].

    Returns:
        Spikes, 0 or 1, `(batch, timesteps, ...)`.

    Example:
    >>> tuple(PoissonEncoder(3)(ops.ones((2, 28, 28, 1))).shape)
    (2, 3, 28, 28, 1)
    """

    def __init__(self, timesteps, seed=None, **kwargs):
        super().__init__(timesteps, **kwargs)
        self.seed = check_seed(seed)
        self.seed_generator = ReplicaSeedGenerator(self.seed)

    def encode(self, intensity):
        """Compares the intensity with uniform numbers in [0, 1)."""
        batch, _, *rest = ops.shape(intensity)
        # In float32 under every policy: bfloat16 has too few distinct values.
        uniform = keras.random.uniform(
            (batch, self.timesteps, *rest),
            dtype="float32",
            seed=self.seed_generator,
        )
        return uniform < ops.cast(intensity, "float32")

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_snn")
class RetinaEncoder(_Encoder):
    """Retina-like coding: every pixel integrates its intensity and fires.

    The coding is deterministic. At every timestep a pixel adds
    `gain * intensity` to its accumulator. When the accumulator reaches
    `threshold`, the pixel fires and the accumulator is reset. (A pixel fires at
    the threshold, `>=`. Neurons fire only above it.)

    The intensity is constant, so a closed form gives all timesteps at once. Let
    `rate = gain * intensity / threshold`, at most 1, and count timesteps from
    1. With `reset="zero"` a pixel fires at every multiple of `ceil(1 / rate)`.
    With `reset="subtract"` it has fired `floor(t * rate)` times after `t`
    timesteps.

    Rates are multiplied by 1 + 1e-6. Otherwise float32 rounding could keep an
    accumulator just below a threshold that it should reach, such as after 5
    times 51 / 255. If `gain / threshold` is 1, the code of bytes equals that of
    exact arithmetic for up to 2000 timesteps.

    Args:
        timesteps: Length of the time axis, at least 1.
        gain: What an intensity of 1 adds per timestep, above 0.
        threshold: Level at which a pixel fires, above 0. Only the ratio
            `gain / threshold` matters. At 1, the default, white fires at every
            timestep.
        reset: `"zero"` clears the accumulator, as in the paper. The possible
            rates are 1, 1/2, 1/3, and so on. `"subtract"` lowers it by
            `threshold`, which keeps every rate exact.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: Images `(batch, ...)`: bytes, or intensities in [0, 1].

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
        self.gain = check_number("gain", gain)
        self.threshold = check_number("threshold", threshold)
        self.reset = check_choice("reset", reset, ("zero", "subtract"))

    def encode(self, intensity):
        """Evaluates the closed form, in float32 under every policy."""
        slope = self.gain / self.threshold * (1 + 1e-6)
        rate = ops.minimum(slope * ops.cast(intensity, "float32"), 1)
        # 1, 2, ... along the time axis.
        t = ops.arange(1, self.timesteps + 1, dtype="int32")
        t = ops.reshape(t, (1, -1) + (1,) * (len(intensity.shape) - 2))
        if self.reset == "zero":
            # A period longer than the time axis gives no spike.
            period = ops.ceil(1 / ops.maximum(rate, 0.5 / self.timesteps))
            return ops.equal(ops.mod(t, ops.cast(period, "int32")), 0)
        t = ops.cast(t, "float32")
        return ops.floor(t * rate) - ops.floor((t - 1) * rate)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "gain": self.gain,
            "threshold": self.threshold,
            "reset": self.reset,
        }
