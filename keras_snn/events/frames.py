"""Frames of event counts."""

import math

import numpy as np

from keras_snn.events.recording import (
    check_order,
    check_range,
    check_size,
    fields,
)
from keras_snn.validation import check_choice, check_count

# Frames of more values are a mistake: 8 GiB in float32.
LARGEST = 2**31


def to_frames(
    events,
    timesteps=None,
    sensor_size=(34, 34),
    by="number",
    *,
    duration=None,
    crop=None,
    downsample=1,
    binary=False,
):
    """Counts the events of a recording in frames.

    Every event is counted in exactly one frame, unless `crop`, `binary`, or
    `timesteps` together with `duration` ask otherwise: the sum of the frames is
    the number of events.

    - `by="number"`, the paper's choice (Appendix F), as in SpikingJelly: of N
      events each frame takes the next `N // timesteps`, the last one also those
      left over. With fewer events than frames all are in the last.
    - `by="time"`: frames of equal time between the first and the last event,
      `start <= t < end`, the last one with its end. Frames may be empty.
      (SpikingJelly rounds their length down to whole microseconds.)
    - `by="time"` with a `duration`: the first frame begins at the first event,
      and each lasts `duration` us, `start <= t < end`. Without `timesteps`
      there are as many frames as it takes; with `timesteps` there are so many,
      empty ones behind the recording's end, and what comes after
      `timesteps * duration` us is cut off, as asked. (SpikingJelly puts an
      event just at the end of its last frame into it.)

    Args:
        events: Array with the fields `t`, `x`, `y`, `p` in order of time, as
            `read` returns.
        timesteps: Number of frames, at least 1; may be `None` if there is a
            `duration`.
        sensor_size: `(height, width)` of the camera, in pixels: (34, 34) for
            N-MNIST, (128, 128) for DVS128 Gesture and CIFAR10-DVS.
        by: `"number"` or `"time"`.
        duration: Microseconds per frame, an integer of at least 1; needs
            `by="time"`.
        crop: `(height, width)` of the middle part to keep, which loses the
            events around it; the odd pixel goes to the bottom and the right.
            (32, 32) brings N-MNIST to the paper's size. `None` keeps all.
        downsample: Side of the squares of pixels summed into one, after `crop`;
            has to divide height and width. 4 brings 128 x 128 to 32 x 32.
        binary: Whether to clip the counts to {0, 1}.

    Returns:
        Frames `(timesteps, height, width, 2)`, float32, the channels being OFF
        and ON. SpikingJelly's are the same with the channels before the height.

    Raises:
        TypeError: If `events` is not such an array.
        ValueError: If an event lies outside `sensor_size` or before its
            predecessor, or an argument out of range.

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
    check_choice("by", by, ("number", "time"))
    check_choice("binary", binary, (False, True))
    if timesteps is not None or duration is None:
        check_count("timesteps", timesteps)
    if duration is not None:
        check_count("duration", duration)
        if by != "time":
            raise ValueError(
                '`duration` must be `None` unless by="time". '
                f"Received: duration={duration!r}, by={by!r}"
            )
    height, width = check_size("sensor_size", sensor_size)
    check_count("downsample", downsample)
    t, x, y, p = fields(events)
    check_order(t)
    check_range("x", x, width)
    check_range("y", y, height)
    check_range("p", p, 2)
    if crop is not None:
        rows, columns = check_size("crop", crop)
        if rows > height or columns > width:
            raise ValueError(
                "`crop` must not be larger than `sensor_size`. Received: "
                f"crop={crop!r}, sensor_size={sensor_size!r}"
            )
        y, x = y - (height - rows) // 2, x - (width - columns) // 2
        height, width = rows, columns
    if height % downsample or width % downsample:
        raise ValueError(
            f"`downsample` must divide the frame's height {height} and width "
            f"{width}. Received: downsample={downsample!r}"
        )
    shape = (height // downsample, width // downsample, 2)
    frames = timesteps
    if frames is None:
        span = int(t[-1]) - int(t[0]) if len(t) else -1
        frames = span // int(duration) + 1
    if frames > LARGEST // math.prod(shape):
        raise ValueError(
            "The frames must not have more than 2**31 values: fewer "
            "`timesteps`, a longer `duration`, or a `downsample` may help. "
            f"Received: {frames} frames of shape {shape}"
        )
    # Where each frame begins among the events, and where the last one ends.
    if by == "number":
        edges = np.arange(frames + 1) * (len(t) // frames)
        edges[-1] = len(t)
    elif duration is None:
        edges = _equal_times(t, frames)
    else:
        edges = _equal_durations(t, frames, int(duration))
    frame = np.repeat(np.arange(frames), np.diff(edges))
    used = slice(edges[0], edges[-1])
    y, x, p = y[used], x[used], p[used]
    if crop is not None:
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        frame, y, x, p = frame[inside], y[inside], x[inside], p[inside]
    if downsample > 1:
        y, x = y // downsample, x // downsample
    index = ((frame * shape[0] + y) * shape[1] + x) * 2 + p
    counts = np.bincount(index, minlength=frames * math.prod(shape))
    if binary:
        counts = np.minimum(counts, 1)
    return counts.astype("float32").reshape(frames, *shape)


def _equal_times(t, frames):
    if not len(t):
        return np.zeros(frames + 1, int)
    # A whole time is at or after a fraction if it is at or after the next whole
    # one. Python's integers have no largest, which the products may pass.
    first, last = int(t[0]), int(t[-1])
    begins = [
        first - -step * (last - first) // frames for step in range(frames)
    ]
    return np.append(np.searchsorted(t, begins), len(t))


def _equal_durations(t, frames, duration):
    if not len(t):
        return np.zeros(frames + 1, int)
    first, last = int(t[0]), int(t[-1])
    ends = [
        min(first + step * duration, last + 1) for step in range(frames + 1)
    ]
    return np.searchsorted(t, ends)
