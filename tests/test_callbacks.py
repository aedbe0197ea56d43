import json

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn import callbacks, datasets
from keras_snn.encoders import PoissonEncoder
from keras_snn.layers import LIF, LIFRNNCell, PerTimestep
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


def test_rates_are_means_of_the_spikes(data):
    model = network(encoder="constant")
    x, _ = data
    rates = callbacks.firing_rates(model, x, batch_size=5)
    assert list(rates) == ["lif1", "lif2", "lif3", "lif4"]
    for name, (rate, silent) in rates.items():
        probe = keras.Model(model.input, model.get_layer(name).output)
        spikes = probe.predict(x.astype("float32") / 255, verbose=0)
        assert rate == pytest.approx(spikes.mean(), rel=1e-5)
        assert silent == np.mean(spikes.sum(axis=(0, 1)) == 0)


def test_measuring_leaves_no_trace(data):
    x, y = data

    def trained(*watchers):
        keras.utils.set_random_seed(1)  # equal batches
        model = network()
        model.fit(x, y, epochs=2, batch_size=8, verbose=0, callbacks=watchers)
        return model.get_weights()

    watched = trained(callbacks.FiringRateMonitor(x, every=1))
    for a, b in zip(watched, trained(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_logs_reach_history_and_csv(data, tmp_path):
    x, y = data
    monitor = callbacks.FiringRateMonitor(x)
    history = network().fit(
        x,
        y,
        epochs=2,
        verbose=0,
        callbacks=[monitor, keras.callbacks.CSVLogger(tmp_path / "log.csv")],
    )
    keys = [
        f"lif{n}_{what}"
        for n in (1, 2, 3, 4)
        for what in ("firing_rate", "silent_fraction")
    ]
    assert set(keys) <= set(history.history)
    assert all(len(history.history[key]) == 2 for key in keys)
    assert set(keys) <= set(
        (tmp_path / "log.csv").read_text().split("\n")[0].split(",")
    )
    assert monitor.history["iteration"] == [0, 1, 2]
    for key in keys:
        assert monitor.history[key][1:] == history.history[key]


def test_monitor_measures_every_so_many_iterations(data):
    x, y = data
    monitor = callbacks.FiringRateMonitor(x, every=2)
    network().fit(x, y, epochs=2, batch_size=4, verbose=0, callbacks=[monitor])
    assert monitor.history["iteration"] == [0, 2, 4, 6, 8]


def test_nested_models_and_rnns_of_the_cell_are_found(rng):
    cell = keras.layers.RNN(
        LIFRNNCell(3, 0.5, 0.5, 1.0), return_sequences=True, name="slow"
    )
    inner = keras.Sequential(
        [keras.Input((4, 3)), PerTimestep(keras.layers.Dense(3)), cell]
    )
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, LIF(0.5, 0.5, 1.0, name="fast")(inner(inputs)))
    current = 4 * rng.random((5, 4, 3)).astype("float32")
    rates = callbacks.firing_rates(model, current)
    assert list(rates) == ["slow", "fast"]
    assert rates["slow"][0] == pytest.approx(to_numpy(inner(current)).mean())


def test_iteration_history_takes_running_means_apart(data):
    x, y = data
    model = network(encoder="constant")
    model.compile(keras.optimizers.SGD(0.0), LOSS, metrics=["accuracy"])
    history = callbacks.IterationHistory()
    model.fit(
        x,
        y,
        batch_size=4,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[history],
    )
    # A learning rate of 0 leaves the network alone: evaluate batch by batch.
    expected = [
        model.evaluate(x[i : i + 4], y[i : i + 4], verbose=0)
        for i in range(0, 16, 4)
    ]
    loss, accuracy = np.array(expected + expected).T
    np.testing.assert_allclose(history.history["loss"], loss, rtol=1e-4)
    np.testing.assert_allclose(history.history["accuracy"], accuracy, atol=1e-5)


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


def test_bad_arguments_are_refused(data):
    x, _ = data
    with pytest.raises(ValueError, match="`every` must be at least 1"):
        callbacks.FiringRateMonitor(x, every=0)
    with pytest.raises(ValueError, match="`x` must hold at least one sample"):
        callbacks.firing_rates(network(), x[:0])
    silent = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`model` must have a `LIF` layer"):
        callbacks.firing_rates(silent, np.ones((1, 3)))


def test_every_call_of_a_shared_layer_has_rates_of_its_own(rng):
    shared = LIF(0.5, 0.5, 1.0, name="shared")
    first, second = keras.Input((4, 3)), keras.Input((4, 3))
    inner = keras.Model(first, shared(first))
    model = keras.Model(second, shared(inner(second)))
    current = 4 * rng.random((5, 4, 3)).astype("float32")
    once = to_numpy(LIF(0.5, 0.5, 1.0)(current))
    twice = to_numpy(LIF(0.5, 0.5, 1.0)(once))
    rates = callbacks.firing_rates(model, current)
    assert list(rates) == ["shared", "shared:2"]
    assert rates["shared"][0] == pytest.approx(once.mean())
    assert rates["shared:2"][0] == pytest.approx(twice.mean())


def test_layers_of_one_name_are_numbered():
    inputs = keras.Input((8, 8, 1))
    inner = [five_layer_snn((8, 8, 1), timesteps=2) for _ in range(2)]
    inner[1].name = "other"
    model = keras.Model(inputs, inner[0](inputs) + inner[1](inputs))
    rates = callbacks.firing_rates(model, np.zeros((1, 8, 8, 1)))
    names = ["lif1", "lif2", "lif3", "lif4"]
    assert set(rates) == {*names, *(f"{name}:2" for name in names)}


@pytest.mark.parametrize("return_state", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_rates_are_those_of_the_spikes_returned(
    rng, return_sequences, return_state
):
    inputs = keras.Input((4, 3))
    layer = LIF(
        *(0.5, 0.5, 1.0),
        return_sequences=return_sequences,
        return_state=return_state,
        name="lif",
    )
    model = keras.Model(inputs, layer(inputs))
    current = 4 * rng.random((5, 4, 3)).astype("float32")
    spikes = to_numpy(LIF(0.5, 0.5, 1.0)(current))
    spikes = spikes if return_sequences else spikes[:, -1]
    rate, _ = callbacks.firing_rates(model, current)["lif"]
    assert rate == pytest.approx(spikes.mean())


def test_monitor_starts_anew_with_every_fit(data):
    x, y = data
    monitor = callbacks.FiringRateMonitor(x)
    for _ in range(2):
        network().fit(x, y, verbose=0, callbacks=[monitor])
        assert monitor.history["iteration"] == [0, 1]


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


@pytest.mark.parametrize("dropout_seed", [None, 5])
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


@pytest.mark.parametrize("dropout_seed", [None, 5])
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


@pytest.mark.parametrize("line", ['{"epoch": 0, "lo', "", "[1]", '{"loss": 1}'])
def test_a_log_that_is_damaged_is_named_before_training(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_text('{"epoch": 0}\n' + line + "\n")
    callback = callbacks.EpochLog(path)
    with pytest.raises(ValueError, match="Line 2 of .*log.jsonl.*delete it"):
        callback.on_train_begin()
