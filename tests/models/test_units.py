"""`unit_neurons` moves `lam` and `theta` into weights, with the same spikes."""

import functools

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn import surrogates
from keras_snn.layers import (
    LIF,
    TDBN,
    AdaptiveLIF,
    CubaLIF,
    LIFRNNCell,
    PerTimestep,
    Recompute,
    RecurrentCell,
    RecurrentLIF,
)
from keras_snn.models import sequential_snn, unit_neurons

# Powers of 2, so that scaling is exact.
NEURON = {"k": 0.75, "lam": 0.25, "theta": 0.5}
STRONG = keras.initializers.RandomNormal(0.25, 1.0, seed=0)
UNITS = 6


def dense(**kwargs):
    options = {"kernel_initializer": STRONG, "bias_initializer": "ones"}
    return PerTimestep(keras.layers.Dense(UNITS, **options | kwargs))


def model_of(*parts):
    return keras.Sequential([keras.Input((8, UNITS)), *parts])


@pytest.fixture
def spikes(rng):
    return (rng.random((5, 8, UNITS)) < 0.4).astype("float32")


def cell():
    return RecurrentCell(LIFRNNCell(UNITS, **NEURON), "identity")


NETWORKS = {
    "two layers": lambda: model_of(
        *(dense(), LIF(**NEURON), keras.layers.Dropout(0.5)),
        *(dense(activation="relu"), LIF(**NEURON, reset="subtract")),
    ),
    "convolutions": lambda: model_of(
        keras.layers.Reshape((8, 6, 1, 1)),
        PerTimestep(
            keras.Sequential(
                [
                    keras.layers.Conv2D(4, 3, padding="same"),
                    keras.layers.AveragePooling2D((2, 1)),
                ]
            )
        ),
        TDBN(theta=0.5, gamma_initializer=keras.initializers.Constant(16)),
        LIF(**NEURON),
    ),
    "synaptic current": lambda: model_of(dense(), CubaLIF(**NEURON)),
    "adaptation": lambda: model_of(
        dense(), AdaptiveLIF(**NEURON, coupling=0.5, jump=2.0)
    ),
    "learnt adaptation": lambda: model_of(
        dense(),
        AdaptiveLIF(
            **NEURON, coupling=0.5, jump=2.0, learn=("coupling", "jump")
        ),
    ),
    "recurrent": lambda: model_of(
        dense(),
        RecurrentLIF(UNITS, **NEURON, recurrent_initializer="identity"),
    ),
    "cell": lambda: model_of(
        dense(), keras.layers.RNN(cell(), return_sequences=True)
    ),
    "inside": lambda: model_of(
        Recompute(model_of(dense(), LIF(**NEURON))), dense(), LIF(**NEURON)
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_spikes_are_the_same(name, spikes):
    model = NETWORKS[name]()
    unit = unit_neurons(model)
    expected = model.predict(spikes, verbose=0)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(unit.predict(spikes, verbose=0), expected)
    assert type(unit) is type(model)


def test_neurons_are_unit_neurons_and_weights_are_scaled():
    model = sequential_snn("C4 P FC8", (8, 8, 1), 10, lam=0.25, theta=0.5)
    unit = unit_neurons(model)
    for name in ("lif1", "lif2"):
        lif = unit.get_layer(name)
        assert (lif.k, lif.lam, lif.theta) == (0.8, 1, 1)
        assert lif.surrogate == surrogates.Arctan(1.0)
    for name, factor in (("conv1", 0.5), ("dense1", 0.5), ("logits", 1)):
        old, new = (x.get_layer(name).get_weights() for x in (model, unit))
        for before, after in zip(old, new, strict=True):
            np.testing.assert_array_equal(after, factor * before)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_a_rate_of_one_unit_is_that_of_theta_squared_before(reset, spikes):
    # With W' = f W, the step -r dL/dW' of W' is the step -(r / f^2) dL/dW of W.
    neuron = NEURON | {"reset": reset}
    model = model_of(dense(), LIF(**neuron), dense(), LIF(**neuron))
    unit = unit_neurons(model)
    start = model.get_weights()
    for each, rate in ((model, 0.25 * 4), (unit, 0.25)):
        each.compile(keras.optimizers.SGD(rate), "mse")
        each.train_on_batch(spikes, 1 - spikes)
    for before, old, new in zip(
        start, model.get_weights(), unit.get_weights(), strict=True
    ):
        assert np.abs(old - before).max() > 1e-3
        np.testing.assert_allclose(new, 0.5 * old, rtol=1e-5, atol=1e-6)


def branches(merge):
    inputs = keras.Input((8, UNITS))
    first = LIF(**NEURON, name="first")(dense(name="synapses")(inputs))
    return keras.Model(inputs, merge(inputs, first))


def shared(inputs, first):
    layer = dense(name="both")
    other = LIF(k=0.5, lam=1.0, theta=0.5)(layer(first))
    return LIF(**NEURON)(layer(other))


def used_twice(inputs, first):
    current = dense(name="both")(first)
    return [LIF(**NEURON)(current), current]


def weights_twice(inputs, first):
    current = dense(name="both")(first)
    return [LIF(**NEURON)(current), LIF(**NEURON)(dense()(current))]


def tanh(inputs, first):
    return LIF(**NEURON)(keras.layers.Activation("tanh")(dense()(first)))


def inner_tanh(inputs, first):
    return LIF(**NEURON)(dense(activation="tanh")(first))


def identity(inputs, first):
    return LIF(**NEURON, name="end")(dense()(first) + first)


def without_weights(inputs, first):
    return LIF(**NEURON, name="end")(inputs)


def learnt(inputs, first):
    return LIF(**NEURON, learn=("theta",))(dense()(first))


def initial_state(inputs, first):
    potential = keras.layers.Lambda(lambda x: x[:, 0])(inputs)
    return LIF(**NEURON, name="end")(dense()(first), initial_state=potential)


def return_state(inputs, first):
    return LIF(**NEURON, return_state=True, name="end")(dense()(first))


def fast(inputs, first):
    return LIF(**NEURON, surrogate="fast_sigmoid")(dense()(first))


REFUSED = {
    "shortcut": (identity, "layer 'end', reached by first"),
    "no weights": (without_weights, "layer 'end', reached by "),
    "shared": (shared, "layer 'both', with factors 2 and 0.5"),
    "two uses": (used_twice, "layer 'both', which the output uses"),
    "two weights": (weights_twice, "layer 'both', which .* uses"),
    "tanh": (tanh, "behind 'activation"),
    "tanh inside": (inner_tanh, "behind 'dense"),
    "potential in": (initial_state, "layer 'end' with `initial_state`"),
    "potential out": (return_state, "layer 'end' with `return_state`"),
    "learnt": (learnt, "`theta` must be one fixed number"),
    "surrogate": (fast, "`surrogate` must be one whose derivative"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_weights_cannot_do_is_refused(name):
    merge, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        unit_neurons(branches(merge))


@pytest.mark.parametrize(
    "name", ["asymptote", "stationary", "copy", "rossbroich", "shi"]
)
def test_laws_in_units_of_the_threshold_build_unit_networks(name):
    options = {"initializer": name, "surrogate": "auto", "timesteps": 4}
    build = functools.partial(
        sequential_snn, "FC8*2", (8, 8, 1), 10, k=0.75, seed=0, **options
    )
    unit = build(lam=1.0, theta=1.0)
    copy = unit_neurons(build(lam=0.25, theta=0.5))
    for layer in ("dense1", "dense2"):
        one, other = (x.get_layer(layer).get_weights() for x in (unit, copy))
        for expected, found in zip(one, other, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    if name != "asymptote" and name != "rossbroich":
        one, other = (x.get_layer("lif2").surrogate for x in (unit, copy))
        assert other.a == pytest.approx(one.a, rel=1e-9)


@pytest.mark.parametrize("name", surrogates.NAMES)
def test_surrogates_scale_with_the_threshold(name, rng):
    if name == "fast_sigmoid":
        pytest.skip("refused, see above")
    for surrogate in (
        surrogates.get(name),
        surrogates.SpikeGated(surrogates.get(name)),
    ):
        model = model_of(dense(), LIF(**NEURON, surrogate=surrogate))
        steeper = unit_neurons(model).layers[-1].surrogate
        x = rng.uniform(-1, 1, 9).astype("float32")
        found, before = (
            keras.ops.convert_to_numpy(each.derivative(at))
            for each, at in (
                (steeper, keras.ops.convert_to_tensor(x)),
                (surrogate, keras.ops.convert_to_tensor(0.5 * x)),
            )
        )
        np.testing.assert_allclose(found, 0.5 * before, rtol=1e-5)


@pytest.mark.parametrize(
    "join",
    [
        lambda x: x + 1.0,
        lambda x: 1.0 - x,
        lambda x: keras.ops.maximum(x, 1.0),
        lambda x: keras.ops.add(x, np.ones(4, "float32")),
    ],
    ids=["sum", "difference", "maximum", "array"],
)
def test_a_constant_beside_the_current_is_refused(join):
    inputs = keras.Input((3, 4))
    x = join(keras.layers.Dense(4)(inputs))
    model = keras.Model(inputs, LIF(k=0.5, lam=0.5, theta=2.0)(x))
    with pytest.raises(ValueError, match="nothing between weights and neurons"):
        unit_neurons(model)


def test_a_frozen_recurrent_kernel_is_scaled(rng):
    inputs = keras.Input((6, 4))
    neurons = RecurrentLIF(4, k=0.5, lam=0.5, theta=2.0)
    model = keras.Model(inputs, neurons(keras.layers.Dense(4)(inputs)))
    neurons.set_weights([2 * rng.normal(size=(4, 4))])
    neurons.trainable = False
    x = 8 * rng.normal(size=(8, 6, 4)).astype("float32")
    spikes = to_numpy(model(x))
    assert 0 < spikes.mean() < 1
    np.testing.assert_array_equal(to_numpy(unit_neurons(model)(x)), spikes)
