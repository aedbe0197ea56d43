"""Neurons of the literature and of other simulators, as arguments of `LIF`.

Each function returns keyword arguments of `keras_snn.layers.LIF`: the constants
of Eq. 2, and for a neuron of another simulator also its reset, its default
surrogate, and whether the gradient passes through the reset. Change or add
arguments with `|`:

    LIF(**(presets.spikingjelly(tau=2.0) | {"surrogate": "arctan"}))

Spikes and gradients equal those of snnTorch 1.0, SpikingJelly 2.0, Norse 1.1
and sinabs 3.1. The docstrings name the exceptions. An initializer takes the
constants alone: `AsymptoteInitializer(k=..., lam=..., theta=...)`.

SpikingJelly and sinabs fire if the potential reaches the threshold, and `LIF`
only above it. Their presets therefore set `theta` to the next smaller number of
float32. This is exact in float32, up to the rounding of a reset by subtraction.
Half precision may round the difference away.
"""

from typing import Any

import numpy as np

from keras_snn.surrogates import Arctan, Exponential, FastSigmoid, Sigmoid
from keras_snn.validation import check_choice, check_number

__all__ = [
    "decay",
    "integrate_and_fire",
    "norse",
    "sinabs",
    "sinabs_iaf",
    "snntorch",
    "spikingjelly",
    "spikingjelly_if",
    "time_constant",
]


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


def snntorch(
    beta: float,
    threshold: float = 1.0,
    reset_mechanism: str = "subtract",
    reset_delay: bool = True,
) -> dict[str, Any]:
    """Returns the arguments for snnTorch's `Leaky`.

    By default `Leaky` resets one timestep later. It then subtracts `threshold`
    after the leak, while `LIF` subtracts it before the leak. Spikes and
    gradients are equal in these cases:

    | `reset_mechanism` | `reset_delay` | equal |
    | --- | --- | --- |
    | `"zero"`, `"none"` | any | always |
    | `"subtract"` | `True` | if `beta` is 1 |
    | `"subtract"` | `False` | if no potential exceeds `2 * threshold` |

    Args:
        beta: Fraction of the potential kept per timestep, in `(0, 1]`.
        threshold: Firing threshold, above 0.
        reset_mechanism: `"subtract"`, `"zero"` or `"none"`.
        reset_delay: Whether `Leaky` resets at the next timestep. If so, it
            stops the gradient at the reset.

    Returns:
        Keyword arguments of `LIF`, with snnTorch's default surrogate,
        `atan(alpha=2)`.

    Example:
    >>> neuron = snntorch(beta=0.5, reset_mechanism="zero")
    >>> neuron["k"], neuron["lam"], neuron["theta"], neuron["detach_reset"]
    (0.5, 1.0, 1.0, True)
    """
    resets = ("subtract", "zero", "none")
    return {
        "k": check_number("beta", beta, high=1.0),
        "lam": 1.0,
        "theta": check_number("threshold", threshold),
        "surrogate": Arctan(1.0),
        "reset": check_choice("reset_mechanism", reset_mechanism, resets),
        "detach_reset": check_choice("reset_delay", reset_delay, (False, True)),
    }


def spikingjelly(
    tau: float = 2.0,
    decay_input: bool = True,
    v_threshold: float = 1.0,
    v_reset: float | None = 0.0,
    detach_reset: bool = False,
) -> dict[str, Any]:
    """Returns the arguments for SpikingJelly's `LIFNode`.

    The potential of `LIF` is that of `LIFNode` minus `v_reset`.

    Args:
        tau: Membrane time constant in timesteps, above 1.
        decay_input: Whether the current is divided by `tau`.
        v_threshold: Firing threshold, above `v_reset`.
        v_reset: Potential after a spike and at rest. With `None`, a spike
            lowers the potential by `v_threshold`, and the potential rests at 0.
        detach_reset: Whether the gradient stops at the reset.

    Returns:
        Keyword arguments of `LIF`, with SpikingJelly's default surrogate,
        `Sigmoid(alpha=4)`.

    Example:
    >>> neuron = spikingjelly(tau=2.0, v_reset=None)
    >>> neuron["k"], neuron["lam"], neuron["reset"], neuron["surrogate"]
    (0.5, 0.5, 'subtract', Sigmoid(a=4.0))
    """
    neuron = spikingjelly_if(v_threshold, v_reset, detach_reset)
    leak = time_constant(tau)
    if not check_choice("decay_input", decay_input, (False, True)):
        leak["lam"] = 1.0
    return neuron | leak


