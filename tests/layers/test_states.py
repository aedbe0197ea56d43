"""Potentials that a layer carries from batch to batch, and `Bidirectional`."""

import keras
import numpy as np
import pytest
import reference
from backend import to_numpy
from keras import ops

from keras_snn.layers import (
    LIF,
    LeakyIntegrator,
    LIFRNNCell,
    PerTimestep,
    Recompute,
    RecurrentLIF,
    reset_states,
)

NEURON = {"k": 0.5, "lam": 0.5, "theta": 1.0}


@pytest.fixture
def current(rng):
    """Sixteenths, exact in float32 through twelve halvings."""
    return (rng.integers(-16, 49, size=(4, 6, 3)) / 16).astype("float32")


def network(batch=4, stateful=True):
    """Kernel and bias behind the neurons: 3 x 2 + 2 parameters."""
    inputs = keras.Input(batch_shape=(batch, 6, 3))
    x = LIF(**NEURON, stateful=stateful)(inputs)
    return keras.Model(inputs, keras.layers.Dense(2)(x))


def inside_sequential(model):
    return keras.Sequential([model, keras.layers.Dense(1)])


def inside_functional(model):
    inputs = keras.Input(batch_shape=(4, 6, 3))
    return keras.Model(inputs, keras.layers.Dense(1)(model(inputs)))


def inside_recompute(model):
    return keras.Sequential([Recompute(model), keras.layers.Dense(1)])


def transferred(model):
    """The neurons of a model under another head."""
    spikes = model.layers[1].output
    return keras.Model(model.inputs, keras.layers.Dense(1)(spikes))


every_use = pytest.mark.parametrize(
    "use",
    [inside_sequential, inside_functional, inside_recompute, transferred],
)


def potentials(model):
    return [x for x in model.variables if x.name == "potential"]


def assert_potential_is(expected, model):
    (potential,) = potentials(model)
    np.testing.assert_array_equal(to_numpy(potential), expected)


@every_use
def test_a_potential_is_a_variable_but_not_a_weight(use):
    model = use(network())
    model.build((4, 6, 3))
    assert len(potentials(model)) == 1
    assert potentials(model)[0] in model.non_trainable_variables
    of_head = 4 if use is transferred else 3
    of_network = 0 if use is transferred else 8
    assert model.count_params() == of_network + of_head
    names = {x.name for x in model.weights}
    assert names == {"kernel", "bias"}
    assert model.non_trainable_weights == []


@every_use
def test_fit_and_predict_carry_the_potential(current, use, tmp_path):
    model = use(network())
    model.compile("sgd", "mse")
    model.fit(current, np.ones((4, 6, 1)), shuffle=False, verbose=0)
    _, after_fit = reference.lif(current, **NEURON)
    assert_potential_is(after_fit, model)
    model.predict(current, verbose=0)
    _, after = reference.lif(current, **NEURON, potential=after_fit)
    assert_potential_is(after, model)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_potential_is(np.zeros((4, 3)), loaded)
    for ours, theirs in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))
    model.save_weights(tmp_path / "model.weights.h5")
    model.load_weights(tmp_path / "model.weights.h5")
    assert_potential_is(after, model)


