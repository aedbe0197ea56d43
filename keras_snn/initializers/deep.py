"""Initializations for deep plain networks: a stable rate, and copies."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn import theory
from keras_snn.initializers.base import (
    ConstantBias,
    KernelInitializer,
    NormalInitializer,
)
from keras_snn.validation import check_count, check_neuron, check_number

__all__ = ["CopyInitializer", "StationaryBias", "StationaryInitializer"]


@keras.saving.register_keras_serializable(package="keras_snn")
class StationaryInitializer(NormalInitializer):
    """Kernel under which the firing rate stays the same at any depth.

    Draws from a normal distribution. With `StationaryBias` and inputs that fire
    at `rate`, the neurons fire at `rate`, too. This is a stable fixed point:
    higher rates fall from layer to layer, and slightly lower ones rise. For `k`
    below about 0.7, a network whose inputs hardly fire stays silent.

    `theory` computes the law from the neuron alone, without data. This takes a
    second for the first layer, and several seconds for more than 20 timesteps.

    Use it with `detach_reset=True` and the surrogate
    `Exponential(theory.stationary_steepness(k, theta, rate, timesteps))`, which
    keep the norm of the gradient.

    Random weights of any law forget the input after about 15 layers. For deeper
    networks without shortcuts, see `CopyInitializer`.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        rate: Firing rate to keep, in `[0.1, 0.4]`.
        timesteps: Number of timesteps of the network, at least 1. Numbers above
            100 count as 100.
        fan_in: As in `AsymptoteInitializer`.
        seed: As in `AsymptoteInitializer`.

    Call arguments:
        shape: Shape of the kernel, of rank 2 or more.
        dtype: Dtype of the kernel; Keras's `floatx` by default.

    Example:
    >>> neuron = dict(k=0.8, lam=0.2, theta=1.0)
    >>> layer = keras.layers.Dense(
    ...     256,
    ...     kernel_initializer=StationaryInitializer(**neuron, timesteps=4),
    ...     bias_initializer=StationaryBias(**neuron, timesteps=4),
    ... )
    """

    def __init__(
        self,
        k: float,
        lam: float,
        theta: float,
        rate: float = 0.15,
        timesteps: int = 20,
        fan_in: int | None = None,
        seed: Any = None,
    ):
        super().__init__(k, lam, theta, fan_in, seed)
        self.rate = check_number(
            "rate", rate, theory.LOWEST_RATE, theory.HIGHEST_RATE, "both"
        )
        self.timesteps = check_count("timesteps", timesteps)

    def _stddev(self, fan_in):
        stddev = theory.stationary_stddev(
            self.k, self.lam, self.theta, self.rate, self.timesteps
        )
        return stddev / math.sqrt(fan_in)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        target = {"rate": self.rate, "timesteps": self.timesteps}
        return super().get_config() | target


@keras.saving.register_keras_serializable(package="keras_snn")
class StationaryBias(ConstantBias):
    """Bias for `StationaryInitializer`: see `theory.stationary_bias`.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        timesteps: Number of timesteps of the network, at least 1.

    Call arguments:
        shape: Shape of the bias.
        dtype: Dtype of the bias; Keras's `floatx` by default.
    """

    def __init__(self, k: float, lam: float, theta: float, timesteps: int = 20):
        super().__init__(k, lam, theta)
        self.timesteps = check_count("timesteps", timesteps)

    def _value(self):
        return theory.stationary_bias(
            self.k, self.lam, self.theta, self.timesteps
        )

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return super().get_config() | {"timesteps": self.timesteps}


@keras.saving.register_keras_serializable(package="keras_snn")
class CopyInitializer(KernelInitializer):
    """Kernel that copies spikes: the identity plus small random weights.

    A spike in is a spike out, so a deep network starts as a copy of its input
    instead of forgetting it. It needs no bias.

    In units of `theta / lam`, the weight from an input to its copy is `gain`,
    and all weights have random parts `N(0, noise^2 / fan_in)`.

    It is for dense layers and ordinary convolutions. It cannot tell grouped and
    depthwise convolutions from these, and is wrong for them:

    - `Dense`: unit `j` of `units` copies input `floor(j inputs / units)`.
    - Convolutions: the same over channels, at the center of the filter (a Dirac
      kernel).

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`. The kernel
            does not depend on it.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        gain: Weight of the copied input, above 0. It must be above 1 for a
            single spike to cross the threshold.
        noise: Spread of the random weights, at least 0.
        fan_in: As in `AsymptoteInitializer`. It only scales the noise.
        seed: As in `AsymptoteInitializer`.

    Call arguments:
        shape: Shape of the kernel, of rank 2 or more.
        dtype: Dtype of the kernel; Keras's `floatx` by default.

    Reference:
        The idea for recurrent networks: "A Simple Way to Initialize Recurrent
        Networks of Rectified Linear Units" (Le et al. 2015).

    Example:
    >>> copy = CopyInitializer(k=0.8, lam=0.5, theta=1.0, gain=1.5, noise=0.0)
    >>> keras.ops.convert_to_numpy(copy((2, 2))).tolist()
    [[3.0, 0.0], [0.0, 3.0]]
    """

    def __init__(
        self,
        k: float,
        lam: float,
        theta: float,
        gain: float = 1.2,
        noise: float = 0.05,
        fan_in: int | None = None,
        seed: Any = None,
    ):
        super().__init__(fan_in, seed)
        self.k, self.lam, self.theta = check_neuron(k, lam, theta)
        self.gain = check_number("gain", gain)
        self.noise = check_number("noise", noise, included="both")

    def _draw(self, shape, fan_in, dtype, seed):
        *window, inputs, units = shape
        copies = np.zeros(shape)
        # Of an even size, "same" padding puts the extra input last.
        center = tuple((size - 1) // 2 for size in window)
        unit = np.arange(units)
        copies[(*center, unit * inputs // units, unit)] = self.gain
        scale = self.theta / self.lam
        kernel = ops.convert_to_tensor(copies * scale, dtype)
        stddev = scale * self.noise / math.sqrt(fan_in)
        return kernel + keras.random.normal(
            shape, stddev=stddev, dtype=dtype, seed=seed
        )

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        neuron = {"k": self.k, "lam": self.lam, "theta": self.theta}
        law = {"gain": self.gain, "noise": self.noise}
        return neuron | law | super().get_config()
