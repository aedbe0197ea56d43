"""Any initializer, times a factor."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_snn.validation import check_number

__all__ = ["ScaledInitializer"]


@keras.saving.register_keras_serializable(package="keras_snn")
class ScaledInitializer(keras.initializers.Initializer):
    """Multiplies the weights of another initializer by a factor.

    Use it for the last layer of a residual branch. With the factor `1 / n`, the
    sum of `n` branches starts no larger than one layer, even if they agree.
    With `1 / sqrt(n)`, its variance does not depend on `n`.

    Args:
        initializer: Initializer to scale: a name, a config or an object.
        factor: Factor, at least 0.

    Call arguments:
        shape: Shape of the weights.
        dtype: Dtype of the weights; Keras's `floatx` by default.

    Example:
    >>> half = ScaledInitializer("ones", 0.5)
    >>> keras.ops.convert_to_numpy(half((2,))).tolist()
    [0.5, 0.5]
    """

    def __init__(self, initializer: Any, factor: float):
        self.initializer = keras.initializers.get(initializer)
        self.factor = check_number("factor", factor, included="both")

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Any:
        """Draws the weights and scales them."""
        return self.factor * self.initializer(shape, dtype=dtype)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        inner = keras.initializers.serialize(self.initializer)
        return {"initializer": inner, "factor": self.factor}
