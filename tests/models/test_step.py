"""Networks of one timestep against the whole sequence."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn import encoders, layers, step_model
from keras_snn.models import five_layer_snn

TIMESTEPS = 6
NEURONS = {
    "lif": layers.LIF,
    "cuba": layers.CubaLIF,
    "adaptive": lambda **kw: layers.AdaptiveLIF(
        rho=0.75, coupling=0.25, jump=0.5, **kw
    ),
    "recurrent": lambda **kw: layers.RecurrentLIF(5, **kw),
    "recurrent cuba": lambda **kw: layers.RecurrentCubaLIF(5, **kw),
    "learnt": lambda **kw: layers.LIF(learn=("k", "theta"), **kw),
    "per channel": lambda **kw: layers.LIF(
        **{**kw, "k": np.array([0.25, 0.5, 0.5, 0.75, 1.0])}
    ),
}


def drawn(rng, neurons=tuple(NEURONS)):
    """A random network of one to three layers of neurons."""
    inputs = x = keras.Input((TIMESTEPS, 4))
    for _ in range(rng.integers(1, 4)):
        dense = keras.layers.Dense(
            5, kernel_initializer=keras.initializers.RandomNormal(0, 2)
        )
        x = layers.PerTimestep(dense)(x) if rng.random() < 0.5 else dense(x)
        if rng.random() < 0.3:
            x = rng.choice([layers.TDBN(1.0), keras.layers.Dropout(0.5)])(x)
        kind = rng.choice(neurons)
        reset = str(rng.choice(["zero", "subtract", "none"]))
        x = NEURONS[kind](k=0.5, lam=0.5, reset=reset)(x)
    readout = rng.choice(["spikes", "mean", "potential"])
    if readout == "mean":
        mean = keras.layers.GlobalAveragePooling1D()(x)
        x = keras.layers.Dense(2)(mean)
    elif readout == "potential":
        x = layers.LeakyIntegrator()(keras.layers.Dense(2)(x))
    return keras.Model(inputs, x), readout


def assert_streams(model, x, average=False):
    """Steps of a model give what the model gives for the whole sequence."""
    whole = to_numpy(model.predict_on_batch(x))
    step = step_model(model)
    found = [
        to_numpy(y) for y in step.stream(x.swapaxes(0, 1), batch_size=len(x))
    ]
    if average:
        np.testing.assert_allclose(found[-1], whole, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(np.stack(found, 1), whole)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_stream(seed):
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    model, readout = drawn(rng)
    # Sums of these numbers are exact, so the order of addition is no matter.
    for weight in model.weights:
        if weight.name == "kernel" or weight.name == "recurrent_kernel":
            weight.assign(np.round(to_numpy(weight) * 4) / 4)
    x = (rng.integers(-8, 9, (3, TIMESTEPS, 4)) / 4).astype("float32")
    assert_streams(model, x, readout == "mean")


@pytest.mark.parametrize("encoder", ["constant", "poisson"])
@pytest.mark.parametrize("normalization", [None, "batch", "tdbn"])
def test_networks_of_images_stream(encoder, normalization, rng):
    model = five_layer_snn(
        (8, 8, 1),
        timesteps=TIMESTEPS,
        k=0.5,
        lam=1.0,
        encoder=encoder,
        normalization=normalization,
        seed=0,
    )
    for weight in model.weights:  # or nothing would reach the output
        if weight.name == "gamma":
            weight.assign(8 * to_numpy(weight))
    # Black and white pixels have no noise.
    x = (255 * rng.integers(0, 2, (3, 8, 8, 1))).astype("uint8")
    expected = model.predict_on_batch(x)
    *_, found = step_model(model).stream([x] * TIMESTEPS, 3)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-5, atol=1e-6)


def test_noise_differs_between_timesteps():
    inputs = keras.Input((50,))
    model = keras.Model(inputs, encoders.PoissonEncoder(3, seed=1)(inputs))
    gray = np.full((4, 50), 0.5, "float32")
    step = step_model(model)
    first, second = (to_numpy(step([gray])[0]) for _ in range(2))
    assert 0.3 < np.mean(first != second) < 0.7


def test_several_inputs_and_outputs_keep_their_order(rng):
    a, b = keras.Input((TIMESTEPS, 3), name="a"), keras.Input((TIMESTEPS, 3))
    x = keras.layers.Add()([layers.LIF()(a), layers.CubaLIF(lam=2.0)(b)])
    model = keras.Model([a, b], [x, layers.LeakyIntegrator()(x)])
    values = [
        (rng.integers(0, 33, (2, TIMESTEPS, 3)) / 4).astype("float32")
        for _ in "ab"
    ]
    wholes = model.predict_on_batch(values)
    pairs = ([v[:, t] for v in values] for t in range(TIMESTEPS))
    found = zip(*step_model(model).stream(pairs, 2), strict=True)
    for whole, each in zip(wholes, found, strict=True):
        np.testing.assert_array_equal(
            np.stack([to_numpy(y) for y in each], 1), whole
        )


def test_it_shares_the_weights():
    model, _ = drawn(np.random.default_rng(0), ("recurrent",))
    step = step_model(model)
    ours = {id(x) for x in step.weights}
    assert {id(x) for x in model.weights} <= ours


def test_a_file_brings_it_back(tmp_path, rng):
    model, _ = drawn(np.random.default_rng(3), ("recurrent", "learnt"))
    step = step_model(model)
    step.save(tmp_path / "step.keras")
    loaded = keras.models.load_model(tmp_path / "step.keras")
    x = rng.normal(size=(TIMESTEPS, 2, 4)).astype("float32")
    for ours, theirs in zip(
        step.stream(x, 2), loaded.stream(x, 2), strict=True
    ):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))


RUN = """
import sys
import numpy as np
import tensorflow as tf

