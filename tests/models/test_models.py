import keras
import numpy as np
import pytest
import reference
from backend import to_numpy

import keras_snn
from keras_snn import datasets, initializers, models, surrogates
from keras_snn.layers import LIF, PerTimestep
from keras_snn.models import (
    five_layer_snn,
    sequential_snn,
    vgg9_dvs_snn,
    vgg9_snn,
    vgg11_snn,
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


@pytest.mark.parametrize("encoder", models.ENCODERS)
@pytest.mark.parametrize("pooling", ["average", "max"])
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
        ({"surrogate": "relu"}, ValueError, "`surrogate` must be one of"),
        (
            {"initializer": "best"},
            ValueError,
            "`initializer` must be one of 'asymptote', 'glorot', 'he', 'wu', "
            "'lee'. Received: initializer='best'",
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


def conv(*channels):
    """The numbers of kernel and bias of 3x3 convolutions in a row."""
    pairs = zip(channels, channels[1:], strict=False)
    return [n for i, o in pairs for n in (9 * i * o, o)]


def dense(*units):
    pairs = zip(units, units[1:], strict=False)
    return [n for i, o in pairs for n in (i * o, o)]


# Sizes of all weights and of all layers of neurons, written out by hand.
VGG = {
    vgg9_snn: (
        conv(3, 128, 128, 256, 256, 256, 256, 256)
        + dense(4 * 4 * 256, 1024, 10),
        [(32, 128), (32, 128), (16, 256), (16, 256)]
        + [(8, 256), (8, 256), (8, 256), (1024,)],
    ),
    vgg9_dvs_snn: (
        conv(2, 64, 128, 128, 128, 128, 128, 128)
        + dense(4 * 4 * 128, 1024, 1024, 10),
        [(128, 64), (128, 128), (64, 128), (64, 128)]
        + [(32, 128), (16, 128), (8, 128), (1024,), (1024,)],
    ),
    vgg11_snn: (
        conv(3, 64, 128, 256, 256, 512, 512, 512, 512) + dense(512, 4096, 100),
        [(32, 64), (16, 128), (8, 256), (8, 256)]
        + [(4, 512), (4, 512), (2, 512), (2, 512), (4096,)],
    ),
}
DROPOUTS = {vgg9_snn: 1, vgg9_dvs_snn: 2, vgg11_snn: 0}
SMALLEST = {vgg9_snn: 8, vgg9_dvs_snn: 32, vgg11_snn: 16}
builders = pytest.mark.parametrize("build", VGG)


@builders
def test_layers_of_the_vggs(build):
    model = build(data_format="channels_last")
    weights, sizes = VGG[build]
    assert [int(np.prod(w.shape)) for w in model.trainable_weights] == weights
    neurons = [x for x in model.layers if isinstance(x, LIF)]
    expected = [(size[0], *size) if size[1:] else size for size in sizes]
    assert [x.output.shape[2:] for x in neurons] == expected
    drops = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert [x.rate for x in drops] == [0.5] * DROPOUTS[build]
    assert model.name == build.__name__


@builders
def test_vggs_take_what_the_pooling_allows(build, rng):
    size = SMALLEST[build]
    shape = (size, size + 3, 2)  # odd sides lose a row
    model = build(shape, 3, timesteps=2, width=1 / 64, encoder=None)
    images = rng.random((2, 2, *shape))
    assert model.predict(images, verbose=0).shape == (2, 3)
    message = f"at least {size}x{size} for 'C.*Received: input_shape="
    with pytest.raises(ValueError, match=message):
        build((size + 1, size - 1, 2))


@builders
def test_vggs_train_save_and_load(build, tmp_path, rng):
    size = SMALLEST[build]
    shape = (8, 16, size, size, 3)
    model = build(
        (size, size, 3), 4, 16, width=1 / 8, encoder=None, pooling="max", seed=0
    )
    before = model.get_weights()
    model.compile("adam", LOSS)
    x = rng.integers(0, 9, shape).astype("uint8")  # counts
    model.fit(x, np.arange(8) % 4, verbose=0)
    moved = zip(before, model.get_weights(), strict=True)
    assert all(np.abs(new - old).max() > 0 for old, new in moved)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    )


def test_a_sample_keeps_its_dropout_mask_over_time():
    model = vgg9_snn(timesteps=6, width=1 / 16, seed=0)
    (drop,) = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
    kept = to_numpy(drop(np.ones((3, 6, 64), "float32"), training=True))
    assert set(np.unique(kept)) == {0, 2}
    np.testing.assert_array_equal(kept, np.repeat(kept[:, :1], 6, axis=1))
    assert (kept[0] != kept[1]).any()
    (drop,) = [
        x
        for x in vgg9_snn(timesteps=6, width=1 / 16, dropout=0.25).layers
        if isinstance(x, keras.layers.Dropout)
    ]
    assert drop.rate == 0.25


def test_dropout_leaves_the_weights_of_a_seed_alone():
    with_it, without = (
        sequential_snn(f"C4 FC6 {drop} FC5", (4, 4, 1), 3, seed=1).get_weights()
        for drop in ("D0.5", "")
    )
    for a, b in zip(with_it, without, strict=True):
        if a.ndim:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["batch", "bntt", "tdbn"])
