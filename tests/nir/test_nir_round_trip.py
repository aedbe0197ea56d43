"""Models come back from their graphs with the same spikes on real inputs."""

import keras
import numpy as np
import pytest
from backend import to_numpy
from nir_files import last

from keras_snn import datasets, layers, models
from keras_snn.encoders import as_intensity
from keras_snn.layers import PerTimestep
from keras_snn.nir import from_nir, to_nir

nir = pytest.importorskip("nir", reason="nir is not installed")


def digits():
    (images, _), _ = datasets.load("digits")
    return images[:100]


def repeated(images, timesteps):
    """What a constant encoder sends."""
    once = to_numpy(as_intensity(images))
    return np.repeat(once[:, None], timesteps, 1)


def assert_same_spikes(model, back, images, inputs):
    ours = models.probe(model)(images)
    theirs = models.probe(back)(inputs)
    for spikes, read in zip(ours.values(), theirs.values(), strict=True):
        spikes, read = to_numpy(spikes), to_numpy(read)
        if spikes.shape != read.shape:  # channels first
            spikes = last(spikes)
        assert spikes.mean() > 0.01
        np.testing.assert_array_equal(spikes, read)


@pytest.mark.parametrize("normalization", [None, "batch", "tdbn"])
def test_five_layers_come_back_with_the_same_spikes(normalization, tmp_path):
    model = models.five_layer_snn(
        (8, 8, 1),
        timesteps=6,
        encoder="constant",
        normalization=normalization,
        readout="rate",
        lam=0.5,
        seed=3,
    )
    for _ in range(30 if normalization else 0):
        model(digits(), training=True)  # moves the averages
    to_nir(model, path=tmp_path / "network.nir")
    back = from_nir(tmp_path / "network.nir")
    inputs = repeated(digits(), 6)
    assert_same_spikes(model, back, digits(), inputs)
    rates = to_numpy(back(inputs)).mean(1)
    np.testing.assert_allclose(rates, to_numpy(model(digits())), atol=1e-6)


@pytest.mark.parametrize("kind", ["RecurrentLIF", "RecurrentCubaLIF"])
def test_recurrent_networks_come_back_with_the_same_spikes(kind):
    keras.utils.set_random_seed(5)
    inputs = keras.Input((6, 8, 8, 1))
    x = PerTimestep(keras.layers.Flatten())(inputs)
    x = getattr(layers, kind)(30, lam=1.0)(keras.layers.Dense(30)(x))
    x = layers.CubaLIF(lam=1.0)(keras.layers.Dense(30)(x))
    model = keras.Model(inputs, x)
    frames = 4 * repeated(digits(), 6)
    back = from_nir(to_nir(model, 1e-3), 1e-3)
    assert_same_spikes(model, back, frames, frames)


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(2)])
    path = tmp_path / "network.nir"
    to_nir(model, path=path)
    before = path.read_bytes()

    def fail(path, graph):
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(nir, "write", fail)
    with pytest.raises(OSError, match="network.nir.*the disk is full"):
        to_nir(model, path=path)
    assert path.read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == ["network.nir"]
