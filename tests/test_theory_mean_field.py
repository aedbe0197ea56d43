"""The mean-field theory, against wide random networks in plain NumPy."""

import math

import numpy as np
import pytest
import reference

from keras_snn import theory

RANDOM = np.random.default_rng(12)
# Neurons (k, lam, theta), with spread and bias of the weights in units of
# theta / lam, timesteps, and the reset.
NEURONS = [
    (
        (
            *(float(x) for x in RANDOM.uniform((0.1, 0.1, 0.3), (1, 4, 4))),
            float(RANDOM.uniform(0.8, 3)),
            float(RANDOM.uniform(-0.1, 0.4)),
            int(RANDOM.integers(2, 30)),
        ),
        ("zero", "subtract", "none")[number % 3],
    )
    for number in range(29)
] + [((1.0, 1.0, 1.0, 2.0, 0.05, 20), "zero")]


def network(spikes, layers, stddev, bias, neuron, reset, seed=0):
    """Runs random layers. Returns weights, currents and spikes of each."""
    rng = np.random.default_rng(seed)
    width = spikes.shape[-1]
    found = []
    for _ in range(layers):
        weights = rng.normal(0, stddev / math.sqrt(width), (width, width))
        current = spikes @ weights + bias
        spikes, _ = reference.lif(current, *neuron, reset)
        found.append((weights, current, spikes))
    return found


def inputs(rates, batch, timesteps, seed=1):
    rng = np.random.default_rng(seed)
    shape = (batch, timesteps, len(rates))
    return (rng.random(shape) < rates).astype("float64")


@pytest.mark.parametrize(("constants", "reset"), NEURONS)
def test_rates_and_their_squares_are_those_of_a_wide_network(constants, reset):
    k, lam, theta, stddev, bias, timesteps = constants
    stddev, bias = stddev * theta / lam, bias * theta / lam
    rates = np.linspace(0, 0.4, 1000)  # mean 0.2, mean square 0.16 / 3
    spikes = inputs(rates, 2, timesteps)
    moments = theory.bernoulli_moments(0.2, timesteps, square=0.16 / 3)
    layers = network(spikes, 3, stddev, bias, (k, lam, theta), reset)
    for _, _, spikes in layers:
        moments = theory.moments_after(
            moments, stddev, bias, k, lam, theta, reset
        )
        per_neuron = spikes.mean(axis=1)
        # 2000 neurons, whose rates differ by their weights.
        assert theory.mean_rate(moments) == pytest.approx(
            spikes.mean(), rel=0.07, abs=0.01
        )
        assert moments.mean() == pytest.approx(
            np.mean(per_neuron**2), rel=0.1, abs=0.01
        )


@pytest.mark.parametrize("k", [0.3, 0.8, 1.0])
def test_overlap_of_two_inputs_is_that_of_a_wide_network(k):
    timesteps, stddev, bias = 10, 1.8, 0.1
    rng = np.random.default_rng(2)
    first = rng.uniform(0, 0.4, 1500)
    # Half of the rates are shared.
    second = np.where(np.arange(1500) % 2, first, rng.permutation(first))
    moments = theory.bernoulli_moments(0.2, timesteps, square=0.16 / 3)
    shared = (0.16 / 3 + 0.2**2) / 2
    cross = np.full((timesteps, timesteps), shared)
    a, b = (
        network(
            inputs(rates, 1, timesteps, seed),
            *(3, stddev, bias, (k, 1.0, 1.0), "zero"),
        )
        for seed, rates in enumerate((first, second))
    )
    for (_, _, x), (_, _, y) in zip(a, b, strict=True):
        cross = theory.cross_moments_after(
            moments, cross, stddev, bias, k, 1.0, 1.0
        )
        moments = theory.moments_after(moments, stddev, bias, k, 1.0, 1.0)
        found = np.mean(x.mean(1) * y.mean(1))
        assert cross.mean() == pytest.approx(found, rel=0.1)


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
def test_gradients_have_the_norms_of_a_wide_network(reset, detach_reset):
    k, lam, theta, timesteps, width = 0.7, 0.5, 1.5, 6, 400
    stddev, bias = 1.6 * theta / lam, 0.2 * theta / lam

    def derivative(distance):
        return 0.8 / (1 + (math.pi * 0.8 * distance) ** 2)

    found, moments = [], []
    for seed in range(4):
        # The rates settle in the first layers.
        layers = network(
            inputs(np.full(width, 0.2), 3, timesteps),
            *(16, stddev, bias, (k, lam, theta), reset, seed),
        )[10:]
        rng = np.random.default_rng(seed)
        gradient = rng.normal(size=(3, 1, width))
        gradient = np.repeat(gradient, timesteps, axis=1)
        squares = [np.mean(gradient**2)]
        for weights, current, spikes in reversed(layers):
            at_current = reference.gradient(
                *(current, gradient, np.zeros((3, width)), derivative),
                *(k, lam, theta, reset, detach_reset),
            )
            gradient = at_current @ weights.T
            squares.append(np.mean(gradient**2))
            products = np.einsum("bsn,btn->st", spikes, spikes)
            moments.append(products / spikes[:, 0].size)
        found.append(np.divide(squares, squares[0]))
    moments = np.mean(moments, axis=0)
    expected = theory.gradient_squares(
        *(moments, stddev, bias, k, lam, theta, derivative),
        reset=reset,
        detach_reset=detach_reset,
        layers=6,
    )
    # Per layer, because the errors of a finite width multiply.
    root = 1 / np.arange(1, 7)
    np.testing.assert_allclose(
        expected[1:] ** root, np.mean(found, axis=0)[1:] ** root, rtol=0.12
    )


