"""Table 1: the constants of the paper's neurons."""

from typing import Any

from keras_snn.validation import check_number

__all__ = ["decay", "integrate_and_fire", "time_constant"]


def time_constant(tau: float, resistance: float = 1.0) -> dict[str, Any]:
    """Returns `k = 1 - 1/tau` and `lam = resistance/tau` (Table 1).

    One step of Euler's method, of length 1, solves the membrane equation
    `tau dv/dt = -v + resistance i`.

    Args:
        tau: Membrane time constant in timesteps, above 1.
        resistance: Membrane resistance, above 0.

    Returns:
        `k` and `lam`. The threshold is left to the caller.

    Example:
    >>> time_constant(tau=5.0)
    {'k': 0.8, 'lam': 0.2}
    """
    tau = check_number("tau", tau, low=1.0)
    resistance = check_number("resistance", resistance)
    return {"k": 1 - 1 / tau, "lam": resistance / tau}


def integrate_and_fire(capacitance: float = 1.0) -> dict[str, Any]:
    """Returns `k = 1` and `lam = 1/capacitance`: no leak (Table 1).

    With a capacitance of 1, this is the neuron of Diehl et al. (2015) and
    Sengupta et al. (2019).

    Args:
        capacitance: Membrane capacitance, above 0.

    Returns:
        `k` and `lam`. The threshold is left to the caller.

    Example:
    >>> integrate_and_fire(capacitance=2.0)
    {'k': 1.0, 'lam': 0.5}
    """
    return {"k": 1.0, "lam": 1 / check_number("capacitance", capacitance)}


def decay(factor: float) -> dict[str, Any]:
    """Returns `k = factor` and `lam = 1` (Table 1).

    This is the neuron of Wu et al. (2018), Panda et al. (2020) and Zheng et al.
    (2021).

    Args:
        factor: Fraction of the potential kept per timestep, in `(0, 1]`.

    Returns:
        `k` and `lam`. The threshold is left to the caller.

    Example:
    >>> decay(0.25)
    {'k': 0.25, 'lam': 1.0}
    """
    return {"k": check_number("factor", factor, high=1.0), "lam": 1.0}
