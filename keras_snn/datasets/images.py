"""Datasets of images."""

import io
import logging
import os

import keras
import numpy as np

from keras_snn.datasets.cache import (
    DAMAGE,
    Source,
    cache_dir,
    digest,
    prepared,
)
from keras_snn.datasets.places import files, fingerprint, opened, place, text
from keras_snn.files import replacing

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
TINY = "tiny-imagenet-200"
TINY_SHAPE = (64, 64, 3)


def from_tfds(name, data_dir):
    """Images of `tensorflow_datasets`, kept as one file of the cache."""
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


def tiny_imagenet(data_dir, progress):
    """The images of a folder `tiny-imagenet-200`, or of its archive."""
    found = place("tiny_imagenet", data_dir, TINY, ".zip", marks=["wnids.txt"])
    about = {"source": digest(fingerprint([found]))}

    def splits():
        _pillow()
        folder = opened(found, TINY)
        names = folder / "wnids.txt"
        classes = text(names).split()
        labels = {wnid: label for label, wnid in enumerate(classes)}
        if not classes or len(labels) < len(classes):
            raise ValueError(
                f"`{names}` must name each class once. "
                f"Received: {len(classes)} names, {len(labels)} different"
            )
        train = []
        for wnid in classes:
            where = folder / "train" / wnid / "images"
            paths = files(where, ".jpeg")
            if not paths:
                raise ValueError(
                    f"`{where}` must hold images *.JPEG, and has none."
                )
            train += [Source(path, (labels[wnid],)) for path in paths]
        annotations = folder / "val" / "val_annotations.txt"
        test = []
        for number, line in enumerate(text(annotations).splitlines(), 1):
            name, _, rest = line.partition("\t")
            wnid = rest.partition("\t")[0]
            if wnid not in labels or not name or set(name) & set("/\\"):
                raise ValueError(
                    f"`{annotations}`, line {number}: no image and class of "
                    f"wnids.txt, but {line[:60]!r}."
                )
            path = annotations.parent / "images" / name
            if not path.is_file():
                raise ValueError(
                    f"`{annotations}`, line {number}: `{path}` is no file."
                )
            test.append(Source(path, (labels[wnid],)))
        if not test:
            raise ValueError(
                f"`{annotations}` must name images for testing, and is empty."
            )
        return train, test

    return prepared(
        "tiny_imagenet", about, splits, TINY_SHAPE, _read_jpeg, progress
    )


def _pillow():
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "The first load of 'tiny_imagenet' needs Pillow, which reads JPEG: "
            "pip install pillow"
        ) from error
    return Image


def _read_jpeg(source):
    data = source.path.read_bytes()
    try:
        with _pillow().open(io.BytesIO(data), formats=["JPEG"]) as image:
            if (*image.size[::-1], 3) != TINY_SHAPE:
                raise ValueError(f"its size is {image.size}")
            # Some 2 % are gray.
            yield np.asarray(image.convert("RGB"))
    # Pillow has no class for damage: whatever it raises, the file is to blame.
    except (OSError, SyntaxError, *DAMAGE) as error:
        raise ValueError(
            f"`{source.path}` is no intact JPEG image of 64 x 64 pixels. "
            f"Received: {error}"
        ) from error


def digits():
    """The digits that scikit-learn brings."""
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
