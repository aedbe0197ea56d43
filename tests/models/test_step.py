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


def recurrent_network():
    """Two layers of neurons, the last with a recurrent kernel."""
    inputs = keras.Input((TIMESTEPS, 4))
    start = keras.initializers.RandomNormal(0, 2, seed=1)
    x = keras.layers.Dense(5, kernel_initializer=start)(inputs)
    x = layers.CubaLIF(k=0.5, lam=0.5, learn=("alpha",))(x)
    x = keras.layers.Dense(5, kernel_initializer=start)(x)
    x = layers.RecurrentLIF(5, k=0.5, lam=0.5)(x)
    return keras.Model(inputs, layers.LeakyIntegrator()(x))


def assert_streams(model, x):
    """Steps of a model give what the model gives for the whole sequence."""
    # Not by `predict`: a compiled graph may round otherwise.
    whole = to_numpy(model(x))
    step = step_model(model)
    found = [to_numpy(y) for y in step.stream(x.swapaxes(0, 1))]
    assert np.ptp(whole) > 0
    np.testing.assert_array_equal(np.stack(found, 1), whole)


def quarters(rng, shape):
    """Sums of these are exact, so the order of addition does not matter."""
    return (rng.integers(-4, 9, shape) / 4).astype("float32")


def neurons(**options):
    return layers.LIF(k=0.5, lam=1.0, **options)


def inner(name="inner"):
    inputs = keras.Input((TIMESTEPS, 4))
    return keras.Model(inputs, neurons(name="lif")(inputs), name=name)


@pytest.mark.parametrize("wrap", [lambda x: x, layers.Recompute])
def test_models_inside_stream(rng, wrap):
    inputs = keras.Input((TIMESTEPS, 4))
    # Layers in different models may have the same name.
    first, second = wrap(inner("first")), wrap(inner("second"))
    # Used twice, a model has states for each.
    x = first(inputs) + second(inputs + first(2.0 * inputs))
    assert_streams(keras.Model(inputs, x), quarters(rng, (3, TIMESTEPS, 4)))


def test_a_model_inside_may_take_and_return_several_tensors(rng):
    a, b = (keras.Input((TIMESTEPS, 4), name=name) for name in "ab")
    mean = keras.layers.GlobalAveragePooling1D()(b)
    block = keras.Model({"a": a, "b": b}, [neurons()(a - b), mean])
    inputs = keras.Input((TIMESTEPS, 4))
    spikes, mean = block({"a": inputs, "b": neurons()(inputs)})
    model = keras.Model(inputs, [spikes, keras.layers.Dense(2)(mean)])
    x = quarters(rng, (3, TIMESTEPS, 4))
    whole = [to_numpy(y) for y in model.predict_on_batch(x)]
    spikes, means = zip(
        *step_model(model).stream(x.swapaxes(0, 1)), strict=True
    )
    spikes = np.stack([to_numpy(y) for y in spikes], 1)
    np.testing.assert_array_equal(spikes, whole[0])
    # The mean of six timesteps is rounded.
    np.testing.assert_allclose(to_numpy(means[-1]), whole[1], rtol=1e-5)


def test_sequential_models_stream(rng):
    block = keras.Sequential([keras.Input((TIMESTEPS, 4)), neurons()])
    model = keras.Sequential([keras.Input((TIMESTEPS, 4)), block, neurons()])
    assert_streams(model, quarters(rng, (3, TIMESTEPS, 4)))


def test_layers_inside_wrappers_may_have_the_same_name(rng):
    x = inputs = keras.Input((TIMESTEPS, 4))
    for _ in "ab":
        dense = keras.layers.Dense(4, kernel_initializer="ones", name="dense")
        x = neurons()(layers.PerTimestep(dense)(x))
    assert_streams(keras.Model(inputs, x), quarters(rng, (3, TIMESTEPS, 4)))


