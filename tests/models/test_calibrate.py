"""`calibrate` takes every layer of neurons to the same firing rate."""

import functools

import keras
import numpy as np
import pytest
import reference
from backend import to_numpy

import keras_snn
from keras_snn import callbacks, datasets, surrogates, theory
from keras_snn.layers import (
    BNTT,
    LIF,
    TDBN,
    CubaLIF,
    LIFRNNCell,
    PerTimestep,
    Recompute,
    RecurrentCell,
    RecurrentLIF,
)
from keras_snn.models import calibrate, five_layer_snn, sequential_snn
from keras_snn.models.sweep import Sweep

NEURONS = {
    "paper": {"k": 0.8, "lam": 0.2, "theta": 1.0},
    "half": {"k": 0.5, "lam": 0.5, "theta": 1.0},
    "no leak": {"k": 1.0, "lam": 1.0, "theta": 1.0},
    "random": {"k": 0.33, "lam": 2.9, "theta": 7.1},
}
NEURON = NEURONS["half"]
UNITS = 40


def dense(units=UNITS, **kwargs):
    return PerTimestep(keras.layers.Dense(units, **kwargs))


@pytest.fixture
def spikes(rng):
    return (rng.random((16, 8, UNITS)) < 0.3).astype("float32")


def model_of(*parts, shape=(8, UNITS)):
    return keras.Sequential([keras.Input(shape), *parts])


def simulated(model, x, neuron):
    """The rates of a chain of dense layers and neurons, in NumPy."""
    rates, weights = [], [w.astype("float64") for w in model.get_weights()]
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        x, _ = reference.lif(x @ kernel + bias, **neuron)
        rates.append(x.mean())
    return np.array(rates)


@pytest.mark.parametrize("shortcut", [0.0, 1.0])
def test_the_factor_has_a_closed_form(shortcut):
    # In one timestep, a neuron of current c fires if lam c > theta.
    currents = np.arange(1, 101, dtype="float32")[None] / 100
    layer = dense(100, kernel_initializer=keras.initializers.Constant(currents))
    inputs = keras.Input((1, 1))
    total = layer(inputs) + shortcut * inputs
    model = keras.Model(inputs, LIF(k=0.8, lam=0.5, theta=2.0)(total))
    (row,) = calibrate(model, np.ones((1, 1, 1), "float32"), rate=0.25)
    # A quarter has c > 0.75, so factor 0.75 + shortcut = theta / lam = 4.
    assert row.factor == pytest.approx((4 - shortcut) / 0.75, rel=0.02)
    assert row[1:3] == (0.0, 0.25)
    kernel, _ = model.get_weights()
    np.testing.assert_allclose(kernel, row.factor * currents, rtol=1e-6)


def check_chain(depth, neuron, x, units):
    parts = [
        part for _ in range(depth) for part in (dense(units), LIF(**neuron))
    ]
    model = model_of(*parts, shape=x.shape[1:])
    before = simulated(model, x, neuron)
    report = calibrate(model, x, surrogate=False)
    after = simulated(model, x, neuron)
    np.testing.assert_allclose(
        [row.before for row in report], before, atol=1e-3
    )
    np.testing.assert_allclose([row.after for row in report], after, atol=2e-3)
    np.testing.assert_allclose(after, 0.15, rtol=0.1)
    return before


@pytest.mark.parametrize("name", NEURONS)
def test_a_chain_fires_at_the_rate(name, spikes):
    check_chain(3, NEURONS[name], spikes, UNITS)


@pytest.mark.slow
@pytest.mark.parametrize("name", NEURONS)
def test_thirty_layers_fire_at_the_rate(name, rng):
    (x, _), _ = datasets.load("digits")
    x = x[:32].reshape(32, 1, -1) / 255
    x = (rng.random((32, 10, 64)) < x).astype("float32")
    before = check_chain(30, NEURONS[name], x, units=64)
    if name != "random":
        assert before[-1] == 0


