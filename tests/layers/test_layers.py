"""`LIF` and its cell, against each other and against NumPy."""

import keras
import numpy as np
import pytest
import reference
from backend import gradients, to_numpy
from keras import ops

from keras_snn import dynamics
from keras_snn.layers import LIF, LIFRNNCell, PerTimestep

NEURON = {"k": 0.5, "lam": 0.5, "theta": 1.0}
RESETS = [(r, d) for r in dynamics.RESETS for d in (False, True)]


@pytest.fixture
def current(rng):
    """Sixteenths, exact in float32 through six halvings."""
    return (rng.integers(-16, 49, size=(4, 6, 3)) / 16).astype("float32")


def rnn(units=3, **kwargs):
    cell = {
        key: kwargs.pop(key)
        for key in ("surrogate", "reset", "detach_reset")
        if key in kwargs
    }
    kwargs.setdefault("return_sequences", True)
    return keras.layers.RNN(LIFRNNCell(units, **NEURON, **cell), **kwargs)


def assert_equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


@pytest.mark.parametrize(("reset", "detach_reset"), RESETS)
@pytest.mark.parametrize("surrogate", ["sigmoid", "tanh", "hardtanh", "arctan"])
def test_lif_equals_rnn_of_its_cell(
    current, rng, surrogate, reset, detach_reset
):
    choice = {
        "surrogate": surrogate,
        "reset": reset,
        "detach_reset": detach_reset,
    }
    fast = LIF(**NEURON, **choice, return_state=True)
    slow = rnn(**choice, return_state=True)
    outputs = [layer(current) for layer in (fast, slow)]
    assert_equal(*outputs)
    assert 0 < to_numpy(outputs[0][0]).mean() < 1

    cotangents = [
        rng.normal(size=output.shape).astype("float32") for output in outputs[0]
    ]
    ours, theirs = (
        gradients(layer, [current], cotangents)[0] for layer in (fast, slow)
    )
    # The same sums in another order of operations.
    error = np.linalg.norm(ours - theirs)
    assert error < 1e-6 * np.linalg.norm(theirs)


@pytest.mark.parametrize("k", [0.5, 1.0])
@pytest.mark.parametrize("make", [LIF, None], ids=["LIF", "cell"])
def test_layers_agree_with_the_numpy_reference(current, make, k):
    if make:
        layer = LIF(k, 0.5, 1.0, return_state=True)
    else:
        layer = keras.layers.RNN(
            LIFRNNCell(3, k, 0.5), return_sequences=True, return_state=True
        )
    expected = reference.lif(current, k=k, lam=0.5, theta=1.0)
    assert_equal(layer(current), expected)


def test_image_shaped_neurons_are_independent(current):
    spikes = LIF(**NEURON)(current.reshape(4, 6, 3, 1, 1))
    assert spikes.shape == (4, 6, 3, 1, 1)
    assert_equal([spikes[..., 0, 0]], [LIF(**NEURON)(current)])


def test_last_output_and_state_are_those_of_the_sequence(current):
    spikes, potential = LIF(**NEURON, return_state=True)(current)
    last, state = LIF(**NEURON, return_sequences=False, return_state=True)(
        current
    )
    assert_equal([last, state], [spikes[:, -1], potential])


def test_initial_state_is_where_it_starts(current, rng):
    start = (rng.integers(0, 16, size=(4, 3)) / 16).astype("float32")
    expected = reference.lif(current, **NEURON, potential=start)
    layer = LIF(**NEURON, return_state=True)
    assert_equal(layer(current, initial_state=start), expected)
    assert_equal(layer(current, initial_state=[start]), expected)
    # States start at zero at every call: nothing was left behind.
    assert_equal(layer(current), reference.lif(current, **NEURON))


