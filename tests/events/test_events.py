import fractions
import importlib
import importlib.util
import math
import os
import pathlib
import struct
import sys
import types
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_snn import events

SIBLING = pathlib.Path(__file__).parents[2] / "shared"
SHARED = pathlib.Path(os.environ.get("KERAS_SNN_SHARED") or SIBLING) / "events"

AEDAT2 = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n"
AEDAT3 = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
    b"#Start-Time: 2016-09-14 14:31:04 (TZ-0700)\r\n#!END-HEADER\r\n"
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording"


@pytest.fixture(scope="module")
def spikingjelly():
    """Its modules of event files, without the rest of its `datasets`."""
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed")
    pytest.importorskip("torch", reason="PyTorch is not installed")
    spec = importlib.util.find_spec("spikingjelly")
    folder = pathlib.Path(spec.submodule_search_locations[0]) / "datasets"
    stubs = {"spikingjelly.datasets": {"__path__": [str(folder)]}}
    if importlib.util.find_spec("torchvision") is None:
        # For pictures and downloads, neither of which is asked for.
        names = ["check_integrity", "download_url", "extract_archive"]
        stubs |= {
            "torchvision": {"transforms": None},
            "torchvision.datasets": {"DatasetFolder": object},
            "torchvision.datasets.utils": dict.fromkeys(names),
        }
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in stubs.items():
            module = types.ModuleType(name)
            vars(module).update(content)
            patch.setitem(sys.modules, name, module)
        modules = types.SimpleNamespace(
            utils=importlib.import_module("spikingjelly.datasets.utils"),
            cifar=importlib.import_module("spikingjelly.datasets.cifar10_dvs"),
        )
        yield modules
        for name in [n for n in sys.modules if n.startswith("spikingjelly.da")]:
            patch.delitem(sys.modules, name, raising=False)


def recordings(kind):
    found = sorted((SHARED / kind).rglob("*.bin"))
    if not found:
        pytest.skip(
            f"No recordings in {SHARED / kind}: KERAS_SNN_SHARED may name the "
            "folder that holds events"
        )
    return found


def array(*rows):
    """Events from rows of t, x, y, p."""
    return np.array(list(rows), events.DTYPE)


def at(*times):
    """Events of one pixel."""
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
    path.write_bytes(content)
    with pytest.raises(ValueError, match=why) as caught:
        events.read(path, **arguments)
    assert str(caught.value).startswith(f"`{path}`, byte {place}: ")


@st.composite
def some_events(draw, largest=2**23 - 1, side=34, least=0):
    times = draw(st.lists(st.integers(0, largest), min_size=least, max_size=60))
    place = st.integers(0, side - 1)
    rows = [
        (t, draw(place), draw(place), draw(st.integers(0, 1)))
        for t in sorted(times)
    ]
    return array(*rows)


END = len(AEDAT3)
NEXT = END + 28 + 8  # behind a packet of one event
ONE = packet(aedat3_event(9))
BAD = "no packet has type"


# Reading: 40-bit address events.


def test_forty_bits_are_column_row_polarity_and_time(path):
    path.write_bytes(
        bytes([3, 7, 0x80, 0x00, 0x02])  # time 2
        + bytes([33, 0, 0x01, 0x02, 0x03])  # time 0x010203
        + bytes([255, 254, 0xFF, 0xFF, 0xFF])  # time 2^23 - 1
    )
    found = events.read(path)
    assert found.dtype == events.DTYPE
    assert found.tolist() == [
        (2, 3, 7, 1),
        (66051, 33, 0, 0),
        (8388607, 255, 254, 1),
    ]


@pytest.mark.parametrize("kind", ["nmnist", "dvs_gesture"])
def test_recordings_are_read_as_by_spikingjelly(kind, spikingjelly):
    for file in recordings(kind):
        found = events.read(file)
        expected = spikingjelly.utils.load_ATIS_bin(file)
        for name in "txyp":
            np.testing.assert_array_equal(found[name], expected[name])


