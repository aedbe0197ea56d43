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

    def call(self, inputs):
        """Convolves."""
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
