"""A model trained and saved here runs alike on every installed backend."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_snn import datasets
from keras_snn.models import five_layer_snn

BACKENDS = ("tensorflow", "jax", "torch")
# float32 potentials are sums of tens of terms of order 1.
ROUNDING = 1e-5
LOAD_AND_RUN = """
import sys
import keras, keras_snn
import numpy as np
folder = sys.argv[1]
model = keras.models.load_model(folder + "/model.keras", safe_mode=True)
x = np.load(folder + "/x.npy")
spikes = [layer.output for layer in model.layers if "lif" in layer.name]
# One run for both, because every compiled function rounds in its own way.
probe = keras.Model(model.input, [model.output, *spikes])
np.savez(
    folder + "/" + keras.config.backend() + ".npz",
    *probe.predict(x.astype("float32") / 255, verbose=0),
)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (x, y), (x_test, _) = datasets.load("digits")
    model = five_layer_snn((8, 8, 1), encoder="constant", seed=0)
    model.compile(
        keras.optimizers.Adam(1e-3, beta_2=0.99),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(x[:640], y[:640], verbose=0)
    model.save(folder / "model.keras")
    np.save(folder / "x.npy", x_test[:100])
    neurons = [layer for layer in model.layers if "lif" in layer.name]
    outputs = [model.output]
    outputs += [layer.input for layer in neurons]
    outputs += [layer.output for layer in neurons]
    probe = keras.Model(model.input, outputs)
    images = x_test[:100].astype("float32") / 255
    logits, *rest = probe.predict(images, verbose=0)
    return folder, logits, rest[:4], rest[4:]


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_logits_and_spikes_are_the_same_elsewhere(trained, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    folder, logits, currents, spikes = trained
    subprocess.run(
        [sys.executable, "-c", LOAD_AND_RUN, str(folder)],
        check=True,
        env=os.environ | {"KERAS_BACKEND": backend},
    )
    with np.load(folder / f"{backend}.npz") as arrays:
        their_logits, *their_spikes = arrays.values()

    same = np.ones(len(logits), bool)
    for current, ours, theirs in zip(
        currents, spikes, their_spikes, strict=True
    ):
        differs = ours != theirs
        # The first difference of a sample may only be a potential within
        # rounding of the threshold. Later ones follow from it.
        first = differs & (np.cumsum(differs, axis=1) == 1)
        assert on_the_edge(current, ours)[same][first[same]].all()
        same &= ~differs.any(axis=tuple(range(1, differs.ndim)))
    # Such coincidences are rare.
    assert same.mean() > 0.9
    np.testing.assert_allclose(
        their_logits[same], logits[same], rtol=0, atol=1e-5
    )


def on_the_edge(current, spikes, k=0.8, lam=0.2, theta=1.0):
    """Tells where the float64 potential is within rounding of the threshold."""
    v = 0.0
    edge = np.zeros(spikes.shape, bool)
    for t in range(spikes.shape[1]):
        u = k * v + lam * current[:, t].astype("float64")
        edge[:, t] = np.abs(u - theta) < ROUNDING
        v = u * (1 - spikes[:, t])
    return edge
