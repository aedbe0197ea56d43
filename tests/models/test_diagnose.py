"""`diagnose`: which layers cannot learn, and why."""

import keras
import numpy as np
import pytest

from keras_snn.layers import LIF, LIFRNNCell, RecurrentCell
from keras_snn.models import diagnose, probe, sequential_snn
from keras_snn.surrogates import Arctan, Sigmoid

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture
def digits(rng):
    images = rng.random((8, 8, 8, 1)).astype("float32")
    return images, rng.integers(0, 10, 8)


def network(**options):
    model = sequential_snn("FC40 FC40", (8, 8, 1), 10, 6, seed=0, **options)
    model.compile("sgd", LOSS)
    return model


def problems(diagnosis):
    return {x.problem: x.layers for x in diagnosis.findings}


def test_nothing_is_wrong_with_the_asymptote_initialization(digits):
    found = diagnose(network(), *digits)
    assert found.findings == []
    assert list(found.rates) == ["lif1", "lif2"]
    assert "No problem was found." in str(found)


def test_the_first_silent_layer_is_the_cause(digits):
    found = diagnose(network(initializer="glorot", lam=0.02), *digits)
    assert problems(found) == {"silent": ("lif1", "lif2")}
    assert "`lif1` is silent" in str(found)
    assert "calibrate" in str(found)


def test_a_layer_that_always_fires_is_saturated(digits):
    model = network()
    layer = model.get_layer("dense1")
    layer.bias.assign(np.full(layer.bias.shape, 100.0))
    assert problems(diagnose(model, *digits))["saturated"] == ("lif1",)


def test_the_gradient_through_the_reset_explodes(digits):
    neuron = {"k": 1.0, "lam": 1.0, "theta": 1.0}
    model = sequential_snn(
        "FC50", (8, 8, 1), 10, **neuron, surrogate=Arctan(4.0), seed=0
    )
    weights = model.get_layer("dense1")
    # A potential that stays at the threshold.
    weights.kernel.assign(np.full(weights.kernel.shape, 1e-6))
    weights.bias.assign(np.full(weights.bias.shape, 1.0 + 1e-3))
    model.compile("sgd", LOSS)
    found = diagnose(model, *digits)
    assert problems(found)["exploding"] == ("dense1/kernel",)
    assert "here up to 4. Use `detach_reset=True`" in str(found)
    detached = sequential_snn(
        "FC50",
        (8, 8, 1),
        10,
        **neuron,
        surrogate=Arctan(4.0),
        detach_reset=True,
    )
    detached.compile("sgd", LOSS)
    detached.set_weights(model.get_weights())
    assert "exploding" not in problems(diagnose(detached, *digits))


def test_a_gradient_that_grows_steadily_explodes(digits):
    model = sequential_snn(
        "FC30*30",
        (8, 8, 1),
        10,
        8,
        initializer="stationary",
        seed=0,
        surrogate=Sigmoid(50.0),
    )
    model.compile("sgd", LOSS)
    found = diagnose(model, *digits)
    effects = list(found.effects.values())
    steps = [x / y for x, y in zip(effects, effects[1:], strict=False)]
    assert max(steps) < 1000 < max(effects) / effects[-1]
    assert list(problems(found)) == ["exploding"]


def test_a_kernel_of_zeros_is_named(digits):
    model = network()
    layer = model.get_layer("logits")
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    found = diagnose(model, *digits)
    assert problems(found) == {"vanishing": ("logits/kernel",)}
    assert "All weights are zero in `logits/kernel`" in str(found)


def test_a_saturated_layer_is_the_cause_of_a_lost_gradient(digits):
    model = network()
    layer = model.get_layer("dense2")
    layer.bias.assign(np.full(layer.bias.shape, 100.0))
    assert problems(diagnose(model, *digits)) == {"saturated": ("lif2",)}


def test_a_flat_surrogate_lets_the_gradient_vanish(digits):
    model = network(surrogate=Arctan(1e-6))
    found = problems(diagnose(model, *digits))
    assert "dense1/kernel" in found["vanishing"]
    assert "logits/kernel" not in found["vanishing"]


def test_rates_that_differ_between_the_modes_are_named(digits):
    images, labels = digits
    model = network(normalization="batch")
    layer = model.get_layer("norm1")
    layer.moving_variance.assign(np.full(layer.moving_variance.shape, 1e6))
    found = diagnose(model, images, labels)
    assert "shifted" in problems(found)
    inference, training = found.rates["lif1"]
    assert inference < training / 2


def test_layers_whose_rates_differ_share_a_finding(digits):
    images, _ = digits
    model = network(normalization="batch")
    for name in ("norm1", "norm2"):
        layer = model.get_layer(name)
        layer.moving_variance.assign(np.full(layer.moving_variance.shape, 1e6))
    (found,) = diagnose(model, images).findings
    assert (found.problem, found.layers) == ("shifted", ("lif1", "lif2"))
    assert "The rates of 1 more differ as much, `lif2`." in str(found)


def test_spikes_that_are_nan_are_named(digits):
    model = network()
    model.get_layer("dense2").bias.assign(np.full(40, np.nan))
    found = diagnose(model, digits[0])
    assert problems(found)["nan"] == ("lif2",)


def test_the_effect_is_the_gradient_in_closed_form(digits):
    images, labels = digits
    model = network(encoder="constant")
    spikes = probe(model).predict(images, verbose=0)["lif2"]
    features, logits = spikes.mean(1), model.predict(images, verbose=0)
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    error = (probabilities - np.eye(10)[labels]) / len(images)
    kernel = keras.ops.convert_to_numpy(model.get_layer("logits").kernel)
    expected = np.linalg.norm(features.T @ error) * np.linalg.norm(kernel)
    found = diagnose(model, images, labels)
    names = "dense1", "dense2", "logits"
    assert list(found.effects) == [f"{name}/kernel" for name in names]
    np.testing.assert_allclose(
        found.effects["logits/kernel"], expected, rtol=1e-4
    )


