import errno
import os
import signal
import subprocess
import sys
import threading
import time

import filelock
import keras
import numpy as np
import pytest
from small_disk import small_disk

from keras_snn import callbacks, events, files
from keras_snn.files import locked, replacing

posix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no SIGKILL"
)


def run_and_kill(script, path):
    """Runs a script that kills itself. It gets files.py and `path`."""
    # Running files.py by its path avoids the wait for Keras.
    command = [sys.executable, "-c", script, files.__file__, str(path)]
    ended = subprocess.run(command, timeout=30, check=False)
    assert ended.returncode == -signal.SIGKILL


def run_threads(work):
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_success_replaces_the_file_and_leaves_no_litter(tmp_path):
    path = tmp_path / "data.npz"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "data.npz"
    path.write_text("old")

    def write():
        with replacing(path) as partial:
            partial.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_no_file(tmp_path):
    def write():
        with replacing(tmp_path / "data.npz") as partial:
            partial.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


def test_missing_folders_are_created(tmp_path):
    path = tmp_path / "a" / "b" / "data.npz"
    with replacing(str(path)) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_a_bare_name_is_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with replacing("data.npz") as partial:
        partial.write_text("new")
    assert (tmp_path / "data.npz").read_text() == "new"


def test_the_temporary_file_keeps_the_suffix(tmp_path):
    # NumPy and Keras choose the format by the suffix, or append one.
    with replacing(tmp_path / "model.weights.h5") as partial:
        assert partial.suffixes == [".weights", ".h5"]
        partial.write_text("new")


def test_the_new_file_has_the_usual_permissions(tmp_path):
    with replacing(tmp_path / "data.npz") as partial:
        partial.write_text("new")
    (tmp_path / "other").write_text("other")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


