import functools
import json
import math
import random

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn import initializers
from keras_snn.initializers import (
    AsymptoteBias,
    AsymptoteInitializer,
    CopyInitializer,
    Lee2020Initializer,
    LeeInitializer,
    MicheliInitializer,
    RossbroichInitializer,
    ShiInitializer,
    StationaryInitializer,
    WuInitializer,
)

# theta / lam is 6, so a law without one of them is off by a factor.
NEURON = {"k": 0.5, "lam": 0.25, "theta": 1.5}


def asymptote(**kwargs):
    return AsymptoteInitializer(**NEURON, **kwargs)


RANDOM = {
    "asymptote": asymptote,
    "wu": WuInitializer,
    "lee": LeeInitializer,
    "lee2020": Lee2020Initializer,
    "rossbroich": functools.partial(RossbroichInitializer, **NEURON),
    "micheli": functools.partial(MicheliInitializer, **NEURON),
    "shi": functools.partial(ShiInitializer, **NEURON),
    "stationary": functools.partial(
        StationaryInitializer, **NEURON, timesteps=3
    ),
    "copy": functools.partial(CopyInitializer, **NEURON),
}
random_initializers = pytest.mark.parametrize(
    "initializer", RANDOM.values(), ids=RANDOM
)


# JAX compiles the random numbers of each shape, so there are few: layers of
# different fan-in share one shape of rank 3 and one of rank 4.
def dense(initializer):
    return keras.layers.Dense(64, kernel_initializer=initializer), (None, 400)


def conv1d(initializer):
    layer = keras.layers.Conv1D(32, 40, kernel_initializer=initializer)
    return layer, (None, 50, 16)


def conv2d(initializer):
    layer = keras.layers.Conv2D(256, 3, kernel_initializer=initializer)
    return layer, (None, 9, 9, 4)


def conv3d(initializer):
    layer = keras.layers.Conv3D(128, 2, kernel_initializer=initializer)
    return layer, (None, 4, 4, 4, 16)


def grouped(initializer):
    layer = keras.layers.Conv2D(
        256, 3, groups=4, kernel_initializer=initializer
    )
    return layer, (None, 9, 9, 16)


def depthwise(initializer):
    layer = keras.layers.DepthwiseConv2D(
        3, depth_multiplier=256, depthwise_initializer=initializer
    )
    return layer, (None, 9, 9, 4)


def einsum(initializer):
    layer = keras.layers.EinsumDense(
        "abc,cde->abde",
        output_shape=(None, 16, 32),
        kernel_initializer=initializer,
    )
    return layer, (None, 7, 40)


# The layer, its fan-in, the leading axes of the kernel that a unit sums over,
# and the arguments. A unit of a grouped convolution sees 4 of 16 channels. The
# last two kernels do not show their fan-in, so it is given.
LAYERS = [
    (dense, 400, (0,), {}),
    (conv1d, 40 * 16, (0, 1), {}),
    (conv2d, 3 * 3 * 4, (0, 1, 2), {}),
    (conv3d, 2 * 2 * 2 * 16, (0, 1, 2, 3), {}),
    (grouped, 3 * 3 * 4, (0, 1, 2), {}),
    (depthwise, 3 * 3, (0, 1), {"fan_in": 9}),
    (einsum, 40, (0,), {"fan_in": 40}),
]
layers = pytest.mark.parametrize(
    ("make", "fan_in", "axes", "given"),
    LAYERS,
    ids=[make.__name__ for make, *_ in LAYERS],
)


def kernel_of(make, initializer):
    layer, input_shape = make(initializer)
    layer.build(input_shape)
    return to_numpy(layer.weights[0]).astype("float64")


@layers
def test_asymptote_kernel_is_normal_with_the_variance_of_eq_11(
    make, fan_in, axes, given
):
    kernel = kernel_of(make, asymptote(**given))
    stddev = math.sqrt(2 / fan_in) * 1.5 / 0.25
    # Five standard errors, exceeded by one seed in a million: stddev / sqrt(n)
    # for the mean, stddev / sqrt(2n) for the standard deviation of a normal,
    # and a binomial's for the tails.
    n = kernel.size
    assert kernel.mean() == pytest.approx(0, abs=5 * stddev / math.sqrt(n))
    assert kernel.std() == pytest.approx(stddev, rel=5 / math.sqrt(2 * n))
    # Keras's truncated normal has no tails.
    tails = math.erfc(2 / math.sqrt(2))
    assert np.mean(abs(kernel) > 2 * stddev) == pytest.approx(
        tails, abs=5 * math.sqrt(tails * (1 - tails) / n)
    )


