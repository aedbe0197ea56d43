"""A simulated camera."""

import math

import numpy as np

from keras_snn.events.recording import DTYPE, check_size
from keras_snn.validation import check_count, check_number, check_seed

# The light of a black pixel, where a white one has 1 more: no screen is dark.
BLACK = 0.2
# Images drawn per pixel of way, on average; 1.6 times as coarse at full speed.
DRAWN = 16


def saccade(
    image,
    sensor_size=(34, 34),
    threshold=0.35,
    duration=105_000,
    distance=6.0,
    mismatch=0.0,
    seed=None,
):
    """Turns an image into a recording by moving it before a simulated camera.

    As for N-MNIST (Orchard et al. 2015), three saccades take the image along
    the sides of a triangle with equal legs: down and half to the right, up and
    half to the right, and back to the left. Each begins and ends slowly: after
    the part `s` of its time it is the part `(1 - cos(pi s)) / 2` of its way.

    A pixel of the camera sees the brightness `b` of what is before it, between
    0.2 (black) and 1.2 (white), interpolated between the image's pixels, whose
    outermost go on around it. It sends an event whenever `ln b` has gone a
    threshold away from where it was at the last one, counted from the
    beginning: ON where it rose, OFF where it fell. As the image ends where it
    began, every pixel sends as many ON as OFF events.

    The defaults are fitted to N-MNIST. Fifty of its recordings have 4108 events
    on average, the images of MNIST most like them make 4116 here, as dark
    strokes on light ground, which is what the recordings look like:
    `saccade(255 - image)`. In frames of 15 ms the two correlate, pixel by
    pixel, by 0.59; there is no noise here.

    Args:
        image: `(height, width)` or `(height, width, 1)`, `uint8` or floats in
            [0, 1].
        sensor_size: `(height, width)` of the camera, in pixels. The image's
            way is centered on it; what leaves it is not seen.
        threshold: Change of `ln b` that makes an event, above 0. Smaller makes
            more.
        duration: Microseconds per saccade, an integer of at least 1.
        distance: Height and base of the triangle, in pixels, above 0.
        mismatch: Standard deviation of the pixels' own thresholds, as a
            fraction of `threshold`, at least 0. Differing thresholds are what
            tells one camera from another.
        seed: `None`, or an integer that fixes these; without mismatch nothing
            is random.

    Returns:
        An array of shape `(events,)` of dtype `DTYPE` in order of time, with
        times in [0, 3 * duration] us. It is empty where nothing changes.

    Raises:
        TypeError: If the image is of another dtype.
        ValueError: If it is of another shape, or an argument out of range.

    Example:
    >>> image = np.zeros((28, 28), "uint8")
    >>> image[10:18, 10:18] = 255
    >>> events = saccade(image)
    >>> int((events["p"] == 1).sum()) == int((events["p"] == 0).sum()) > 0
    True
    """
    image = _brightness(image)
    size = check_size("sensor_size", sensor_size)
    check_number("threshold", threshold)
    check_count("duration", duration)
    check_number("distance", distance)
    if mismatch != 0:
        check_number("mismatch", mismatch)
    seed = check_seed(seed)
    if mismatch:
        drawn = np.random.default_rng(seed).normal(1.0, mismatch, size)
        threshold = threshold * np.maximum(drawn, 0.1)
    # Rows and columns of the image's upper left corner at the turning points.
    margin = (np.array(size) - image.shape - distance) / 2
    corners = margin + distance * np.array([(0, 0), (1, 0.5), (0, 1), (0, 0)])
    steps = math.ceil(DRAWN * distance * math.hypot(1, 0.5))
    eased = (1 - np.cos(np.pi * np.arange(1, steps + 1) / steps)) / 2
    path = [
        (1 - part) * start + part * end
        for start, end in zip(corners[:-1], corners[1:], strict=True)
        for part in eased
    ]
    rest = _log_brightness(image, size, corners[0])
    # Both in thresholds from `rest`: how far it is, how far it was told to be.
    level = told = np.zeros(size)
    found = []
    for step, corner in enumerate(path):
        before, level = level, _log_brightness(image, size, corner) - rest
        level /= threshold
        now = np.where(level >= told + 1, np.floor(level), told)
        now = np.where(level <= told - 1, np.ceil(level), now)
        y, x = np.nonzero(now != told)
        change = (now - told)[y, x].astype(int)
        told = now
        # One entry for each multiple passed: the first, the second, ...
        several = np.abs(change)
        ordinal = np.arange(several.sum()) + 1
        ordinal -= np.repeat(np.cumsum(several) - several, several)
        y, x, change = (np.repeat(z, several) for z in (y, x, change))
        sign = np.sign(change)
        passed = told[y, x] - change + sign * ordinal
        part = (passed - before[y, x]) / (level - before)[y, x]
        found.append(((step + part) * (duration / steps), x, y, sign > 0))
    t, x, y, p = (np.concatenate(z) for z in zip(*found, strict=True))
    events = np.empty(len(t), DTYPE)
    events["t"], events["x"], events["y"], events["p"] = t, x, y, p
    return events[np.argsort(events["t"], kind="stable")]


def _brightness(image):
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if image.ndim != 2 or not image.size:
        raise ValueError(
            "`image` must be of shape (height, width) or (height, width, 1). "
            f"Received: shape={image.shape}"
        )
    if image.dtype == np.uint8:
        return image / 255
    if image.dtype.kind != "f":
        raise TypeError(
            "`image` must be `uint8`, or floats in [0, 1]. "
            f"Received: dtype={image.dtype}"
        )
    low, high = image.min(), image.max()
    if not 0 <= low <= high <= 1:
        raise ValueError(
            "`image` must be `uint8`, or floats in [0, 1]. "
            f"Received: values from {low} to {high}"
        )
    return image.astype("float64")


def _log_brightness(image, size, corner):
    """What the camera sees while the image's first pixel is at `corner`."""
    down, right = (
        _weights(n, m, at)
        for n, m, at in zip(size, image.shape, corner, strict=True)
    )
    return np.log(BLACK + down @ image @ right.T)


def _weights(seen, shown, at):
    """Linear interpolation along one axis, `(seen, shown)`.

    Args:
        seen: Number of the camera's pixels.
        shown: Number of the image's pixels.
        at: Where the image's first pixel is, in pixels of the camera.
    """
    places = np.clip(np.arange(seen) - at, 0, shown - 1)
    return np.maximum(1 - np.abs(places[:, None] - np.arange(shown)), 0)
