"""The spike, and the base classes of the surrogates."""

import abc
import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from keras import ops

from keras_snn.validation import check_number

__all__ = ["Steep", "Surrogate", "fire"]


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
class Steep(Surrogate):
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
