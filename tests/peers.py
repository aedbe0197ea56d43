"""The neurons of other libraries, and how tests compare ours with them.

Inputs are sixteenths, and `k` and `lam` are powers of two, so potentials are
exact in float32 and spikes can be compared with `==`.
"""

import functools
import warnings

import keras
import numpy as np
import pytest
from backend import gradients, to_numpy

from keras_snn.layers import LIF

needs_peers = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="the peers use PyTorch"
)
SHAPE = (50, 10, 20)  # samples, timesteps, neurons: 10,000 inputs


@functools.cache
def library(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, exc_type=ImportError)


def over_time(step, state=None):
    """Runs `step`, from current and state to spikes and state, over time."""
    import torch

    def run(current, state=state):
        spikes = []
        for now in current.unbind(1):
            out, state = step(now, state)
            spikes.append(out)
        return torch.stack(spikes, 1)

    return run


def assert_equal(rng, neuron, peer, low=-16, high=48):
    """Compares a layer, or `LIF(**neuron)`, with the function `peer`.

    Both are functions of the current.
    """
    layer = LIF(**neuron) if isinstance(neuron, dict) else neuron
    current = (rng.integers(low, high + 1, SHAPE) / 16).astype("float32")
    upstream = rng.normal(size=SHAPE).astype("float32")
    ours, theirs = (
        to_numpy(function(keras.ops.convert_to_tensor(current)))
        for function in (layer, peer)
    )
    assert 0.02 < theirs.mean() < 0.98
    np.testing.assert_array_equal(ours, theirs)
    (ours,), (theirs,) = (
        gradients(lambda x, f=function: (f(x),), [current], [upstream])
        for function in (layer, peer)
    )
    assert_close(ours, theirs)


def assert_close(ours, theirs):
    """Compares gradients."""
    # Ten timesteps in float32, in another order.
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    assert error < 1e-5


def node(name, **arguments):
    activation_based = "spikingjelly.activation_based"
    neurons = library(f"{activation_based}.neuron")
    functional = library(f"{activation_based}.functional")
    made = getattr(neurons, name)(step_mode="m", **arguments)

    def run(current):
        functional.reset_net(made)
        return made(current.transpose(0, 1)).transpose(0, 1)

    run.node = made
    return run
