"""Files of other libraries: AEDAT 4, HDF5, NumPy and text.

Each reader takes the path of a file and its content. It returns `t`, `x`, `y`,
`p`, and `None` in place of positions in bytes.
"""

import contextlib
import importlib
import io
import itertools
import re

import numpy as np

from keras_snn.events.aedat import damaged

__all__ = ["read_aedat4", "read_hdf5", "read_numpy", "read_text"]

# Names of the columns.
ALIASES = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs"),
    "y": ("y", "ys"),
    "p": ("p", "ps", "pol", "polarity", "polarities", "on"),
}
# Larger times and addresses are damage.
LIMIT = 2**60
# The beginnings of comments in text.
COMMENTS = ("#", "%")


def read_aedat4(path, data):
    """Reads the events of one camera from AEDAT 4."""
    aedat = _imported(path, "aedat")
    with _reading(path, "AEDAT 4"):
        # The decoder ends the process if this part of the header is not text.
        header = re.search(rb"<dv\b.*?</dv>", data, re.DOTALL)
        if not header or not header[0].isascii():
            raise damaged(path, None, "the header has no description in XML")
        decoder = aedat.Decoder(str(path))
        kinds = [stream["type"] for stream in decoder.id_to_stream().values()]
        if kinds.count("events") != 1:
            why = f"it has {kinds.count('events')} streams of events, not 1"
            raise damaged(path, None, why)
        found = [packet["events"] for packet in decoder if "events" in packet]
        columns = (
            np.concatenate([part[name] for part in found] or [np.empty(0)])
            for name in ("t", "x", "y", "on")
        )
        return _checked(path, *columns)


def read_hdf5(path, _):
    """Reads the only recording in an HDF5 file."""
    h5py = _imported(path, "h5py")
    with _reading(path, "HDF5"), h5py.File(path) as file:
        found = []

        def visit(_, item):
            compound = isinstance(item, h5py.Dataset)
            names = _named(item.dtype.names or () if compound else item)
            if names:
                found.append((item, compound, names))

        visit("", file)
        file.visititems(visit)
        if len(found) != 1:
            groups = ", ".join(repr(item.name) for item, *_ in found) or "none"
            why = f"it must have one group of t, x, y and p; it has {groups}"
            raise damaged(path, None, why)
        item, compound, names = found[0]
        for part in [item] if compound else [item[name] for name in names]:
            _check_filters(path, h5py, part)
        table = item[()] if compound else item
        t, *others = (table[name][()] for name in names)
        # In DSEC, times count from here.
        if "t_offset" in item.parent:
            t = t + item.parent["t_offset"][()]
        return _checked(path, t, *others)


def _check_filters(path, h5py, dataset):
    """Loads the plugins that the compression of a dataset needs."""
    properties = dataset.id.get_create_plist()
    for i in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(i)
        if not h5py.h5z.filter_avail(code):
            _imported(path, "hdf5plugin")
        if not h5py.h5z.filter_avail(code):
            why = f"hdf5plugin lacks its compression {name.decode()} ({code})"
            raise damaged(path, None, why)


def read_numpy(path, data):
    """Reads a `.npy` file, or an `.npz` file of one array or of columns."""
    with _reading(path, "NumPy"), open(path, "rb") as file:
        if not data.startswith((b"\x93NUMPY", b"PK")):
            raise damaged(path, 0, "it does not begin like a NumPy file")
        table = np.load(file)
        names = getattr(table, "files", None)
        if names and len(names) == 1 and hasattr(table[names[0]], "dtype"):
            table, names = table[names[0]], None
        if names is None and table.dtype.names is None:
            return _checked(path, *_ordered(path, np.atleast_2d(table).T))
        found = _needed(path, table.dtype.names if names is None else names)
        return _checked(path, *(table[name] for name in found))


