"""Datasets as NumPy arrays, cached so that they are prepared once."""

import logging
import os
import pathlib
import zipfile
import zlib

import keras
import numpy as np

from keras_snn.files import replacing
from keras_snn.validation import check_choice

# From tensorflow_datasets, under its names.
TFDS = ("mnist",)
NAMES = ("digits", *TFDS)
# What NumPy raises on a file cut short, changed, or of another kind.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    AttributeError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
)
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def load(name, data_dir=None):
    """Loads a dataset of images and labels, as `keras.datasets` does.

    `"digits"` are scikit-learn's 1797 8x8 handwritten digits, which come with
    that package; the first 1437 are for training, the last 360 for
    testing. `"mnist"` comes from
    `tensorflow_datasets`; the first load leaves `mnist.npz` in `cache_dir()`,
    and neither that package nor TensorFlow is needed from then on, nor on
    another machine to which the file is copied.

    Args:
        name: `"digits"` or `"mnist"`.
        data_dir: Folder of prepared `tensorflow_datasets`, read if the cache
            does not hold the dataset yet; by default that package's own, which
            the variable `TFDS_DATA_DIR` names.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images, `uint8` of shape
        `(samples, height, width, channels)`, and labels, `int64` of shape
        `(samples,)`.

    Raises:
        ValueError: If the name is unknown or the cached file damaged.
        ImportError: If a package is missing that brings the data.
        RuntimeError: If the data is neither here nor can be downloaded.

    Example:
    >>> (x_train, y_train), (x_test, y_test) = load("digits")
    >>> x_train.shape, x_train.dtype, y_test.shape
    ((1437, 8, 8, 1), dtype('uint8'), (360,))
    """
    check_choice("name", name, NAMES)
    if name == "digits":
        return _digits()
    path = cache_dir() / f"{name}.npz"
    if not path.exists():
        arrays = _from_tfds(name, data_dir, path)
        with replacing(path) as partial:
            np.savez_compressed(
                partial, **dict(zip(ARRAYS, arrays, strict=True))
            )
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            x_train, y_train, x_test, y_test = (arrays[key] for key in ARRAYS)
    except DAMAGE as error:
        raise ValueError(
            f"`{path}` is damaged: delete it, and load {name!r} again. "
            f"Received: {error}"
        ) from error
    return (x_train, y_train), (x_test, y_test)


def cache_dir():
    """Folder of the cached datasets: `keras_snn` in Keras's own folder.

    Keras's folder is what the variable `KERAS_HOME` names, or `~/.keras`.
    """
    home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    return pathlib.Path(home) / "keras_snn"


def _digits():
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "Loading 'digits' needs scikit-learn, which brings them: "
            'pip install "keras-snn[examples]"'
        ) from error
    digits = load_digits()
    # Sixteen shades of gray, brought to the range of uint8.
    images = np.round(digits.images * (255 / 16)).astype("uint8")[..., None]
    labels = digits.target.astype("int64")
    split = 1437  # four fifths
    return (images[:split], labels[:split]), (images[split:], labels[split:])


def _from_tfds(name, data_dir, path):
    """Reads a dataset from `tensorflow_datasets`, downloading if need be."""
    advice = (
        f"let `data_dir` or TFDS_DATA_DIR name a folder that holds it, or copy "
        f"{path.name} of another machine to {path.parent}"
    )
    try:
        import tensorflow as tf
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"The first load of {name!r} needs tensorflow and "
            'tensorflow-datasets: pip install "keras-snn[examples]", or '
            f"copy {path.name} of another machine to {path.parent}"
        ) from error
    if keras.config.backend() != "tensorflow":
        # TensorFlow only reads files here: leave the GPU to the backend.
        tf.config.set_visible_devices([], "GPU")
    logging.getLogger(__name__).warning(
        "Reading %s from tensorflow_datasets, once; if no prepared copy is "
        "found, it is downloaded now.",
        name,
    )
    where = data_dir or os.environ.get("TFDS_DATA_DIR") or "TFDS_DATA_DIR"
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        builder.download_and_prepare()
    except Exception as error:  # network, disk, checksum: it does not say
        raise RuntimeError(
            f"{name!r} is not cached at {path}, not prepared in {where}, and "
            f"its download failed: {advice}. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    splits = builder.as_dataset(
        split=["train", "test"], batch_size=-1, as_supervised=True
    )
    return [array for pair in tfds.as_numpy(splits) for array in pair]
