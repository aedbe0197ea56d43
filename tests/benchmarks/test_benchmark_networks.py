"""The contenders build the described networks and emit equal spikes."""

import dataclasses

import keras
import numpy as np
import pytest
import reference

from benchmarks import cases, check, contenders, data, frameworks
from benchmarks.cases import LIF, MEAN, NORM, POOL, Layer
from benchmarks.contenders import with_keras
from benchmarks.contenders.floors import FLOORS
from keras_snn import models

# Every kind of layer.
TINY = (
    *(Layer("conv", 4), NORM, LIF, POOL, Layer("flatten")),
    *(Layer("dense", 16), LIF, Layer("dropout", 0.5), MEAN, Layer("dense", 3)),
)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("W3", "W4")]


def tiny_case(layers=TINY, input_shape=(6, 4, 2)):
    case = cases.make("W3", on_gpu=False, batch=2, timesteps=10)
    return dataclasses.replace(case, layers=layers, input_shape=input_shape)


def run(case, arrays):
    """The spikes of every layer, in NumPy and float64."""
    fired, x = [], arrays.x.astype("float64")
    neuron = arrays.neuron
    for layer, weights in zip(case.layers, arrays.weights, strict=True):
        if layer.kind == "lif":
            x, _ = reference.lif(x, neuron.k, neuron.lam, neuron.theta)
            fired.append(x)
        elif layer.kind == "conv":
            x = conv(x, *weights)
        elif layer.kind == "dense":
            x = x @ weights[0].astype("float64") + weights[1]
        elif layer.kind == "norm":
            gamma, beta, mean, variance = weights
            x = (x - mean) * gamma / np.sqrt(variance + data.EPSILON) + beta
        elif layer.kind == "pool":
            x = (x[:, :, ::2] + x[:, :, 1::2]) / 2
            x = (x[..., ::2, :] + x[..., 1::2, :]) / 2
        elif layer.kind == "flatten":
            x = x.reshape(*x.shape[:2], -1)
        elif layer.kind == "mean":
            x = x.mean(axis=1)
    return fired


def conv(x, kernel, bias):
    """A 3x3 "same" convolution as nine matrix products."""
    height, width = x.shape[2:4]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    return bias + sum(
        padded[:, :, i : i + height, j : j + width] @ kernel[i, j]
        for i in range(3)
        for j in range(3)
    )


# Networks and data


@pytest.mark.parametrize(
    ("name", "builder"),
    [("W0", models.five_layer_snn), ("W4", models.vgg9_snn)],
)
def test_the_builders_networks_are_described(name, builder):
    case = cases.make(name, on_gpu=True)
    weights = data.make(case, exact=False).weights
    shapes = [array.shape for arrays in weights for array in arrays]
    model = builder()
    assert shapes == [tuple(x.shape) for x in model.trainable_variables]
    dropped = [x.rate for x in model.layers if hasattr(x, "noise_shape")]
    assert dropped == [x.size for x in case.layers if x.kind == "dropout"]
    assert case.timesteps == model.get_layer("lif1").output.shape[1]


# Convolutions, pooling and dropout, smaller than the paper's.
BUILT = (
    *(Layer("conv", 4), LIF, POOL, Layer("conv", 4), LIF, POOL),
    *(Layer("flatten"), Layer("dense", 16), LIF, Layer("dropout", 0.5)),
    *(MEAN, Layer("dense", 10)),
)


@pytest.fixture
def built_case(monkeypatch):
    """A small network that is described and built."""

    def build(input_shape, timesteps, **options):
        layout = "C4 P C4 P FC16 D0.5"
        return models.sequential_snn(
            layout, input_shape, 10, timesteps, **options
        )

    monkeypatch.setattr(models, "five_layer_snn", build)
    case = cases.make("W0", on_gpu=False, batch=2, timesteps=10)
    return dataclasses.replace(case, layers=BUILT, input_shape=(8, 12, 2))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("W0", (10,)), ("W1", (5, 1024)), ("W2", (5, 25088)), ("W3", (10,))],
)
def test_output_shapes(name, expected):
    case = cases.make(name, on_gpu=False, timesteps=5)
    assert case.output_shape == expected
    if not case.trains:
        assert data.make(case, exact=False).y.shape == (case.batch, *expected)


