"""Datasets as NumPy arrays, prepared once, and batches of them.

`INFO` holds the facts about each dataset. Their sources:

| name | source |
| --- | --- |
| `"digits"` | scikit-learn |
| `"mnist"`, `"cifar10"`, `"cifar100"` | `tensorflow_datasets` |
| all others | files in `data_dir`, as published or unpacked |

`data_dir` must hold:

`"tiny_imagenet"`:
    `tiny-imagenet-200.zip`. Labels follow the order of `wnids.txt`. The
    validation set has labels, so it is the test set. Gray images become RGB.
`"nmnist"`:
    `Train.zip` and `Test.zip`.
`"cifar10_dvs"`:
    `airplane.zip` to `truck.zip`. There is no published test set: one tenth
    of each class, drawn once and for all, is the test set.
`"dvs_gesture"`:
    `DvsGesture.tar.gz`. Each recording shows all gestures. The tables
    `*_labels.csv` give the clip of each gesture, `start <= t < end`. The lists
    `trials_to_train.txt` and `trials_to_test.txt` give the recordings of each
    set. Class n has the label n - 1. Or folders `Train` and `Test` with one
    folder per class, `1` to `11`, of clips in `.bin` or `.aedat` files.

Archives are unpacked into `cache_dir()` once, and stay there. Archives that
are damaged, or that would write elsewhere, are refused.

Recordings become frames of event counts (see `events.to_frames`). `cache_dir()`
keeps them under a name made of all options and of the names, sizes and times
of the source files. A killed preparation continues where it stopped, and a
second process waits for the first. With the paper's options N-MNIST takes
2.8 GB and CIFAR10-DVS 6.6 GB, and twice as much during preparation. Unpacked
archives come on top. Tiny ImageNet takes 1.4 GB.

Reference:
    Le and Yang, "Tiny ImageNet Visual Recognition Challenge", CS 231N, 2015.
    For recordings see `events`.
"""

import os
from typing import Any

import numpy as np

from keras_snn.datasets.batching import batches
from keras_snn.datasets.cache import cache_dir
from keras_snn.datasets.images import digits, from_tfds, tiny_imagenet
from keras_snn.datasets.info import INFO, DatasetInfo
from keras_snn.datasets.recordings import OPTIONS, count_frames
from keras_snn.validation import check_choice

__all__ = ["INFO", "NAMES", "DatasetInfo", "batches", "cache_dir", "load"]

NAMES = tuple(INFO)
Split = tuple[np.ndarray, np.ndarray]


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    progress: bool = True,
    **options: Any,
) -> tuple[Split, Split]:
    """Loads a dataset of images or recordings.

    The first load of MNIST or CIFAR leaves one `.npz` file in `cache_dir()`,
    for example `mnist.npz`. After that, neither `tensorflow_datasets` nor
    TensorFlow is needed, and the file may be copied to other machines. For
    datasets in `data_dir` the first load prepares files in `cache_dir()`.

    Args:
        name: One of `NAMES`.
        data_dir: Folder that holds the dataset. `"digits"` needs none. For
            datasets of `tensorflow_datasets` the default is the folder that
            the environment variable `TFDS_DATA_DIR` names.
        progress: Whether to show a progress bar during preparation.
        **options: For recordings only: `timesteps=20`, `by="number"`,
            `duration=None`, `crop=None`, `downsample=1` and `binary=False`, as
            in `events.to_frames`. `timesteps` must be an integer.

    Returns:
        `(x_train, y_train), (x_test, y_test)`. Labels are `int64` of shape
        `(samples,)`. Images are `uint8` of shape `(samples, height, width,
        channels)`. Recordings are counts of shape `(samples, timesteps,
        height, width, 2)` in the smallest unsigned dtype that holds them.
        Samples from `data_dir` are mapped from a file and read-only.

    Raises:
        ValueError: If the name or an option is unknown, an option is out of
            range, or a file is missing or damaged.
        ImportError: If the package that provides the data is missing.
        RuntimeError: If a download fails.

    Example:
    >>> (x_train, y_train), (x_test, y_test) = load("digits")
    >>> x_train.shape, x_train.dtype, y_test.shape
    ((1437, 8, 8, 1), dtype('uint8'), (360,))
    """
    check_choice("name", name, NAMES)
    known = tuple(OPTIONS) if INFO[name].events else ()
    for option in options:
        check_choice(f"options of {name!r}", option, known)
    if INFO[name].events:
        return count_frames(name, data_dir, options, progress)
    if name == "digits":
        return digits()
    if name == "tiny_imagenet":
        return tiny_imagenet(data_dir, progress)
    return from_tfds(name, data_dir)
