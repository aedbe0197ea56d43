import gc
import os
import pathlib
import sys
import types
import warnings

import numpy as np
import pytest

from keras_snn import datasets

# Samples per digit, as Yann LeCun's files have them.
MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture
def home(tmp_path, monkeypatch):
    # Without the package, for a mistake must not end in a download.
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def cached(home):
    """A small intact cache file, and what it holds."""
    images = np.arange(2 * 28 * 28, dtype="uint8").reshape(2, 28, 28, 1)
    labels = np.array([3, 8])
    arrays = (images, labels, images[:1], labels[:1])
    path = datasets.cache_dir() / "mnist.npz"
    path.parent.mkdir()
    np.savez_compressed(path, **dict(zip(datasets.ARRAYS, arrays, strict=True)))
    return path, arrays


def without(monkeypatch, *packages):
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def flat(dataset):
    return [array for pair in dataset for array in pair]


def all_files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


class FakeTFDS(types.ModuleType):
    """Stands for `tensorflow_datasets`: what is called of it, no more."""

    def __init__(self, arrays=None, error=None):
        super().__init__("tensorflow_datasets")
        self.arrays, self.error, self.calls = arrays, error, []

    def builder(self, name, data_dir=None):
        self.calls.append((name, data_dir))
        return self

    def download_and_prepare(self):
        if self.error:
            raise self.error

    def as_dataset(self, split, batch_size, as_supervised):
        assert (split, batch_size, as_supervised) == (
            ["train", "test"],
            -1,
            True,
        )
        return [self.arrays[:2], self.arrays[2:]]

    def as_numpy(self, splits):
        return splits


def test_digits_are_scikit_learns_in_the_range_of_bytes():
    from sklearn.datasets import load_digits

    (x_train, y_train), (x_test, y_test) = datasets.load("digits")
    assert x_train.dtype == x_test.dtype == np.uint8
    assert y_train.dtype == y_test.dtype == np.int64
    assert (len(x_train), len(y_train)) == (1437, 1437)
    assert (len(x_test), len(y_test)) == (360, 360)
    images, labels = load_digits(return_X_y=True)
    joined = np.concatenate([x_train, x_test])
    assert joined.shape == (1797, 8, 8, 1)
    assert (joined.min(), joined.max()) == (0, 255)
    # 0..16 to 0..255, rounded to the nearest.
    scaled = images.reshape(1797, 8, 8, 1) / 16 * 255
    assert abs(joined - scaled).max() <= 0.5
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), labels)


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    without(monkeypatch, "sklearn", "sklearn.datasets")
    with pytest.raises(
        ImportError,
        match=r'scikit-learn, .*pip install "keras-snn\[examples\]"',
    ):
        datasets.load("digits")


def test_mnist_is_whole_and_cached_by_the_first_load(tmp_path, monkeypatch):
    prepared = os.environ.get("TFDS_DATA_DIR")
    in_cache = (datasets.cache_dir() / "mnist.npz").exists()
    in_tfds = prepared and (pathlib.Path(prepared) / "mnist").is_dir()
    if not (in_tfds or in_cache):
        pytest.skip(
            "MNIST is not on this machine: TFDS_DATA_DIR names no folder that "
            f"holds mnist, nor is it in {datasets.cache_dir()}"
        )
    if in_tfds:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        first = datasets.load("mnist")
        assert all_files(tmp_path) == [tmp_path / "keras_snn" / "mnist.npz"]
    without(monkeypatch, "tensorflow_datasets", "tensorflow")
    second = datasets.load("mnist")
    if in_tfds:
        for one, other in zip(flat(first), flat(second), strict=True):
            np.testing.assert_array_equal(one, other)
    (x_train, y_train), (x_test, y_test) = second
    assert x_train.shape == (60_000, 28, 28, 1)
    assert x_test.shape == (10_000, 28, 28, 1)
    assert x_train.dtype == x_test.dtype == np.uint8
    assert y_train.dtype == y_test.dtype == np.int64
    assert (x_train.min(), x_train.max()) == (0, 255)
    assert np.bincount(y_train).tolist() == MNIST_TRAIN
    assert np.bincount(y_test).tolist() == MNIST_TEST