@layers
def test_lee_kernel_is_uniform_up_to_its_bounds(make, fan_in, axes, given):
    kernel = kernel_of(make, LeeInitializer(**given))
    limit = math.sqrt(3 / fan_in)
    stddev = limit / math.sqrt(3)
    n = kernel.size
    # float32 may round beyond the limit. All n draws stay 20/n below it with
    # the probability (1 - 20/n)^n, about exp(-20).
    assert abs(kernel).max() <= limit * (1 + 1e-6)
    assert kernel.max() > limit * (1 - 40 / n)
    assert kernel.min() < -limit * (1 - 40 / n)
    # Five standard errors: sqrt((kurtosis - 1) / 4n) of a standard deviation,
    # with a kurtosis of 9/5.
    assert kernel.mean() == pytest.approx(0, abs=5 * stddev / math.sqrt(n))
    assert kernel.std() == pytest.approx(stddev, rel=5 * math.sqrt(0.2 / n))


@layers
def test_wu_units_have_incoming_weights_of_norm_one(make, fan_in, axes, given):
    kernel = kernel_of(make, WuInitializer(**given))
    norms = np.sqrt((kernel**2).sum(axes))
    # float32 rounds each of the fan_in squares to a relative 6e-8.
    np.testing.assert_allclose(norms, 1, rtol=1e-5)
    assert norms.size * fan_in == kernel.size
    # The mean square is 1 / fan_in. The mean is within five standard errors.
    assert kernel.mean() == pytest.approx(
        0, abs=5 / math.sqrt(kernel.size * fan_in)
    )


def test_wu_weights_are_uniform_before_the_norm():
    kernel = kernel_of(dense, WuInitializer())
    # For a normalized uniform, fan_in^2 E[w^4] is the kurtosis 9/5 up to
    # O(1 / fan_in), below 0.02. The fourth power 9 u^4 has the variance
    # 81 (1/9 - 1/25) = 5.76, so five standard errors are 0.075. A normal would
    # give 3. A uniform on [0, 1] fails the test of the mean.
    assert 400**2 * np.mean(kernel**4) == pytest.approx(9 / 5, abs=0.095)


@pytest.mark.parametrize(
    ("k", "lam", "theta", "bias"),
    # theta (1 - k) / (2 lam), by hand, in binary fractions.
    [(0.5, 0.25, 2.0, 2.0), (0.75, 0.5, 1.0, 0.25), (1.0, 0.5, 3.0, 0.0)],
)
def test_asymptote_bias_is_eq_11(k, lam, theta, bias):
    layer = keras.layers.Dense(3, bias_initializer=AsymptoteBias(k, lam, theta))
    layer.build((None, 2))
    np.testing.assert_array_equal(to_numpy(layer.bias), [bias] * 3)


@random_initializers
def test_an_unseeded_instance_gives_every_layer_another_kernel(initializer):
    shared = initializer()
    kernels = [kernel_of(dense, shared) for _ in range(3)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not np.isclose(kernels[one], kernels[other]).all()


@random_initializers
def test_keras_seed_makes_unseeded_kernels_reproducible(initializer):
    kernels = []
    for seed in (7, 7, 8):
        keras.utils.set_random_seed(seed)
        kernels.append(to_numpy(initializer()((6, 5))))
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()


@random_initializers
def test_pythons_generator_decides_an_unseeded_kernel(initializer):
    kernels = []
    for seed in (7, 7, 8):
        random.seed(seed)
        kernels.append(to_numpy(initializer()((6, 5))))
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()


@random_initializers
def test_an_integer_seed_decides_the_kernel(initializer):
    seeded = initializer(seed=np.int64(3))
    first = to_numpy(seeded((6, 5)))
    np.testing.assert_array_equal(first, to_numpy(seeded((6, 5))))
    keras.utils.set_random_seed(1)
    again = to_numpy(initializer(seed=3)((6, 5)))
    np.testing.assert_array_equal(first, again)
    assert (first != to_numpy(initializer(seed=4)((6, 5)))).any()


@random_initializers
def test_a_seed_generator_advances(initializer):
    kernels = []
    for _ in range(2):
        shared = initializer(seed=keras.random.SeedGenerator(3))
        kernels.append([to_numpy(shared((6, 5))) for _ in range(2)])
    assert (kernels[0][0] != kernels[0][1]).any()
    np.testing.assert_array_equal(kernels[0], kernels[1])


def test_serialized_arguments_are_those_given():
    config = keras.initializers.serialize(asymptote(fan_in=7, seed=3))
    assert config["config"] == NEURON | {"fan_in": 7, "seed": 3}


@random_initializers
@pytest.mark.parametrize("seeded", [False, True])
def test_configuration_is_plain_data(initializer, seeded):
    seed = keras.random.SeedGenerator(3) if seeded else None
    config = initializer(seed=seed).get_config()
    copy = type(initializer()).from_config(json.loads(json.dumps(config)))
    assert copy.get_config() == config


@random_initializers
def test_a_serialized_seed_generator_starts_anew(initializer):
    original = initializer(seed=keras.random.SeedGenerator(3))
    config = keras.initializers.serialize(original)
    first = to_numpy(original((6, 5)))
    copy = keras.initializers.deserialize(config)
    assert isinstance(copy.seed, keras.random.SeedGenerator)
    np.testing.assert_array_equal(to_numpy(copy((6, 5))), first)


@pytest.mark.parametrize(
    "initializer",
    [AsymptoteBias(**NEURON), *(make() for make in RANDOM.values())],
    ids=lambda x: type(x).__name__,
)
def test_dtype_is_the_one_asked_for_or_keras_default(initializer):
    for dtype, expected in (
        (None, keras.config.floatx()),
        ("float32", "float32"),
        ("bfloat16", "bfloat16"),
    ):
        kernel = initializer((6, 5), dtype=dtype)
        assert keras.backend.standardize_dtype(kernel.dtype) == expected


@random_initializers
@pytest.mark.parametrize("shape", [(5,), ()])
def test_a_kernel_needs_inputs_and_units(initializer, shape):
    with pytest.raises(ValueError, match="a kernel of rank 2 or more"):
        initializer()(shape)


@random_initializers
@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"fan_in": 0}, ValueError, "`fan_in` must be at least 1.*fan_in=0"),
        ({"fan_in": 2.5}, TypeError, "`fan_in` must be an integer .*=2.5"),
        ({"seed": "3"}, TypeError, "`seed` .* or a `SeedGenerator`.*seed='3'"),
        ({"seed": -1}, ValueError, "`seed` must be in .0, 2..31..*seed=-1"),
    ],
    ids=str,
)
def test_impossible_fan_in_and_seed_are_refused(
    initializer, kwargs, error, message
):
    with pytest.raises(error, match=message):
        initializer(**kwargs)


