"""Argument checks with uniform error messages.

Each check returns the value as a plain Python object, so a NumPy scalar never
ends up in a config. This module imports no other module of the package.
"""

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "check_choice",
    "check_count",
    "check_neuron",
    "check_number",
    "check_numbers",
    "check_seed",
    "check_shape",
    "check_time_axis",
]

LARGEST = float(np.finfo("float32").max)


def check_number(
    name: str,
    value: Any,
    low: float = 0.0,
    high: float = math.inf,
    included: str = "high",
) -> float:
    """Returns `value` as a float if it is finite and within the bounds.

    Most of the package computes in float32, so numbers beyond its largest are
    refused. They would become infinite.

    Args:
        name: Name of the argument, for the message.
        value: The value to check.
        low: Lower bound.
        high: Upper bound. Infinity means no bound.
        included: The bounds that are part of the range: `"high"`, `"low"`,
            `"both"` or `"neither"`.

    Raises:
        TypeError: If `value` is not a real number.
        ValueError: If `value` lies outside the range.
    """
    at_low, at_high = included in ("low", "both"), included in ("high", "both")
    if high == math.inf and not at_low:
        bounds = f"above {low:g}"
    else:
        right = "]" if at_high and high < math.inf else ")"
        bounds = f"in {'[' if at_low else '('}{low:g}, {high:g}{right}"
    kind = f"a number {bounds}"
    if low == -math.inf:
        kind, bounds = "a finite number", "finite"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be {kind}. Received: {name}={value!r}")
    try:
        number = float(value)
    except OverflowError:  # an integer too large for a float
        number = math.inf if value > 0 else -math.inf
    inside = low < number < high or (
        (at_low and number == low) or (at_high and number == high)
    )
    if not math.isfinite(number) and bounds != "finite":
        bounds = f"finite and {bounds}"
    if not (inside and math.isfinite(number)):
        raise ValueError(
            f"`{name}` must be {bounds}. Received: {name}={value!r}"
        )
    if abs(number) > LARGEST:
        raise ValueError(
            f"`{name}` must be at most {LARGEST:.3g} in absolute value, the "
            f"largest float32. Received: {name}={value!r}"
        )
    return number


def check_numbers(
    name: str, value: Any, low: float, high: float, included: str
) -> Any:
    """Returns a number as a float, or several as a NumPy array of float64.

    Args and errors are those of `check_number`. All numbers must be in range.
    """
    if not isinstance(value, (list, tuple, np.ndarray)):
        return check_number(name, value, low, high, included)
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiu" or not array.size:
        raise TypeError(
            f"`{name}` must be a number or an array of numbers. "
            f"Received: {name}={value!r}"
        )
    for extreme in (array.min(), array.max()):
        check_number(name, float(extreme), low, high, included)
    return float(array) if array.ndim == 0 else array.astype("float64")


def check_neuron(k: Any, lam: Any, theta: Any) -> tuple[float, float, float]:
    """Returns the constants of Eq. 2 as floats if they are in range."""
    return (
        check_number("k", k, high=1.0),
        check_number("lam", lam),
        check_number("theta", theta),
    )


def check_count(name: str, value: Any, low: int = 1) -> int:
    """Returns `value` as an int if it is an integer of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"`{name}` must be an integer of at least {low}. "
            f"Received: {name}={value!r}"
        )
    if value < low:
        raise ValueError(
            f"`{name}` must be at least {low}. Received: {name}={value!r}"
        )
    return int(value)


def check_seed(seed: Any, *kinds: type) -> Any:
    """Returns `seed` if it is `None`, a 31-bit integer, or one of `kinds`."""
    if seed is None or isinstance(seed, kinds):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        names = ["`None`", "an integer", *(f"a `{x.__name__}`" for x in kinds)]
        raise TypeError(
            f"`seed` must be {' or '.join(names)}. Received: seed={seed!r}"
        )
    number = int(seed)
    if not 0 <= number < 2**31:
        raise ValueError(
            f"`seed` must be in [0, 2**31). Received: seed={seed!r}"
        )
    return number


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Returns the choice equal to `value`. 1 and 0 do not count as booleans."""
    for choice in choices:
        if isinstance(value, type(choice)) and value == choice:
            return choice
    names = ", ".join(repr(choice) for choice in choices)
    raise ValueError(
        f"`{name}` must be one of {names}. Received: {name}={value!r}"
    )


def check_float_dtype(layer: Any) -> None:
    """Raises unless a layer computes in a float dtype."""
    dtype = layer.dtype_policy.compute_dtype
    if "float" not in dtype:
        raise ValueError(
            "`dtype` must be a float dtype or a policy of one. "
            f"Received: dtype={dtype!r}"
        )


def check_time_axis(layer: Any, input_shape: Sequence[int | None]) -> None:
    """Raises if the inputs have no time axis, or an empty one."""
    if len(input_shape) < 3 or input_shape[1] == 0:
        raise ValueError(
            f"`{type(layer).__name__}` expects inputs with a time axis of at "
            "least one timestep, of shape (batch, timesteps, ...). "
            f"Received: shape={tuple(input_shape)}"
        )


def check_shape(name: str, tensor: Any, expected: Sequence[int | None]) -> None:
    """Raises if a tensor cannot have this shape. `None` fits any size."""
    shape = tensor.shape
    if len(shape) != len(expected) or any(
        None not in pair and pair[0] != pair[1]
        for pair in zip(shape, expected, strict=True)
    ):
        raise ValueError(
            f"`{name}` must have shape {tuple(expected)}. "
            f"Received: shape={tuple(shape)}"
        )
