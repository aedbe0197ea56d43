"""Wide layers of random weights: rates, overlaps and gradients, layer by layer.

The weights of a wide layer are independent, with mean 0. Its currents are then
Gaussian, and their covariance over time is `stddev^2 M`, where `M` holds the
second moments of the input spikes, `M[s, t] = E[o_s o_t]` over the inputs.

The weights stay the same at all timesteps. So a part of the current is static,
the same at all timesteps: its variance is `stddev^2` times the mean square of
the inputs' firing rates. The rest is noise over time. `M` holds both.

Expectations are means over samples of the currents, the same in every call
unless `seed` changes. The functions are deterministic, with an error of about
1 %, or 3 % for more than 20 timesteps.

- `moments`: `M`, of shape `(timesteps, timesteps)`.
- `stddev`: standard deviation of the weights, times the root of the fan-in.
- `bias`: current of the bias, the same for all neurons.
"""

import math
from collections.abc import Callable

import numpy as np

from keras_snn.theory.paper import simulate
from keras_snn.validation import check_count, check_neuron, check_number

__all__ = [
    "bernoulli_moments",
    "cross_moments_after",
    "gradient_squares",
    "mean_rate",
    "moments_after",
    "rate_slope",
    "reset_growth",
]

SAMPLES = 4096  # for up to 20 timesteps
FEWEST = 1024  # for many timesteps, which take longer


def bernoulli_moments(
    rate: float, timesteps: int, square: float | None = None
) -> np.ndarray:
    """Computes the moments of spikes that are independent over time.

    Args:
        rate: Mean firing rate of the inputs, in [0, 1].
        timesteps: Number of timesteps, at least 1.
        square: Mean square of the inputs' firing rates, from `rate^2` to
            `rate`. The default is `rate^2`: all inputs have the same rate.

    Returns:
        The moments: `rate` on the diagonal, `square` elsewhere.

    Example:
    >>> bernoulli_moments(0.5, timesteps=2).tolist()
    [[0.5, 0.25], [0.25, 0.5]]
    """
    rate = check_number("rate", rate, high=1.0, included="both")
    timesteps = check_count("timesteps", timesteps)
    square = rate**2 if square is None else square
    square = check_number("square", square, rate**2, rate, "both")
    moments = np.full((timesteps, timesteps), square)
    np.fill_diagonal(moments, rate)
    return moments


def mean_rate(moments: np.ndarray) -> float:
    """Computes the mean firing rate.

    Args:
        moments: Second moments of spikes, `(timesteps, timesteps)`.

    Returns:
        The mean of the diagonal, in spikes per timestep.
    """
    return float(np.trace(moments)) / len(moments)


def moments_after(
    moments: np.ndarray,
    stddev: float,
    bias: float,
    k: float,
    lam: float,
    theta: float,
    reset: str = "zero",
    seed: int = 0,
) -> np.ndarray:
    """Computes the moments of a layer's spikes from those of its inputs.

    Args:
        moments: Second moments of the input spikes, `(timesteps, timesteps)`.
        stddev: Standard deviation of the weights, times the root of the fan-in.
        bias: Current of the bias.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        reset: `"zero"`, `"subtract"` or `"none"`, as for `layers.LIF`.
        seed: Fixes the samples. Give every layer its own, or the errors of one
            set of samples add up over the layers.

    Returns:
        Second moments of the output spikes, in the same shape.

    Raises:
        ValueError: If a number is out of range, or `moments` is not square, has
            more than 512 timesteps, or has rates outside [0, 1].

    Example:
    >>> moments = bernoulli_moments(0.15, timesteps=20)
    >>> after = moments_after(moments, 1.7, 0.15, k=0.8, lam=1.0, theta=1.0)
    >>> 0.1 < mean_rate(after) < 0.2
    True
    """
    currents = _currents(moments, stddev, bias, seed)
    spikes, _ = simulate(currents, k, lam, theta, reset=reset)
    return spikes @ spikes.T / spikes.shape[1]


