"""Datasets of images."""

import keras
import numpy as np

from keras_snn.datasets import places
from keras_snn.datasets.cache import cache_dir, imported, prepared
from keras_snn.datasets.info import INFO
from keras_snn.files import damage, replacing

__all__ = ["digits", "from_tfds", "tiny_imagenet"]

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def digits():
    """Loads the digits of scikit-learn."""
    (sklearn,) = imported("digits", "sklearn.datasets", packages="scikit-learn")
    images, labels = sklearn.load_digits(return_X_y=True)
    # The pixels are integers from 0 to 16.
    x = np.round(images * (255 / 16)).astype("uint8").reshape(-1, 8, 8, 1)
    y, split = labels.astype("int64"), INFO["digits"].train_samples
    return (x[:split], y[:split]), (x[split:], y[split:])


def from_tfds(name, data_dir):
    """Loads images from `tensorflow_datasets` and caches them in one file."""
    path = cache_dir() / f"{name}.npz"
    if not path.exists():
        arrays = _read_tfds(name, data_dir, path)
        with replacing(path) as partial:
            named = dict(zip(ARRAYS, arrays, strict=True))
            np.savez_compressed(partial, **named)
    message = f"`{path}` is damaged: delete it and load {name!r} again."
    with damage(message), open(path, "rb") as file, np.load(file) as arrays:
        x_train, y_train, x_test, y_test = (arrays[key] for key in ARRAYS)
    return (x_train, y_train), (x_test, y_test)


def _read_tfds(name, data_dir, path):
    copy = f", or copy {path.name} from another machine to {path.parent}"
    tf, tfds = imported(
        name,
        "tensorflow",
        "tensorflow_datasets",
        # tensorflow-datasets 4.9 imports the last without requiring it.
        packages="tensorflow tensorflow-datasets importlib_resources",
        otherwise=copy,
    )
    if keras.config.backend() != "tensorflow":
        # TensorFlow only reads files here. Leave the GPU to the backend.
        tf.config.set_visible_devices([], "GPU")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        builder.download_and_prepare()
    # Network, disk and checksums raise many kinds of exception.
    except Exception as error:
        raise RuntimeError(
            f"{name!r} is not on this machine, and its download failed: set "
            f"`data_dir` or TFDS_DATA_DIR to a folder that holds it{copy}. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    splits = builder.as_dataset(
        split=["train", "test"], batch_size=-1, as_supervised=True
    )
    return [array for pair in tfds.as_numpy(splits) for array in pair]


def tiny_imagenet(data_dir, progress):
    """Loads the images from the folder `tiny-imagenet-200` or its archive."""
    name, part = "tiny_imagenet", "tiny-imagenet-200"
    found = places.place(name, data_dir, part, (".zip",), ["wnids.txt"])
    about = {"source": places.fingerprint([found])}

    def splits():
        return _tiny_splits(places.opened(found, part))

    shape = INFO[name].shape
    return prepared(name, about, splits, shape, _read_image, progress)


def _tiny_splits(folder):
    wnids = [line.strip() for _, line in places.lines(folder / "wnids.txt")]
    train, test = [], []
    for label, wnid in enumerate(wnids):
        where = folder / "train" / wnid / "images"
        train += places.labelled(where, label, ".jpeg")
    # The published test set has no labels, so the validation set replaces it.
    path = folder / "val" / "val_annotations.txt"
    images = path.parent / "images"
    for number, line in places.lines(path):
        name, wnid, *_ = [*line.split("\t"), ""]
        image = images / name
        if wnid not in wnids or image.parent != images or not image.is_file():
            raise ValueError(
                f"`{path}`, line {number}: `{image}` must be a file, and its "
                f"class {wnid!r} one of wnids.txt."
            )
        test.append((image, (wnids.index(wnid),), None))
    return train, test


def _read_image(row):
    with damage(f"`{row[0]}` must be a JPEG image of 64 x 64 pixels."):
        # Keras converts gray images, 2 % of all, to RGB.
        pixels = np.asarray(keras.utils.load_img(row[0]))
        if pixels.shape != INFO["tiny_imagenet"].shape:
            raise ValueError(f"shape={pixels.shape}")
    yield pixels