def test_initial_state_can_be_an_input_of_a_functional_model(current, tmp_path):
    x, state = keras.Input((6, 3)), keras.Input((3,))
    model = keras.Model(
        [x, state], LIF(**NEURON, return_state=True)(x, initial_state=state)
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    start = np.full((4, 3), 0.5, "float32")
    expected = reference.lif(current, **NEURON, potential=start)
    for each in (model, loaded):
        assert_equal(each.predict([current, start], verbose=0), expected)


def test_stateful_chunks_equal_one_long_run(current):
    whole, _ = reference.lif(current, **NEURON)
    layer = LIF(**NEURON, stateful=True)
    for _ in range(2):
        chunks = [layer(current[:, i : i + 2]) for i in (0, 2, 4)]
        assert_equal([ops.concatenate(chunks, axis=1)], [whole])
        layer.reset_state()


def test_stateful_under_predict_carries_from_batch_to_batch(current):
    inputs = keras.Input(batch_shape=(4, 3, 3))
    model = keras.Model(inputs, LIF(**NEURON, stateful=True)(inputs))
    chunks = np.concatenate([current[:, :3], current[:, 3:]])
    whole, _ = reference.lif(current, **NEURON)
    predicted = model.predict(chunks, batch_size=4, verbose=0)
    assert_equal([predicted[:4], predicted[4:]], [whole[:, :3], whole[:, 3:]])


@pytest.mark.parametrize("return_sequences", [True, False])
def test_masks_act_as_in_keras_rnn(current, rng, return_sequences):
    mask = rng.random((4, 6)) < 0.6
    kwargs = {"return_sequences": return_sequences, "return_state": True}
    # Keras 3.15's loop on JAX takes the first state for the previous output of
    # a masked timestep; its unrolled loop does what is documented.
    slow = rnn(**kwargs, unroll=True)(current, mask=mask)
    fast = LIF(**NEURON, **kwargs)(current, mask=mask)
    assert_equal(fast, slow)
    spikes, potential = reference.lif(current, **NEURON, mask=mask)
    assert_equal(
        fast, [spikes if return_sequences else spikes[:, -1], potential]
    )


def test_a_mask_reaches_neurons_with_an_initial_state(current, tmp_path):
    padded = current.copy()
    padded[:, 4:] = padded[0, 1] = -9.0
    mask = (padded != -9.0).any(-1)
    start = np.full((4, 3), 0.5, "float32")
    inputs, state = keras.Input((6, 3)), keras.Input((3,))
    x = keras.layers.Masking(mask_value=-9.0)(inputs)
    layer = LIF(**NEURON, return_state=True)
    model = keras.Model([inputs, state], layer(x, initial_state=state))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = reference.lif(padded, **NEURON, potential=start, mask=mask)
    for each in (model, loaded):
        assert_equal(each.predict([padded, start], verbose=0), expected)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_held_outputs_are_nan_only_after_the_nan(current):
    mask = np.array([[1, 1, 0, 1, 0, 1]] * 4, bool)
    damaged = current.copy()
    damaged[0, 3, 0] = np.nan
    expected, _ = reference.lif(current, **NEURON, mask=mask)
    expected[0, 3:, 0] = np.nan
    found = LIF(**NEURON)(damaged, mask=ops.convert_to_tensor(mask))
    assert_equal([found], [expected])


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("make", ["LIF", "stateful LIF", "cell"])
@pytest.mark.usefixtures("double_precision")
def test_float64_is_computed_in_float64(current, rng, make, masked):
    # Float32 does not have these bits.
    current = current + 2.0**-40 * rng.integers(0, 8, size=current.shape)
    mask = rng.random((4, 6)) < 0.6 if masked else None
    options = {"return_state": True, "dtype": "float64"}
    if make == "cell":
        cell = LIFRNNCell(3, **NEURON, dtype="float64")
        layer = keras.layers.RNN(
            cell, return_sequences=True, unroll=True, **options
        )
    else:
        layer = LIF(**NEURON, stateful="stateful" in make, **options)
    call = {"mask": ops.convert_to_tensor(mask)} if masked else {}
    expected = reference.lif(current, **NEURON, mask=mask)
    for ours, theirs in zip(layer(current, **call), expected, strict=True):
        assert keras.backend.standardize_dtype(ours.dtype) == "float64"
        np.testing.assert_array_equal(ops.convert_to_numpy(ours), theirs)


def test_mask_goes_on_with_the_sequence(current, rng):
    mask = ops.convert_to_tensor(rng.random((4, 6)) < 0.6)
    x = keras.layers.Masking(mask_value=-9.0)(np.full_like(current, -9.0))
    for layer in (LIF(**NEURON), PerTimestep(keras.layers.Dense(2))):
        np.testing.assert_array_equal(
            to_numpy(layer.compute_mask(x, mask)), to_numpy(mask)
        )
    assert LIF(return_sequences=False).compute_mask(x, mask) is None
    both = LIF(return_state=True).compute_mask(x, mask)
    assert both[0] is mask
    assert both[1] is None


def test_layers_of_dynamic_batch_and_time_run(current):
    inputs = keras.Input((None, 3))
    x = PerTimestep(keras.layers.Dense(3, kernel_initializer="identity"))(
        inputs
    )
    model = keras.Model(inputs, LIF(**NEURON)(x))
    assert model.output_shape == (None, None, 3)
    expected, _ = reference.lif(current, **NEURON)
    for steps in (6, 4):
        predicted = model.predict(current[:, :steps], verbose=0)
        np.testing.assert_array_equal(predicted, expected[:, :steps])


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integer_currents_count_as_floats(dtype):
    current = np.ones((1, 4, 1), dtype)
    # u = 1/2, 3/4, 7/8, 15/16 under a current of 1 halved.
    expected = [0.0, 0.0, 1.0, 0.0]
    for layer in (
        LIF(0.5, 0.5, 0.8),
        keras.layers.RNN(LIFRNNCell(1, 0.5, 0.5, 0.8), return_sequences=True),
    ):
        spikes = layer(current)
        assert to_numpy(spikes).ravel().tolist() == expected
        assert keras.backend.standardize_dtype(spikes.dtype) == "float32"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_keeps_the_cell_and_the_carried_potential(policy, rng):
    current = 4 * rng.random((8, 40, 30)).astype("float32")
    whole = LIF(dtype=policy)(current)
    assert 0.1 < to_numpy(whole).mean() < 0.9
    slow = keras.layers.RNN(
        LIFRNNCell(30, dtype=policy), return_sequences=True, dtype=policy
    )
    assert_equal([slow(current)], [whole])
    layer = LIF(stateful=True, dtype=policy)
    chunks = [layer(current[:, :20]), layer(current[:, 20:])]
    assert_equal([ops.concatenate(chunks, axis=1)], [whole])
    layer = LIF(return_state=True, dtype=policy)
    first, potential = layer(current[:, :20])
    second, _ = layer(current[:, 20:], initial_state=potential)
    assert_equal([ops.concatenate([first, second], axis=1)], [whole])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_potentials_integrate_in_float32_under_half_precision(policy):
    # 1 - 0.999^n passes 0.9 after 2302 steps; increments of 1/1000 vanish in
    # half precision long before. 4096ths would be lost, too.
    current = np.ones((1, 2400, 1), "float16")
    layer = LIF(0.999, 0.001, 0.9, return_state=True, dtype=policy)
    spikes, potential = layer(current)
    n = int(np.ceil(np.log(0.1) / np.log(0.999)))
    fired = np.flatnonzero(to_numpy(spikes).ravel())
    assert abs(fired[0] + 1 - n) <= 1  # float32's rounding over 2300 steps
    assert keras.backend.standardize_dtype(potential.dtype) == "float32"


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (LIF, (2, 3)),
        (lambda: PerTimestep(keras.layers.Dense(2)), (2, 3)),
    ],
    ids=["LIF", "PerTimestep"],
)
def test_a_missing_time_axis_is_refused(make, shape):
    match = r"shape \(batch, timesteps, ...\). Received: shape=\("
    with pytest.raises(ValueError, match=match):
        make()(np.ones(shape, "float32"))
    with pytest.raises(ValueError, match=match):
        make()(keras.Input(shape[1:]))


