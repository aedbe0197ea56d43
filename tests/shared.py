"""Real data beside the checkout, which the repository does not hold."""

import os
import pathlib

import pytest

__all__ = ["shared"]

SIBLING = pathlib.Path(__file__).parents[2] / "shared"
FOLDER = pathlib.Path(os.environ.get("KERAS_SNN_SHARED") or SIBLING)


def shared(name):
    """Returns a file or folder, or skips the test."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(
            f"{path} is missing. Set KERAS_SNN_SHARED to the folder that holds "
            f"{name}"
        )
    return path