@pytest.mark.parametrize("encoder", ["constant", None])
def test_normalization_sits_between_synapses_and_neurons(name, encoder, rng):
    lead = (6, 3) if encoder is None else (6,)
    x = rng.random((*lead, 8, 10, 1)).astype("float32")
    logits = []
    for data_format in ("channels_first", "channels_last"):
        model = sequential_snn(
            *("C4 P C5 P FC6", (8, 10, 1), 3, 3),
            encoder=encoder,
            normalization=name,
            data_format=data_format,
            lam=0.8,  # enough for the last neurons to fire
            theta=0.5,
            seed=0,
        )
        cls = {
            "batch": keras.layers.BatchNormalization,
            "bntt": keras_snn.layers.BNTT,
            "tdbn": keras_snn.layers.TDBN,
        }[name]
        found = [type(x) for x in model.layers]
        places = [i for i, kind in enumerate(found) if kind is LIF]
        assert len(places) == 3
        assert [found[i - 1] for i in places] == [cls] * 3
        normalizations = [x for x in model.layers if isinstance(x, cls)]
        assert [x.gamma.shape[-1] for x in normalizations] == [4, 5, 6]
        if name == "tdbn":
            assert {x.theta for x in normalizations} == {0.5}
        # Kernels of the three, kernel and bias of the last dense layer.
        kernels = [w for w in model.trainable_weights if "kernel" in w.path]
        biases = [w for w in model.trainable_weights if "/bias" in w.path]
        assert (len(kernels), len(biases)) == (4, 1)
        logits.append(to_numpy(model(x, training=True)))
    # Sums in another order may differ, but too little here for other spikes.
    np.testing.assert_allclose(*logits, rtol=0, atol=1e-5)
    assert (np.ptp(logits[0], axis=0) > 0.01).all()


@pytest.mark.parametrize("encoder", models.ENCODERS)
@pytest.mark.parametrize(
    "layout",
    ["D0.5 FC7", "FC20", "FC20 D0.5 FC6", "P C4 G", "P C4 P", "C3 G D0.5 FC5"],
)
def test_every_layout_trains(layout, encoder, rng):
    model = sequential_snn(
        layout, (8, 9, 2), 3, timesteps=4, encoder=encoder, seed=0
    )
    model.compile("sgd", LOSS)
    lead = (8, 4) if encoder is None else (8,)
    x = rng.random((*lead, 8, 9, 2)).astype("float32")
    fit = model.fit(x, np.arange(8) % 3, verbose=0)
    assert np.isfinite(fit.history["loss"]).all()
    assert model.output_shape == (None, 3)


def test_there_may_be_nothing_to_recompute():
    model = sequential_snn(
        "D0.5 FC4", (4, 4, 1), 2, encoder="constant", recompute=True
    )
    assert model.output_shape == (None, 2)


def test_recomputing_ends_before_dropout(rng):
    x = rng.random((16, 8, 8, 3)).astype("float32")
    weights = []
    for recompute in (False, True):
        model = vgg9_snn(
            *((8, 8, 3), 4, 3),
            width=1 / 16,
            encoder="constant",
            seed=0,
            recompute=recompute,
        )
        model.compile(keras.optimizers.SGD(0.5), LOSS)
        model.train_on_batch(x, np.arange(16) % 4)
        weights.append([to_numpy(w) for w in model.trainable_weights])
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "change", "message"),
    [
        ("C32 Q", {}, "`layout` must be words such as C32.*Received: 'Q' in"),
        ("C0", {}, "Received: 'C0'"),
        ("D1.5 C3", {}, "Received: 'D1.5'"),
        (7, {}, "Received: 7"),
        ("D0.5 C3", {}, "Received: 'C3' late"),
        ("FC5 C3", {}, "C, P and G before FC.*Received: 'C3' late"),
        ("C3 G P", {}, "Received: 'P' late"),
        ("", {}, "at least one C or FC. Received: layout=''"),
        ("P", {}, "at least one C or FC. Received: layout='P'"),
        ("C3", {"width": 0}, "`width` must be above 0"),
        ("C3", {"normalization": "group"}, "`normalization` must be one of"),
        (
            "C3",
            {"normalization": "bntt", "recompute": True},
            "`recompute` must be False with a normalization",
        ),
    ],
)
def test_bad_layouts_are_refused(layout, change, message):
    with pytest.raises(ValueError, match=message):
        sequential_snn(layout, (8, 8, 1), 3, **change)


@pytest.mark.parametrize(
    "rate", [1e-7, 0.9999999, 1 / 3, 5e-324, np.float64(0.25)]
)
def test_dropout_arrives_to_the_last_digit(rate):
    model = vgg9_snn((8, 8, 1), timesteps=1, width=1 / 128, dropout=rate)
    (drop,) = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert drop.rate == rate


@pytest.mark.parametrize("rate", [0, 0.0])
def test_no_dropout_is_no_layer(rate):
    model = vgg9_snn((8, 8, 1), timesteps=1, width=1 / 128, dropout=rate)
    assert "Dropout" not in {type(layer).__name__ for layer in model.layers}


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5])
def test_bad_dropouts_are_refused(rate):
    with pytest.raises(ValueError, match=r"`dropout` must be in \[0, 1\)"):
        vgg9_snn(dropout=rate)


def test_bntt_models_take_their_own_number_of_timesteps_alone(rng):
    model = sequential_snn(
        *("C4 FC6", (8, 8, 1), 3, 5), encoder=None, normalization="bntt"
    )
    with pytest.raises(
        ValueError, match="expected shape=.None, 5|made for timesteps=5"
    ):
        model.predict(rng.random((2, 4, 8, 8, 1)), verbose=0)