def test_the_model_stays_as_it_was(digits):
    images, labels = digits
    model = network(normalization="batch")
    model.train_on_batch(images, labels)
    kept = [np.array(x) for x in model.get_weights()]
    state = [np.array(x.value) for x in model.optimizer.variables]
    once = str(diagnose(model, images, labels))
    for before, after in zip(kept, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    for before, x in zip(state, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(before, np.array(x.value))
    assert str(diagnose(model, images, labels)) == once


def test_labels_need_a_compiled_model(digits):
    model = sequential_snn("FC4", (8, 8, 1), 10, timesteps=2)
    with pytest.raises(ValueError, match="`y` needs a model that is compiled"):
        diagnose(model, *digits)


def test_neurons_in_cells_are_found():
    inputs = keras.Input((5, 3))
    x = keras.layers.Dense(4, kernel_initializer="zeros")(inputs)
    cell = RecurrentCell(LIFRNNCell(4))
    rnn = keras.layers.RNN(cell, return_sequences=True, name="neurons")
    model = keras.Model(inputs, rnn(x))
    model.compile("sgd", "mse")
    x = np.ones((2, 5, 3), "float32")
    found = diagnose(model, x, np.ones((2, 5, 4), "float32"))
    assert problems(found)["silent"] == ("neurons",)
    assert "0.0%" in str(found)


def test_a_sequential_model_and_batches_are_accepted(rng):
    model = keras.Sequential(
        [
            keras.Input((5, 6)),
            keras.layers.Dense(8),
            LIF(lam=2.0, name="neurons"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3, name="logits"),
        ]
    )
    model.compile("sgd", LOSS)
    x = rng.normal(size=(8, 5, 6)).astype("float32")
    found = diagnose(model, x, rng.integers(0, 3, 8))
    path = model.get_layer("logits").kernel.path
    assert found.effects[path] > 0
    assert diagnose(model, iter([x[:4], x[4:]])).rates == found.rates


def test_labels_must_fit_the_samples(digits):
    images, labels = digits
    model = network()
    for wrong, shape in (labels[:5], r"\(5,\)"), (labels[0], r"\(\)"):
        text = rf"arrays of 8 samples, .* Received: shapes \[{shape}\]"
        with pytest.raises(ValueError, match=text):
            diagnose(model, images, wrong)
    with pytest.raises(ValueError, match="`y` must be `None` if `x` comes in"):
        diagnose(model, iter([images]), labels)


def test_gradients_of_zero_vanish(digits):
    model = network()
    model.compile("sgd", lambda _, logits: 0.0 * keras.ops.mean(logits, -1))
    found = problems(diagnose(model, *digits))
    names = "dense1", "dense2", "logits"
    assert found["vanishing"] == tuple(f"{name}/kernel" for name in names)


def test_a_loss_of_nan_is_named(digits):
    model = network()
    layer = model.get_layer("logits")
    layer.kernel.assign(np.full(layer.kernel.shape, np.nan))
    found = diagnose(model, *digits)
    assert set(problems(found)) == {"nan"}
    assert "`logits/kernel` is NaN" in str(found)


def test_constants_may_be_arrays(digits):
    inputs = keras.Input((3, 4))
    neurons = LIF(k=[0.5, 0.6, 0.7, 0.8], lam=2.0, theta=[1.0, 1.0, 2.0, 2.0])
    model = keras.Model(inputs, keras.layers.Dense(2)(neurons(inputs)))
    model.compile("sgd", "mse")
    found = diagnose(model, np.ones((2, 3, 4), "float32"), np.ones((2, 3, 2)))
    assert list(found.effects) == [model.layers[-1].kernel.path]


def test_the_effect_has_the_weight_of_the_loss(digits):
    model = network()
    once = diagnose(model, *digits).effects
    model.compile("sgd", LOSS, loss_weights=[3.0])
    for name, effect in diagnose(model, *digits).effects.items():
        assert effect == pytest.approx(3 * once[name], rel=1e-4)


def test_a_kernel_that_the_loss_does_not_need_has_no_effect(digits):
    images, labels = digits
    inputs = keras.Input((4, 5))
    x = LIF(lam=1.0, name="lif")(keras.layers.Dense(6, name="in")(inputs))
    x = keras.layers.GlobalAveragePooling1D()(x)
    heads = [keras.layers.Dense(10, name=name)(x) for name in "ab"]
    model = keras.Model(inputs, dict(zip("ab", heads, strict=True)))
    model.compile("sgd", loss={"a": LOSS, "b": None})
    series = np.repeat(images.reshape(8, 1, 64)[..., :5], 4, axis=1) * 9
    effects = diagnose(model, series, {"a": labels, "b": labels}).effects
    assert effects["a/kernel"] > 0
    assert effects["b/kernel"] == 0


def test_a_constraint_does_not_change_the_effect(digits):
    model = network()
    expected = diagnose(model, *digits).effects
    unit_norm = keras.constraints.UnitNorm()
    model.get_layer("logits").kernel.constraint = unit_norm
    effects = diagnose(model, *digits).effects
    assert effects == pytest.approx(expected, rel=1e-5)


def test_labels_need_a_loss(digits):
    model = sequential_snn("FC4", (8, 8, 1), 10, timesteps=2)
    model.compile("sgd")
    with pytest.raises(ValueError, match="compiled with a loss"):
        diagnose(model, *digits)
