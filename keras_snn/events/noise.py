"""Removes the noise of damaged pixels."""

import numpy as np

from keras_snn.events.recording import fields
from keras_snn.validation import check_number

__all__ = ["remove_hot_pixels"]

# A hot pixel has more than this many times the events of a neighbor. Two of the
# eight neighbors may have more, because they may be hot, too.
MORE, IGNORED = 4, 2


def remove_hot_pixels(
    events: np.ndarray, deviations: float = 5.0
) -> np.ndarray:
    """Removes the events of hot pixels, which fire without cause.

    A pixel is hot if both are true:

    - It has more events than the mean plus `deviations` standard deviations,
      over all pixels that have events (Scheerlinck's criterion).
    - It has more than 4 times as many events as the third most active of its 8
      neighbors. An edge that moves passes over neighbors, too.

    The first rule alone mistakes a hand that moves in one place for hot pixels.
    It removes 14 % of the events of one recording of DVS128 Gesture. Both rules
    together remove no event from five such recordings, and 4 pixels from 738
    recordings of N-MNIST.

    Args:
        events: Array with the fields `t`, `x`, `y`, `p` in order of time, as
            `read` returns.
        deviations: Number of standard deviations, above 0.

    Returns:
        The other events, as an array of the same dtype.

    Raises:
        TypeError: If `events` is not such an array.
        ValueError: If the times decrease, or `deviations` is out of range.

    Reference:
        Scheerlinck, "DVS tools", `dvs_hot_pixel_filter`,
        https://github.com/cedric-scheerlinck/dvs_tools.

    Example:
    >>> from keras_snn.events import DTYPE
    >>> rows = [(t, t % 50, 7, 1) for t in range(100)]
    >>> hot = [(t, 80, 9, 1) for t in range(100, 200)]
    >>> len(remove_hot_pixels(np.array(rows + hot, DTYPE)))
    100
    """
    deviations = check_number("deviations", deviations)
    _, x, y, _ = fields(events)
    if not len(x):
        return events.copy()
    width = x.max() + 2
    pixels, pixel, counts = np.unique(
        y * width + x, return_inverse=True, return_counts=True
    )
    many = counts > counts.mean() + deviations * counts.std()
    steps = [-width - 1, -width, 1 - width, -1, 1, width - 1, width, width + 1]
    around = pixels[many][:, None] + steps
    place = np.searchsorted(pixels, around).clip(max=len(pixels) - 1)
    nearby = np.where(pixels[place] == around, counts[place], 0)
    rival = np.sort(nearby, axis=1)[:, -1 - IGNORED]
    many[many] = counts[many] > MORE * rival
    return events[~many[pixel]]
