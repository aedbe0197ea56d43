"""Residual networks at the start, in training, and beyond."""

import math

import keras
import numpy as np
import pytest
from backend import to_numpy
from residual_networks import BLOCKS, NEURON, layers_of, randomize, small

from keras_snn import callbacks, datasets, initializers, models, step_model
from keras_snn.models import probe, residual_snn

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


# The start.


@pytest.mark.parametrize("normalization", [None, "batch", "bntt", "tdbn"])
def test_the_ends_of_branches_start_small(normalization):
    model = small(
        (3, 2), width=1, normalization=normalization, initializer="asymptote"
    )
    found = layers_of(model)
    if normalization:
        first, last = found["norm4"], found["norm5"]
        ratio = to_numpy(last.gamma) / to_numpy(first.gamma)
        np.testing.assert_allclose(ratio, 1 / 5, rtol=1e-5)
        if normalization != "bntt":
            assert to_numpy(first.beta).all()
            assert not to_numpy(last.beta).any()
        for name in ("conv4", "shortcut1"):
            kernel = to_numpy(found[name].kernel)
            *window, inputs, outputs = kernel.shape
            # Glorot and Bengio (2010), Eq. 16.
            limit = math.sqrt(6 / (math.prod(window) * (inputs + outputs)))
            assert 0.9 * limit < np.abs(kernel).max() <= limit
        return
    first, last = found["conv4"], found["conv5"]
    # sqrt(2 / fan_in) theta / lam, known up to 3 % from 2,304 weights.
    stddev = math.sqrt(2 / (9 * 16))
    assert to_numpy(first.kernel).std() == pytest.approx(stddev, rel=0.07)
    assert to_numpy(last.kernel).std() == pytest.approx(stddev / 5, rel=0.07)
    # theta (1 - k) / (2 lam)
    np.testing.assert_allclose(to_numpy(first.bias), 0.25)
    assert not to_numpy(last.bias).any()


def test_currents_start_as_copies_where_the_shape_changes(rng):
    model = small((1, 1, 1), (8, 8, 1), data_format="channels_last")
    found = layers_of(model)
    x = rng.normal(size=(1, 4, 4, 8)).astype("float32")
    y = to_numpy(found["shortcut2"](x))
    np.testing.assert_array_equal(y, np.repeat(x[:, ::2, ::2], 2, axis=-1))


@pytest.mark.parametrize("block", ["sew-and", "sew-iand"])
def test_branches_start_without_effect_on_the_shortcut(block, digits):
    model = residual_snn(20, (8, 8, 1), 10, 4, block=block, width=1 / 4, seed=0)
    rates = callbacks.firing_rates(model, digits[0][0][:32])
    # The neurons at the ends of the branches of the first stage.
    expected = 1.0 if block == "sew-and" else 0.0
    # At a ninth of the weights, currents still add up to a few spikes.
    for name in ("lif3", "lif5", "lif7"):
        assert rates[name][0] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("initializer", ["asymptote", "stationary"])
def test_every_layer_fires_in_the_middle_of_a_deep_network(initializer, digits):
    options = {"initializer": initializer, "width": 1 / 4, "seed": 0}
    model = residual_snn(26, (8, 8, 1), 10, 4, **options)
    rates = callbacks.firing_rates(model, digits[0][0][:32])
    assert len(rates) == 25
    # The stream of currents, between the blocks.
    stream = [rates[f"lif{i}"][0] for i in range(1, 26, 2)]
    assert max(stream) < 1.5 * min(stream)
    assert min(rate for rate, _ in rates.values()) > 0.01


def test_the_sum_of_spikes_grows_by_one_spike_per_block():
    model = small((2, 1), block="sew", encoder=None)
    always = keras.initializers.Constant(10.0)
    for weight in model.weights:
        weight.assign(always(weight.shape))
    first = model.get_layer("block1")
    spikes = np.ones((1, *first.input.shape[1:]), "float32")
    # The shortcut of the third block is a spike again.
    for i, expected in ((1, 2), (2, 3), (3, 2)):
        spikes = model.get_layer(f"block{i}")(spikes)
        np.testing.assert_array_equal(to_numpy(spikes), expected)


# In use.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "normalization"),
    [
        *(("ms", name) for name in models.NORMALIZATIONS),
        *(("sew", name) for name in models.NORMALIZATIONS),
        *(("sew-and", None), ("sew-iand", None)),
    ],
)
def test_every_variant_trains_saves_and_loads(
    block, normalization, tmp_path, rng
):
    model = small(block=block, normalization=normalization)
    model.compile("adam", LOSS)
    before = [to_numpy(x).copy() for x in model.trainable_weights]
    x = rng.random((6, 6, 5, 2)).astype("float32")
    model.fit(x, np.arange(6) % 3, verbose=0)
    for weight, start in zip(model.trainable_weights, before, strict=True):
        assert np.isfinite(to_numpy(weight)).all()
        if "sew-" not in block:
            assert (to_numpy(weight) != start).any(), weight.path
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    )
    loaded.fit(x, np.arange(6) % 3, verbose=0)


@pytest.mark.parametrize("readout", models.READOUTS)
@pytest.mark.parametrize("encoder", models.ENCODERS)
def test_codings_and_readouts_are_those_of_sequential_networks(
    encoder, readout, rng
):
    model = small(encoder=encoder, readout=readout)
    lead = (2, 3) if encoder is None else (2,)
    y = model(rng.random((*lead, 6, 5, 2)).astype("float32"))
    assert y.shape == ((2, 3, 3) if readout == "sequence" else (2, 3))


