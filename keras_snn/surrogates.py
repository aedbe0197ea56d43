"""The spike, and the surrogate derivatives that train through it.

A spike is the step `H(x)` of the distance `x = u - theta` between potential and
threshold, with `H(0) = 0`. Its derivative is zero almost everywhere, so the
backward pass uses the derivative `h'` of a smooth step `h` instead. The forward
pass always uses `H`.

Reference:
    "Accelerating Training of Deep Spiking Neural Networks with Parameter
    Initialization" (ICLR 2022 submission), Table A3 and Fig. A7.
"""

import abc
import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_snn.validation import check_number

__all__ = [
    "NAMES",
    "Arctan",
    "HardTanh",
    "Sigmoid",
    "SpikeGated",
    "Surrogate",
    "Tanh",
    "fire",
    "get",
    "serialize",
]


def fire(distance: Any) -> Any:
    """Computes the spikes `H(distance)`, 0 or 1, without a gradient.

    NaN stays NaN, so the loss shows it.
    """
    spikes = ops.cast(distance > 0, distance.dtype)
    return ops.where(ops.isnan(distance), distance, spikes)


class Surrogate(abc.ABC):
    """Base class of the surrogates: a spike with the gradient `derivative`.

    A subclass is a frozen dataclass that defines `smooth` and `derivative`. Its
    fields are its config. Register it with
    `keras.saving.register_keras_serializable`.

    Each surrogate has a compiled loop of its own, unless it also defines
    `flatten` and `unflatten`.

    Call arguments:
        distance: Float tensor of any shape, potential minus threshold.

    Returns:
        The spikes, 0 or 1, in the dtype and shape of `distance`.
    """

    @abc.abstractmethod
    def smooth(self, distance: Any) -> Any:
        """Computes the smooth step `h`. Training never evaluates it."""

    @abc.abstractmethod
    def derivative(self, distance: Any) -> Any:
        """Computes `h'`, which replaces the derivative of the step."""

    def __call__(self, distance: Any) -> Any:
        """Computes the spikes, 0 or 1."""

        @ops.custom_gradient
        def spike(distance):
            def grad(*args, upstream=None):
                # PyTorch passes the upstream gradient by keyword.
                upstream = args[0] if upstream is None else upstream
                return upstream * self.derivative(distance)

            return fire(distance), grad

        return spike(distance)

    def flatten(self) -> "tuple[Surrogate, tuple[float, ...]]":
        """Splits the surrogate into its kind and its constants.

        Backends compile a loop for a kind, and pass the constants to it.

        Returns:
            `(kind, constants)`: a surrogate that is equal for all surrogates
            that share a loop, and the numbers that tell them apart.
        """
        return self, ()

    def unflatten(self, constants: Sequence[Any]) -> "Surrogate":
        """Returns a surrogate of this kind whose derivative uses `constants`.

        Args:
            constants: As returned by `flatten`, but scalar tensors in a
                compiled loop.
        """
        del constants
        return self

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)  # pyright: ignore
        }

    @classmethod
    def from_config(cls, config: dict) -> "Surrogate":
        """Rebuilds a surrogate from its config."""
        return cls(**config)


@dataclasses.dataclass(frozen=True)
class _Steep(Surrogate):
    """Base class of the surrogates with a steepness `a` above 0.

    A subclass defines `_derive`, which computes the constants of its derivative
    from `a`. They are computed once, in double precision.

    The derivatives change `slope` in place, because new tensors cost memory and
    time on PyTorch.
    """

    a: float = 1.0
    # Each object has its own. A field would be an argument of the constructor.
    _constants: ClassVar[tuple[Any, ...]]

    def __post_init__(self):
        # A frozen dataclass does not allow plain assignment.
        object.__setattr__(self, "a", check_number("a", self.a))
        object.__setattr__(self, "_constants", self._derive())

    @abc.abstractmethod
    def _derive(self) -> tuple[float, ...]:
        """Computes the constants that `derivative` reads."""

    def flatten(self) -> tuple[Surrogate, tuple[float, ...]]:
        """Returns the surrogate with `a = 1`, and the constants."""
        kind = dataclasses.replace(self, a=1.0)
        return kind, (self.a, *self._constants)

    def unflatten(self, constants: Sequence[Any]) -> Surrogate:
        """Returns a surrogate whose derivative uses `constants`."""
        other = copy.copy(self)  # without the checks
        a, *derived = constants
        object.__setattr__(other, "a", a)
        object.__setattr__(other, "_constants", tuple(derived))
        return other