def cross_moments_after(
    moments: np.ndarray,
    cross: np.ndarray,
    stddev: float,
    bias: float,
    k: float,
    lam: float,
    theta: float,
    reset: str = "zero",
    seed: int = 0,
) -> np.ndarray:
    """Computes how much two inputs of a network have in common after a layer.

    Args:
        moments: Second moments of the spikes under either input.
        cross: `E[o_s o'_t]`, where `o` are the spikes under the first input and
            `o'` those of the same neurons under the second. In the shape of
            `moments`.
        stddev: See `moments_after`, also for the arguments below.
        bias: Current of the bias.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        reset: `"zero"`, `"subtract"` or `"none"`.
        seed: Fixes the samples.

    Returns:
        `cross` of the outputs, in the same shape.

    Raises:
        ValueError: As `moments_after`. Here, 256 timesteps are the most.

    Example:
    Two inputs whose spikes are independent except for their rates:

    >>> moments = bernoulli_moments(0.15, timesteps=20)
    >>> cross = np.full((20, 20), 0.15**2)
    >>> after = cross_moments_after(moments, cross, 1.7, 0.15, 0.8, 1.0, 1.0)
    >>> after.shape
    (20, 20)
    """
    joint = np.block([[moments, cross], [cross.T, moments]])
    first, second = (
        simulate(currents, k, lam, theta, reset=reset)[0]
        for currents in np.split(_currents(joint, stddev, bias, seed), 2)
    )
    return first @ second.T / first.shape[1]


def rate_slope(
    moments: np.ndarray,
    stddev: float,
    bias: float,
    k: float,
    lam: float,
    theta: float,
    reset: str = "zero",
) -> float:
    """Computes the slope of the output rate over the input rate.

    A common deviation of all rates shrinks by this factor in the next layer.
    The rate moves away from a fixed point if the slope is above 1. Differences
    between neurons settle more slowly: iterate `moments_after` to follow both.

    Args:
        moments: See `moments_after`, also for the arguments below.
        stddev: Standard deviation of the weights, times the root of the fan-in.
        bias: Current of the bias.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        reset: `"zero"`, `"subtract"` or `"none"`.

    Returns:
        The slope, from a change of all rates by 5 % up and down.

    Raises:
        ValueError: As `moments_after`, or if a rate is above 0.95.
    """
    change = 0.05
    if np.ndim(moments) == 2 and np.max(np.diag(moments)) * (1 + change) > 1:
        raise ValueError(
            "`moments` must have rates of at most 0.95. "
            f"Received: {np.max(np.diag(moments)):g}"
        )
    found = []
    for factor in (1 + change, 1 - change):
        # Two timesteps have the product of their rates.
        changed = moments * factor**2
        np.fill_diagonal(changed, factor * np.diag(moments))
        after = moments_after(changed, stddev, bias, k, lam, theta, reset)
        found.append(mean_rate(after))
    return (found[0] - found[1]) / (2 * change * mean_rate(moments))


