"""Checks that all contenders compute the same, before anything is timed."""

import numpy as np

from benchmarks.cases import Case

__all__ = ["Different", "firing_rates", "same_gradients", "same_spikes"]

FIRING_RATES = (0.005, 0.9)
# Libraries round their sums over thousands of terms in different orders. A
# different surrogate or a detached reset changes a gradient by far more.
GRADIENT_TOLERANCE = 1e-3


class Different(Exception):
    """Raised if contenders do not compute the same."""


def firing_rates(case: Case, spikes: list[np.ndarray]) -> list[float]:
    """Returns the firing rate of every layer.

    Raises:
        Different: If a layer is silent or always fires. Comparing its spikes
            would prove nothing.
    """
    low, high = FIRING_RATES
    rates = [float(layer.mean()) for layer in spikes]
    for name, rate in zip(_names(case), rates, strict=True):
        if not low < rate < high:
            raise Different(
                f"the firing rate of layer {name} must be in ({low}, {high}). "
                f"Received: {rate:.4f}"
            )
    return rates


def same_spikes(case: Case, spikes: dict[str, list[np.ndarray]]) -> None:
    """Raises `Different` unless all contenders emit the same spikes.

    Args:
        case: The `Case`.
        spikes: For every contender the spikes of every layer of neurons.
    """
    (first, expected), *others = spikes.items()
    shapes = [layer.shape for layer in expected]
    for other, received in others:
        if [layer.shape for layer in received] != shapes:
            raise Different(
                f"{other} and {first} must emit spikes of the same shapes. "
                f"Received: {[x.shape for x in received]} and {shapes}"
            )
        layers = zip(_names(case), expected, received, strict=True)
        for name, ours, theirs in layers:
            wrong = int(np.sum(ours != theirs))
            if wrong:
                raise Different(
                    f"{other} and {first} differ in {wrong} of {ours.size} "
                    f"spikes of layer {name}"
                )


def same_gradients(norms: dict[str, list[float]]) -> None:
    """Raises `Different` unless all contenders have the same gradient norms.

    Args:
        norms: For every contender the norm of the gradient at every weight.
    """
    (first, expected), *others = norms.items()
    for other, received in others:
        if not np.allclose(received, expected, rtol=GRADIENT_TOLERANCE, atol=0):
            raise Different(
                f"{other} and {first} must have the same gradients. Received: "
                f"norms {np.round(received, 5)} and {np.round(expected, 5)}"
            )


def _names(case):
    """Returns a name per layer of neurons, such as "2 (after conv 32)"."""
    names, before = [], "the input"
    for layer in case.layers:
        if layer.kind == "lif":
            names.append(f"{len(names) + 1} (after {before})")
        elif layer.kind in ("conv", "dense"):
            before = f"{layer.kind} {layer.size}"
    return names
