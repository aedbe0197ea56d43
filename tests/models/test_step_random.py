"""Random networks of one timestep against the whole sequence."""

import keras
import numpy as np
import pytest
from backend import to_numpy
from random_networks import NEURONS, RESETS, RandomNetwork

from keras_snn import step_model

# What the networks are made of, beside neurons and resets.
PARTS = {
    *("series", "two series", "frames", "constant", "poisson", "repeat"),
    *("plain", "residual", "branches", "shared"),
    *("nested", "nested twice", "recomputed"),
    *("convolution", "depthwise", "pool", "flatten"),
    *("wrapped", "wrapped model", "time distributed", "folded", "direct"),
    *("tdbn", "batch", "bntt", "dropout", "relu", "per channel"),
    *("add", "plus", "maximum", "subtract", "average"),
    *("spikes", "last", "mean", "integrator", "potential"),
}


def assert_streams(network):
    """Steps of a network give what it gives for the whole sequence.

    Returns:
        Whether the outputs differ between samples or timesteps.
    """
    stream = step_model(network.model).stream(network.steps())
    found = [keras.tree.flatten(y) for y in stream]
    wholes = network.whole()
    for n, whole in enumerate(wholes):
        steps = [to_numpy(y[n]) for y in found]
        steps = steps[-1] if network.reduced[n] else np.stack(steps, 1)
        np.testing.assert_array_equal(steps, whole)
    return all(np.ptp(x) > 0 for x in wholes)


@pytest.mark.parametrize("seed", range(4))
def test_random_networks_stream(seed):
    assert_streams(RandomNetwork(seed))


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="compiles every network"
)
def test_many_random_networks_stream():
    used, alive = set(), 0
    for seed in range(150):
        network = RandomNetwork(seed)
        alive += assert_streams(network)
        used |= network.used
        if seed % 50 == 49:
            keras.backend.clear_session()
    assert used >= PARTS | {*NEURONS, *RESETS}
    assert alive > 135
