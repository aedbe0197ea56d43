"""Files of recordings."""

import pathlib
import struct

import numpy as np

from keras_snn.events.recording import (
    DTYPE,
    check_order,
    check_range,
    check_size,
    fields,
)
from keras_snn.files import replacing
from keras_snn.validation import check_choice

FORMATS = ("bin", "aedat2", "aedat3")
VERSIONS = {"2.0": "aedat2", "3.1": "aedat3"}

# "bin": events at this row are the clock's, each worth so many microseconds.
CLOCK_ROW, CLOCK_STEP = 240, 2**13
BIN_TIME = 2**23  # the first time in us that its 23 bits do not hold

# "aedat2": what a DVS128 puts in the bits 1-15, and what jAER adds as bit 31.
DVS128_SIDE = 128
DVS128_SPECIAL = 0x8000_8000
DVS128_FOREIGN = 0x7FFF_0000

# "aedat3": type, source, size of an event, place of the time in it, overflow
# of the time, capacity, number, number valid.
PACKET = struct.Struct("<hhiiiiii")
POLARITY = 1
POLARITY_SIZE, POLARITY_TIME = 8, 4


def read(path, format=None, sensor_size=None, sort=False):
    """Reads the events of a recording.

    Args:
        path: The file.
        format: `"bin"`, `"aedat2"` or `"aedat3"`, see the module; by default
            the file's own, told by how it begins.
        sensor_size: `(height, width)` within which all events have to lie, or
            `None` to take every address that the format can hold.
        sort: Whether to order the events by time where the file does not, those
            of one time as in the file, instead of refusing it.

    Returns:
        An array of shape `(events,)`, at least one, of dtype `DTYPE`, in order
        of time.

    Raises:
        ValueError: If the file is cut short, damaged, empty, of another format,
            or has times that run backwards or events outside the sensor. It
            names the file and the place in it, in bytes from its beginning.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "00001.bin"
    ...     _ = path.write_bytes(bytes([3, 7, 0x80, 0x01, 0x02]))
    ...     read(path).tolist()
    [(258, 3, 7, 1)]
    """
    check_choice("sort", sort, (False, True))
    if format is not None:
        check_choice("format", format, FORMATS)
    if sensor_size is not None:
        sensor_size = check_size("sensor_size", sensor_size)
    path = pathlib.Path(path)
    data = path.read_bytes()
    if format is None:
        format = _format(path, data)
    t, x, y, p, where = READERS[format](path, data)
    if not len(t):
        raise _damaged(path, len(data), "the file ends without any event")
    if sensor_size is not None:
        height, width = sensor_size
        outside = (x >= width) | (y >= height)
        if outside.any():
            i = outside.argmax()
            raise _damaged(
                path,
                where(i),
                f"the event at x={x[i]}, y={y[i]} lies outside the sensor of "
                f"height {height} and width {width}",
            )
    backwards = t[1:] < t[:-1]
    if backwards.any() and not sort:
        i = backwards.argmax() + 1
        raise _damaged(
            path,
            where(i),
            f"time runs backwards, from {t[i - 1]} to {t[i]} us; `sort=True` "
            "orders the events",
        )
    events = np.empty(len(t), DTYPE)
    events["t"], events["x"], events["y"], events["p"] = t, x, y, p
    if backwards.any():
        events = events[np.argsort(t, kind="stable")]
    return events


