import sys

import pytest
from recording_files import aedat2, bin_events, some, write
from spike_train_files import TRAINS, published

# Doctests would import this file under the name of another `conftest`.
collect_ignore = ["conftest.py"]

CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The cache of datasets, empty. Downloads are impossible."""
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "keras_snn"


@pytest.fixture
def nmnist(tmp_path):
    """Three recordings of each of three digits, one of them for testing."""
    folder = tmp_path / "nmnist"
    for i, digit in enumerate((0, 3, 9)):
        for split, add in (("Train", 0), ("Train", 10), ("Test", 20)):
            number = i + add
            path = folder / split / str(digit) / f"{number:05}.bin"
            write(path, bin_events(*some(number)))
    return folder


@pytest.fixture
def cifar(tmp_path):
    """Twenty recordings per class of one pixel, `(label, number)`."""
    folder = tmp_path / "cifar"
    for label, name in enumerate(CIFAR10.split()):
        for i in range(20):
            path = folder / name / f"cifar10_{name}_{i}.aedat"
            write(path, aedat2((5, i, label, 1), (6, i, label, 0)))
    return folder


@pytest.fixture
def shd(tmp_path):
    """Three training samples, the last without spikes, and a test sample."""
    folder = tmp_path / "shd"
    folder.mkdir()
    published(folder / "shd_train.h5")
    published(folder / "shd_test.h5", TRAINS[1:2])
    return folder
