"""Prophesee's DAT and RAW files are read as their specifications say."""

import numpy as np
import pytest
from event_files import array, refused
from foreign_files import (
    DAT,
    EVT2,
    EVT3,
    EVT21,
    LEGACY,
    dat,
    evt2,
    evt3,
    evt21,
    words,
)

from keras_snn import events

WRITERS = {
    "dat": dat,
    "evt2": evt2,
    "evt21": evt21,
    "legacy": lambda rows: evt21(rows, LEGACY),
    "evt3": evt3,
}
every_writer = pytest.mark.parametrize("name", WRITERS)


@pytest.fixture(scope="module")
def rows():
    """Events of half a minute: EVT 3.0 counts 16.8 s."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([0, 3, 700, 60_000], 2000)) + 4093
    columns = [rng.integers(0, n, 2000) for n in (1280, 720, 2)]
    rows = [tuple(map(int, row)) for row in zip(times, *columns, strict=True)]
    assert rows[-1][0] > 1.5 * 2**24
    return rows


@every_writer
def test_known_events_are_read(path, name, rows):
    path.write_bytes(WRITERS[name](rows))
    found = events.read(path, sensor_size=(720, 1280))
    np.testing.assert_array_equal(found, array(*rows))


def test_dat_has_14_bits_each_for_column_and_row(path):
    # Time 258, x 0x2001, y 0x1003, ON; then OFF.
    address = (0x2001 | 0x1003 << 14 | 1 << 28).to_bytes(4, "little")
    event = bytes([2, 1, 0, 0]) + address
    path.write_bytes(
        DAT + bytes([0, 8]) + event + bytes([3, 1, 0, 0]) + b"\0" * 4
    )
    assert events.read(path).tolist() == [
        (258, 0x2001, 0x1003, 1),
        (259, 0, 0, 0),
    ]


@pytest.mark.parametrize(
    ("content", "place", "why"),
    [
        (
            dat([(1, 2, 3, 1)], DAT.replace(b"n 2", b"n 1")),
            0,
            "must be 2, not '1'",
        ),
        (dat([(1, 2, 3, 1)], DAT.replace(b"% Version 2\n", b"")), 0, "not ''"),
        (
            dat([(1, 2, 3, 1)], kind=14),
            len(DAT),
            "type 0 or 12 and 8 bytes, not 14, 8",
        ),
        (DAT, len(DAT), "and 8 bytes, not 0, 0"),
        (dat([]), len(DAT) + 2, "without any event"),
        (dat([(1, 2, 3, 1)])[:-1], len(DAT) + 2, "ends 7 bytes into an event"),
        (dat([(1, 2, 3, 5)]), len(DAT) + 2, "the polarity is 5, not 0 or 1"),
    ],
    ids=[
        "version",
        "no version",
        "trigger",
        "cut",
        "empty",
        "torn",
        "polarity",
    ],
)
def test_damaged_dat_is_refused_by_place(path, content, place, why):
    refused(path, content, place, why)


def test_evt2_words(path):
    high = 8 << 28
    path.write_bytes(
        words(
            EVT2,
            0 << 28 | 7 << 22 | 9 << 11 | 9,  # before the first time
            high | 3,
            1 << 28 | 5 << 22 | 640 << 11 | 2047,
            10 << 28 | 6 << 22 | 1,  # a trigger
            14 << 28 | 77,
            15 << 28 | 78,  # and its continuation
            0 << 28 | 63 << 22 | 2047 << 11 | 0,
            high | 4,
            0 << 28 | 0 << 22 | 1 << 11 | 2,
            size=4,
        )
    )
    assert events.read(path).tolist() == [
        (3 * 64 + 5, 640, 2047, 1),
        (3 * 64 + 63, 2047, 0, 0),
        (4 * 64, 1, 2, 0),
    ]


@pytest.mark.parametrize("header", [EVT21, LEGACY], ids=["little", "legacy"])
def test_evt21_masks_hold_32_pixels(path, header):
    halves = [
        (8 << 28 | 2, 0),
        (1 << 28 | 5 << 22 | 64 << 11 | 100, 1 | 1 << 7 | 1 << 31),
        (10 << 28, 255),  # a trigger
        (0 << 28 | 6 << 22 | 32 << 11 | 101, 0),
        (0 << 28 | 6 << 22 | 32 << 11 | 101, 2),
    ]
    if header == EVT21:
        halves = [pair[::-1] for pair in halves]
    flat = [half for pair in halves for half in pair]
    path.write_bytes(words(header, *flat, size=4))
    assert events.read(path).tolist() == [
        (133, 64, 100, 1),
        (133, 71, 100, 1),
        (133, 95, 100, 1),
        (134, 33, 101, 0),
    ]


def test_evt3_vectors_continue_from_their_base(path):
    low, high = 6 << 12, 8 << 12
    path.write_bytes(
        words(
            EVT3,
            2 << 12 | 5,  # before the first time and row
            high | 1,
            2 << 12 | 5,  # before the first row
            0x0800 | 300,  # a row, of the second camera
            2 << 12 | 1 << 11 | 5,  # the lower time is 0
            low | 9,
            3 << 12 | 1 << 11 | 40,
            4 << 12 | 0b1000_0000_0001,
            4 << 12 | 0b10,
            5 << 12 | 0xF00 | 0b1000_0001,  # 8 of 12 bits count
            10 << 12 | 1,  # a trigger
            14 << 12,
            7 << 12,
            15 << 12,
            low | 10,
            2 << 12 | 7,
            3 << 12 | 0,
            5 << 12 | 1,
            4 << 12 | 1,
        )
    )
    t = 4096
    assert events.read(path).tolist() == [
        (t, 5, 300, 1),
        (t + 9, 40, 300, 1),
        (t + 9, 51, 300, 1),
        (t + 9, 53, 300, 1),
        (t + 9, 64, 300, 1),
        (t + 9, 71, 300, 1),
        (t + 10, 7, 300, 0),
        (t + 10, 0, 300, 0),
        (t + 10, 8, 300, 0),
    ]


@pytest.mark.parametrize(
    "header",
    [
        b"% evt 3.0\n",
        b"% format EVT3;height=720;width=1280\n",
        b"% Date 2020-09-14 14:18:29\n% integrator_name Prophesee\n% evt 3.0\n",
        b"% evt 3.0\r\n% system_ID 49\r\n% end\r\n",
    ],
)
def test_headers_of_older_files_are_known(path, header):
    path.write_bytes(evt3([(5000, 2, 3, 1)], header))
    assert events.read(path).tolist() == [(5000, 2, 3, 1)]


@pytest.mark.parametrize(
    ("header", "stated"),
    [
        (b"% evt 4.0\n% end\n", "'evt4'"),
        (b"% format HISTO3D;height=320\n% end\n", "'histo3d;height=320'"),
        (b"% evt 3.0\n% format EVT3;endianness=big\n", "endianness=big"),
        (b"% date 2020-09-14\n% end\n", "'evt'"),
    ],
)
def test_other_encodings_are_refused(path, header, stated):
    content = evt3([(5000, 2, 3, 1)], header)
    why = f"must state EVT 2, EVT 2.1 or EVT 3, not .*{stated}"
    refused(path, content, 0, why)


@pytest.mark.parametrize("suffix", [".raw", ".dat"])
def test_a_file_without_a_header_is_refused(path, suffix):
    refused(path.with_suffix(suffix), evt3([(5000, 2, 3, 1)], b""), 0, "header")


@pytest.mark.parametrize(
    ("content", "place", "why"),
    [
        (words(EVT2, 8 << 28, 0, 7 << 28, size=4), len(EVT2) + 8, "type 0x7"),
        (words(EVT21, 8 << 60, 3 << 60, size=8), len(EVT21) + 8, "type 0x3"),
        (words(EVT3, 8 << 12, 9 << 12), len(EVT3) + 2, "type 0x9"),
        (words(EVT2, 8 << 28, 1, size=4)[:-1], len(EVT2) + 4, "ends 3 bytes"),
        (words(EVT3, 8 << 12, 2 << 12)[:-1], len(EVT3) + 2, "ends 1 bytes"),
        (words(EVT3, 8 << 12, 0, 5 << 12 | 1), len(EVT3) + 6, "without any"),
        (EVT21, len(EVT21), "without any event"),
    ],
    ids=["evt2", "evt21", "evt3", "evt2 cut", "evt3 cut", "no base", "empty"],
)
def test_damaged_raw_is_refused_by_place(path, content, place, why):
    refused(path, content, place, why)


def test_the_position_of_an_event_is_that_of_its_word(path):
    content = evt3([(5000, 2, 3, 1), (5001, 2, 3, 1), (5001, 700, 3, 1)])
    why = "x=700, y=3 is outside the sensor"
    refused(path, content, len(content) - 2, why, sensor_size=(720, 640))
