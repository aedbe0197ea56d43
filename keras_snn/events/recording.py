"""What a recording is in memory, and what is asked of one."""

import numpy as np

from keras_snn.validation import check_count

DTYPE = np.dtype([("t", "i8"), ("x", "u2"), ("y", "u2"), ("p", "u1")])


def fields(events):
    """The fields of `events`, in the integers in which NumPy indexes."""
    names = getattr(getattr(events, "dtype", None), "names", None) or ()
    fine = (
        isinstance(events, np.ndarray)
        and events.ndim == 1
        and set(DTYPE.names) <= set(names)
        and all(events.dtype[name].kind in "iub" for name in DTYPE.names)
    )
    if not fine:
        received = getattr(events, "dtype", type(events).__name__)
        raise TypeError(
            "`events` must be an array of one axis with the integer fields "
            f"'t', 'x', 'y' and 'p', as `events.read` returns. "
            f"Received: {received} of shape {np.shape(events)}"
        )
    return [events[name].astype(np.intp) for name in DTYPE.names]


def check_order(t):
    """Raises unless the times `t` never decrease."""
    backwards = t[1:] < t[:-1]
    if backwards.any():
        i = backwards.argmax() + 1
        raise ValueError(
            "`events` must be in order of time. "
            f"Received: t={t[i - 1]} before t={t[i]} at event {i}"
        )


def check_range(name, values, limit):
    """Raises unless the values of a field, `intp`, are in `[0, limit)`."""
    # As unsigned, negative numbers are beyond every limit.
    if values.view(np.uintp).max(initial=0) >= limit:
        i = ((values < 0) | (values >= limit)).argmax()
        raise ValueError(
            f"`events` must have {name} in [0, {limit}). "
            f"Received: {name}={values[i]} at event {i}"
        )


def check_size(name, size):
    """Returns `(height, width)` as Python integers of at least 1, or raises."""
    try:
        height, width = size
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` must be `(height, width)`. Received: {name}={size!r}"
        ) from None
    for side in (height, width):
        check_count(name, side)
    return int(height), int(width)
