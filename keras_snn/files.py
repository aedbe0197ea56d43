"""Files that are whole or not there, and one process at a time."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import time

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt


@contextlib.contextmanager
def replacing(path):
    """Yields a path to write to, which becomes `path` if all went well.

    A process killed while writing, or an error, leaves `path` as it was; what a
    power cut leaves is for the file system to say. The next to write the same
    `path` clears away what the killed one left, and waits for one that lives:
    for ever, if that is an outer `replacing` of its own.

    Args:
        path: The file to write or replace; missing folders are made.

    Yields:
        A `pathlib.Path` in the same folder, with the same suffix.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path))
        except OSError:
            # Some file systems have no locks. A folder that nobody else knows
            # is as good, but will not be found again.
            folder = tempfile.TemporaryDirectory(dir=path.parent, prefix=".")
            folder = pathlib.Path(stack.enter_context(folder))
        else:
            folder = path.with_name(f".{path.name}.part")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder / path.name
        os.replace(folder / path.name, path)


@contextlib.contextmanager
def locked(path, wait=True):
    """Waits until no other process is inside `locked` of the same path.

    The lock is the system's, on a file of its own: it ends with the process,
    however that ends, and its file is gone when the last one leaves.

    Args:
        path: What is locked, there or not; missing folders are made.
        wait: Whether to wait at all.

    Raises:
        BlockingIOError: If another process is inside, and `wait` is `False`.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.with_name(f".{path.name}.lock")
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            _lock(file, wait)
            if _is_at(file, path):
                try:
                    yield
                finally:
                    # Windows deletes no file that is open: there it stays.
                    with contextlib.suppress(OSError):
                        path.unlink()
                return
        finally:
            os.close(file)


def _is_at(file, path):
    """Whether an open file still is the one at a path.

    Whoever had it meanwhile may have deleted it: then it is a lock that nobody
    else will find.
    """
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _lock(file, wait):
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return
    while True:
        with contextlib.suppress(OSError):
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            return
        if not wait:
            raise BlockingIOError
        time.sleep(0.1)
