"""Frames of event counts."""

import math
from typing import Any

import numpy as np

from keras_snn.events.recording import check_size, fields
from keras_snn.validation import check_choice, check_count

__all__ = ["to_frames"]

# More values, 8 GiB in float32, are probably a mistake.
MOST_VALUES = 2**31


def to_frames(
    events: np.ndarray,
    timesteps: int | None = None,
    sensor_size: Any = (34, 34),
    by: str = "number",
    *,
    duration: int | None = None,
    crop: Any = None,
    downsample: int = 1,
    binary: bool = False,
) -> np.ndarray:
    """Counts the events of a recording in frames.

    Each event counts in exactly one frame, so the sum of the frames is the
    number of events. Only `crop`, `binary`, and `timesteps` combined with
    `duration` drop events.

    - `by="number"`, the paper's choice (Appendix F), as in SpikingJelly. Of N
      events, each frame takes the next `N // timesteps`, and the last frame
      also takes the remainder. If there are fewer events than frames, the last
      frame takes all.
    - `by="time"`: frames of equal time between the first and the last event,
      `start <= t < end`. The last frame includes its end. Frames may be empty.
      (SpikingJelly rounds their length down to whole microseconds.)
    - `by="time"` with a `duration`: the first frame begins at the first event.
      Each frame lasts `duration` us, `start <= t < end`. Without `timesteps`,
      there are as many frames as needed. With `timesteps`, later events are
      dropped and missing frames are empty. (SpikingJelly puts an event at the
      end of its last frame into that frame.)

    Args:
        events: Array with the fields `t`, `x`, `y`, `p` in order of time, as
            `read` returns.
        timesteps: Number of frames, at least 1. It may be `None` if `duration`
            is given.
        sensor_size: `(height, width)` of the camera in pixels: (34, 34) for
            N-MNIST, (128, 128) for DVS128 Gesture and CIFAR10-DVS.
        by: `"number"` or `"time"`.
        duration: Microseconds per frame, an integer of at least 1. It requires
            `by="time"`.
        crop: `(height, width)` of the central part to keep. If the margins
            cannot be equal, the larger one is at the bottom or right. (32, 32)
            gives N-MNIST the paper's size. `None` keeps all pixels.
        downsample: Side of the squares of pixels that are summed into one
            pixel, after `crop`. It must divide the height and width. 4 reduces
            128 x 128 to 32 x 32.
        binary: Whether to clip the counts to {0, 1}.

    Returns:
        Frames of shape `(timesteps, height, width, 2)`, float32. The channels
        are OFF and ON. In SpikingJelly the channel axis precedes the height.

    Raises:
        TypeError: If `events` is not such an array.
        ValueError: If events are outside the sensor or not in order of time,
            or an argument is out of range.

    Example:
    >>> from keras_snn.events import DTYPE
    >>> events = np.array([(0, 5, 9, 1), (40, 5, 9, 1), (99, 6, 9, 0)], DTYPE)
    >>> frames = to_frames(events, timesteps=2)
    >>> frames.shape, frames[:, 9, 5, 1].tolist(), frames[:, 9, 6, 0].tolist()
    ((2, 34, 34, 2), [1.0, 1.0], [0.0, 1.0])
    >>> frames = to_frames(events, timesteps=2, by="time", downsample=2)
    >>> frames.shape, frames[:, 4, 2, 1].tolist(), frames[:, 4, 3, 0].tolist()
    ((2, 17, 17, 2), [2.0, 0.0], [0.0, 1.0])
    """
    check_choice("binary", binary, (False, True))
    height, width = check_size("sensor_size", sensor_size)
    whole = height, width
    rows, columns = check_size("crop", whole if crop is None else crop)
    downsample = check_count("downsample", downsample)
    if rows > height or columns > width:
        raise ValueError(
            "`crop` must not be larger than `sensor_size`. Received: "
            f"crop={crop!r}, sensor_size={sensor_size!r}"
        )
    if rows % downsample or columns % downsample:
        raise ValueError(
            f"`downsample` must divide the frame's height {rows} and width "
            f"{columns}. Received: downsample={downsample!r}"
        )
    t, x, y, p = fields(events, x=width, y=height, p=2)
    if duration is not None:
        duration = check_count("duration", duration)
    frames = _number(t, timesteps, by, duration)
    shape = (frames, rows // downsample, columns // downsample, 2)
    if math.prod(shape) > MOST_VALUES:
        raise ValueError(
            "The frames must have at most 2**31 values: use fewer `timesteps`, "
            f"a longer `duration`, or `downsample`. Received: shape={shape}"
        )
    edges = _edges(t, frames, by, duration)
    frame = np.repeat(np.arange(frames), np.diff(edges))
    x = x[: edges[-1]] - (width - columns) // 2
    y = y[: edges[-1]] - (height - rows) // 2
    index = (frame * shape[1] + y // downsample) * shape[2] + x // downsample
    index = 2 * index + p[: edges[-1]]
    if crop is not None:
        index = index[(y >= 0) & (y < rows) & (x >= 0) & (x < columns)]
    counts = np.bincount(index, minlength=math.prod(shape))
    if binary:
        counts = np.minimum(counts, 1)
    return counts.astype("float32").reshape(shape)


def _number(t, timesteps: Any, by, duration):
    """Checks the options and returns the number of frames."""
    check_choice("by", by, ("number", "time"))
    if duration is not None:
        if by != "time":
            raise ValueError(
                '`duration` must be `None` unless by="time". '
                f"Received: duration={duration!r}, by={by!r}"
            )
        if timesteps is None:
            span = int(t[-1]) - int(t[0]) if len(t) else -1
            return span // duration + 1
    return check_count("timesteps", timesteps)


def _edges(t, frames, by, duration):
    """Returns the index of the first event of each frame, and the end."""
    if by == "number":
        edges = np.arange(frames + 1) * (len(t) // frames)
        edges[-1] = len(t)
        return edges
    if not len(t):
        return np.zeros(frames + 1, int)
    # Python integers, because the products may exceed 64 bits.
    first, last, steps = int(t[0]), int(t[-1]), range(frames + 1)
    if duration is not None:
        times = [min(first + i * duration, last + 1) for i in steps]
        return np.searchsorted(t, times)
    # Times are integers, so the beginning of a frame can be rounded up.
    times = [first - -i * (last - first) // frames for i in steps]
    return np.append(np.searchsorted(t, times[:-1]), len(t))
