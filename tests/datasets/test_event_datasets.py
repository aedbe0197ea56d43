"""Datasets of recordings become frames, labels and splits."""

import os
import shutil

import numpy as np
import pytest
from recording_files import (
    all_files,
    bin_events,
    counted,
    load,
    some,
    write,
    zipped,
)
from shared import shared

from keras_snn import events
from keras_snn.datasets import cache

# N-MNIST


def test_recordings_become_frames_and_folders_become_labels(home, nmnist):
    (x, y), (x_test, y_test) = load(nmnist, timesteps=2)
    assert y.tolist() == [0, 0, 3, 3, 9, 9]
    assert y_test.tolist() == [0, 3, 9]
    assert y.dtype == y_test.dtype == np.int64
    assert x.dtype == x_test.dtype == np.uint8
    wanted = [
        counted(some(number), 2, 34, 34) for number in (0, 10, 1, 11, 2, 12)
    ]
    np.testing.assert_array_equal(x, wanted)
    wanted = [counted(some(number), 2, 34, 34) for number in (20, 21, 22)]
    np.testing.assert_array_equal(x_test, wanted)


def test_frames_are_mapped_read_only(home, nmnist):
    (x, _), (x_test, _) = load(nmnist)
    assert x.shape == (6, 20, 34, 34, 2)
    for each in (x, x_test):
        assert isinstance(each, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            each[0] = 1


@pytest.mark.parametrize("packed", [False, True])
def test_no_event_of_real_recordings_is_lost(home, packed, tmp_path):
    folder = originals = shared("events/nmnist")
    if packed:
        copy = tmp_path / "nmnist"
        shutil.copytree(folder, copy)
        for part in ("Train", "Test"):
            os.chmod(copy / part, 0o755)
            for each in (copy / part).iterdir():
                os.chmod(each, 0o755)
        os.chmod(copy, 0o755)
        zipped(copy)
        folder = copy
    (x, y), (x_test, y_test) = load(folder)
    assert x.shape == (700, 20, 34, 34, 2)
    assert x_test.shape == (38, 20, 34, 34, 2)
    assert np.bincount(y).tolist() == 10 * [70]
    assert np.bincount(y_test).tolist() == [4, 4, 4, 4, 4, 4, 4, 4, 2, 4]
    for split, frames in (("Train", x), ("Test", x_test)):
        sizes = [
            path.stat().st_size // 5
            for digit in range(10)
            for path in sorted((originals / split / str(digit)).iterdir())
        ]
        found = frames.sum(axis=(1, 2, 3, 4), dtype="int64")
        assert found.tolist() == sizes
    last = sorted((originals / "Train" / "9").iterdir())[-1]
    frames = events.to_frames(events.read(last), 20)
    np.testing.assert_array_equal(x[-1], frames)


def test_archives_and_folders_give_the_same_frames(home, nmnist, tmp_path):
    plain = load(nmnist, timesteps=3)
    zipped(nmnist)
    assert sorted(path.name for path in nmnist.iterdir()) == [
        "Test.zip",
        "Train.zip",
    ]
    packed = load(nmnist, timesteps=3)
    for one, other in zip(plain, packed, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    # The cache notices another archive of equal size.
    for path in nmnist.iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(ValueError, match="Train.zip` .*File is not a zip file"):
        load(nmnist, timesteps=3)


def test_suffixes_may_be_upper_case(home, nmnist):
    plain = load(nmnist, timesteps=3)
    zipped(nmnist)
    for part in ("Train", "Test"):
        (nmnist / f"{part}.zip").rename(nmnist / f"{part}.ZIP")
    for one, other in zip(plain, load(nmnist, timesteps=3), strict=True):
        np.testing.assert_array_equal(one[0], other[0])


def test_a_damaged_archive_leaves_nothing(home, nmnist):
    zipped(nmnist)
    path = nmnist / "Test.zip"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=f"`{path}`"):
        load(nmnist)
    assert [name for name in all_files(home) if "Train" not in name] == []


def test_counts_above_255_are_kept(home, nmnist):
    many = [(i, 5, 9, 1) for i in range(70_000)]
    write(nmnist / "Test" / "0" / "1.bin", bin_events(*many[:300]))
    (x, _), (x_test, _) = load(nmnist, timesteps=1)
    assert (x.dtype, x_test.dtype) == (np.uint8, np.uint16)
    assert x_test[:, 0, 9, 5, 1].max() == 300
    write(nmnist / "Test" / "0" / "1.bin", bin_events(*many))
    (x, _), (x_test, _) = load(nmnist, timesteps=1)
    assert (x.dtype, x_test.dtype) == (np.uint8, np.uint32)
    assert x_test[:, 0, 9, 5, 1].max() == 70_000


def test_options_are_those_of_to_frames(home, nmnist):
    path = nmnist / "Train" / "0" / "00010.bin"
    found = events.read(path)
    for options in (
        {"timesteps": 5},
        {"timesteps": 4, "by": "time"},
        {"timesteps": 3, "by": "time", "duration": 400},
        {"crop": (32, 32)},
        {"downsample": 2},
        {"crop": (32, 32), "downsample": 4, "timesteps": 2},
        {"timesteps": 1, "binary": True, "downsample": 34},
    ):
        (x, _), _ = load(nmnist, **options)
        frames = events.to_frames(found, **({"timesteps": 20} | options))
        np.testing.assert_array_equal(x[1], frames)
    # Seven sets of options, seven folders.
    assert len({name.split("/")[0] for name in all_files(home)}) == 7


def test_equal_options_are_prepared_once(home, nmnist, monkeypatch):
    first = load(nmnist, crop=(32, 32), timesteps=2)

    def read(*_, **__):
        raise AssertionError("read again")

    monkeypatch.setattr(events, "read", read)
    for options in (
        {"crop": [32, 32], "timesteps": np.int64(2)},
        {"crop": (32, 32), "timesteps": 2, "by": "number", "binary": False},
    ):
        again = load(nmnist, **options)
        np.testing.assert_array_equal(again[0][0], first[0][0])
    shutil.move(nmnist, nmnist.with_name("elsewhere"))
    load(nmnist.with_name("elsewhere"), crop=(32, 32), timesteps=2)
    with pytest.raises(AssertionError, match="read again"):
        load(nmnist.with_name("elsewhere"), timesteps=2)


def test_a_changed_source_is_prepared_anew(home, nmnist):
    (x, _), _ = load(nmnist, timesteps=1)
    write(nmnist / "Train" / "0" / "00000.bin", bin_events((1, 2, 3, 1)))
    (changed, _), _ = load(nmnist, timesteps=1)
    assert (x[0].sum(), changed[0].sum()) == (8, 1)
    write(nmnist / "Train" / "0" / "9.bin", bin_events((1, 2, 3, 1)))
    (more, y), _ = load(nmnist, timesteps=1)
    assert (len(more), y.tolist()) == (7, [0, 0, 0, 3, 3, 9, 9])


# Damaged recordings


GOOD = bin_events((5, 1, 1, 1), (9, 2, 2, 0))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"", "byte 0: .* without any event", id="empty"),
        pytest.param(GOOD[:-1], "byte 5: .* 4 bytes into", id="truncated"),
        pytest.param(b"x" + GOOD, "byte 10: .* 1 bytes into", id="misaligned"),
        pytest.param(
            GOOD + bin_events((8, 1, 1, 1)),
            "byte 10: time runs backwards",
            id="backwards",
        ),
        pytest.param(
            GOOD + bin_events((10, 34, 1, 1)),
            "byte 10: .* outside the sensor",
            id="outside",
        ),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["", "packed"])
