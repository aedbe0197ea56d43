"""The base classes of the kernel initializers."""

import math
import random
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_snn.validation import check_count, check_neuron, check_seed

__all__ = ["ConstantBias", "KernelInitializer", "NormalInitializer"]


class KernelInitializer(keras.initializers.Initializer):
    """Holds the fan-in and the seed. A subclass defines `_draw`."""

    def __init__(self, fan_in: int | None = None, seed: Any = None):
        if isinstance(seed, dict):  # a `SeedGenerator` in a config
            seed = keras.saving.deserialize_keras_object(seed)
        self.fan_in = None if fan_in is None else check_count("fan_in", fan_in)
        self.seed = check_seed(seed, keras.random.SeedGenerator)

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Any:
        """Draws a kernel of rank 2 or more."""
        if len(shape) < 2:
            raise ValueError(
                f"`{type(self).__name__}` expects a kernel of rank 2 or more, "
                f"(..., inputs, units). Received: shape={tuple(shape)}"
            )
        # Holds for Dense (inputs, units) and Conv (..., inputs, filters).
        fan_in = check_count("fan_in", self.fan_in or math.prod(shape[:-1]))
        seed = self.seed
        if seed is None:
            # Like Keras's own initializers, this draws the seed from Python's
            # generator, which `keras.utils.set_random_seed` seeds.
            seed = random.randrange(2**31)
        dtype = dtype or keras.config.floatx()
        return self._draw(tuple(shape), fan_in, dtype, seed)

    def _draw(
        self, shape: tuple[int, ...], fan_in: int, dtype: str, seed: Any
    ) -> Any:
        raise NotImplementedError

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        seed = self.seed
        if isinstance(seed, keras.random.SeedGenerator):
            seed = keras.saving.serialize_keras_object(seed)
        return {"fan_in": self.fan_in, "seed": seed}


class NormalInitializer(KernelInitializer):
    """Draws normal weights for a neuron. A subclass defines `_stddev`."""

    def __init__(
        self,
        k: float,
        lam: float,
        theta: float,
        fan_in: int | None = None,
        seed: Any = None,
    ):
        super().__init__(fan_in, seed)
        self.k, self.lam, self.theta = check_neuron(k, lam, theta)

    def _stddev(self, fan_in: int) -> float:
        raise NotImplementedError

    def _draw(
        self, shape: tuple[int, ...], fan_in: int, dtype: str, seed: Any
    ) -> Any:
        stddev = self._stddev(fan_in)
        return keras.random.normal(shape, stddev=stddev, dtype=dtype, seed=seed)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        neuron = {"k": self.k, "lam": self.lam, "theta": self.theta}
        return neuron | super().get_config()


class ConstantBias(keras.initializers.Initializer):
    """A bias that is the same for all neurons. A subclass defines `_value`."""

    def __init__(self, k: float, lam: float, theta: float):
        self.k, self.lam, self.theta = check_neuron(k, lam, theta)

    def _value(self) -> float:
        raise NotImplementedError

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Any:
        """Returns the constant bias."""
        dtype = dtype or keras.config.floatx()
        return ops.full(shape, self._value(), dtype=dtype)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {"k": self.k, "lam": self.lam, "theta": self.theta}