def test_a_cpu_measures_smaller_cases():
    assert cases.make("W2", on_gpu=True).batch == 64
    assert cases.make("W2", on_gpu=False).batch == 32
    case = cases.make("W2", on_gpu=False, batch=3, timesteps=None)
    assert case.key == "W2, batch 3, 20 timesteps, float32"


def test_channels_first_weights_give_the_same_products(rng):
    case = tiny_case()
    weights = data.make(case, exact=True).weights
    reordered = data.channels_first(case, weights)
    image = rng.integers(2, size=(3, 2, 4)).astype("float32")
    last = image.reshape(-1) @ weights[5][0]
    first = image.transpose(2, 0, 1).reshape(-1) @ reordered[5][0]
    np.testing.assert_array_equal(first, last)
    assert reordered[-1][0] is weights[-1][0]


def test_the_data_of_the_check_are_dyadic():
    weights = data.make(tiny_case(), exact=True).weights
    for n in (0, 5, 9):
        assert all(np.all(array * 64 % 1 == 0) for array in weights[n])
        assert np.any(weights[n][0] % 1 != 0)
    current = data.make(tiny_case((LIF,), (20,)), exact=True).x
    assert np.all(current * 64 % 1 == 0)


@pytest.mark.parametrize("name", ["W0", "W1", "W2", *SLOW])
def test_every_layer_fires_in_the_check(name):
    case = data.checked_case(cases.make(name, on_gpu=False))
    spikes = run(case, data.make(case, exact=True))
    rates = check.firing_rates(case, spikes)
    assert len(rates) == case.layers.count(LIF)


@pytest.mark.parametrize("name", ["keras_snn", "rnn"])
def test_the_builders_emit_the_spikes_of_numpy(name, built_case):
    arrays = data.make(built_case, exact=True)
    framework = frameworks.load(keras.config.backend())
    contender = with_keras.Contender(name, framework)
    received, norms = contender.check(built_case, arrays)
    expected = run(built_case, arrays)
    check.firing_rates(built_case, expected)
    check.same_spikes(built_case, {"numpy": expected, name: received})
    assert len(norms) == 8


def test_relu_replaces_the_neurons_of_a_builder(built_case):
    neurons, *_ = with_keras.build("keras_snn", built_case, data.TIMED, True)
    relu, *_ = with_keras.build("relu", built_case, data.TIMED, True)
    kinds = [type(layer).__name__ for layer in neurons.layers]
    assert kinds.count("LIF") == 3
    expected = [kind.replace("LIF", "ReLU") for kind in kinds]
    assert [type(layer).__name__ for layer in relu.layers] == expected
    assert relu.count_params() == neurons.count_params()


@pytest.mark.parametrize("name", ["keras_snn", "rnn"])
@pytest.mark.parametrize(
    ("layers", "input_shape"),
    [(TINY, (6, 4, 2)), ((LIF,), (20,))],
    ids=["network", "neurons"],
)
def test_keras_emits_the_spikes_of_numpy(name, layers, input_shape):
    case = tiny_case(layers, input_shape)
    arrays = data.make(case, exact=True)
    framework = frameworks.load(keras.config.backend())
    contender = with_keras.Contender(name, framework)
    received, norms = contender.check(case, arrays)
    expected = run(case, arrays)
    check.firing_rates(case, expected)
    check.same_spikes(case, {"numpy": expected, name: received})
    assert len(norms) == (8 if case.learns else 1)
    assert min(norms) > 0


def test_relu_replaces_the_neurons_and_nothing_else():
    case = tiny_case()
    neurons, fired, _ = with_keras.build("keras_snn", case, data.TIMED, True)
    relu, _, weighted = with_keras.build("relu", case, data.TIMED, True)
    with_keras.set_weights(case, weighted, data.make(case, exact=False).weights)
    assert relu.count_params() == neurons.count_params()
    assert relu.output_shape == neurons.output_shape == (None, 3)
    assert len(fired) == 2
    names = [type(layer).__name__ for layer in relu.layers]
    assert names.count("ReLU") == 2
    assert "LIF" not in names


