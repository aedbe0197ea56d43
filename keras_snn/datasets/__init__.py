"""Datasets as NumPy arrays that are prepared once, and batches of them.

`INFO` gives the shape, classes and size of each dataset. Their sources:

| name | source |
| --- | --- |
| `"digits"` | scikit-learn |
| `"mnist"`, `"cifar10"`, `"cifar100"` | `tensorflow_datasets` |
| all others | files in `data_dir`, as published or unpacked |

`data_dir` must hold:

`"tiny_imagenet"`:
    `tiny-imagenet-200.zip`. Labels follow the order of `wnids.txt`. The
    validation set serves as the test set, because the published test set has
    no labels. Gray images become RGB.
`"nmnist"`:
    `Train.zip` and `Test.zip`.
`"cifar10_dvs"`:
    `airplane.zip` to `truck.zip`. There is no published test set. The test set
    is a fixed random tenth of each class.
`"dvs_gesture"`:
    `DvsGesture.tar.gz`. Each recording shows all gestures. The tables
    `*_labels.csv` give the clip of each gesture, `start <= t < end`. The lists
    `trials_to_train.txt` and `trials_to_test.txt` give the recordings of each
    set. Class n has the label n - 1. Alternatively, folders `Train` and `Test`
    with one folder per class, `1` to `11`, of clips in `.bin` or `.aedat`
    files.
`"shd"`, `"ssc"` (Spiking Heidelberg Digits, Spiking Speech Commands):
    `shd_train.h5` and `shd_test.h5`; `ssc_train.h5`, `ssc_valid.h5` and
    `ssc_test.h5`. They may be packed as `.h5.gz` or `.h5.zip`. Reading them
    needs `h5py`.

Archives are unpacked into `cache_dir()` once and stay there. An archive raises
an error if it is damaged or would write outside its folder.

Recordings become frames of event counts (see `events.to_frames`), and spike
trains become frames of spike counts. `cache_dir()` keeps the frames. Their name
depends on all options and on the names, sizes and times of the source files. An
interrupted preparation resumes where it stopped. A second process waits for the
first.

With the paper's options, N-MNIST takes 2.8 GB and CIFAR10-DVS 6.6 GB. With the
default options, SHD takes 0.7 GB and SSC 7.4 GB, and with `downsample=5` a
fifth of that. Preparation takes twice as much. Unpacked archives take
additional space. Tiny ImageNet takes 1.4 GB.

Reference:
    Le and Yang, "Tiny ImageNet Visual Recognition Challenge", CS 231N, 2015.
    For recordings, see `events`. SHD and SSC: Cramer et al., "The Heidelberg
    Spiking Data Sets for the Systematic Evaluation of Spiking Neural Networks",
    IEEE TNNLS 33, 2022. `https://zenkelab.org/datasets/`
"""

import os
from typing import Any

import numpy as np

from keras_snn.datasets import recordings, spike_trains
from keras_snn.datasets.batching import batches
from keras_snn.datasets.cache import cache_dir
from keras_snn.datasets.images import digits, from_tfds, tiny_imagenet
from keras_snn.datasets.info import INFO, DatasetInfo
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
) -> tuple[Split, ...]:
    """Loads a dataset of images, recordings or spike trains.

    The first load of MNIST or CIFAR writes one `.npz` file to `cache_dir()`,
    for example `mnist.npz`. Later loads need neither `tensorflow_datasets` nor
    TensorFlow. You may copy the file to other machines. For datasets in
    `data_dir`, the first load prepares files in `cache_dir()`.

    Args:
        name: One of `NAMES`.
        data_dir: Folder that holds the dataset. `"digits"` needs none. For
            datasets of `tensorflow_datasets`, the default is the environment
            variable `TFDS_DATA_DIR`.
        progress: Whether to show a progress bar during preparation.
        **options: Images have none. Recordings of event cameras have those of
            `events.to_frames`: `timesteps=20`, `by="number"`, `duration=None`,
            `crop=None`, `downsample=1` and `binary=False`. Here `timesteps`
            must be an integer.

            Spike trains (`"shd"`, `"ssc"`) have:

            - `timesteps=100`: number of frames, at least 1.
            - `bin_width=0.014`: seconds per frame, above 0. Frame i counts the
              spikes at `i * bin_width <= t < (i + 1) * bin_width`. Spikes after
              the last frame are dropped. Frames after the end of a train
              are empty. The default covers 1.4 s, as usual for these datasets.
            - `downsample=1`: number of neighboring channels that are summed
              into one. It must divide 700. 5 leaves 140 channels.
            - `binary=False`: whether to clip the counts to {0, 1}.

    Returns:
        `(x_train, y_train), (x_test, y_test)`. For `"ssc"`, `(x_train,
        y_train), (x_valid, y_valid), (x_test, y_test)`. Labels are `int64` of
        shape `(samples,)`. Images are `uint8` of shape `(samples, height,
        width, channels)`. Recordings are counts of shape `(samples, timesteps,
        height, width, 2)`, and spike trains of shape `(samples, timesteps,
        channels)`, in the smallest unsigned dtype that holds them. Samples from
        `data_dir` are memory-mapped and read-only.

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
    counted = None
    if INFO[name].events:
        counted = spike_trains if name in spike_trains.PARTS else recordings
    known = counted.OPTIONS if counted else ()
    for option in options:
        if option not in known:
            names = ", ".join(f"`{each}`" for each in known) or "none"
            raise ValueError(
                f"The options of {name!r} are {names}. "
                f"Received: {option}={options[option]!r}"
            )
    if counted:
        return counted.count_frames(name, data_dir, options, progress)
    if name == "digits":
        return digits()
    if name == "tiny_imagenet":
        return tiny_imagenet(data_dir, progress)
    return from_tfds(name, data_dir)
