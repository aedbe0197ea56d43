import keras
import numpy as np
import pytest
import reference
from backend import to_numpy
from pairs import pairs

from keras_snn import datasets, initializers, models, surrogates
from keras_snn.layers import LIF, PerTimestep
from keras_snn.models import (
    five_layer_snn,
)

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def small(**kwargs):
    return five_layer_snn(
        **{"input_shape": (8, 8, 1), "timesteps": 4, "seed": 0} | kwargs
    )


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


def test_layers_are_those_of_table_a4():
    model = five_layer_snn(data_format="channels_last")
    # C32 P C32 P FC500 FC100 FC10 on 28x28x1, weights and biases by hand.
    flat = 7 * 7 * 32
    expected = [
        *(9 * 1 * 32, 32, 9 * 32 * 32, 32),
        *(flat * 500, 500, 500 * 100, 100, 100 * 10, 10),
    ]
    assert [int(np.prod(w.shape)) for w in model.trainable_weights] == expected
    neurons = [layer for layer in model.layers if isinstance(layer, LIF)]
    assert [layer.output.shape for layer in neurons] == [
        (None, 20, 28, 28, 32),
        (None, 20, 14, 14, 32),
        (None, 20, 500),
        (None, 20, 100),
    ]
    assert {(x.k, x.lam, x.theta) for x in neurons} == {(0.8, 0.2, 1.0)}
    assert {x.surrogate for x in neurons} == {surrogates.Arctan(2.0)}
    other = five_layer_snn(k=0.5, surrogate="tanh", pooling="max")
    (first,) = [x for x in other.layers if x.name == "lif1"]
    assert (first.k, first.surrogate) == (0.5, surrogates.Tanh(2.0))
    pools = {type(x) for x in other.layers if "pool" in x.name}
    assert pools == {keras.layers.MaxPooling2D}
    assert isinstance(model.layers[-1], keras.layers.Dense)
    names = [x.name for x in model.layers if "fold" not in x.name]
    assert names[1:] == [
        *("encoder", "conv1", "lif1", "pool1", "conv2", "lif2", "pool2"),
        *("flatten", "dense1", "lif3", "dense2", "lif4", "mean", "logits"),
    ]
    # Time folds once per stretch between neurons.
    folds = [x.name for x in model.layers if "fold" in x.name]
    assert folds == [
        f"{w}{n}" for n in (1, 2, 3, 4) for w in ("fold", "unfold")
    ]
    assert model.output_shape == (None, 10)


@pytest.mark.parametrize("encoder", models.ENCODERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_data_formats_compute_the_same(rng, encoder, channels):
    shape = (8, 12, channels)
    first, last = (
        five_layer_snn(
            shape, timesteps=4, encoder=encoder, data_format=each, seed=0
        )
        for each in ("channels_first", "channels_last")
    )
    for ours, theirs in zip(first.weights, last.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))
    assert first.input_shape == last.input_shape
    lead = (2, 4) if encoder is None else (2,)
    # Zeros and ones: Poisson coding leaves nothing to chance.
    images = rng.integers(0, 2, (*lead, *shape)).astype("float32")
    probes = (
        keras.Model(
            m.input,
            [m.output, *(x.output for x in m.layers if "lif" in x.name)],
        )
        for m in (first, last)
    )
    (ours, *fired), (theirs, *_) = (
        p.predict(images, verbose=0) for p in probes
    )
    assert all(spikes.any() for spikes in fired)
    # Sums of some hundred float32 terms of order 1, in another order.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", models.ENCODERS)
