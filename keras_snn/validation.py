"""The one sentence in which every range error is told.

A leaf of the import graph: any module may use it, it uses none.
"""

import math
import numbers


def check_number(name, value, low=0.0, high=math.inf, included="high"):
    """Raises unless `value` is a finite real number between the bounds.

    Args:
        name: Name of the argument, for the message.
        value: The value received.
        low: Lower bound.
        high: Upper bound; infinity for none.
        included: `"high"`, `"low"` or `"both"`: the bounds that are allowed.

    Raises:
        TypeError: If `value` is not a real number.
        ValueError: If it lies outside the range.
    """
    with_low = included in ("low", "both")
    with_high = included in ("high", "both") and high < math.inf
    left, right = "[" if with_low else "(", "]" if with_high else ")"
    bounds = f"in {left}{low:g}, {high:g}{right}"
    if high == math.inf and not with_low:
        bounds = f"above {low:g}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"`{name}` must be a number {bounds}. Received: {name}={value!r}"
        )
    inside = low < value < high or (
        (with_low and value == low) or (with_high and value == high)
    )
    if not (inside and math.isfinite(value)):
        raise ValueError(
            f"`{name}` must be {bounds}. Received: {name}={value!r}"
        )


def check_neuron(k, lam, theta):
    """Raises unless `k`, `lam`, `theta` describe a neuron of Eq. 2."""
    check_number("k", k, high=1.0)
    check_number("lam", lam)
    check_number("theta", theta)


def check_count(name, value, low=1):
    """Raises unless `value` is an integer of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"`{name}` must be an integer of at least {low}. "
            f"Received: {name}={value!r}"
        )
    if value < low:
        raise ValueError(
            f"`{name}` must be at least {low}. Received: {name}={value!r}"
        )


def check_seed(seed, *kinds):
    """Returns `seed` if it is `None`, an integer, or one of `kinds`.

    Any kind of integer comes back as Python's own, which Keras asks for.
    """
    is_integer = isinstance(seed, numbers.Integral)
    if isinstance(seed, bool) or not (
        seed is None or is_integer or isinstance(seed, kinds)
    ):
        names = ["`None`", "an integer", *(f"a `{x.__name__}`" for x in kinds)]
        raise TypeError(
            f"`seed` must be {' or '.join(names)}. Received: seed={seed!r}"
        )
    if is_integer and not 0 <= seed < 2**31:
        raise ValueError(
            f"`seed` must be in [0, 2**31). Received: seed={seed!r}"
        )
    return int(seed) if is_integer else seed


def check_choice(name, value, choices):
    """Raises unless `value` is one of `choices`."""
    if value not in choices:
        names = ", ".join(repr(choice) for choice in choices)
        raise ValueError(
            f"`{name}` must be one of {names}. Received: {name}={value!r}"
        )


def check_time_axis(layer, input_shape):
    """Raises unless the inputs of a layer have a time axis behind the batch."""
    if len(input_shape) < 3 or input_shape[1] == 0:
        raise ValueError(
            f"`{type(layer).__name__}` expects inputs with a time axis of at "
            "least one timestep, of shape (batch, timesteps, ...). "
            f"Received: shape={tuple(input_shape)}"
        )


def check_shape(name, tensor, expected):
    """Raises if a tensor cannot have the expected shape."""
    shape = tensor.shape
    if len(shape) != len(expected) or any(
        None not in pair and pair[0] != pair[1]
        for pair in zip(shape, expected, strict=True)
    ):
        raise ValueError(
            f"`{name}` must have shape {tuple(expected)}. "
            f"Received: shape={tuple(shape)}"
        )
