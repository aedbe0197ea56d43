"""AEDAT 4, HDF5, NumPy and text files give the events written to them."""

import sys

import numpy as np
import pytest
from event_files import array
from foreign_files import aedat4

from keras_snn import events

# 17 events in order, with a gap, on a sensor of 640 x 480.
ROWS = [
    (1_700_000_000_000_000 + 7 * i * i, 37 * i, 29 * i, i % 2)
    for i in range(17)
]
EXPECTED = array(*ROWS)
COLUMNS = dict(zip("txyp", np.array(ROWS).T, strict=True))


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="h5py is not installed")


@pytest.fixture
def aedat():
    return pytest.importorskip("aedat", reason="aedat is not installed")


def check(path, expected=EXPECTED):
    found = events.read(path, sensor_size=(480, 640))
    assert found.dtype == events.DTYPE
    np.testing.assert_array_equal(found, expected)


def refused(path, why):
    """Asserts that `read` refuses a file in one sentence that names it."""
    with pytest.raises(ValueError, match=why) as caught:
        events.read(path)
    assert str(caught.value).startswith(f"`{path}`")
    assert "\n" not in str(caught.value)


# AEDAT 4


def test_aedat4_packets_are_joined(path, aedat):
    path.write_bytes(aedat4((0, ROWS[:9]), (0, []), (0, ROWS[9:])))
    check(path)


def test_aedat4_must_hold_one_camera(path, aedat):
    path.write_bytes(aedat4(streams=("EVTS", "EVTS")))
    refused(path, "it has 2 streams of events, not 1")
    path.write_bytes(aedat4((0, [])))
    refused(path, "without any event")


@pytest.mark.parametrize("cut", [14, 30, 200, 700, -1])
def test_truncated_aedat4_is_refused(path, aedat, cut):
    path.write_bytes(aedat4((0, ROWS))[:cut])
    refused(path, "it cannot be read as AEDAT 4|the header has no description")


def test_aedat4_errors_of_the_decoder_are_one_sentence(path, aedat):
    content = aedat4((0, ROWS))
    # The decoder ends the process at a header that is not text.
    path.write_bytes(content.replace(b"typeId", b"type\xff\xdf"))
    refused(path, "the header has no description in XML")
    # It panics, which is not an `Exception`, at wrong offsets.
    path.write_bytes(content[:18] + b"\xf8\xff\0\0" + content[22:])
    refused(path, "it cannot be read as AEDAT 4: ")


# HDF5


def dsec(h5py, path, **options):
    """As in DSEC: 32-bit times, and the time of their zero beside them."""
    with h5py.File(path, "w") as file:
        for name, dtype in (("x", "u2"), ("y", "u2"), ("p", "u1"), ("t", "u4")):
            column = COLUMNS[name] - (ROWS[0][0] if name == "t" else 0)
            file.create_dataset(
                f"events/{name}", data=column.astype(dtype), **options
            )
        file["ms_to_idx"] = np.zeros(3, "u8")
        file["t_offset"] = np.int64(ROWS[0][0])


def test_dsec_times_are_relative_to_their_offset(path, h5py):
    dsec(h5py, path)
    check(path)


@pytest.mark.parametrize("filter_name", ["Blosc", "Zstd"])
def test_compressed_dsec_is_read(path, h5py, filter_name):
    plugin = pytest.importorskip(
        "hdf5plugin", reason="hdf5plugin is not installed"
    )
    dsec(h5py, path, compression=getattr(plugin, filter_name)(), chunks=(5,))
    check(path)


def test_plain_compression_is_read(path, h5py):
    dsec(h5py, path, compression="gzip", shuffle=True, chunks=(5,))
    check(path)


def test_compound_datasets_are_read(path, h5py):
    """As in Prophesee's files, without their own compression."""
    table = np.empty(17, [("x", "u2"), ("y", "u2"), ("p", "i2"), ("t", "i8")])
    for name, column in COLUMNS.items():
        table[name] = column
    with h5py.File(path, "w") as file:
        file["CD/events"] = table
    check(path)


def test_times_in_seconds_and_signed_polarities_are_known(path, h5py):
    with h5py.File(path, "w") as file:
        file["events/ts"] = np.arange(17) / 64
        file["events/xs"], file["events/ys"] = COLUMNS["x"], COLUMNS["y"]
        file["events/ps"] = 2 * COLUMNS["p"] - 1
    expected = EXPECTED.copy()
    expected["t"] = np.arange(17) * 15625
    check(path, expected)


