"""The package's computations in plain NumPy and float64.

Imports nothing of the package. `lif` iterates Eq. 2. `gradient` differentiates
it in forward mode, one input at a time. The package goes backward through time,
so the two derivations are independent.
"""

import math

import numpy as np


def lif(current, k, lam, theta, reset="zero", potential=None, mask=None):
    """Returns the spikes (batch, timesteps, units) and the final potential."""
    current = np.asarray(current, dtype="float64")
    batch, timesteps, *units = current.shape
    v = np.zeros((batch, *units)) if potential is None else potential
    spikes = np.zeros_like(current)
    held = np.zeros((batch, *units))
    for t in range(timesteps):
        u = k * v + lam * current[:, t]
        fired = (u > theta).astype("float64")
        after = {"zero": u * (1 - fired), "subtract": u - theta * fired}.get(
            reset, u
        )
        runs = True
        if mask is not None:
            runs = mask[:, t].reshape(batch, *[1] * len(units))
        v = np.where(runs, after, v)
        held = np.where(runs, fired, held)
        spikes[:, t] = held
    return spikes, v


def gradient(
    current,
    at_spikes,
    at_potential,
    derivative,
    k,
    lam,
    theta,
    reset,
    detach_reset,
):
    """Differentiates sum(at_spikes * spikes) + sum(at_potential * potential).

    `potential` is the final one. The gradient is that of the current.
    """
    current = np.asarray(current, dtype="float64")
    timesteps = current.shape[1]
    result = np.zeros_like(current)
    for source in range(timesteps):
        v = np.zeros_like(current[:, 0])
        dv = np.zeros_like(v)
        for t in range(timesteps):
            u = k * v + lam * current[:, t]
            du = k * dv + (lam if t == source else 0.0)
            o = (u > theta).astype("float64")
            do = derivative(u - theta) * du
            result[:, source] += at_spikes[:, t] * do
            if detach_reset:
                do = 0.0 * do
            if reset == "zero":
                v, dv = u * (1 - o), du * (1 - o) - u * do
            elif reset == "subtract":
                v, dv = u - theta * o, du - theta * do
            else:
                v, dv = u, du
        result[:, source] += at_potential * dv
    return result


def retina(images, timesteps, gain=1, threshold=1, reset="zero"):
    """Codes bytes like a retina, timestep by timestep, in integers.

    `gain` and `threshold` are integers. The accumulator counts in 255ths.
    """
    accumulator = np.zeros(images.shape, "int64")
    spikes = np.zeros((len(images), timesteps, *images.shape[1:]))
    for t in range(timesteps):
        accumulator += gain * images.astype("int64")
        fired = accumulator >= 255 * threshold
        accumulator -= 255 * threshold * fired
        if reset == "zero":
            accumulator[fired] = 0
        spikes[:, t] = fired
    return spikes


def latency(images, timesteps, threshold, time):
    """Codes bytes by the time of their spike, pixel by pixel.

    `time` maps an intensity to the time of its spike. A time halfway between
    two timesteps goes to the even one.
    """
    spikes = np.zeros((len(images), timesteps, *images.shape[1:]))
    for index, byte in np.ndenumerate(images):
        if byte / 255 > threshold:
            at = round(time(byte / 255))
            if at < timesteps:
                spikes[(index[0], at, *index[1:])] = 1
    return spikes


def delta(series, threshold, mask=None):
    """Codes series by send-on-delta, one feature of a sample at a time.

    Returns the up spikes and the down spikes in the shape of the series.
    """
    up, down = np.zeros((2, *np.shape(series)))
    batch, timesteps, *features = np.shape(series)
    for index in np.ndindex(batch, *features):
        level = None
        for t in range(timesteps):
            if mask is not None and not mask[index[0], t]:
                continue
            at = (index[0], t, *index[1:])
            level = series[at] if level is None else level
            if series[at] >= level + threshold:
                up[at], level = 1, level + threshold
            elif series[at] <= level - threshold:
                down[at], level = 1, level - threshold
    return up, down