def test_bntt_streams_and_then_keeps_its_last_weights(rng):
    inputs = keras.Input((TIMESTEPS, 3, 4))
    bntt = layers.BNTT(TIMESTEPS, axis=2, epsilon=0.25)
    model = keras.Model(inputs, bntt(inputs))
    gamma = 2.0 ** rng.integers(-1, 2, (TIMESTEPS, 3))
    mean = quarters(rng, (TIMESTEPS, 3))
    bntt.set_weights([gamma, mean, np.full_like(mean, 3.75)])
    x = quarters(rng, (2, TIMESTEPS, 3, 4))
    assert_streams(model, x)
    frames = [*x.swapaxes(0, 1), x[:, 0]]
    *_, beyond = step_model(model).stream(frames)
    expected = (x[:, 0] - mean[-1, :, None]) / 2 * gamma[-1, :, None]
    np.testing.assert_allclose(to_numpy(beyond), expected, rtol=1e-6)


@pytest.mark.parametrize("encoder", ["constant", "poisson"])
@pytest.mark.parametrize("normalization", [None, "batch", "bntt", "tdbn"])
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
    *_, found = step_model(model).stream([x] * TIMESTEPS)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-5, atol=1e-6)


def test_noise_differs_between_timesteps():
    inputs = keras.Input((50,))
    model = keras.Model(inputs, encoders.PoissonEncoder(3, seed=1)(inputs))
    gray = np.full((4, 50), 0.5, "float32")
    step = step_model(model)
    first, second = (to_numpy(step([gray])[0]) for _ in range(2))
    assert 0.3 < np.mean(first != second) < 0.7


def test_a_model_used_twice_is_saved_and_loaded(tmp_path, rng):
    inside = keras.Sequential(
        [keras.Input((TIMESTEPS, 4)), keras.layers.Dense(5), neurons()]
    )
    inputs = keras.Input((TIMESTEPS, 4))
    model = keras.Model(inputs, inside(inputs) - inside(inputs * 0.5))
    step = step_model(model)
    step.save(tmp_path / "step.keras")
    loaded = keras.models.load_model(tmp_path / "step.keras")
    x = 4 * quarters(rng, (TIMESTEPS, 2, 4))
    for one, other in zip(step.stream(x), loaded.stream(x), strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))
    assert_streams(model, x.swapaxes(0, 1))


def test_a_permutation_of_features_streams(rng):
    inputs = keras.Input((TIMESTEPS, 4, 3))
    x = keras.layers.Permute((1, 3, 2))(inputs)
    model = keras.Model(inputs, neurons()(x))
    assert_streams(model, 2 * quarters(rng, (2, TIMESTEPS, 4, 3)))


def test_a_slice_of_time_is_refused():
    inputs = keras.Input((TIMESTEPS, 4))
    model = keras.Model(inputs, neurons()(inputs)[:, -1])
    with pytest.raises(ValueError, match="apart in time"):
        step_model(model)


def test_a_network_without_states_streams(rng):
    inputs = keras.Input((TIMESTEPS, 4))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    x = quarters(rng, (1, TIMESTEPS, 4))
    found = [to_numpy(y) for y in step_model(model).stream(x.swapaxes(0, 1))]
    expected = to_numpy(model(x))
    np.testing.assert_allclose(np.stack(found, 1), expected, rtol=1e-6)


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
    found = zip(*step_model(model).stream(pairs), strict=True)
    for whole, each in zip(wholes, found, strict=True):
        np.testing.assert_array_equal(
            np.stack([to_numpy(y) for y in each], 1), whole
        )


def test_it_shares_the_weights():
    model = recurrent_network()
    step = step_model(model)
    ours = {id(x) for x in step.weights}
    assert {id(x) for x in model.weights} <= ours


def test_a_file_brings_it_back(tmp_path, rng):
    x = keras.layers.Identity()(inputs := keras.Input((TIMESTEPS, 4)))
    x = layers.BNTT(TIMESTEPS)(recurrent_network()(x))
    step = step_model(keras.Model(inputs, neurons()(x)))
    step.save(tmp_path / "step.keras")
    loaded = keras.models.load_model(tmp_path / "step.keras")
    x = rng.normal(size=(TIMESTEPS, 2, 4)).astype("float32")
    for ours, theirs in zip(step.stream(x), loaded.stream(x), strict=True):
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
    step = step_model(recurrent_network())
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
    expected = np.stack([to_numpy(y) for y in step.stream(x)])
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


