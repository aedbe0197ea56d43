"""AEDAT 2.0 and 3.1 are read as their specifications say."""

import numpy as np
import pytest
from event_files import (
    AEDAT2,
    AEDAT3,
    aedat2_event,
    aedat3_event,
    packet,
    refused,
)

from keras_snn import events

END = len(AEDAT3)
NEXT = END + 28 + 8  # the end of a packet with one event
ONE = packet(aedat3_event(9))
BAD = "not the header of a packet"


# AEDAT 2.0


def test_dvs128_addresses_count_from_the_lower_right_and_0_is_on(path):
    path.write_bytes(
        AEDAT2
        # y 5 from the bottom, x 3 from the right, ON; then the opposites.
        + bytes([0, 0, 5, 3 << 1, 0, 1, 0, 0])
        + bytes([0, 0, 122, 124 << 1 | 1, 0x80, 0, 0, 2])
    )
    assert events.read(path).tolist() == [
        (65536, 127 - 3, 127 - 5, 1),
        (2**31 + 2, 3, 5, 0),
    ]


def test_cifar10_dvs_is_spikingjellys_with_x_and_y_exchanged(
    path, spikingjelly, rng
):
    addresses, times = (
        rng.integers(0, 2**15, 500),
        np.sort(rng.integers(0, 9999, 500)),
    )
    pairs = zip(times.tolist(), addresses.tolist(), strict=True)
    path.write_bytes(AEDAT2 + b"".join(aedat2_event(*pair) for pair in pairs))
    found = events.read(path)
    expected = spikingjelly.cifar._load_origin_data(path)
    for ours, theirs in zip("tyxp", "txyp", strict=True):
        np.testing.assert_array_equal(found[ours], expected[theirs])


@pytest.mark.parametrize("special", [0x8000, 0x8000_0000, 0x8000_8001])
def test_events_of_the_input_pin_are_left_out(path, special):
    path.write_bytes(
        AEDAT2
        + aedat2_event(1, special)
        + aedat2_event(2)
        + aedat2_event(3, special)
    )
    assert events.read(path).tolist() == [(2, 127, 127, 1)]


@pytest.mark.parametrize("bit", range(16, 31))
def test_addresses_of_other_cameras_are_refused(path, bit):
    content = AEDAT2 + aedat2_event(1, 0x8000) + aedat2_event(2, 1 << bit)
    refused(
        path,
        content,
        len(AEDAT2) + 8,
        f"0x{1 << bit:x} is not an address of a DVS128",
    )


def test_other_cameras_in_the_header_are_refused(path):
    chip = b"# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n"
    path.write_bytes(AEDAT2 + chip + aedat2_event(2))
    assert len(events.read(path)) == 1
    chip = b"# AEChip: eu.seebetter.ini.chips.davis.DAVIS240C\r\n"
    refused(
        path,
        AEDAT2 + chip + aedat2_event(2),
        len(AEDAT2),
        "must be a DVS128, not 'DAVIS240C'",
    )


@pytest.mark.parametrize("header", [b"#!AER-DAT2.0\n", AEDAT2 + b"#\n#End\n"])
def test_header_lines_may_be_short_or_few(path, header):
    path.write_bytes(header + aedat2_event(7))
    assert events.read(path)["t"].tolist() == [7]


# AEDAT 3.1


def test_packets_of_polarity_events_are_read(path):
    path.write_bytes(
        AEDAT3
        # valid, ON, y 2, x 1, time 258; then x 32767, y 0, OFF.
        + bytes([1, 0, 1, 0, 8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0])
        + bytes([2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0])
        + bytes([0b1011, 0, 2, 0, 2, 1, 0, 0])
        + bytes([1, 0, 0xFE, 0xFF, 3, 1, 0, 0])
        # x 0, y 32767, ON, in a packet of its own.
        + packet(bytes([0xFF, 0xFF, 1, 0, 4, 1, 0, 0]))
    )
    assert events.read(path).tolist() == [
        (258, 1, 2, 1),
        (259, 32767, 0, 0),
        (260, 0, 32767, 1),
    ]


def test_the_overflow_counts_two_to_the_31_microseconds(path):
    path.write_bytes(
        AEDAT3
        + packet(aedat3_event(2**31 - 1))
        + packet(aedat3_event(1, valid=0), overflow=2)
        + packet(aedat3_event(4), aedat3_event(6), overflow=3)
    )
    expected = [2**31 - 1, 3 * 2**31 + 4, 3 * 2**31 + 6]
    assert events.read(path)["t"].tolist() == expected


