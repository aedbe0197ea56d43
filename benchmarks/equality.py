"""Nothing is timed before all contenders have computed the same."""

import numpy as np

FIRING_RATES = (0.005, 0.9)
# Sums over thousands of terms, rounded in each library's own order; another
# surrogate or a detached reset changes a gradient by far more.
GRADIENT_TOLERANCE = 1e-3


class Different(Exception):
    """Contenders do not compute the same; says which, where and how much."""


def names_of(layers):
    """A readable name for every layer of neurons, "2 (behind conv 32)"."""
    names, before = [], "the input"
    for layer in layers:
        if layer.kind == "lif":
            names.append(f"{len(names) + 1} (behind {before})")
        elif layer.kind in ("conv", "dense"):
            before = f"{layer.kind} {layer.size:g}"
    return names


def check_firing(layers, expected):
    """Raises unless every layer fires, but not always: silence proves nothing.

    Returns:
        The firing rate of every layer.
    """
    low, high = FIRING_RATES
    rates = [float(spikes.mean()) for spikes in expected]
    for name, rate in zip(names_of(layers), rates, strict=True):
        if not low < rate < high:
            raise Different(
                f"the firing rate of layer {name} must be in ({low}, {high}) "
                f"for the check to mean something. Received: {rate:.4f}"
            )
    return rates


def check_spikes(contender, layers, expected, received):
    """Raises unless the spikes of every layer are the expected ones."""
    names = names_of(layers)
    if len(received) != len(expected):
        raise Different(
            f"{contender} must have {len(expected)} layers of neurons. "
            f"Received: {len(received)}"
        )
    for name, right, spikes in zip(names, expected, received, strict=True):
        if spikes.shape != right.shape:
            raise Different(
                f"{contender}, layer {name}: spikes must have shape "
                f"{right.shape}. Received: {spikes.shape}"
            )
        wrong = int(np.sum(spikes != right))
        if wrong:
            raise Different(
                f"{contender}, layer {name}: {wrong} of {right.size} spikes "
                "differ from the reference's"
            )


def check_gradients(norms):
    """Raises unless all contenders have gradients of the same norms.

    Args:
        norms: By contender, the norm of the gradient at every weight.
    """
    if not norms:
        return
    (first, expected), *others = norms.items()
    for name, received in others:
        if not np.allclose(received, expected, rtol=GRADIENT_TOLERANCE, atol=0):
            raise Different(
                f"{name} and {first} must have the same gradients. Received: "
                f"norms {_short(received)} and {_short(expected)}"
            )


def _short(numbers):
    return "[" + ", ".join(f"{number:.5g}" for number in numbers) + "]"
