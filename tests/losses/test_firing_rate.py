import keras
import numpy as np
import pytest
from backend import gradients, to_numpy
from keras import ops

from keras_snn.layers import LIF
from keras_snn.losses import FiringRateRegularizer


def penalty(spikes, lower, upper, factor=1.0):
    rate = spikes.mean((0, 1))
    outside = np.where(rate < lower, lower - rate, 0)
    outside = np.where(rate > upper, rate - upper, outside)
    return factor * (outside**2).mean()


@pytest.fixture
def spikes(rng):
    """Rates from 0 to 1 over seven neurons."""
    return (rng.random((4, 50, 7)) < np.linspace(0, 1, 7)).astype("float32")


@pytest.mark.parametrize(
    ("lower", "upper"), [(0.25, 0.5), (0.0, 0.5), (0.5, 1.0), (0.3, 0.3)]
)
def test_penalty_is_the_squared_distance_from_the_band(spikes, lower, upper):
    found = FiringRateRegularizer(lower, upper, 2.0)(spikes)
    expected = 4 * penalty(spikes, lower, upper, 2.0)  # a batch of 4
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_rates_within_the_band_cost_nothing(spikes):
    assert float(FiringRateRegularizer(0.0, 1.0)(spikes)) == 0


def test_every_neuron_of_an_image_counts(spikes):
    regularizer = FiringRateRegularizer(0.25, 0.5)
    image = spikes[..., :6].reshape(4, 50, 1, 2, 3)
    found, expected = regularizer(image), regularizer(spikes[..., :6])
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_gradient_pushes_rates_towards_the_band(double_precision):
    # Rates 0, 1/2 and 1 over 8 timesteps, and a band from 1/4 to 3/4.
    spikes = np.zeros((1, 8, 3))
    spikes[:, ::2, 1] = spikes[:, :, 2] = 1
    regularizer = FiringRateRegularizer(0.25, 0.75)
    (found,) = gradients(lambda x: (regularizer(x),), [spikes], [np.ones(())])
    # d/dx of (rate - 1/4)^2 / 3: 2 * 1/4 / 3 / 8.
    expected = np.broadcast_to(np.array([-1, 0, 1]) / 48, spikes.shape)
    # Keras computes a mean in float32.
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def network(regularizer):
    start = keras.initializers.Constant(0.25)
    inputs = keras.Input((6, 3))
    dense = keras.layers.Dense(4, kernel_initializer=start)
    x = LIF(0.5, 1.0, 1.0, activity_regularizer=regularizer)(dense(inputs))
    model = keras.Model(inputs, x)
    model.compile(keras.optimizers.SGD(1.0), "mse", loss_weights=0.0)
    return model


def test_the_loss_of_a_model_does_not_depend_on_the_batch_size(rng):
    x = rng.random((4, 6, 3)).astype("float32")
    x = np.concatenate([x, x])
    model = network(FiringRateRegularizer(0.75, 0.9, 2.0))
    spikes = model.predict(x, verbose=0)
    expected = penalty(spikes, 0.75, 0.9, 2.0)
    assert expected > 0
    for batch_size in (4, 8):
        found = model.evaluate(x, spikes, batch_size=batch_size, verbose=0)
        assert found == pytest.approx(expected, rel=1e-5)


def test_silent_neurons_learn_to_fire(rng):
    x, y = rng.random((16, 6, 3)), np.zeros((16, 6, 4))
    model = network(FiringRateRegularizer(0.5, 0.9))
    losses = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    # Rates below 0.1, and above 0.4.
    assert losses[0] > 0.4**2
    assert losses[-1] < 0.1**2


def test_a_saved_layer_keeps_its_regularizer():
    layer = LIF(activity_regularizer=FiringRateRegularizer(0.25, 0.5, 2.0))
    config = LIF.from_config(layer.get_config()).activity_regularizer
    assert config.get_config() == {"lower": 0.25, "upper": 0.5, "factor": 2.0}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_spikes_are_counted_in_float32(dtype):
    # Neither dtype has 2049.
    spikes = np.zeros((1, 4096, 1))
    spikes[:, :2049] = 1
    found = FiringRateRegularizer(0.0, 0.5)(ops.cast(spikes, dtype))
    assert float(found) == (1 / 4096) ** 2


def test_an_empty_batch_costs_nothing():
    # A replica gets no samples if a batch is smaller than their number.
    found = FiringRateRegularizer(0.25, 0.5)(ops.zeros((0, 5, 3)))
    assert to_numpy(found) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 0.5), r"`lower` must be in \[0, 1\]"),
        ((0.5, 0.25), r"`upper` must be in \[0.5, 1\]. Received: upper=0.25"),
        ((0.5, 1.5), r"`upper` must be in \[0.5, 1\]"),
        ((0.1, 0.5, -1.0), "`factor` must be .*Received: factor=-1"),
    ],
)
def test_impossible_bands_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FiringRateRegularizer(*arguments)


def test_spikes_have_a_time_axis():
    with pytest.raises(ValueError, match="`FiringRateRegularizer` .*time axis"):
        FiringRateRegularizer(0.1, 0.5)(np.ones((4, 5)))
