"""Layers of neurons beyond LIF, learnt constants, and constants per channel."""

import dual
import keras
import numpy as np
import pytest
import reference
from backend import to_numpy
from keras import ops

from keras_snn import layers

CUBA = {"k": 0.5, "lam": 0.5, "theta": 1.0, "alpha": 0.5}
ADAPTIVE = {
    "k": 0.5,
    "lam": 0.5,
    "theta": 1.0,
    "rho": 0.5,
    "coupling": 0.25,
    "jump": 0.5,
}
PAIRS = {
    "cuba": (layers.CubaLIF, layers.CubaLIFCell, CUBA),
    "adaptive": (layers.AdaptiveLIF, layers.AdaptiveLIFCell, ADAPTIVE),
}
RECURRENT = {
    "lif": (layers.RecurrentLIF, {"k": 0.5, "lam": 0.5, "theta": 1.0}),
    "cuba": (layers.RecurrentCubaLIF, CUBA),
    "adaptive": (layers.RecurrentAdaptiveLIF, ADAPTIVE),
}


@pytest.fixture
def current(rng):
    return (rng.integers(-16, 49, size=(4, 6, 3)) / 16).astype("float32")


@pytest.mark.parametrize("name", PAIRS)
def test_a_layer_equals_the_rnn_of_its_cell(name, current):
    layer, cell, constants = PAIRS[name]
    options = {"return_sequences": True, "return_state": True}
    ours = layer(**constants, **options)(current)
    theirs = keras.layers.RNN(cell(3, **constants), **options)(current)
    assert len(ours) == len(theirs) == 3
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(to_numpy(x), to_numpy(y))


def test_leaky_integrator_equals_the_rnn_of_its_cell(current):
    constants = {"k": 0.5, "lam": 0.25}
    ours = layers.LeakyIntegrator(**constants)(current)
    cell = layers.LeakyIntegratorCell(3, **constants)
    theirs = keras.layers.RNN(cell, return_sequences=True)(current)
    np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))


CELLS = {
    "lif": layers.LIFRNNCell,
    "cuba": layers.CubaLIFCell,
    "adaptive": layers.AdaptiveLIFCell,
}


@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
@pytest.mark.parametrize("name", CELLS)
def test_every_neuron_of_a_cell_may_have_its_own_constants(
    name, reset, current
):
    _, shared = RECURRENT[name]
    constants = {x: y * np.array([1, 0.5, 0.75]) for x, y in shared.items()}
    cell = CELLS[name](3, **constants, reset=reset)
    options = {"return_sequences": True, "return_state": True}
    spikes, *states = keras.layers.RNN(cell, **options)(current)
    expected, final = dual.simulate(
        list(current.swapaxes(0, 1)),
        [np.zeros((4, 3)) for _ in states],
        constants,
        lambda x: reference.DERIVATIVE["arctan"](x, 2.0),
        reset=reset,
    )
    fired = np.stack([x.value for x in expected], 1)
    assert 0 < fired.mean() < 1
    np.testing.assert_array_equal(to_numpy(spikes), fired)
    for ours, theirs in zip(states, final, strict=True):
        np.testing.assert_allclose(to_numpy(ours), theirs.value, rtol=1e-6)


def test_every_integrator_of_a_cell_may_have_its_own_constants(current):
    k, lam = np.array([0.5, 0.25, 1.0]), np.array([0.25, 0.5, 1.0])
    cell = layers.LeakyIntegratorCell(3, k=k, lam=lam)
    found = keras.layers.RNN(cell, return_sequences=True)(current)
    potential = np.zeros((4, 3))
    for t, now in enumerate(current.swapaxes(0, 1)):
        potential = k * potential + lam * now
        np.testing.assert_array_equal(to_numpy(found)[:, t], potential)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.RNN(layers.LIFRNNCell(3)),
        keras.layers.RNN(layers.RecurrentCell(layers.LIFRNNCell(3))),
        layers.RecurrentLIF(3),
        layers.LIF(k=[0.5, 0.25, 0.5]),
    ],
    ids=["cell", "recurrent cell", "recurrent", "arrays"],
)
@pytest.mark.parametrize("features", [1, 5])
def test_shapes_are_checked_after_the_first_call_too(layer, features, current):
    layer(current)
    wrong = "`inputs` must have shape|incompatible with the layer|`k` must be"
    with pytest.raises(ValueError, match=wrong):
        layer(np.ones((4, 6, features), "float32"))


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layer_equals_the_rnn_of_its_cell(name, current, rng):
    make, constants = RECURRENT[name]
    kernel = (rng.integers(-8, 9, (3, 3)) / 8).astype("float32")
    fixed = keras.initializers.Constant(kernel)
    options = {"return_sequences": True, "return_state": True}
    ours = make(3, **constants, recurrent_initializer=fixed, **options)(current)
    cell = layers.RecurrentCell(CELLS[name](3, **constants), fixed)
    theirs = keras.layers.RNN(cell, **options)(current)
    assert len(ours) == len(theirs)
    assert 0 < to_numpy(ours[0]).mean() < 1
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(to_numpy(x), to_numpy(y))