@pytest.mark.slow
def test_a_convolutional_network_fires_at_the_rate():
    (x, _), _ = datasets.load("digits")
    model = five_layer_snn(
        (8, 8, 1), timesteps=10, width=0.25, initializer="glorot", seed=0
    )
    report = calibrate(model, x[:32], surrogate=False)
    assert [row.layer for row in report] == ["lif1", "lif2", "lif3", "lif4"]
    assert report[-1].before == 0
    # The rates of new samples, in inference.
    rates = callbacks.firing_rates(model, x[32:96])
    for rate, _ in rates.values():
        assert rate == pytest.approx(0.15, rel=0.1)


def test_shortcuts_keep_their_part(spikes):
    neuron = {"k": 0.5, "lam": 0.25, "theta": 1.0}
    inputs = keras.Input((8, UNITS))
    first = LIF(**neuron)(dense(name="first")(inputs))
    second = LIF(**neuron)(
        keras.layers.Add()([dense(name="second")(first), first])
    )
    # Currents along the shortcut, as in membrane residual networks.
    stream = dense(name="third")(second)
    third = LIF(**neuron)(stream)
    stream = stream + dense(name="fourth")(third)
    model = keras.Model(inputs, LIF(**neuron)(stream))
    report = calibrate(model, spikes)
    (a, b, c, d) = (w.astype("float64") for w in model.get_weights()[::2])
    x, _ = reference.lif(spikes @ a, **neuron)
    rates = [x.mean()]
    x, _ = reference.lif(x @ b + x, **neuron)
    rates.append(x.mean())
    current = x @ c
    x, _ = reference.lif(current, **neuron)
    rates.append(x.mean())
    x, _ = reference.lif(current + x @ d, **neuron)
    rates.append(x.mean())
    np.testing.assert_allclose(rates[:3], 0.15, rtol=0.1)
    np.testing.assert_allclose(rates, [row.after for row in report], atol=2e-3)
    # The stream alone already fires at the rate.
    assert 0.14 < rates[3] < 0.19


@pytest.mark.parametrize("kind", ["batch", "bntt", "tdbn", "frozen"])
def test_normalizations_are_scaled_instead_of_the_weights_before(kind, spikes):
    norm = {
        "batch": keras.layers.BatchNormalization,
        "bntt": functools.partial(BNTT, 8),
        "tdbn": functools.partial(TDBN, 1.0),
        "frozen": functools.partial(
            keras.layers.BatchNormalization, trainable=False
        ),
    }[kind]()
    model = model_of(dense(use_bias=False, name="dense"), norm, LIF(**NEURON))
    kernel, *weights = model.get_weights()
    (row,) = calibrate(model, spikes, batch_size=16)
    after, *rest = model.get_weights()
    np.testing.assert_array_equal(after, kernel)
    np.testing.assert_array_equal(rest[0], row.factor * weights[0])
    # The moving averages stay as they were.
    for old, new in zip(weights[-2:], rest[-2:], strict=True):
        np.testing.assert_array_equal(old, new)
    if kind == "frozen":
        assert row.factor == 1
        assert row.note == "no weights of its own"
        return
    axes = (0,) if kind == "bntt" else (0, 1)
    normalized, *_ = reference.batch_norm(spikes @ kernel, axes, 1e-3)
    x, _ = reference.lif(row.factor * normalized, **NEURON)
    assert x.mean() == pytest.approx(0.15, rel=0.05)


@pytest.mark.parametrize("cell", [False, True])
def test_recurrent_kernels_take_the_same_factor(cell, spikes):
    neurons = RecurrentLIF(UNITS, **NEURON)
    if cell:
        neurons = keras.layers.RNN(
            RecurrentCell(LIFRNNCell(UNITS, **NEURON)), return_sequences=True
        )
    model = model_of(dense(), neurons)
    kernel, _, recurrent = model.get_weights()
    (row,) = calibrate(model, spikes)
    found = model.get_weights()
    np.testing.assert_allclose(found[0], row.factor * kernel, rtol=1e-6)
    np.testing.assert_allclose(found[2], row.factor * recurrent, rtol=1e-6)
    v = fed = np.zeros((16, UNITS))
    total = 0.0
    for t in range(8):
        current = spikes[:, t] @ found[0] + fed @ found[2]
        u = NEURON["k"] * v + NEURON["lam"] * current
        fed = (u > NEURON["theta"]) * 1.0
        v = u * (1 - fed)
        total += fed.mean() / 8
    assert total == pytest.approx(0.15, rel=0.05)


