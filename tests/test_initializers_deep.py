"""The initializations for deep networks."""

import math

import keras
import numpy as np
import pytest
import reference
from backend import to_numpy

from keras_snn import initializers, models, theory
from keras_snn.callbacks import firing_rates
from keras_snn.initializers import (
    CopyInitializer,
    StationaryBias,
    StationaryInitializer,
)
from keras_snn.surrogates import Arctan, Exponential

NEURON = {"k": 0.5, "lam": 0.25, "theta": 1.5}


def copy(**options):
    return CopyInitializer(**NEURON, **options)


def test_stationary_kernel_has_the_spread_of_the_law():
    initializer = StationaryInitializer(**NEURON, timesteps=4, seed=0)
    kernel = to_numpy(initializer((400, 200)))
    spread = theory.stationary_stddev(**NEURON, timesteps=4) / 20
    # The standard error of a standard deviation is 1 / sqrt(2 n).
    assert kernel.std() == pytest.approx(spread, rel=4 / math.sqrt(2 * 80_000))
    assert kernel.mean() == pytest.approx(0, abs=4 * spread / 280)


def test_stationary_bias_is_the_law():
    bias = to_numpy(StationaryBias(**NEURON, timesteps=4)((3,)))
    # theta / 4 over 1 + 1/2 + 1/4 + 1/8 timesteps, over lam.
    np.testing.assert_allclose(bias, 1.5 / 4 / 1.875 / 0.25, rtol=1e-6)


@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("shape", [(1, 2, 3), (4, 5, 2), (8, 8, 1)])
def test_padding_is_not_an_input(shape, size, strides):
    ones = keras.layers.Conv2D(
        1, size, strides, padding="same", kernel_initializer="ones"
    )
    counted = to_numpy(ones(np.ones((1, *shape), "float32"))).mean()
    found = initializers.padded_fan_in(shape, size, strides)
    assert abs(found - counted) <= 0.5 + 1e-6


@pytest.mark.parametrize("encoder", [None, "constant", "poisson"])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize(
    "normalization",
    [None, lambda axis: keras.layers.BatchNormalization(axis=axis)],
    ids=["none", "custom"],
)
def test_builders_count_the_inputs_in_the_image(
    encoder, data_format, normalization
):
    options = {"encoder": encoder, "data_format": data_format}
    model = models.sequential_snn(
        "C4 C6",
        (5, 8, 3),
        10,
        timesteps=2,
        initializer="stationary",
        normalization=normalization,
        **options,
    )
    found = [
        model.get_layer(name).kernel_initializer.fan_in
        for name in ("conv1", "conv2")
    ]
    # 3x3 positions, less one of three at each of the two ends of an axis.
    rows, columns = 3 - 2 / 5, 3 - 2 / 8
    expected = [round(rows * columns * channels) for channels in (3, 4)]
    assert found == ([None, None] if normalization else expected)


@pytest.mark.parametrize("name", ["asymptote", "shi", "copy"])
def test_other_schemes_count_the_padding(name):
    model = models.sequential_snn("C4", (5, 8, 3), 10, initializer=name)
    assert model.get_layer("conv1").kernel_initializer.fan_in is None


@pytest.mark.parametrize("shape", [(None, 8, 3), (4, 8, 8, 3), (8, 0, 3), 8])
def test_shapes_of_other_things_than_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"`shape` must be .*Received: shape="):
        initializers.padded_fan_in(shape, 3)


@pytest.mark.parametrize("name", initializers.NAMES)
def test_a_layer_takes_its_fan_in(name):
    if name in ("glorot", "he"):
        with pytest.raises(ValueError, match=f"must be None for '{name}'"):
            initializers.for_layer(name, **NEURON, fan_in=3)
    else:
        layer = initializers.for_layer(name, **NEURON, fan_in=3)
        assert layer["kernel_initializer"].fan_in == 3


@pytest.mark.slow  # builds 20 convolutions
@pytest.mark.parametrize("k", [0.2, 0.5])
def test_padded_convolutions_keep_the_rate(k, rng):
    model = models.sequential_snn(
        "C48*20",
        (8, 8, 48),
        10,
        timesteps=10,
        **{"k": k, "lam": 0.5, "theta": 1.0},
        initializer="stationary",
        encoder=None,
        seed=0,
    )
    x = rng.random((4, 10, 8, 8, 48)) < 0.15
    rates = firing_rates(model, x.astype("float32"))
    last = [rate for rate, _ in list(rates.values())[-5:]]
    # If the padding counts as inputs, they fire at 0.03 and 0.09.
    assert 0.75 * 0.15 < np.mean(last) < 1.25 * 0.15


