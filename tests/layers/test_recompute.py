import keras
import numpy as np
import pytest
from backend import gradients, to_numpy

from keras_snn.layers import LIF, PerTimestep, Recompute, recompute

NEURON = {"k": 0.8, "lam": 0.5, "theta": 0.5}
MODES = {
    "graph": {"jit_compile": False},
    "eager": {"run_eagerly": True},
    "XLA": {"jit_compile": True},
}


def dense(units, seed):
    law = keras.initializers.RandomNormal(stddev=0.5, seed=seed)
    return PerTimestep(keras.layers.Dense(units, kernel_initializer=law))


def blocks(state):
    first = [dense(8, 1), LIF(**NEURON)]
    second = [dense(6, 2), LIF(**NEURON)]
    if state:
        first.insert(1, keras.layers.BatchNormalization())
        second.insert(1, keras.layers.Dropout(0.3, seed=3))
    return keras.Sequential(first), keras.Sequential(second)


def network(wrap, mode, state=False):
    inputs = x = keras.Input((5, 4))
    for block in blocks(state):
        x = wrap(block)(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    law = keras.initializers.RandomNormal(seed=4)
    model = keras.Model(
        inputs, keras.layers.Dense(2, kernel_initializer=law)(x)
    )
    model.compile("sgd", "mse", **mode)
    return model


def spikes(rows):
    rng = np.random.default_rng(0)
    return (rng.random((rows, 5, 4)) < 0.5).astype("float32")


def trained(model, rows=12, batch=8):
    # The last batch is of another size.
    y = np.random.default_rng(1).random((rows, 2))
    model.fit(
        spikes(rows), y, epochs=2, batch_size=batch, shuffle=False, verbose=0
    )
    found = {x.path.split("/", 1)[-1]: to_numpy(x) for x in model.weights}
    loss = model.evaluate(spikes(rows), y, batch_size=batch, verbose=0)
    return loss, sorted(found.values(), key=lambda x: (x.shape, x.sum()))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("parts", "rows"), [(1, 12), (4, 12), (4, 14)], ids=str
)
def test_training_is_the_same(mode, parts, rows):
    if mode == "XLA" and keras.config.backend() == "torch":
        pytest.skip("PyTorch has another compiler, which decides what to keep")
    if mode == "graph" and keras.config.backend() != "tensorflow":
        pytest.skip("without `jit_compile`, other backends run eagerly")
    mode, state = MODES[mode], parts == 1

    def wrap(block):
        return Recompute(block, spikes=True, parts=parts)

    loss, weights = trained(network(wrap, mode, state), rows)
    plain, expected = trained(network(lambda x: x, mode, state), rows)
    assert loss == pytest.approx(plain, rel=1e-5)
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("rows", "parts"), [(8, 4), (6, 3), (7, 1)])
def test_bytes_are_kept_and_go_through_in_parts(rows, parts):
    calls, kept = [], []
    weight = np.ones((4, 3), "float32")

    def function(x, weights):
        calls.append(x.shape[0])
        return [keras.ops.tanh(x @ weights[0])]

    def pack(x):
        kept.append(keras.ops.cast(x, "uint8"))
        return kept[-1]

    def unpack(x):
        return keras.ops.cast(x, "float32")

    backend = recompute._BACKENDS[keras.config.backend()]

    def run(x, w):
        return [
            recompute._in_parts(
                lambda part: backend(function, part, [w], pack, unpack)[0],
                x,
                4,
                keras.KerasTensor((None, 3)),
            )
        ]

    arrays = [spikes(rows)[:, 0], weight]
    cotangent = np.ones((rows, 3), "float32")
    found = gradients(run, arrays, [cotangent])
    assert {keras.backend.standardize_dtype(x.dtype) for x in kept} == {"uint8"}
    assert set(calls) == {rows // parts}
    assert len(calls) >= 2  # A traced loop calls it once per pass.
    expected = gradients(lambda x, w: function(x, [w]), arrays, [cotangent])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            to_numpy(ours), to_numpy(theirs), rtol=1e-5, atol=1e-6
        )


def test_state_that_changes_is_refused_in_parts():
    layer = Recompute(keras.layers.BatchNormalization(), parts=2)
    ones = np.ones((4, 3), "float32")
    assert tuple(layer(ones, training=False).shape) == (4, 3)
    with pytest.raises(ValueError, match="`parts` above 1 needs a layer"):
        layer(ones, training=True)


