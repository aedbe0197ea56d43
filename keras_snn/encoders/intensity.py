"""Images as intensities, and the base class of their encoders."""

import keras
from keras import ops

from keras_snn.validation import check_count

__all__ = ["Encoder", "as_intensity"]


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
    intensities = _all((images >= 0) & (images <= 1))
    whole = ops.equal(images, ops.floor(images))
    bytes_ = _all((images >= 0) & (images <= 255) & whole)
    if _is_concrete(images) and not (bool(intensities) or bool(bytes_)):
        low, high = float(ops.min(images)), float(ops.max(images))
        raise ValueError(
            "Images must be floats in [0, 1] or whole numbers in [0, 255]. "
            f"Received: values in [{low:g}, {high:g}]"
        )
    # NaN comes last: `tf2onnx` adds both branches, one of them times 0.
    scaled = ops.where(intensities, images, images / 255)
    known = ops.logical_or(intensities, bytes_)
    return ops.where(known, scaled, float("nan"))


def _all(condition):
    """Like `ops.all`, which PyTorch's export to ONNX does not support."""
    failures = ops.sum(ops.cast(ops.logical_not(condition), "int32"))
    return ops.equal(failures, 0)


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


class Encoder(keras.layers.Layer):
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
        valid = _all(ops.logical_not(ops.isnan(intensity)))
        return ops.where(valid, encoded, float("nan"))

    def clock(self, intensity):
        """Returns 0, 1, ... along the time axis, to compare with `intensity`.

        Args:
            intensity: Any tensor with the axes of the output.

        Returns:
            Integers `(1, timesteps, 1, ...)`.
        """
        t = ops.arange(self.timesteps, dtype="int32")
        return ops.reshape(t, (1, -1) + (1,) * (len(intensity.shape) - 2))

    def compute_output_shape(self, input_shape):
        """Returns the input shape with `timesteps` after the batch axis."""
        return (input_shape[0], self.timesteps, *input_shape[1:])

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"timesteps": self.timesteps}
