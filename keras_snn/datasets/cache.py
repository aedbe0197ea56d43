"""Datasets that are prepared once and then memory-mapped."""

import hashlib
import importlib
import json
import math
import os
import pathlib
import shutil
from errno import EDQUOT, EFBIG, ENOSPC

import keras
import numpy as np

from keras_snn.files import cannot_write, damage, locked, replacing

__all__ = [
    "cache_dir",
    "create_once",
    "digest",
    "imported",
    "prepared",
]

# Approximate bytes of a shard. An interrupted preparation loses at most one.
SHARD = 2**25
# Increase this when existing files in the cache become invalid.
VERSION = 2
# Values for a full disk, a full quota, and a file too large for its disk.
NO_ROOM = (ENOSPC, EDQUOT, EFBIG)


def cache_dir() -> pathlib.Path:
    """Returns the folder of prepared datasets.

    It is `~/.keras/keras_snn`, or `keras_snn` in the folder that the
    environment variable `KERAS_HOME` names.
    """
    home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    return pathlib.Path(home) / "keras_snn"


def digest(content):
    """Returns a hash of 16 hexadecimal digits of a JSON value."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def imported(name, *modules, packages, otherwise=""):
    """Imports the packages that prepare a dataset.

    Args:
        name: Name of the dataset.
        *modules: Names of the modules.
        packages: What `pip install` must install.
        otherwise: What else the user may do, for the message.

    Raises:
        ImportError: If a module is missing. The message names the packages.
    """
    try:
        return [importlib.import_module(module) for module in modules]
    except ImportError as error:
        raise ImportError(
            f"The first load of {name!r} needs {' and '.join(modules)}: "
            f"pip install {packages}{otherwise}"
        ) from error


def create_once(folder, create):
    """Creates a folder unless it exists. Other processes wait for it.

    Args:
        folder: Path of the folder.
        create: Function that creates the folder at a temporary path. If an
            earlier call was killed, the path holds what that call left.

    Raises:
        OSError: If the disk is full. The message names `folder`.
    """
    if not folder.exists():
        with locked(folder):
            if not folder.exists():
                partial = folder.with_name(f"{folder.name}.partial")
                try:
                    create(partial)
                except OSError as error:
                    if error.errno not in NO_ROOM:
                        raise
                    raise cannot_write(folder, error) from error
                os.replace(partial, folder)


def prepared(
    name, about, splits, shape, read, progress, parts=("train", "test")
):
    """Memory-maps a dataset from the cache, and prepares it if necessary.

    An interrupted preparation resumes where it stopped.

    Args:
        name: Name of the dataset.
        about: Dictionary of everything that determines the samples, as JSON
            values.
        splits: Function that returns the files of each part. These are a list
            of rows `(path, labels, clips)`, with one label for each sample in
            the row.
        shape: Shape of a sample.
        read: Function that yields the samples of a row, as arrays of unsigned
            integers.
        progress: Whether to show a progress bar.
        parts: Names of the parts.

    Returns:
        A pair `(x, y)` for each part.
    """
    about = {"dataset": name, "version": VERSION, **about}
    folder = cache_dir() / f"{name}-{digest(about)}"

    def create(partial):
        try:
            rows = dict(zip(parts, splits(), strict=True))
            _prepare(partial, about, rows, shape, read, progress)
        except (ValueError, FileNotFoundError):
            # The user must change the source, which makes these shards useless.
            shutil.rmtree(partial, ignore_errors=True)
            raise

    create_once(folder, create)
    shutil.rmtree(folder / "shards", ignore_errors=True)
    with damage(f"`{folder}` is damaged: delete it and load {name!r} again."):
        return tuple(_open(folder, part, shape) for part in parts)


def _prepare(folder, about, splits, shape, read, progress):
    total = sum(map(_samples, splits.values()))
    bar = keras.utils.Progbar(total, verbose=int(progress), unit_name="sample")
    for split, rows in splits.items():
        shards = []
        step = SHARD // (math.prod(shape) * len(rows[0][1])) or 1
        for start in range(0, len(rows), step):
            shards.append(folder / "shards" / f"{split}-{start:06}.npy")
            group = rows[start : start + step]
            if not shards[-1].exists():
                samples = [sample for row in group for sample in read(row)]
                x = np.stack(samples)
                _save(shards[-1], [x], x.dtype, x.shape)
            bar.add(_samples(group))
        y = [label for _, labels, _ in rows for label in labels]
        _save(folder / f"y_{split}.npy", [y], np.dtype("int64"), (len(y),))
        _merge(shards, folder / f"x_{split}.npy", (len(y), *shape))
    (folder / "about.json").write_text(json.dumps(about, indent=1))


def _samples(rows):
    return sum(len(labels) for _, labels, _ in rows)


def _merge(shards, path, shape):
    """Joins shards in the smallest dtype that holds all of them."""
    with damage(f"`{shards[0].parent}` was damaged. Load again."):
        dtype = np.result_type(*(np.load(x, "r").dtype for x in shards))
        _save(path, map(np.load, shards), dtype, shape)


def _save(path, arrays, dtype, shape):
    """Writes arrays, one after the other, as one `.npy` file."""
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    with replacing(path) as partial, open(partial, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for array in arrays:
            # NumPy's `tofile` would hide the cause of an error.
            file.write(np.ascontiguousarray(array, dtype))


def _open(folder, split, shape):
    x = np.load(folder / f"x_{split}.npy", mmap_mode="r")
    y = np.load(folder / f"y_{split}.npy")
    found = (x.dtype.kind, y.dtype, x.shape)
    if found != ("u", np.dtype("int64"), (len(y), *shape)):
        raise ValueError(f"x_{split}.npy and y_{split}.npy hold {found}")
    return x, y
