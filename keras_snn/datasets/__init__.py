"""Datasets as NumPy arrays, prepared once, and batches of them.

| name | what | from | training, test |
| --- | --- | --- | --- |
| `"digits"` | 8 x 8 digits | scikit-learn | 1437, 360 |
| `"mnist"` | 28 x 28 digits | `tensorflow_datasets` | 60,000, 10,000 |
| `"cifar10"`, `"cifar100"` | 32 x 32 photographs | the same | 50,000, 10,000 |
| `"tiny_imagenet"` | 64 x 64, 200 classes | `data_dir` | 100,000, 10,000 |
| `"nmnist"` | MNIST, by event camera, 34 x 34 | `data_dir` | 60,000, 10,000 |
| `"cifar10_dvs"` | CIFAR-10, by one, 128 x 128 | `data_dir` | 9000, 1000 |
| `"dvs_gesture"` | 11 gestures, by one, 128 x 128 | `data_dir` | 1176, 288 |

`data_dir` is a folder with the archives as they were published, or with what
is in them:

`"tiny_imagenet"`:
    `tiny-imagenet-200.zip`. Its classes are numbered as in `wnids.txt`; its
    validation part, which has labels, is the test set. Gray images become RGB.
`"nmnist"`:
    `Train.zip` and `Test.zip`.
`"cifar10_dvs"`:
    `airplane.zip` to `truck.zip`. It has no test set of its own: of each class
    one tenth is drawn, by `split_seed` alone.
`"dvs_gesture"`:
    `DvsGesture.tar.gz`. A recording shows all gestures; the tables
    `*_labels.csv` tell where each begins (`start <= t < end`), the lists
    `trials_to_train.txt` and `trials_to_test.txt` who is in which set. Class n
    has the label n - 1. Or folders `Train` and `Test`, in each of which one
    folder per class, `1` to `11`, holds its clips as `.bin` or `.aedat` files.

Archives are unpacked into `cache_dir()`, once, and stay there. One that is
damaged, or that would write elsewhere, is refused, and nothing is unpacked.

Recordings become frames of event counts (`events.to_frames`), kept in
`cache_dir()` under a name made of all options and the names and sizes of the
source's files. Preparing may be killed at any time and goes on where it was;
a second process waits for it. A damaged recording is named, and then no frames
are kept. With the paper's options N-MNIST takes 2.8 GB, CIFAR10-DVS 6.6 GB, and
twice that while it is prepared; what was unpacked from archives is beside it.
Tiny ImageNet likewise takes 1.4 GB.

Reference:
    Le and Yang, "Tiny ImageNet Visual Recognition Challenge", CS 231N, 2015.
    For the event cameras' see `events`.
"""

from keras_snn.datasets.batching import batches
from keras_snn.datasets.cache import MISSING, cache_dir
from keras_snn.datasets.images import ARRAYS, digits, from_tfds, tiny_imagenet
from keras_snn.datasets.info import INFO, DatasetInfo
from keras_snn.datasets.recordings import OPTIONS, count_frames
from keras_snn.validation import check_choice

__all__ = [
    "ARRAYS",
    "CLASSES",
    "DatasetInfo",
    "EVENTS",
    "IMAGES",
    "INFO",
    "NAMES",
    "TFDS",
    "batches",
    "cache_dir",
    "load",
]

NAMES = tuple(INFO)
# Deprecated in favour of INFO; they go once nothing imports them.
TFDS = ("mnist", "cifar10", "cifar100")
IMAGES = tuple(name for name in INFO if not INFO[name].events)
EVENTS = tuple(name for name in INFO if INFO[name].events)
CLASSES = {name: info.classes for name, info in INFO.items()}


def load(name, data_dir=None, *, progress=True, **options):
    """Loads a dataset of images or recordings, as `keras.datasets` does.

    `"digits"` are scikit-learn's 1797 8x8 handwritten digits, which come with
    that package; the first 1437 are for training, the last 360 for
    testing. MNIST and CIFAR come from `tensorflow_datasets`; the first load of
    `"mnist"` leaves `mnist.npz` in `cache_dir()`, and neither that package nor
    TensorFlow is needed from then on, nor on another machine to which the file
    is copied. All others are read from a folder that you name, see the module,
    and mapped from files that the first load leaves in `cache_dir()`.

    Args:
        name: One of `IMAGES` or of `EVENTS`.
        data_dir: Folder that holds the dataset. For `"digits"` there is none,
            and for those of `tensorflow_datasets` it is read if the cache does
            not hold the dataset yet, and by default that package's own, which
            the variable `TFDS_DATA_DIR` names.
        progress: Whether to show how far the preparing of files is.
        **options: For recordings only: `timesteps=20`, `by="number"`,
            `duration=None`, `crop=None`, `downsample=1` and `binary=False`, as
            in `events.to_frames`, where `timesteps` may not be `None`; for
            `"cifar10_dvs"` also `split_seed=0`, an integer of at least 0.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: labels are `int64` of shape
        `(samples,)`. Images are `uint8` of shape `(samples, height, width,
        channels)`. Recordings are counts `(samples, timesteps, height, width,
        2)` in the smallest unsigned dtype that holds them all. What has been
        read from a folder is mapped from a file and cannot be written to.

    Raises:
        ValueError: If the name is unknown, an option out of place or out of
            range, a file damaged or missing, or an archive refused.
        ImportError: If a package is missing that brings the data.
        RuntimeError: If the data is neither here nor can be downloaded.

    Example:
    >>> (x_train, y_train), (x_test, y_test) = load("digits")
    >>> x_train.shape, x_train.dtype, y_test.shape
    ((1437, 8, 8, 1), dtype('uint8'), (360,))
    """
    check_choice("name", name, NAMES)
    known = dict(OPTIONS) if name in EVENTS else {}
    if name == "cifar10_dvs":
        known["split_seed"] = 0
    for option, value in options.items():
        if option not in known:
            names = ", ".join(f"`{each}`" for each in known) or "none"
            raise ValueError(
                f"The options of {name!r} are {names}. "
                f"Received: {option}={value!r}"
            )
    if name == "digits":
        return digits()
    if name in TFDS:
        return from_tfds(name, data_dir)
    options = known | options
    split_seed = options.pop("split_seed", 0)
    try:
        if name == "tiny_imagenet":
            return tiny_imagenet(data_dir, progress)
        return count_frames(name, data_dir, options, split_seed, progress)
    # Whichever file of the dataset it is, here it is known by its path.
    except MISSING as error:
        raise ValueError(
            f"`{error.filename}` must be a file that can be read. "
            f"Received: {error.strerror}"
        ) from error