def test_the_recordings_are_what_their_readme_says():
    found = {
        file: events.read(file, "bin", (34, 34))
        for file in recordings("nmnist")
    }
    assert len(found) == 738
    ends = [recording["t"][-1] for recording in found.values()]
    assert (min(ends) // 1000, max(ends) // 1000) == (296, 336)
    gestures = recordings("dvs_gesture")
    numbers = [
        len(events.read(file, sensor_size=(128, 128))) for file in gestures
    ]
    assert (len(gestures), min(numbers), max(numbers)) == (5, 63_471, 151_879)


def test_row_240_turns_the_clock_on(path):
    path.write_bytes(
        bin_event(8000)
        + bin_event(0, y=240)
        + bin_event(100, x=2)
        + bin_event(200, x=9, y=240, p=1)
        + bin_event(200, y=239)
        + bin_event(200, y=241)
    )
    assert events.read(path).tolist() == [
        (8000, 1, 1, 0),
        (100 + 2**13, 2, 1, 0),
        (200 + 2**14, 1, 239, 0),
        (200 + 2**14, 1, 241, 0),
    ]


# Reading: AEDAT 2.0.


def test_dvs128_addresses_count_from_the_lower_right_and_0_is_on(path):
    path.write_bytes(
        AEDAT2
        # y 5 of the bottom, x 3 of the right, ON; and the three's opposites.
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
        f"0x{1 << bit:x} is no address of a DVS128",
    )


def test_the_camera_named_in_the_header_is_heeded(path):
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


@pytest.mark.parametrize(
    "header", [b"", b"# no version\r\n", b"#!AER-DAT2.0\n#\n#End\n"]
)
def test_a_named_format_needs_no_version(path, header):
    path.write_bytes(header + aedat2_event(7))
    assert events.read(path, format="aedat2")["t"].tolist() == [7]


# Reading: AEDAT 3.1.


def test_packets_of_polarity_events_are_read(path):
    path.write_bytes(
        AEDAT3
        # valid, ON, y 2, x 1; time 258; then x 32767, y 0, OFF.
        + bytes([1, 0, 1, 0, 8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0])
        + bytes([2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0])
        + bytes([0b1011, 0, 2, 0, 2, 1, 0, 0])
        + bytes([1, 0, 0xFE, 0xFF, 3, 1, 0, 0])
        # and x 0, y 32767, ON, in a packet of its own.
        + packet(bytes([0xFF, 0xFF, 1, 0, 4, 1, 0, 0]))
    )
    assert events.read(path).tolist() == [
        (258, 1, 2, 1),
        (259, 32767, 0, 0),
        (260, 0, 32767, 1),
    ]


def test_the_overflow_counts_in_two_to_the_31_microseconds(path):
    path.write_bytes(
        AEDAT3
        + packet(aedat3_event(2**31 - 1))
        + packet(aedat3_event(1, valid=0), overflow=2)
        + packet(aedat3_event(4), aedat3_event(6), overflow=3)
    )
    expected = [2**31 - 1, 3 * 2**31 + 4, 3 * 2**31 + 6]
    assert events.read(path)["t"].tolist() == expected


def test_other_packets_free_room_and_events_not_valid_are_left_out(path):
    path.write_bytes(
        AEDAT3
        # Type 35 looks like the `#` of one more header line.
        + packet(b"\n" * 40, kind=35, size=40, place=12, valid=1)
        + packet(b"\1" * 40, kind=2, size=40, place=12)
        + packet(aedat3_event(1, x=3), aedat3_event(2, valid=0), room=3)
        + aedat3_event(9)  # in the room for a third one, which is not there
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


# Reading: which format, and what is refused.


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(bin_event(0, x=35, y=10), id="newline in y"),
        pytest.param(bin_event(0x0A_0000, x=35, y=65), id="newline in t"),
        pytest.param(bin_event(0x20_2020, x=35, y=65), id="text, but short"),
        pytest.param(bin_event(1, x=35, y=33) * 2, id="not printable"),
        pytest.param(bin_event(0x41_C1C1, 35, 65, 1) * 2, id="not ascii"),
        pytest.param(bin_event(0x41_4141, x=65, y=65) * 2, id="no #"),
    ],
)
def test_what_looks_like_a_header_may_be_an_event(path, content):
    path.write_bytes(content)
    assert events.read(path)["x"].tolist() == list(content[::5])


def test_a_header_without_version_is_refused_unless_the_format_is_named(path):
    content = b"# This is a raw AE data file - do not edit\r\n" + aedat2_event(
        7
    )
    refused(path, content, 0, "does not tell the version; name it as `format`")


@pytest.mark.parametrize("version", ["1.0", "3.0", "4.0", "2.01", ""])
def test_other_versions_are_named(path, version):
    content = f"#!AER-DAT{version}\r\n".encode() + aedat2_event(7)
    refused(path, content, 0, f"2.0 and 3.1 are read, not '{version}'")


@pytest.mark.parametrize(
    ("format", "content", "why"),
    [
        ("aedat2", AEDAT3, "must be 2.0, not '3.1'"),
        ("aedat3", AEDAT2, "must be 3.1, not '2.0'"),
        ("aedat3", ONE, "stops without the line #!END-HEADER"),
    ],
)
def test_a_named_format_is_not_read_as_another(path, format, content, why):
    refused(path, content, 0, why, format=format)


def test_unknown_formats_are_refused_before_the_file_is_opened(path):
    with pytest.raises(
        ValueError, match="`format` must be one of 'bin', .*'aer'"
    ):
        events.read(path, format="aer")


def test_a_missing_file_is_missing(path):
    with pytest.raises(FileNotFoundError):
        events.read(path)


