"""AEDAT files, versions 2.0 and 3.1.

Each reader takes the path of a file, for messages, and its content. It returns
`t`, `x`, `y`, `p` and the byte position of each event.
"""

import re
import struct

import numpy as np

from keras_snn.events.recording import unwrapped

__all__ = ["check_whole", "damaged", "read_aedat2", "read_aedat3"]

# Parts of a 2.0 address: the last pixel of a row or column, the bits of events
# that come from no pixel, and the bits that a DVS128 leaves empty.
LAST_PIXEL = 127
SPECIAL = 0x8000_8000
FOREIGN = 0x7FFF_0000

# The header of a 3.1 packet: type, source, bytes per event, position of the
# time in an event, overflow of the time, capacity, number of events, and number
# of valid events.
PACKET = struct.Struct("<hhiiiiii")
# Polarity events: type of the packet, bytes per event, and position of the time
# in an event.
POLARITY = 1
POLARITY_SIZE, POLARITY_TIME = 8, 4


def damaged(path, place, why, unit="byte"):
    """Returns the error for a damaged file. `place` may be `None`."""
    where = "" if place is None else f", {unit} {place}"
    return ValueError(f"`{path}`{where}: {why}.")


def check_whole(path, data, start, size):
    """Raises if the last event is incomplete. An event has `size` bytes."""
    over = (len(data) - start) % size
    if over:
        place = len(data) - over
        why = f"the file ends {over} bytes into an event, which takes {size}"
        raise damaged(path, place, why)


def read_aedat2(path, data):
    """Reads AEDAT 2.0 from a DVS128 camera."""
    header = next(re.finditer(rb"(#[^\n]*\n)*", data))[0]
    # jAER names the camera by the class that decodes it.
    chip = re.search(rb"# AEChip:(?!.*DVS128).*?(\w*)\s*\n", header)
    if chip:
        why = f"the camera must be a DVS128, not {chip[1].decode('latin-1')!r}"
        raise damaged(path, chip.start(), why)
    start = len(header)
    check_whole(path, data, start, 8)
    raw = np.frombuffer(data[start:], ">u4").reshape(-1, 2)
    kept = np.flatnonzero(raw[:, 0] & SPECIAL == 0)
    address, t = raw[kept].astype("i8").T
    places = start + 8 * kept
    foreign = address & FOREIGN != 0
    if foreign.any():
        i = foreign.argmax()
        why = f"{address[i]:#x} is not an address of a DVS128"
        raise damaged(path, places[i], why)
    x = LAST_PIXEL - (address >> 1 & 127)
    y = LAST_PIXEL - (address >> 8 & 127)
    return unwrapped(t, 2**32), x, y, 1 - (address & 1), places


def read_aedat3(path, data):
    """Reads the polarity events of one camera from AEDAT 3.1."""
    header = re.match(rb"(#[^\n]*\n)*?#!END-HEADER\r?\n", data)
    if not header:
        raise damaged(path, 0, "the header has no line #!END-HEADER")
    stated = re.search(rb"#Format:\s*(\S*)", header[0])
    if stated and stated[1] != b"RAW":
        why = f"the format must be RAW, not {stated[1].decode('latin-1')!r}"
        raise damaged(path, stated.start(), why)
    found = [np.empty((3, 0), "i8")]
    for start, number, overflow in _packets(path, data, header.end()):
        raw = np.frombuffer(data, "<u4", 2 * number, start).reshape(-1, 2)
        kept = np.flatnonzero(raw[:, 0] & 1)
        address, t = raw[kept].astype("i8").T
        place = start + POLARITY_SIZE * kept
        if (t >> 31).any():
            i = (t >> 31).argmax()
            why = f"the time {t[i] - 2**32} us is negative"
            raise damaged(path, place[i], why)
        found.append(np.stack([t | overflow << 31, address, place]))
    t, address, places = np.concatenate(found, axis=1)
    x, y, p = address >> 17, address >> 2 & 0x7FFF, address >> 1 & 1
    return t, x, y, p, places


def _packets(path, data, start):
    """Yields the position, number and overflow of polarity events."""
    camera = None
    while start < len(data):
        body = start + PACKET.size
        if body > len(data):
            why = "the file ends inside the header of a packet"
            raise damaged(path, start, why)
        kind, source, size, place, overflow, capacity, number, valid = (
            PACKET.unpack_from(data, start)
        )
        sane = min(kind, overflow) >= 0 < size
        sane = sane and 0 <= valid <= number <= capacity
        if kind == POLARITY:
            sane = sane and (size, place) == (POLARITY_SIZE, POLARITY_TIME)
        if not sane:
            raise damaged(path, start, "this is not the header of a packet")
        if body + capacity * size > len(data):
            why = f"the file ends inside a packet of {capacity * size} bytes"
            raise damaged(path, start, why)
        if kind == POLARITY and number:
            if camera not in (None, source):
                why = f"events of cameras {camera} and {source} are mixed"
                raise damaged(path, start, why)
            camera = source
            yield body, number, overflow
        start = body + capacity * size
