"""Images to spike trains, as Keras layers, inside the model.

Images are `uint8`, scaled by 1/255, or floats in [0, 1]; a time axis is put
behind the batch axis.
"""

import keras
from keras import ops

from keras_snn.validation import check_count, check_seed


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