def test_weights_fit_any_batch_size_stateful_or_not(current, tmp_path):
    trained = network(4, stateful=False)
    streaming = network(1, stateful=True)
    streaming.set_weights(trained.get_weights())
    whole = trained.predict(np.concatenate([current[:1]] * 4), verbose=0)
    found = streaming.predict(current[:1], verbose=0)
    np.testing.assert_allclose(found, whole[:1], rtol=1e-6)
    trained.set_weights(streaming.get_weights())

    large = network(32, stateful=True)
    trained.save_weights(tmp_path / "stateless.weights.h5")
    large.load_weights(tmp_path / "stateless.weights.h5")
    large.save_weights(tmp_path / "large.weights.h5")
    streaming.load_weights(tmp_path / "large.weights.h5")
    for a, b in zip(streaming.get_weights(), large.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_files_of_version_0_1_load(current, tmp_path, monkeypatch):
    def as_before(self, store):
        store["0"] = self.states[0]

    model = network()
    expected = model(current)
    monkeypatch.setattr(LIF, "save_own_variables", as_before)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_potential_is(np.zeros((4, 3)), loaded)
    np.testing.assert_array_equal(to_numpy(loaded(current)), to_numpy(expected))
    small = network(1)
    small.load_weights(tmp_path / "model.weights.h5")


@pytest.mark.parametrize("method", ["reset_state", "reset_states"])
def test_a_reset_is_that_of_keras_rnn(current, method):
    cell = LIFRNNCell(3, **NEURON)
    for layer in (
        LIF(**NEURON, stateful=True),
        keras.layers.RNN(cell, return_sequences=True, stateful=True),
    ):
        getattr(layer, method)()  # does nothing before the layer is built
        first = to_numpy(layer(current))
        assert (to_numpy(layer(current)) != first).any()
        getattr(layer, method)()
        np.testing.assert_array_equal(to_numpy(layer(current)), first)
    assert LIF().states is None


def test_a_model_in_wrappers_is_reset(current):
    model = inside_recompute(inside_functional(network()))
    model(current)
    assert to_numpy(potentials(model)[0]).any()
    reset_states(model)
    assert_potential_is(np.zeros((4, 3)), model)


@pytest.mark.parametrize("rows", [9, 10])
@pytest.mark.parametrize("method", ["fit", "predict"])
def test_a_short_last_batch_is_refused_in_one_sentence(rows, method):
    model = network()
    model.compile("sgd", "mse")
    x, y = np.ones((rows, 6, 3), "float32"), np.ones((rows, 6, 2))
    arguments = (x, y) if method == "fit" else (x,)
    # TensorFlow's graph has an error class of its own.
    with pytest.raises(Exception, match="must have the batch size of the sta"):
        getattr(model, method)(*arguments, batch_size=4, verbose=0)


def test_the_initial_state_is_that_of_keras_rnn(current):
    layer = LIF(**NEURON, dtype="mixed_float16")
    with pytest.raises(ValueError, match="needs a built layer of known feat"):
        layer.get_initial_state(5)
    layer(current)
    (ours,) = layer.get_initial_state(5)
    cell = LIFRNNCell(3, dtype="mixed_float16")
    (theirs,) = keras.layers.RNN(cell).get_initial_state(5)
    for state in (ours, theirs):
        assert tuple(state.shape) == (5, 3)
        assert keras.backend.standardize_dtype(state.dtype) == "float32"
        assert not to_numpy(state).any()
    unknown = LIF()
    unknown(keras.Input((6, None, 3)))
    with pytest.raises(ValueError, match=r"Received: feature shape \(None, 3"):
        unknown.get_initial_state(5)


def test_a_returned_potential_outlives_fit(current):
    # On JAX, `fit` deletes the arrays that variables held before.
    layer = LIF(**NEURON, stateful=True, return_state=True)
    inputs = keras.Input(batch_shape=(4, 6, 3))
    x, _ = layer(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse")
    _, potential = layer(current)
    model.fit(current, np.ones((4, 6, 1)), epochs=2, verbose=0)
    _, expected = reference.lif(current, **NEURON)
    np.testing.assert_array_equal(to_numpy(potential), expected)


def both(current, call, **options):
    """The outputs of both layers in `Bidirectional`, as lists of arrays."""
    wrapper = {"merge_mode": options.pop("merge_mode", "concat")}
    cell = LIFRNNCell(3, **NEURON)
    # Keras 3.15's loop on JAX holds the potential as the last output. Its
    # unrolled loop ignores or reverses the mask of outputs.
    sequences = options["return_sequences"]
    unroll = keras.config.backend() == "jax" and not sequences
    slow = keras.layers.RNN(cell, **options, unroll=unroll)
    outputs = []
    for layer in (LIF(**NEURON, **options), slow):
        output = keras.layers.Bidirectional(layer, **wrapper)(current, **call)
        outputs.append([to_numpy(x) for x in keras.tree.flatten(output)])
    return outputs


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"return_sequences": False},
        {"return_state": True},
        {"merge_mode": "sum"},
        {"merge_mode": None},
    ],
    ids=str,
)
def test_bidirectional_equals_that_of_the_cell(current, rng, options, masked):
    mask = ops.convert_to_tensor(rng.random((4, 6)) < 0.6)
    call = {"mask": mask} if masked else {}
    ours, theirs = both(current, call, **{"return_sequences": True} | options)
    assert np.mean([x.mean() for x in ours]) > 0
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_bidirectional_takes_initial_states(current):
    states = [np.full((4, 3), start, "float32") for start in (0.5, 0.75)]
    call = {"initial_state": list(map(ops.convert_to_tensor, states))}
    ours, theirs = both(current, call, return_sequences=True)
    np.testing.assert_array_equal(ours[0], theirs[0])


