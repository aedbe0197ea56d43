"""The stationary law: weights and biases that keep the rate at any depth.

The law is the fixed point of `moments_after` at a given rate. One free choice
is left, the bias. It alone takes the potential to `BIAS theta` by the last
timestep.

The rate is stable from 0.1 on: deviations shrink from layer to layer. But for
`k` below about 0.7, a network that hardly fires falls silent.
"""

import functools

import numpy as np

from keras_snn.theory.mean_field import (
    bernoulli_moments,
    gradient_squares,
    mean_rate,
    moments_after,
)
from keras_snn.validation import check_count, check_neuron, check_number

__all__ = [
    "HIGHEST_RATE",
    "LOWEST_RATE",
    "stationary_bias",
    "stationary_moments",
    "stationary_steepness",
    "stationary_stddev",
]

BIAS = 0.25
# Lower rates are not stable. Weights around zero cannot take the rate above one
# half.
LOWEST_RATE, HIGHEST_RATE = 0.1, 0.4
MOST_TIMESTEPS = 100  # The law hardly changes beyond.
ITERATIONS = 80


def stationary_bias(
    k: float, lam: float, theta: float, timesteps: int = 20
) -> float:
    """Computes the bias of the stationary law.

    Under this current alone, the potential is `0.25 theta` after `timesteps`.
    The bias of the paper takes it to `0.5 theta`, after infinite time.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        timesteps: Number of timesteps, at least 1.

    Returns:
        `0.25 theta (1 - k) / (lam (1 - k^timesteps))`, and its limit
        `0.25 theta / (lam timesteps)` for `k = 1`.

    Example:
    >>> stationary_bias(k=1.0, lam=0.5, theta=1.0, timesteps=5)
    0.1
    """
    k, lam, theta = check_neuron(k, lam, theta)
    timesteps = check_count("timesteps", timesteps)
    return BIAS * theta / (lam * sum(k**t for t in range(timesteps)))


def stationary_stddev(
    k: float,
    lam: float,
    theta: float,
    rate: float = 0.15,
    timesteps: int = 20,
) -> float:
    """Computes the weights' spread of the stationary law.

    The first call for a neuron takes a second, or several seconds for more than
    20 timesteps. Later ones are cached.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        rate: Firing rate to keep, in `[0.1, 0.4]`.
        timesteps: Number of timesteps, at least 1. Numbers above 100 count as
            100.

    Returns:
        Standard deviation of the weights, times the root of the fan-in.

    Example:
    >>> stddev = stationary_stddev(k=0.8, lam=0.2, theta=1.0)
    >>> 10 < stddev < 12
    True
    """
    k, lam, theta = check_neuron(k, lam, theta)
    return _solve(k, *_check_target(rate, timesteps))[0] * theta / lam


def stationary_moments(
    k: float, rate: float = 0.15, timesteps: int = 20
) -> np.ndarray:
    """Computes the moments of the spikes in a layer of the stationary law.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        rate: Firing rate to keep, in `[0.1, 0.4]`.
        timesteps: Number of timesteps, at least 1. Numbers above 100 count as
            100.

    Returns:
        Second moments, `(timesteps, timesteps)`, see `moments_after`.
    """
    k, _, _ = check_neuron(k, 1.0, 1.0)
    return np.array(_solve(k, *_check_target(rate, timesteps))[1])


def stationary_steepness(
    k: float, theta: float, rate: float = 0.15, timesteps: int = 20
) -> float:
    """Computes the steepness at which the stationary law keeps the gradient.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        theta: Firing threshold, above 0.
        rate: Firing rate to keep, in `[0.1, 0.4]`.
        timesteps: Number of timesteps, at least 1. Numbers above 100 count as
            100.

    Returns:
        The `a` of `surrogates.Exponential` for which `gradient_squares` is 1
        again after 20 layers, with a detached reset.
    """
    k, _, theta = check_neuron(k, 1.0, theta)
    return _steepness(k, *_check_target(rate, timesteps)) / theta


def _check_target(rate, timesteps):
    rate = check_number("rate", rate, LOWEST_RATE, HIGHEST_RATE, "both")
    return rate, min(check_count("timesteps", timesteps), MOST_TIMESTEPS)


@functools.lru_cache(maxsize=64)
def _solve(k, rate, timesteps):
    """Returns spread and moments of a neuron with `lam = theta = 1`.

    Alternates between the moments at this spread, scaled to `rate`, and a
    spread that brings their rate closer to it. Every iteration has new samples,
    and the mean over the last ones evens them out.
    """
    bias = stationary_bias(k, 1.0, 1.0, timesteps)
    moments = bernoulli_moments(rate, timesteps)
    stddev, last = 1.0, []
    for iteration in range(ITERATIONS):
        after = moments_after(
            moments, stddev, bias, k, 1.0, 1.0, seed=iteration
        )
        found = mean_rate(after)
        # The rate grows with the spread.
        stddev *= min(2.0, (rate / found) ** 0.7) if found else 2.0
        if found:
            moments = after * rate / found
        if iteration >= ITERATIONS // 2:
            last.append((stddev, moments))
    stddev = float(np.mean([x for x, _ in last]))
    moments = np.mean([x for _, x in last], axis=0)
    moments.setflags(write=False)
    return stddev, moments


@functools.lru_cache(maxsize=64)
def _steepness(k, rate, timesteps):
    stddev, moments = _solve(k, rate, timesteps)
    bias = stationary_bias(k, 1.0, 1.0, timesteps)
    low, high = 0.01, 100.0
    while high / low > 1.01:
        a = (low * high) ** 0.5
        squares = gradient_squares(
            *(moments, stddev, bias, k, 1.0, 1.0),
            lambda x, a=a: a * np.exp(-2 * a * np.abs(x)),
            detach_reset=True,
        )
        low, high = (a, high) if squares[-1] < 1 else (low, a)
    return (low * high) ** 0.5
