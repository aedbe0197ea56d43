"""Reads and writes files of recordings."""

import os
import pathlib
import re
from typing import Any

import numpy as np

from keras_snn.events.aedat import (
    check_whole,
    damaged,
    read_aedat2,
    read_aedat3,
)
from keras_snn.events.foreign import (
    read_aedat4,
    read_hdf5,
    read_numpy,
    read_text,
)
from keras_snn.events.prophesee import read_prophesee
from keras_snn.events.recording import (
    check_size,
    event_array,
    fields,
    unwrapped,
)
from keras_snn.files import replacing
from keras_snn.validation import check_choice

__all__ = ["read", "write"]

# Events in this row belong to the clock. Each adds this many microseconds.
CLOCK_ROW, CLOCK_STEP = 240, 2**13
# The format has 23 bits for the time in microseconds.
BIN_TIME = 2**23
# Cameras send some events late, but hardly by more microseconds than this. A
# longer step back is a reset of the clock. Sorting would mix the two parts.
JITTER = 10_000

UNKNOWN = "AEDAT of an unknown version"
# The readers, and other formats by their name. The beginning of a file
# determines its format. If several match, or none, its suffix does. A recording
# in N-MNIST's format cannot begin with this much text, because its times would
# exceed 0.5 s.
FORMATS = (
    (read_aedat2, rb"#!AER-DAT2\.0(?!\S)", ""),
    (read_aedat3, rb"#!AER-DAT3\.1(?!\S)", ""),
    (read_aedat4, rb"#!AER-DAT4\.0(?!\S)", ".aedat4"),
    (read_hdf5, rb"\x89HDF\r\n", ".h5 .hdf5"),
    (read_numpy, rb"\x93NUMPY|PK(\x03\x04|\x05\x06)", ".npy .npz"),
    (read_prophesee, rb"% [ -~]{6}", ".dat .raw"),
    ("a PNG image", rb"\x89PNG\r\n", ".png"),
    ("a JPEG image", rb"\xff\xd8\xff", ".jpg .jpeg"),
    ("a GIF image", rb"GIF8[79]a", ".gif"),
    ("a gzip archive", rb"\x1f\x8b\x08", ".gz .tgz"),
    ("a zip archive", rb"(?!)", ".zip"),
    ("a MATLAB file", rb"MATLAB \d\.\d MAT-file", ".mat"),
    (UNKNOWN, rb"#!AER-DAT", ""),
    (read_text, rb"[\t\r\n -~]{8,63}\Z|[\t\r\n -~]{64}", ".txt .csv"),
)


def read(
    path: str | os.PathLike[str], sensor_size: Any = None, sort: bool = False
) -> np.ndarray:
    """Reads the events of a recording.

    The beginning of the file determines the format. See `keras_snn.events`.

    Args:
        path: The file.
        sensor_size: `(height, width)` of the sensor in pixels. Events outside
            the sensor raise an error. `None` accepts every address.
        sort: Whether to sort the events if their times run backwards. Otherwise
            such a file raises an error. Events of equal time keep their order.
            Clocks that wrap need no sorting. Do not sort a recording whose
            clock was reset, because this mixes its parts.

    Returns:
        An array of shape `(events,)` and dtype `DTYPE`, in order of time, with
        at least one event.

    Raises:
        ImportError: If the package that reads the format is missing.
        ValueError: If the file is truncated, damaged, empty or in an unknown
            format, if its times run backwards, or if events lie outside the
            sensor. The message gives the file and, if known, the position.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "00001.bin"
    ...     _ = path.write_bytes(bytes([3, 7, 0x80, 0x01, 0x02]))
    ...     read(path).tolist()
    [(258, 3, 7, 1)]
    """
    check_choice("sort", sort, (False, True))
    if sensor_size is None:
        sensor_size = 2**16, 2**16
    height, width = check_size("sensor_size", sensor_size)
    path = pathlib.Path(path)
    data = path.read_bytes()
    t, x, y, p, places = _reader(path, data)(path, data)
    if not len(t):
        raise damaged(path, len(data), "the file ends without any event")

    def bad(i, why):
        if places is None:
            return damaged(path, i, why, "event")
        return damaged(path, places[i], why)

    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    if outside.any():
        i = outside.argmax()
        why = f"x={x[i]}, y={y[i]} is outside the sensor, {height} x {width}"
        raise bad(i, why)
    unknown = (p < 0) | (p > 1)
    if unknown.any():
        i = unknown.argmax()
        raise bad(i, f"the polarity is {p[i]}, not 0 or 1")
    latest = np.maximum.accumulate(t)
    late = latest - t
    if late.any() and not sort:
        jitter = late.max() <= JITTER
        i = (late > (0 if jitter else JITTER)).argmax()
        why = f"time runs backwards, from {latest[i]} to {t[i]} us"
        advice = "the clock was reset, or this is not a recording"
        if jitter:
            advice = "`sort=True` sorts the events, if this is a recording"
        raise bad(i, f"{why}; {advice}")
    events = event_array(t, x, y, p)
    return events[np.argsort(t, kind="stable")] if sort else events