@pytest.fixture
def neurons_case():
    case = cases.make("W5", on_gpu=False, batch=2, timesteps=10)
    return dataclasses.replace(case, input_shape=(20,))


OURS = [x for x in contenders.NEURONS if "." not in x and x not in FLOORS]


@pytest.mark.parametrize("name", OURS)
def test_other_neurons_take_the_place_of_lif(name, neurons_case):
    model, *_ = with_keras.build(name, neurons_case, data.TIMED, False)
    (_, layer) = model.layers
    assert type(layer).__name__ == name.partition(",")[0]
    assert len(model.trainable_variables) == (
        1 if "learnt" in name or "Recurrent" in name else 0
    )
    per_channel = np.shape(getattr(layer, "k", 0)) == (20,)
    assert per_channel == ("per channel" in name)


@pytest.mark.parametrize("name", contenders.NEURONS)
def test_all_models_of_neurons_run(name, neurons_case, monkeypatch):
    backend = keras.config.backend()
    package = contenders.missing(name, backend)
    if package or contenders.framework(name, backend) != backend:
        pytest.skip(f"needs {package or 'another backend'}")
    framework, waited = frameworks.load(backend), []
    monkeypatch.setattr(framework, "wait", waited.append)
    contender = contenders.make(name, framework)
    step = contender.prepare(neurons_case, data.make(neurons_case, exact=False))
    step()
    # Spikes or gradients, whatever the step waits for.
    arrays = keras.tree.flatten(waited)
    arrays = [keras.ops.convert_to_numpy(x) for x in arrays]
    assert all(np.isfinite(x).all() for x in arrays)
    assert any(x.any() for x in arrays)


def test_the_products_are_those_of_both_passes(neurons_case):
    arrays = data.make(neurons_case, exact=False)
    forward, backward, at_kernel = (
        keras.ops.convert_to_numpy(x) for x in FLOORS["products"](arrays)()
    )
    sums = []
    for steps in (arrays.x, arrays.y):
        states = [np.zeros((2, 20))]
        for t in range(10):
            states.append(steps[:, t] + 0.01 * states[-1])
        sums.append(np.array(states[1:]))
    # float32 rounds after every product.
    np.testing.assert_allclose(forward, sums[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(backward, sums[1], rtol=1e-4, atol=1e-5)
    expected = np.einsum("tbi,tbj->ij", *sums)
    np.testing.assert_allclose(at_kernel, expected, rtol=1e-3, atol=1e-4)


# The check


def test_one_different_spike_is_located(rng):
    spikes = [rng.integers(2, size=(2, 3, 4)).astype("float32") for _ in "ab"]
    wrong = [array.copy() for array in spikes]
    wrong[1][1, 2, 3] = 1 - wrong[1][1, 2, 3]
    check.same_spikes(tiny_case(), {"a": spikes, "b": spikes})
    message = r"b and a differ in 1 of 24 spikes of layer 2 \(after dense 16\)"
    with pytest.raises(check.Different, match=message):
        check.same_spikes(tiny_case(), {"a": spikes, "b": wrong})


@pytest.mark.parametrize(
    "received",
    [[np.zeros((3, 2, 4))] * 2, [np.zeros((2, 3, 4))]],
    ids=["swapped axes", "missing layer"],
)
def test_spikes_of_other_shapes_are_refused(received):
    expected = [np.zeros((2, 3, 4))] * 2
    with pytest.raises(check.Different, match="spikes of the same shapes"):
        check.same_spikes(tiny_case(), {"a": expected, "b": received})


@pytest.mark.parametrize("rate", [0, 1])
def test_silent_and_saturated_layers_are_refused(rate):
    spikes = [np.array([0, 1]), np.full(9, rate)]
    with pytest.raises(check.Different, match="layer 2 .* must be in"):
        check.firing_rates(tiny_case(), spikes)


def test_different_gradients_are_refused():
    check.same_gradients({"a": [1, 2], "b": [1.0001, 2]})
    with pytest.raises(check.Different, match="b and a must have the same"):
        check.same_gradients({"a": [1, 2], "b": [1.01, 2]})
