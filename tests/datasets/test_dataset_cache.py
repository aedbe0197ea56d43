"""Preparation of datasets: cached, continued, shared between processes."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from recording_files import (
    all_files,
    counted,
    empty,
    load,
    some,
    truncate,
    web_page,
)
from small_disk import small_disk

from keras_snn import datasets, events
from keras_snn.datasets import cache


def other_array(path):
    np.save(path, np.zeros((6, 3), "uint8"))


def floats(path):
    np.save(path, np.load(path).astype("float32"))


def missing(path):
    path.unlink()


@pytest.mark.parametrize("which", ["x_train", "y_test"])
@pytest.mark.parametrize(
    "damage",
    [truncate, empty, web_page, other_array, floats, missing],
)
def test_a_damaged_cache_file_is_refused(home, nmnist, damage, which):
    load(nmnist, timesteps=2)
    (path,) = home.rglob(f"{which}.npy")
    damage(path)
    with pytest.raises(
        ValueError,
        match=f"`{path.parent}` is damaged: delete it and load 'nmnist' again",
    ):
        load(nmnist, timesteps=2)
    shutil.rmtree(path.parent)
    load(nmnist, timesteps=2)


@pytest.mark.parametrize(
    "size",
    # A sample has 4624 bytes and a header, and the training set six of them.
    [pytest.param(3000, id="sample"), pytest.param(20_000, id="joined")],
)
def test_a_full_disk_names_the_dataset(home, nmnist, monkeypatch, size):
    monkeypatch.setattr(cache, "SHARD", 1)
    with small_disk(size), pytest.raises(OSError, match="too large") as caught:
        load(nmnist, timesteps=2)
    pattern = rf"\[Errno \d+\] `{home}/nmnist-\w+` cannot be written: .* large"
    assert re.fullmatch(pattern, str(caught.value))
    assert not list(home.rglob("x_*.npy"))
    assert not list(home.rglob("*.part"))
    (x, _), _ = load(nmnist, timesteps=2)
    np.testing.assert_array_equal(x[5], counted(some(12), 2, 34, 34))


def test_an_interrupted_preparation_continues(home, nmnist, monkeypatch):
    monkeypatch.setattr(cache, "SHARD", 1)
    original, seen = events.read, []

    def read(path, **arguments):
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.append(path.name)
        return original(path, **arguments)

    monkeypatch.setattr(events, "read", read)
    with pytest.raises(KeyboardInterrupt):
        load(nmnist, timesteps=2)
    assert not list(home.rglob("x_*.npy"))
    monkeypatch.setattr(
        events,
        "read",
        lambda path, **rest: seen.append(path.name) or original(path, **rest),
    )
    (x, _), _ = load(nmnist, timesteps=2)
    assert len(seen) == len(set(seen)) == 9
    np.testing.assert_array_equal(x[5], counted(some(12), 2, 34, 34))
    assert [name.split("/")[-1] for name in all_files(home)] == [
        "about.json",
        "x_test.npy",
        "x_train.npy",
        "y_test.npy",
        "y_train.npy",
    ]


@pytest.mark.parametrize("damage", [empty, web_page, other_array])
def test_a_damaged_shard_is_deleted(home, nmnist, damage, monkeypatch):
    monkeypatch.setattr(cache, "SHARD", 1)
    original = cache._merge

    def merge(paths, *rest):
        damage(paths[0])
        return original(paths, *rest)

    monkeypatch.setattr(cache, "_merge", merge)
    with pytest.raises(ValueError, match="damaged.* [Ll]oad .*again"):
        load(nmnist, timesteps=2)
    for path in home.glob("*"):  # as the message asks
        shutil.rmtree(path)
    monkeypatch.undo()
    monkeypatch.setenv("KERAS_HOME", str(home.parent))
    assert load(nmnist, timesteps=2)[1][1].tolist() == [0, 3, 9]


SCRIPT = """
import os, pathlib, shutil, signal, sys
import numpy as np
from keras_snn import datasets, events, files
from keras_snn.datasets import cache
cache.SHARD = 1
folder, home = sys.argv[1:]
log = pathlib.Path(home).with_name("log")
original = events.read

def read(path, **arguments):
    with open(log, "a") as file:
        file.write(path.name + " ")
    return original(path, **arguments)

events.read = read

def child(left):
    # Dies at the n-th call that changes the disk.
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

complete = load()
reads = len(log.read_text().split())
assert reads == 3, reads

# Killed once, at each of these calls: nothing incomplete, nothing read twice.
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
            names = sorted({each.name for each in path.iterdir()} - {"shards"})
            assert names == ["about.json", "x_test.npy", "x_train.npy",
                             "y_test.npy", "y_train.npy"], names
    assert load() == complete, n
    reads = log.read_text().split()
    assert len(reads) <= 4 and len(set(reads)) == 3, (n, reads)
    left = {path.name for path in pathlib.Path(home, "keras_snn").iterdir()}
    assert len(left) == 1, left
print("killed", killed)

# Killed again and again: it still finishes.
shutil.rmtree(home)
for n in range(100):
    if os.waitpid(fork(40), 0)[1] == 0:
        break
else:
    raise AssertionError("never finished")
assert load() == complete
print("rounds", n)

# Four at once: one works, and the others wait for it.
shutil.rmtree(home)
log.unlink()
pids = [fork(0) for _ in range(4)]
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0, 0]
assert load() == complete
print("reads", len(log.read_text().split()))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_preparations_continue_and_processes_share(nmnist, tmp_path):
    home = tmp_path / "home"
    # One digit with three recordings, each a shard, is enough.
    for path in [*nmnist.rglob("3"), *nmnist.rglob("9")]:
        shutil.rmtree(path)
    command = [sys.executable, "-c", SCRIPT, str(nmnist), str(home)]
    root = str(pathlib.Path(__file__).parents[2])
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
    assert int(printed["killed"]) > 12  # several calls for each of 3 shards
    assert int(printed["rounds"]) > 1
    assert int(printed["reads"]) == 3


def test_progress_is_shown_by_default(home, nmnist, capsys):
    datasets.load("nmnist", nmnist, progress=False)
    assert capsys.readouterr().out == ""
    datasets.load("nmnist", nmnist, timesteps=2)
    assert "9/9" in capsys.readouterr().out
    datasets.load("nmnist", nmnist, timesteps=2)
    assert capsys.readouterr().out == ""


def test_the_cache_describes_its_content(home, nmnist):
    load(nmnist, crop=(32, 32))
    (path,) = home.rglob("about.json")
    about = json.loads(path.read_text())
    assert (about["dataset"], about["crop"]) == ("nmnist", [32, 32])
