"""A convolution that adds its bias inside the kernel."""

import keras
from keras import ops

__all__ = ["Conv2D"]


@keras.saving.register_keras_serializable(package="keras_snn")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, faster on PyTorch.

    There Keras adds the bias in a pass of its own, into fresh memory. Here, for
    `channels_first`, the kernel of the convolution adds it. On other backends
    the two layers are the same.

    Args:
        filters: See `keras.layers.Conv2D`.
        kernel_size: See `keras.layers.Conv2D`.
        **kwargs: Keywords of `keras.layers.Conv2D`.

    Call arguments:
        inputs: Images `(batch, channels, height, width)` or `(batch, height,
            width, channels)`, as `data_format` says.

    Returns:
        Images, one channel per filter.

    Example:
    >>> tuple(Conv2D(3, 3, padding="same")(ops.ones((2, 8, 8, 1))).shape)
    (2, 8, 8, 3)
    """

    def build(self, input_shape):
        """Adds kernel and bias."""
        _check_images(input_shape)
        super().build(input_shape)

    def compute_output_shape(self, input_shape):
        """Returns the shape of the outputs."""
        _check_images(input_shape)
        return super().compute_output_shape(input_shape)

    def call(self, inputs):
        """Convolves."""
        _check_images(inputs.shape)
        fused = (
            keras.config.backend() == "torch"
            and self.data_format == "channels_first"
            and self.padding in ("same", "valid")
            and (self.padding == "valid" or set(self.strides) == {1})
            and self.use_bias
            and self.quantization_mode is None
        )
        if not fused:
            return super().call(inputs)
        from torch.nn import functional

        outputs = functional.conv2d(
            inputs,
            ops.transpose(self.kernel, (3, 2, 0, 1)),
            ops.convert_to_tensor(self.bias),
            stride=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            groups=self.groups,
        )
        return outputs if self.activation is None else self.activation(outputs)


def _check_images(shape):
    if len(shape) != 4:
        raise ValueError(
            "`Conv2D` expects images of shape (batch, ...) with three axes per "
            "image. For images with a time axis, use `PerTimestep(Conv2D(...))`"
            f". Received: shape={tuple(shape)}"
        )
