"""A disk on which only small files have room."""

import contextlib

import pytest


@contextlib.contextmanager
def small_disk(size):
    """Makes the system refuse files of more than `size` bytes."""
    resource = pytest.importorskip("resource", reason="Windows has no limits")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
