"""Networks exported to SavedModel, LiteRT and ONNX, and run there."""

import functools

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn import datasets, dynamics, layers, step_model
from keras_snn.models import PortableModel, five_layer_snn

BACKEND = keras.config.backend()
TIMESTEPS = 4
SAMPLES = 100
ENDINGS = {"tf_saved_model": "", "litert": ".tflite", "onnx": ".onnx"}
# The converters warn about the packages that they use.
pytestmark = pytest.mark.filterwarnings("ignore")

# On JAX, the converter to ONNX is `jax2onnx`, which these tests do not cover.
formats = pytest.mark.parametrize(
    "format",
    {"tensorflow": list(ENDINGS), "torch": ["onnx"]}.get(
        BACKEND,
        [pytest.param("", marks=pytest.mark.skip("no format on JAX"))],
    ),
)
onnx_only = pytest.mark.skipif(
    BACKEND not in ("tensorflow", "torch"), reason="no ONNX on JAX"
)


def exported(model, path, format):
    """Exports a model, and returns a function that runs the file.

    It maps a list of inputs to the list of outputs, as the model does.
    """
    for package in {
        "litert": ["ai_edge_litert"],
        "onnx": [
            "onnxruntime",
            "tf2onnx" if BACKEND == "tensorflow" else "onnx",
        ],
    }.get(format, []):
        pytest.importorskip(package)
    path = str(path / f"file{ENDINGS[format]}")
    model.export(path, format=format, verbose=False)
    names = [x.name for x in model.inputs]
    if format == "onnx":
        from onnxruntime import InferenceSession

        session = InferenceSession(path)
        return lambda arrays: session.run(
            None, dict(zip(names, arrays, strict=True))
        )
    if format == "litert":
        from ai_edge_litert.interpreter import Interpreter

        run = Interpreter(path).get_signature_runner()
        several = len(names) > 1

        def call(arrays):
            keys = names if several else list(run.get_input_details())
            found = run(**dict(zip(keys, arrays, strict=True)))
            # They are called output_0, output_1 and so on.
            order = sorted(found, key=lambda x: int(x.partition("_")[2]))
            return [found[x] for x in order]

        return call

    import tensorflow as tf

    served = tf.saved_model.load(path)
    return lambda arrays: [
        x.numpy()
        for x in tf.nest.flatten(
            served.serve(arrays if len(arrays) > 1 else arrays[0])
        )
    ]


def digits(encoder):
    """Training data and 100 images, in sixteenths, which add exactly."""
    (x, y), (x_test, _) = datasets.load("digits")
    x, x_test = (np.round(x / 255 * 16) / 16 for x in (x, x_test[:SAMPLES]))
    if encoder is None:
        x, x_test = (np.repeat(x[:, None], TIMESTEPS, 1) for x in (x, x_test))
    return x.astype("float32"), y, x_test.astype("float32")


def network(encoder, normalization):
    return five_layer_snn(
        (8, 8, 1),
        timesteps=TIMESTEPS,
        k=0.5,
        lam=1.0,
        width=1 / 4,
        encoder=encoder,
        normalization=normalization,
        seed=0,
    )


@functools.cache
def learnt(encoder, normalization):
    """Weights after some training."""
    x, y, _ = digits(encoder)
    model = network(encoder, normalization)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    history = model.fit(x, y, batch_size=32, epochs=2, verbose=0).history
    assert history["accuracy"][-1] > 0.3  # Chance is 0.1.
    return model.get_weights()


def trained(encoder, normalization=None):
    """A trained five-layer network, and 100 real images.

    Its outputs are the spikes of every layer, and then the logits.
    """
    model, (*_, x) = network(encoder, normalization), digits(encoder)
    weights = learnt(encoder, normalization)
    if normalization is None:
        # Sums of these are exact, so no order of addition changes a spike.
        weights = [np.round(each * 64) / 64 for each in weights]
    model.set_weights(weights)
    spikes = [
        each.output for each in model.layers if isinstance(each, layers.LIF)
    ]
    return PortableModel(model.input, [*spikes, model.output]), x


def whole(model, x):
    return [to_numpy(y) for y in model(x, training=False)]


