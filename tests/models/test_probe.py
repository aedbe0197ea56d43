"""A probe returns the spikes of a model, and leaves the model as it was."""

import functools

import keras
import numpy as np
import pytest
import reference
from backend import to_numpy

from keras_snn.layers import LIF, LIFRNNCell, PerTimestep, Recompute
from keras_snn.models import ImageModel, five_layer_snn, probe

NEURON = {"k": 0.5, "lam": 0.5, "theta": 1.0}


def dense(units=3, **kwargs):
    return PerTimestep(keras.layers.Dense(units, **kwargs))


@pytest.fixture
def current(rng):
    # Exact in float32, see test_dynamics.
    return (rng.integers(-16, 49, (5, 6, 3)) / 16).astype("float32")


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("encoder", ["constant", "retina"])
def test_every_layer_of_a_built_network_shows(encoder, recompute, rng):
    model = five_layer_snn(
        *((8, 8, 1), 10, 10),
        lam=0.5,
        encoder=encoder,
        seed=0,
        recompute=recompute,
    )
    model.compile("adam", "mse")
    x = rng.integers(0, 256, (6, 8, 8, 1)).astype("uint8")
    spikes = probe(model).predict(x, verbose=0)
    assert list(spikes) == ["lif1", "lif2", "lif3", "lif4"]
    # The spikes of the last layer make the logits.
    kernel, bias = model.get_layer("logits").get_weights()
    np.testing.assert_allclose(
        spikes["lif4"].mean(1) @ kernel + bias,
        model.predict(x, verbose=0),
        rtol=1e-4,
        atol=1e-5,
    )
    assert all(0 < each.mean() < 1 for each in spikes.values())


def test_layers_inside_models_and_rnns_show_in_the_order_of_the_graph(current):
    rnn = keras.layers.RNN(
        LIFRNNCell(3, **NEURON), return_sequences=True, name="slow"
    )
    inner = keras.Sequential([keras.Input((6, 3)), rnn])
    inputs = keras.Input((6, 3))
    outputs = LIF(**NEURON, name="fast")(Recompute(inner)(inputs))
    spikes = probe(keras.Model(inputs, outputs)).predict(current, verbose=0)
    first, _ = reference.lif(current, **NEURON)
    second, _ = reference.lif(first, **NEURON)
    assert list(spikes) == ["slow", "fast"]
    np.testing.assert_array_equal(spikes["slow"], first)
    np.testing.assert_array_equal(spikes["fast"], second)


def test_every_call_of_a_layer_shows(current):
    shared = LIF(**NEURON, name="lif")
    inputs = keras.Input((6, 3))
    model = keras.Model(inputs, shared(shared(inputs)))
    spikes = probe(model).predict(current, verbose=0)
    first, _ = reference.lif(current, **NEURON)
    second, _ = reference.lif(first, **NEURON)
    np.testing.assert_array_equal(spikes["lif"], first)
    np.testing.assert_array_equal(spikes["lif:2"], second)


def test_several_inputs_keep_their_structure(current):
    inputs = {name: keras.Input((6, 3), name=name) for name in ("a", "b")}
    total = inputs["a"] + inputs["b"]
    model = keras.Model(inputs, [LIF(**NEURON, name="lif")(total), total])
    halves = {"a": current / 2, "b": current / 2}
    spikes = probe(model).predict(halves, verbose=0)
    np.testing.assert_array_equal(
        spikes["lif"], reference.lif(current, **NEURON)[0]
    )


def test_a_probe_shares_weights_and_changes_nothing(current):
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            dense(kernel_initializer="identity"),
            LIF(**NEURON),
        ]
    )
    model.compile("sgd", "mse")
    before = model.get_config()
    probing = probe(model)
    model.set_weights([2 * np.eye(3, dtype="float32"), np.zeros(3, "float32")])
    expected, _ = reference.lif(2 * current, **NEURON)
    (spikes,) = probing.predict(current, verbose=0).values()
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_array_equal(model.predict(current, verbose=0), expected)
    assert model.get_config() == before
    assert not probing.compiled
    (output,) = model.outputs
    assert keras.Model(model.inputs, output).count_params() == 12


HIDDEN = LIF(**NEURON, name="hidden")


