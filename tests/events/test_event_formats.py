"""Files of recordings: N-MNIST's format, detection of formats, writing."""

import gzip
import pathlib
import re
import tempfile
import zipfile

import numpy as np
import pytest
from event_files import (
    AEDAT2,
    AEDAT3,
    aedat2_event,
    aedat3_event,
    array,
    at,
    bin_event,
    packet,
    recordings,
    refused,
    some_events,
)
from foreign_files import DAT, EVT2, EVT3, EVT21
from hypothesis import given
from hypothesis import strategies as st

from keras_snn import events


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
    found = {file: events.read(file, (34, 34)) for file in recordings("nmnist")}
    assert len(found) == 738
    ends = [recording["t"][-1] for recording in found.values()]
    assert (min(ends) // 1000, max(ends) // 1000) == (296, 336)
    gestures = recordings("dvs_gesture")
    numbers = [
        len(events.read(file, sensor_size=(128, 128))) for file in gestures
    ]
    assert (len(gestures), min(numbers), max(numbers)) == (5, 63_471, 151_879)


def test_row_240_advances_the_clock(path):
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


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(bin_event(0, x=35, y=10), id="newline in y"),
        pytest.param(bin_event(0x0A_0000, x=35, y=65), id="newline in t"),
        pytest.param(bin_event(0x20_2020, x=35, y=65), id="text, but short"),
        pytest.param(bin_event(1, x=35, y=33) * 2, id="not printable"),
        pytest.param(bin_event(0x41_C1C1, 35, 65, 1) * 2, id="not ascii"),
    ],
)
def test_events_may_look_like_a_header(path, content):
    path.write_bytes(content)
    assert events.read(path)["x"].tolist() == list(content[::5])


def test_a_header_without_version_is_refused(path):
    line = b"# This is a raw AE data file - do not edit\r\n"
    content = line + aedat2_event(7)
    refused(path, content, 0, "this is AEDAT of an unknown version")


@pytest.mark.parametrize("version", ["1.0", "3.0", "4.1", "2.01", ""])
def test_other_versions_are_refused(path, version):
    content = f"#!AER-DAT{version}\r\n".encode() + aedat2_event(7)
    refused(path, content, 0, "this is AEDAT of an unknown version, not a")