def gradient_squares(
    moments: np.ndarray,
    stddev: float,
    bias: float,
    k: float,
    lam: float,
    theta: float,
    derivative: Callable[[np.ndarray], np.ndarray],
    reset: str = "zero",
    detach_reset: bool = False,
    layers: int = 20,
) -> np.ndarray:
    """Computes the gradient's mean square, layer by layer, backwards.

    The weights that carry the gradient back are taken to be independent of
    those that carried the spikes, as is usual in mean-field theory. The
    gradient starts equal at all timesteps, as a readout by the mean gives it.

    Args:
        moments: See `moments_after`. All layers have the same.
        stddev: Standard deviation of the weights, times the root of the fan-in.
        bias: Current of the bias.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        derivative: The surrogate's derivative, a function of potential minus
            threshold, NumPy arrays.
        reset: `"zero"`, `"subtract"` or `"none"`.
        detach_reset: Whether the gradient stops at the reset.
        layers: Number of layers, at least 1.

    Returns:
        Mean squares of the gradient at the spikes, `(layers + 1,)`: 1 for the
        outputs of the last layer, and so on down to the inputs of the first.

    Raises:
        ValueError: As `moments_after`, or if `layers` is below 1.
    """
    layers = check_count("layers", layers)
    currents = _currents(moments, stddev, bias)
    spikes, potential = simulate(currents, k, lam, theta, reset=reset)
    slopes = derivative(potential - theta)
    # Of the potential after the reset with respect to the one before.
    kept = 1 - spikes if reset == "zero" else np.ones_like(spikes)
    if not detach_reset and reset != "none":
        falls = potential if reset == "zero" else theta
        kept = kept - falls * slopes
    random = np.random.default_rng(1)
    products = np.ones_like(moments)  # of the gradients at two timesteps
    squares = [1.0]
    for _ in range(layers):
        # New numbers in every layer, so that their errors do not add up.
        above = _root(products) @ random.standard_normal(currents.shape)
        below = np.empty_like(above)
        later = 0.0
        for t in reversed(range(len(moments))):
            below[t] = above[t] * slopes[t] + later * kept[t]
            later = k * below[t]
        products = (stddev * lam) ** 2 * (below @ below.T) / below.shape[1]
        squares.append(mean_rate(products))
    return np.array(squares)


def reset_growth(k: float, theta: float, peak: float) -> float:
    """Computes how the gradient through the reset grows, per timestep.

    With reset to zero, `v_{t+1} = u_t (1 - o_t)`, so a neuron just above its
    threshold has `|dv_{t+1} / du_t| = theta h'(0)`. If it stays there, the
    gradient grows by `k theta h'(0)` at every timestep, and `SGD` may fail. A
    detached reset or a less steep surrogate removes the growth.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        theta: Firing threshold, above 0.
        peak: The surrogate's derivative at the threshold, `h'(0)`, above 0. It
            is `a` for `Arctan`, `HardTanh`, `Exponential` and `Gaussian`.

    Returns:
        `k theta h'(0)`. Keep it at or below 1.

    Example:
    >>> reset_growth(k=0.5, theta=1.0, peak=2.0)
    1.0
    """
    k, _, theta = check_neuron(k, 1.0, theta)
    return k * theta * check_number("peak", peak)


def _currents(moments, stddev, bias, seed=0):
    """Samples currents of neurons, `(timesteps, samples)`."""
    stddev = check_number("stddev", stddev, included="both")
    bias = check_number("bias", bias, low=-math.inf)
    shape = np.shape(moments)
    square = len(shape) == 2 and shape[0] == shape[1]
    if not square or not 1 <= len(moments) <= FEWEST:
        raise ValueError(
            "`moments` must be square, with at most "
            f"{FEWEST // 2} timesteps. Received: shape={shape}"
        )
    rates = np.diag(moments)
    if not (np.isfinite(moments).all() and ((rates >= 0) & (rates <= 1)).all()):
        raise ValueError(
            "`moments` must be finite, with rates in [0, 1] on its diagonal. "
            f"Received: diagonal={rates}"
        )
    return stddev * (_root(moments) @ _normals(len(moments), seed)) + bias


def _root(moments):
    """Returns the symmetric root, which changes smoothly with the moments."""
    values, vectors = np.linalg.eigh(moments)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def _normals(timesteps, seed):
    """Returns samples with exactly the moments of a normal vector."""
    count = SAMPLES if timesteps <= 20 else FEWEST
    count = max(count, 4 * timesteps)
    half = np.random.default_rng(seed).standard_normal((timesteps, count // 2))
    samples = np.concatenate([half, -half], axis=1)
    covariance = np.linalg.cholesky(samples @ samples.T / count)
    return np.linalg.solve(covariance, samples)