@pytest.mark.parametrize(
    ("content", "place", "why"),
    [
        pytest.param(b"", 0, "without any event", id="empty"),
        pytest.param(
            bin_event(1) * 2 + b"abc", 10, "ends 3 bytes", id="bin cut"
        ),
        pytest.param(
            bin_event(0, y=240), 5, "without any event", id="clock only"
        ),
        pytest.param(
            bin_event(5) + bin_event(9) + bin_event(8),
            10,
            "backwards, from 9 to 8 us; `sort=True`",
            id="bin backwards",
        ),
        pytest.param(
            bin_event(9) + bin_event(0, y=240) + bin_event(8) + bin_event(7),
            15,
            "backwards, from 8200 to 8199 us",
            id="backwards behind the clock",
        ),
        pytest.param(
            AEDAT2, len(AEDAT2), "without any event", id="2.0 header only"
        ),
        pytest.param(
            AEDAT2[:-1], 14, "last line does not end", id="2.0 header cut"
        ),
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
            END - 14,
            "stops without the line #!END-HEADER",
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
            AEDAT3 + ONE + ONE[:27], NEXT, "ends 27 bytes", id="3.1 cut"
        ),
        pytest.param(
            AEDAT3 + ONE + ONE[:-1],
            NEXT,
            "has 1 times 8 bytes, but the file 7 more",
            id="3.1 cut in an event",
        ),
        pytest.param(
            AEDAT3 + packet(kind=2, size=2**31 - 1, room=2**31 - 1),
            END,
            "has 2147483647 times 2147483647 bytes, but the file 0 more",
            id="3.1 absurd packet",
        ),
        pytest.param(
            AEDAT3 + packet(aedat3_event(9), number=2, room=2),
            END,
            "but the file 8",
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
            AEDAT3 + ONE + packet(aedat3_event(9), aedat3_event(9), valid=1),
            NEXT,
            "says that 1 events are valid, but 2 are marked so",
            id="3.1 valid events",
        ),
        pytest.param(
            AEDAT3 + ONE + packet(aedat3_event(9), source=2),
            NEXT,
            "events of camera 2 follow some of 1",
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
def test_what_is_no_recording_is_refused_by_file_and_place(
    path, content, place, why
):
    refused(path, content, place, why)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (bin_event(1, 39, 29) + bin_event(2, 29, 30), 5),
        (bin_event(1) + bin_event(1, y=240) + bin_event(2, 40, 29), 10),
        (AEDAT2 + aedat2_event(1, 0x7FFE) + aedat2_event(1), len(AEDAT2) + 8),
        (AEDAT3 + ONE + packet(aedat3_event(9, x=32767)), NEXT + 28),
    ],
    ids=["row", "column", "aedat2", "aedat3"],
)
def test_events_outside_the_sensor_are_refused(path, content, place):
    why = "outside the sensor of height 30 and width 40"
    refused(path, content, place, why, sensor_size=(30, 40))
    assert len(events.read(path)) == 2
    assert len(events.read(path, sensor_size=(32768, 32768))) == 2


@pytest.mark.parametrize("size", [34, (34,), (0, 34), (34, -1), "ab", (3.0, 3)])
def test_sensor_sizes_are_checked(path, size):
    with pytest.raises((TypeError, ValueError), match="`sensor_size` must be"):
        events.read(path, sensor_size=size)


def test_sorting_is_by_time_and_leaves_ties_alone(path, rng):
    times, columns = rng.integers(0, 9, 1000), rng.integers(0, 200, 1000)
    pairs = list(zip(times.tolist(), columns.tolist(), strict=True))
    path.write_bytes(b"".join(bin_event(t, x) for t, x in pairs))
    found = events.read(path, sort=True)
    expected = sorted(pairs, key=lambda pair: pair[0])  # Python's is stable
    assert found[["t", "x"]].tolist() == expected


@given(
    start=st.sampled_from([b"", AEDAT2, AEDAT3, AEDAT3[:-14], AEDAT3 + ONE]),
    rest=st.binary(max_size=120),
    format=st.sampled_from([None, *events.FORMATS]),
    sort=st.booleans(),
)
def test_any_bytes_are_events_or_an_error_that_names_the_file(
    tmp_path_factory, start, rest, format, sort
):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + rest)
    why = None
    try:
        found = events.read(path, format=format, sort=sort)
    except ValueError as error:
        why = str(error)
    if why is not None:
        assert why.startswith(f"`{path}`, byte ")
        assert (
            0 <= int(why.split(", byte ")[1].split(":")[0]) <= len(start + rest)
        )
    else:
        assert len(found) > 0
        assert (np.diff(found["t"]) >= 0).all()
        assert set(found["p"].tolist()) <= {0, 1}


# Writing.


