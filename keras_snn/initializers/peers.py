"""Laws of other authors, which the paper does not compare with.

Biases are zero in all of them.
"""

import math
from typing import Any

import keras

from keras_snn import theory
from keras_snn.initializers.base import KernelInitializer, NormalInitializer
from keras_snn.validation import check_count, check_number

__all__ = [
    "Lee2020Initializer",
    "MicheliInitializer",
    "RossbroichInitializer",
    "ShiInitializer",
]


@keras.saving.register_keras_serializable(package="keras_snn")
class Lee2020Initializer(KernelInitializer):
    """Kernel of Lee et al. 2020: normal with variance `kappa / fan_in`.

    With `kappa = 2`, the variance is that of `keras.initializers.HeNormal`,
    whose normal distribution is truncated.

    Args:
        kappa: Scale of the variance, above 0. The authors use 2, and 1 in
            residual networks.
        fan_in: Number of inputs to one unit. The default is the product of all
            axes of the kernel but the last.
        seed: As in `AsymptoteInitializer`.

    Call arguments:
        shape: Shape of the kernel, of rank 2 or more.
        dtype: Dtype of the kernel; Keras's `floatx` by default.

    Reference:
        Lee, Sarwar, Panda, Srinivasan and Roy, "Enabling spike-based
        backpropagation for training deep neural network architectures", 2020.
    """

    def __init__(
        self,
        kappa: float = 2.0,
        fan_in: int | None = None,
        seed: Any = None,
    ):
        super().__init__(fan_in, seed)
        self.kappa = check_number("kappa", kappa)

    def _draw(self, shape, fan_in, dtype, seed):
        stddev = math.sqrt(self.kappa / fan_in)
        return keras.random.normal(shape, stddev=stddev, dtype=dtype, seed=seed)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {"kappa": self.kappa} | super().get_config()


@keras.saving.register_keras_serializable(package="keras_snn")
class RossbroichInitializer(NormalInitializer):
    """Kernel of Rossbroich et al. 2022: fluctuations reach the threshold.

    See `keras_snn.theory.rossbroich_stddev`.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        rate: Firing rate of the inputs, in `(0, 1]`. The authors measure it in
            the data.
        xi: Distance between the mean potential, which is 0, and the threshold,
            in standard deviations of the potential. Above 0.
        timesteps: Number of timesteps after which the fluctuations are taken.
            `None`, the authors' choice, means infinitely many, and needs a `k`
            below 1.
        fan_in: Number of inputs to one unit. The default is the product of all
            axes of the kernel but the last.
        seed: As in `AsymptoteInitializer`.

    Call arguments:
        shape: Shape of the kernel, of rank 2 or more.
        dtype: Dtype of the kernel; Keras's `floatx` by default.

    Reference:
        Rossbroich, Gygax and Zenke, "Fluctuation-driven initialization for
        spiking neural network training", 2022.
    """

    def __init__(
        self,
        k: float,
        lam: float,
        theta: float,
        rate: float = 0.1,
        xi: float = 2.0,
        timesteps: int | None = None,
        fan_in: int | None = None,
        seed: Any = None,
    ):
        super().__init__(k, lam, theta, fan_in, seed)
        self.rate = check_number("rate", rate, high=1.0)
        self.xi = check_number("xi", xi)
        self.timesteps = _timesteps(timesteps)
        self._stddev(fan_in=1)  # refuses `k = 1` without timesteps

    def _stddev(self, fan_in):
        return theory.rossbroich_stddev(
            *(fan_in, self.k, self.lam, self.theta),
            *(self.rate, self.xi, self.timesteps),
        )

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        law = {"rate": self.rate, "xi": self.xi, "timesteps": self.timesteps}
        return law | super().get_config()


@keras.saving.register_keras_serializable(package="keras_snn")
class MicheliInitializer(NormalInitializer):
    """Kernel of Micheli et al. 2024: the variance of the potential stays 1.

    See `keras_snn.theory.micheli_stddev`.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`. The law
            does not depend on it, because it is that of the first timestep.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, in `(0, 37]`.
        fan_in: Number of inputs to one unit. The default is the product of all
            axes of the kernel but the last.
        seed: As in `AsymptoteInitializer`.

    Call arguments:
        shape: Shape of the kernel, of rank 2 or more.
        dtype: Dtype of the kernel; Keras's `floatx` by default.

    Reference:
        Micheli, Booij, van Gemert and Tömen, "Deep activity propagation via
        weight initialization in spiking neural networks", 2024.
    """

    def __init__(
        self,
        k: float,
        lam: float,
        theta: float,
        fan_in: int | None = None,
        seed: Any = None,
    ):
        super().__init__(k, lam, theta, fan_in, seed)
        self._stddev(fan_in=1)  # refuses thresholds that are too high

    def _stddev(self, fan_in):
        return theory.micheli_stddev(fan_in, self.lam, self.theta)


@keras.saving.register_keras_serializable(package="keras_snn")
class ShiInitializer(NormalInitializer):
    """Kernel of SpikeInit (Shi & Yu 2026): every layer keeps one firing rate.

    See `keras_snn.theory.shi_stddev`. The authors combine it with a gradient
    that stops at the reset and an exponential surrogate, whose steepness is
    `keras_snn.theory.shi_steepness`. They have another law for a first layer
    with constant inputs, which is not part of this class.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        rate: Firing rate of all layers, in `(0, 0.5)`.
        timesteps: `None` for the stationary solution. It needs a `k` below
            `keras_snn.theory.shi_limit(rate)`, which is 0.964 by default. With
            a number, the neurons fire with probability `rate` in the last of
            that many timesteps. If `k` is 1, a rate of 0.1 is possible up to 31
            timesteps.
        fan_in: Number of inputs to one unit. The default is the product of all
            axes of the kernel but the last.
        seed: As in `AsymptoteInitializer`.

    Call arguments:
        shape: Shape of the kernel, of rank 2 or more.
        dtype: Dtype of the kernel; Keras's `floatx` by default.

    Raises:
        ValueError: If there is no solution for these arguments.

    Reference:
        Shi and Yu, "Training Deep Spiking Neural Networks without
        Normalization", ICML 2026.

    Example:
    >>> from keras_snn import layers, surrogates
    >>> neuron = dict(k=0.8, lam=0.2, theta=1.0)
    >>> kernel = ShiInitializer(**neuron)
    >>> synapses = keras.layers.Dense(500, kernel_initializer=kernel)
    >>> a = theory.shi_steepness(k=0.8, theta=1.0)
    >>> surrogate = surrogates.Exponential(a)
    >>> layer = layers.LIF(**neuron, surrogate=surrogate, detach_reset=True)
    """

    def __init__(
        self,
        k: float,
        lam: float,
        theta: float,
        rate: float = 0.1,
        timesteps: int | None = None,
        fan_in: int | None = None,
        seed: Any = None,
    ):
        super().__init__(k, lam, theta, fan_in, seed)
        self.rate = check_number("rate", rate, high=0.5, included="neither")
        self.timesteps = _timesteps(timesteps)
        self._of_one_input = theory.shi_stddev(
            1, self.k, self.lam, self.theta, self.rate, self.timesteps
        )

    def _stddev(self, fan_in):
        return self._of_one_input / math.sqrt(fan_in)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        law = {"rate": self.rate, "timesteps": self.timesteps}
        return law | super().get_config()


def _timesteps(value):
    return None if value is None else check_count("timesteps", value)