class DenseWithoutMean(keras.layers.Dense):
    """A layer of the user, made from one of Keras's."""

    def call(self, inputs):
        y = super().call(inputs)
        return y - keras.ops.mean(y, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.BatchNormalization(axis=1),
        keras.layers.GlobalAveragePooling1D(keepdims=True),
        keras.layers.GlobalAveragePooling1D(data_format="channels_first"),
        keras.layers.Masking(),
        keras.layers.Reshape((TIMESTEPS, 2, 2)),
        keras.layers.LSTM(2),
        keras.layers.Softmax(axis=1),
        layers.Recompute(keras.layers.LSTM(2)),
        layers.UnfoldTime(2),
        layers.LIF(go_backwards=True),
        layers.LIF(return_state=True),
        keras.layers.Lambda(lambda x: x[:, -1]),
        DenseWithoutMean(4),
        keras.layers.Activation(lambda x: keras.ops.cumsum(x, 1)),
        keras.layers.Rescaling(np.ones((TIMESTEPS, 4))),
    ],
    ids=lambda x: type(x).__name__,
)
def test_layers_that_need_all_timesteps_are_refused(layer):
    inputs = keras.Input((TIMESTEPS, 4))
    model = keras.Model(inputs, layer(inputs))
    name = getattr(layer, "layer", layer).name
    with pytest.raises(ValueError, match=f"`{name}` of type"):
        step_model(model)


class OfOwnCode(keras.Model):
    """A model without a graph."""

    def __init__(self):
        super().__init__()
        self.neurons = neurons()

    def call(self, inputs):
        return self.neurons(inputs)


def test_models_without_a_graph_are_refused():
    message = "`model` must be a functional model or a built `Sequential`"
    for model in (OfOwnCode(), keras.Sequential([neurons()])):
        with pytest.raises(ValueError, match=message):
            step_model(model)
    inputs = keras.Input((TIMESTEPS, 4))
    model = keras.Model(inputs, OfOwnCode()(inputs))
    with pytest.raises(ValueError, match="of type OfOwnCode apart in time"):
        step_model(model)


@pytest.mark.parametrize(
    "join",
    [
        keras.layers.Concatenate(axis=1),
        keras.layers.Concatenate(axis=-2),
        # `Add` would broadcast the timesteps of the one with an axis of the
        # other.
        lambda x: keras.layers.Add()(
            [x[0], layers.PerTimestep(keras.layers.Reshape((1, 4)))(x[1])]
        ),
        lambda x: x[0] * np.ones((TIMESTEPS, 4), "float32"),
    ],
)
def test_sums_over_the_time_axis_are_refused(join):
    inputs = keras.Input((TIMESTEPS, 4))
    model = keras.Model(inputs, join([inputs, inputs]))
    with pytest.raises(ValueError, match="apart in time"):
        step_model(model)


def test_an_encoder_of_the_last_spikes_is_refused():
    # It would encode the spikes of every timestep instead.
    image, sequence = keras.Input((4,)), keras.Input((TIMESTEPS, 4))
    encoder = encoders.ConstantEncoder(TIMESTEPS)
    last = neurons(return_sequences=False)(encoder(image))
    model = keras.Model(image, neurons()(encoder(last)))
    with pytest.raises(ValueError, match=f"`{encoder.name}` of type"):
        step_model(model)
    # Of two inputs, one would be an image and the other a sequence.
    x = keras.layers.Add()([encoder(image), neurons()(sequence)])
    with pytest.raises(ValueError, match="of type LIF apart in time"):
        step_model(keras.Model([image, sequence], x))


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
    *_, found = step_model(model).stream(x.swapaxes(0, 1))
    expected = model.predict_on_batch(x)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(to_numpy(found), expected)


def test_inputs_may_have_any_name(rng):
    inputs = keras.Input((TIMESTEPS, 3), name="state_of_the_sensor")
    x = rng.normal(size=(2, TIMESTEPS, 3)).astype("float32")
    assert_streams(keras.Model(inputs, neurons()(inputs)), x)
