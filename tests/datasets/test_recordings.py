"""Datasets of recordings: found, framed, cached, and never half."""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from keras_snn import datasets, events
from keras_snn.datasets import cache
from keras_snn.datasets import recordings as module

SIBLING = pathlib.Path(__file__).parents[2] / "shared"
SHARED = pathlib.Path(os.environ.get("KERAS_SNN_SHARED") or SIBLING) / "events"

AEDAT2 = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n"
AEDAT3 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "keras_snn"


def bin_events(*found):
    """40-bit events of `(t, x, y, p)`, packed by hand."""
    return b"".join(
        struct.pack(">BBI", x, y, p << 31 | t << 8)[:5] for t, x, y, p in found
    )


def aedat2(*found):
    return AEDAT2 + b"".join(
        struct.pack(">II", (127 - y) << 8 | (127 - x) << 1 | 1 - p, t)
        for t, x, y, p in found
    )


def aedat3(*found):
    header = struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, *[len(found)] * 3)
    return (
        AEDAT3
        + header
        + b"".join(
            struct.pack("<Ii", x << 17 | y << 2 | p << 1 | 1, t)
            for t, x, y, p in found
        )
    )


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def some(number, side=34):
    """A recording of its own for each number, of `8 + number` events."""
    return [
        (100 * i, (number + i) % side, (3 * number) % side, i % 2)
        for i in range(8 + number)
    ]


@pytest.fixture
def nmnist(tmp_path):
    """Two recordings of each of three digits, one of them for testing."""
    folder = tmp_path / "nmnist"
    for i, digit in enumerate((0, 3, 9)):
        for split, add in (("Train", 0), ("Train", 10), ("Test", 20)):
            number = i + add
            path = folder / split / str(digit) / f"{number:05}.bin"
            write(path, bin_events(*some(number)))
    return folder


def load(folder, name="nmnist", **options):
    return datasets.load(name, folder, progress=False, **options)