def test_events_are_written_as_forty_bits(path):
    events.write(
        path, array((2, 3, 7, 1), (66051, 33, 0, 0), (8388607, 255, 255, 1))
    )
    assert list(path.read_bytes()) == [
        *(3, 7, 0x80, 0x00, 0x02),
        *(33, 0, 0x01, 0x02, 0x03),
        *(255, 255, 0xFF, 0xFF, 0xFF),
    ]


@given(recording=some_events(side=240, least=1))
def test_what_is_written_is_read_again(tmp_path_factory, recording):
    path = tmp_path_factory.getbasetemp() / "again.bin"
    events.write(path, recording)
    np.testing.assert_array_equal(events.read(path, format="bin"), recording)


def test_recordings_are_written_as_they_were(path):
    for file in [*recordings("nmnist")[::50], *recordings("dvs_gesture")]:
        events.write(path, events.read(file))
        assert path.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("recording", "why"),
    [
        (array(), "at least one event"),
        (
            array((2**23, 1, 1, 0)),
            r"t in \[0, 8388608\). Received: t=8388608 at event 0",
        ),
        (array((-1, 1, 1, 0)), "Received: t=-1 at event 0"),
        (
            array((1, 1, 1, 0), (2, 256, 1, 0)),
            r"x in \[0, 256\). Received: x=256 at event 1",
        ),
        (array((1, 1, 256, 0)), r"y in \[0, 256\). Received: y=256 at event 0"),
        (
            array((1, 1, 1, 0), (1, 1, 240, 0)),
            "must not have y=240, .* at event 1",
        ),
        (array((1, 1, 1, 2)), r"p in \[0, 2\). Received: p=2 at event 0"),
        (at(4, 5, 3), "in order of time. Received: t=5 before t=3 at event 2"),
    ],
    ids=["none", "late", "negative", "x", "y", "clock", "polarity", "order"],
)
def test_what_does_not_fit_is_not_written(path, recording, why):
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=why):
        events.write(path, recording)
    assert path.read_bytes() == b"old"


NOT_EVENTS = {
    "list": [(1, 1, 1, 0)],
    "no fields": np.zeros((3, 4)),
    "two axes": np.zeros((2, 2), events.DTYPE),
    "no t": np.zeros(3, [("x", "u1"), ("y", "u1"), ("p", "u1")]),
    "float": np.zeros(3, [(name, "f8") for name in "txyp"]),
    "none": None,
}


@pytest.mark.parametrize("recording", NOT_EVENTS.values(), ids=NOT_EVENTS)
def test_only_events_are_written_or_counted(path, recording):
    for use in (
        lambda e: events.write(path, e),
        lambda e: events.to_frames(e, 2),
    ):
        with pytest.raises(
            TypeError, match="`events` must be an array .* 't', 'x'"
        ):
            use(recording)
    assert not path.exists()


def test_a_full_disk_leaves_the_old_file(path, monkeypatch):
    path.write_bytes(b"old")
    whole = pathlib.Path.write_bytes

    def half(self, content):
        whole(self, content[:7])
        raise OSError("No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left"):
        events.write(path, at(1, 2, 3))
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


# Frames.


def per_frame(frames):
    return frames.sum((1, 2, 3)).tolist()


def test_frames_are_counts_of_off_and_on_by_row_and_column():
    recording = array((0, 2, 1, 0), (0, 2, 1, 1), (1, 2, 1, 1), (2, 0, 3, 0))
    frames = events.to_frames(recording, 2, sensor_size=(4, 3))
    assert frames.shape == (2, 4, 3, 2)
    assert frames.dtype == np.float32
    expected = np.zeros((2, 4, 3, 2))
    expected[0, 1, 2] = 1, 1
    expected[1, 1, 2] = 0, 1
    expected[1, 3, 0] = 1, 0
    np.testing.assert_array_equal(frames, expected)