class Block(keras.layers.Layer):
    """Has a list called `layers`, as models do, and neurons elsewhere."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.layers = [keras.layers.Identity()]
        self.parts = {"neurons": (LIF(**NEURON, name="hidden"),)}

    def call(self, inputs):
        return self.parts["neurons"][0](inputs)


class Outer(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.block = Block()

    def call(self, inputs):
        return self.block(inputs)


class Part(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.neurons = LIF(**NEURON, name="hidden")

    def call(self, inputs):
        return self.neurons(inputs)


class Stepping(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.cell = LIFRNNCell(3, name="hidden")

    def call(self, inputs):
        return self.cell(inputs[:, 0], [inputs[:, 0]])[0]


class Global(keras.layers.Layer):
    def call(self, inputs):
        return keras.ops.stack([HIDDEN(inputs[:1]) for _ in range(2)])


class New(keras.layers.Layer):
    def call(self, inputs):
        return LIF(**NEURON)(inputs)


def hidden_rnn(cell):
    return keras.layers.RNN(cell, return_sequences=True, name="hidden")


HIDING = {
    "custom layer": lambda: Block(name="outer"),
    "nested custom layer": lambda: Outer(name="outer"),
    "subclassed model": lambda: Part(name="outer"),
    "cell": lambda: Stepping(name="outer"),
    "global": lambda: Global(name="outer"),
    "created in call": lambda: New(name="outer"),
    "TimeDistributed": lambda: keras.layers.TimeDistributed(
        keras.layers.Dense(3, activation=HIDDEN), name="outer"
    ),
    "Bidirectional": lambda: keras.layers.Bidirectional(
        hidden_rnn(LIFRNNCell(3)), name="outer"
    ),
    "Bidirectional LIF": lambda: keras.layers.Bidirectional(
        LIF(name="hidden"), name="outer"
    ),
    "stacked cells": lambda: keras.layers.RNN(
        [LIFRNNCell(3, name="hidden"), LIFRNNCell(3)], name="outer"
    ),
    "activation": lambda: keras.layers.Dense(
        3, activation=HIDDEN, name="outer"
    ),
    "Lambda": lambda: keras.layers.Lambda(
        lambda x: keras.ops.map(lambda each: HIDDEN(each[None])[0], x),
        name="outer",
    ),
    "partial": lambda: keras.layers.Lambda(
        functools.partial(lambda neurons, x: neurons(x), HIDDEN), name="outer"
    ),
}


@pytest.mark.parametrize("hiding", HIDING)
def test_hidden_neurons_are_refused_by_name(hiding):
    model = keras.Sequential(
        [keras.Input((6, 3)), LIF(**NEURON), HIDING[hiding]()]
    )
    inside = "LIF" if hiding == "created in call" else r"(forward_)?hidden"
    with pytest.raises(
        ValueError, match=f"Received: layer 'outer', with '{inside}' inside"
    ):
        probe(model)


def test_neurons_in_a_function_of_an_operation_are_refused():
    inputs = keras.Input((6, 3))
    spikes = LIF(**NEURON)(inputs)
    mapped = keras.ops.vectorized_map(lambda x: HIDDEN(x[None])[0], spikes)
    with pytest.raises(ValueError, match="with 'hidden' inside"):
        probe(keras.Model(inputs, mapped))


def test_a_model_must_have_neurons():
    model = keras.Sequential([keras.Input((6, 3)), dense()])
    with pytest.raises(ValueError, match="must have a `LIF` layer or an `RNN`"):
        probe(model)


def test_every_call_of_a_model_shows(current):
    inner = keras.Sequential([keras.Input((6, 3)), LIF(**NEURON, name="lif")])
    inputs = keras.Input((6, 3))
    model = keras.Model(inputs, inner(4 * inner(inputs)))
    spikes = probe(model).predict(current, verbose=0)
    first, _ = reference.lif(current, **NEURON)
    second, _ = reference.lif(4 * first, **NEURON)
    np.testing.assert_array_equal(spikes["lif"], first)
    np.testing.assert_array_equal(spikes["lif:2"], second)


def test_names_inside_recompute_may_equal_others(current):
    inputs = keras.Input((6, 3))
    same = {"kernel_initializer": "identity", "name": "same"}
    currents = Recompute(keras.layers.Dense(3, **same))(inputs)
    model = keras.Model(inputs, LIF(**NEURON, name="same")(currents))
    (spikes,) = probe(model).predict(current, verbose=0).values()
    np.testing.assert_array_equal(spikes, reference.lif(current, **NEURON)[0])


def test_models_without_a_graph_are_refused():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    class Doubled(keras.Model):
        def call(self, inputs, training=None, mask=None):
            return super().call(2 * inputs, training, mask)

    model = Subclassed()
    model(np.ones((2, 3)))
    inputs = keras.Input((6, 3))
    doubled = Doubled(inputs, LIF(**NEURON)(inputs))
    old = ImageModel(inputs, LIF(**NEURON)(inputs))
    inside = keras.Model(inputs, doubled(inputs))
    with pytest.raises(ValueError, match="have all neurons in its graph"):
        probe(inside)
    for each in (model, doubled, old, keras.Sequential([LIF(**NEURON)])):
        with pytest.raises(
            ValueError, match="a built functional or Sequential"
        ):
            probe(each)


def test_spikes_agree_with_the_layer_called_by_hand(rng):
    model = five_layer_snn((8, 8, 1), timesteps=5, encoder="retina", seed=0)
    x = rng.random((4, 8, 8, 1)).astype("float32")
    part = keras.Model(model.input, model.get_layer("lif2").output)
    np.testing.assert_array_equal(
        to_numpy(probe(model)(x)["lif2"]), to_numpy(part(x))
    )
