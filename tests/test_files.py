import errno
import signal
import subprocess
import sys
import threading
import time

import pytest

from keras_snn import files
from keras_snn.files import locked, replacing


def test_success_replaces_the_file_and_leaves_no_litter(tmp_path):
    path = tmp_path / "data.npz"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_error_leaves_the_old_file_and_no_litter(tmp_path):
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


def test_error_leaves_no_file_where_none_was(tmp_path):
    def write():
        with replacing(tmp_path / "data.npz") as partial:
            partial.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


def test_missing_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "data.npz"
    with replacing(str(path)) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_a_path_without_a_folder_is_in_the_working_folder(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with replacing("data.npz") as partial:
        partial.write_text("new")
    assert (tmp_path / "data.npz").read_text() == "new"


def test_the_partial_file_keeps_the_suffix(tmp_path):
    # NumPy and Keras choose the format by it, or append it.
    with replacing(tmp_path / "model.weights.h5") as partial:
        assert partial.suffixes == [".weights", ".h5"]
        partial.write_text("new")


def test_the_file_is_as_readable_as_any_other(tmp_path):
    with replacing(tmp_path / "data.npz") as partial:
        partial.write_text("new")
    (tmp_path / "other").write_text("other")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_leaves_the_old_file_intact(tmp_path):
    path = tmp_path / "data.npz"
    path.write_text("old")
    # By its path, the module starts without waiting for Keras.
    script = (
        "import os, runpy, signal, sys\n"
        "replacing = runpy.run_path(sys.argv[1])['replacing']\n"
        "with replacing(sys.argv[2]) as partial, open(partial, 'w') as file:\n"
        "    file.write('half of the n')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", script, files.__file__, str(path)]
    ended = subprocess.run(command, timeout=30, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    # The next run clears away what the killed one left, and may be killed, too.
    assert len(list(tmp_path.iterdir())) > 1
    subprocess.run(command, timeout=30, check=False)
    with replacing(path) as partial:
        assert not partial.exists()
        partial.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_all_who_write_at_once_write_a_whole_file(tmp_path):
    path, whole = tmp_path / "data", []

    def work(number):
        for _ in range(20):
            with replacing(path) as partial:
                partial.write_text(100 * str(number))
                time.sleep(0.0002)
                with open(partial, "a") as file:
                    file.write(100 * str(number))
            content = path.read_text()
            whole.append(len(content) == 200 and len(set(content)) == 1)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert whole == 80 * [True]
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    def no_locks(file, wait):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files, "_lock", no_locks)
    path = tmp_path / "data"
    with replacing(path) as partial:
        partial.write_text("new")
        with replacing(path) as other:
            other.write_text("other")
    assert path.read_text() == "new"
    assert set(tmp_path.iterdir()) <= {path, tmp_path / ".data.lock"}


def test_a_lock_leaves_no_litter(tmp_path):
    path = tmp_path / "a" / "data"
    with locked(path):
        assert list(path.parent.iterdir()) != []
    with pytest.raises(OSError, match="disk full"), locked(path):
        raise OSError("disk full")
    assert list(path.parent.iterdir()) == []


def test_one_at_a_time_is_inside_a_lock(tmp_path):
    # By threads: the lock is the open file's, of which each has its own.
    inside, most, rounds = [], [], 50

    def work(number):
        for _ in range(rounds):
            with locked(tmp_path / "data"):
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.0002)
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 4 * rounds * [1]
    assert list(tmp_path.iterdir()) == []


def test_nobody_has_to_wait(tmp_path):
    path = tmp_path / "data"
    with locked(path):
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pytest.fail("two inside")
        assert list(tmp_path.iterdir()) != []  # the first one's
    with locked(path, wait=False):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_lock_ends_with_its_process(tmp_path):
    script = (
        "import os, runpy, signal, sys\n"
        "locked = runpy.run_path(sys.argv[1])['locked']\n"
        "with locked(sys.argv[2]):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", script, files.__file__, tmp_path / "data"]
    ended = subprocess.run(command, timeout=30, check=False)
    assert ended.returncode == -signal.SIGKILL
    with locked(tmp_path / "data"):
        pass
    assert list(tmp_path.iterdir()) == []