@pytest.mark.parametrize(
    ("number", "timesteps", "expected"),
    [
        (7, 3, [2, 2, 3]),
        (6, 3, [2, 2, 2]),
        (5, 3, [1, 1, 3]),
        (2, 3, [0, 0, 2]),
        (0, 3, [0, 0, 0]),
        (7, 1, [7]),
    ],
)
def test_equal_numbers_leave_the_rest_to_the_last(number, timesteps, expected):
    recording = at(*[0] * (number // 2), *[9] * (number - number // 2))
    assert per_frame(events.to_frames(recording, timesteps)) == expected


@pytest.mark.parametrize(
    ("kind", "side"), [("nmnist", 34), ("dvs_gesture", 128)]
)
@pytest.mark.parametrize("timesteps", [1, 7, 20])
def test_equal_numbers_are_spikingjellys_bit_for_bit(
    kind, side, timesteps, spikingjelly
):
    for file in recordings(kind):
        frames = events.to_frames(events.read(file), timesteps, (side, side))
        expected = spikingjelly.utils.integrate_events_by_fixed_frames_number(
            spikingjelly.utils.load_ATIS_bin(file),
            "number",
            timesteps,
            side,
            side,
        )
        np.testing.assert_array_equal(frames, np.moveaxis(expected, 1, -1))


@pytest.mark.parametrize(
    ("times", "timesteps", "expected"),
    [
        ([0, 1, 2, 3, 4, 5, 6], 2, [3, 4]),  # [0, 3) and [3, 6]
        ([0, 1, 2, 3, 4, 5, 6], 4, [2, 1, 2, 2]),  # edges 1.5, 3, 4.5
        ([10, 110], 4, [1, 0, 0, 1]),
        ([10, 34, 35, 59, 60, 110], 4, [2, 2, 1, 1]),
        ([7, 7, 7], 3, [0, 0, 3]),  # no time passes: at the end
        ([7], 1, [1]),
        ([], 3, [0, 0, 0]),
        ([0, 2**61, 2**62], 2**10, [1] + [0] * 511 + [1] + [0] * 510 + [1]),
    ],
)
def test_equal_times_are_half_open_but_the_last(times, timesteps, expected):
    frames = events.to_frames(at(*times), timesteps, (10, 6), by="time")
    assert per_frame(frames) == expected


@given(recording=some_events(least=1), timesteps=st.integers(1, 30))
def test_equal_times_are_their_definition(recording, timesteps):
    frames = events.to_frames(recording, timesteps, by="time")
    first, last = recording["t"][[0, -1]].tolist()
    length = fractions.Fraction(last - first, timesteps)
    expected = np.zeros_like(frames)
    for t, x, y, p in recording.tolist():
        step = math.floor((t - first) / length) if t < last else timesteps - 1
        expected[step, y, x, p] += 1
    np.testing.assert_array_equal(frames, expected)


def test_equal_times_are_spikingjellys_where_those_are_whole(spikingjelly):
    compared = 0
    for file in recordings("nmnist"):
        recording = events.read(file)
        span = int(recording["t"][-1] - recording["t"][0])
        for timesteps in (n for n in range(2, 21) if span % n == 0):
            loaded = {name: recording[name] for name in "txyp"}
            expected = (
                spikingjelly.utils.integrate_events_by_fixed_frames_number(
                    loaded, "time", timesteps, 34, 34
                )
            )
            frames = events.to_frames(recording, timesteps, by="time")
            np.testing.assert_array_equal(frames, np.moveaxis(expected, 1, -1))
            compared += 1
    assert compared > 1000


@pytest.mark.parametrize(
    ("timesteps", "expected"),
    [
        (None, [2, 1, 0, 2]),
        (4, [2, 1, 0, 2]),
        (6, [2, 1, 0, 2, 0, 0]),
        (3, [2, 1, 0]),
        (1, [2]),
    ],
)
def test_fixed_durations_start_at_the_first_event_and_are_cut_on_request(
    timesteps, expected
):
    recording = at(5, 14, 15, 35, 44)  # [5, 15), [15, 25), [25, 35), [35, 45)
    frames = events.to_frames(recording, timesteps, by="time", duration=10)
    assert per_frame(frames) == expected


@pytest.mark.parametrize("duration", [1000, 15_000, 400_000])
def test_fixed_durations_are_spikingjellys(duration, spikingjelly):
    compared = 0
    for file in recordings("nmnist")[::10]:
        recording = events.read(file)
        if (recording["t"][-1] - recording["t"][0]) % duration == 0:
            continue  # its last frame is closed then
        loaded = {name: recording[name] for name in "txyp"}
        expected = spikingjelly.utils.integrate_events_by_fixed_duration(
            loaded, duration, 34, 34
        )
        frames = events.to_frames(recording, by="time", duration=duration)
        np.testing.assert_array_equal(frames, np.moveaxis(expected, 1, -1))
        compared += 1
    assert compared > 70


@pytest.mark.parametrize("duration", [2**62, 10**30])
def test_a_duration_may_be_longer_than_any_clock(duration):
    recording = at(5, 2**62)
    frames = events.to_frames(recording, 3, by="time", duration=duration)
    assert per_frame(frames) == [2, 0, 0]


def test_no_events_need_no_frames():
    frames = events.to_frames(at(), by="time", duration=10)
    assert frames.shape == (0, 34, 34, 2)
    assert per_frame(events.to_frames(at(), 2, by="time", duration=10)) == [
        0,
        0,
    ]


@given(
    recording=some_events(largest=2**20),
    frames=st.sampled_from(
        [
            {"timesteps": 1},
            {"timesteps": 20},
            {"timesteps": 20, "by": "time"},
            {"duration": 3000, "by": "time"},
            {"timesteps": 400, "duration": 3000, "by": "time"},
        ]
    ),
    downsample=st.sampled_from([1, 2, 17, 34]),
)
def test_no_event_is_lost(recording, frames, downsample):
    counted = events.to_frames(recording, **frames, downsample=downsample)
    assert counted.sum() == len(recording)
    on = recording["p"].sum()
    assert counted.sum((0, 1, 2)).tolist() == [len(recording) - on, on]


def test_of_real_recordings_no_event_is_lost():
    for file in recordings("nmnist"):
        recording = events.read(file)
        for by in ("number", "time"):
            frames = events.to_frames(recording, 20, by=by)
            assert frames.sum() == len(recording)


@pytest.mark.parametrize(
    ("crop", "rows", "columns"),
    [
        ((4, 5), slice(0, 4), slice(0, 5)),
        ((2, 3), slice(1, 3), slice(1, 4)),
        ((1, 2), slice(1, 2), slice(1, 3)),  # the odd ones: below and right
        ((4, 1), slice(0, 4), slice(2, 3)),
    ],
)
def test_cropping_keeps_the_middle(crop, rows, columns, rng):
    recording = np.zeros(200, events.DTYPE)
    recording["x"], recording["y"] = (
        rng.integers(0, 5, 200),
        rng.integers(0, 4, 200),
    )
    whole = events.to_frames(recording, 3, (4, 5))
    cropped = events.to_frames(recording, 3, (4, 5), crop=crop)
    np.testing.assert_array_equal(cropped, whole[:, rows, columns])


def test_downsampling_sums_squares(rng):
    recording = np.zeros(500, events.DTYPE)
    recording["x"], recording["y"] = (
        rng.integers(0, 8, 500),
        rng.integers(0, 6, 500),
    )
    recording["p"] = rng.integers(0, 2, 500)
    whole = events.to_frames(recording, 3, (6, 8))
    halved = events.to_frames(recording, 3, (6, 8), downsample=2)
    expected = whole.reshape(3, 3, 2, 4, 2, 2).sum((2, 4))
    np.testing.assert_array_equal(halved, expected)
    both = events.to_frames(recording, 3, (6, 8), crop=(3, 6), downsample=3)
    expected = whole[:, 1:4, 1:7].reshape(3, 1, 3, 2, 3, 2).sum((2, 4))
    np.testing.assert_array_equal(both, expected)


def test_binary_frames_tell_whether_not_how_often():
    frames = events.to_frames(at(1, 1, 1, 2), 2)
    binary = events.to_frames(at(1, 1, 1, 2), 2, binary=True)
    assert frames.max() == 2
    np.testing.assert_array_equal(binary, frames > 0)


def test_other_integers_and_boolean_polarities_are_counted_alike():
    recording = array((1, 3, 2, 0), (2, 30, 20, 1))
    other = np.zeros(2, [("p", "?"), ("t", "u4"), ("y", "i2"), ("x", "i8")])
    for name in "txyp":
        other[name] = recording[name]
    np.testing.assert_array_equal(
        events.to_frames(other, 2), events.to_frames(recording, 2)
    )


SIGNED = [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1")]


@pytest.mark.parametrize(
    ("recording", "why"),
    [
        (
            array((1, 1, 1, 0), (1, 34, 33, 0)),
            r"x in \[0, 34\). Received: x=34 at event 1",
        ),
        (array((1, 33, 34, 0)), r"y in \[0, 34\). Received: y=34 at event 0"),
        (np.array([(1, -1, 0, 0)], SIGNED), "Received: x=-1 at event 0"),
        (np.array([(1, 0, -1, 0)], SIGNED), "Received: y=-1 at event 0"),
        (np.array([(1, 0, 0, -1)], SIGNED), "Received: p=-1 at event 0"),
        (at(4, 5, 3), "in order of time. Received: t=5 before t=3 at event 2"),
    ],
)
def test_events_that_cannot_be_counted_are_named(recording, why):
    with pytest.raises(ValueError, match=why):
        events.to_frames(recording, 2)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "`timesteps` must be an integer"),
        ({"by": "time"}, "`timesteps` must be an integer"),
        ({"timesteps": 0}, "`timesteps` must be at least 1"),
        ({"timesteps": 2.0}, "`timesteps` must be an integer"),
        (
            {"timesteps": 2, "by": "duration"},
            "`by` must be one of 'number', 'time'",
        ),
        ({"timesteps": 2, "duration": 5}, "`duration` must be `None` unless"),
        ({"by": "time", "duration": 0}, "`duration` must be at least 1"),
        ({"by": "time", "duration": 0.5}, "`duration` must be an integer"),
        ({"timesteps": 2, "sensor_size": 34}, "`sensor_size` must be"),
        ({"timesteps": 2, "crop": (35, 1)}, "`crop` must not be larger"),
        ({"timesteps": 2, "crop": (1, 35)}, "`crop` must not be larger"),
        ({"timesteps": 2, "crop": (0, 1)}, "`crop` must be at least 1"),
        ({"timesteps": 2, "downsample": 4}, "`downsample` must divide .* 34"),
        ({"timesteps": 2, "crop": (32, 33), "downsample": 2}, "width 33"),
        ({"timesteps": 2, "crop": (33, 32), "downsample": 2}, "height 33"),
        ({"timesteps": 2, "downsample": 0}, "`downsample` must be at least 1"),
        ({"timesteps": 2**20}, r"more than 2\*\*31 values"),
        ({"by": "time", "duration": 1}, r"Received: 4194305 frames of shape"),
    ],
)
def test_arguments_of_frames_are_checked(arguments, why):
    with pytest.raises((TypeError, ValueError), match=why):
        events.to_frames(at(0, 2**22), **arguments)