def write(path, events):
    """Writes a recording as 40-bit address events, the format of N-MNIST.

    The file is whole or not there: a run killed meanwhile leaves what was
    there before. `read` gives the same events back.

    Args:
        path: The file to write or replace; missing folders are made.
        events: Array with the fields `t`, `x`, `y`, `p`, at least one event, in
            order of time: `t` in [0, 2^23) us, `x` in [0, 255], `y` in [0, 255]
            but 240, and `p` 0 or 1.

    Raises:
        TypeError: If it is not such an array.
        ValueError: If an event does not fit.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "00001.bin"
    ...     write(path, np.array([(258, 3, 7, 1)], DTYPE))
    ...     list(path.read_bytes())
    [3, 7, 128, 1, 2]
    """
    t, x, y, p = fields(events)
    if not len(t):
        raise ValueError("`events` must hold at least one event to be written.")
    check_order(t)
    check_range("t", t, BIN_TIME)
    check_range("x", x, 256)
    check_range("y", y, 256)
    check_range("p", p, 2)
    if (y == CLOCK_ROW).any():
        i = (y == CLOCK_ROW).argmax()
        raise ValueError(
            f"`events` must not have y={CLOCK_ROW}, which 40-bit files keep "
            f"for the clock. Received: y={CLOCK_ROW} at event {i}"
        )
    raw = np.empty((len(t), 5), "u1")
    raw[:, 0], raw[:, 1], raw[:, 2] = x, y, p << 7 | t >> 16
    raw[:, 3], raw[:, 4] = t >> 8 & 255, t & 255
    with replacing(path) as partial:
        partial.write_bytes(raw.tobytes())


def _damaged(path, place, what):
    return ValueError(f"`{path}`, byte {place}: {what}.")


def _format(path, data):
    """The format that the beginning of a file tells."""
    line = data[:80].split(b"\n")[0]
    if line.startswith(b"#!AER-DAT"):
        version = _version(line)
        if version not in VERSIONS:
            raise _damaged(
                path,
                0,
                f"of AEDAT {' and '.join(VERSIONS)} are read, not {version!r}",
            )
        return VERSIONS[version]
    # An event at x=35 begins with a `#`, too; but eight letters begin none
    # before 2.1 seconds.
    text = line.rstrip(b"\r").decode("latin-1")
    readable = text.isascii() and text.isprintable()
    if text.startswith("#") and len(text) >= 8 and readable:
        # By the rules of AEDAT it would be 1.0; many mean 2.0.
        raise _damaged(
            path,
            0,
            "a header without the line #!AER-DAT does not tell the version; "
            "name it as `format`",
        )
    return "bin"


def _version(line):
    return _text(line.removeprefix(b"#!AER-DAT"))


def _text(line):
    """The beginning of a line of a header, for a message."""
    return line[:40].strip().decode("latin-1")


def _bin(path, data):
    over = len(data) % 5
    if over:
        raise _damaged(
            path,
            len(data) - over,
            f"the file ends {over} bytes into an event, which takes 5",
        )
    raw = np.frombuffer(data, "u1").reshape(-1, 5)
    x, y, high = raw[:, 0], raw[:, 1], raw[:, 2].astype("i8")
    t = (high & 127) << 16 | raw[:, 3].astype("i8") << 8 | raw[:, 4]
    p = high >> 7
    clock = y == CLOCK_ROW
    if not clock.any():
        return t, x, y, p, lambda i: 5 * i
    t += CLOCK_STEP * np.cumsum(clock)
    kept = np.flatnonzero(~clock)
    return t[kept], x[kept], y[kept], p[kept], lambda i: 5 * kept[i]


def _header(path, data, version, end=None):
    """Reads the lines that begin with `#`.

    Args:
        path: The file.
        data: Its content.
        version: The version that it has to be of, if it says one.
        end: The line, without its end, that is the header's last one.

    Returns:
        `(lines, start)`: `(place, line)` of each, without its end, and where
        the events start.
    """
    lines, place = [], 0
    while data.startswith(b"#", place):
        stop = data.find(b"\n", place)
        if stop < 0:
            raise _damaged(path, place, "the header's last line does not end")
        line = data[place:stop].rstrip(b"\r")
        if line.startswith(b"#!AER-DAT") and _version(line) != version:
            raise _damaged(
                path,
                place,
                f"the version must be {version}, not {_version(line)!r}",
            )
        lines.append((place, line))
        place = stop + 1
        if line == end:
            break
    if end and (not lines or lines[-1][1] != end):
        raise _damaged(
            path, place, f"the header stops without the line {end.decode()}"
        )
    return lines, place


