"""Initializers of other authors, and the start of normalizations."""

import math

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn import initializers, theory
from keras_snn.initializers import (
    AsymptoteBias,
    Lee2020Initializer,
    MicheliInitializer,
    RossbroichInitializer,
    ShiInitializer,
)

NEURON = {"k": 0.5, "lam": 0.25, "theta": 1.5}
# The law of each, with arguments other than the defaults. `test_theory_peers`
# tests the functions of `theory`.
LAWS = {
    "lee2020": (Lee2020Initializer(1.5), math.sqrt(1.5 / 400)),
    "rossbroich": (
        RossbroichInitializer(**NEURON, rate=0.2, xi=3.0, timesteps=2),
        theory.rossbroich_stddev(400, **NEURON, rate=0.2, xi=3, timesteps=2),
    ),
    "micheli": (
        MicheliInitializer(**NEURON),
        theory.micheli_stddev(400, lam=0.25, theta=1.5),
    ),
    "shi": (
        ShiInitializer(**NEURON, rate=0.2),
        theory.shi_stddev(400, **NEURON, rate=0.2),
    ),
    "shi, 3 timesteps": (
        ShiInitializer(**NEURON, rate=0.2, timesteps=3),
        theory.shi_stddev(400, **NEURON, rate=0.2, timesteps=3),
    ),
}


@pytest.mark.parametrize(("initializer", "stddev"), LAWS.values(), ids=LAWS)
@pytest.mark.parametrize("shape", [(400, 64), (5, 5, 16, 64)], ids=str)
def test_a_kernel_is_normal_with_the_deviation_of_its_law(
    initializer, stddev, shape
):
    kernel = to_numpy(initializer(shape)).astype("float64")
    # Five standard errors of a mean, a standard deviation and a binomial.
    n = kernel.size
    assert kernel.mean() == pytest.approx(0, abs=5 * stddev / math.sqrt(n))
    assert kernel.std() == pytest.approx(stddev, rel=5 / math.sqrt(2 * n))
    tails = math.erfc(2 / math.sqrt(2))  # a truncated normal has none
    assert np.mean(abs(kernel) > 2 * stddev) == pytest.approx(
        tails, abs=5 * math.sqrt(tails * (1 - tails) / n)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lee2020Initializer(0), "`kappa` must be above 0"),
        (
            lambda: RossbroichInitializer(1.0, 1.0, 1.0),
            "`k` must be below 1 if `timesteps` is None",
        ),
        (
            lambda: MicheliInitializer(1.0, 1.0, 40.0),
            r"`theta` must be in \(0, 37\]",
        ),
        (
            lambda: ShiInitializer(1.0, 1.0, 1.0),
            "`k` must be below 0.964 for rate=0.1",
        ),
        (
            lambda: ShiInitializer(1.0, 1.0, 1.0, timesteps=100),
            "`rate` must be below 0.0563 for k=1 and timesteps=100",
        ),
    ],
)
def test_a_law_without_a_solution_is_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "kind", "arguments"),
    [
        ("lee2020", Lee2020Initializer, {"kappa": 2.0}),
        ("rossbroich", RossbroichInitializer, NEURON | {"timesteps": None}),
        ("micheli", MicheliInitializer, NEURON),
        ("shi", ShiInitializer, NEURON | {"timesteps": None}),
    ],
)
def test_a_name_stands_for_a_kernel_and_no_bias(name, kind, arguments):
    found = initializers.for_layer(name, **NEURON, seed=3, timesteps=7)
    assert type(found["kernel_initializer"]) is kind
    config = found["kernel_initializer"].get_config()
    assert config.items() >= (arguments | {"fan_in": None, "seed": 3}).items()
    assert found["bias_initializer"] == "zeros"


@pytest.mark.parametrize(
    ("name", "k", "timesteps"),
    [
        ("rossbroich", 0.99, None),
        ("rossbroich", 1.0, 7),
        ("shi", 0.96, None),
        ("shi", 0.97, 7),
    ],
)
def test_timesteps_replace_a_missing_stationary_law(name, k, timesteps):
    found = initializers.for_layer(name, k, 1.0, 1.0, timesteps=7)
    assert found["kernel_initializer"].timesteps == timesteps


def test_a_normalization_starts_with_the_numbers_of_eq_11():
    start = initializers.for_normalization("asymptote", **NEURON)
    layer = keras.layers.BatchNormalization(**start)
    layer.build((None, 3))
    # sqrt(2) theta / lam and theta (1 - k) / (2 lam), by hand.
    scale = np.float32(6 * math.sqrt(2))
    np.testing.assert_array_equal(to_numpy(layer.gamma), [scale] * 3)
    np.testing.assert_array_equal(to_numpy(layer.beta), [1.5] * 3)
    assert type(start["beta_initializer"]) is AsymptoteBias


def test_a_normalization_starts_with_the_currents_of_the_stationary_law():
    start = initializers.for_normalization("stationary", **NEURON, timesteps=5)
    layer = keras.layers.BatchNormalization(**start)
    layer.build((None, 1000))
    shift = to_numpy(layer.beta)
    # Of a sum of many inputs that fire at a rate of 0.15.
    law = initializers.for_layer("stationary", **NEURON, seed=0, timesteps=5)
    kernel = to_numpy(law["kernel_initializer"]((200, 1000)))
    np.testing.assert_array_equal(
        shift, to_numpy(law["bias_initializer"]((1000,)))
    )
    spikes = np.random.default_rng(0).random((50, 200)) < 0.15
    # The second moment is known up to about 1 %.
    moment = np.sqrt(np.mean((spikes @ kernel) ** 2))
    np.testing.assert_allclose(to_numpy(layer.gamma), moment, rtol=0.03)


@pytest.mark.parametrize(
    "name",
    [x for x in initializers.NAMES if x not in ("asymptote", "stationary")],
)
def test_a_normalization_starts_as_usual_under_other_names(name):
    start = initializers.for_normalization(name, **NEURON)
    assert start == {"gamma_initializer": "ones", "beta_initializer": "zeros"}


def test_a_normalization_needs_a_known_name_and_a_possible_neuron():
    with pytest.raises(ValueError, match="`name` must be one of"):
        initializers.for_normalization("best", **NEURON)
    with pytest.raises(ValueError, match="`lam` must be above 0"):
        initializers.for_normalization("he", **(NEURON | {"lam": 0}))
