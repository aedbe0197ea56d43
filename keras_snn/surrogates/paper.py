"""The surrogates of the paper (Table A3, Fig. A7)."""

import dataclasses
import math
from typing import Any

import keras
from keras import ops

from keras_snn.surrogates.base import Steep

__all__ = ["Arctan", "HardTanh", "Sigmoid", "Tanh"]


@keras.saving.register_keras_serializable(package="keras_snn")
@dataclasses.dataclass(frozen=True)
class Sigmoid(Steep):
    """`h(x) = 1 / (1 + exp(-a x))`, `h'(x) = a h (1 - h)` (Table A3).

    Args:
        a: Steepness, above 0. The default, 2, is the paper's.
    """

    a: float = 2.0

    def smooth(self, distance: Any) -> Any:
        """Computes the smooth step."""
        (a,) = self._constants
        return ops.sigmoid(a * distance)

    def derivative(self, distance: Any) -> Any:
        """Computes the derivative of the smooth step."""
        (a,) = self._constants
        smooth = ops.sigmoid(a * distance)
        slope = 1 - smooth
        slope *= smooth
        slope *= a
        return slope

    def _derive(self):
        return (self.a,)


@keras.saving.register_keras_serializable(package="keras_snn")
@dataclasses.dataclass(frozen=True)
class Tanh(Sigmoid):
    """`h(x) = tanh(a x)/2 + 1/2`, `h'(x) = a/2 (1 - tanh(a x)^2)` (Table A3).

    Both are those of a sigmoid twice as steep, and computed as such.

    Args:
        a: Steepness, above 0. The default, 2, is the paper's.
    """

    def _derive(self):
        return (2 * self.a,)


@keras.saving.register_keras_serializable(package="keras_snn")
@dataclasses.dataclass(frozen=True)
class HardTanh(Steep):
    """`h(x) = clip(a x + 1/2, 0, 1)`, `h'(x) = a` on the ramp (Table A3).

    Args:
        a: Steepness, above 0. The default, 1, is the paper's.
    """

    a: float = 1.0

    def smooth(self, distance: Any) -> Any:
        """Computes `clip(a x + 1 / 2, 0, 1)`."""
        return ops.clip(self.a * distance + 0.5, 0, 1)

    def derivative(self, distance: Any) -> Any:
        """Computes `a` where `|x| < 1 / (2 a)`, 0 elsewhere."""
        a, edge = self._constants
        on_ramp = ops.abs(distance) < edge
        return a * ops.cast(on_ramp, distance.dtype)

    def _derive(self):
        return self.a, 1 / (2 * self.a)


@keras.saving.register_keras_serializable(package="keras_snn")
@dataclasses.dataclass(frozen=True)
class Arctan(Steep):
    """`h(x) = arctan(pi a x)/pi + 1/2`, `h'(x) = a / (1 + (pi a x)^2)`.

    See Table A3.

    Args:
        a: Steepness, above 0. The paper uses 2, the default, in its main
            runs and 1 in Table A7.
    """

    a: float = 2.0

    def smooth(self, distance: Any) -> Any:
        """Computes `arctan(pi a x) / pi + 1 / 2`."""
        return ops.arctan(math.pi * self.a * distance) / math.pi + 0.5

    def derivative(self, distance: Any) -> Any:
        """Computes `a / (1 + (pi a x)^2)`."""
        # In the form 1 / (1 / a + pi^2 a x^2), which saves an operation.
        factor, offset = self._constants
        slope = ops.square(distance)
        slope *= factor
        slope += offset
        return ops.reciprocal(slope)

    def _derive(self):
        return math.pi**2 * self.a, 1 / self.a
