"""The axes of other simulators."""

import numpy as np


def first(x):
    """Moves the channels of `(batch, timesteps, ...)` to the front."""
    return np.moveaxis(x, -1, 2)


def last(x):
    """Moves the channels of `(batch, timesteps, ...)` to the end."""
    return np.moveaxis(x, 2, -1)