def spikingjelly_if(
    v_threshold: float = 1.0,
    v_reset: float | None = 0.0,
    detach_reset: bool = False,
) -> dict[str, Any]:
    """Returns the arguments for SpikingJelly's `IFNode`.

    The potential of `LIF` is that of `IFNode` minus `v_reset`.

    Args:
        v_threshold: Firing threshold, above `v_reset`.
        v_reset: Potential after a spike and at the start. With `None`, a spike
            lowers the potential by `v_threshold`, and the potential starts at
            0.
        detach_reset: Whether the gradient stops at the reset.

    Returns:
        Keyword arguments of `LIF`, with SpikingJelly's default surrogate,
        `Sigmoid(alpha=4)`.

    Example:
    >>> neuron = spikingjelly_if(v_threshold=1.0, v_reset=-1.0)
    >>> neuron["k"], neuron["lam"], round(neuron["theta"], 6), neuron["reset"]
    (1.0, 1.0, 2.0, 'zero')
    """
    rest = 0.0
    if v_reset is not None:
        rest = check_number("v_reset", v_reset, low=-np.inf)
    threshold = check_number("v_threshold", v_threshold, low=rest)
    return {
        **integrate_and_fire(),
        "theta": _just_below(threshold - rest),
        "surrogate": Sigmoid(4.0),
        "reset": "subtract" if v_reset is None else "zero",
        "detach_reset": detach_reset,
    }


def norse(
    tau_mem_inv: float = 100.0, v_th: float = 1.0, dt: float = 1e-3
) -> dict[str, Any]:
    """Returns the arguments for Norse's `LIFBox`, which has no synapse.

    `v_leak` and `v_reset` must be 0, as by default. For `reset_subtract`, set
    `reset` to `"subtract"`.

    Args:
        tau_mem_inv: Inverse of the membrane time constant, above 0 and below
            `1 / dt`.
        v_th: Firing threshold, above 0.
        dt: Length of a timestep, above 0.

    Returns:
        Keyword arguments of `LIF`, with Norse's default surrogate, `"super"`,
        which ignores its `alpha`.

    Example:
    >>> neuron = norse(tau_mem_inv=500.0)
    >>> neuron["k"], neuron["lam"], neuron["theta"]
    (0.5, 0.5, 1.0)
    """
    dt = check_number("dt", dt)
    rate = dt * check_number("tau_mem_inv", tau_mem_inv)
    if rate >= 1:
        raise ValueError(
            "`tau_mem_inv` must be below 1 / dt. "
            f"Received: tau_mem_inv={tau_mem_inv!r}, dt={dt!r}"
        )
    return {
        "k": 1 - rate,
        "lam": rate,
        "theta": check_number("v_th", v_th),
        "surrogate": FastSigmoid(1.0),
        "reset": "zero",
    }


def sinabs(
    tau_mem: float, spike_threshold: float = 1.0, norm_input: bool = True
) -> dict[str, Any]:
    """Returns the arguments for sinabs' `LIF(spike_fn=SingleSpike)`.

    By default sinabs' neurons send several spikes in a timestep, which `LIF`
    does not. For `MembraneReset()`, set `reset` to `"zero"` and `detach_reset`
    to `True`.

    Args:
        tau_mem: Membrane time constant in timesteps, above 0.
        spike_threshold: Firing threshold, above 0.
        norm_input: Whether the current is multiplied by `1 - exp(-1/tau_mem)`.

    Returns:
        Keyword arguments of `LIF`. The surrogate is sinabs'
        `SingleExponential(grad_scale=0.5)`, half of its default.

    Example:
    >>> neuron = sinabs(tau_mem=10.0)
    >>> round(neuron["k"], 4), round(neuron["lam"], 4), neuron["reset"]
    (0.9048, 0.0952, 'subtract')
    """
    k = float(np.exp(-1 / check_number("tau_mem", tau_mem)))
    norm_input = check_choice("norm_input", norm_input, (False, True))
    leak = {"k": k, "lam": 1 - k if norm_input else 1.0}
    return sinabs_iaf(spike_threshold) | leak


def sinabs_iaf(spike_threshold: float = 1.0) -> dict[str, Any]:
    """Returns the arguments for sinabs' `IAF(spike_fn=SingleSpike)`.

    By default sinabs' neurons send several spikes in a timestep, which `LIF`
    does not. For `MembraneReset()`, set `reset` to `"zero"` and `detach_reset`
    to `True`.

    Args:
        spike_threshold: Firing threshold, above 0.

    Returns:
        Keyword arguments of `LIF`. The surrogate is sinabs'
        `SingleExponential(grad_scale=0.5)`, half of its default.

    Example:
    >>> neuron = sinabs_iaf()
    >>> neuron["k"], neuron["lam"], neuron["reset"], neuron["surrogate"]
    (1.0, 1.0, 'subtract', Exponential(a=1.0))
    """
    threshold = check_number("spike_threshold", spike_threshold)
    return {
        **integrate_and_fire(),
        "theta": _just_below(threshold),
        "surrogate": Exponential(1 / threshold),
        "reset": "subtract",
    }


def _just_below(threshold):
    """Returns the largest number of float32 below a threshold."""
    return float(np.nextafter(np.float32(threshold), np.float32(0)))