def test_recomputing_takes_the_same_step(rng, encoder):
    lead = (8, 4) if encoder is None else (8,)
    images = rng.random((*lead, 8, 8, 1)).astype("float32")
    weights = []
    for recompute in (False, True):
        model = five_layer_snn(
            (8, 8, 1), timesteps=4, encoder=encoder, seed=0, recompute=recompute
        )
        before = model.get_weights()
        model.compile(
            keras.optimizers.SGD(0.5),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        model.train_on_batch(images, np.arange(8))
        weights.append(model.get_weights())
    for ours, theirs, start in zip(*weights, before, strict=True):
        assert np.abs(theirs - start).max() > 0
        # Sums over the batch, in eight parts or in one.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_the_fast_data_format_is_the_default():
    conv = five_layer_snn().get_layer("conv1")
    on_torch = keras.config.backend() == "torch"
    expected = "channels_first" if on_torch else "channels_last"
    assert conv.data_format == expected
    with pytest.raises(ValueError, match="`data_format` must be one of"):
        five_layer_snn(data_format="NCHW")


@pytest.mark.parametrize("initializer", initializers.NAMES)
def test_no_two_layers_get_the_same_weights(initializer):
    for seed in (0, None):
        model = five_layer_snn(
            (8, 8, 32), timesteps=1, initializer=initializer, seed=seed
        )
        # Both convolutions have 32 channels in and out.
        first, second = (
            to_numpy(w) for w in model.trainable_weights if w.shape[0] == 3
        )
        assert not np.isclose(first, second).all(axis=(0, 1, 2)).any()


def test_asymptote_weights_are_those_of_equation_11():
    model = five_layer_snn((16, 16, 1), k=0.5, lam=0.25, theta=2.0, seed=0)
    for kernel, bias in zip(*[iter(model.trainable_weights)] * 2, strict=True):
        kernel, bias = to_numpy(kernel), to_numpy(bias)
        fan_in = np.prod(kernel.shape[:-1])
        # theta (1 - k) / (2 lam) and 2 theta^2 / (lam^2 fan_in)
        np.testing.assert_array_equal(bias, np.full_like(bias, 2.0))
        # The standard deviation of n samples scatters by 1 / sqrt(2 n).
        scatter = 1 / np.sqrt(2 * kernel.size)
        stddev = np.sqrt(2 * 4 / (0.0625 * fan_in))
        assert abs(kernel.std() / stddev - 1) < 5 * scatter


@pytest.mark.parametrize("encoder", ["constant", "poisson", "retina"])
def test_equal_seeds_give_equal_networks(encoder, digits):
    x = digits[1][0][:8]
    logits = [
        small(seed=seed, encoder=encoder).predict(x, verbose=0)
        for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert not np.allclose(logits[0], logits[2])


@pytest.mark.parametrize("encoder", models.ENCODERS)
def test_codings_of_one_seed_share_the_weights(encoder):
    for ours, theirs in zip(
        small(encoder=encoder).trainable_weights,
        small(encoder=None).trainable_weights,
        strict=True,
    ):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))


def test_constant_coding_once_equals_every_timestep(digits):
    # The first convolution of the builder runs once; with the images repeated
    # beforehand it runs at every timestep.
    x = digits[1][0][:8].astype("float32") / 255
    once = small(encoder="constant")
    every = small(encoder=None)
    every.set_weights(once.get_weights())
    np.testing.assert_allclose(
        once.predict(x, verbose=0),
        every.predict(np.repeat(x[:, None], 4, axis=1), verbose=0),
        rtol=1e-4,
        atol=1e-5,
    )


def test_retina_coding_is_what_the_first_convolution_sees(digits):
    model = small(encoder="retina", data_format="channels_last")
    x = digits[1][0][:8]
    spikes = keras.Model(model.input, model.get_layer("encoder").output)
    np.testing.assert_array_equal(
        spikes.predict(x.astype("float32") / 255, verbose=0),
        reference.retina(x, 4),
    )


def test_logits_are_the_mean_over_time_of_the_last_layer(digits):
    model = small(encoder="constant")
    x = digits[1][0][:8]
    spikes = keras.Model(model.input, model.get_layer("lif4").output)
    kernel, bias = model.layers[-1].get_weights()
    s = spikes.predict(x.astype("float32") / 255, verbose=0)
    expected = np.stack([s[:, t] @ kernel + bias for t in range(4)]).mean(0)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
