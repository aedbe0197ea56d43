"""Initializations by name."""

import keras

from keras_snn.initializers.paper import (
    AsymptoteBias,
    AsymptoteInitializer,
    LeeInitializer,
    WuInitializer,
)
from keras_snn.validation import check_choice, check_seed

__all__ = ["NAMES", "for_layer"]

NAMES = ("asymptote", "glorot", "he", "wu", "lee")


def for_layer(
    name: str, k: float, lam: float, theta: float, seed: int | None = None
) -> dict:
    """Returns the initializers of a named scheme, as layer arguments.

    Args:
        name: `"asymptote"`, `"glorot"` (uniform), `"he"` (normal), `"wu"` or
            `"lee"`. Only `"asymptote"` has nonzero biases.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        seed: `None`, or an integer that differs from layer to layer.

    Returns:
        Dictionary with `kernel_initializer` and `bias_initializer`.

    Example:
    >>> layer = keras.layers.Dense(10, **for_layer("wu", 0.8, 0.2, 1.0))
    """
    check_choice("initializer", name, NAMES)
    bias = AsymptoteBias(k, lam, theta)  # checks the neuron for every name
    seed = check_seed(seed)
    if name == "asymptote":
        kernel = AsymptoteInitializer(k, lam, theta, seed=seed)
        return {"kernel_initializer": kernel, "bias_initializer": bias}
    kernels = {
        "glorot": keras.initializers.GlorotUniform,
        "he": keras.initializers.HeNormal,
        "wu": WuInitializer,
        "lee": LeeInitializer,
    }
    return {
        "kernel_initializer": kernels[name](seed=seed),
        "bias_initializer": "zeros",
    }