def test_bidirectional_networks_save_load_and_reset(current, tmp_path):
    inputs = keras.Input(batch_shape=(4, 6, 3))
    x = PerTimestep(keras.layers.Dense(3, kernel_initializer="identity"))(
        inputs
    )
    wrapper = keras.layers.Bidirectional(LIF(**NEURON, stateful=True))
    model = keras.Model(inputs, wrapper(x))
    assert model.output_shape == (4, 6, 6)
    forward, _ = reference.lif(current, **NEURON)
    backward, _ = reference.lif(current[:, ::-1], **NEURON)
    expected = np.concatenate([forward, backward[:, ::-1]], axis=-1)
    np.testing.assert_array_equal(model.predict(current, verbose=0), expected)
    assert (model.predict(current, verbose=0) != expected).any()
    wrapper.reset_states()
    np.testing.assert_array_equal(model.predict(current, verbose=0), expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(current, verbose=0), expected)


def test_backwards_the_outputs_and_the_mask_are_reversed(current, rng):
    mask = rng.random((4, 6)) < 0.6
    spikes, potential = reference.lif(
        current[:, ::-1], **NEURON, mask=mask[:, ::-1]
    )
    layer = LIF(**NEURON, go_backwards=True, return_state=True)
    found = layer(current, mask=ops.convert_to_tensor(mask))
    np.testing.assert_array_equal(to_numpy(found[0]), spikes)
    np.testing.assert_array_equal(to_numpy(found[1]), potential)
    passed, _ = layer.compute_mask(current, ops.convert_to_tensor(mask))
    np.testing.assert_array_equal(to_numpy(passed), mask[:, ::-1])


def test_a_whole_model_is_reset(current):
    inside = keras.Sequential(
        [keras.Input(batch_shape=current.shape), LIF(**NEURON, stateful=True)]
    )
    outside = keras.Sequential(
        [
            keras.Input(batch_shape=current.shape),
            inside,
            keras.layers.GRU(2, return_sequences=True, stateful=True),
            LeakyIntegrator(stateful=True),
        ]
    )
    first = to_numpy(outside(current))
    assert (to_numpy(outside(current)) != first).any()
    reset_states(outside)
    np.testing.assert_array_equal(to_numpy(outside(current)), first)


def test_weights_of_another_number_are_refused():
    layer = RecurrentLIF(3)
    with pytest.raises(ValueError, match="0 weights .*not built.*: 1"):
        layer.load_own_variables({"0": np.ones((3, 3))})
    layer = LIF(**NEURON, learn=("k",))
    layer.build((None, 5, 3))
    with pytest.raises(ValueError, match="hold 1 weights for the layer"):
        layer.load_own_variables({"0": 0.0, "1": 0.0, "2": 0.0})
    with pytest.raises(ValueError, match="hold 1 weights .*Received: 0"):
        layer.load_own_variables({})
