"""Initializations by name."""

import math
from collections.abc import Sequence

import keras
import numpy as np

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
from keras_snn.validation import (
    check_choice,
    check_count,
    check_neuron,
    check_seed,
)

__all__ = [
    "NAMES",
    "for_gradient",
    "for_layer",
    "for_normalization",
    "padded_fan_in",
]

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
KERAS = {
    "glorot": keras.initializers.GlorotUniform,
    "he": keras.initializers.HeNormal,
}


def for_layer(
    name: str,
    k: float,
    lam: float,
    theta: float,
    seed: int | None = None,
    timesteps: int = 20,
    fan_in: int | None = None,
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
        seed: `None`, or an integer in `[0, 2**31)` that differs from layer to
            layer.
        timesteps: Length of the time axis, for `"stationary"`. Also used where
            there is no stationary solution: by `"rossbroich"` if `k` is 1, and
            by `"shi"` if `k` is at least `theory.shi_limit()`.
        fan_in: Number of inputs to one unit. `None` means all that the kernel
            has. For a padded convolution under `"stationary"`, the builders
            pass `padded_fan_in`. `"glorot"` and `"he"`, Keras's own, take only
            `None`.

    Returns:
        Dictionary with `kernel_initializer` and `bias_initializer`.

    Example:
    >>> layer = keras.layers.Dense(10, **for_layer("wu", 0.8, 0.2, 1.0))
    """
    check_choice("name", name, NAMES)
    k, lam, theta = check_neuron(k, lam, theta)
    seed = check_seed(seed)
    if fan_in is not None and name in KERAS:
        raise ValueError(
            f"`fan_in` must be None for {name!r}, which is Keras's own. "
            f"Received: fan_in={fan_in!r}"
        )
    simple = {
        "wu": WuInitializer,
        "lee": LeeInitializer,
        "lee2020": Lee2020Initializer,
    }
    bias = "zeros"
    if name in KERAS:
        kernel = KERAS[name](seed=seed)
    elif name in simple:
        kernel = simple[name](fan_in=fan_in, seed=seed)
    elif name == "stationary":
        kernel = StationaryInitializer(
            k, lam, theta, timesteps=timesteps, fan_in=fan_in, seed=seed
        )
        bias = StationaryBias(k, lam, theta, timesteps)
    elif name == "copy":
        kernel = CopyInitializer(k, lam, theta, fan_in=fan_in, seed=seed)
    elif name == "rossbroich":
        steps = timesteps if k == 1 else None
        kernel = RossbroichInitializer(
            k, lam, theta, timesteps=steps, fan_in=fan_in, seed=seed
        )
    elif name == "micheli":
        kernel = MicheliInitializer(k, lam, theta, fan_in=fan_in, seed=seed)
    elif name == "shi":
        steps = _of_shi(k, timesteps)
        kernel = ShiInitializer(
            k, lam, theta, timesteps=steps, fan_in=fan_in, seed=seed
        )
    else:
        kernel = AsymptoteInitializer(k, lam, theta, fan_in=fan_in, seed=seed)
        bias = AsymptoteBias(k, lam, theta)
    return {"kernel_initializer": kernel, "bias_initializer": bias}


def padded_fan_in(shape: Sequence[int], size: int, strides: int = 1) -> int:
    """Counts the inputs of a plain convolution with `padding="same"`.

    At the border, a filter covers zeros outside the image. These carry no
    current, so the neurons there fire less, and after some layers all do.
    Counting the inputs inside the image, on average over the filter's
    positions, makes up for it.

    Args:
        shape: `(height, width, channels)` of the convolution's inputs. With
            groups, the channels of one.
        size: Side of the filter, at least 1.
        strides: Step between its positions, at least 1.

    Returns:
        The mean number of inputs to a unit, an integer of at least 1.

    Example:
    A filter of 3x3 on an image of 2x2 always covers the whole image.

    >>> padded_fan_in((2, 2, 10), size=3)
    40
    """
    try:
        height, width, channels = (check_count("shape", x) for x in shape)
    except (TypeError, ValueError):
        raise ValueError(
            "`shape` must be (height, width, channels), integers of at least "
            f"1. Received: shape={shape!r}"
        ) from None
    size, strides = check_count("size", size), check_count("strides", strides)
    fan_in = float(channels)
    for side in (height, width):
        outputs = -(-side // strides)
        before = max((outputs - 1) * strides + size - side, 0) // 2
        first = strides * np.arange(outputs) - before
        inside = np.minimum(first + size, side) - np.maximum(first, 0)
        fan_in *= inside.mean()
    return max(1, round(fan_in))


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
    check_choice("name", name, NAMES)
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

    Keep Keras's default initializer for the kernel before it. A larger kernel
    gives the same outputs but learns more slowly.

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
    check_choice("name", name, NAMES)
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