def test_other_packets_free_room_and_invalid_events_are_left_out(path):
    path.write_bytes(
        AEDAT3
        # Type 35 looks like the `#` of another header line.
        + packet(b"\n" * 40, kind=35, size=40, place=12, valid=1)
        + packet(b"\1" * 40, kind=2, size=40, place=12)
        + packet(aedat3_event(1, x=3), aedat3_event(2, valid=0), room=3)
        + aedat3_event(9)  # in the unused room for a third event
        + packet()
        + packet(aedat3_event(5), source=0, kind=0)
        + packet(aedat3_event(2, valid=0), aedat3_event(2, x=4))
    )
    assert events.read(path).tolist() == [(1, 3, 1, 0), (2, 4, 1, 0)]


def test_aedat3_is_read_as_by_spikingjelly(path, spikingjelly, rng):
    times = np.sort(rng.integers(0, 2**31, 300)).tolist()
    x, y, p = (rng.integers(0, n, 300).tolist() for n in (128, 128, 2))
    rows = list(zip(times, x, y, p, strict=True))
    content = AEDAT3
    for first in range(0, 300, 50):
        content += packet(
            *(aedat3_event(*row) for row in rows[first : first + 50])
        )
    path.write_bytes(content)
    found = events.read(path)
    expected = spikingjelly.utils.load_aedat_v3(path)
    for name in "txyp":
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize(
    ("content", "place", "why"),
    [
        pytest.param(
            AEDAT2, len(AEDAT2), "without any event", id="2.0 header only"
        ),
        pytest.param(AEDAT2[:-1], 54, "ends 3 bytes into", id="2.0 header cut"),
        pytest.param(
            AEDAT2 + aedat2_event(1) + b"\0" * 7,
            len(AEDAT2) + 8,
            "ends 7 bytes into an event, which takes 8",
            id="2.0 cut",
        ),
        pytest.param(
            AEDAT2
            + aedat2_event(4, 0x8000)
            + aedat2_event(9)
            + aedat2_event(8),
            len(AEDAT2) + 16,
            "backwards, from 9 to 8",
            id="2.0 backwards",
        ),
        pytest.param(
            AEDAT3[:-14] + ONE,
            0,
            "the header has no line #!END-HEADER",
            id="3.1 header not ended",
        ),
        pytest.param(
            AEDAT3.replace(b"RAW", b"Serial-TS") + ONE,
            14,
            "must be RAW, not 'Serial-TS'",
            id="3.1 format",
        ),
        pytest.param(AEDAT3, END, "without any event", id="3.1 header only"),
        pytest.param(AEDAT3 + packet(), END + 28, "without any", id="3.1 none"),
        pytest.param(
            AEDAT3 + ONE + ONE[:27],
            NEXT,
            "ends inside the header of a packet",
            id="3.1 cut",
        ),
        pytest.param(
            AEDAT3 + ONE + ONE[:-1],
            NEXT,
            "ends inside a packet of 8 bytes",
            id="3.1 cut in an event",
        ),
        pytest.param(
            AEDAT3 + packet(kind=2, size=2**31 - 1, room=2**31 - 1),
            END,
            f"ends inside a packet of {(2**31 - 1) ** 2} bytes",
            id="3.1 absurd packet",
        ),
        pytest.param(
            AEDAT3 + packet(aedat3_event(9), number=2, room=2),
            END,
            "ends inside a packet of 16 bytes",
        ),
        pytest.param(AEDAT3 + packet(aedat3_event(9), number=2), END, BAD),
        pytest.param(AEDAT3 + packet(room=-1), END, BAD),
        pytest.param(AEDAT3 + packet(number=-1, valid=-1), END, BAD),
        pytest.param(AEDAT3 + packet(aedat3_event(9), valid=2), END, BAD),
        pytest.param(AEDAT3 + packet(kind=-1), END, BAD),
        pytest.param(AEDAT3 + packet(kind=3, size=0), END, BAD),
        pytest.param(AEDAT3 + packet(size=-8), END, BAD),
        pytest.param(AEDAT3 + packet(size=12), END, BAD),
        pytest.param(AEDAT3 + packet(place=0), END, BAD),
        pytest.param(AEDAT3 + packet(overflow=-1), END, BAD),
        pytest.param(
            AEDAT3 + ONE + packet(aedat3_event(9), source=2),
            NEXT,
            "events of cameras 1 and 2 are mixed",
            id="3.1 two cameras",
        ),
        pytest.param(
            AEDAT3 + ONE + packet(aedat3_event(9), aedat3_event(-4)),
            NEXT + 28 + 8,
            "the time -4 us is negative",
            id="3.1 negative time",
        ),
        pytest.param(
            AEDAT3 + ONE + packet(aedat3_event(1, valid=0), aedat3_event(8)),
            NEXT + 28 + 8,
            "backwards, from 9 to 8",
            id="3.1 backwards",
        ),
    ],
)
def test_damaged_files_are_refused_by_name_and_place(path, content, place, why):
    refused(path, content, place, why)