# The simulated camera.


@pytest.fixture
def image(rng):
    """A blurred blob on black, `uint8`."""
    image = np.zeros((12, 10))
    image[3:8, 2:7] = rng.random((5, 5))
    return (image * 255).astype("uint8")


def simulated(image, size, threshold, duration, distance):
    """The camera's definition, pixel by pixel and event by event.

    Returns a list of (time, polarity) per pixel.
    """
    height, width = image.shape
    top = (size[0] - height - distance) / 2
    left = (size[1] - width - distance) / 2
    corners = [(0, 0), (distance, distance / 2), (0, distance), (0, 0)]
    # Sixteen images per pixel of a leg, as documented beside the constant.
    steps = math.ceil(16 * distance * math.sqrt(1.25))

    def seen(row, column, corner):
        y = min(max(row - top - corner[0], 0), height - 1)
        x = min(max(column - left - corner[1], 0), width - 1)
        i, j = min(int(y), height - 2), min(int(x), width - 2)
        a, b = y - i, x - j
        light = (
            (1 - a) * ((1 - b) * image[i, j] + b * image[i, j + 1])
            + a * ((1 - b) * image[i + 1, j] + b * image[i + 1, j + 1])
        ) / 255
        return math.log(light + 0.2)

    found = {}
    for row, column in np.ndindex(*size):
        pixel = found[row, column] = []
        first = seen(row, column, corners[0])
        multiple, before = 0, 0.0
        for step in range(3 * steps):
            side, part = divmod(step, steps)
            way = (1 - math.cos(math.pi * (part + 1) / steps)) / 2
            (a, b), (c, d) = corners[side : side + 2]
            corner = ((1 - way) * a + way * c, (1 - way) * b + way * d)
            level = (seen(row, column, corner) - first) / threshold
            while level >= multiple + 1 or level <= multiple - 1:
                sign = 1 if level > multiple else -1
                multiple += sign
                passed = step + (multiple - before) / (level - before)
                pixel.append((passed * duration / steps, int(sign > 0)))
            before = level
    return found