@random_initializers
def test_a_kernel_without_inputs_is_refused(initializer):
    with pytest.raises(ValueError, match="`fan_in` must be at least 1. .*=0"):
        initializer()((0, 5))


@pytest.mark.parametrize("kind", [AsymptoteInitializer, AsymptoteBias])
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"k": 1.1}, ValueError, r"`k` must be in \(0, 1\]. .*k=1.1"),
        ({"lam": 0}, ValueError, "`lam` must be above 0. Received: lam=0"),
        ({"theta": "1"}, TypeError, "`theta` must be a number .*theta='1'"),
    ],
    ids=str,
)
def test_impossible_neurons_are_refused(kind, wrong, error, message):
    with pytest.raises(error, match=message):
        kind(**(NEURON | wrong))


@pytest.mark.parametrize("fan_in", [1, 4])
def test_wu_refuses_a_fan_in_that_is_no_product_of_leading_axes(fan_in):
    message = rf"leading axes .* fan_in={fan_in}, shape=\(3, 4, 5\)"
    with pytest.raises(ValueError, match=message):
        WuInitializer(fan_in=fan_in)((3, 4, 5))


def test_a_name_stands_for_the_asymptote_kernel_and_bias():
    arguments = initializers.for_layer("asymptote", **NEURON, seed=3)
    kernel = arguments["kernel_initializer"]
    assert type(kernel) is AsymptoteInitializer
    assert kernel.get_config() == NEURON | {"fan_in": None, "seed": 3}
    bias = arguments["bias_initializer"]
    assert type(bias) is AsymptoteBias
    assert bias.get_config() == NEURON


@pytest.mark.parametrize(
    ("name", "stddev"),
    # The variances for 400 inputs and 64 units: 2 / (inputs + units),
    # 2 / inputs, and 1 / inputs twice.
    [
        ("glorot", math.sqrt(2 / 464)),
        ("he", math.sqrt(2 / 400)),
        ("wu", math.sqrt(1 / 400)),
        ("lee", math.sqrt(1 / 400)),
    ],
)
def test_a_name_stands_for_the_variance_of_a_baseline_and_no_bias(name, stddev):
    layer = keras.layers.Dense(64, **initializers.for_layer(name, **NEURON))
    layer.build((None, 400))
    kernel = to_numpy(layer.kernel)
    # Five standard errors of a normal, the widest of these laws.
    assert kernel.std() == pytest.approx(
        stddev, rel=5 / math.sqrt(2 * kernel.size)
    )
    np.testing.assert_array_equal(to_numpy(layer.bias), np.zeros(64))


@pytest.mark.parametrize("name", initializers.NAMES)
def test_the_seed_of_a_name_decides_its_kernel(name):
    kernels = []
    for seed in (3, 3, 4):
        arguments = initializers.for_layer(name, **NEURON, seed=seed)
        kernels.append(to_numpy(arguments["kernel_initializer"]((6, 5))))
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()


@pytest.mark.parametrize("name", initializers.NAMES)
def test_the_seed_of_a_name_is_a_31_bit_integer(name):
    arguments = initializers.for_layer(name, **NEURON, seed=np.int64(3))
    assert type(arguments["kernel_initializer"].get_config()["seed"]) is int
    with pytest.raises(ValueError, match="`seed` must be in .0, 2..31..*=-1"):
        initializers.for_layer(name, **NEURON, seed=-1)


def test_an_unknown_name_is_refused():
    with pytest.raises(
        ValueError,
        match="`name` must be one of 'asymptote', .*name='orthogonal'",
    ):
        initializers.for_layer("orthogonal", **NEURON)
