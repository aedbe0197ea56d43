"""A learnt constant, against that of another library after training."""

import os
import pathlib

import keras
import numpy as np
import pytest
from peers import library, needs_peers

from keras_snn import datasets, encoders, layers, presets

pytestmark = needs_peers
TIMESTEPS, BATCH, ITERATIONS = 8, 64, 100


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Images `(samples, pixels)` in [0, 1], and their labels."""
    name = "mnist"
    if not (datasets.cache_dir() / "mnist.npz").exists():
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        prepared = os.environ.get("TFDS_DATA_DIR")
        if not prepared or not (pathlib.Path(prepared) / "mnist").is_dir():
            name = "digits"
    (x, y), _ = datasets.load(name)
    x = x.reshape(len(x), -1).astype("float32")
    return x / x.max(), y


def network(pixels):
    """A network with PLIF neurons behind all dense layers but the last.

    Returns:
        The network, its dense layers, and its layers of neurons.
    """
    dense = [keras.layers.Dense(units) for units in (64, 32, 10)]
    neurons = [layers.LIF(**presets.spikingjelly_plif()) for _ in dense[1:]]
    inputs = keras.Input((pixels,))
    x = encoders.ConstantEncoder(TIMESTEPS)(inputs)
    for synapses, layer in zip(dense, neurons, strict=False):
        x = layer(synapses(x))
    mean = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, dense[-1](mean)), dense, neurons


def counterpart(dense):
    """The same network of SpikingJelly's neurons, with the same weights.

    Returns:
        The network as a function, its weights, and its layers of neurons.
    """
    import torch

    based = "spikingjelly.activation_based"
    make = library(f"{based}.neuron").ParametricLIFNode
    reset = library(f"{based}.functional").reset_net
    linear = []
    for layer in dense:
        kernel, bias = layer.get_weights()
        linear.append(torch.nn.Linear(*kernel.shape))
        with torch.no_grad():
            linear[-1].weight.copy_(torch.tensor(kernel.T))
            linear[-1].bias.copy_(torch.tensor(bias))
    nodes = [make(decay_input=False, step_mode="m") for _ in dense[1:]]

    def run(images):
        x = images.expand(TIMESTEPS, *images.shape)
        for synapses, node in zip(linear, nodes, strict=False):
            reset(node)
            x = node(synapses(x))
        return linear[-1](x.mean(0))

    weights = [x for module in (*linear, *nodes) for x in module.parameters()]
    return run, weights, nodes


@pytest.mark.slow
def test_plif_learns_the_leak_that_it_learns_in_spikingjelly(images, rng):
    import torch

    images, labels = images
    model, dense, neurons = network(images.shape[1])
    peer, weights, nodes = counterpart(dense)
    rate, momentum = 0.05, 0.9
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, momentum), loss)
    optimizer = torch.optim.SGD(weights, rate, momentum)
    start = [x.k for x in neurons]
    for _ in range(ITERATIONS):
        rows = rng.integers(0, len(images), BATCH)
        x, y = images[rows], labels[rows]
        model.train_on_batch(x, y)
        logits = peer(torch.tensor(x))
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    learnt = np.array([x.k for x in neurons])
    assert np.abs(learnt - start).min() > 0.01
    expected = [1 - x.w.sigmoid().item() for x in nodes]
    # 3e-8 apart as long as rounding flips no spike.
    np.testing.assert_allclose(learnt, expected, rtol=0, atol=1e-3)