@pytest.mark.parametrize("threshold", [0.3, 0.03], ids=["usual", "tiny"])
def test_the_camera_is_its_definition(image, threshold):
    size, duration, distance = (15, 14), 7000, 4.0
    recording = events.saccade(image, size, threshold, duration, distance)
    expected = simulated(image, size, threshold, duration, distance)
    for (y, x), pixel in expected.items():
        mine = recording[(recording["y"] == y) & (recording["x"] == x)]
        assert mine["p"].tolist() == [polarity for _, polarity in pixel]
        # Whole microseconds, rounded down; a rounding error may lie between.
        late = [
            t - found for (t, _), found in zip(pixel, mine["t"], strict=True)
        ]
        assert -1e-6 < min(late, default=0) <= max(late, default=0) < 1 + 1e-6
    assert len(recording) == sum(len(pixel) for pixel in expected.values())
    assert len(recording) > 300


def test_an_edge_passes_when_the_way_has_come_so_far():
    # A lower half of white, moving up-down by 6 from the margin 0: the pixel in
    # row 6 first sees black rows only, at the end of the first saccade, too.
    image = np.zeros((28, 28))
    image[:10] = 1
    recording = events.saccade(image, threshold=0.4, duration=100_000)
    pixel = recording[(recording["y"] == 12) & (recording["x"] == 16)]
    # Row 12 of the camera sees row 12 - way of the image: white from way 3 on,
    # black up to way 2, and in between the brightness is way - 2.
    bright = [0.2 * math.exp(0.4 * n) - 0.2 for n in (1, 2, 3, 4)]
    ways = [2 + light for light in bright]
    times = [math.acos(1 - 2 * way / 6) / math.pi * 1e5 for way in ways]
    assert pixel["p"].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    # Linear in between two of 108 images per saccade; they are 926 us apart.
    np.testing.assert_allclose(pixel["t"][:4], times, atol=100)
    # The second saccade takes the same way back, half as far to the right.
    back = [200_000 - t for t in times[::-1]]
    np.testing.assert_allclose(pixel["t"][4:7], back[1:], atol=100)