def test_a_damaged_recording_is_named_and_nothing_cached(
    home, nmnist, packed, content, why, monkeypatch
):
    # One shard per recording, so that some are complete before the damage.
    monkeypatch.setattr(cache, "SHARD", 1)
    path = nmnist / "Test" / "3" / "bad.bin"
    write(path, content)
    where = path
    if packed:
        zipped(nmnist)
        where = ".*/Test/3/bad.bin"
    with pytest.raises(ValueError, match=f"`{where}`, {why}"):
        load(nmnist, timesteps=2)
    if packed:
        # The unpacked files stay for other processes, but no frames do.
        assert not [x for x in home.iterdir() if x.name.startswith("nmnist")]
        return
    assert list(home.iterdir()) == []
    path.unlink()
    assert load(nmnist, timesteps=2)[1][1].tolist() == [0, 3, 9]


def test_a_folder_without_classes_is_named(home, tmp_path):
    write(tmp_path / "Train" / "ten" / "1.bin", GOOD)
    write(tmp_path / "Test" / "0" / "1.bin", GOOD)
    with pytest.raises(ValueError, match=r"Train` must hold a folder of rec"):
        load(tmp_path)


def test_an_empty_class_is_named(home, nmnist):
    path = nmnist / "Test" / "7"
    path.mkdir()
    (path / ".DS_Store").write_text("")
    with pytest.raises(ValueError, match=f"`{path}` must hold files"):
        load(nmnist)


# CIFAR10-DVS


def which(x):
    """Returns class and number of each recording, given by its pixel."""
    return [
        tuple(int(each[0]) for each in np.nonzero(frames.sum(axis=(0, 3))))
        for frames in x
    ]


def test_one_tenth_of_each_class_is_for_testing(home, cifar):
    (x, y), (x_test, y_test) = load(cifar, "cifar10_dvs", timesteps=1)
    assert x.shape == (180, 1, 128, 128, 2)
    assert np.bincount(y).tolist() == 10 * [18]
    assert np.bincount(y_test).tolist() == 10 * [2]
    train, test = which(x), which(x_test)
    assert sorted(train + test) == [
        (c, i) for c in range(10) for i in range(20)
    ]
    assert [c for c, _ in train] == y.tolist()
    assert [c for c, _ in test] == y_test.tolist()
    # Each class has a draw of its own.
    assert len({tuple(i for c, i in test if c == n) for n in range(10)}) > 3


def test_the_split_is_drawn_once_and_for_all(home, cifar):
    _, (x_test, _) = load(cifar, "cifar10_dvs", timesteps=1)
    # The published law: the first tenth of a permutation seeded by the class,
    # of the recordings in the order of their names.
    wanted = []
    for label in range(10):
        names = sorted(str(i) + ".aedat" for i in range(20))
        rng = np.random.default_rng((0, label))
        chosen = sorted(rng.permutation(20)[:2])
        wanted += [(label, int(names[i].split(".")[0])) for i in chosen]
    assert which(x_test) == wanted
    zipped(cifar)
    _, (again, _) = load(cifar, "cifar10_dvs", timesteps=1)
    assert which(again) == wanted


def test_a_missing_class_is_named(home, cifar):
    shutil.rmtree(cifar / "frog")
    with pytest.raises(ValueError, match="a folder with frog or frog.zip"):
        load(cifar, "cifar10_dvs")
    (cifar / "frog").mkdir()
    with pytest.raises(ValueError, match=r"frog` must hold files \*.aedat"):
        load(cifar, "cifar10_dvs")
