"""Networks with normalization, before the first iteration."""

import math

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn import callbacks, datasets
from keras_snn.layers import LIF
from keras_snn.models import five_layer_snn, sequential_snn

NAMES = ("batch", "bntt", "tdbn")
NEURON = {"k": 0.5, "lam": 0.25, "theta": 1.5}


def network(normalization, **options):
    layout = ("C8 P FC100 FC50", (8, 8, 1), 10)
    options = {"timesteps": 10, "seed": 0} | options
    return sequential_snn(*layout, normalization=normalization, **options)


@pytest.mark.parametrize("normalization", NAMES)
def test_scale_and_shift_start_where_the_asymptote_puts_them(normalization):
    # sqrt(2) theta / lam, and theta (1 - k) / (2 lam).
    scale, shift = 6 * math.sqrt(2), 1.5
    model = network(normalization, **NEURON)
    for layer in (model.get_layer(f"norm{i}") for i in (1, 2, 3)):
        if normalization == "tdbn":
            assert (layer.theta, layer.lam) == (1.5, 0.25)
            scale = math.sqrt(2)  # the layer multiplies by theta / lam
        np.testing.assert_allclose(to_numpy(layer.gamma), scale, rtol=1e-6)
        if normalization != "bntt":
            np.testing.assert_array_equal(to_numpy(layer.beta), shift)


@pytest.mark.parametrize("normalization", NAMES)
def test_other_initializations_have_the_usual_start(normalization):
    model = network(normalization, initializer="he", **NEURON)
    for layer in (model.get_layer(f"norm{i}") for i in (1, 2, 3)):
        np.testing.assert_array_equal(to_numpy(layer.gamma), 1)
        if normalization != "bntt":
            np.testing.assert_array_equal(to_numpy(layer.beta), 0)


def kernels(model):
    return [to_numpy(model.get_layer(x).kernel) for x in ("conv1", "dense1")]


@pytest.mark.parametrize("normalization", NAMES)
@pytest.mark.parametrize("initializer", ["asymptote", "stationary"])
def test_kernels_before_a_normalization_start_small(normalization, initializer):
    model = network(normalization, initializer=initializer, **NEURON)
    for kernel in kernels(model):
        *window, inputs, outputs = kernel.shape
        # Glorot and Bengio (2010), Eq. 16.
        limit = math.sqrt(6 / (math.prod(window) * (inputs + outputs)))
        assert 0.9 * limit < np.abs(kernel).max() <= limit
    # The last layer has no normalization.
    plain = network(None, initializer=initializer, **NEURON)
    last, expected = (
        to_numpy(x.get_layer("logits").kernel) for x in (model, plain)
    )
    np.testing.assert_array_equal(last, expected)


@pytest.mark.parametrize(
    ("initializer", "normalization"),
    [
        ("asymptote", lambda axis: keras.layers.BatchNormalization(axis=axis)),
        ("he", "batch"),
    ],
    ids=["custom", "he"],
)
def test_other_kernels_before_a_normalization_follow_the_law(
    initializer, normalization
):
    model, plain = (
        network(x, initializer=initializer, **NEURON)
        for x in (normalization, None)
    )
    for kernel, expected in zip(kernels(model), kernels(plain), strict=True):
        np.testing.assert_array_equal(kernel, expected)


@pytest.mark.parametrize("normalization", ["batch", "tdbn"])
def test_inference_follows_training_from_the_first_epochs(normalization):
    keras.utils.set_random_seed(0)
    (x, y), test = datasets.load("digits")
    model = network(normalization, k=0.8, lam=0.2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    history = model.fit(x, y, epochs=3, validation_data=test, verbose=0).history
    # With moving averages that lag, it would be at chance level.
    assert history["val_accuracy"][-1] > history["accuracy"][-1] - 0.25


def rates(model):
    (images, _), _ = datasets.load("digits")
    found = callbacks.firing_rates(model, images[:64], training=True)
    return [mean for mean, _ in found.values()]


@pytest.mark.parametrize("normalization", NAMES)
def test_the_papers_network_fires_at_a_small_gain(normalization):
    model = five_layer_snn((8, 8, 1), normalization=normalization, seed=0)
    assert (model.get_layer("lif1").k, model.get_layer("lif1").lam) == (
        0.8,
        0.2,
    )
    # At the usual start, they are below 2 %. The first layer depends most on
    # the seed: 28 to 31 %.
    found = rates(model)
    assert len(found) == 4
    assert all(0.05 < rate < 0.32 for rate in found)


@pytest.mark.parametrize(
    ("k", "lam", "theta"),
    [(0.3, 0.1, 1.0), (0.5, 4.0, 1.0), (0.6, 0.3, 4.0), (1.0, 1.0, 1.0)],
)
def test_every_neuron_fires_before_training(k, lam, theta):
    model = network("batch", k=k, lam=lam, theta=theta)
    # A neuron without memory fires if a normal current with this scale and
    # shift exceeds theta / lam. Memory and constant pixels change that a bit.
    expected = math.erfc((1 + k) / 4) / 2
    assert rates(model) == pytest.approx([expected] * 3, rel=0.4)


@pytest.mark.parametrize("normalization", ["batch", "tdbn"])
@pytest.mark.parametrize(
    ("k", "lam", "theta"), [(0.2, 0.8, 1.0), (0.5, 0.25, 1.5), (1.0, 1.0, 1.0)]
)
def test_the_stationary_start_has_its_rate(normalization, k, lam, theta):
    options = {"k": k, "lam": lam, "theta": theta}
    model = network(normalization, initializer="stationary", **options)
    # The first layer sees pixels, most of which do not change.
    _, *found = rates(model)
    assert found == pytest.approx([0.15] * 2, rel=0.2)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_a_function_makes_the_normalization(data_format):
    made = []

    def normalization(axis):
        made.append(keras.layers.BatchNormalization(axis=axis))
        return made[-1]

    model = network(normalization, data_format=data_format)
    places = [i for i, x in enumerate(model.layers) if isinstance(x, LIF)]
    assert [model.layers[i - 1] for i in places] == made
    channels = [x.gamma.shape[0] for x in made]
    assert channels == [8, 100, 50]
