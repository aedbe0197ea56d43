"""The dtype for arithmetic that needs more than half precision."""

from typing import Any

import keras

__all__ = ["at_least_float32"]


def at_least_float32(dtype: Any) -> str:
    """Returns float64 for float64 and float32 for every narrower dtype.

    `keras.backend.result_type` would narrow float64 as well.

    Args:
        dtype: A float dtype, as a string or of the backend.
    """
    wide = keras.backend.standardize_dtype(dtype) == "float64"
    return "float64" if wide else "float32"