def counted(found, timesteps, height, width):
    """Frames of equal numbers of events, by the definition."""
    frames = np.zeros((timesteps, height, width, 2), int)
    for i, (_, x, y, p) in enumerate(found):
        frame = min(i // (len(found) // timesteps), timesteps - 1)
        frames[frame, y, x, p] += 1
    return frames


def zipped(folder):
    """Packs each folder below into a `.zip` beside it, and removes it."""
    for part in sorted(folder.iterdir()):
        with zipfile.ZipFile(folder / f"{part.name}.zip", "w") as archive:
            for path in sorted(part.rglob("*")):
                archive.write(path, path.relative_to(folder).as_posix())
            archive.writestr(f"__MACOSX/{part.name}/0/._1.bin", b"x")
            archive.writestr(f"{part.name}/.DS_Store", b"x")
        shutil.rmtree(part)


def cached(home):
    """What the cache holds, as names of datasets and files."""
    return sorted(
        path.relative_to(home).as_posix()
        for path in home.rglob("*")
        if path.is_file()
    )


# N-MNIST


def test_recordings_become_frames_and_folders_labels(home, nmnist):
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


def test_frames_are_mapped_and_cannot_be_written_to(home, nmnist):
    (x, _), (x_test, _) = load(nmnist)
    assert x.shape == (6, 20, 34, 34, 2)
    for each in (x, x_test):
        assert isinstance(each, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            each[0] = 1


@pytest.mark.parametrize("packed", [False, True])
def test_real_recordings_lose_no_event(home, packed, tmp_path):
    folder = SHARED / "nmnist"
    if not folder.is_dir():
        pytest.skip(
            f"No recordings in {folder}: KERAS_SNN_SHARED may name the folder "
            "that holds events"
        )
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
    originals = SHARED / "nmnist"
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


def test_archives_are_as_good_as_folders(home, nmnist, tmp_path):
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
    # One that is as long, but ends in other checksums, is another.
    for path in nmnist.iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(ValueError, match="Train.zip`: File is not a zip file"):
        load(nmnist, timesteps=3)


def test_suffixes_may_be_in_capitals(home, nmnist):
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
    assert [name for name in cached(home) if "Train" not in name] == []


def test_counts_beyond_a_byte_are_kept(home, nmnist):
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
    # Eight sets of options, eight of files.
    assert len({name.split("/")[0] for name in cached(home)}) == 7


def test_equal_options_are_prepared_once(home, nmnist, monkeypatch):
    first = load(nmnist, crop=(32, 32), timesteps=2)

    def read(*_, **__):
        raise AssertionError("read again")

    monkeypatch.setattr(module.events, "read", read)
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


def test_another_source_is_another_dataset(home, nmnist):
    (x, _), _ = load(nmnist, timesteps=1)
    write(nmnist / "Train" / "0" / "00000.bin", bin_events((1, 2, 3, 1)))
    (changed, _), _ = load(nmnist, timesteps=1)
    assert (x[0].sum(), changed[0].sum()) == (8, 1)
    write(nmnist / "Train" / "0" / "9.bin", bin_events((1, 2, 3, 1)))
    (more, y), _ = load(nmnist, timesteps=1)
    assert (len(more), y.tolist()) == (7, [0, 0, 0, 3, 3, 9, 9])


# What is wrong with a recording


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
    # One shard each, so that others are finished before.
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
        # What was unpacked stays, of use to other processes; no frames do.
        assert not [x for x in home.iterdir() if x.name.startswith("nmnist")]
        return
    assert list(home.iterdir()) == []
    path.unlink()
    assert load(nmnist, timesteps=2)[1][1].tolist() == [0, 3, 9]


# The cache


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def append(path):
    path.write_bytes(path.read_bytes() + b"x")


def empty(path):
    path.write_bytes(b"")


def no_array(path):
    path.write_text("<html>404 Not Found</html>")


def other_array(path):
    np.save(path, np.zeros((6, 3), "uint8"))


def floats(path):
    np.save(path, np.load(path).astype("float32"))


def missing(path):
    path.unlink()


@pytest.mark.parametrize("which", ["x_train", "y_test"])
@pytest.mark.parametrize(
    "damage",
    [truncate, append, empty, no_array, other_array, floats, missing],
)
def test_a_damaged_cache_file_is_refused(home, nmnist, damage, which):
    if (which, damage) == ("y_test", append):
        pytest.skip("NumPy reads what is before")
    load(nmnist, timesteps=2)
    (path,) = home.rglob(f"{which}.npy")
    damage(path)
    with pytest.raises(
        ValueError,
        match=f"`{path}` is damaged: delete the folder {path.parent}",
    ):
        load(nmnist, timesteps=2)
    shutil.rmtree(path.parent)
    load(nmnist, timesteps=2)


def test_an_interrupted_run_goes_on(home, nmnist, monkeypatch):
    monkeypatch.setattr(cache, "SHARD", 1)
    original, seen = events.read, []

    def read(path, **arguments):
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.append(path.name)
        return original(path, **arguments)

    monkeypatch.setattr(module.events, "read", read)
    with pytest.raises(KeyboardInterrupt):
        load(nmnist, timesteps=2)
    assert not list(home.rglob("x_*.npy"))
    monkeypatch.setattr(
        module.events,
        "read",
        lambda path, **rest: seen.append(path.name) or original(path, **rest),
    )
    (x, _), _ = load(nmnist, timesteps=2)
    assert len(seen) == len(set(seen)) == 9
    np.testing.assert_array_equal(x[5], counted(some(12), 2, 34, 34))
    assert [name.split("/")[-1] for name in cached(home)] == [
        "about.json",
        "x_test.npy",
        "x_train.npy",
        "y_test.npy",
        "y_train.npy",
    ]


@pytest.mark.parametrize("damage", [empty, no_array, other_array])
def test_a_damaged_shard_is_deleted(home, nmnist, damage, monkeypatch):
    monkeypatch.setattr(cache, "SHARD", 1)
    original = cache._merge

    def merge(paths, *rest):
        damage(paths[0])
        return original(paths, *rest)

    monkeypatch.setattr(cache, "_merge", merge)
    with pytest.raises(ValueError, match="was damaged and is deleted: load ag"):
        load(nmnist, timesteps=2)
    assert cached(home) == []


SCRIPT = """
import os, pathlib, shutil, signal, sys
import numpy as np
from keras_snn import datasets, events, files
from keras_snn.datasets import cache, recordings
cache.SHARD = 1
folder, home = sys.argv[1:]
log = pathlib.Path(home).with_name("log")
original = events.read

def read(path, **arguments):
    with open(log, "a") as file:
        file.write(path.name + " ")
    return original(path, **arguments)

recordings.events.read = read

def child(left):
    # Dies at the n-th call of whatever changes the disk, before or within it.
    def dying(function):
        def call(*arguments, **keywords):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **keywords)
        return call
    os.replace, np.save = dying(os.replace), dying(np.save)
    shutil.rmtree, pathlib.Path.mkdir = (
        dying(shutil.rmtree), dying(pathlib.Path.mkdir)
    )
    header = np.lib.format.write_array_header_1_0
    np.lib.format.write_array_header_1_0 = dying(header)
    pathlib.Path.write_text = dying(pathlib.Path.write_text)
    datasets.load("nmnist", folder, progress=False, timesteps=2)

def fork(*arguments):
    pid = os.fork()
    if pid:
        return pid
    try:
        child(*arguments)
    except BaseException as error:
        print("child:", repr(error), flush=True)
        os._exit(1)
    os._exit(0)

def load():
    (x, y), (x_test, y_test) = datasets.load(
        "nmnist", folder, progress=False, timesteps=2)
    return [x.tobytes(), y.tobytes(), x_test.tobytes(), y_test.tobytes()]

whole = load()
reads = len(log.read_text().split())
assert reads == 3, reads

# Killed once, at every place: nothing half, nothing read twice.
n = killed = 0
while True:
    n += 1
    shutil.rmtree(home)
    log.unlink()
    status = os.waitpid(fork(n), 0)[1]
    if status == 0:
        break
    assert os.WIFSIGNALED(status), status
    killed += 1
    for path in pathlib.Path(home, "keras_snn").glob("nmnist-*"):
        if path.is_dir() and not path.name.endswith(".partial"):
            names = sorted(each.name for each in path.iterdir())
            assert names == ["about.json", "x_test.npy", "x_train.npy",
                             "y_test.npy", "y_train.npy"], names
    assert load() == whole, n
    reads = log.read_text().split()
    assert len(reads) <= 4 and len(set(reads)) == 3, (n, reads)
    left = {path.name for path in pathlib.Path(home, "keras_snn").iterdir()}
    assert len(left) == 1, left
print("killed", killed)

# Killed again and again: gets there all the same.
shutil.rmtree(home)
for n in range(100):
    if os.waitpid(fork(12), 0)[1] == 0:
        break
else:
    raise AssertionError("got nowhere")
assert load() == whole
print("rounds", n)

# Four at once: one works, the others wait for it.
shutil.rmtree(home)
log.unlink()
pids = [fork(0) for _ in range(4)]
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0, 0]
assert load() == whole
print("reads", len(log.read_text().split()))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_anywhere_it_goes_on_and_one_works_for_all(nmnist, tmp_path):
    home = tmp_path / "home"
    # One digit is enough: three recordings, each a shard.
    for path in [*nmnist.rglob("3"), *nmnist.rglob("9")]:
        shutil.rmtree(path)
    command = [sys.executable, "-c", SCRIPT, str(nmnist), str(home)]
    root = str(pathlib.Path(__file__).parents[1])
    environment = os.environ | {"KERAS_HOME": str(home), "PYTHONPATH": root}
    ended = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    printed = dict(line.split() for line in ended.stdout.splitlines())
    assert int(printed["killed"]) > 12  # 3 shards, at several places each
    assert int(printed["rounds"]) > 1
    assert int(printed["reads"]) == 3


def test_progress_is_shown_unless_it_is_not_wanted(home, nmnist, capsys):
    datasets.load("nmnist", nmnist, progress=False)
    assert capsys.readouterr().out == ""
    datasets.load("nmnist", nmnist, timesteps=2)
    assert "9/9" in capsys.readouterr().out
    datasets.load("nmnist", nmnist, timesteps=2)
    assert capsys.readouterr().out == ""


# CIFAR10-DVS


@pytest.fixture
def cifar(tmp_path):
    folder = tmp_path / "cifar"
    for label, name in enumerate(module.CIFAR10):
        for i in range(20):
            path = folder / name / f"cifar10_{name}_{i}.aedat"
            # Which recording it is can be read off its only pixel.
            write(path, aedat2((5, i, label, 1), (6, i, label, 0)))
    return folder


def which(x):
    """Class and number of recordings, read off their pixels."""
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
    # Not the same ones in every class.
    assert len({tuple(i for c, i in test if c == n) for n in range(10)}) > 3


def test_the_split_is_its_seeds_alone(home, cifar):
    seeds = [0, 0, 1]
    splits = [
        which(load(cifar, "cifar10_dvs", timesteps=n, split_seed=seed)[1][0])
        for n, seed in enumerate(seeds, 1)
    ]
    assert splits[0] == splits[1] != splits[2]
    zipped(cifar)
    _, (x_test, _) = load(cifar, "cifar10_dvs", timesteps=1)
    assert which(x_test) == splits[0]


def test_a_missing_class_is_named(home, cifar):
    shutil.rmtree(cifar / "frog")
    with pytest.raises(ValueError, match="must hold frog or frog.zip"):
        load(cifar, "cifar10_dvs")
    (cifar / "frog").mkdir()
    with pytest.raises(ValueError, match="frog` must hold at least two"):
        load(cifar, "cifar10_dvs")


# DVS128 Gesture


CLIPS = [(2, 100, 200), (11, 200, 250), (2, 240, 300)]


@pytest.fixture
def gesture(tmp_path):
    """Two recordings with three clips each, of which the last two overlap."""
    folder = tmp_path / "ibm" / "DvsGesture"
    table = "class,startTime_usec,endTime_usec\n" + "".join(
        f"{label},{start},{end}\n" for label, start, end in CLIPS
    )
    for user, column in (("user01_led", 7), ("user24_lab", 9)):
        found = [(t, column, t // 10, 1) for t in range(50, 400, 5)]
        write(folder / f"{user}.aedat", aedat3(*found))
        write(folder / f"{user}_labels.csv", table.encode())
    write(folder / "trials_to_train.txt", b"user01_led.aedat\n\n")
    write(folder / "trials_to_test.txt", b"user24_lab.aedat\n")
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("above", [False, True])
def test_gestures_are_cut_where_the_labels_say(home, gesture, packed, above):
    if packed:
        if not above:
            pytest.skip("an archive is above")
        with tarfile.open(gesture.parent / "DvsGesture.tar.gz", "w:gz") as file:
            file.add(gesture, "DvsGesture")
        shutil.rmtree(gesture)
    folder = gesture.parent if above else gesture
    (x, y), (x_test, y_test) = load(folder, "dvs_gesture", timesteps=1)
    assert x.shape == x_test.shape == (3, 1, 128, 128, 2)
    assert y.tolist() == y_test.tolist() == [1, 10, 1]
    for frames, column in ((x, 7), (x_test, 9)):
        for clip, (_, start, end) in zip(frames, CLIPS, strict=True):
            wanted = np.zeros((128, 128, 2), int)
            # `start <= t < end`, as SpikingJelly cuts them.
            for t in range(start, end, 5):
                wanted[t // 10, column, 1] += 1
            np.testing.assert_array_equal(clip[0], wanted)


def test_clips_of_folders_are_whole(home, tmp_path):
    folder = SHARED / "dvs_gesture"
    if not folder.is_dir():
        pytest.skip(
            f"No recordings in {folder}: KERAS_SNN_SHARED may name the folder "
            "that holds events"
        )
    for number, split in ((1, "Train"), (2, "Train"), (8, "Test")):
        content = (folder / f"{number:02}.bin").read_bytes()
        write(tmp_path / split / str(number) / "a.bin", content)
    (x, y), (x_test, y_test) = load(tmp_path, "dvs_gesture", downsample=4)
    assert (y.tolist(), y_test.tolist()) == ([0, 1], [7])
    assert x.shape == (2, 20, 32, 32, 2)
    counts = [317_355 // 5, 421_300 // 5]
    assert x.sum(axis=(1, 2, 3, 4), dtype="int64").tolist() == counts
    assert x_test.sum(dtype="int64") == 506_440 // 5


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("12,100,200", "line 5: no class from 1 to 11"),
        ("0,100,200", "line 5: no class from 1 to 11"),
        ("3,200,200", "line 5: .* later end"),
        ("3,200", "line 5"),
        ("three,100,200", "line 5"),
    ],
)
def test_labels_that_make_no_sense_are_refused(home, gesture, line, why):
    path = gesture / "user24_lab_labels.csv"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=f"`{path}`, {why}"):
        load(gesture, "dvs_gesture")
    assert cached(home) == []


def test_a_clip_without_events_is_refused(home, gesture):
    path = gesture / "user24_lab_labels.csv"
    path.write_text(path.read_text() + "3,1000,2000\n")
    path = gesture / "user24_lab.aedat"
    with pytest.raises(
        ValueError, match=f"`{path}`: no event .* 1000 and 2000"
    ):
        load(gesture, "dvs_gesture")
    assert cached(home) == []


@pytest.mark.parametrize("name", ["user99.aedat", "../DvsGesture/x", "/etc/a"])
def test_lists_name_files_beside_them(home, gesture, name):
    path = gesture / "trials_to_test.txt"
    path.write_text(f"user24_lab.aedat\n{name}\n")
    with pytest.raises(ValueError, match=f"`{path}`, line 2: '{name}'"):
        load(gesture, "dvs_gesture")


@pytest.mark.parametrize(
    "name", ["user24_lab_labels.csv", "trials_to_test.txt"]
)
def test_missing_texts_are_named(home, gesture, name, monkeypatch):
    monkeypatch.setattr(cache, "SHARD", 1)
    (gesture / name).unlink()
    with pytest.raises(
        ValueError, match=f"`{gesture / name}` must be a file that can be read"
    ):
        load(gesture, "dvs_gesture")
    assert cached(home) == []


def test_a_list_of_nothing_is_named(home, gesture):
    path = gesture / "trials_to_test.txt"
    path.write_text("\n")
    with pytest.raises(ValueError, match=f"`{path}` must name recordings"):
        load(gesture, "dvs_gesture")


def test_changed_labels_are_another_dataset(home, gesture):
    assert load(gesture, "dvs_gesture")[0][1].tolist() == [1, 10, 1]
    path = gesture / "user01_led_labels.csv"
    path.write_text(path.read_text().replace("\n2,", "\n3,"))
    assert load(gesture, "dvs_gesture")[0][1].tolist() == [2, 10, 2]


# Arguments


@pytest.mark.parametrize(
    "name", ["digits", "mnist", "cifar10", "tiny_imagenet"]
)
def test_images_have_no_options(home, name):
    with pytest.raises(
        ValueError,
        match=f"options of '{name}' are none. Received: timesteps=20",
    ):
        datasets.load(name, timesteps=20)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("nmnist", "frames"),
        ("nmnist", "split_seed"),
        ("dvs_gesture", "shuffle"),
    ],
)
def test_unknown_options_are_refused(home, name, option):
    with pytest.raises(
        ValueError, match=f"of '{name}' are `timesteps`, .*Received: {option}=3"
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


def test_a_seed_of_the_split_is_checked(home):
    with pytest.raises(ValueError, match="`split_seed` must be at least 0"):
        datasets.load("cifar10_dvs", ".", split_seed=-1)


@pytest.mark.parametrize("name", ["nmnist", "cifar10_dvs", "dvs_gesture"])
def test_a_folder_is_needed(home, name, tmp_path):
    with pytest.raises(ValueError, match="needs `data_dir`, the folder"):
        datasets.load(name)
    with pytest.raises(ValueError, match="must be a folder"):
        datasets.load(name, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="`data_dir` must hold .* for"):
        datasets.load(name, tmp_path)


def test_a_folder_without_classes_is_named(home, tmp_path):
    write(tmp_path / "Train" / "ten" / "1.bin", GOOD)
    write(tmp_path / "Test" / "0" / "1.bin", GOOD)
    with pytest.raises(ValueError, match=r"Train` must hold a folder of rec"):
        load(tmp_path)


def test_an_empty_class_is_named(home, nmnist):
    path = nmnist / "Test" / "7"
    path.mkdir()
    (path / ".DS_Store").write_text("")
    with pytest.raises(ValueError, match=f"`{path}` must hold recordings"):
        load(nmnist)


def test_the_cache_says_what_it_holds(home, nmnist):
    load(nmnist, crop=(32, 32))
    (path,) = home.rglob("about.json")
    about = json.loads(path.read_text())
    assert (about["dataset"], about["crop"]) == ("nmnist", [32, 32])