def batch_norm(x, axes, epsilon, mask=None):
    """Returns the normalized `x`, the mean and the variance, with axes kept."""
    x = np.asarray(x, dtype="float64")
    weight = np.ones_like(x)
    if mask is not None:
        weight *= mask.reshape(*mask.shape, *[1] * (x.ndim - 2))
    mean = np.average(x, axes, weight, keepdims=True)
    variance = np.average((x - mean) ** 2, axes, weight, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon), mean, variance


def batch_norm_gradient(x, at_output, axes, epsilon, scale):
    """Differentiates sum(at_output * scale * normalized) by x and by scale.

    This is the textbook formula, with mean and variance differentiated by hand.
    """
    normalized, _, variance = batch_norm(x, axes, epsilon)
    at_scale = np.sum(at_output * normalized, axes, keepdims=True)
    centered = at_output - np.mean(at_output, axes, keepdims=True)
    along = np.mean(at_output * normalized, axes, keepdims=True)
    at_x = scale * (centered - normalized * along) / np.sqrt(variance + epsilon)
    return at_x, at_scale


def asgd(w, gradient, rates, lambd, alpha, t0):
    """Takes one step of averaged SGD per rate, as `torch.optim.ASGD` does.

    `gradient` is a function of the weights. Returns weights and averages.
    """
    w = average = np.asarray(w, dtype="float64")
    eta, mu = rates[0], 1.0
    for step, rate in enumerate(rates, start=1):
        w = (1 - lambd * eta) * w - eta * gradient(w)
        average = average + mu * (w - average)
        eta = rate / (1 + lambd * rate * step) ** alpha
        mu = 1 / max(1, step - t0)
    return w, average


# Table A3, and the surrogates of other simulators.
SMOOTH = {
    "sigmoid": lambda x, a: 1 / (1 + np.exp(-a * x)),
    "tanh": lambda x, a: np.tanh(a * x) / 2 + 0.5,
    "hardtanh": lambda x, a: np.clip(a * x + 0.5, 0, 1),
    "arctan": lambda x, a: np.arctan(np.pi * a * x) / np.pi + 0.5,
    "fast_sigmoid": lambda x, a: x / (1 + a * np.abs(x)) + 0.5,
    "triangular": lambda x, a: np.where(
        x < 0,
        np.maximum(1 + a * x, 0) ** 2 / 2,
        1 - np.maximum(1 - a * x, 0) ** 2 / 2,
    ),
    "exponential": lambda x, a: np.where(
        x < 0, np.exp(2 * a * x) / 2, 1 - np.exp(-2 * a * x) / 2
    ),
    "gaussian": lambda x, a: (
        np.vectorize(math.erfc)(-math.sqrt(np.pi) * a * x) / 2
    ),
}
DERIVATIVE = {
    "sigmoid": lambda x, a: a * np.exp(-a * x) / (1 + np.exp(-a * x)) ** 2,
    "tanh": lambda x, a: a / 2 / np.cosh(a * x) ** 2,
    "hardtanh": lambda x, a: np.where(np.abs(x) < 1 / (2 * a), a, 0.0),
    "arctan": lambda x, a: a / (1 + (np.pi * a * x) ** 2),
    "fast_sigmoid": lambda x, a: (1 + a * np.abs(x)) ** -2.0,
    "triangular": lambda x, a: np.maximum(a - a**2 * np.abs(x), 0),
    "exponential": lambda x, a: a * np.exp(-2 * a * np.abs(x)),
    "gaussian": lambda x, a: a * np.exp(-np.pi * (a * x) ** 2),
}
STEEPNESS = {
    "sigmoid": 2.0,
    "tanh": 2.0,
    "hardtanh": 1.0,
    "arctan": 2.0,
    "fast_sigmoid": 2.0,
    "triangular": 1.0,
    "exponential": 1.0,
    "gaussian": 1.0,
}
