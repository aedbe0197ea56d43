import os
import shutil
import subprocess
import sys

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


# What Keras and PyTorch's compiler say of each other.
compiling = pytest.mark.filterwarnings(
    "ignore:`torch.jit:DeprecationWarning", "ignore:Dynamo detected a call"
)


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


@compiling
@pytest.mark.parametrize("jit_compile", [True, False])
@pytest.mark.parametrize("run_eagerly", [True, False])
def test_training_modes_take_the_same_step(current, jit_compile, run_eagerly):
    if run_eagerly and jit_compile:
        pytest.skip("Keras refuses the combination")
    if keras.config.backend() == "torch" and jit_compile:
        needs_a_compiler()

    def trained(**kwargs):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((6, 3))
        x = PerTimestep(keras.layers.Dense(8))(inputs)
        x = LIF(**NEURON)(4 * x)
        model = keras.Model(inputs, keras.layers.Dense(1)(x))
        model.compile("sgd", "mse", **kwargs)
        model.fit(current, np.ones((4, 6, 1)), epochs=2, verbose=0)
        return model.get_weights()

    ours = trained(jit_compile=jit_compile, run_eagerly=run_eagerly)
    for a, b in zip(ours, trained(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: keras.layers.Dense(5), (2, 6, 3)),
        (lambda: keras.layers.Conv2D(4, 3), (2, 6, 8, 8, 3)),
        (lambda: keras.layers.AveragePooling2D(2), (2, 6, 8, 8, 3)),
        (lambda: keras.layers.Flatten(), (2, 6, 8, 8, 3)),
    ],
    ids=["dense", "conv", "pool", "flatten"],
)
def test_per_timestep_is_time_distributed(rng, layer, shape):
    x = rng.random(shape).astype("float32")
    inner = layer()
    ours = PerTimestep(inner)(x)
    theirs = keras.layers.TimeDistributed(inner)(x)
    assert ours.shape == theirs.shape
    # One convolution of 12 samples against 6 of 2: sums in another order.
    np.testing.assert_allclose(
        to_numpy(ours), to_numpy(theirs), rtol=1e-5, atol=1e-6
    )


def test_per_timestep_passes_the_training_flag():
    layer = PerTimestep(keras.layers.Dropout(0.5))
    x = np.ones((2, 3, 100), "float32")
    assert to_numpy(layer(x, training=False)).min() == 1
    assert to_numpy(layer(x, training=True)).min() == 0


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
        ValueError, match=r"`sequences` must have shape .4, 6, 3."
    ):
        carried(current[:2])
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


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="TensorFlow's graph"
)
def test_only_the_neurons_are_compiled_by_xla():
    import tensorflow as tf

    inputs = keras.Input((6, 8, 8, 1))
    x = PerTimestep(keras.layers.Conv2D(2, 3))(inputs)
    model = keras.Model(inputs, LIF(**NEURON)(x))
    spec = tf.TensorSpec((4, 6, 8, 8, 1), "float32")
    graph = tf.function(model).get_concrete_function(spec).graph
    # Whatever is at the top is TensorFlow's own, on oneDNN or cuDNN.
    assert "Conv2D" in {op.type for op in graph.get_operations()}
    functions = graph.as_graph_def().library.function
    compiled = [f for f in functions if f.attr["_XlaMustCompile"].b]
    assert compiled
    for function in compiled:
        assert not [n for n in function.node_def if "Conv" in n.op]


# Devices can be set up only before a backend has started: two processes.
TRAINED = """
import contextlib
import keras
import numpy as np
from keras_snn.layers import LIF, PerTimestep


def trained(scope=contextlib.nullcontext()):
    keras.utils.set_random_seed(0)
    with scope:
        inputs = keras.Input((6, 3))
        x = PerTimestep(keras.layers.Dense(8))(inputs)
        x = LIF(0.5, 0.5, 1.0)(4 * x)
        model = keras.Model(inputs, keras.layers.Dense(1)(x))
        model.compile("sgd", "mse")
    x = np.random.default_rng(0).random((8, 6, 3)).astype("float32")
    before = model.get_weights()
    model.fit(x, x[..., :1], epochs=2, verbose=0)
    return before, model.get_weights()
"""
ON_TWO = {
    "tensorflow": """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
before, one = trained()
both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert both.num_replicas_in_sync == 2
_, two = trained(both.scope())
""",
    "jax": """
before, one = trained()
devices = keras.distribution.list_devices()
assert len(devices) == 2
parallel = keras.distribution.DataParallel(devices=devices)
keras.distribution.set_distribution(parallel)
_, two = trained()
""",
}
SAME = """
for a, b, c in zip(two, one, before, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert abs(b - c).max() > 1e-4
"""


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() not in ON_TWO,
    reason="Keras distributes on TensorFlow and JAX",
)
def test_two_devices_take_the_step_of_one():
    code = TRAINED + ON_TWO[keras.config.backend()] + SAME
    flags = "--xla_force_host_platform_device_count=2"
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=os.environ | {"XLA_FLAGS": flags},
    )


@compiling
@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch's compiler"
)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_torch_compile_breaks_nothing_and_changes_no_spike(current, masked):
    import torch

    needs_a_compiler()
    layer = LIF(k=0.8, lam=0.7, theta=1.0, return_state=True)
    layer.build(current.shape)
    mask = torch.arange(6).expand(4, 6) != 2 if masked else None

    def step(layer):
        x = torch.tensor(current, requires_grad=True)
        spikes, potential = layer(x, mask=mask)
        (spikes * x.detach()).sum().backward()
        return [t.detach().numpy() for t in (spikes, potential, x.grad)]

    # `fullgraph` refuses to run anything outside the compiled graph.
    compiled = step(torch.compile(layer, fullgraph=True))
    eager = step(layer)
    assert 0 < eager[0].mean() < 1
    for ours, theirs in zip(compiled, eager, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def needs_a_compiler():
    if not any(map(shutil.which, ("g++", "clang++"))):
        pytest.skip("PyTorch compiles with a C++ compiler, of which is none")


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="TensorFlow's graph"
)
def test_per_timestep_keeps_the_static_shape_of_a_graph():
    import tensorflow as tf

    layer = PerTimestep(keras.layers.Dense(2))
    layer.build((None, 5, 3))
    graph = tf.function(layer).get_concrete_function(
        tf.TensorSpec((None, 5, 3), "float32")
    )
    assert graph.structured_outputs.shape.as_list() == [None, 5, 2]


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