def test_masked_timesteps_do_not_count(spikes):
    spikes[:8, 3:] = 0  # `Masking` masks timesteps of zeros
    model = model_of(
        keras.layers.Masking(), dense(bias_initializer="ones"), LIF(**NEURON)
    )
    calibrate(model, spikes)
    kernel, bias = model.get_weights()
    mask = spikes.any(axis=2)
    x, _ = reference.lif(spikes @ kernel + bias, **NEURON, mask=mask)
    assert x[mask].mean() == pytest.approx(0.15, rel=0.05)


def test_models_inside_and_layers_in_use_twice_are_found(spikes):
    parts = [dense(), LIF(**NEURON), dense(), LIF(**NEURON)]
    flat = model_of(*parts)
    copy = keras.models.clone_model(flat)
    copy.set_weights(flat.get_weights())
    inner = model_of(*copy.layers[:2])
    inputs = keras.Input((8, UNITS))
    x = Recompute(inner)(inputs)
    block = keras.Sequential([keras.Input((UNITS,)), copy.layers[2].layer])
    nested = keras.Model(inputs, copy.layers[3](PerTimestep(block)(x)))
    again = keras.Model(inputs, inner(inner(inputs)))
    report = calibrate(flat, spikes)
    assert calibrate(nested, spikes) == report
    assert [row.factor for row in report] != [1, 1]
    first, second = calibrate(again, spikes)
    assert first.factor == pytest.approx(1, rel=0.02)
    assert (second.factor, second.note) == (1, "no weights of its own")


def test_it_does_the_same_again_and_leaves_the_state_alone():
    (x, _), _ = datasets.load("digits")
    options = {"timesteps": 4, "normalization": "batch", "seed": 0}
    first = sequential_snn("FC30 D0.5 FC20", (8, 8, 1), 10, **options)
    second = keras.models.clone_model(first)
    second.set_weights(first.get_weights())
    state = [to_numpy(x.value) for x in first.non_trainable_variables]
    assert len(state) == 6  # moving averages and seeds
    report = calibrate(first, x[:32])
    assert calibrate(second, x[:32]) == report
    for old, new in zip(state, first.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, to_numpy(new.value))
    rates = callbacks.firing_rates(first, x[:32], training=True)
    assert [row.layer for row in report] == list(rates)
    assert [row.after for row in report] == [rate for rate, _ in rates.values()]
    assert all(0.12 < row.after < 0.18 for row in report)


def test_layers_that_cannot_fire_are_left_alone(spikes):
    silent = dense(
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(-1),
    )
    model = model_of(LIF(**NEURON), silent, LIF(**NEURON))
    first, second = calibrate(model, spikes)
    assert (first.factor, first.note) == (1, "no weights of its own")
    assert (second.factor, second.note) == (1, "cannot fire at 0.15")
    kernel, bias = model.get_weights()
    assert not kernel.any()
    assert (bias == -1).all()


def test_other_neurons_and_half_precision_reach_the_rate(spikes):
    model = model_of(
        PerTimestep(keras.layers.Dense(UNITS, dtype="mixed_float16")),
        CubaLIF(**NEURON, dtype="mixed_float16"),
        dense(),
        LIF(**NEURON, reset="subtract", return_sequences=False),
    )
    for row in calibrate(model, spikes):
        assert row.after == pytest.approx(0.15, rel=0.1)