@pytest.mark.parametrize("parts", [1, 4])
def test_frozen_layers_train_save_and_load(parts, tmp_path):
    frozen = []

    def wrap(block):
        if not frozen:
            frozen.append(block.layers[0])
            block.layers[0].trainable = False
        return Recompute(block, spikes=True, parts=parts)

    model = network(wrap, MODES["graph"])
    y = np.random.default_rng(1).random((8, 2))
    before = [to_numpy(x) for x in model.non_trainable_weights]
    assert len(before) == 2
    # Kernel and bias of the other block; the readout may get no spikes.
    loose = [to_numpy(x) for x in model.trainable_weights[:2]]
    model.fit(spikes(8), y, verbose=0)
    for old, new in zip(before, model.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(old, to_numpy(new))
    assert all(
        (old != to_numpy(new)).any()
        for old, new in zip(loose, model.trainable_weights, strict=False)
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(spikes(8), verbose=0),
        model.predict(spikes(8), verbose=0),
    )


def test_activity_regularizers_are_refused():
    inner = PerTimestep(keras.layers.Dense(3, activity_regularizer="l1"))
    layer = Recompute(keras.Sequential([inner, LIF()]))
    with pytest.raises(ValueError, match="must have no activity regularizer"):
        layer(spikes(2))


class Penalty(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(keras.ops.mean(inputs))
        return inputs


@pytest.mark.parametrize("parts", [1, 2])
def test_losses_from_inside_are_refused(parts):
    layer = Recompute(keras.Sequential([LIF(), Penalty()]), parts=parts)
    with pytest.raises(ValueError, match="must not call `add_loss`"):
        layer(spikes(2))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"parts": 0}, ValueError),
        ({"parts": 1.5}, TypeError),
        ({"spikes": 2}, ValueError),
    ],
)
def test_bad_arguments_are_refused(arguments, error):
    with pytest.raises(error, match=rf"`{next(iter(arguments))}` must be"):
        Recompute(keras.layers.Dense(2), **arguments)


def test_it_saves_and_loads(tmp_path):
    model = network(
        lambda x: Recompute(x, spikes=True, parts=4), MODES["graph"]
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(spikes(8), verbose=0),
        model.predict(spikes(8), verbose=0),
    )


@pytest.mark.parametrize("parts", [1, 4])
def test_an_empty_batch_goes_through(parts):
    layer = Recompute(keras.Sequential([dense(3, 1), LIF()]), parts=parts)
    assert tuple(layer(spikes(0)).shape) == (0, 5, 3)


@pytest.mark.parametrize("wrap", [lambda x: x, PerTimestep], ids=["", "inside"])
def test_dropout_without_a_seed_drops_the_same_twice(wrap):
    # `PerTimestep.call` has no argument `training`.
    layer = Recompute(wrap(keras.layers.Dropout(0.5)))
    output = []

    def function(x):
        output.append(layer(x, training=True))
        return (output[0],)

    ones = np.ones((8, 5, 5), "float32")
    (gradient,) = gradients(function, [ones], [ones])
    # Of 2 x where it is kept: there the gradient is 2, at x = 1 the output.
    assert set(np.unique(gradient)) == {0, 2}
    if keras.config.backend() != "jax":  # where the output is but traced
        kept = to_numpy(keras.ops.stop_gradient(output[0]))
        np.testing.assert_array_equal(gradient, kept)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_layer_inside_computes_in_its_own_dtype(parts):
    inside = keras.layers.Dense(3, kernel_initializer="ones", dtype="float32")
    layer = Recompute(inside, parts=parts, dtype="mixed_float16")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layer(inputs))
    assert model.output.dtype == "float32"
    model.compile("sgd", "mse")
    thirds = np.full((8, 4), 1 / 3, "float32")
    found = model.predict(thirds, verbose=0)
    # Float16 would be off by 2e-4.
    np.testing.assert_allclose(found, 4 / 3, rtol=1e-6)
    model.fit(thirds, np.zeros((8, 3)), verbose=0)
    # The gradient of the mean of y^2 by each weight is 2 y x / 3.
    expected = 1 - 0.01 * 2 * (4 / 3) * (1 / 3) / 3
    kernel = to_numpy(inside.kernel)
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)
