"""Samples prepared once: shard by shard, then one file per split."""

import dataclasses
import hashlib
import json
import lzma
import os
import pathlib
import shutil
import zipfile
import zlib

import keras
import numpy as np

from keras_snn.files import locked, replacing

# What NumPy raises on a file cut short, changed, or of another kind.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    AttributeError,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)
# What opening a file raises that is not there, or is none.
MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
# Bytes of a shard, more or less: what a run killed loses.
SHARD = 2**25
# Changes where files of before would no longer be right.
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Source:
    """A file of samples.

    Attributes:
        path: The file.
        labels: The label of each of its samples.
        clips: `(start, end)` in microseconds of each, or `None` where the whole
            file is one sample.
    """

    path: pathlib.Path
    labels: tuple
    clips: tuple | None = None


def cache_dir():
    """Folder of the cached datasets: `keras_snn` in Keras's own folder.

    Keras's folder is what the variable `KERAS_HOME` names, or `~/.keras`.
    """
    home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    return pathlib.Path(home) / "keras_snn"


def digest(content):
    """A name of 16 letters for what JSON can tell."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def prepared(name, about, splits, shape, read, progress):
    """Opens the samples of a dataset, having prepared them if need be.

    Args:
        name: Name of the dataset.
        about: What the samples depend on, for JSON.
        splits: Function without arguments that returns the training and the
            test set, each a list of `Source`.
        shape: Shape of a sample.
        read: Function of a `Source` that yields its samples, of unsigned
            integers.
        progress: Whether to show a progress bar.

    Returns:
        `(x_train, y_train), (x_test, y_test)`.
    """
    about = {"dataset": name, "version": VERSION, **about}
    folder = cache_dir() / f"{name}-{digest(about)}"
    partial = folder.with_name(f"{folder.name}.partial")
    # One killed at the very end has left its shards.
    if not folder.exists() or partial.exists():
        with locked(folder):
            if not folder.exists():
                _prepare(folder, partial, about, splits, shape, read, progress)
            shutil.rmtree(partial, ignore_errors=True)
    return tuple(
        _open(folder, split, shape, name) for split in ("train", "test")
    )


def _prepare(folder, partial, about, splits, shape, read, progress):
    whole = partial / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    try:
        splits = splits()
        shards = {
            split: _shards(partial, split, sources, shape, read)
            for split, sources in zip(("train", "test"), splits, strict=True)
        }
        labels = {
            split: [label for each in sources for label in each.labels]
            for split, sources in zip(shards, splits, strict=True)
        }
        bar = None
        if progress:
            total = sum(map(len, labels.values()))
            bar = keras.utils.Progbar(total, unit_name="sample")
        whole.mkdir(parents=True)
        for split, made in shards.items():
            paths = []
            for path, samples in made:
                paths.append(path)
                if bar:
                    bar.add(samples)
            _merge(paths, whole / f"x_{split}.npy", len(labels[split]), shape)
            np.save(whole / f"y_{split}.npy", np.array(labels[split], "int64"))
        text = json.dumps(about, indent=1, sort_keys=True)
        (whole / "about.json").write_text(text)
    except (ValueError, *MISSING):
        # A file that has to be replaced: nothing of its neighbours either.
        shutil.rmtree(partial, ignore_errors=True)
        raise
    os.replace(whole, folder)


def _shards(folder, split, sources, shape, read):
    """Makes the shards that are not there yet, yielding path and samples."""
    most = max(1, SHARD // int(np.prod(shape)))
    group = []
    count = number = 0
    for place, source in enumerate(sources, 1):
        group.append(source)
        count += len(source.labels)
        if count < most and place < len(sources):
            continue
        path = folder / f"{split}-{number:05}.npy"
        if not path.exists():
            samples = [sample for each in group for sample in read(each)]
            with replacing(path) as partial:
                np.save(partial, np.stack(samples))
        yield path, count
        group, count, number = [], 0, number + 1


def _merge(paths, target, samples, shape):
    try:
        parts = [np.load(path, mmap_mode="r") for path in paths]
        if sum(map(len, parts)) != samples:
            raise ValueError(f"{sum(map(len, parts))} of {samples} samples")
    except DAMAGE as error:
        # It is deleted on the way out.
        raise ValueError(
            f"`{paths[0].parent}` was damaged and is deleted: load again. "
            f"Received: {error}"
        ) from error
    dtype = np.result_type(*parts)
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (samples, *shape),
    }
    with open(target, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            part.astype(dtype, copy=False).tofile(file)


def _open(folder, split, shape, name):
    path = folder / f"x_{split}.npy"
    try:
        x = np.load(path, mmap_mode="r")
        fine = x.offset + x.nbytes == path.stat().st_size
        fine = fine and x.dtype.kind == "u" and x.shape[1:] == tuple(shape)
        if not fine:
            raise ValueError(f"{x.dtype} of shape {x.shape}")
        path = folder / f"y_{split}.npy"
        y = np.load(path)
        if y.dtype != np.int64 or y.shape != x.shape[:1]:
            raise ValueError(f"{y.dtype} of shape {y.shape}")
    except (*DAMAGE, FileNotFoundError) as error:
        raise ValueError(
            f"`{path}` is damaged: delete the folder {folder}, and load "
            f"{name!r} again. Received: {error}"
        ) from error
    return x, y