def streamed(model, step, frames):
    """Runs an exported step model, and returns the outputs of all timesteps."""
    states = [to_numpy(s) for s in step.initial_states(SAMPLES)]
    outputs = []
    for frame in frames:
        found = model([frame, *states])
        count = len(found) - len(states)
        outputs.append(found[:count])
        states = found[count:]
    return [np.stack(x, 1) for x in zip(*outputs, strict=True)]


def assert_equal_spikes(found, expected, share=0.0):
    """All spikes but a share are equal. There are spikes in every layer."""
    assert len(found) == len(expected)
    for ours, theirs in zip(expected[:-1], found[:-1], strict=True):
        assert 0 < ours.mean() < 1
        assert np.mean(theirs != ours) <= share
    if not share:
        np.testing.assert_allclose(
            found[-1], expected[-1], rtol=1e-5, atol=1e-5
        )


@pytest.mark.slow
@formats
@pytest.mark.parametrize("encoder", [None, "constant"])
def test_an_exported_network_has_the_same_spikes(encoder, format, tmp_path):
    model, x = trained(encoder)
    run = exported(model, tmp_path, format)
    assert_equal_spikes(run([x]), whole(model, x))


@pytest.mark.slow
@formats
@pytest.mark.parametrize("encoder", [None, "constant"])
def test_an_exported_step_model_has_the_same_spikes(encoder, format, tmp_path):
    model, x = trained(encoder)
    step = step_model(model)
    run = exported(step, tmp_path, format)
    frames = [x] * TIMESTEPS if encoder else list(x.swapaxes(0, 1))
    *spikes, logits = streamed(run, step, frames)
    assert_equal_spikes([*spikes, logits[:, -1]], whole(model, x))


@pytest.mark.slow
@formats
def test_normalized_networks_keep_their_spikes_up_to_rounding(format, tmp_path):
    # Runtimes fold the normalization into the convolution, which rounds in
    # another way. One spike that flips may change some after it.
    model, x = trained("constant", "batch")
    expected = whole(model, x)
    run = exported(model, tmp_path, format)
    assert_equal_spikes(run([x]), expected, share=1e-3)
    step = step_model(model)
    (tmp_path / "step").mkdir()
    run = exported(step, tmp_path / "step", format)
    found = streamed(run, step, [x] * TIMESTEPS)
    assert_equal_spikes(found, [*expected[:-1], None], share=1e-3)


@pytest.mark.slow
def test_int8_weights_change_few_spikes(tmp_path):
    model, x = trained("constant")
    before = whole(model, x)
    model.quantize("int8")
    after = whole(model, x)
    assert model.get_layer("dense1").quantization_mode == "int8"
    counts = [sum(int(y.sum()) for y in z[:-1]) for z in (before, after)]
    assert any((x != y).any() for x, y in zip(before, after, strict=True))
    assert abs(counts[1] - counts[0]) < 0.01 * counts[0]
    step = step_model(model)
    *_, last = step.stream([x] * TIMESTEPS)
    np.testing.assert_allclose(to_numpy(last[-1]), after[-1], rtol=1e-5)
    if BACKEND == "tensorflow":
        run = exported(model, tmp_path, "onnx")
        assert_equal_spikes(run([x]), after)


def every_neuron():
    """All kinds of neurons, with constants per channel and learnt ones."""
    x = inputs = keras.Input((TIMESTEPS, 3))
    x = keras.layers.Dense(4)(x)
    x = layers.LIF(k=[0.5, 0.25, 0.5, 1.0], lam=1.0)(x)
    x = layers.CubaLIF(k=0.5, lam=0.5, learn=("alpha",))(x * 4)
    x = layers.AdaptiveLIF(k=0.5, lam=1.0, rho=0.5, reset="subtract")(x * 4)
    x = layers.RecurrentLIF(4, k=0.5, lam=1.0)(x * 4)
    return inputs, layers.LeakyIntegrator(k=0.5, lam=1.0)(x)


@pytest.mark.slow
@onnx_only
def test_every_kind_of_neuron_runs_in_onnx(tmp_path, rng):
    model = PortableModel(*every_neuron())
    grid = [np.round(4 * x) / 2 for x in model.get_weights()]
    model.set_weights(grid)
    x = rng.integers(-2, 5, (5, TIMESTEPS, 3)).astype("float32")
    expected = to_numpy(model(x))
    assert np.ptp(expected) > 0
    # Learnt constants are no round numbers.
    np.testing.assert_allclose(
        exported(model, tmp_path, "onnx")([x])[0], expected, rtol=1e-5
    )