def read_text(path, data):
    """Reads a table of numbers, with the names of the columns or without."""
    with _reading(path, "text"):
        lines, names = io.StringIO(data.decode("utf-8-sig")), None
        for line in lines:
            words = re.split(r"[\s,;]+", line.strip("#% ,;\t\r\n"))
            comment = line.startswith(COMMENTS)
            if not comment and _is_number(words[0]):
                break
            if _named(words) or (words != [""] and not comment):
                names = words
        else:
            raise damaged(path, None, "the text has no line of numbers")
        rows = itertools.chain([line], lines)
        separator = next((x for x in ",;" if x in line), None)
        table = np.loadtxt(rows, float, COMMENTS, separator, ndmin=2)
        if names is None:
            return _checked(path, *_ordered(path, table.T))
        if len(names) != table.shape[1]:
            why = f"{len(names)} names for {table.shape[1]} columns"
            raise damaged(path, None, f"its first lines have {why}")
        columns = dict(zip(names, table.T, strict=True))
        return _checked(path, *(columns[x] for x in _needed(path, names)))


def _imported(path, module):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"`{path}` needs {module}: pip install {module}"
        ) from error


@contextlib.contextmanager
def _reading(path, name):
    """Turns the errors of a library, of many kinds, into one sentence."""
    try:
        yield
    # The errors of Rust, from AEDAT 4, are not an `Exception`.
    except BaseException as error:
        passed = ImportError, KeyboardInterrupt, SystemExit
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if isinstance(error, passed) or reason.startswith(f"`{path}`"):
            raise
        why = f"it cannot be read as {name}: {reason.rstrip('.')}"
        raise damaged(path, None, why) from error


def _is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return True


def _named(names):
    """Returns the names that stand for t, x, y and p, or an empty list."""
    names = list(names)
    found = [
        [name for name in names if name.lower() in aliases]
        for aliases in ALIASES.values()
    ]
    return [] if any(len(x) != 1 for x in found) else [x[0] for x in found]


def _needed(path, names):
    """Returns the names that stand for t, x, y and p, or raises."""
    if found := _named(names):
        return found
    text = ", ".join(names)
    raise damaged(path, None, f"it has the columns {text}, not t, x, y and p")


def _ordered(path, columns):
    """Tells columns without names apart: t, x, y, p or x, y, p, t."""
    clear = len(columns) == 4
    if clear:
        third, fourth = (
            np.isin(z, (0, 1)).all() or np.isin(z, (-1, 1)).all()
            for z in columns[2:]
        )
        if third:
            columns = np.roll(columns, 1, axis=0)
        # A column that is not in order may be something else.
        clear = third != fourth and (columns[0][1:] >= columns[0][:-1]).all()
    if not clear:
        why = "name its columns t, x, y and p, because their order is unclear"
        raise damaged(path, None, why)
    return columns


def _checked(path, t, x, y, p):
    """Returns the columns as integers, with t in us and p 0 or 1."""
    columns = {"t": t, "x": x, "y": y, "p": p}
    if {z.ndim for z in columns.values()} != {1} or (
        len({len(z) for z in columns.values()}) > 1
        or {z.dtype.kind for z in columns.values()} - set("biuf")
    ):
        why = "t, x, y and p must be columns of numbers, of one length"
        raise damaged(path, None, why)
    if t.dtype.kind == "f" and (t != np.floor(t)).any():
        columns["t"] = np.rint(t * 1e6)
    for name, z in columns.items():
        value = z.astype("f8")
        # NaN is not below the limit.
        bad = ~(np.abs(value) < LIMIT) | (value != np.floor(value))
        if bad.any():
            i = bad.argmax()
            why = f"{name}={z[i]} is not an integer below 2**60"
            raise damaged(path, i, why, "event")
        columns[name] = z.astype("i8")
    if (columns["p"] < 0).any() and (columns["p"] != 0).all():
        columns["p"] = (columns["p"] + 1) // 2
    return *columns.values(), None
