"""SHD and SSC: spike trains in HDF5 files become frames of spike counts."""

import gzip
import sys
import zipfile

import h5py
import numpy as np
import pytest
from recording_files import all_files, load
from spike_train_files import TRAINS, counted, drawn, published

from keras_snn import datasets
from keras_snn.datasets import cache, spike_trains


@pytest.mark.parametrize("dtype", ["f2", "f4"])
@pytest.mark.parametrize("width", [1 / 64, 0.014, 0.001])
@pytest.mark.parametrize("downsample", [1, 5])
def test_spikes_are_counted_in_their_frame(
    home, shd, rng, dtype, width, downsample
):
    trains = drawn(rng, 7, dtype)
    published(shd / "shd_train.h5", trains, dtype)
    options = {"timesteps": 80, "bin_width": width, "downsample": downsample}
    (x, y), (x_test, y_test) = load(shd, "shd", **options)
    assert x.dtype == np.uint8
    np.testing.assert_array_equal(x, counted(trains, **options))
    assert y.tolist() == [label for *_, label in trains]
    np.testing.assert_array_equal(x_test, counted(TRAINS[1:2], **options))
    assert (y_test.tolist(), y.dtype, y_test.dtype) == ([19], "int64", "int64")


def test_a_frame_begins_with_its_edge_and_later_spikes_are_dropped(home, shd):
    (x, _), _ = load(shd, "shd", timesteps=3, bin_width=0.25)
    assert x.shape == (3, 3, 700)
    # The first train has spikes at 0, 1/4, 3/8 and 3/4 s.
    assert np.argwhere(x[0]).tolist() == [[0, 0], [1, 699]]
    assert x[0, 1, 699] == 2
    # Times need not be in order.
    assert np.argwhere(x[1]).tolist() == [[0, 350], [2, 350]]
    assert not x[2].any()


def test_the_default_is_100_frames_of_14_ms(home, shd):
    (x, _), (x_test, _) = load(shd, "shd")
    np.testing.assert_array_equal(x, counted(TRAINS, 100, 0.014))
    assert x_test.shape == (1, 100, 700)
    for each in (x, x_test):
        assert isinstance(each, np.memmap)


def test_binary_clips_the_counts(home, shd):
    options = {"timesteps": 3, "bin_width": 0.25}
    (x, _), _ = load(shd, "shd", binary=True, **options)
    wanted = np.minimum(counted(TRAINS, **options), 1)
    np.testing.assert_array_equal(x, wanted)
    assert wanted.sum() < counted(TRAINS, **options).sum()


def test_counts_above_255_are_kept(home, shd):
    published(shd / "shd_train.h5", [([0.1] * 300, [5] * 300, 0)])
    (x, _), (x_test, _) = load(shd, "shd", timesteps=9)
    assert (x.dtype, x_test.dtype) == (np.uint16, np.uint8)
    # 0.1 s is 7.14 times 14 ms.
    assert x[0, 7, 5] == x.sum() == 300


def test_ssc_has_a_validation_set(home, tmp_path):
    for i, part in enumerate(("train", "valid", "test")):
        trains = [([i / 4], [10 * i], 34 - i)]
        published(tmp_path / f"ssc_{part}.h5", trains, "f4")
    parts = load(tmp_path, "ssc", timesteps=4, bin_width=0.25)
    assert len(parts) == 3
    for i, (x, y) in enumerate(parts):
        assert np.argwhere(x).tolist() == [[0, i, 10 * i]]
        assert y.tolist() == [34 - i]
    (tmp_path / "ssc_valid.h5").unlink()
    why = "with ssc_valid.h5 or ssc_valid.h5.gz or ssc_valid.h5.zip for 'ssc'"
    with pytest.raises(ValueError, match=why):
        load(tmp_path, "ssc")


