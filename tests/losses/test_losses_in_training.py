"""Masks and weights of samples, as `fit` and `evaluate` pass them."""

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn.layers import LIF
from keras_snn.losses import (
    CountCrossentropy,
    CountMeanSquaredError,
    MembraneMeanSquaredError,
    RateAccuracy,
    TemporalCrossentropy,
)

LENGTHS = np.array([2, 5, 3, 1, 5, 4])
LABELS = np.array([0, 1, 2, 0, 1, 2])
every_loss = pytest.mark.parametrize(
    "loss",
    [
        TemporalCrossentropy(lamb=0.25),
        CountCrossentropy(),
        CountMeanSquaredError(0.75, 0.25),
        MembraneMeanSquaredError(),
    ],
    ids=lambda loss: type(loss).__name__,
)


@pytest.fixture
def series(rng):
    x = rng.normal(size=(6, 5, 4)).astype("float32")
    x[np.arange(5) >= LENGTHS[:, None]] = 0
    return x


def network(loss=None, policy="float32"):
    """Logits of every timestep; a timestep of zeros is masked."""
    inputs = keras.Input((None, 4))
    x = keras.layers.Masking()(inputs)
    # The bias gives masked timesteps outputs, too.
    bias = keras.initializers.RandomNormal()
    outputs = keras.layers.Dense(3, bias_initializer=bias, dtype=policy)(x)
    model = keras.Model(inputs, outputs)
    model.compile("sgd", loss, metrics=[RateAccuracy()])
    return model


def outputs_of(model, series):
    """The outputs of each sample, without padding."""
    outputs = model.predict(series, verbose=0)
    return [x[:n] for x, n in zip(outputs, LENGTHS, strict=True)]


@every_loss
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_padding_does_not_count(loss, policy, series):
    model = network(loss, policy)
    found, accuracy = model.evaluate(series, LABELS, verbose=0)
    outputs = outputs_of(model, series)
    # Each sample alone, in its own length.
    alone = [
        float(loss(y[None], x[None].astype("float32")))
        for x, y in zip(outputs, LABELS, strict=True)
    ]
    # XLA may keep more digits than bfloat16 has, in every function its own.
    rounding = 1e-5 if policy == "float32" else 2**-8
    assert found == pytest.approx(np.mean(alone), rel=rounding)
    classes = [x.astype("float32").mean(0).argmax() for x in outputs]
    assert accuracy == pytest.approx(np.mean(classes == LABELS))


@every_loss
def test_padding_gets_no_gradient(loss, series):
    alike = []
    for padding in (0, 3):
        keras.utils.set_random_seed(0)
        model = network(loss)
        padded = np.pad(series, ((0, 0), (0, padding), (0, 0)))
        model.fit(padded, LABELS, epochs=2, shuffle=False, verbose=0)
        alike.append([to_numpy(weight) for weight in model.weights])
    for one, other in zip(*alike, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@every_loss
def test_samples_and_classes_have_weights(loss, series):
    model = network(loss)
    alone = np.array(
        [
            float(loss(y[None], x[None]))
            for x, y in zip(outputs_of(model, series), LABELS, strict=True)
        ]
    )
    weights = np.array([0.0, 1.0, 2.0, 0.5, 0.0, 1.0])
    results = model.evaluate(series, LABELS, sample_weight=weights, verbose=0)
    assert results[0] == pytest.approx((weights * alone).mean(), rel=1e-5)
    class_weight = {0: 1.0, 1: 0.0, 2: 3.0}
    logs = model.fit(series, LABELS, class_weight=class_weight, verbose=0)
    weights = np.array([class_weight[y] for y in LABELS])
    expected = (weights * alone).mean()
    assert logs.history["loss"][0] == pytest.approx(expected, rel=1e-5)


@every_loss
def test_a_sample_without_timesteps_has_a_finite_loss(loss, series):
    series[3] = 0
    found, _ = network(loss).evaluate(series, LABELS, verbose=0)
    assert np.isfinite(found)


@every_loss
def test_a_saved_model_keeps_its_loss(loss, series, tmp_path):
    model = network(loss)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is type(loss)
    assert loaded.evaluate(series, LABELS, verbose=0) == model.evaluate(
        series, LABELS, verbose=0
    )


@pytest.mark.slow
def test_spiking_outputs_learn_from_their_counts(rng):
    labels = rng.integers(0, 3, 60)
    x = np.eye(3)[labels][:, None].repeat(10, 1) + rng.normal(size=(60, 10, 3))
    for loss in (CountCrossentropy(), CountMeanSquaredError(0.75, 0.25)):
        model = keras.Sequential(
            [keras.Input((10, 3)), keras.layers.Dense(3), LIF(0.8, 1.0, 1.0)]
        )
        adam = keras.optimizers.Adam(0.05)
        model.compile(adam, loss, metrics=[RateAccuracy()])
        logs = model.fit(x, labels, batch_size=20, epochs=20, verbose=0)
        assert logs.history["rate_accuracy"][-1] > 0.9
