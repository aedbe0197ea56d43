"""A pooling that adds, for networks that were trained with it."""

import keras

from keras_snn.validation import check_count

__all__ = ["SumPooling2D"]


@keras.saving.register_keras_serializable(package="keras_snn")
class SumPooling2D(keras.layers.Layer):
    """Sums the values in each window of an image, like NIR's `SumPool2d`.

    An average times the size of the window is the same number, but rounded
    twice. The sum of spikes is exact, so neurons behind it fire at the same
    timesteps as in other simulators. A last row or column that does not fill
    a window is dropped. Channels come last, whatever
    `keras.config.image_data_format()` says.

    Args:
        pool_size: Height and width of a window: an integer, or a pair.
        strides: Steps between windows: an integer, a pair, or `None` for
            `pool_size`.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: Images `(batch, height, width, channels)`.

    Returns:
        Images `(batch, new_height, new_width, channels)`.

    Example:
    >>> squares = SumPooling2D(2)(keras.ops.ones((1, 4, 5, 1)))
    >>> keras.ops.convert_to_numpy(squares)[0, :, :, 0].tolist()
    [[4.0, 4.0], [4.0, 4.0]]
    """

    def __init__(self, pool_size=2, strides=None, **kwargs):
        super().__init__(**kwargs)
        self.pool_size = _pair("pool_size", pool_size)
        self.strides = (
            self.pool_size if strides is None else _pair("strides", strides)
        )

    def call(self, inputs):
        """Adds shifted copies of the images."""
        self.compute_output_shape(inputs.shape)
        (height, width), (down, right) = self.pool_size, self.strides
        total = None
        for i in range(height):
            rows = slice(i, (i - height + 1) or None, down)
            for j in range(width):
                columns = slice(j, (j - width + 1) or None, right)
                shifted = inputs[:, rows, columns]
                total = shifted if total is None else total + shifted
        return total

    def compute_output_shape(self, input_shape):
        """Returns the shape of the smaller images."""
        sides = tuple(input_shape[1:3])
        if len(input_shape) != 4 or any(
            side is not None and side < size
            for side, size in zip(sides, self.pool_size, strict=True)
        ):
            raise ValueError(
                "`SumPooling2D` expects images (batch, height, width, "
                f"channels) of at least {self.pool_size}. "
                f"Received: shape={tuple(input_shape)}"
            )
        pooled = (
            side and (side - size) // stride + 1
            for side, size, stride in zip(
                sides, self.pool_size, self.strides, strict=True
            )
        )
        return (input_shape[0], *pooled, input_shape[3])

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "pool_size": self.pool_size,
            "strides": self.strides,
        }


def _pair(name, value):
    pair = value if isinstance(value, (list, tuple)) else (value, value)
    if len(pair) != 2:
        raise ValueError(
            f"`{name}` must be an integer or a pair of integers. "
            f"Received: {name}={value!r}"
        )
    return tuple(check_count(name, x) for x in pair)