def test_shapes_that_do_not_fit_are_refused(current):
    with pytest.raises(ValueError, match=r"`units=5` expects .* \(batch, 5\)"):
        rnn(units=5)(current)
    layer = LIF()
    layer(current)
    for state in (np.zeros((4, 2), "float32"), np.zeros((3, 4), "float32")):
        with pytest.raises(
            ValueError, match=r"`initial_state` must have shape .4, 3."
        ):
            layer(current, initial_state=state)
    with pytest.raises(ValueError, match="at least one timestep"):
        layer(current[:, :0])
    with pytest.raises(ValueError, match="`stateful=True` needs a fixed batch"):
        LIF(stateful=True)(keras.Input((6, 3)))
    with pytest.raises(ValueError, match=r"`mask` must have shape .4, 6.\."):
        layer(current, mask=np.ones((1, 6), bool))
    carried = LIF(stateful=True)
    carried(current)
    with pytest.raises(
        ValueError, match=r"`sequences` must have the batch size .* 4, .*: ba"
    ):
        carried(current[:2])
    with pytest.raises(ValueError, match=r"`sequences` must have shape .*, 3."):
        carried(current[..., :2])
    with pytest.raises(ValueError, match="`return_sequences` must be one of"):
        LIF(return_sequences="no")
    with pytest.raises(ValueError, match="`units` must be at least 1"):
        LIFRNNCell(0)


