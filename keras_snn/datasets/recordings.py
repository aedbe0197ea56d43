"""Datasets of event cameras' recordings, as count frames."""

import numpy as np

from keras_snn import events
from keras_snn.datasets.cache import Source, digest, prepared
from keras_snn.datasets.places import (
    files,
    fingerprint,
    opened,
    place,
    text,
    walk,
)
from keras_snn.validation import check_count

# CIFAR-10's own order.
CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
GESTURE = "DvsGesture"
SENSORS = {
    "nmnist": (34, 34),
    "cifar10_dvs": (128, 128),
    "dvs_gesture": (128, 128),
}
OPTIONS = {
    "timesteps": 20,
    "by": "number",
    "duration": None,
    "crop": None,
    "downsample": 1,
    "binary": False,
}


def count_frames(name, data_dir, options, split_seed, progress):
    """Frames of the recordings of one dataset.

    Args:
        name: One of `SENSORS`.
        data_dir: The folder that the user names.
        options: All of `OPTIONS`.
        split_seed: Decides on the test set of CIFAR10-DVS.
        progress: Whether to show a progress bar.
    """
    check_count("timesteps", options["timesteps"])
    check_count("split_seed", split_seed, low=0)
    frames = {"sensor_size": SENSORS[name], **options}
    # Without events, to have the arguments checked before anything is read.
    empty = np.empty(0, events.DTYPE)
    shape = events.to_frames(empty, **frames).shape

    def read(source):
        found = events.read(source.path, sensor_size=SENSORS[name])
        for clip in source.clips or [None]:
            part = found if clip is None else _cut(source.path, found, clip)
            counts = events.to_frames(part, **frames)
            yield counts.astype(np.min_scalar_type(int(counts.max())))

    parts, splits = PLACES[name](data_dir)
    about = {key: _plain(value) for key, value in options.items()}
    about["source"] = digest(fingerprint(parts))
    if name == "cifar10_dvs":
        about["split_seed"] = int(split_seed)
    return prepared(
        name, about, lambda: splits(split_seed), shape, read, progress
    )


def _plain(value):
    """An option as JSON knows it, whatever kind of integer it was."""
    if value is None or isinstance(value, str):
        return value
    return np.asarray(value).tolist()


def _cut(path, found, clip):
    start, end = np.searchsorted(found["t"], clip)
    if start == end:
        raise ValueError(
            f"`{path}`: no event lies between {clip[0]} and {clip[1]} us, "
            "where its labels name a clip."
        )
    return found[start:end]


def _of_classes(folder, labels, suffixes=("",)):
    """The files of one folder per class, each a sample.

    A part of a dataset may have fewer classes, but none of those is empty.

    Args:
        folder: Where the classes' folders are.
        labels: Function of a folder's name that returns its label, or `None`.
        suffixes: Of the files.
    """
    found = []
    for path in files(folder, suffixes):
        label = labels(path.parent.name)
        if label is not None:
            found.append(Source(path, (label,)))
    if not found:
        raise ValueError(
            f"`{folder}` must hold a folder of recordings per class, and has "
            "none."
        )
    filled = {source.path.parent for source in found}
    for where, _, _ in walk(folder):
        if labels(where.name) is not None and where not in filled:
            raise ValueError(
                f"`{where}` must hold recordings of its class, and has none."
            )
    return found


def _number(low, high):
    """Labels from folders named by a number; the first class gets 0."""

    def label(name):
        fine = name.isascii() and name.isdigit() and low <= int(name) <= high
        return int(name) - low if fine else None

    return label


def _nmnist(data_dir):
    parts = [
        place("nmnist", data_dir, part, ".zip") for part in ("Train", "Test")
    ]

    def splits(split_seed):
        del split_seed
        return [
            _of_classes(opened(found, part), _number(0, 9), (".bin",))
            for found, part in zip(parts, ("Train", "Test"), strict=True)
        ]

    return parts, splits


def _cifar10_dvs(data_dir):
    parts = [place("cifar10_dvs", data_dir, each, ".zip") for each in CIFAR10]

    def splits(split_seed):
        train, test = [], []
        for label, found in enumerate(parts):
            folder = opened(found, CIFAR10[label])
            paths = files(folder, ".aedat")
            if len(paths) < 2:
                raise ValueError(
                    f"`{found}` must hold at least two recordings *.aedat, and "
                    f"has {len(paths)}."
                )
            rng = np.random.default_rng((split_seed, label))
            held = max(1, len(paths) // 10)
            chosen = set(rng.permutation(len(paths))[:held].tolist())
            for i, path in enumerate(paths):
                (test if i in chosen else train).append(Source(path, (label,)))
        return train, test

    return parts, splits


def _dvs_gesture(data_dir):
    lists = ("trials_to_train.txt", "trials_to_test.txt")
    marks = [lists[0], "Train", "train"]
    found = place("dvs_gesture", data_dir, GESTURE, ".tar.gz", marks)

    def splits(split_seed):
        del split_seed
        folder = opened(found, GESTURE)
        if (folder / lists[0]).exists():
            return [_trials(folder / each) for each in lists]
        return [
            _of_classes(
                place("dvs_gesture", folder, split, ""),
                _number(1, 11),
                (".bin", ".aedat"),
            )
            for split in ("Train", "Test")
        ]

    return [found], splits


def _trials(path):
    """The labelled clips of the recordings that a list names."""
    found = []
    for number, line in enumerate(text(path).splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        recording = path.parent / name
        if set(name) & set("/\\") or not recording.is_file():
            raise ValueError(
                f"`{path}`, line {number}: {name!r} is no file beside it."
            )
        labels = recording.with_name(f"{recording.stem}_labels.csv")
        rows = list(_labels(labels))
        if rows:
            numbers, clips = zip(*rows, strict=True)
            found.append(Source(recording, numbers, clips))
    if not found:
        raise ValueError(
            f"`{path}` must name recordings with labelled clips, and names "
            "none."
        )
    return found


def _labels(path):
    """The label of each clip in a table, and `(start, end)` in microseconds."""
    for number, line in enumerate(text(path).splitlines(), 1):
        if number == 1 or not line:
            continue
        try:
            label, start, end = (int(each) for each in line.split(","))
            fine = 1 <= label <= 11 and 0 <= start < end
        except ValueError:
            fine = False
        if not fine:
            raise ValueError(
                f"`{path}`, line {number}: no class from 1 to 11 with its "
                f"start and a later end in us, but {line[:60]!r}."
            )
        yield label - 1, (start, end)


PLACES = {
    "nmnist": _nmnist,
    "cifar10_dvs": _cifar10_dvs,
    "dvs_gesture": _dvs_gesture,
}