def test_hdf5_must_hold_one_recording(path, h5py):
    with h5py.File(path, "w") as file:
        file["t"] = np.arange(9)
    refused(path, "it must have one group of t, x, y and p; it has none")
    with h5py.File(path, "w") as file:
        for side in ("left", "right"):
            for name, column in COLUMNS.items():
                file[f"{side}/{name}"] = column
    refused(path, "one group .*; it has '/left', '/right'")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_truncated_hdf5_is_refused(path, h5py, part):
    dsec(h5py, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    refused(path, "it cannot be read as HDF5: .*(truncated|open file)")


def test_columns_of_different_lengths_are_refused(path, h5py):
    dsec(h5py, path)
    with h5py.File(path, "a") as file:
        del file["events/y"]
        file["events/y"] = COLUMNS["y"][:-1]
    refused(path, "must be columns of numbers, of one length")


@pytest.mark.parametrize("package", ["h5py", "aedat", "hdf5plugin"])
def test_a_missing_package_is_named(path, monkeypatch, package):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    if package == "aedat":
        path.write_bytes(aedat4((0, ROWS)))
    else:
        dsec(h5py, path, compression="gzip", chunks=(5,))
    monkeypatch.setitem(sys.modules, package, None)
    if package == "hdf5plugin":
        # As if gzip were blosc, which h5py does not have.
        monkeypatch.setattr(h5py.h5z, "filter_avail", lambda _: False)
    why = rf"`{path}` needs {package}: pip install {package}$"
    with pytest.raises(ImportError, match=why):
        events.read(path)


def test_a_compression_without_plugin_is_named(path, monkeypatch, h5py):
    pytest.importorskip("hdf5plugin", reason="hdf5plugin is not installed")
    dsec(h5py, path, compression="gzip", chunks=(5,))
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda _: False)
    refused(path, r"hdf5plugin lacks its compression deflate \(1\)")


# NumPy


def structured(**names):
    table = np.empty(17, [(names.get(x, x), "i8") for x in "pxyt"])
    for name, column in COLUMNS.items():
        table[names.get(name, name)] = column
    return table


SAVED = {
    "fields": lambda file: np.save(file, structured()),
    "DTYPE": lambda file: np.save(file, EXPECTED),
    "aliases": lambda file: np.save(file, structured(t="Timestamp", p="pol")),
    "t first": lambda file: np.save(file, np.array(ROWS)),
    "t last": lambda file: np.save(
        file, np.roll(np.array(ROWS, "f8"), -1, axis=1)
    ),
    "signed, t last": lambda file: np.save(
        file, np.roll(np.array(ROWS, "f8") * [1, 1, 1, 2] - [0, 0, 0, 1], -1, 1)
    ),
    "arrays": lambda file: np.savez(file, **COLUMNS),
    "compressed": lambda file: np.savez_compressed(file, **COLUMNS),
    "one array": lambda file: np.savez(file, structured()),
    "more arrays": lambda file: np.savez(file, **COLUMNS, label=3),
}


def saved(path, save):
    with open(path, "wb") as file:
        save(file)


@pytest.mark.parametrize("name", SAVED)
def test_numpy_files_are_read(path, name):
    saved(path, SAVED[name])
    check(path)


@pytest.mark.parametrize(
    ("save", "why"),
    [
        (lambda file: np.save(file, np.zeros(9)), "name its columns t, x, y"),
        (lambda file: np.save(file, np.zeros((9, 4))), "order is unclear"),
        (lambda file: np.save(file, np.zeros((2, 9, 4))), "order is unclear"),
        (
            lambda file: np.save(file, np.zeros(9, [("a", "i8"), ("t", "i8")])),
            "it has the columns a, t, not t, x, y and p",
        ),
        (lambda file: np.savez(file, a=1, b=2), "it has the columns a, b, not"),
        (
            lambda file: np.savez(file, **COLUMNS | {"y": np.arange(16)}),
            "columns of numbers, of one length",
        ),
        (
            lambda file: np.savez(
                file, **COLUMNS | {"x": np.array(["a"] * 17)}
            ),
            "must be columns of numbers",
        ),
        (
            lambda file: np.savez(file, **COLUMNS | {"x": COLUMNS["x"] + 0.5}),
            "event 0: x=0.5 is not an integer",
        ),
        (
            lambda file: np.savez(file, **COLUMNS | {"t": np.full(17, np.nan)}),
            "event 0: t=nan is not an integer",
        ),
        (
            lambda file: np.savez(file, **COLUMNS | {"t": np.full(17, 1e300)}),
            "event 0: t=1e[+]300 is not an integer below",
        ),
        (
            lambda file: np.savez(file, **COLUMNS | {"y": -COLUMNS["y"]}),
            "event 1: x=37, y=-29 is outside the sensor",
        ),
        (
            lambda file: np.savez(file, **COLUMNS | {"p": COLUMNS["p"] * 2}),
            "event 1: the polarity is 2, not 0 or 1",
        ),
        (
            lambda file: np.savez(file, **COLUMNS | {"p": COLUMNS["p"] - 1}),
            "the polarity is -1, not 0 or 1",
        ),
        (
            lambda file: np.save(file, np.array([{}] * 4), allow_pickle=True),
            "Object arrays cannot be loaded",
        ),
        (lambda file: np.save(file, EXPECTED[:0]), "without any event"),
    ],
)
def test_other_numpy_files_are_refused(path, save, why):
    saved(path, save)
    refused(path, why)