def test_recurrent_cell_takes_cells_of_neurons():
    with pytest.raises(TypeError, match="`cell` must be a LIFRNNCell"):
        layers.RecurrentCell(keras.layers.GRUCell(3))


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_recurrent_neurons_are_the_definition(name, masked, current, rng):
    make, constants = RECURRENT[name]
    layer = make(3, **constants, return_state=True)
    layer.zero_output_for_mask = True
    layer.build((4, 6, 3))
    kernel = (rng.integers(-8, 9, (3, 3)) / 8).astype("float32")
    layer.set_weights([kernel])
    mask = rng.random((4, 6)) < 0.7 if masked else None
    spikes, *states = layer(
        current, mask=None if mask is None else ops.convert_to_tensor(mask)
    )
    expected, final = dual.simulate(
        list(current.swapaxes(0, 1)),
        [np.zeros((4, 3)) for _ in states],
        constants,
        lambda x: reference.DERIVATIVE["arctan"](x, 2.0),
        mask=mask,
        recurrent=kernel,
    )
    fired = np.stack([x.value for x in expected], 1)
    assert 0 < fired.mean() < 1
    np.testing.assert_array_equal(to_numpy(spikes), fired)
    for ours, theirs in zip(states, final, strict=True):
        np.testing.assert_allclose(to_numpy(ours), theirs.value, rtol=1e-6)


@pytest.mark.parametrize("name", RECURRENT)
def test_stateful_recurrent_chunks_are_the_whole_sequence(name, current):
    make, constants = RECURRENT[name]
    whole = make(3, **constants)
    expected = to_numpy(whole(current))
    chunks = make(3, **constants, stateful=True)
    chunks.build((4, 3, 3))
    chunks.set_weights(whole.get_weights())
    found = [to_numpy(chunks(current[:, x : x + 3])) for x in (0, 3)]
    np.testing.assert_array_equal(np.concatenate(found, 1), expected)
    assert [x.name for x in chunks.states][-1] == "spikes"


def test_recurrent_neurons_work_in_bidirectional(current):
    both = keras.layers.Bidirectional(layers.RecurrentLIF(3))(current)
    assert tuple(both.shape) == (4, 6, 6)


def test_recurrent_neurons_start_by_the_law_of_both_inputs():
    layer = layers.RecurrentLIF(200, k=0.5, lam=0.25, theta=2.0)
    keras.utils.set_random_seed(0)
    layer.build((None, None, 200))
    (kernel,) = layer.get_weights()
    # N(0, 2 theta^2 / (lam^2 fan_in)), with as many inputs from outside.
    expected = 2**0.5 * 2.0 / 0.25 / 400**0.5
    assert kernel.std() == pytest.approx(expected, rel=0.02)
    assert abs(kernel.mean()) < 0.02 * expected