@posix_only
def test_a_killed_process_leaves_the_old_file_intact(tmp_path):
    path = tmp_path / "data.npz"
    path.write_text("old")
    script = (
        "import os, runpy, signal, sys\n"
        "replacing = runpy.run_path(sys.argv[1])['replacing']\n"
        "with replacing(sys.argv[2]) as partial, open(partial, 'w') as file:\n"
        "    file.write('half of the n')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run_and_kill(script, path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) > 1
    # The next writer may be killed as well.
    run_and_kill(script, path)
    with replacing(path) as partial:
        assert not partial.exists()
        partial.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_concurrent_writers_write_complete_files(tmp_path):
    path, complete = tmp_path / "data", []

    def work(number):
        for _ in range(20):
            with replacing(path) as partial:
                partial.write_text(100 * str(number))
                time.sleep(0.0002)
                with open(partial, "a") as file:
                    file.write(100 * str(number))
            content = path.read_text()
            complete.append(len(content) == 200 and len(set(content)) == 1)

    run_threads(work)
    assert complete == 80 * [True]
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_locks_is_enough(tmp_path, monkeypatch):
    def no_locks(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", no_locks)
    path = tmp_path / "data"
    with replacing(path) as partial:
        partial.write_text("new")
        with replacing(path) as other:
            other.write_text("other")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_leaves_no_litter(tmp_path):
    path = tmp_path / "a" / "data"
    with locked(path):
        assert list(path.parent.iterdir()) != []
    with pytest.raises(OSError, match="disk full"), locked(path):
        raise OSError("disk full")
    assert list(path.parent.iterdir()) == []


def test_one_thread_at_a_time_holds_a_lock(tmp_path):
    # Each `locked` opens the lock file anew, so threads stand for processes.
    inside, most, rounds = [], [], 50

    def work(number):
        for _ in range(rounds):
            with locked(tmp_path / "data"):
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.0002)
                inside.remove(number)

    run_threads(work)
    assert most == 4 * rounds * [1]
    assert list(tmp_path.iterdir()) == []


COUNTER = """
import pathlib, runpy, sys, time
locked = runpy.run_path(sys.argv[1])["locked"]
path = pathlib.Path(sys.argv[2])
for _ in range(100):
    with locked(path):
        number = int(path.read_text())
        time.sleep(0.0002)
        path.write_text(str(number + 1))
"""


def test_one_process_at_a_time_holds_a_lock(tmp_path):
    path = tmp_path / "counter"
    path.write_text("0")
    command = [sys.executable, "-c", COUNTER, files.__file__, str(path)]
    started = [subprocess.Popen(command) for _ in range(3)]
    assert [each.wait(timeout=60) for each in started] == [0, 0, 0]
    assert path.read_text() == "300"
    assert list(tmp_path.iterdir()) == [path]


def test_a_busy_lock_raises_if_asked_not_to_wait(tmp_path):
    path = tmp_path / "data"
    with locked(path):
        with (
            pytest.raises(BlockingIOError, match=f"`{path}` is locked"),
            locked(path, wait=False),
        ):
            pytest.fail("two holders")
        assert list(tmp_path.iterdir()) != []  # the first holder's lock file
    with locked(path, wait=False):
        pass
    assert list(tmp_path.iterdir()) == []


@posix_only
def test_a_lock_ends_with_its_process(tmp_path):
    script = (
        "import os, runpy, signal, sys\n"
        "locked = runpy.run_path(sys.argv[1])['locked']\n"
        "with locked(sys.argv[2]):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run_and_kill(script, tmp_path / "data")
    with locked(tmp_path / "data"):
        pass
    assert list(tmp_path.iterdir()) == []


# A full disk


needs_dev_full = pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="only Linux has /dev/full"
)


@needs_dev_full
def test_a_full_disk_names_the_file_and_the_cause(tmp_path):
    path = tmp_path / "data.npz"
    path.write_text("old")

    def write():
        with replacing(path) as partial:
            # Every write to this device fails as on a full disk.
            partial.symlink_to("/dev/full")
            partial.write_text("new")

    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert caught.value.errno == errno.ENOSPC
    cause = f"`{path}` cannot be written: No space left on device"
    assert str(caught.value) == f"[Errno {errno.ENOSPC}] {cause}"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        # NumPy's `tofile` on a full disk.
        (OSError("1000 requested and 624 written"), "1000 requested and 624"),
        (OSError(errno.EDQUOT, "long", "/hidden"), os.strerror(errno.EDQUOT)),
    ],
)
def test_every_error_of_a_write_names_the_file(tmp_path, error, text):
    path = tmp_path / "data.npz"

    def write():
        with replacing(path):
            raise error

    with pytest.raises(
        OSError, match=f"`{path}` cannot be written: {text}"
    ) as e:
        write()
    assert type(e.value) is type(error)
    assert e.value.errno == error.errno
    assert "hidden" not in str(e.value)


@posix_only
@pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0,
    reason="root may write everywhere",
)
def test_a_folder_without_permission_names_the_file(tmp_path):
    tmp_path.chmod(0o500)
    path = tmp_path / "data.npz"
    with (
        pytest.raises(PermissionError, match=f"`{path}` cannot be written"),
        replacing(path),
    ):
        pytest.fail("written")


def write_events(path):
    recording = np.zeros(999, events.DTYPE)
    events.write(path, recording)


def write_model(path):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
    checkpoint = callbacks.Checkpoint(path)
    checkpoint.set_model(model)
    checkpoint.on_epoch_end(0)


def write_log(path):
    log = callbacks.EpochLog(path)
    log.on_epoch_end(0, {f"metric_{i}": i for i in range(200)})


@posix_only
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("events.bin", write_events),
        ("model.keras", write_model),
        ("log.jsonl", write_log),
    ],
    ids=["events", "model", "log"],
)
def test_writers_leave_nothing_half_written(tmp_path, name, write):
    path = tmp_path / name
    with small_disk(1000), pytest.raises(OSError, match="too large") as caught:
        write(path)
    assert f"`{path}` cannot be written: " in str(caught.value)
    assert ".part" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    write(path)
    assert list(tmp_path.iterdir()) == [path]