def _aedat2(path, data):
    lines, start = _header(path, data, "2.0")
    for place, line in lines:
        # jAER names the camera by the class that decodes it.
        if line.startswith(b"# AEChip:") and b"DVS128" not in line:
            chip = _text(line.split(b".")[-1])
            raise _damaged(
                path,
                place,
                f"the camera must be a DVS128, not {chip!r}",
            )
    over = (len(data) - start) % 8
    if over:
        raise _damaged(
            path,
            len(data) - over,
            f"the file ends {over} bytes into an event, which takes 8",
        )
    raw = np.frombuffer(data[start:], ">u4").reshape(-1, 2)
    kept = np.flatnonzero(raw[:, 0] & DVS128_SPECIAL == 0)
    address, t = raw[kept].astype("i8").T

    def where(i):
        return start + 8 * kept[i]

    foreign = address & DVS128_FOREIGN != 0
    if foreign.any():
        i = foreign.argmax()
        raise _damaged(
            path, where(i), f"{address[i]:#x} is no address of a DVS128"
        )
    x = DVS128_SIDE - 1 - (address >> 1 & 127)
    y = DVS128_SIDE - 1 - (address >> 8 & 127)
    return t, x, y, 1 - (address & 1), where


def _aedat3(path, data):
    lines, start = _header(path, data, "3.1", end=b"#!END-HEADER")
    for place, line in lines:
        if line.startswith(b"#Format:") and line[8:].strip() != b"RAW":
            raise _damaged(
                path, place, f"the format must be RAW, not {_text(line[8:])!r}"
            )
    blocks, starts, overflows, camera = [], [], [], None
    while start < len(data):
        body = start + PACKET.size
        if body > len(data):
            raise _damaged(
                path,
                start,
                f"the file ends {len(data) - start} bytes into the header of a "
                f"packet, which takes {PACKET.size}",
            )
        kind, source, size, offset, overflow, capacity, number, valid = (
            PACKET.unpack_from(data, start)
        )
        sane = kind >= 0 and size > 0 and overflow >= 0
        sane = sane and 0 <= valid <= number <= capacity
        if kind == POLARITY:
            sane = sane and (size, offset) == (POLARITY_SIZE, POLARITY_TIME)
        if not sane:
            raise _damaged(
                path,
                start,
                f"no packet has type {kind}, events of {size} bytes with the "
                f"time at {offset}, overflow {overflow}, {valid} of {number} "
                f"events valid and room for {capacity}",
            )
        if capacity * size > len(data) - body:
            raise _damaged(
                path,
                start,
                f"the packet has {capacity} times {size} bytes, but the file "
                f"{len(data) - body} more",
            )
        if kind == POLARITY and number:
            if camera not in (None, source):
                raise _damaged(
                    path,
                    start,
                    f"events of camera {source} follow some of {camera}, but "
                    "one camera makes a recording",
                )
            camera = source
            block = np.frombuffer(data, "<u4", 2 * number, body).reshape(-1, 2)
            marked = int((block[:, 0] & 1).sum())
            if marked != valid:
                raise _damaged(
                    path,
                    start,
                    f"the packet says that {valid} events are valid, but "
                    f"{marked} are marked so",
                )
            blocks.append(block)
            starts.append(body)
            overflows.append(overflow)
        start = body + capacity * size
    raw = np.concatenate([np.empty((0, 2), "<u4"), *blocks])
    numbers = [len(block) for block in blocks]
    firsts = np.cumsum(numbers) - numbers
    kept = np.flatnonzero(raw[:, 0] & 1)

    def where(i):
        packet = np.searchsorted(firsts, kept[i], side="right") - 1
        return starts[packet] + POLARITY_SIZE * (kept[i] - firsts[packet])

    address, t = raw[kept].astype("i8").T
    negative = t >> 31 != 0
    if negative.any():
        i = negative.argmax()
        raise _damaged(
            path, where(i), f"the time {t[i] - 2**32} us is negative"
        )
    t = t | np.repeat(np.array(overflows, "i8"), numbers)[kept] << 31
    return t, address >> 17, address >> 2 & 0x7FFF, address >> 1 & 1, where


READERS = {"bin": _bin, "aedat2": _aedat2, "aedat3": _aedat3}