saved = tf.saved_model.load(sys.argv[1])
data = np.load(sys.argv[2])
states = [data[name] for name in sorted(data) if name.startswith("s")]
outputs = []
for x in data["x"]:
    y, *states = saved.serve([x, *states])
    outputs.append(y)
assert "keras_snn" not in sys.modules
np.save(sys.argv[3], np.stack(outputs))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="TensorFlow's format"
)
def test_it_runs_exported_without_the_library(tmp_path, rng):
    model, _ = drawn(np.random.default_rng(3), ("recurrent", "cuba"))
    step = step_model(model)
    step.export(tmp_path / "saved", verbose=False)
    x = rng.normal(size=(TIMESTEPS, 2, 4)).astype("float32")
    states = {
        f"s{n:02}": to_numpy(s) for n, s in enumerate(step.initial_states(2))
    }
    np.savez(tmp_path / "data.npz", x=x, **states)
    names = ("saved", "data.npz", "out.npy")
    subprocess.run(
        [sys.executable, "-c", RUN, *(tmp_path / name for name in names)],
        check=True,
    )
    expected = np.stack([to_numpy(y) for y in step.stream(x, 2)])
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


@pytest.mark.parametrize(
    "layer",
    [
        layers.BNTT(TIMESTEPS),
        keras.layers.Reshape((TIMESTEPS, 2, 2)),
        keras.layers.LSTM(2),
        keras.layers.Softmax(axis=1),
        layers.LIF(go_backwards=True),
        layers.LIF(return_state=True),
        keras.layers.Lambda(lambda x: x[:, -1]),
    ],
    ids=lambda x: type(x).__name__,
)
def test_layers_that_need_all_timesteps_are_refused(layer):
    inputs = keras.Input((TIMESTEPS, 4))
    model = keras.Model(inputs, layer(inputs))
    with pytest.raises(ValueError, match=f"`{layer.name}` of type"):
        step_model(model)


def test_an_initial_state_is_refused():
    inputs = keras.Input(batch_shape=(2, TIMESTEPS, 4))
    start = keras.ops.ones((2, 4))
    model = keras.Model(inputs, layers.LIF()(inputs, initial_state=start))
    with pytest.raises(ValueError, match="of type LIF apart in time"):
        step_model(model)


def test_an_image_beside_a_sequence_is_refused():
    # Without the time axis, (batch, 1, 4) would broadcast over the batch.
    inputs = keras.Input((4,))
    sequence = encoders.ConstantEncoder(TIMESTEPS)(inputs)
    image = keras.layers.Reshape((1, 4))(inputs)
    model = keras.Model(inputs, keras.layers.Add()([sequence, image]))
    with pytest.raises(ValueError, match="apart in time"):
        step_model(model)


def test_the_last_spikes_are_those_of_each_timestep(rng):
    inputs = keras.Input((TIMESTEPS, 3))
    last = layers.LIF(lam=1.0, return_sequences=False)(inputs)
    model = keras.Model(inputs, keras.layers.Reshape((3, 1))(last))
    x = (rng.integers(-8, 33, (2, TIMESTEPS, 3)) / 8).astype("float32")
    *_, found = step_model(model).stream(x.swapaxes(0, 1), 2)
    expected = model.predict_on_batch(x)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(to_numpy(found), expected)


def test_inputs_may_have_any_name(rng):
    inputs = keras.Input((TIMESTEPS, 3), name="state_of_the_sensor")
    x = rng.normal(size=(2, TIMESTEPS, 3)).astype("float32")
    assert_streams(keras.Model(inputs, layers.LIF()(inputs)), x)