def test_it_learns_from_the_first_iterations(digits):
    (x, y), _ = digits
    losses = {}
    for name in ("asymptote", "glorot"):
        model = small(timesteps=10, initializer=name)
        model.compile(keras.optimizers.Adam(1e-3, beta_2=0.99), LOSS)
        fit = model.fit(x[:640], y[:640], epochs=4, verbose=0)
        losses[name] = fit.history["loss"]
    # The loss of guessing is ln 10: Glorot's network is silent and stays there.
    assert losses["asymptote"][-1] < 1.9
    assert losses["glorot"][-1] == pytest.approx(np.log(10), abs=0.05)


@pytest.mark.slow
@pairs(encoder=models.ENCODERS, pooling=["average", "max"])
def test_every_variant_trains_saves_and_loads(encoder, pooling, tmp_path, rng):
    model = small(encoder=encoder, pooling=pooling, initializer="wu")
    model.compile("adam", LOSS, metrics=["accuracy"])
    shape = (8, 8, 8, 1) if encoder else (8, 4, 8, 8, 1)
    x = rng.random(shape).astype("float32")
    model.fit(x, np.arange(8), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded) is type(model)
    for a, b in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
    if encoder != "poisson":
        np.testing.assert_array_equal(
            loaded.predict(x, verbose=0), model.predict(x, verbose=0)
        )
    loaded.fit(x, np.arange(8), verbose=0)  # with the optimizer's state


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 1.5}, ValueError, r"`k` must be in \(0, 1\]"),
        ({"lam": -1}, ValueError, "`lam` must be above 0"),
        ({"theta": 0}, ValueError, "`theta` must be above 0"),
        (
            {"surrogate": "Auto"},
            ValueError,
            "`surrogate` must be one of 'auto'",
        ),
        (
            {"initializer": "best"},
            ValueError,
            "`initializer` must be one of 'asymptote', .*, 'shi'. "
            "Received: initializer='best'",
        ),
        ({"encoder": "rate"}, ValueError, "`encoder` must be one of 'consta"),
        ({"pooling": "sum"}, ValueError, "`pooling` must be one of 'average'"),
        ({"timesteps": 0}, ValueError, "`timesteps` must be at least 1"),
        ({"classes": 0}, ValueError, "`classes` must be at least 1"),
        ({"seed": "one"}, TypeError, "`seed` must be `None` or an integer"),
        ({"input_shape": (8, 8)}, ValueError, "`input_shape` must be .height"),
        (
            {"input_shape": (2, 2, 1)},
            ValueError,
            "at least 4x4 for 'C32 P C32 P FC",
        ),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        small(**change)


def test_any_keras_layer_takes_the_initializers(rng):
    neuron = {"k": 0.8, "lam": 0.2, "theta": 1.0}
    dense = keras.layers.Dense(
        50,
        kernel_initializer=initializers.AsymptoteInitializer(**neuron),
        bias_initializer=initializers.AsymptoteBias(**neuron),
    )
    model = keras.Sequential([PerTimestep(dense), LIF(**neuron)])
    x = rng.random((4, 20, 30)).astype("float32")
    assert 0.01 < model.predict(x, verbose=0).mean() < 0.9


def test_channels_last_whatever_keras_is_told(digits):
    x = digits[1][0][:4]
    expected = small(encoder="constant").predict(x, verbose=0)
    keras.config.set_image_data_format("channels_first")
    try:
        logits = small(encoder="constant").predict(x, verbose=0)
    finally:
        keras.config.set_image_data_format("channels_last")
    np.testing.assert_array_equal(logits, expected)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("encoder", ["poisson", None])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_file_names_optimizers_that_every_backend_has(
    optimizer, encoder, scaled
):
    optimizer = keras.optimizers.get(optimizer)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model = five_layer_snn((8, 8, 1), timesteps=2, encoder=encoder)
    model.compile(optimizer, "mse")
    config = model.get_compile_config()["optimizer"]
    assert "torch" not in str(config)
    again = keras.optimizers.deserialize(config)
    assert again.get_config() == optimizer.get_config()
