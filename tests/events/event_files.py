"""Recordings for the tests: real ones, and files packed by hand."""

import struct

import numpy as np
import pytest
from hypothesis import strategies as st
from shared import shared

from keras_snn import events

AEDAT2 = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n"
AEDAT3 = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
    b"#Start-Time: 2016-09-14 14:31:04 (TZ-0700)\r\n#!END-HEADER\r\n"
)


def recordings(kind):
    """Lists the real recordings of a dataset, or skips the test."""
    found = sorted(shared(f"events/{kind}").rglob("*.bin"))
    assert found, f"no recordings of {kind}"
    return found


def array(*rows):
    """Returns events from rows of t, x, y, p."""
    return np.array(list(rows), events.DTYPE)


def at(*times):
    """Returns events of one pixel."""
    return array(*((t, 5, 9, 1) for t in times))


def bin_event(t, x=1, y=1, p=0):
    return struct.pack(">BBI", x, y, p << 31 | t << 8)[:5]


def aedat2_event(t, address=0):
    return struct.pack(">II", address, t)


def aedat3_event(t, x=1, y=1, p=0, valid=1):
    return struct.pack("<Ii", x << 17 | y << 2 | p << 1 | valid, t)


def packet(
    *found, kind=1, source=1, size=8, place=4, overflow=0, room=None, **header
):
    number = header.get("number", len(found))
    valid = header.get("valid", sum(event[0] & 1 for event in found))
    room = len(found) if room is None else room
    fields = (kind, source, size, place, overflow, room, number, valid)
    return struct.pack("<hhiiiiii", *fields) + b"".join(found)


def refused(path, content, place, why, **arguments):
    """Asserts that `read` refuses a file and names it and the position."""
    path.write_bytes(content)
    with pytest.raises(ValueError, match=why) as caught:
        events.read(path, **arguments)
    assert str(caught.value).startswith(f"`{path}`, byte {place}: ")


@st.composite
def some_events(draw, largest=2**23 - 1, side=34, least=0):
    """Draws recordings in order of time."""
    times = draw(st.lists(st.integers(0, largest), min_size=least, max_size=60))
    place = st.integers(0, side - 1)
    rows = [
        (t, draw(place), draw(place), draw(st.integers(0, 1)))
        for t in sorted(times)
    ]
    return array(*rows)
