"""Recordings of event cameras as frames of event counts."""

import functools

import numpy as np

from keras_snn import events
from keras_snn.datasets import places
from keras_snn.datasets.cache import prepared
from keras_snn.datasets.info import INFO
from keras_snn.files import damage
from keras_snn.validation import check_count

__all__ = ["OPTIONS", "count_frames"]

OPTIONS = {"timesteps": 20, "by": "number", "downsample": 1, "binary": False}
OPTIONS |= {"duration": None, "crop": None}
# In the order of the labels of CIFAR-10.
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
SPLITS = ("Train", "Test")
TRIALS = ("trials_to_train.txt", "trials_to_test.txt")


def count_frames(name, data_dir, options, progress):
    """Loads the recordings of a dataset as frames.

    Args:
        name: Name of a dataset of recordings.
        data_dir: The folder that the user names.
        options: Any of `OPTIONS`.
        progress: Whether to show a progress bar.
    """
    options = OPTIONS | options
    check_count("timesteps", options["timesteps"])
    size = INFO[name].shape[:2]
    count = functools.partial(events.to_frames, sensor_size=size, **options)
    # Counting no events checks the options before any file is read.
    shape = count(np.empty(0, events.DTYPE)).shape
    parts, suffixes, marks, split = LAYOUTS[name]
    found = [
        places.place(name, data_dir, part, suffixes, marks) for part in parts
    ]
    about = {key: np.asarray(x).tolist() for key, x in options.items()}
    about["source"] = places.fingerprint(found)

    def read(row):
        path, _, clips = row
        recording = events.read(path, sensor_size=size)
        t = recording["t"]
        for start, end in clips or [(t[0], t[-1] + 1)]:
            clip = recording[slice(*np.searchsorted(t, (start, end)))]
            if not len(clip):
                raise ValueError(
                    f"`{path}` must have events from {start} to {end} us, "
                    "where its table of labels has a clip."
                )
            frames = count(clip)
            yield frames.astype(np.min_scalar_type(int(frames.max())))

    def splits():
        return split(*map(places.opened, found, parts))

    return prepared(name, about, splits, shape, read, progress)


def _nmnist(train, test):
    return [_numbered(folder, 0, 9) for folder in (train, test)]


def _numbered(folder, low, high):
    """Lists the recordings in folders with numbers as names."""
    rows = []
    for number in range(low, high + 1):
        where = folder / str(number)
        if where.is_dir():
            rows += places.labelled(where, number - low, ".bin", ".aedat")
    if not rows:
        raise ValueError(
            f"`{folder}` must hold a folder of recordings per class, {low} to "
            f"{high}."
        )
    return rows


def _cifar10_dvs(*folders):
    train, test = [], []
    for label, folder in enumerate(folders):
        rows = places.labelled(folder, label, ".aedat")
        if len(rows) < 2:
            raise ValueError(
                f"`{folder}` must hold at least two recordings, one to train "
                f"and one to test with. Received: {len(rows)}"
            )
        order = np.random.default_rng((0, label)).permutation(len(rows))
        held = max(1, len(rows) // 10)
        test += [rows[i] for i in sorted(order[:held])]
        train += [rows[i] for i in sorted(order[held:])]
    return train, test


def _dvs_gesture(folder):
    if (folder / TRIALS[0]).exists():
        return [_trials(folder / name) for name in TRIALS]
    parts = [places.place("dvs_gesture", folder, x) for x in SPLITS]
    return [_numbered(part, 1, 11) for part in parts]


def _trials(path):
    """Lists the recordings that a text file names, with their clips."""
    rows = []
    for number, line in places.lines(path):
        recording = path.parent / line.strip()
        if recording.parent != path.parent or not recording.is_file():
            raise ValueError(
                f"`{path}`, line {number}: {line!r} must be a file next to it."
            )
        table = recording.with_name(f"{recording.stem}_labels.csv")
        with damage(f"`{table}` must have rows: class (1 to 11), start, end."):
            clips = np.loadtxt(table, int, delimiter=",", skiprows=1, ndmin=2)
            label, start, end = clips.T
            bad = (label < 1) | (label > 11) | (start < 0) | (start >= end)
            if bad.any():
                raise ValueError(clips[bad.argmax()].tolist())
        rows.append((recording, (label - 1).tolist(), clips[:, 1:].tolist()))
    return rows


# Names of the parts, suffixes of their archives, names that mark the part
# itself, and the function that lists the files in the folders of the parts.
LAYOUTS = {
    "nmnist": (SPLITS, (".zip",), (), _nmnist),
    "cifar10_dvs": (CIFAR10.split(), (".zip",), (), _cifar10_dvs),
    "dvs_gesture": (
        ["DvsGesture"],
        (".tar.gz",),
        TRIALS + SPLITS,
        _dvs_gesture,
    ),
}
