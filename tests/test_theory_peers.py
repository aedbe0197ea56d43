"""Laws of other authors, against scipy, recursions and random draws."""

import math

import numpy as np
import pytest
from scipy import integrate, optimize
from scipy.stats import norm

from keras_snn import theory

# theta / lam is 6, so a law without one of them is off by a factor.
LAM, THETA = 0.25, 1.5


@pytest.mark.parametrize(("k", "timesteps"), [(0.8, None), (0.5, 4), (1, 20)])
def test_fluctuations_reach_the_threshold_at_xi_deviations(k, timesteps):
    stddev = theory.rossbroich_stddev(
        50, k, LAM, THETA, rate=0.2, xi=3.0, timesteps=timesteps
    )
    variance = 0.0  # of the potential, from one timestep to the next
    for _ in range(timesteps or 1000):
        variance = k**2 * variance + LAM**2 * 50 * 0.2 * stddev**2
    assert math.sqrt(variance) == pytest.approx(THETA / 3)


@pytest.mark.parametrize("theta", [0.25, 1.5, 5.0])
def test_the_first_potential_keeps_its_variance(theta):
    stddev = theory.micheli_stddev(50, LAM, theta)
    # 50 inputs, which fire if a standard normal exceeds theta.
    variance = LAM**2 * 50 * norm.sf(theta) * stddev**2
    assert variance == pytest.approx(1)


def stationary(k, spread, rate):
    """Solves the equations of Theorem 4.1 for the potential."""

    def equations(unknown):
        m, s = unknown
        z = (THETA - m) / s
        first = m - k * (m * norm.cdf(z) - s * norm.pdf(z))
        kept = (m**2 + s**2) * norm.cdf(z) - s * (THETA + m) * norm.pdf(z)
        return first, m**2 + s**2 - k**2 * kept - rate * spread**2

    start = 0, spread * math.sqrt(rate / (1 - k**2))
    solution = optimize.root(equations, start, tol=1e-12)
    assert solution.success
    return solution.x


@pytest.mark.parametrize("k", [0.05, 0.5, 0.8])
@pytest.mark.parametrize("rate", [0.1, 0.2])
def test_spikeinit_keeps_the_rate_of_the_stationary_potential(k, rate):
    spread = LAM * theory.shi_stddev(1, k, LAM, THETA, rate)
    m, s = stationary(k, spread, rate)
    assert norm.sf((THETA - m) / s) == pytest.approx(rate)
    of_many = theory.shi_stddev(49, k, LAM, THETA, rate)
    assert LAM * of_many == pytest.approx(spread / 7)


def draw(k, spread, rate, timesteps):
    """Draws potentials of the last timestep, as Algorithm 3 does."""
    rng = np.random.default_rng(0)
    potential = np.zeros(50_000)
    for _ in range(timesteps):
        kept = np.where(potential >= THETA, 0, k * potential)
        noise = rng.normal(size=potential.size)
        potential = kept + math.sqrt(rate) * spread * noise
    return potential


after = pytest.mark.parametrize(
    ("k", "timesteps"), [(0.5, 1), (0.5, 4), (0.9, 30), (1.0, 2), (1.0, 20)]
)


@after
def test_spikeinit_keeps_the_rate_of_the_last_timestep(k, timesteps):
    rate = 0.1
    spread = LAM * theory.shi_stddev(1, k, LAM, THETA, rate, timesteps)
    found = np.mean(draw(k, spread, rate, timesteps) >= THETA)
    # Five standard errors of a binomial.
    error = math.sqrt(rate * (1 - rate) / 50_000)
    assert found == pytest.approx(rate, abs=5 * error)


def test_a_single_timestep_has_a_closed_form():
    spread = LAM * theory.shi_stddev(1, 0.7, LAM, THETA, 0.05, timesteps=1)
    assert norm.sf(THETA / (math.sqrt(0.05) * spread)) == pytest.approx(0.05)


def test_many_timesteps_are_almost_stationary():
    finite = theory.shi_stddev(1, 0.5, LAM, THETA, timesteps=60)
    # The stationary solution assumes a normal potential.
    assert finite == pytest.approx(
        theory.shi_stddev(1, 0.5, LAM, THETA), rel=0.01
    )


def squared_slope(a, potential):
    return (a * np.exp(-2 * a * np.abs(potential - THETA))) ** 2


