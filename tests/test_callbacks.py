import sys
import warnings

import keras
import numpy as np
import pytest
import reference
from backend import to_numpy

from keras_snn import callbacks, datasets
from keras_snn.layers import LIF, LIFRNNCell, PerTimestep
from keras_snn.models import five_layer_snn, probe

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


@pytest.mark.slow
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


def dense_lif(*layers, rate=0.0, k=0.5, lam=0.5, theta=1.0, **options):
    """Neurons behind dense layers, with weights that pass the inputs on."""
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            PerTimestep(keras.layers.Dense(3, kernel_initializer="identity")),
            *layers,
            LIF(k, lam, theta, name="lif"),
        ]
    )
    model.compile(keras.optimizers.SGD(rate), "mse", **options)
    return model


@pytest.mark.parametrize("training", [False, True], ids=["inference", "fit"])
def test_monitor_sees_the_current_weights_during_fit(training, rng):
    model = dense_lif(rate=1.0)
    x = (rng.integers(0, 33, (5, 4, 3)) / 16).astype("float32")
    monitor = callbacks.FiringRateMonitor(x, every=1, training=training)
    weights = []

    class Recorder(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
            weights.append(self.model.get_weights())

    # The monitor comes first, so it must fetch the weights by itself.
    watchers = [monitor, Recorder()]
    model.fit(x, np.ones_like(x), batch_size=1, verbose=0, callbacks=watchers)
    key = f"{'training_' if training else ''}lif_firing_rate"
    rates = monitor.history[key][1:]
    expected = [
        reference.lif(x @ kernel + bias, 0.5, 0.5, 1.0)[0].mean()
        for kernel, bias in weights
    ]
    assert rates == pytest.approx(expected)
    assert len(set(rates)) > 1


def test_monitors_of_both_modes_log_side_by_side():
    dropout = keras.layers.Dropout(0.5)
    model = dense_lif(dropout, k=0.25, lam=1.0, theta=1.5)
    x = np.ones((8, 4, 3), "float32")
    modes = (False, True)
    monitors = [callbacks.FiringRateMonitor(x, training=t) for t in modes]
    history = model.fit(x, x, verbose=0, callbacks=monitors).history
    # Only without dropout, potentials stay below 1 / (1 - k) = 4/3.
    assert history["lif_firing_rate"] == [0.0]
    assert history["training_lif_firing_rate"][0] > 0.1


def test_monitor_reads_a_dataset_again_and_again(rng):
    x = (rng.integers(0, 65, (5, 4, 3)) / 16).astype("float32")
    batches = datasets.batches(x, np.zeros(5), 2, shuffle=False)
    monitor = callbacks.FiringRateMonitor(batches)
    dense_lif().fit(x, x, verbose=0, callbacks=[monitor])
    assert monitor.history["iteration"] == [0, 1]
    rate = reference.lif(x, 0.5, 0.5, 1.0)[0].mean()
    assert monitor.history["lif_firing_rate"] == pytest.approx([rate, rate])


def test_monitor_refuses_what_can_be_read_only_once(data):
    x, _ = data
    with pytest.raises(ValueError, match="`x` must be readable more than once"):
        callbacks.FiringRateMonitor(batch for batch in [x])


def test_tensorboard_shows_rates_and_those_of_neurons(tmp_path, rng):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.util import tensor_util

    model, x = dense_lif(rate=0.1), 3 * rng.random((6, 4, 3)).astype("float32")
    monitor = callbacks.FiringRateMonitor(x, every=2, log_dir=tmp_path)
    model.fit(x, x, 2, epochs=2, verbose=0, callbacks=[monitor])
    found = event_accumulator.EventAccumulator(
        str(tmp_path), {event_accumulator.TENSORS: 0}
    )
    found.Reload()
    name = "lif_firing_rate"
    events = found.Tensors(name)
    assert [x.step for x in events] == monitor.history["iteration"]
    assert [x.step for x in events] == [0, 2, 3, 4, 6]
    values = [tensor_util.make_ndarray(x.tensor_proto) for x in events]
    np.testing.assert_allclose(values, monitor.history[name], rtol=1e-6)
    (*_, last) = found.Tensors("lif_firing_rates_of_neurons")
    low, high, counts = tensor_util.make_ndarray(last.tensor_proto).T
    rates = to_numpy(probe(model)(x)["lif"]).mean((0, 1))
    assert counts.sum() == rates.size == 3
    assert low.min() == pytest.approx(rates.min())
    assert high.max() == pytest.approx(rates.max())


def test_both_modes_share_a_folder(tmp_path, rng):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing import event_accumulator

    model, x = dense_lif(), rng.random((4, 4, 3)).astype("float32")
    monitors = [
        callbacks.FiringRateMonitor(x, training=mode, log_dir=tmp_path)
        for mode in (False, True)
    ]
    model.fit(x, x, verbose=0, callbacks=monitors)
    found = event_accumulator.EventAccumulator(str(tmp_path))
    found.Reload()
    tags = set(found.Tags()["tensors"])
    assert len(tags) == 6
    assert {f"training_{x}" for x in tags if "training" not in x} < tags


@pytest.mark.parametrize("folder", [3, "", b"logs"])
def test_log_dir_must_be_a_path(folder, data):
    with pytest.raises(TypeError, match="`log_dir` must be a path or `None`"):
        callbacks.FiringRateMonitor(data[0], log_dir=folder)


def test_tensorboard_must_be_installed(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        callbacks.FiringRateMonitor(data[0], log_dir=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    keras.config.backend() == "torch", reason="PyTorch runs single steps"
)
def test_monitor_counts_the_iterations_of_one_execution():
    model = dense_lif(steps_per_execution=2)
    x = np.ones((10, 4, 3), "float32")
    monitor = callbacks.FiringRateMonitor(x, every=3)
    with warnings.catch_warnings():
        # Keras warns that the last execution has one batch only.
        warnings.simplefilter("ignore")
        model.fit(x, x, 2, epochs=2, verbose=0, callbacks=[monitor])
    # Executions end at 2, 4, 5, 7, 9 and 10.
    assert monitor.history["iteration"] == [0, 4, 5, 7, 9, 10]


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


@pytest.mark.skipif(
    keras.config.backend() == "torch", reason="PyTorch runs single steps"
)
def test_iteration_history_averages_the_iterations_of_one_execution():
    # The model gives 0, so the losses of the batches are 1, 4, 9, 16 and 25.
    model = keras.Sequential([keras.Input((1,)), keras.layers.Rescaling(0.0)])
    model.compile("sgd", "mse", steps_per_execution=2)
    y = np.arange(1.0, 6.0)[:, None]
    history = callbacks.IterationHistory()
    with warnings.catch_warnings():
        # Keras warns that the last execution has one batch only.
        warnings.simplefilter("ignore")
        model.fit(
            y,
            y,
            batch_size=1,
            epochs=2,
            shuffle=False,
            verbose=0,
            callbacks=[history],
        )
    expected = [2.5, 12.5, 25.0] * 2
    np.testing.assert_allclose(history.history["loss"], expected, rtol=1e-5)


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


def test_several_inputs_are_cut_into_batches_together(rng):
    inputs = [keras.Input((4, 3)) for _ in range(2)]
    model = keras.Model(inputs, LIF(0.5, 0.5, 1.0, name="lif")(sum(inputs)))
    x = [2 * rng.random((10, 4, 3)).astype("float32") for _ in range(2)]
    spikes = to_numpy(LIF(0.5, 0.5, 1.0)(sum(x)))
    rate, silent = callbacks.firing_rates(model, x, batch_size=4)["lif"]
    assert rate == spikes.mean(dtype="float64")
    assert silent == np.mean(spikes.sum(axis=(0, 1)) == 0)
    with pytest.raises(ValueError, match="the same number for every input"):
        callbacks.firing_rates(model, [x[0], x[1][:5]])


def test_a_failed_measurement_gives_the_generators_back(data):
    model = network()
    before = [np.array(v) for v in model.non_trainable_variables]
    x = data[0].astype("float32") / 255
    x[-1] = np.nan
    measured = callbacks.firing_rates
    if keras.config.backend() == "torch":  # It raises in the second batch.
        with pytest.raises(ValueError, match="Images must be"):
            measured(model, x, batch_size=8)
    else:
        assert np.isnan(measured(model, x, batch_size=8)["lif1"][0])
    for old, new in zip(before, model.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, np.array(new))


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


@pytest.mark.parametrize("path", ["model", "model.h5"])
def test_a_checkpoint_needs_the_suffix_of_keras(path):
    with pytest.raises(ValueError, match="`path` must end in '.keras'"):
        callbacks.Checkpoint(path)
