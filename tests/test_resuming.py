"""Callbacks that save training and repeat its random numbers."""

import json

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn import callbacks, datasets
from keras_snn.encoders import PoissonEncoder
from keras_snn.layers import LIF, PerTimestep
from keras_snn.models import five_layer_snn

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(**kwargs):
    model = five_layer_snn(
        **{"input_shape": (8, 8, 1), "timesteps": 3, "seed": 0} | kwargs
    )
    model.compile("adam", LOSS, metrics=["accuracy"])
    return model


@pytest.fixture
def data(rng):
    x = rng.integers(0, 256, size=(16, 8, 8, 1)).astype("uint8")
    return x, rng.integers(0, 10, size=16)


@pytest.mark.slow
def test_checkpoint_goes_on_where_it_stopped(data, tmp_path):
    x, y = data
    path = tmp_path / "folder" / "model.keras"
    whole = network(encoder="constant")
    whole.fit(x, y, epochs=4, shuffle=False, verbose=0)
    half = network(encoder="constant")
    half.fit(
        x,
        y,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[callbacks.Checkpoint(path)],
    )
    assert [each.name for each in path.parent.iterdir()] == ["model.keras"]
    resumed = keras.models.load_model(path)
    resumed.fit(x, y, epochs=4, initial_epoch=2, shuffle=False, verbose=0)
    for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_checkpoint_survives_a_failing_save(data, tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    path.write_text("the epoch before")

    def dies_halfway(partial):
        partial.write_text("half")
        raise OSError("disk full")

    checkpoint = callbacks.Checkpoint(path)
    model = network()
    checkpoint.set_model(model)
    monkeypatch.setattr(model, "save", dies_halfway)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.on_epoch_end(0)
    assert path.read_text() == "the epoch before"
    assert list(tmp_path.iterdir()) == [path]


def random_network(dropout_seed=None, encoder_seed=None):
    """Poisson coding, dropout with its own and, nested, without a seed."""
    inner = keras.Sequential(
        [keras.Input((32,)), keras.layers.Dropout(0.5, seed=dropout_seed)]
    )
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Reshape((64,)),
            PoissonEncoder(3, encoder_seed),
            PerTimestep(keras.layers.Dense(32)),
            keras.layers.BatchNormalization(),
            LIF(0.8, 0.5, 0.5),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dropout(0.25),
            inner,
            keras.layers.Dense(10),
        ]
    )
    model.compile("adam", LOSS)
    return model


@pytest.mark.parametrize(
    "dropout_seed", [None, pytest.param(5, marks=pytest.mark.slow)]
)
def test_reseeded_models_draw_alike(data, dropout_seed):
    x = data[0].astype("float32") / 255
    one = random_network(dropout_seed)
    other = random_network(dropout_seed)
    other.set_weights(one.get_weights())

    def draw(model, *numbers):
        callbacks.reseed(model, *numbers)
        return to_numpy(model(x, training=True))

    first = draw(one, 1, 2)
    np.testing.assert_array_equal(first, draw(one, 1, 2))
    np.testing.assert_array_equal(first, draw(other, 1, 2))
    for numbers in ((1, 3), (2, 2), (2, 1)):
        assert np.any(first != draw(one, *numbers))


def test_generators_of_a_model_draw_differently():
    inputs = keras.Input((50,))
    drops = [keras.layers.Dropout(0.5, seed=n) for n in (1, 2)]
    model = keras.Model(inputs, [drop(inputs) for drop in drops])
    callbacks.reseed(model, 0, 0)
    first, second = model(np.ones((1, 50)), training=True)
    assert np.any(to_numpy(first) != to_numpy(second))


class Counts(keras.layers.Layer):
    """A weight that looks like the state of a generator: two integers."""

    def build(self, _):
        self.counts = self.add_weight(
            shape=(2,), dtype="int32", initializer="ones", trainable=False
        )

    def call(self, inputs):
        return inputs


def test_reseeding_leaves_weights_and_statistics(data):
    # Statistics of two channels, as many as a generator has numbers.
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(2, 3),
            keras.layers.BatchNormalization(),
            Counts(),
            keras.layers.Dropout(0.5),
        ]
    )
    model(data[0].astype("float32"), training=True)
    before = model.get_weights()
    callbacks.reseed(model, 0, 0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "dropout_seed", [None, pytest.param(5, marks=pytest.mark.slow)]
)
def test_epochs_repeat_after_resuming_from_a_file(data, tmp_path, dropout_seed):
    x, y = data[0].astype("float32") / 255, data[1]
    path = tmp_path / "model.keras"
    start = random_network(dropout_seed)
    start.optimizer.build(start.trainable_variables)  # or it does not load
    start.save(tmp_path / "start.keras")

    def train(model, first, last, *watchers):
        model.fit(
            datasets.batches(x, y, 4, seed=3, first_epoch=first),
            epochs=last,
            initial_epoch=first,
            shuffle=False,
            validation_data=(x, y),  # draws, too
            verbose=0,
            callbacks=[callbacks.EpochSeeds(3), *watchers],
        )
        return model

    load = keras.models.load_model
    whole = train(load(tmp_path / "start.keras"), 0, 3)
    train(start, 0, 1, callbacks.Checkpoint(path))
    keras.utils.set_random_seed(7)  # nothing else may matter
    resumed = train(load(path), 1, 3)
    for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = train(load(path), 0, 2)  # of other epochs' random numbers
    assert np.any(other.get_weights()[0] != whole.get_weights()[0])


def test_bad_seeds_are_refused():
    for seed in (None, 1.5):
        with pytest.raises(TypeError, match="`seed` must be .*an integer"):
            callbacks.EpochSeeds(seed)
        with pytest.raises(TypeError, match="`seed` must be .*an integer"):
            callbacks.reseed(network(), seed, 0)
    with pytest.raises(ValueError, match="`seed` must be in"):
        callbacks.EpochSeeds(-1)
    with pytest.raises(ValueError, match="`epoch` must be at least 0"):
        callbacks.reseed(network(), 0, -1)


def test_log_has_a_line_for_every_epoch_also_resumed(tmp_path):
    path = tmp_path / "folder" / "log.jsonl"
    log = callbacks.EpochLog(path)
    for epoch in (0, 1, 2):
        log.on_epoch_end(epoch, {"loss": np.float32(epoch + 0.5)})
    # Killed before the checkpoint of epoch 1: that epoch comes again.
    log = callbacks.EpochLog(path)
    log.on_epoch_end(1, {"loss": 0.25})
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"epoch": 0, "loss": 0.5},
        {"epoch": 1, "loss": 0.25},
    ]
    assert [each.name for each in path.parent.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize(
    "line", [b'{"epoch": 0, "lo', b"", b"[1]", b'{"loss": 1}', b"\xff\xfe"]
)
def test_a_log_that_is_damaged_is_named_before_training(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"epoch": 0}\n' + line + b"\n")
    callback = callbacks.EpochLog(path)
    with pytest.raises(ValueError, match="Line 2 of .*log.jsonl.*delete it"):
        callback.on_train_begin()


def test_generators_beside_the_layers_of_a_layer_are_reseeded():
    class Both(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.layers = [keras.layers.Dropout(0.5)]
            self.other = keras.layers.Dropout(0.5)

        def call(self, x, training=None):
            return self.other(x, training=training)

    layer, x = Both(), np.ones((4, 50), "float32")
    drawn = []
    for _ in range(2):
        callbacks.reseed(layer, 3, 0)
        drawn.append(to_numpy(layer(x, training=True)))
    np.testing.assert_array_equal(*drawn)
    assert len(np.unique(drawn[0])) == 2