def write(path: str | os.PathLike[str], events: np.ndarray) -> None:
    """Writes a recording in N-MNIST's format of 40 bits per event.

    If the process fails or is killed, an existing file stays as it was.

    Args:
        path: The file to write or replace. Missing folders are created.
        events: Array with the fields `t`, `x`, `y`, `p` in order of time, with
            at least one event. `t` is in [0, 2^23) us, `x` in [0, 255], `y` in
            [0, 255] except 240, and `p` is 0 or 1.

    Raises:
        TypeError: If `events` is not such an array.
        ValueError: If an event is out of range.

    Example:
    >>> import tempfile
    >>> from keras_snn.events import DTYPE
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "00001.bin"
    ...     write(path, np.array([(258, 3, 7, 1)], DTYPE))
    ...     list(path.read_bytes())
    [3, 7, 128, 1, 2]
    """
    t, x, y, p = fields(events, t=BIN_TIME, x=256, y=256, p=2)
    if not len(t):
        raise ValueError("`events` must have at least one event.")
    if (y == CLOCK_ROW).any():
        raise ValueError(
            f"`events` must not have y={CLOCK_ROW}, which N-MNIST's format "
            f"reserves. Received: event {(y == CLOCK_ROW).argmax()}"
        )
    raw = np.stack([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255], axis=1)
    with replacing(path) as partial:
        partial.write_bytes(raw.astype("u1").tobytes())


def _reader(path, data):
    """Chooses the reader by the beginning of the file."""
    suffix = path.suffix.lower() or "none"
    found = [x for x in FORMATS if re.match(x[1], data)]
    # A comment in text may begin like a header of Prophesee's.
    found.sort(key=lambda x: suffix not in x[2].split())
    found = found or [x for x in FORMATS if suffix in x[2].split()]
    if found and callable(found[0][0]):
        return found[0][0]
    # Headers of AEDAT begin with "#", with its version or without.
    if found or re.match(rb"#[\r\n -~]{7}", data):
        name = found[0][0] if found else UNKNOWN
        why = f"this is {name}, not a recording that `read` knows"
        raise damaged(path, 0, why)
    return _read_bin


def _read_bin(path, data):
    check_whole(path, data, 0, 5)
    x, y, high, middle, low = np.frombuffer(data, "u1").reshape(-1, 5).T
    t = (high & 127).astype("i8") << 16 | middle.astype("i8") << 8 | low
    t = unwrapped(t, BIN_TIME)
    clock = y == CLOCK_ROW
    t += CLOCK_STEP * np.cumsum(clock)
    kept = np.flatnonzero(~clock)
    return t[kept], x[kept], y[kept], high[kept] >> 7, 5 * kept
