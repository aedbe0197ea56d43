"""Laws of other authors for the weights of spiking networks.

They count currents as noise: independent in every timestep, with mean 0. In
that limit, `n` inputs that fire with probability `rate`, times weights of
variance `w`, give currents of variance `n rate w`.
"""

import math
from statistics import NormalDist

import numpy as np

from keras_snn.validation import check_count, check_neuron, check_number

__all__ = [
    "micheli_stddev",
    "rossbroich_stddev",
    "shi_limit",
    "shi_steepness",
    "shi_stddev",
]

REACH = 9.0  # standard deviations, beyond which a normal variable counts as 0


def rossbroich_stddev(
    fan_in: int,
    k: float,
    lam: float,
    theta: float,
    rate: float = 0.1,
    xi: float = 2.0,
    timesteps: int | None = None,
) -> float:
    """Computes the standard deviation of fluctuation-driven weights.

    If no neuron fired, the potential would fluctuate around 0, and the
    threshold would be `xi` standard deviations away.

    Args:
        fan_in: Number of inputs to one unit, at least 1.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        rate: Firing rate of the inputs, in `(0, 1]`. The authors measure it in
            the data.
        xi: Distance between mean potential and threshold in standard deviations
            of the potential, above 0.
        timesteps: Number of timesteps, at least 1, after which the fluctuations
            are taken. `None`, the authors' choice, means infinitely many, and
            needs a `k` below 1.

    Returns:
        `theta sqrt(1 - k^2) / (lam xi sqrt(rate fan_in))`, a float. With
        `timesteps`, `1 - k^2` is divided by `1 - k^(2 timesteps)`.

    Reference:
        Rossbroich, Gygax and Zenke, "Fluctuation-driven initialization for
        spiking neural network training", 2022, for currents without a time
        constant and balanced weights (a mean potential of 0).

    Example:
    >>> round(rossbroich_stddev(100, k=0.8, lam=0.2, theta=1.0), 6)
    0.474342
    """
    fan_in = check_count("fan_in", fan_in)
    k, lam, theta = check_neuron(k, lam, theta)
    rate = check_number("rate", rate, high=1.0)
    xi = check_number("xi", xi)
    if timesteps is None and k == 1:
        raise ValueError(
            "`k` must be below 1 if `timesteps` is None. Received: k=1.0"
        )
    noise = theta / xi / math.sqrt(_memory(k, timesteps))
    return noise / (lam * math.sqrt(rate * fan_in))


def micheli_stddev(fan_in: int, lam: float, theta: float) -> float:
    """Computes the standard deviation of variance-preserving weights.

    In the first timestep, the potential has variance 1 in every layer, so a
    neuron fires with the probability that a standard normal exceeds `theta`.

    Args:
        fan_in: Number of inputs to one unit, at least 1.
        lam: Gain of the current, above 0. The authors' neuron has `lam = 1`.
        theta: Firing threshold, in `(0, 37]`. Beyond, the probability of a
            spike is 0 in double precision.

    Returns:
        `1 / (lam sqrt(fan_in P(u > theta)))`, a float.

    Reference:
        Micheli, Booij, van Gemert and Tömen, "Deep activity propagation via
        weight initialization in spiking neural networks", 2024.

    Example:
    >>> round(micheli_stddev(fan_in=100, lam=1.0, theta=1.0), 6)
    0.251057
    """
    fan_in = check_count("fan_in", fan_in)
    lam = check_number("lam", lam)
    theta = check_number("theta", theta, high=37.0)
    spikes = math.erfc(theta / math.sqrt(2)) / 2
    return 1 / (lam * math.sqrt(fan_in * spikes))