@pytest.mark.parametrize(
    ("k", "rate"), [(0.05, 0.1), (0.8, 0.1), (0.8, 0.001), (0.5, 1e-9)]
)
def test_the_surrogate_keeps_the_norm_of_the_gradient(k, rate):
    a = theory.shi_steepness(k, THETA, rate)
    spread = LAM * theory.shi_stddev(1, k, LAM, THETA, rate)
    potential = norm(*stationary(k, spread, rate))

    def mean_square(a):
        def density(u):
            return squared_slope(a, u) * potential.pdf(u)

        ends = (potential.ppf(1e-12), THETA, potential.isf(1e-12))
        return sum(
            integrate.quad(density, low, high, epsabs=1e-12)[0]
            for low, high in zip(ends, ends[1:], strict=False)
        )

    target = (1 - (1 - rate) * k**2) / spread**2
    assert mean_square(a) == pytest.approx(target, rel=1e-6)
    # At a rate of 0.001, there are more solutions above.
    assert all(mean_square(x) < target for x in np.linspace(0.05, 0.99, 9) * a)


@after
def test_the_surrogate_of_the_last_timestep(k, timesteps):
    rate = 0.1
    a = theory.shi_steepness(k, THETA, rate, timesteps)
    spread = LAM * theory.shi_stddev(1, k, LAM, THETA, rate, timesteps)
    squares = squared_slope(a, draw(k, spread, rate, timesteps))
    # Paths from a spike back to the currents of this and earlier timesteps.
    paths = [
        sum(((1 - rate) * k**2) ** back for back in range(t + 1))
        for t in range(timesteps)
    ]
    target = 1 / (np.mean(paths) * spread**2)
    error = squares.std() / math.sqrt(squares.size)
    assert squares.mean() == pytest.approx(target, abs=5 * error)


@pytest.mark.parametrize("timesteps", [None, 5])
def test_the_steepness_is_in_units_of_the_threshold(timesteps):
    one = theory.shi_steepness(0.5, 1.0, timesteps=timesteps)
    assert theory.shi_steepness(0.5, 4.0, timesteps=timesteps) == one / 4


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.4])
def test_the_spread_grows_without_bound_at_the_limit(rate):
    limit = theory.shi_limit(rate)
    spreads = [
        theory.shi_stddev(1, limit * (1 - gap), LAM, THETA, rate)
        for gap in (1e-4, 1e-5, 1e-6)
    ]
    # The spread is inversely proportional to the gap.
    np.testing.assert_allclose(np.divide(spreads[1:], spreads[:-1]), 10, 0.05)
    for k in (limit, 1.0):
        with pytest.raises(ValueError, match="`k` must be below .* rate="):
            theory.shi_stddev(1, k, LAM, THETA, rate)


def test_timesteps_may_be_a_numpy_integer():
    # 255 is the largest of this type, so adding 1 would overflow.
    found = theory.shi_steepness(0.5, 1.0, timesteps=np.uint8(255))
    assert found == theory.shi_steepness(0.5, 1.0, timesteps=255)


def test_an_impossible_rate_is_refused():
    # With an infinite spread, the threshold is 0. For k = 1, a random walk that
    # starts over above 0 is there after two steps with the probability 3/8.
    message = r"`rate` must be below 0.375 for k=1 and timesteps=2. .*=0.38"
    with pytest.raises(ValueError, match=message):
        theory.shi_stddev(1, 1.0, LAM, THETA, rate=0.38, timesteps=2)
    assert theory.shi_stddev(1, 1.0, LAM, THETA, rate=0.37, timesteps=2) > 10


@pytest.mark.parametrize(
    ("law", "wrong", "message"),
    [
        ("rossbroich_stddev", {"k": 1}, "`k` must be below 1 if `timesteps`"),
        ("rossbroich_stddev", {"rate": 0}, r"`rate` must be in \(0, 1\]"),
        ("rossbroich_stddev", {"xi": -1}, "`xi` must be above 0"),
        ("rossbroich_stddev", {"timesteps": 0}, "`timesteps` must be at least"),
        ("micheli_stddev", {"theta": 38}, r"`theta` must be in \(0, 37\]"),
        ("micheli_stddev", {"lam": 0}, "`lam` must be above 0"),
        ("shi_stddev", {"rate": 0.6}, r"`rate` must be in \(0, 0.5\)"),
        ("shi_stddev", {"timesteps": 0}, "`timesteps` must be at least 1"),
        ("shi_stddev", {"fan_in": 0}, "`fan_in` must be at least 1"),
        ("shi_steepness", {"theta": 0}, "`theta` must be above 0"),
        ("shi_limit", {"rate": 0}, r"`rate` must be in \(0, 0.5\)"),
    ],
)
def test_impossible_arguments_are_refused(law, wrong, message):
    every = {"fan_in": 5, "k": 0.5, "lam": 1.0, "theta": 1.0}
    names = {
        "micheli_stddev": ("fan_in", "lam", "theta"),
        "shi_steepness": ("k", "theta"),
        "shi_limit": (),
    }.get(law, every)
    with pytest.raises(ValueError, match=message):
        getattr(theory, law)(**{x: every[x] for x in names} | wrong)