@pytest.mark.parametrize("learn", [(), ("k", "lam", "theta")])
def test_constants_per_channel_are_those_of_separate_neurons(learn, rng):
    current = (rng.integers(-16, 49, (2, 8, 4, 5, 3)) / 16).astype("float32")
    ks, lams, thetas = (
        np.array(x) for x in ([0.5, 0.25, 0.125], [0.5, 1, 2], [1, 0.5, 0.75])
    )
    layer = layers.LIF(ks, lams, thetas, learn=learn)
    found = to_numpy(layer(current))
    if learn:  # A logit and a logarithm round.
        ks, lams, thetas = layer.k, layer.lam, layer.theta
        fixed = layers.LIF(ks, lams, thetas)(current)
        np.testing.assert_array_equal(found, to_numpy(fixed))
        return
    for channel, constants in enumerate(zip(ks, lams, thetas, strict=True)):
        expected, _ = reference.lif(current[..., channel], *constants)
        np.testing.assert_array_equal(found[..., channel], expected)


def test_constants_per_channel_fit_images_of_another_size(rng):
    layer = layers.LIF(k=[0.5, 0.25], lam=1.0)
    for size in (4, 2):
        x = (rng.integers(-16, 49, (1, 5, size, size, 2)) / 16).astype(
            "float32"
        )
        found = to_numpy(layer(x))
        for channel, k in enumerate((0.5, 0.25)):
            expected, _ = reference.lif(x[..., channel], k, 1.0, 1.0)
            np.testing.assert_array_equal(found[..., channel], expected)


def trained(layer, current, steps=30):
    inputs = keras.Input(current.shape[1:])
    outputs = keras.layers.GlobalAveragePooling1D()(layer(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.1), "mse")
    target = np.full((len(current), current.shape[2]), 0.6, "float32")
    history = model.fit(current, target, epochs=steps, verbose=0)
    return model, history.history["loss"]


def test_learnt_constants_train_within_their_range(current, tmp_path):
    layer = layers.LIF(0.75, 0.25, 1.0, learn=("k", "lam", "theta"))
    model, losses = trained(layer, current)
    assert losses[-1] < losses[0] / 2
    assert 0 < layer.k < 1
    assert layer.lam > 0
    assert layer.theta > 0
    values = layer.k, layer.lam, layer.theta
    assert all(
        abs(x - y) > 0.01 for x, y in zip(values, (0.75, 0.25, 1), strict=True)
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = loaded.layers[1]
    assert (again.k, again.lam, again.theta) == values
    # The config has the values at the start.
    assert again.get_config()["k"] == 0.75
    np.testing.assert_array_equal(
        loaded.predict(current, verbose=0), model.predict(current, verbose=0)
    )


def test_learn_accepts_a_single_name(current):
    layer = layers.CubaLIF(learn="alpha")
    layer(current)
    assert [x.name for x in layer.trainable_weights] == ["alpha"]
    assert layer.alpha == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: layers.LIF(learn=("tau",)), "`learn` must be"),
        (lambda: layers.LIF(learn=True), "`learn` must be a list of names"),
        (lambda: layers.LIF(k=1.0, learn=("k",)), r"`k` must be in \(0, 1\)"),
        (lambda: layers.CubaLIF(alpha=1.5), r"`alpha` must be in \[0, 1\]"),
        (
            lambda: layers.AdaptiveLIF(jump="x"),
            "`jump` must be a finite number",
        ),
        (lambda: layers.AdaptiveLIF(jump=np.inf), "`jump` must be finite"),
        (lambda: layers.LIF(k=[0.5, 1.5]), "`k` must be in"),
        (lambda: layers.LIF(k=["a"]), "`k` must be a number or an array"),
        (lambda: layers.LIF(k=[]), "`k` must be a number or an array"),
        (lambda: layers.LIF(k=[0.5, 0.25])(np.ones((1, 2, 3))), "broadcasts"),
        (lambda: layers.RecurrentLIF(0), "`units` must be"),
        (lambda: layers.RecurrentLIF(4)(np.ones((1, 2, 3))), "shape"),
        (
            lambda: layers.RecurrentLIF(3, k=[0.5] * 3)(np.ones((1, 2, 3))),
            "`recurrent_initializer` must be given",
        ),
        (
            lambda: layers.CubaLIF()(
                np.ones((1, 2, 3)), initial_state=np.ones((1, 3))
            ),
            "a list of 2 tensors: potential, synaptic_current",
        ),
    ],
)
def test_wrong_arguments_are_refused(make, why):
    with pytest.raises((TypeError, ValueError), match=why):
        make()