@pytest.mark.parametrize("name", ["fields", "arrays", "compressed"])
@pytest.mark.parametrize("part", [0.2, 0.6, 0.98])
def test_truncated_numpy_files_are_refused(path, name, part):
    saved(path, SAVED[name])
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    refused(path, "it cannot be read as NumPy: ")


# Text

TEXTS = {
    "header": ("t,x,y,p\n", "{t},{x},{y},{p}"),
    "other order": ("x, y, polarity, timestamp\n", "{x}, {y}, {p}, {t}"),
    "comment": ("# t x y p\n", "{t} {x} {y} {p}"),
    "more columns": ("id;t;x;y;on\n", "7;{t};{x};{y};{p}"),
    "comment like Prophesee": ("% t x y p\n", "{t} {x} {y} {p}"),
    "geometry": ("%geometry:640,480\n", "{x},{y},{p},{t}"),
    "t first": ("", "{t} {x} {y} {p}"),
    "t last": ("", "{x}\t{y}\t{p}\t{t}"),
    "micro": ("# time in \u00b5s\n\n# more\n", "{t} {x} {y} {p}"),
    "exponents": ("", "{t:.18e} {x:.18e} {y:.18e} {p:.18e}"),
    "windows": ("\ufefft,x,y,p\r\n", "{t},{x},{y},{p}\r"),
}


def text(head, line, rows=ROWS):
    lines = (line.format(t=t, x=x, y=y, p=p) for t, x, y, p in rows)
    return (head + "\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_read(path, name):
    path = path.with_suffix(".csv")
    path.write_bytes(text(*TEXTS[name]))
    check(path)


def test_texts_are_known_by_their_content(path):
    path.write_bytes(text(*TEXTS["header"]))
    check(path)


def test_seconds_have_a_fraction(path):
    # The first lines of the Event Camera Dataset's `shapes_rotation`.
    path.write_bytes(
        b"0.000000000 33 39 1\n0.000011001 158 145 1\n0.000050000 88 143 0\n"
    )
    assert events.read(path).tolist() == [
        (0, 33, 39, 1),
        (11, 158, 145, 1),
        (50, 88, 143, 0),
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"t,x,y,p\n", "the text has no line of numbers"),
        (b"one two three four five\n", "the text has no line of numbers"),
        (
            b"a,b,c,d\n1,2,3,1\n",
            "it has the columns a, b, c, d, not t, x, y and p",
        ),
        (b"t,x,y,p\n1,2,3\n2,3,4\n", "4 names for 3 columns"),
        (b"t,x,y,p\n1,2,3,1\n2,3,x,1\n", "read as text: could not convert"),
        (
            b"t,x,y,p\n1,2,3,1\n2,3,4\n",
            "read as text: the number of columns changed",
        ),
        (b"1 2 3\n4 5 6\n", "name its columns t, x, y and p"),
        (b"1 2 1 1\n4 5 0 1\n", "order is unclear"),
        (b"1 2 9 5\n4 5 8 5\n", "order is unclear"),
        (b"8 20 3 1\n2 50 4 0\n", "order is unclear"),
        (b"nan 20 3 1\n2 50 4 0\n", "order is unclear"),
        (b"t,x,y,p\n9,1,1,1\n8,1,1,1\n", "event 1: time runs backwards"),
        (
            b"t,x,y,p\n9,1,1,1\n1e20,1,1,1\n",
            r"event 1: t=1e\+20 is not an integer below 2\*\*60",
        ),
    ],
)
def test_unclear_and_damaged_texts_are_refused(path, content, why):
    path = path.with_suffix(".txt")
    path.write_bytes(content)
    refused(path, why)


def test_a_truncated_text_is_refused(path):
    content = text(*TEXTS["t last"])
    for cut in (3, 15):
        path.write_bytes(content[:-cut])
        refused(path, "unclear|number of columns")


def test_bytes_in_a_text_are_refused(path):
    content = bytearray(text(*TEXTS["t first"]))
    content[100] = 0xE9
    path.write_bytes(content)
    refused(path, "it cannot be read as text: ")
