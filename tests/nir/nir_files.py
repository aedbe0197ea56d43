"""Where the networks of other simulators are, and their axes."""

import os
import pathlib

import numpy as np
import pytest

SIBLING = pathlib.Path(__file__).parents[3] / "shared"
SHARED = pathlib.Path(os.environ.get("KERAS_SNN_SHARED") or SIBLING)


def shared(name):
    """Returns a file or folder, or skips the test."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(
            f"{path} is missing. Set KERAS_SNN_SHARED to the folder that holds "
            f"{name}"
        )
    return path


def first(x):
    """Moves the channels of `(batch, timesteps, ...)` to the front."""
    return np.moveaxis(x, -1, 2)


def last(x):
    """Moves the channels of `(batch, timesteps, ...)` to the end."""
    return np.moveaxis(x, 2, -1)