def shi_stddev(
    fan_in: int,
    k: float,
    lam: float,
    theta: float,
    rate: float = 0.1,
    timesteps: int | None = None,
) -> float:
    """Computes the standard deviation of SpikeInit's weights.

    If the inputs fire with probability `rate`, so do the neurons.

    Without `timesteps`, this is the stationary solution. The potential `u` is
    taken to be normal, with mean `m` and standard deviation `s`. They and the
    spread `S` of the weights solve

        m = k (m Phi - s phi)
        m^2 + s^2 = k^2 ((m^2 + s^2) Phi - s (theta + m) phi) + rate S^2

    and `Phi = 1 - rate`, where `Phi` and `phi` are the distribution and the
    density of a standard normal at `(theta - m) / s`. Given `rate`, the
    solution has a closed form. It exists for `k` below `shi_limit(rate)`.

    With `timesteps`, the neurons start at potential 0 and fire with probability
    `rate` in the last timestep. No form is assumed for the potential. The
    authors draw potentials at random. We integrate their density, which gives
    the limit of infinitely many.

    Args:
        fan_in: Number of inputs to one unit, at least 1.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        rate: Firing rate, above 0. It must be below 0.5, and with `timesteps`
            below the rate at an infinite spread: 0.125 for `k = 1` and 20
            timesteps.
        timesteps: `None`, or the number of timesteps, at least 1.

    Returns:
        `S / (lam sqrt(fan_in))`, a float.

    Reference:
        Shi and Yu, "Training Deep Spiking Neural Networks without
        Normalization", ICML 2026: Theorem 4.1 and Algorithms 1 to 3.

    Example:
    >>> round(shi_stddev(100, k=0.8, lam=0.2, theta=1.0), 6)
    1.519277
    >>> round(shi_stddev(100, k=1.0, lam=0.2, theta=1.0, timesteps=10), 6)
    2.475343
    """
    fan_in = check_count("fan_in", fan_in)
    k, lam, theta = check_neuron(k, lam, theta)
    spread, _, _ = _solve(k, rate, timesteps)
    return spread * theta / (lam * math.sqrt(fan_in))


def shi_steepness(
    k: float, theta: float, rate: float = 0.1, timesteps: int | None = None
) -> float:
    """Computes the steepness of SpikeInit's surrogate.

    With the weights of `shi_stddev`, the surrogate `h'(x) = a exp(-2 a |x|)`
    and a gradient that stops at the reset, the norm of the gradient stays the
    same from layer to layer:

        E[h'(u - theta)^2] = (1 - (1 - rate) k^2) / S^2

    With `timesteps`, `u` is the potential of the last timestep, and the right
    side is the inverse of the mean over `t = 1, ..., timesteps` of
    `S^2 (1 - q^t) / (1 - q)`, where `q = (1 - rate) k^2`.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        theta: Firing threshold, above 0.
        rate: As in `shi_stddev`.
        timesteps: As in `shi_stddev`.

    Returns:
        The smallest solution `a`, a float: the argument of
        `keras_snn.surrogates.Exponential`.

    Reference:
        Shi and Yu, "Training Deep Spiking Neural Networks without
        Normalization", ICML 2026: Theorem 5.1.

    Example:
    >>> round(shi_steepness(k=0.8, theta=1.0), 4)
    0.648
    """
    k, _, theta = check_neuron(k, 1.0, theta)
    if timesteps is not None:
        timesteps = check_count("timesteps", timesteps)
    spread, potential, probability = _solve(k, rate, timesteps)
    q = (1 - rate) * k**2
    paths = 1 / (1 - q)
    if timesteps is not None:
        powers = q ** np.arange(1, timesteps + 1)
        paths = float(np.mean((1 - powers) / (1 - q)))
    target = 1 / (paths * spread**2)

    def steep_enough(a):
        squares = a**2 * np.exp(-4 * a * np.abs(potential - 1))
        return squares @ probability >= target

    return _first(steep_enough) / theta


def shi_limit(rate: float = 0.1) -> float:
    """Computes the `k` below which SpikeInit has a stationary solution.

    With less leak, negative potentials last so long that no weights are large
    enough for the rate.

    Args:
        rate: Firing rate, in `(0, 0.5)`.

    Returns:
        `z / (phi + z (1 - rate))`, a float below 1. Here a standard normal
        exceeds `z` with probability `rate` and has the density `phi` there.

    Example:
    >>> round(shi_limit(rate=0.1), 4)
    0.9644
    """
    rate = check_number("rate", rate, high=0.5, included="neither")
    z = -NormalDist().inv_cdf(rate)
    return z / (NormalDist().pdf(z) + z * (1 - rate))