def test_the_first_load_asks_tfds_and_the_second_the_cache(
    home, monkeypatch, rng
):
    arrays = [
        rng.integers(0, 256, (5, 28, 28, 1), "uint8"),
        rng.integers(0, 10, 5),
        rng.integers(0, 256, (2, 28, 28, 1), "uint8"),
        rng.integers(0, 10, 2),
    ]
    fake = FakeTFDS(arrays)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    loads = [datasets.load("mnist", data_dir="prepared")]
    without(monkeypatch, "tensorflow_datasets", "tensorflow")
    loads.append(datasets.load("mnist", data_dir="prepared"))
    assert fake.calls == [("mnist", "prepared")]
    for load in loads:
        for one, other in zip(flat(load), arrays, strict=True):
            np.testing.assert_array_equal(one, other)
    assert all_files(home) == [home / "keras_snn" / "mnist.npz"]


def test_a_cache_file_copied_here_is_enough(cached, monkeypatch):
    _, arrays = cached
    without(monkeypatch, "tensorflow_datasets", "tensorflow")
    for one, other in zip(flat(datasets.load("mnist")), arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def keep_the_first_byte(path):
    path.write_bytes(path.read_bytes()[:1])


def empty(path):
    path.write_bytes(b"")


def no_zip(path):
    path.write_text("<html>404 Not Found</html>")


def other_keys(path):
    np.savez_compressed(path, x=np.zeros(3))


def pickled(path):
    arrays = {name: np.array([None]) for name in datasets.ARRAYS}
    np.savez_compressed(path, **arrays)


def single_array(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def flip_bits(path):
    content = bytearray(path.read_bytes())
    # Inside the compressed images, which come first.
    for place in range(80, 200):
        content[place] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        keep_the_first_byte,
        empty,
        no_zip,
        other_keys,
        pickled,
        single_array,
        flip_bits,
    ],
)
def test_a_damaged_cache_file_is_named(cached, damage):
    path, _ = cached
    damage(path)
    with pytest.raises(ValueError, match="is damaged: delete it") as caught:
        datasets.load("mnist")
    assert f"`{path}`" in str(caught.value)


@pytest.mark.parametrize("damage", [truncate, no_zip, other_keys])
def test_a_damaged_cache_file_is_closed(cached, damage):
    # Else Windows would not let it be deleted, as the message asks.
    path, _ = cached
    damage(path)
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(ValueError, match="is damaged"):
            datasets.load("mnist")
        gc.collect()
    unclosed = [x for x in caught if str(path) in str(x.message)]
    assert unclosed == []


def test_mnist_without_a_package_says_what_to_install(home, monkeypatch):
    without(monkeypatch, "tensorflow_datasets")
    with pytest.raises(
        ImportError,
        match=r"tensorflow-datasets: pip install "
        r'"keras-snn\[examples\]", or copy mnist.npz',
    ):
        datasets.load("mnist")
    assert all_files(home) == []


def test_a_failing_download_says_so_and_leaves_no_file(home, monkeypatch):
    fake = FakeTFDS(error=ConnectionError("no route to host"))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    with pytest.raises(
        RuntimeError,
        match="'mnist' is not cached .* TFDS_DATA_DIR .*"
        "Received: ConnectionError: no route to host",
    ):
        datasets.load("mnist")
    assert all_files(home) == []


def test_a_failing_write_leaves_no_file(home, monkeypatch):
    arrays = [np.zeros(1)] * 4
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", FakeTFDS(arrays))

    def full_disk(path, **_):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="No space left"):
        datasets.load("mnist")
    assert all_files(home) == []


def test_the_cache_is_in_keras_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "elsewhere"))
    assert datasets.cache_dir() == tmp_path / "elsewhere" / "keras_snn"
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setattr(pathlib.Path, "home", lambda: tmp_path)
    assert datasets.cache_dir() == tmp_path / ".keras" / "keras_snn"


@pytest.mark.parametrize("name", ["cifar11", "MNIST", None])
def test_unknown_names_are_refused(home, name):
    with pytest.raises(
        ValueError, match=f"`name` must be one of 'digits', .*name={name!r}"
    ):
        datasets.load(name)