def test_overlap_keeps_the_order_of_the_timesteps():
    # The second input is the first, one timestep later.
    timesteps, stddev, bias = 8, 2.0, 0.0
    first = inputs(np.full(1500, 0.2), 12, timesteps + 1)
    a, b = (
        network(x, 1, stddev, bias, (0.3, 1.0, 1.0), "zero")[0][2]
        for x in (first[:, 1:], first[:, :-1])
    )
    moments = theory.bernoulli_moments(0.2, timesteps)
    cross = np.full((timesteps, timesteps), 0.04) + 0.16 * np.eye(
        timesteps, k=1
    )
    after = theory.cross_moments_after(
        moments, cross, stddev, bias, 0.3, 1.0, 1.0
    )
    found = np.einsum("bsn,btn->st", a, b) / a[:, 0].size
    # Compares the spikes that coincide after a shift in either direction.
    for shift in (1, -1):
        ours, theirs = np.diag(after, shift), np.diag(found, shift)
        assert ours.mean() == pytest.approx(theirs.mean(), rel=0.1)
    assert np.diag(found, 1).mean() > 2 * np.diag(found, -1).mean()


def test_overlap_with_itself_is_the_moments():
    moments = theory.bernoulli_moments(0.2, 6)
    neuron = (1.5, 0.1, 0.8, 1.0, 1.0)
    after = theory.moments_after(moments, *neuron)
    cross = theory.cross_moments_after(moments, moments, *neuron)
    # Both are means over 4096 samples, but not over the same.
    np.testing.assert_allclose(cross, after, atol=0.03)


@pytest.mark.parametrize("k", [0.3, 0.8])
def test_slope_is_that_of_a_wide_network(k):
    timesteps, stddev, bias = 10, 2.0, 0.1
    found = []
    for rate in (0.9 * 0.2, 1.1 * 0.2):
        rates = [
            network(
                inputs(np.full(1500, rate), 4, timesteps, seed),
                *(1, stddev, bias, (k, 1.0, 1.0), "zero", seed),
            )[0][2].mean()
            for seed in range(3)
        ]
        found.append(np.mean(rates))
    slope = theory.rate_slope(
        theory.bernoulli_moments(0.2, timesteps), stddev, bias, k, 1.0, 1.0
    )
    assert slope == pytest.approx((found[1] - found[0]) / 0.04, abs=0.08)


def test_the_slope_needs_room_above_the_rate():
    moments = theory.bernoulli_moments(0.96, 5)
    with pytest.raises(ValueError, match="rates of at most 0.95.*: 0.96"):
        theory.rate_slope(moments, 1.0, 0.0, 0.5, 1.0, 1.0)


@pytest.mark.parametrize("a", [0.5, 1.0, 2.0])
def test_gradient_through_the_reset_grows_by_k_theta_a(a):
    # A neuron that integrates to just above its threshold at every timestep.
    k, theta, timesteps = 1.0, 1.5, 12
    current = np.full((1, timesteps, 1), theta * (1 + 1e-9))
    at_spikes = np.zeros_like(current)
    at_spikes[:, -1] = 1.0
    gradient = reference.gradient(
        *(current, at_spikes, np.zeros((1, 1)), lambda x: a / (1 + x * x)),
        *(k, 1.0, theta, "zero", False),
    )
    ratios = np.abs(gradient[0, :-1, 0] / gradient[0, 1:, 0])
    np.testing.assert_allclose(
        ratios, theory.reset_growth(k, theta, peak=a), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.bernoulli_moments(1.5, 3), "`rate` must be in"),
        (lambda: theory.bernoulli_moments(0.5, 0), "`timesteps` must be"),
        (
            lambda: theory.bernoulli_moments(0.5, 3, square=0.6),
            "`square` must be",
        ),
        (
            lambda: theory.moments_after(np.eye(2), 1, 0, 1.5, 1, 1),
            "`k` must be",
        ),
        (
            lambda: theory.moments_after(np.eye(2), 1, 0, 1, 1, 1, "soft"),
            "`reset` must be",
        ),
        (
            lambda: theory.stationary_stddev(0.5, 1, 1, rate=0.5),
            "`rate` must be",
        ),
        (lambda: theory.reset_growth(0.5, 1, 0), "`peak` must be"),
        (
            lambda: theory.moments_after(np.eye(3)[:2], 1, 0, 1, 1, 1),
            r"`moments` must be square.*Received: shape=\(2, 3\)",
        ),
        (
            lambda: theory.moments_after(5 * np.eye(2), 1, 0, 1, 1, 1),
            r"`moments` must be finite, with rates in \[0, 1\]",
        ),
        (
            lambda: theory.moments_after(math.nan * np.eye(2), 1, 0, 1, 1, 1),
            "`moments` must be finite",
        ),
        (
            lambda: theory.moments_after(np.eye(2), -1, 0, 1, 1, 1),
            "`stddev` must be",
        ),
        (
            lambda: theory.moments_after(np.eye(2), 1, math.nan, 1, 1, 1),
            "`bias` must be finite",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