@pytest.mark.parametrize("make", [LIF, lambda **kw: LIFRNNCell(3, **kw)])
def test_impossible_neurons_are_refused(make):
    with pytest.raises(ValueError, match=r"`k` must be in \(0, 1\]"):
        make(k=1.01)
    with pytest.raises(ValueError, match="`reset` must be one of 'zero'"):
        make(reset="hard")


def test_an_empty_batch_goes_through(current):
    layer = LIF(**NEURON, return_state=True)
    spikes, potential = layer(current[:0])
    assert tuple(spikes.shape) == (0, 6, 3)
    assert tuple(potential.shape) == (0, 3)


@pytest.mark.parametrize("true", [1, 2, 0.5])
def test_whatever_is_not_zero_in_a_mask_is_true(current, true):
    layer = LIF(**NEURON)
    mask = np.arange(24).reshape(4, 6) % 3 > 0
    expected = layer(current, mask=ops.convert_to_tensor(mask))
    found = layer(current, mask=ops.convert_to_tensor(mask * true))
    np.testing.assert_array_equal(to_numpy(found), to_numpy(expected))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial_state": 0.0}, "`initial_state` must be one tensor.*0.0"),
        ({"initial_state": []}, r"`initial_state` must be one tensor.*\[\]"),
        ({"mask": [[True, True]]}, r"`mask` must have shape \(2, 3\)"),
    ],
)
def test_arguments_of_a_wrong_kind_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LIF()(ops.ones((2, 3, 4)), **options)


def test_a_mask_may_be_a_list():
    x = ops.ones((1, 3, 2))
    expected = LIF(lam=2.0)(x, mask=np.array([[True, False, True]]))
    found = LIF(lam=2.0)(x, mask=[[True, False, True]])
    np.testing.assert_array_equal(to_numpy(found), to_numpy(expected))


def test_integers_are_no_dtype_for_neurons():
    with pytest.raises(ValueError, match="`dtype` must be a float.*int32"):
        LIF(dtype="int32")
    with pytest.raises(ValueError, match="`dtype` must be a float.*int32"):
        LIFRNNCell(3, dtype="int32")