@BLOCKS
@pytest.mark.parametrize("encoder", ["constant", None])
def test_single_timesteps_give_the_same(block, encoder, rng):
    model = small((1, 2), block=block, encoder=encoder, readout="sequence")
    randomize(model)
    lead = (2, 3) if encoder is None else (2,)
    x = rng.integers(0, 2, (*lead, 6, 5, 2)).astype("float32")
    whole = to_numpy(model(x))
    assert np.ptp(whole) > 0
    frames = [x] * 3 if encoder else x.swapaxes(0, 1)
    steps = [to_numpy(y) for y in step_model(model).stream(frames)]
    # The same sums, perhaps in another order.
    np.testing.assert_allclose(np.stack(steps, 1), whole, atol=1e-5)


def test_rates_have_the_names_of_the_neurons(rng):
    model = small(block="sew")
    x = rng.random((2, 6, 5, 2)).astype("float32")
    rates = callbacks.firing_rates(model, x)
    numbered = [f"lif{i}" for i in range(1, 6)]
    assert sorted(rates) == [*numbered, "shortcut_lif1"]
    assert rates.keys() == probe(model)(x).keys()


@pytest.mark.skipif(
    keras.config.backend() == "jax", reason="exported by way of TensorFlow"
)
@pytest.mark.parametrize("block", ["ms", "sew"])
def test_an_exported_network_computes_the_same(block, tmp_path, rng):
    model = small(block=block)
    x = rng.random((2, 6, 5, 2)).astype("float32")
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        model.export(tmp_path / "saved", verbose=False)
        saved = tf.saved_model.load(str(tmp_path / "saved"))
        program = saved.serve
    else:
        import torch

        x = torch.tensor(x)
        with torch.no_grad():
            program = torch.export.export(model, (x,)).module()
    # Another program may add in another order.
    np.testing.assert_allclose(
        to_numpy(program(x)), to_numpy(model(x)), atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="compiling takes minutes"
)
def test_a_thousand_layers_have_a_gradient_everywhere(digits):
    import torch

    (x, y), _ = digits
    stages = (166, 167, 166)
    model = residual_snn(
        stages, (8, 8, 1), 10, timesteps=2, width=1 / 8, seed=0
    )
    rates = callbacks.firing_rates(model, x[:8])
    assert len(rates) == 999
    assert min(rate for rate, _ in rates.values()) > 0
    stream = [rates[f"lif{i}"][0] for i in range(1, 1000, 2)]
    assert max(stream) < 2 * min(stream)
    LOSS(torch.tensor(y[:8]), model(x[:8])).backward()
    norms = [float(x.value.grad.norm()) for x in model.trainable_weights]
    assert min(norms) > 0
    assert max(norms) < 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 19}, "`depth` must be 18, 34, 6 n . 2 with .*=19"),
        ({"depth": 2}, "`depth` must be 18, .*Received: depth=2"),
        ({"depth": ()}, r"`depth` must be 18, .*Received: depth=\(\)"),
        ({"depth": "18"}, "`depth` must be 18, .*Received: depth='18'"),
        ({"depth": (2, 0)}, r"`depth\[1\]` must be at least 1. Received"),
        ({"block": "resnet"}, "`block` must be one of 'ms', 'sew', 'sew-and',"),
        ({"stem": 7}, "`stem` must be one of '3x3', '7x7'. Received: stem=7"),
        ({"shape": (8, 8)}, r"`input_shape` must be \(height, width, channels"),
        ({"classes": 0}, "`classes` must be at least 1"),
        ({"timesteps": 0}, "`timesteps` must be at least 1"),
        ({"k": 1.5}, r"`k` must be in \(0, 1\]"),
        ({"width": 0}, "`width` must be above 0"),
        ({"initializer": "best"}, "`initializer` must be one of 'asymptote'"),
        ({"encoder": "rate"}, "`encoder` must be one of 'constant'"),
        ({"normalization": "group"}, "`normalization` must be one of None"),
        (
            {"block": "sew-and", "normalization": "bntt"},
            "`normalization` must be None, 'batch' or 'tdbn' under",
        ),
        ({"readout": "last"}, "`readout` must be one of 'mean'"),
        ({"data_format": "NCHW"}, "`data_format` must be one of"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        small(**change)


@pytest.mark.parametrize("initializer", ["copy", "glorot"])
def test_other_initializations_fit(initializer):
    model = small((1,), initializer=initializer, surrogate="auto")
    law = initializers.for_layer(initializer, **NEURON)["kernel_initializer"]
    found = layers_of(model)
    assert type(found["conv2"].kernel_initializer) is type(law)
    ends = found["conv3"].kernel_initializer
    assert type(ends.initializer) is type(law)
    assert ends.factor == 1.0  # a single block


@pytest.mark.parametrize("data_format", models.DATA_FORMATS)
def test_a_function_makes_the_normalization(data_format):
    made = []

    def normalization(axis):
        made.append(keras.layers.BatchNormalization(axis=axis))
        return made[-1]

    small(normalization=normalization, data_format=data_format)
    # Stem, twice two convolutions, and the shortcut of the second block.
    assert sorted(x.gamma.shape[0] for x in made) == [4] * 3 + [8] * 3
    for layer in made:
        np.testing.assert_array_equal(to_numpy(layer.gamma), 1)
