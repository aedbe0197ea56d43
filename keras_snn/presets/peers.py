"""Neurons of SpikingJelly, Norse and sinabs; the package says what is equal."""

from typing import Any

import numpy as np

from keras_snn.presets.paper import integrate_and_fire, time_constant
from keras_snn.surrogates import Exponential, FastSigmoid, Sigmoid
from keras_snn.validation import check_choice, check_number

__all__ = [
    "norse",
    "norse_lif",
    "sinabs",
    "sinabs_iaf",
    "spikingjelly",
    "spikingjelly_if",
    "spikingjelly_plif",
]


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


def spikingjelly_plif(
    init_tau: float = 2.0,
    v_threshold: float = 1.0,
    v_reset: float | None = 0.0,
    detach_reset: bool = False,
) -> dict[str, Any]:
    """Returns the arguments for SpikingJelly's `ParametricLIFNode`.

    That is `ParametricLIFNode(decay_input=False)`: PLIF, whose leak is learnt
    (Fang et al. 2021). With `decay_input=True`, learning changes the gain of
    the current as well, `1 - k`. `LIF` does not couple two constants.

    SpikingJelly learns the logit `w` of `1/tau`, and `LIF` the logit of `k`,
    which is `-w`. So an optimizer takes the same steps in both.

    Args:
        init_tau: Initial membrane time constant in timesteps, above 1.
        v_threshold: Firing threshold, above `v_reset`.
        v_reset: See `spikingjelly`.
        detach_reset: Whether the gradient stops at the reset.

    Returns:
        Keyword arguments of `LIF`, with SpikingJelly's default surrogate,
        `Sigmoid(alpha=4)`.

    Reference:
        Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance
        Learning of Spiking Neural Networks", 2021.

    Example:
    >>> neuron = spikingjelly_plif(init_tau=4.0)
    >>> neuron["k"], neuron["lam"], neuron["learn"]
    (0.75, 1.0, ('k',))
    """
    k = time_constant(check_number("init_tau", init_tau, low=1.0))["k"]
    neuron = spikingjelly_if(v_threshold, v_reset, detach_reset)
    return neuron | {"k": k, "learn": ("k",)}


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
    rate = _rate("tau_mem_inv", tau_mem_inv, dt)
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


def norse_lif(
    tau_syn_inv: float = 200.0,
    tau_mem_inv: float = 100.0,
    v_th: float = 1.0,
    dt: float = 1e-3,
) -> dict[str, Any]:
    """Returns the arguments of `CubaLIF` for Norse's `LIF` and `LIFCell`.

    `v_leak` and `v_reset` must be 0, as by default. Before version 1.1 of
    Norse, a current reaches the potential one timestep later.

    Args:
        tau_syn_inv: Inverse of the synaptic time constant, above 0 and at most
            `1 / dt`.
        tau_mem_inv: Inverse of the membrane time constant, above 0 and below
            `1 / dt`.
        v_th: Firing threshold, above 0.
        dt: Length of a timestep, above 0.

    Returns:
        Keyword arguments of `CubaLIF`, with Norse's default surrogate,
        `"super"`, which ignores its `alpha`.

    Example:
    >>> neuron = norse_lif(tau_syn_inv=250.0, tau_mem_inv=500.0)
    >>> neuron["alpha"], neuron["k"], neuron["lam"]
    (0.75, 0.5, 0.5)
    """
    rate = _rate("tau_syn_inv", tau_syn_inv, dt)
    if rate > 1:
        raise ValueError(
            "`tau_syn_inv` must be at most 1 / dt. "
            f"Received: tau_syn_inv={tau_syn_inv!r}, dt={dt!r}"
        )
    return norse(tau_mem_inv, v_th, dt) | {"alpha": 1 - rate}


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


def _rate(name, inverse, dt):
    """Returns the inverse of a time constant per timestep."""
    return check_number("dt", dt) * check_number(name, inverse)