@pytest.mark.parametrize(
    ("inputs", "units", "copied"),
    [(4, 4, [0, 1, 2, 3]), (2, 4, [0, 0, 1, 1]), (4, 2, [0, 2])],
    ids=["equal", "wider", "narrower"],
)
def test_dense_copy_is_tiled(inputs, units, copied):
    kernel = to_numpy(copy(gain=1.5, noise=0.0)((inputs, units)))
    expected = np.zeros((inputs, units))
    expected[copied, range(units)] = 1.5 * 1.5 / 0.25
    np.testing.assert_array_equal(kernel, expected)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_convolution_copies_every_pixel(size):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 2, (2, 6, 6, 3)).astype("float32")
    layer = keras.layers.Conv2D(
        3, size, padding="same", kernel_initializer=copy(gain=1, noise=0.0)
    )
    np.testing.assert_array_equal(to_numpy(layer(images)), 6 * images)


def test_noise_has_its_spread():
    kernel = to_numpy(copy(noise=0.5, seed=0)((100, 3000)))
    random = kernel[50]  # few copies in a row of 30
    assert np.median(np.abs(random)) == pytest.approx(
        0.6745 * 0.5 * 6 / 10, rel=0.05
    )


@pytest.mark.parametrize("k", [0.2, 0.8, 1.0])
def test_spikes_pass_a_hundred_layers(k):
    rng = np.random.default_rng(1)
    first = spikes = (rng.random((2, 8, 64)) < 0.3).astype("float64")
    for seed in range(100):
        initializer = CopyInitializer(k, 0.5, 2.0, noise=0.0, seed=seed)
        kernel = to_numpy(initializer((64, 64)))
        spikes, _ = reference.lif(spikes @ kernel, k, 0.5, 2.0)
    np.testing.assert_array_equal(spikes, first)


def test_surrogate_suits_the_initialization():
    for name in initializers.NAMES:
        law = initializers.for_gradient(name, 0.5, 0.25, 2.0, timesteps=3)
        deep = name in ("stationary", "copy", "shi")
        assert law["detach_reset"] is deep
        kind = Exponential if deep else Arctan
        assert isinstance(law["surrogate"], kind)
    assert initializers.for_gradient("copy", 0.5, 0.25, 2.0)["surrogate"] == (
        Exponential(0.6)
    )
    a = theory.stationary_steepness(0.5, 2.0, timesteps=3)
    law = initializers.for_gradient("stationary", 0.5, 0.25, 2.0, timesteps=3)
    assert law["surrogate"] == Exponential(a)


@pytest.mark.parametrize("name", ["stationary", "copy"])
def test_builder_takes_law_and_surrogate(name):
    options = {"timesteps": 3, "initializer": name, "seed": 0} | NEURON
    model = models.sequential_snn(
        "FC20 FC20", (4, 4, 1), 3, surrogate="auto", **options
    )
    neurons = model.get_layer("lif2")
    law = initializers.for_gradient(name, **NEURON, timesteps=3)
    assert neurons.neuron.surrogate == law["surrogate"]
    assert neurons.neuron.detach_reset
    weights = initializers.for_layer(name, **NEURON, timesteps=3)
    bias = model.get_layer("dense2").bias
    expected = weights["bias_initializer"]
    expected = 0 if expected == "zeros" else to_numpy(expected((20,)))
    np.testing.assert_array_equal(to_numpy(bias), expected)


@pytest.mark.parametrize("readout", ["mean", "rate"])
def test_readout_of_copies_mixes_all_features(readout):
    model = models.sequential_snn(
        "FC20 FC20", (4, 4, 1), 3, initializer="copy", readout=readout, seed=0
    )
    copies = to_numpy(model.get_layer("dense2").kernel)
    assert np.diag(copies).min() > 3 * np.abs(np.triu(copies, 1)).max()
    kernel = np.abs(to_numpy(model.get_layer("logits").kernel))
    assert kernel.max() < 10 * np.median(kernel)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: copy(gain=0), ValueError, "`gain` must be above 0"),
        (lambda: copy(noise=-1), ValueError, "`noise` must be"),
        (
            lambda: StationaryInitializer(**NEURON, rate=0.6),
            ValueError,
            r"`rate` must be in \[0.1, 0.4\]. Received: rate=0.6",
        ),
        (
            lambda: StationaryInitializer(**NEURON, timesteps=0),
            ValueError,
            "`timesteps` must be at least 1",
        ),
        (
            lambda: StationaryBias(**NEURON, timesteps=2.5),
            TypeError,
            "`timesteps` must be an integer",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
