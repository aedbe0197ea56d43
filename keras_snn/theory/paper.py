"""The neuron's response, and the initialization that follows (Eq. 11)."""

import math

import numpy as np

from keras_snn.validation import (
    check_choice,
    check_count,
    check_neuron,
    check_number,
)

__all__ = [
    "asymptote",
    "firing_rate",
    "simulate",
    "transition_current",
    "weight_stddev",
]

RESETS = ("zero", "subtract", "none")


def firing_rate(
    current: np.ndarray | float, k: float, lam: float, theta: float
) -> np.ndarray:
    """Computes the firing rate under a constant current (Theorem 1).

    The rate is `(k - 1) / ln(1 + (k - 1) theta / (lam i))` for `k < 1` and
    `lam i / theta` for `k = 1`. Both are clipped to [0, 1].

    Args:
        current: The constant current `i`, a number or an array.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.

    Returns:
        Spikes per timestep, in [0, 1], in the shape of `current`.

    Example:
    >>> firing_rate(np.array([0.5, 2.0]), k=1.0, lam=0.2, theta=1.0).tolist()
    [0.1, 0.4]
    """
    k, lam, theta = check_neuron(k, lam, theta)
    current = np.asarray(current, dtype="float64")
    if k == 1:
        return np.clip(lam * current / theta, 0.0, 1.0)
    # Up to `silence`, the potential settles at or below the threshold. From
    # `saturation` on, one timestep is enough to cross it.
    silence = (1 - k) * theta / lam
    saturation = theta / lam * (k - 1) / math.expm1(k - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = (k - 1) / np.log1p((k - 1) * theta / (lam * current))
    rate = np.where(current >= saturation, 1.0, rate)
    return np.where(current <= silence, 0.0, rate)


def asymptote(
    current: np.ndarray | float, k: float, lam: float, theta: float
) -> np.ndarray:
    """Computes the slant asymptote of the firing rate (Theorem 2).

    Args:
        current: The constant current `i`, a number or an array.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.

    Returns:
        `lam / theta * i + (k - 1) / 2`, clipped to [0, 1], in the shape of
        `current`.

    Example:
    >>> float(asymptote(3.0, k=0.5, lam=0.25, theta=1.0))
    0.5
    """
    k, lam, theta = check_neuron(k, lam, theta)
    current = np.asarray(current, dtype="float64")
    return np.clip(lam / theta * current + (k - 1) / 2, 0.0, 1.0)


def transition_current(k: float, lam: float, theta: float) -> float:
    """Computes the current where the asymptote leaves zero: the bias of Eq. 11.

    With this current alone, the potential of a leaky neuron (`k < 1`) settles
    at `theta / 2`, halfway to the threshold.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.

    Returns:
        `theta (1 - k) / (2 lam)`, a float.

    Example:
    >>> round(transition_current(k=0.8, lam=0.2, theta=1.0), 6)
    0.5
    """
    k, lam, theta = check_neuron(k, lam, theta)
    return theta * (1 - k) / (2 * lam)


def weight_stddev(fan_in: int, lam: float, theta: float) -> float:
    """Computes the standard deviation of the weights (Eq. 11).

    Args:
        fan_in: Number of inputs to one unit, at least 1.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.

    Returns:
        `sqrt(2 / fan_in) theta / lam`, a float.

    Example:
    >>> weight_stddev(fan_in=50, lam=0.2, theta=1.0)
    1.0
    """
    fan_in = check_count("fan_in", fan_in)
    lam = check_number("lam", lam)
    theta = check_number("theta", theta)
    return math.sqrt(2 / fan_in) * theta / lam


def simulate(
    current: np.ndarray | float,
    k: float,
    lam: float,
    theta: float,
    timesteps: int | None = None,
    reset: str = "zero",
) -> tuple[np.ndarray, np.ndarray]:
    """Simulates Eq. 2.

    Args:
        current: The constant current `i`, a number or an array. If `timesteps`
            is `None`, the currents of all timesteps, `(timesteps, ...)`.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        timesteps: Number of timesteps of a constant current, at least 1.
        reset: `"zero"`, `"subtract"` or `"none"`, as for `layers.LIF`.

    Returns:
        `(spikes, potential)`, each of shape `(timesteps, ...)`. They are the
        spikes `o_t`, 0 or 1, and the potential `u_t` before the reset. The mean
        of the spikes over time is the firing rate.

    Example:
    >>> spikes, potential = simulate(1.0, k=0.5, lam=1.0, theta=1.25,
    ...                              timesteps=4)
    >>> potential.tolist(), spikes.tolist()
    ([1.0, 1.5, 1.0, 1.5], [0.0, 1.0, 0.0, 1.0])
    """
    k, lam, theta = check_neuron(k, lam, theta)
    check_choice("reset", reset, RESETS)
    current = np.asarray(current, dtype="float64")
    if timesteps is not None:
        shape = (check_count("timesteps", timesteps), *current.shape)
        current = np.broadcast_to(current, shape)
    elif not current.ndim:
        raise ValueError(
            "`timesteps` must be given for a constant current. Received: None"
        )
    spikes, potential = np.empty_like(current), np.empty_like(current)
    kept = np.zeros(current.shape[1:])
    for t, now in enumerate(current):
        potential[t] = k * kept + lam * now
        spikes[t] = potential[t] > theta
        if reset == "zero":
            kept = np.where(spikes[t], 0, potential[t])
        elif reset == "subtract":
            kept = potential[t] - theta * spikes[t]
        else:
            kept = potential[t]
    return spikes, potential