def test_the_image_goes_down_then_up_and_to_the_right_then_back():
    image = np.zeros((28, 28))
    image[14, 14] = 1
    recording = events.saccade(image)
    on = recording[recording["p"] == 1]
    # The last place of each saccade: margin 0 and 6 or 3 pixels further.
    for end, place in zip(
        (1, 2, 3), [(20, 17), (14, 20), (14, 14)], strict=True
    ):
        last = on[on["t"] <= end * 105_000][-1]
        assert abs(last["y"] - place[0]) <= 1
        assert abs(last["x"] - place[1]) <= 1


@pytest.mark.parametrize("mismatch", [0.0, 0.2])
def test_every_pixel_brightens_as_often_as_it_darkens(image, mismatch):
    recording = events.saccade(image, (20, 20), 0.1, mismatch=mismatch, seed=3)
    off, on = np.moveaxis(events.to_frames(recording, 1, (20, 20))[0], -1, 0)
    assert on.max() > 5
    np.testing.assert_array_equal(on, off)


@pytest.mark.parametrize("shade", [0, 77, 255])
def test_where_nothing_changes_nothing_happens(shade):
    recording = events.saccade(
        np.full((28, 28), shade, "uint8"), threshold=0.01
    )
    assert recording.dtype == events.DTYPE
    assert len(recording) == 0


def test_times_are_in_order_and_end_with_the_third_saccade(image):
    recording = events.saccade(image, (20, 20), duration=10_000)
    t = recording["t"]
    assert (np.diff(t) >= 0).all()
    assert 0 <= t[0] < 10_000
    assert 20_000 < t[-1] <= 30_000


def test_slower_is_the_same_later(image):
    once = events.saccade(image, (20, 20), duration=1000)
    twice = events.saccade(image, (20, 20), duration=2000)
    assert len(once) == len(twice)
    halves = np.sort(twice, order=["y", "x", "t"], kind="stable")
    singles = np.sort(once, order=["y", "x", "t"], kind="stable")
    # Whole microseconds: rounded down before and after doubling.
    assert set((halves["t"] - 2 * singles["t"]).tolist()) <= {0, 1}


def test_a_smaller_threshold_makes_more_events(image):
    numbers = [
        len(events.saccade(image, (20, 20), threshold))
        for threshold in (0.1, 0.2, 0.4, 0.8, 10.0)
    ]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] > numbers[3] > numbers[4] == 0


def test_bytes_floats_and_a_channel_axis_are_one_image(image):
    expected = events.saccade(image)
    for same in (image / 255, image[..., None], (image / 255)[..., None]):
        np.testing.assert_array_equal(events.saccade(same), expected)


def test_one_seed_is_one_camera(image):
    one, same, other, ideal = (
        events.saccade(image, mismatch=mismatch, seed=seed)
        for mismatch, seed in ((0.1, 7), (0.1, 7), (0.1, 8), (0.0, 7))
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(ideal, events.saccade(image))


def test_a_simulated_recording_is_written_and_counted_as_a_real_one(
    path, image
):
    recording = events.saccade(image)
    events.write(path, recording)
    found = events.read(path, sensor_size=(34, 34))
    np.testing.assert_array_equal(found, recording)
    assert events.to_frames(found, 20).sum() == len(recording)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"image": np.zeros((28, 28, 3))}, r"`image` must be of shape"),
        ({"image": np.zeros((0, 28))}, r"`image` must be of shape"),
        ({"image": np.zeros(28)}, r"`image` must be of shape"),
        (
            {"image": np.zeros((28, 28), int)},
            "`image` must be `uint8`, or floats",
        ),
        ({"image": np.full((28, 28), 255.0)}, "Received: values from 255.0 to"),
        ({"image": np.full((28, 28), np.nan)}, "Received: values from nan to"),
        ({"sensor_size": (34, 0)}, "`sensor_size` must be at least 1"),
        ({"threshold": 0.0}, "`threshold` must be above 0"),
        ({"duration": 0}, "`duration` must be at least 1"),
        ({"duration": 1.5}, "`duration` must be an integer"),
        ({"distance": -1}, "`distance` must be above 0"),
        ({"mismatch": -0.1}, "`mismatch` must be above 0"),
        ({"mismatch": None}, "`mismatch` must be a number"),
        ({"seed": "a"}, "`seed` must be"),
    ],
)
def test_arguments_of_the_camera_are_checked(bad, why):
    arguments = {"image": np.zeros((28, 28))} | bad
    with pytest.raises((TypeError, ValueError), match=why):
        events.saccade(**arguments)
