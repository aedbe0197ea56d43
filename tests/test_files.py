import errno
import signal
import subprocess
import sys
import threading
import time

import filelock
import pytest

from keras_snn import files
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