def saved(save, suffix):
    """Returns the content that a library writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"file{suffix}"
        save(path)
        return path.read_bytes()


def image_file(suffix):
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    return saved(pillow.new("L", (8, 8)).save, suffix)


def matlab_file():
    io = pytest.importorskip("scipy.io", reason="SciPy is not installed")
    return saved(lambda path: io.savemat(path, {"x": np.zeros(9)}), ".mat")


OTHERS = {
    "PNG": lambda: image_file(".png"),
    "JPEG": lambda: image_file(".jpg"),
    "GIF": lambda: image_file(".gif"),
    "gzip": lambda: gzip.compress(bin_event(1) * 9),
    "MATLAB": matlab_file,
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_formats_are_refused_by_their_beginning(path, other):
    content = OTHERS[other]()
    # Whole events of five bytes, which would be read otherwise.
    content += b"\0" * (-len(content) % 5)
    refused(path, content, 0, f"this is .*{other}.*, not a recording that")


@pytest.mark.parametrize(
    ("suffix", "why"),
    [
        (".mat", "this is a MATLAB file, not a recording that `read` knows"),
        (".jpeg", "this is a JPEG image, not"),
        (".GZ", "this is a gzip archive, not"),
        (".zip", "this is a zip archive, not"),
        (".npy", "it does not begin like a NumPy file"),
        (".H5", "it cannot be read as HDF5"),
        (".csv", "it cannot be read as text|the text has no line"),
        (".raw", "the header must state EVT 2, EVT 2.1 or EVT 3"),
        (".dat", "the header must state EVT 2, EVT 2.1 or EVT 3"),
    ],
)
def test_the_suffix_counts_if_the_beginning_says_nothing(path, suffix, why):
    pytest.importorskip("h5py", reason="h5py is not installed")
    path = path.with_suffix(suffix)
    path.write_bytes(bin_event(1))
    with pytest.raises(ValueError, match=why) as caught:
        events.read(path)
    assert str(caught.value).startswith(f"`{path}`")


def test_a_zip_archive_without_arrays_is_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.bin", b"abcde")
    with pytest.raises(ValueError, match=f"`{path}`: .* a.bin, not t, x, y"):
        events.read(path)


@pytest.mark.parametrize("suffix", ["", ".bin", ".aedat", ".bs2"])
def test_the_suffix_of_a_known_format_does_not_matter(path, suffix):
    path = path.with_suffix(suffix)
    path.write_bytes(bin_event(1))
    assert len(events.read(path)) == 1
    path = path.with_suffix(".dat")
    path.write_bytes(AEDAT2 + aedat2_event(1))
    assert len(events.read(path)) == 1


def test_a_missing_file_raises_as_usual(path):
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
            id="backwards after the clock",
        ),
    ],
)
def test_damaged_files_are_refused_by_name_and_place(path, content, place, why):
    refused(path, content, place, why)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (bin_event(1, 39, 29) + bin_event(2, 29, 30), 5),
        (bin_event(1) + bin_event(1, y=240) + bin_event(2, 40, 29), 10),
        (AEDAT2 + aedat2_event(1, 0x7FFE) + aedat2_event(1), len(AEDAT2) + 8),
        (
            AEDAT3 + packet(aedat3_event(9), aedat3_event(9, x=32767)),
            len(AEDAT3) + 28 + 8,
        ),
    ],
    ids=["row", "column", "aedat2", "aedat3"],
)
def test_events_outside_the_sensor_are_refused(path, content, place):
    why = "is outside the sensor, 30 x 40"
    refused(path, content, place, why, sensor_size=(30, 40))
    assert len(events.read(path)) == 2
    assert len(events.read(path, sensor_size=(32768, 32768))) == 2


@pytest.mark.parametrize("size", [34, (34,), (0, 34), (34, -1), "ab", (3.0, 3)])
def test_sensor_sizes_are_checked(path, size):
    with pytest.raises((TypeError, ValueError), match="`sensor_size` must be"):
        events.read(path, sensor_size=size)


def test_sorting_keeps_the_order_of_equal_times(path, rng):
    times, columns = rng.integers(0, 9, 1000), rng.integers(0, 200, 1000)
    pairs = list(zip(times.tolist(), columns.tolist(), strict=True))
    path.write_bytes(b"".join(bin_event(t, x) for t, x in pairs))
    found = events.read(path, sort=True)
    expected = sorted(pairs, key=lambda pair: pair[0])  # Python's is stable
    assert found[["t", "x"]].tolist() == expected


BEGINNINGS = [
    b"",
    AEDAT2,
    AEDAT3,
    AEDAT3[:-14],
    AEDAT3 + packet(aedat3_event(9)),
    DAT + bytes([12, 8]),
    EVT2 + b"\0\0\0\x80",
    EVT21 + b"\0\0\0\0\0\0\0\x80",
    EVT3 + b"\0\x80\x01\0",
    b"\x93NUMPY\x01\0",
    b"PK\x03\x04",
    b"t,x,y,p\n1,2,3,1\n",
]


@given(
    start=st.sampled_from(BEGINNINGS),
    rest=st.binary(max_size=120),
    sort=st.booleans(),
)
def test_any_bytes_give_events_or_an_error_that_names_the_file(
    tmp_path_factory, start, rest, sort
):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + rest)
    why = None
    try:
        found = events.read(path, sort=sort)
    except ValueError as error:
        why = str(error)
    if why is not None:
        assert why.startswith(f"`{path}`")
        assert "\n" not in why
        place = re.match(r"`[^`]*`, byte (\d+)", why)
        assert not place or int(place[1]) <= len(start + rest)
    else:
        assert len(found) > 0
        assert (np.diff(found["t"]) >= 0).all()
        assert set(found["p"].tolist()) <= {0, 1}


# Writing


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
def test_written_events_are_read_back(tmp_path_factory, recording):
    path = tmp_path_factory.getbasetemp() / "again.bin"
    events.write(path, recording)
    np.testing.assert_array_equal(events.read(path), recording)


def test_rewritten_recordings_are_identical(path):
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
            "must not have y=240, .* event 1",
        ),
        (array((1, 1, 1, 2)), r"p in \[0, 2\). Received: p=2 at event 0"),
        (
            at(4, 4, 5, 3),
            "in order of time. Received: t=5 before t=3 at event 3",
        ),
    ],
    ids=["none", "late", "negative", "x", "y", "clock", "polarity", "order"],
)
def test_events_that_do_not_fit_are_not_written(path, recording, why):
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
def test_only_arrays_of_events_are_written_or_counted(path, recording):
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
    complete = pathlib.Path.write_bytes

    def half(self, content):
        complete(self, content[:7])
        raise OSError("No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left"):
        events.write(path, at(1, 2, 3))
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
