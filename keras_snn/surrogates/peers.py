"""Surrogates that other simulators use.

The docstrings give the same derivative in SpikingJelly 2.0, snnTorch 1.0, Norse
1.1 and sinabs 3.1, where they have it, and their default steepness.
"""

import dataclasses
import math
from typing import Any

import keras
from keras import ops

from keras_snn.surrogates.base import Steep

__all__ = ["Exponential", "FastSigmoid", "Gaussian", "Triangular"]


@keras.saving.register_keras_serializable(package="keras_snn")
@dataclasses.dataclass(frozen=True)
class FastSigmoid(Steep):
    """`h(x) = 1/2 + x / (1 + a |x|)`, `h'(x) = 1 / (1 + a |x|)^2`.

    This is the derivative of SuperSpike. As there, `h'(0)` is 1 for every `a`,
    so `h` rises by `2 / a`: from 0 to 1 if `a` is 2.

    - snnTorch: `fast_sigmoid(slope=a)`, by default 25.
    - SpikingJelly: `SoftSign(alpha=a)` is `a / 2` times this. At its default,
      `alpha=2`, they are equal.
    - Norse: `"super"` is `a = 1`. It ignores its `alpha`.

    Args:
        a: Steepness, above 0.

    Reference:
        "SuperSpike: Supervised Learning in Multilayer Spiking Neural Networks"
        (Zenke and Ganguli 2018), Section 3.3.2, where `a` is called beta.
    """

    a: float = 2.0

    def smooth(self, distance: Any) -> Any:
        """Computes `1 / 2 + x / (1 + a |x|)`."""
        return 0.5 + ops.divide(distance, 1 + self.a * ops.abs(distance))

    def derivative(self, distance: Any) -> Any:
        """Computes `1 / (1 + a |x|)^2`."""
        (a,) = self._constants
        slope = ops.abs(distance)
        slope *= a
        slope += 1
        slope *= slope
        return ops.reciprocal(slope)

    def _derive(self):
        return (self.a,)


@keras.saving.register_keras_serializable(package="keras_snn")
@dataclasses.dataclass(frozen=True)
class Triangular(Steep):
    """`h'(x) = a max(0, 1 - a |x|)`, and `h` consists of two parabolas.

    - SpikingJelly: `PiecewiseQuadratic(alpha=a)`, by default 1.
    - Norse: `"triangle"` is `Triangular(1)` times `alpha`, by default 0.3.
    - snnTorch's `triangular` is not a triangle: its derivative is `threshold`
      below the threshold and `-threshold` above.

    Args:
        a: Steepness, above 0.

    Reference:
        "Convolutional networks for fast, energy-efficient neuromorphic
        computing" (Esser et al. 2016).
    """

    a: float = 1.0

    def smooth(self, distance: Any) -> Any:
        """Computes `1 / 2 + y - y |y| / 2` of `y = clip(a x, -1, 1)`."""
        y = ops.clip(self.a * distance, -1, 1)
        return 0.5 + y - y * ops.abs(y) / 2

    def derivative(self, distance: Any) -> Any:
        """Computes `max(0, a - a^2 |x|)`."""
        a, fall = self._constants
        slope = ops.abs(distance)
        slope *= fall
        slope += a
        return ops.relu(slope)

    def _derive(self):
        return self.a, -(self.a**2)


@keras.saving.register_keras_serializable(package="keras_snn")
@dataclasses.dataclass(frozen=True)
class Exponential(Steep):
    """`h'(x) = a exp(-2 a |x|)`, and `h(x) = 1 - exp(-2 a x) / 2` above 0.

    - SpikingJelly: `PiecewiseExp(alpha=2 a)`, by default 1: `a = 0.5`.
    - sinabs: `SingleExponential(grad_width=1 / (2 a), grad_scale=0.5)` at a
      threshold of 1. By default it is twice as high, with `a = 1`.

    Args:
        a: Steepness, above 0.

    Reference:
        "SLAYER: Spike Layer Error Reassignment in Time" (Shrestha and Orchard
        2018).
    """

    a: float = 1.0

    def smooth(self, distance: Any) -> Any:
        """Computes `1 / 2 + sign(x) (1 - exp(-2 a |x|)) / 2`."""
        rest = 1 - ops.exp(-2 * self.a * ops.abs(distance))
        return 0.5 + ops.sign(distance) * rest / 2

    def derivative(self, distance: Any) -> Any:
        """Computes `a exp(-2 a |x|)`."""
        a, decay = self._constants
        slope = ops.abs(distance)
        slope *= decay
        slope = ops.exp(slope)
        slope *= a
        return slope

    def _derive(self):
        return self.a, -2 * self.a


@keras.saving.register_keras_serializable(package="keras_snn")
@dataclasses.dataclass(frozen=True)
class Gaussian(Steep):
    """`h'(x) = a exp(-pi (a x)^2)`, `h(x) = erf(sqrt(pi) a x)/2 + 1/2`.

    The standard deviation of `h'` is `1 / (sqrt(2 pi) a)`.

    - SpikingJelly: `Erf(alpha=sqrt(pi) a)`, by default 2: `a = 1.128`.
    - sinabs: `Gaussian(sigma=1 / (sqrt(2 pi) a))`, by default 0.5:
      `a = 0.798`.

    Args:
        a: Steepness, above 0.

    Reference:
        "Effective and Efficient Computation with Multiple-timescale Spiking
        Recurrent Neural Networks" (Yin et al. 2020).
    """

    a: float = 1.0

    def smooth(self, distance: Any) -> Any:
        """Computes `erf(sqrt(pi) a x) / 2 + 1 / 2`."""
        return ops.erf(math.sqrt(math.pi) * self.a * distance) / 2 + 0.5

    def derivative(self, distance: Any) -> Any:
        """Computes `a exp(-pi (a x)^2)`."""
        a, decay = self._constants
        slope = ops.square(distance)
        slope *= decay
        slope = ops.exp(slope)
        slope *= a
        return slope

    def _derive(self):
        return self.a, -math.pi * self.a**2
