"""The stationary law, against its defining equations and NumPy networks."""

import math

import numpy as np
import pytest
import reference

from keras_snn import theory

# Table A6, and one neuron of small k.
TABLE_A6 = [
    (0.3, 0.1, 1.0),
    (0.8, 0.2, 1.0),
    (0.8, 0.5, 1.0),
    (0.2, 0.8, 1.0),
    (1.0, 1.0, 1.0),
    (0.5, 4.0, 1.0),
    (0.4, 0.4, 4.0),
    (0.6, 0.3, 4.0),
]


def law(k, lam, theta, timesteps, rate=0.15):
    stddev = theory.stationary_stddev(k, lam, theta, rate, timesteps)
    return stddev, theory.stationary_bias(k, lam, theta, timesteps)


@pytest.mark.parametrize("neuron", TABLE_A6, ids=str)
def test_rate_stays_over_thirty_layers(neuron):
    timesteps, width = 10, 500
    stddev, bias = law(*neuron, timesteps)
    rng = np.random.default_rng(0)
    spikes = (rng.random((2, timesteps, width)) < 0.15).astype("float64")
    for _ in range(30):
        weights = rng.normal(0, stddev / math.sqrt(width), (width, width))
        spikes, _ = reference.lif(spikes @ weights + bias, *neuron)
        assert 0.75 * 0.15 < spikes.mean() < 1.25 * 0.15


@pytest.mark.parametrize("start", [0.05, 0.5])
@pytest.mark.parametrize("k", [0.5, 0.8, 1.0])
def test_other_rates_return_to_the_target(k, start):
    stddev, bias = law(k, 1.0, 1.0, 10)
    moments = theory.bernoulli_moments(start, 10)
    for seed in range(30):
        moments = theory.moments_after(
            moments, stddev, bias, k, 1.0, 1.0, seed=seed
        )
    assert theory.mean_rate(moments) == pytest.approx(0.15, rel=0.15)


@pytest.mark.parametrize("timesteps", [4, 20])
@pytest.mark.parametrize("k", [0.2, 0.8, 1.0])
def test_fixed_point_is_stable(k, timesteps):
    stddev, bias = law(k, 1.0, 1.0, timesteps)
    moments = theory.stationary_moments(k, timesteps=timesteps)
    neuron = (stddev, bias, k, 1.0, 1.0)
    assert theory.mean_rate(moments) == pytest.approx(0.15)
    assert 0 < theory.rate_slope(moments, *neuron) < 0.75
    after = theory.moments_after(moments, *neuron)
    assert theory.mean_rate(after) == pytest.approx(0.15, rel=0.03)


def test_bias_alone_takes_the_potential_to_a_quarter_of_the_threshold():
    for k, timesteps in ((0.3, 5), (0.9, 20), (1.0, 7)):
        bias = theory.stationary_bias(k, 0.5, 2.0, timesteps)
        current = np.full((1, timesteps, 1), bias)
        spikes, potential = reference.lif(current, k, 0.5, 2.0)
        assert spikes.sum() == 0
        assert potential.item() == pytest.approx(0.25 * 2.0)


def test_lam_and_theta_only_scale_the_law():
    unit = law(0.8, 1.0, 1.0, 4)
    np.testing.assert_allclose(law(0.8, 0.25, 3.0, 4), np.multiply(unit, 12))
    steepness = theory.stationary_steepness(0.8, 1.0, timesteps=4)
    other = theory.stationary_steepness(0.8, 4.0, timesteps=4)
    assert other == pytest.approx(steepness / 4)


@pytest.mark.parametrize("k", [0.5, 1.0])
def test_steepness_keeps_the_gradient(k):
    a = theory.stationary_steepness(k, 2.0, timesteps=10)
    stddev, bias = law(k, 0.5, 2.0, 10)
    squares = theory.gradient_squares(
        *(theory.stationary_moments(k, timesteps=10), stddev, bias),
        *(k, 0.5, 2.0, lambda x: a * np.exp(-2 * a * np.abs(x))),
        detach_reset=True,
    )
    assert squares[-1] == pytest.approx(1, rel=0.2)


def test_a_higher_rate_needs_larger_weights():
    spreads = [
        theory.stationary_stddev(0.8, 1.0, 1.0, rate, 5)
        for rate in (0.1, 0.2, 0.3, 0.4)
    ]
    assert spreads == sorted(spreads)


def test_one_timestep_has_a_closed_form():
    # P(stddev sqrt(rate) z + 0.25 > 1) = rate, with z normal and rate = 0.15.
    stddev = theory.stationary_stddev(0.8, 1.0, 1.0, rate=0.15, timesteps=1)
    quantile = 1.0364333894937896  # of 0.85
    assert stddev == pytest.approx(0.75 / quantile / math.sqrt(0.15), rel=0.03)