@keras.saving.register_keras_serializable(package="keras_snn")
@dataclasses.dataclass(frozen=True)
class Sigmoid(_Steep):
    """`h(x) = 1 / (1 + exp(-a x))`, `h'(x) = a h (1 - h)` (Table A3).

    Args:
        a: Steepness, above 0. The paper uses 2.
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
        a: Steepness, above 0. The paper uses 2.
    """

    def _derive(self):
        return (2 * self.a,)


@keras.saving.register_keras_serializable(package="keras_snn")
@dataclasses.dataclass(frozen=True)
class HardTanh(_Steep):
    """`h(x) = clip(a x + 1/2, 0, 1)`, `h'(x) = a` on the ramp (Table A3).

    Args:
        a: Steepness, above 0. The paper uses 1.
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
class Arctan(_Steep):
    """`h(x) = arctan(pi a x)/pi + 1/2`, `h'(x) = a / (1 + (pi a x)^2)`.

    See Table A3.

    Args:
        a: Steepness, above 0. The paper uses 2 in its main runs and 1 in
            Table A7.
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


@keras.saving.register_keras_serializable(package="keras_snn")
@dataclasses.dataclass(frozen=True)
class SpikeGated(Surrogate):
    """Passes on the gradient of another surrogate only where a neuron fired.

    Section 2.1 of the paper mentions this variant (Lee et al. 2020a).

    Args:
        surrogate: The surrogate to gate: a name, a config or a `Surrogate`.
    """

    surrogate: Surrogate = Arctan()

    def __post_init__(self):
        # A frozen dataclass does not allow plain assignment.
        object.__setattr__(self, "surrogate", get(self.surrogate))

    def smooth(self, distance: Any) -> Any:
        """Computes the gated surrogate's `h`, held at `h(0)` below 0."""
        return self.surrogate.smooth(ops.relu(distance))

    def derivative(self, distance: Any) -> Any:
        """Computes the gated surrogate's `h'` where `x > 0`, 0 elsewhere."""
        return fire(distance) * self.surrogate.derivative(distance)

    def flatten(self) -> tuple[Surrogate, tuple[float, ...]]:
        """Splits the gated surrogate."""
        kind, constants = self.surrogate.flatten()
        return dataclasses.replace(self, surrogate=kind), constants

    def unflatten(self, constants: Sequence[Any]) -> Surrogate:
        """Returns a gate around the gated surrogate with `constants`."""
        gated = self.surrogate.unflatten(constants)
        return dataclasses.replace(self, surrogate=gated)


NAMES = {
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "hardtanh": HardTanh,
    "arctan": Arctan,
}


def get(identifier: str | dict | Surrogate) -> Surrogate:
    """Returns the surrogate for a name, a config or an object.

    Args:
        identifier: A `Surrogate`, the dictionary that `serialize` returns, or
            one of `"sigmoid"`, `"tanh"`, `"hardtanh"` and `"arctan"`, which
            have their default steepness.

    Raises:
        ValueError: If `identifier` is none of these.

    Example:
    >>> get("arctan")
    Arctan(a=2.0)
    """
    if isinstance(identifier, Surrogate):
        return identifier
    if isinstance(identifier, str) and identifier in NAMES:
        return NAMES[identifier]()
    if isinstance(identifier, dict):
        surrogate = keras.saving.deserialize_keras_object(identifier)
        if isinstance(surrogate, Surrogate):
            return surrogate
    raise ValueError(
        f"`surrogate` must be one of {', '.join(map(repr, NAMES))}, the config "
        "of a surrogate, or an instance of `keras_snn.surrogates.Surrogate`. "
        f"Received: surrogate={identifier!r}"
    )


def serialize(surrogate: Surrogate) -> dict:
    """Returns the config of a surrogate, from which `get` rebuilds it."""
    return keras.saving.serialize_keras_object(surrogate)