@pytest.mark.slow
@onnx_only
def test_models_of_the_user_run_in_onnx(tmp_path, rng):
    inputs = keras.Input((TIMESTEPS, 3))
    model = keras.Model(inputs, layers.LIF(k=0.5, lam=1.0)(inputs))
    x = rng.integers(0, 9, (5, TIMESTEPS, 3)).astype("float32") / 4
    expected = to_numpy(model(x))
    with layers.unrolled(model):
        run = exported(model, tmp_path, "onnx")
    np.testing.assert_array_equal(run([x])[0], expected)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's exporter says so")
def test_neurons_that_are_not_unrolled_are_refused(tmp_path):
    pytest.importorskip("onnx")
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, layers.LIF(k=0.5, lam=1.0)(inputs))
    model(np.zeros((1, 2, 3), "float32"))
    # The exporter shows our error inside its own.
    with pytest.raises(Exception, match="only if they are unrolled"):
        model.export(str(tmp_path / "x.onnx"), format="onnx", verbose=False)


def test_unrolled_neurons_give_the_same_and_roll_up_again(rng, monkeypatch):
    model = keras.Model(*every_neuron())
    neurons = [x for x in model.layers if hasattr(x, "unroll")]
    assert len(neurons) == 5
    x = rng.integers(-2, 5, (5, TIMESTEPS, 3)).astype("float32")
    expected = to_numpy(model(x))
    with layers.unrolled(model), monkeypatch.context() as patch:
        assert all(x.unroll for x in neurons)
        patch.setattr(dynamics, "_backend", None)  # the compiled loops
        np.testing.assert_allclose(to_numpy(model(x)), expected, rtol=1e-5)
    assert not any(x.unroll for x in neurons)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_unrolled_neurons_add_currents_in_float32(policy):
    # In half precision, 0.3 i would be rounded before it is added.
    layer = layers.LIF(k=0.9, lam=0.3, theta=1.0, dtype=policy)
    x = np.linspace(0.5, 1.5, 6 * 64, dtype="float32").reshape(6, 64, 1)
    x = keras.ops.cast(x, layer.compute_dtype)
    expected = to_numpy(layer(x))
    with layers.unrolled(layer):
        np.testing.assert_array_equal(to_numpy(layer(x)), expected)


def test_only_layers_are_unrolled():
    with (
        pytest.raises(TypeError, match="`model` must be a Keras model or"),
        layers.unrolled("model"),
    ):
        pass


def test_neurons_roll_up_again_after_an_error():
    layer = layers.LIF()
    with pytest.raises(ValueError, match="inside"), layers.unrolled(layer):
        raise ValueError("inside")
    assert not layer.unroll


@pytest.mark.parametrize("format", ["onnx", "litert"])
@pytest.mark.parametrize("convert", [lambda x: x, step_model])
def test_random_numbers_are_refused(convert, format, tmp_path):
    model = convert(five_layer_snn((8, 8, 1), timesteps=2, width=1 / 16))
    with pytest.raises(ValueError, match="`encoder.*` draws random numbers"):
        model.export(str(tmp_path / "x"), format=format)


def test_what_cannot_be_unrolled_is_refused():
    layer = layers.LIF(stateful=True)
    x = np.ones((2, TIMESTEPS, 3), "float32")
    layer(x)
    with layers.unrolled(layer), pytest.raises(ValueError, match="stateful"):
        layer(x)
    layer = layers.LIF(name="lif")
    layer(keras.Input((None, 3)))
    message = "`lif` can be unrolled only over a fixed number of timesteps"
    with layers.unrolled(layer), pytest.raises(ValueError, match=message):
        layer(x)


def test_a_network_from_a_file_has_a_step_model(tmp_path):
    # Its operations keep the names that Keras would give to new ones.
    model = five_layer_snn(
        (8, 8, 1),
        timesteps=2,
        width=1 / 16,
        encoder="constant",
        normalization="batch",
    )
    keras.backend.clear_session()  # starts the names again
    model = keras.models.clone_model(model)
    model.save(tmp_path / "network.keras")
    keras.backend.clear_session()
    model = keras.models.load_model(tmp_path / "network.keras")
    assert len(step_model(model).inputs) == 7
