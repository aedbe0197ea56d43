"""Atomic file writes, locks between processes, and damaged files."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from errno import EEXIST, EINVAL, EISDIR, ENAMETOOLONG, ENOENT, ENOTDIR

import filelock

__all__ = ["cannot_write", "damage", "locked", "replacing"]

# Values of `OSError.errno` that a damaged file can cause. Decompressors set
# none. Other values, such as that of a full disk, have other causes.
FILE_ERRORS = (None, EEXIST, EINVAL, EISDIR, ENAMETOOLONG, ENOENT, ENOTDIR)


def cannot_write(path: str | os.PathLike[str], error: OSError) -> OSError:
    """Returns an error that names the file and the cause.

    The original names no file, or a temporary one.
    """
    if error.errno is None:
        return OSError(f"`{path}` cannot be written: {error}")
    cause = os.strerror(error.errno)
    return OSError(error.errno, f"`{path}` cannot be written: {cause}")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a temporary path and moves the file written there to `path`.

    Readers of `path` see the old file or the complete new one. If the process
    fails or is killed, the old file stays in place. The next `replacing` of the
    same path cleans up after a killed process. Writers of one path take turns.

    Args:
        path: The file to write or replace. Missing folders are created.

    Yields:
        A path in a temporary subfolder, with the name of `path`.

    Raises:
        OSError: If the `with` block or the move raises one, for instance
            because the disk is full. The message names `path` and the cause.
    """
    path = pathlib.Path(path)
    try:
        with _beside(path) as partial:
            yield partial
            os.replace(partial, path)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextlib.contextmanager
def _beside(path):
    """Yields a path in a temporary folder next to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path))
        except OSError:
            # Some network file systems have no locks. A folder with a unique
            # name is just as safe, but the next write cannot clean it up.
            unique = tempfile.TemporaryDirectory(dir=path.parent, prefix=".")
            folder = pathlib.Path(stack.enter_context(unique))
        else:
            folder = path.with_name(f".{path.name}.part")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder / path.name


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], wait: bool = True) -> Iterator[None]:
    """Holds a lock on `path`. Only one process at a time can hold it.

    The operating system releases the lock when the process ends, even if it
    is killed.

    Args:
        path: A file or folder. It need not exist. Missing parent folders are
            created.
        wait: Whether to wait for a process that holds the lock.

    Raises:
        BlockingIOError: If another process holds the lock and `wait` is
            `False`.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(blocking=wait)
    except filelock.Timeout:
        raise BlockingIOError(f"`{path}` is locked by another process.") from (
            None
        )
    try:
        yield
    finally:
        # A process that waits for the deleted file notices this and starts
        # over. Windows cannot delete an open file; there, filelock deletes it
        # on release.
        with contextlib.suppress(OSError):
            os.unlink(lock.lock_file)
        lock.release()


@contextlib.contextmanager
def damage(message: str) -> Iterator[None]:
    """Turns the exceptions that a damaged file causes into a `ValueError`.

    NumPy, Pillow, `h5py` and `zipfile` raise many kinds of exception.

    Args:
        message: A sentence that names the file and says what to do.
    """
    try:
        yield
    except Exception as error:
        number = getattr(error, "errno", None)
        if number not in FILE_ERRORS or isinstance(
            error, (ImportError, MemoryError)
        ):
            raise
        # Messages of HDF5 may have several lines.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{message} Received: {reason}") from error
