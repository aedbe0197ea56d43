"""Neurons of snnTorch; the package says what is equal."""

import warnings
from typing import Any

from keras_snn.surrogates import Arctan
from keras_snn.validation import check_choice, check_number

__all__ = ["snntorch", "snntorch_rleaky", "snntorch_synaptic"]


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

    It warns if the delay makes spikes differ.

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
    arguments = beta, threshold, reset_mechanism, reset_delay
    return _snntorch("Leaky", ("none", "zero"), *arguments)


def snntorch_synaptic(
    alpha: float,
    beta: float,
    threshold: float = 1.0,
    reset_mechanism: str = "subtract",
    reset_delay: bool = True,
) -> dict[str, Any]:
    """Returns the arguments of `CubaLIF` for snnTorch's `Synaptic`.

    Spikes and gradients are equal in these cases:

    | `reset_mechanism` | `reset_delay` | equal |
    | --- | --- | --- |
    | `"none"` | any | always |
    | `"zero"` | `True` | until a neuron fires |
    | `"zero"` | `False` | always |
    | `"subtract"` | `True` | if `beta` is 1 |
    | `"subtract"` | `False` | if no potential exceeds `2 * threshold` |

    With a delay, `Synaptic` resets to zero at the next timestep, after it has
    integrated. The potential of that timestep is zero, so the neuron cannot
    fire twice in a row. `CubaLIF` resets before it integrates.

    Args:
        alpha: Fraction of the synaptic current kept per timestep, in `[0, 1]`.
        beta: Fraction of the potential kept per timestep, in `(0, 1]`.
        threshold: Firing threshold, above 0.
        reset_mechanism: `"subtract"`, `"zero"` or `"none"`.
        reset_delay: See `snntorch`.

    Returns:
        Keyword arguments of `CubaLIF`, with snnTorch's default surrogate.

    Example:
    >>> neuron = snntorch_synaptic(alpha=0.75, beta=0.5, reset_delay=False)
    >>> neuron["alpha"], neuron["k"], neuron["lam"], neuron["detach_reset"]
    (0.75, 0.5, 1.0, False)
    """
    alpha = check_number("alpha", alpha, high=1.0, included="both")
    arguments = beta, threshold, reset_mechanism, reset_delay
    return _snntorch("Synaptic", ("none",), *arguments) | {"alpha": alpha}


def snntorch_rleaky(
    beta: float,
    threshold: float = 1.0,
    reset_mechanism: str = "subtract",
    reset_delay: bool = True,
) -> dict[str, Any]:
    """Returns the arguments of `RecurrentLIF` for snnTorch's `RLeaky`.

    That is `RLeaky(all_to_all=True, linear_features=units)`. `units` and the
    initializer are left to the caller. `recurrent_kernel` is the transpose of
    `RLeaky.recurrent.weight`. `RLeaky.recurrent.bias` has no counterpart: add
    it to the bias of the layer before.

    Spikes and gradients are equal in the cases that `snntorch_synaptic` lists.
    The gradient passes through the recurrent spikes even if it stops at the
    reset.

    Args:
        beta: Fraction of the potential kept per timestep, in `(0, 1]`.
        threshold: Firing threshold, above 0.
        reset_mechanism: `"subtract"`, `"zero"` or `"none"`.
        reset_delay: See `snntorch`.

    Returns:
        Keyword arguments of `RecurrentLIF`, with snnTorch's default surrogate.

    Example:
    >>> neuron = snntorch_rleaky(beta=0.5, reset_mechanism="none")
    >>> neuron["k"], neuron["lam"], neuron["theta"], neuron["reset"]
    (0.5, 1.0, 1.0, 'none')
    """
    arguments = beta, threshold, reset_mechanism, reset_delay
    return _snntorch("RLeaky", ("none",), *arguments)


def _snntorch(name, timeless, beta, threshold, reset_mechanism, reset_delay):
    """Returns the arguments that the neurons of snnTorch share.

    Warns if a delayed reset changes spikes. `timeless` are the resets for which
    the delay makes no difference.
    """
    resets = ("subtract", "zero", "none")
    neuron = {
        "k": check_number("beta", beta, high=1.0),
        "lam": 1.0,
        "theta": check_number("threshold", threshold),
        "surrogate": Arctan(1.0),
        "reset": check_choice("reset_mechanism", reset_mechanism, resets),
        "detach_reset": check_choice("reset_delay", reset_delay, (False, True)),
    }
    same = neuron["reset"] == "subtract" and neuron["k"] == 1
    if reset_delay and not same and neuron["reset"] not in timeless:
        equal = "reset_mechanism='zero'"
        if "zero" not in timeless:
            equal += ", reset_delay=False"
        warnings.warn(
            f"snnTorch's `{name}` resets one timestep later, so spikes may "
            f"differ. For equal spikes, use {equal} in both libraries.",
            stacklevel=3,
        )
    return neuron