def test_compiled_models_train_with_the_new_surrogate(spikes):
    def trained(calibrated, ready):
        keras.utils.set_random_seed(0)
        model = model_of(dense(), LIF(**NEURON), dense(3))
        model.compile(keras.optimizers.SGD(0.1), "mse")
        weights = model.get_weights()
        target = np.ones((16, 8, 3), "float32")
        if ready:
            model.train_on_batch(spikes, target)
            model.set_weights(weights)
        (row,) = calibrate(model, spikes, surrogate=calibrated)
        model.train_on_batch(spikes, target)
        return row.steepness, model.get_weights()

    a = theory.stationary_steepness(0.5, 1.0, 0.15, timesteps=8)
    (steepness, expected), (_, found) = (
        trained(True, False),
        trained(True, True),
    )
    kept, others = trained(False, False)
    assert (steepness, kept) == (a, 2.0)
    for x, y in zip(expected, found, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)
    assert np.abs(expected[0] - others[0]).max() > 1e-4


def test_the_surrogate_is_saved_with_the_model(spikes):
    model = model_of(dense(), LIF(**NEURON))
    (row,) = calibrate(model, spikes)
    assert str(calibrate(model, spikes)).startswith("layer")
    copy = model.from_config(model.get_config())
    lif = copy.layers[-1]
    assert lif.surrogate == surrogates.Exponential(row.steepness)
    assert lif.detach_reset


def test_the_report_prints_as_a_table(spikes):
    model = model_of(dense(), LIF(**NEURON, name="first"))
    table = str(keras_snn.calibrate(model, spikes)).splitlines()
    assert table[0].split() == [
        "layer",
        "before",
        "after",
        "factor",
        "steepness",
    ]
    assert table[1].split()[0] == "first"
    assert len(table) == 2


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_rates_out_of_range_are_refused(rate, spikes):
    model = model_of(dense(), LIF(**NEURON))
    with pytest.raises(ValueError, match=r"`rate` must be in \(0, 1\)"):
        calibrate(model, spikes, rate=rate)


def test_a_layer_that_fires_at_the_rate_is_left_alone():
    inputs = keras.Input((4, 3))
    # Half of the current comes through a shortcut, whatever the weights.
    x = keras.layers.Dense(3, kernel_initializer="zeros", use_bias=False)(
        inputs
    )
    model = keras.Model(inputs, LIF(k=0.5, lam=1.0)(x + inputs))
    x = np.full((2, 4, 3), 1.25, "float32")  # fires at every timestep
    x[:, :, 0] = 0.0
    (row,) = calibrate(model, x, rate=2 / 3)
    assert (row.factor, row.note) == (1.0, "")


def test_a_current_that_is_not_affine_is_calibrated_too(spikes):
    inputs = keras.Input(spikes.shape[1:])
    start = keras.initializers.RandomNormal(seed=1)
    x = PerTimestep(keras.layers.Dense(UNITS, kernel_initializer=start))(inputs)
    model = keras.Model(inputs, LIF(**NEURON)(keras.ops.square(x)))
    (row,) = calibrate(model, spikes)
    assert row.note == ""
    assert row.after == pytest.approx(0.15, rel=0.05)


def test_a_rate_out_of_reach_is_named(spikes):
    inputs = keras.Input(spikes.shape[1:])
    dense = keras.layers.Dense(UNITS, activation="tanh")
    # A current of at most 1 does not reach the threshold.
    x = LIF(k=0.5, lam=0.5, theta=1.0)(PerTimestep(dense)(inputs))
    (row,) = calibrate(keras.Model(inputs, x), spikes)
    assert row.note == "cannot fire at 0.15"


def test_an_interrupt_leaves_the_weights_as_they_were(spikes, monkeypatch):
    inputs = keras.Input(spikes.shape[1:])
    x = LIF(**NEURON, name="first")(dense()(inputs))
    x = LIF(**NEURON, name="last")(dense()(x))
    model = keras.Model(inputs, x)
    before, whole, factors = model.get_weights(), Sweep._calibrate, []

    def interrupted(sweep, neurons):
        if neurons.name == "last":
            raise KeyboardInterrupt
        factors.append(whole(sweep, neurons)[0])
        return factors[0], ""

    monkeypatch.setattr(Sweep, "_calibrate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        calibrate(model, spikes)
    assert factors[0] != 1
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
