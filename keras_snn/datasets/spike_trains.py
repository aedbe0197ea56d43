"""Spoken words as spike trains (SHD, SSC), counted in frames."""

import contextlib

import numpy as np

from keras_snn.datasets import places
from keras_snn.datasets.cache import imported, prepared
from keras_snn.datasets.info import INFO
from keras_snn.files import damage
from keras_snn.validation import check_choice, check_count, check_number

__all__ = ["OPTIONS", "PARTS", "count_frames"]

# 100 frames in 1.4 s, as usual in the literature.
OPTIONS = {"timesteps": 100, "bin_width": 0.014}
OPTIONS |= {"downsample": 1, "binary": False}
# Each part is a file `NAME_PART.h5`.
PARTS = {"shd": ("train", "test"), "ssc": ("train", "valid", "test")}
# Kinds and description of what the datasets of a file hold for each sample.
LAYOUT = {
    "labels": ("iu", "an integer"),
    "spikes/times": ("f", "an array of floats"),
    "spikes/units": ("iu", "an array of integers"),
}
# Samples that are read at once.
CHUNK = 64


def count_frames(name, data_dir, options, progress):
    """Loads the spike trains of a dataset as frames of spike counts.

    Args:
        name: `"shd"` or `"ssc"`.
        data_dir: The folder that the user names.
        options: Any of `OPTIONS`.
        progress: Whether to show a progress bar.
    """
    (channels,) = INFO[name].shape
    options = _checked(OPTIONS | options, channels)
    shape = (options["timesteps"], channels // options["downsample"])
    files = [f"{name}_{part}.h5" for part in PARTS[name]]
    found = [
        places.place(name, data_dir, file, (".gz", ".zip")) for file in files
    ]
    about = options | {"source": places.fingerprint(found)}

    def splits():
        return [_rows(name, *pair) for pair in zip(found, files, strict=True)]

    def read(row):
        source, labels, (file, start) = row
        chunk = slice(start, start + len(labels))
        with _opened(name, source, file) as (_, content):
            trains = [content[f"spikes/{x}"][chunk] for x in ("times", "units")]
            for i, (t, unit) in enumerate(zip(*trains, strict=True), start):
                _check_train(i, t, unit, channels)
                yield _count(t, unit, shape, options)

    return prepared(name, about, splits, shape, read, progress, PARTS[name])


def _checked(options, channels):
    downsample = check_count("downsample", options["downsample"])
    if channels % downsample:
        raise ValueError(
            f"`downsample` must divide the {channels} channels. "
            f"Received: downsample={downsample!r}"
        )
    return {
        "timesteps": check_count("timesteps", options["timesteps"]),
        "bin_width": check_number("bin_width", options["bin_width"]),
        "downsample": downsample,
        "binary": check_choice("binary", options["binary"], (False, True)),
    }


@contextlib.contextmanager
def _opened(name, source, file):
    """Opens an HDF5 file, which may be packed.

    Args:
        name: Name of the dataset.
        source: Path of the file or of its archive.
        file: Name of the unpacked file.

    Yields:
        The module `h5py` and the open file.
    """
    (h5py,) = imported(name, "h5py", packages="h5py")
    path = places.opened(source, file)
    message = f"`{source}` is damaged, or not as published: replace it."
    with damage(message), h5py.File(path) as content:
        yield h5py, content


def _rows(name, source, file):
    """Lists the samples of a file as rows for `prepared`, a chunk in each."""
    with _opened(name, source, file) as (h5py, content):
        lengths = {key: _length(h5py, content, key) for key in LAYOUT}
        if len(set(lengths.values())) > 1 or not lengths["labels"]:
            raise ValueError(f"numbers of samples: {lengths}")
        labels = content["labels"][()]
        _check_range("label", labels, INFO[name].classes)
    return [
        (source, labels[start : start + CHUNK].tolist(), (file, start))
        for start in range(0, len(labels), CHUNK)
    ]


def _length(h5py, content, key):
    """Checks that a dataset is as published, and returns its length."""
    kinds, what = LAYOUT[key]
    part = content.get(key)
    if isinstance(part, h5py.Dataset) and part.ndim == 1:
        arrays = h5py.check_vlen_dtype(part.dtype)
        dtype = part.dtype if key == "labels" else arrays
        if dtype is not None and np.dtype(dtype).kind in kinds:
            return len(part)
    raise ValueError(f"{key} must hold {what} for each sample")


def _check_train(i, t, unit, channels):
    if len(t) != len(unit):
        raise ValueError(f"sample {i} has {len(t)} times, {len(unit)} units")
    _check_range(f"sample {i}: time", t, np.inf)
    _check_range(f"sample {i}: unit", unit, channels)


def _check_range(what, values, high):
    # NaN is in no range.
    bad = ~((values >= 0) & (values < high))
    if bad.any():
        i = bad.argmax()
        raise ValueError(f"{what} {i} is {values[i]}, not in [0, {high})")


def _count(t, unit, shape, options):
    # The published times are float16, which is too coarse for the quotient.
    frame = np.floor(t.astype("float64") / options["bin_width"])
    kept = frame < shape[0]
    channel = unit[kept].astype("int64") // options["downsample"]
    index = frame[kept].astype("int64") * shape[1] + channel
    counts = np.bincount(index, minlength=shape[0] * shape[1]).reshape(shape)
    if options["binary"]:
        counts = np.minimum(counts, 1)
    return counts.astype(np.min_scalar_type(int(counts.max())))
