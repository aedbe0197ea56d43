"""Digits, datasets of `tensorflow_datasets`, and the arguments of `load`."""

import dataclasses
import gc
import os
import pathlib
import sys
import types
import warnings

import numpy as np
import pytest
from recording_files import all_files, empty, truncate, web_page

from keras_snn import datasets
from keras_snn.datasets import images

# Samples per digit, as Yann LeCun's files have them.
MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture
def cached(home):
    """A small intact cache file and its arrays."""
    pictures = np.arange(2 * 28 * 28, dtype="uint8").reshape(2, 28, 28, 1)
    labels = np.array([3, 8])
    arrays = (pictures, labels, pictures[:1], labels[:1])
    path = datasets.cache_dir() / "mnist.npz"
    path.parent.mkdir(parents=True)
    np.savez_compressed(path, **dict(zip(images.ARRAYS, arrays, strict=True)))
    return path, arrays


def without(monkeypatch, *packages):
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def flat(dataset):
    return [array for pair in dataset for array in pair]


class FakeTFDS(types.ModuleType):
    """Stands for the functions of `tensorflow_datasets` that are used."""

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


def test_digits_are_scikit_learns_scaled_to_bytes():
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
    # From [0, 16] to [0, 255], rounded to the nearest integer.
    scaled = images.reshape(1797, 8, 8, 1) / 16 * 255
    assert abs(joined - scaled).max() <= 0.5
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), labels)


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    without(monkeypatch, "sklearn", "sklearn.datasets")
    with pytest.raises(
        ImportError,
        match="sklearn.*: pip install scikit-learn$",
    ):
        datasets.load("digits")


@pytest.mark.slow
def test_mnist_is_complete_and_cached_by_the_first_load(tmp_path, monkeypatch):
    prepared = os.environ.get("TFDS_DATA_DIR")
    in_cache = (datasets.cache_dir() / "mnist.npz").exists()
    in_tfds = prepared and (pathlib.Path(prepared) / "mnist").is_dir()
    if not (in_tfds or in_cache):
        pytest.skip(
            "MNIST is neither in the folder that TFDS_DATA_DIR names nor in "
            f"{datasets.cache_dir()}"
        )
    if in_tfds:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        first = datasets.load("mnist")
        assert all_files(tmp_path) == ["keras_snn/mnist.npz"]
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


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mnist", (28, 28, 1)),
        ("cifar10", (32, 32, 3)),
        ("cifar100", (32, 32, 3)),
    ],
)
def test_the_first_load_uses_tfds_and_the_second_the_cache(
    home, monkeypatch, rng, name, shape
):
    arrays = [
        rng.integers(0, 256, (5, *shape), "uint8"),
        rng.integers(0, 10, 5),
        rng.integers(0, 256, (2, *shape), "uint8"),
        rng.integers(0, 10, 2),
    ]
    fake = FakeTFDS(arrays)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    loads = [datasets.load(name, data_dir="prepared")]
    without(monkeypatch, "tensorflow_datasets", "tensorflow")
    loads.append(datasets.load(name, data_dir="prepared"))
    assert fake.calls == [(name, "prepared")]
    for load in loads:
        for one, other in zip(flat(load), arrays, strict=True):
            np.testing.assert_array_equal(one, other)
    assert all_files(home) == [f"{name}.npz"]