def _solve(k, rate, timesteps):
    """Solves for the spread of SpikeInit's weights at `theta = 1`.

    Returns:
        The spread, values of the potential, and their probabilities, which
        integrate functions that have a kink at the threshold.
    """
    rate = check_number("rate", rate, high=0.5, included="neither")
    if timesteps is None:
        return _solve_stationary(k, rate)
    timesteps = check_count("timesteps", timesteps)
    # Two nodes per standard deviation of the noise.
    reach = REACH * (1 + math.sqrt(_memory(k, timesteps)))
    rule = np.polynomial.legendre.leggauss(40 + round(2 * reach))

    def fire(threshold):
        values, probability = _evolve(threshold, k, timesteps, rule)
        return float(probability[values > threshold].sum())

    most = fire(0.0)
    if rate >= most:
        raise ValueError(
            f"`rate` must be below {most:.3g} for k={k:g} and "
            f"timesteps={timesteps}. Received: rate={rate:g}"
        )
    threshold = _first(lambda x: fire(x) <= rate)
    values, probability = _evolve(threshold, k, timesteps, rule)
    return 1 / (threshold * math.sqrt(rate)), values / threshold, probability


def _solve_stationary(k, rate):
    limit = shi_limit(rate)
    if k >= limit:
        raise ValueError(
            f"`k` must be below {limit:.3g} for rate={rate:g} if `timesteps` "
            f"is None. Received: k={k:g}"
        )
    normal = NormalDist()
    z = -normal.inv_cdf(rate)  # the threshold is z s above m
    below, density = 1 - rate, normal.pdf(z)
    shift = k * density / (1 - k * below)  # m = -shift s, by the first equation
    s = 1 / (z - shift)
    m = -shift * s
    kept = (m**2 + s**2) * below - s * (1 + m) * density
    spread = math.sqrt((m**2 + s**2 - k**2 * kept) / rate)
    rule = np.polynomial.legendre.leggauss(100)
    values, widths = _panels(m - REACH * s, 1.0, 1.0 + REACH * s, rule)
    return spread, values, _normal_density((values - m) / s) / s * widths


def _evolve(threshold, k, timesteps, rule):
    """Returns potentials of the last timestep and their probabilities.

    The noise is standard normal. A potential above the threshold is reset to 0.
    """
    low = -REACH * math.sqrt(_memory(k, timesteps))
    values, widths = _panels(low, threshold, threshold + REACH, rule)
    silent = values <= threshold
    kept, kept_widths = values[silent], widths[silent]
    step = _normal_density(values[:, None] - k * kept) * kept_widths
    start = _normal_density(values)  # from a potential of 0
    density = start
    for _ in range(timesteps - 1):
        fired = density[~silent] @ widths[~silent]
        density = step @ density[silent] + fired * start
    return values, density * widths


def _panels(low, middle, high, rule):
    """Applies a quadrature rule on [-1, 1] to both sides of `middle`."""
    nodes, weights = rule
    left, right = (middle - low) / 2, (high - middle) / 2
    values = np.concatenate(
        [middle + left * (nodes - 1), middle + right * (nodes + 1)]
    )
    return values, np.concatenate([left * weights, right * weights])


def _normal_density(x):
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _memory(k, timesteps):
    """Computes the sum of `k^(2 t)` over past timesteps."""
    if timesteps is None:
        return 1 / (1 - k**2)
    timesteps = check_count("timesteps", timesteps)
    return float(np.sum(k ** (2.0 * np.arange(timesteps))))


def _first(holds):
    """Finds the smallest positive number for which a condition holds."""
    high = 2.0**-10
    while holds(high):
        high /= 2
    while not holds(high):
        high *= 2
    low = high / 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