def test_the_facts_are_those_of_the_published_files(home, shd):
    facts = datasets.INFO["shd"]
    (x, _), _ = load(shd, "shd", timesteps=2)
    assert x.shape[2:] == facts.shape
    # From the table at https://compneuro.net.
    assert (facts.classes, facts.train_samples, facts.test_samples) == (
        20,
        8156,
        2264,
    )
    facts = datasets.INFO["ssc"]
    assert (facts.classes, facts.valid_samples) == (35, 9981)
    assert (facts.train_samples, facts.test_samples) == (75_466, 20_382)


# Preparation


@pytest.mark.parametrize("suffix", [".gz", ".zip"])
def test_packed_files_give_the_same_frames(home, shd, suffix):
    plain = load(shd, "shd", timesteps=3, bin_width=0.25)
    for path in list(shd.iterdir()):
        packed = path.with_name(path.name + suffix)
        if suffix == ".gz":
            packed.write_bytes(gzip.compress(path.read_bytes()))
        else:
            with zipfile.ZipFile(packed, "w") as archive:
                archive.write(path, path.name)
        path.unlink()
    again = load(shd, "shd", timesteps=3, bin_width=0.25)
    for one, other in zip(plain, again, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    packed = shd / f"shd_train.h5{suffix}"
    packed.write_bytes(packed.read_bytes()[:-30])
    with pytest.raises(ValueError, match=f"`{packed}` cannot be unpacked"):
        load(shd, "shd", timesteps=3, bin_width=0.25)


def test_a_file_is_read_in_chunks(home, shd, rng, monkeypatch):
    trains = drawn(rng, 9, "f2")
    published(shd / "shd_train.h5", trains)
    monkeypatch.setattr(spike_trains, "CHUNK", 4)
    monkeypatch.setattr(cache, "SHARD", 1)
    original, seen = h5py.Dataset.__getitem__, []

    def read(self, key):
        found = original(self, key)
        if self.name == "/spikes/times":
            seen.append(len(found))
        return found

    monkeypatch.setattr(h5py.Dataset, "__getitem__", read)
    (x, _), _ = load(shd, "shd")
    assert seen == [4, 4, 1, 1]
    np.testing.assert_array_equal(x, counted(trains, 100, 0.014))


def test_equal_options_are_prepared_once(home, shd, monkeypatch):
    first = load(shd, "shd", timesteps=3, bin_width=1, downsample=5)
    # Later loads do not need it.
    monkeypatch.setitem(sys.modules, "h5py", None)
    options = {"timesteps": np.int64(3), "bin_width": np.float32(1)}
    again = load(shd, "shd", downsample=5, binary=False, **options)
    np.testing.assert_array_equal(again[0][0], first[0][0])
    for changed in ({"bin_width": 2}, {"binary": True}, {"timesteps": 4}):
        with pytest.raises(ImportError):
            load(shd, "shd", **({"downsample": 5} | options | changed))


def test_a_changed_file_is_prepared_anew(home, shd):
    load(shd, "shd", timesteps=3)
    published(shd / "shd_test.h5", TRAINS[:2])
    _, (x_test, _) = load(shd, "shd", timesteps=3)
    assert len(x_test) == 2


def test_a_missing_package_is_named(home, shd, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    why = "load of 'shd' needs h5py: pip install h5py$"
    with pytest.raises(ImportError, match=why):
        load(shd, "shd")
    assert all_files(home) == []


# Arguments


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("timesteps", 0, ValueError),
        ("timesteps", None, TypeError),
        ("bin_width", 0, ValueError),
        ("bin_width", float("nan"), ValueError),
        ("bin_width", "10ms", TypeError),
        ("downsample", 3, ValueError),
        ("downsample", 1.0, TypeError),
        ("binary", 1, ValueError),
    ],
)
def test_options_of_spike_trains_are_checked_first(home, option, value, error):
    with pytest.raises(error, match=f"`{option}` must .*{option}="):
        datasets.load("shd", "nowhere", **{option: value})