def test_a_cache_file_copied_here_is_enough(cached, monkeypatch):
    _, arrays = cached
    without(monkeypatch, "tensorflow_datasets", "tensorflow")
    for one, other in zip(flat(datasets.load("mnist")), arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def keep_the_first_byte(path):
    path.write_bytes(path.read_bytes()[:1])


def other_keys(path):
    np.savez_compressed(path, x=np.zeros(3))


def pickled(path):
    arrays = {name: np.array([None]) for name in images.ARRAYS}
    np.savez_compressed(path, **arrays)


def single_array(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def flip_bits(path):
    content = bytearray(path.read_bytes())
    # The compressed images come first.
    for place in range(80, 200):
        content[place] ^= 255
    path.write_bytes(content)


def compressed_otherwise(path, method=14):  # LZMA
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    content[8] = content[entry + 10] = method
    path.write_bytes(content)


def compressed_by_nothing_known(path):
    compressed_otherwise(path, 99)


@pytest.mark.parametrize(
    "damage",
    [
        compressed_otherwise,
        compressed_by_nothing_known,
        truncate,
        keep_the_first_byte,
        empty,
        web_page,
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


@pytest.mark.parametrize("damage", [truncate, web_page, other_keys])
def test_a_damaged_cache_file_is_closed(cached, damage):
    # Otherwise Windows would not let the user delete it.
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
        match="tensorflow_datasets: pip install tensorflow "
        "tensorflow-datasets importlib_resources, or copy mnist.npz",
    ):
        datasets.load("mnist")
    assert all_files(home) == []


def test_a_failing_download_says_so_and_leaves_no_file(home, monkeypatch):
    fake = FakeTFDS(error=ConnectionError("no route to host"))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    with pytest.raises(
        RuntimeError,
        match="'mnist' is not on this machine, .* TFDS_DATA_DIR .*"
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


def test_the_cache_is_in_the_folder_of_keras(tmp_path, monkeypatch):
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


@pytest.mark.slow
def test_cifar10_is_complete(tmp_path, monkeypatch):
    prepared = os.environ.get("TFDS_DATA_DIR")
    if not (prepared and (pathlib.Path(prepared) / "cifar10").is_dir()):
        pytest.skip("TFDS_DATA_DIR names no folder that holds cifar10")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (x_train, y_train), (x_test, y_test) = datasets.load("cifar10")
    assert x_train.shape == (50_000, 32, 32, 3)
    assert x_test.shape == (10_000, 32, 32, 3)
    assert x_train.dtype == x_test.dtype == np.uint8
    assert np.bincount(y_train).tolist() == 10 * [5000]
    assert np.bincount(y_test).tolist() == 10 * [1000]


def test_every_dataset_has_its_facts():
    assert tuple(datasets.INFO) == datasets.NAMES
    page = pathlib.Path(__file__).parents[2] / "docs" / "data.md"
    for name, info in datasets.INFO.items():
        assert info.shape[-1] in ((2, 700) if info.events else (1, 3))
        for text in (datasets.__doc__, page.read_text("utf-8")):
            assert f"`{name}`" in text.replace('"', "")
    facts = datasets.INFO["digits"]
    (x, y), (x_test, _) = datasets.load("digits")
    assert x.shape == (facts.train_samples, *facts.shape)
    assert x_test.shape == (facts.test_samples, *facts.shape)
    assert y.max() + 1 == facts.classes
    with pytest.raises(dataclasses.FrozenInstanceError):
        facts.classes = 11


# Arguments


@pytest.mark.parametrize(
    "name", ["digits", "mnist", "cifar10", "tiny_imagenet"]
)
def test_images_have_no_options(home, name):
    with pytest.raises(
        ValueError,
        match=f"The options of '{name}' are none. Received: timesteps",
    ):
        datasets.load(name, timesteps=20)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("nmnist", "frames"),
        ("nmnist", "split_seed"),
        ("dvs_gesture", "shuffle"),
        ("shd", "duration"),
        ("ssc", "by"),
    ],
)
def test_unknown_options_are_refused(home, name, option):
    with pytest.raises(
        ValueError,
        match=f"The options of '{name}' are `timesteps`, .*{option}=",
    ):
        datasets.load(name, ".", **{option: 3})


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("timesteps", 0, ValueError),
        ("timesteps", None, TypeError),
        ("by", "events", ValueError),
        ("duration", 5, ValueError),
        ("crop", (35, 34), ValueError),
        ("downsample", 3, ValueError),
    ],
)
def test_options_are_checked_before_the_folder(home, option, value, error):
    with pytest.raises(error, match=f"`{option}`"):
        datasets.load("nmnist", "nowhere", **{option: value})


@pytest.mark.parametrize(
    "name", ["nmnist", "cifar10_dvs", "dvs_gesture", "shd", "ssc"]
)
def test_a_folder_is_needed(home, name, tmp_path):
    for folder in (None, tmp_path / "nowhere"):
        with pytest.raises(
            ValueError, match=f"must be a folder with .*'{name}'"
        ):
            datasets.load(name, folder)
    with pytest.raises(ValueError, match="a folder with .* for"):
        datasets.load(name, tmp_path)
