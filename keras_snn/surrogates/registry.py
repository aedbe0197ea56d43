"""Surrogates by name, their configs, and the gate around a surrogate."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_snn.surrogates.base import Surrogate, fire
from keras_snn.surrogates.paper import Arctan, HardTanh, Sigmoid, Tanh
from keras_snn.surrogates.peers import (
    Exponential,
    FastSigmoid,
    Gaussian,
    Triangular,
)

__all__ = ["NAMES", "SpikeGated", "get", "serialize"]


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
    "fast_sigmoid": FastSigmoid,
    "triangular": Triangular,
    "exponential": Exponential,
    "gaussian": Gaussian,
}


def get(identifier: str | dict | Surrogate) -> Surrogate:
    """Returns the surrogate for a name, a config or an object.

    Args:
        identifier: A `Surrogate`, the dictionary that `serialize` returns, or
            one of the keys of `NAMES`, which have their default steepness.

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
