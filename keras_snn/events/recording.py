"""The array that holds a recording."""

import operator
from typing import Any

import numpy as np

from keras_snn.validation import check_count

__all__ = ["DTYPE", "check_size", "event_array", "fields", "unwrapped"]

DTYPE = np.dtype([("t", "i8"), ("x", "u2"), ("y", "u2"), ("p", "u1")])


def event_array(t: Any, x: Any, y: Any, p: Any) -> np.ndarray:
    """Returns the events of a recording as one array of dtype `DTYPE`."""
    events = np.empty(len(t), DTYPE)
    events["t"], events["x"], events["y"], events["p"] = t, x, y, p
    return events


def unwrapped(t: np.ndarray, span: int) -> np.ndarray:
    """Returns the times of a clock that starts over at `span`, without wraps.

    A jump back by more than 3/4 of `span` is a wrap. A late event from before
    the wrap may follow it.
    """
    t = t.astype("i8")
    jump = np.diff(t, prepend=t[:1])
    edge = span - span // 4
    wraps = np.cumsum(jump < -edge) - np.cumsum(jump > edge)
    # Without a wrap before it, a jump forward is a pause.
    wraps -= np.minimum(np.minimum.accumulate(wraps), 0)
    return t + span * wraps


def fields(events: Any, **limits: int) -> list[np.ndarray]:
    """Checks events that a user passes.

    Args:
        events: Array with the integer fields `t`, `x`, `y` and `p`.
        **limits: Upper limits of some fields, exclusive. The lower limit is 0.

    Returns:
        The four fields as `intp`, the dtype of indices.

    Raises:
        TypeError: If `events` is not such an array.
        ValueError: If times decrease or a value is out of range.
    """
    dtypes = getattr(getattr(events, "dtype", None), "fields", None) or {}
    kinds = [dtypes[name][0].kind for name in "txyp" if name in dtypes]
    if len(kinds) < 4 or set(kinds) - set("iub") or events.ndim != 1:
        received = getattr(events, "dtype", type(events).__name__)
        raise TypeError(
            "`events` must be an array of one axis with the integer fields "
            "'t', 'x', 'y' and 'p', as `events.read` returns. "
            f"Received: {received} of shape {np.shape(events)}"
        )
    values = {name: events[name].astype(np.intp) for name in "txyp"}
    t = values["t"]
    if (t[1:] < t[:-1]).any():
        i = (t[1:] < t[:-1]).argmax() + 1
        raise ValueError(
            "`events` must be in order of time. "
            f"Received: t={t[i - 1]} before t={t[i]} at event {i}"
        )
    for name, limit in limits.items():
        outside = (values[name] < 0) | (values[name] >= limit)
        if outside.any():
            i = outside.argmax()
            raise ValueError(
                f"`events` must have {name} in [0, {limit}). "
                f"Received: {name}={values[name][i]} at event {i}"
            )
    return list(values.values())


def check_size(name: str, size: Any) -> tuple[int, int]:
    """Returns `(height, width)` as Python integers of at least 1, or raises."""
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` must be `(height, width)`. Received: {name}={size!r}"
        ) from None
    return check_count(name, height), check_count(name, width)
