"""Initializations by name."""

import math

import keras

from keras_snn import theory
from keras_snn.initializers.deep import (
    CopyInitializer,
    StationaryBias,
    StationaryInitializer,
)
from keras_snn.initializers.paper import (
    AsymptoteBias,
    AsymptoteInitializer,
    LeeInitializer,
    WuInitializer,
)
from keras_snn.initializers.peers import (
    Lee2020Initializer,
    MicheliInitializer,
    RossbroichInitializer,
    ShiInitializer,
)
from keras_snn.surrogates import Arctan, Exponential
from keras_snn.validation import check_choice, check_neuron, check_seed

__all__ = ["NAMES", "for_gradient", "for_layer", "for_normalization"]

NAMES = (
    "asymptote",
    "stationary",
    "copy",
    "glorot",
    "he",
    "wu",
    "lee",
    "lee2020",
    "rossbroich",
    "micheli",
    "shi",
)

# In units of the threshold. At the potential of a copied spike, 1.2 theta, the
# gradient then loses a tenth per layer.
COPY_STEEPNESS = 1.2
RATE = 0.15  # of `StationaryInitializer`


def for_layer(
    name: str,
    k: float,
    lam: float,
    theta: float,
    seed: int | None = None,
    timesteps: int = 20,
) -> dict:
    """Returns the initializers of a named scheme, as layer arguments.

    | name | kernel |
    | --- | --- |
    | `"asymptote"` | `AsymptoteInitializer`, with `AsymptoteBias` |
    | `"stationary"` | `StationaryInitializer`, with `StationaryBias` |
    | `"copy"` | `CopyInitializer` |
    | `"glorot"` | `keras.initializers.GlorotUniform` |
    | `"he"` | `keras.initializers.HeNormal` |
    | `"wu"` | `WuInitializer` |
    | `"lee"` | `LeeInitializer` |
    | `"lee2020"` | `Lee2020Initializer` |
    | `"rossbroich"` | `RossbroichInitializer` |
    | `"micheli"` | `MicheliInitializer` |
    | `"shi"` | `ShiInitializer` |

    Only `"asymptote"` and `"stationary"` have nonzero biases.

    Args:
        name: One of `NAMES`.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        seed: `None`, or an integer that differs from layer to layer.
        timesteps: Length of the time axis, for `"stationary"`. Also used where
            there is no stationary solution: by `"rossbroich"` if `k` is 1, and
            by `"shi"` if `k` is at least `theory.shi_limit()`.

    Returns:
        Dictionary with `kernel_initializer` and `bias_initializer`.

    Example:
    >>> layer = keras.layers.Dense(10, **for_layer("wu", 0.8, 0.2, 1.0))
    """
    check_choice("initializer", name, NAMES)
    k, lam, theta = check_neuron(k, lam, theta)
    seed = check_seed(seed)
    kernels = {
        "glorot": keras.initializers.GlorotUniform,
        "he": keras.initializers.HeNormal,
        "wu": WuInitializer,
        "lee": LeeInitializer,
        "lee2020": Lee2020Initializer,
    }
    bias = "zeros"
    if name in kernels:
        kernel = kernels[name](seed=seed)
    elif name == "stationary":
        kernel = StationaryInitializer(
            k, lam, theta, timesteps=timesteps, seed=seed
        )
        bias = StationaryBias(k, lam, theta, timesteps)
    elif name == "copy":
        kernel = CopyInitializer(k, lam, theta, seed=seed)
    elif name == "rossbroich":
        steps = timesteps if k == 1 else None
        kernel = RossbroichInitializer(
            k, lam, theta, timesteps=steps, seed=seed
        )
    elif name == "micheli":
        kernel = MicheliInitializer(k, lam, theta, seed=seed)
    elif name == "shi":
        steps = _of_shi(k, timesteps)
        kernel = ShiInitializer(k, lam, theta, timesteps=steps, seed=seed)
    else:
        kernel = AsymptoteInitializer(k, lam, theta, seed=seed)
        bias = AsymptoteBias(k, lam, theta)
    return {"kernel_initializer": kernel, "bias_initializer": bias}


def _of_shi(k, timesteps):
    """Returns the timesteps, or `None` if there is a stationary solution."""
    return timesteps if k >= theory.shi_limit() else None


def for_gradient(
    name: str, k: float, lam: float, theta: float, timesteps: int = 20
) -> dict:
    """Returns the surrogate that suits a named scheme, as neuron arguments.

    `"stationary"` and `"shi"` have an exponential surrogate whose steepness
    keeps the norm of the gradient, and `"copy"` one that loses a tenth of it
    per layer. These detach the reset. All others have the paper's arctan, with
    the gradient through the reset.

    Args:
        name: One of `NAMES`.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        timesteps: Length of the time axis, at least 1.

    Returns:
        Dictionary with `surrogate` and `detach_reset`.

    Example:
    >>> for_gradient("copy", k=0.8, lam=0.2, theta=1.0)
    {'surrogate': Exponential(a=1.2), 'detach_reset': True}
    """
    check_choice("initializer", name, NAMES)
    k, lam, theta = check_neuron(k, lam, theta)
    if name == "stationary":
        a = theory.stationary_steepness(k, theta, timesteps=timesteps)
    elif name == "copy":
        a = COPY_STEEPNESS / theta
    elif name == "shi":
        a = theory.shi_steepness(k, theta, timesteps=_of_shi(k, timesteps))
    else:
        return {"surrogate": Arctan(), "detach_reset": False}
    return {"surrogate": Exponential(a), "detach_reset": True}


def for_normalization(
    name: str, k: float, lam: float, theta: float, timesteps: int = 20
) -> dict:
    """Returns the initializers of a normalization between synapses and neurons.

    A normalization sets the scale and the mean of the currents, whatever the
    weights. At the usual start, a scale of 1 and a shift of 0, neurons with a
    small gain hardly fire. Two initializations have another start:

    - `"asymptote"`: the scale is `sqrt(2) theta / lam`, the standard deviation
      of the currents if all inputs were 1. The shift is the bias
      `theta (1 - k) / (2 lam)`.
    - `"stationary"`: the scale is the standard deviation of the currents if the
      inputs fire at a rate of 0.15. The shift is the bias.

    Args:
        name: One of `NAMES`. All but these two have the usual start.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        timesteps: Length of the time axis, for `"stationary"`.

    Returns:
        Dictionary with `gamma_initializer` and `beta_initializer`.

    Example:
    >>> start = for_normalization("asymptote", k=0.8, lam=0.2, theta=1.0)
    >>> layer = keras.layers.BatchNormalization(**start)
    """
    check_choice("initializer", name, NAMES)
    k, lam, theta = check_neuron(k, lam, theta)
    if name == "asymptote":
        scale = theory.weight_stddev(1, lam, theta)
        shift = AsymptoteBias(k, lam, theta)
    elif name == "stationary":
        stddev = theory.stationary_stddev(k, lam, theta, RATE, timesteps)
        scale = stddev * math.sqrt(RATE)
        shift = StationaryBias(k, lam, theta, timesteps)
    else:
        return {"gamma_initializer": "ones", "beta_initializer": "zeros"}
    return {
        "gamma_initializer": keras.initializers.Constant(scale),
        "beta_initializer": shift,
    }
