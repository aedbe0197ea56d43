"""Images are scaled in the graph, whatever part of a model sees them."""

import functools

import keras
import numpy as np
import pytest
from backend import to_numpy
from pairs import pairs

from keras_snn import callbacks, datasets, models
from keras_snn.models import five_layer_snn

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(encoder="retina", **kwargs):
    return five_layer_snn(
        (8, 8, 1), timesteps=4, encoder=encoder, seed=0, **kwargs
    )


@pytest.fixture(scope="module")
def images():
    """The same images as bytes, whole floats and intensities."""
    bytes_ = datasets.load("digits")[1][0][:8]
    floats = bytes_.astype("float32")
    return {
        "bytes": bytes_,
        "whole floats": floats,
        "intensities": floats / 255,
    }


def as_inside_another(model):
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, model(inputs))


def as_first_of_a_sequence(model):
    # A readout that passes the logits on.
    identity = keras.layers.Dense(
        10, kernel_initializer="identity", bias_initializer="zeros"
    )
    return keras.Sequential([model, identity])


def as_frozen_backbone(model):
    model.trainable = False
    inputs = keras.Input((8, 8, 1), dtype="uint8")
    return keras.Model(inputs, model(inputs, training=False))


def as_a_part(model):
    part = keras.Model(model.input, model.get_layer("mean").output)
    return keras.Sequential([part, model.get_layer("logits")])


WAYS = [
    lambda model: model,
    as_inside_another,
    as_first_of_a_sequence,
    as_a_part,
]


ENCODERS = ["constant", "poisson", "retina"]


def predict(model, x):
    callbacks.reseed(model, seed=1, epoch=0)  # Poisson coding starts over.
    return model.predict(x, verbose=0)


@pairs(way=WAYS, encoder=ENCODERS)
def test_every_kind_of_image_takes_every_way(way, encoder, images):
    expected = predict(network(encoder), images["intensities"])
    assert np.ptp(expected, axis=0).max() > 0.01  # The network fires.
    model = way(network(encoder))
    model.compile("sgd", LOSS)
    for kind, x in images.items():
        np.testing.assert_allclose(
            predict(model, x), expected, rtol=1e-5, atol=1e-6, err_msg=kind
        )


@pytest.mark.parametrize("kind", ["bytes", "whole floats"])
def test_a_backbone_for_bytes_gets_bytes(kind, images):
    expected = network().predict(images["intensities"], verbose=0)
    logits = as_frozen_backbone(network()).predict(images[kind], verbose=0)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_event_frames_are_taken_as_they_are(rng):
    counts = rng.integers(0, 9, (2, 4, 8, 8, 1))
    model = network(encoder=None)
    np.testing.assert_array_equal(
        model.predict(counts.astype("uint8"), verbose=0),
        model.predict(counts.astype("float32"), verbose=0),
    )


WRONG = {
    "scaled twice as wide": (-1.0, 1.0),
    "fractions of bytes": (0.5, 200.5),
    "more than bytes": (0.0, 256.0),
    "NaN": (0.0, np.nan),
}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_other_values_never_train_in_silence(encoder):
    model = network(encoder)
    model.compile("sgd", LOSS)
    weights = model.get_weights()
    stop = keras.callbacks.TerminateOnNaN()
    message = r"floats in \[0, 1\] or whole numbers in \[0, 255\]. Received"
    for name, (most, one) in WRONG.items():
        x = np.full((4, 8, 8, 1), most, "float32")
        x[1, 2, 3] = one
        model.set_weights(weights)
        with pytest.raises(ValueError, match=message):
            model(x)
        fit = functools.partial(
            model.fit, x, np.zeros(4), epochs=3, verbose=0, callbacks=[stop]
        )
        if keras.config.backend() == "torch":  # It compiles nothing.
            with pytest.raises(ValueError, match=message):
                fit()
            continue
        history = fit()
        assert np.isnan(history.history["loss"][0]), name
        assert len(history.epoch) == 1, name


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_terminate_on_nan_sees_a_broken_weight(recompute, wrapped, images):
    model = network(recompute=recompute)
    weights = model.get_weights()
    broken = next(i for i, w in enumerate(weights) if w.ndim == 4)
    weights[broken][0, 0, 0, 0] = np.nan
    model.set_weights(weights)
    model = as_inside_another(model) if wrapped else model
    model.compile("sgd", LOSS)
    history = model.fit(
        images["bytes"],
        np.arange(8),
        epochs=3,
        batch_size=4,
        verbose=0,
        callbacks=[keras.callbacks.TerminateOnNaN()],
    )
    assert np.isnan(history.history["loss"][0])
    assert len(history.epoch) == 1


def test_files_of_version_0_1_scale_images(images, tmp_path):
    # That version wrote this class, and its graph did not scale.
    inner = network(encoder=None)
    inputs = keras.Input((8, 8, 1))
    old = models.ImageModel(
        inputs, inner(keras.ops.repeat(inputs[:, None], 4, axis=1))
    )
    old.save(tmp_path / "old.keras")
    loaded = keras.models.load_model(tmp_path / "old.keras")
    assert type(loaded) is models.ImageModel
    repeated = np.repeat(images["intensities"][:, None], 4, axis=1)
    expected = inner.predict(repeated, verbose=0)
    for kind in ("bytes", "intensities"):
        logits = to_numpy(loaded(images[kind]))
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
