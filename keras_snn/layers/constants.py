"""The constants of a neuron in a layer: fixed or learnt, shared or not."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn import dynamics, surrogates
from keras_snn.precision import at_least_float32
from keras_snn.validation import check_choice

__all__ = ["Constants"]


class Constants:
    """Holds the constants of a neuron, for cells and layers.

    Inherit from it before `keras.layers.Layer`, set `model`, and in the
    constructor `neuron`, then call `_set_learn`.

    A learnt constant is stored as an unbounded weight, so no optimizer can move
    it out of its range: a fraction as its logit, a positive number as its
    logarithm, any other number as it is.
    """

    model: Any = dynamics.Neuron

    def _set_learn(self, learn):
        """Checks which constants of `self.neuron` are learnt."""
        names = tuple(self.neuron.RANGES)
        learn = [learn] if isinstance(learn, str) else learn
        if not isinstance(learn, (list, tuple)):
            raise TypeError(
                f"`learn` must be a list of names. Received: learn={learn!r}"
            )
        # Each once, in order.
        learn = dict.fromkeys(check_choice("learn", x, names) for x in learn)
        self.learn = tuple(learn)
        for name in self.learn:
            self._free(name)  # raises if it cannot be learnt
        self._weights_of = {}

    def _build_constants(self, features):
        """Checks the shapes of the constants, and adds the learnt ones."""
        self._check_shapes(features)
        for name in self.learn:
            free = self._free(name)
            self._weights_of[name] = self.add_weight(
                shape=np.shape(free),
                initializer=keras.initializers.Constant(free),
                dtype=at_least_float32(self.compute_dtype),
                autocast=False,  # A half-precision policy would round it.
                name=name,
            )
        values = (getattr(self.neuron, x) for x in self.neuron.RANGES)
        self._arrays = any(map(np.ndim, values))
        self._built_for = tuple(features)
        if not self.learn:
            self._fix(features)

    def _check_shapes(self, features):
        """Checks that the constants broadcast with the features."""
        for name in self.neuron.RANGES:
            value = getattr(self.neuron, name)
            try:
                np.broadcast_to(value, [x or 1 for x in features])
            except ValueError:
                raise ValueError(
                    f"`{name}` must be a number, or an array that broadcasts "
                    f"with the shape of the features, {tuple(features)}. "
                    f"Received: an array of shape {np.shape(value)}"
                ) from None
            if np.ndim(value) and None in features:
                raise ValueError(
                    f"`{name}` must be a number unless the shape of the "
                    f"features is known. Received: features {tuple(features)}"
                )

    def weight_of(self, name):
        """Returns the weight that holds a learnt constant, see the class."""
        return self._weights_of[name]

    def set_gradient(self, surrogate, detach_reset):
        """Replaces the surrogate, and whether the gradient stops at the reset.

        A compiled model must be compiled again.

        Args:
            surrogate: See `LIF`.
            detach_reset: See `LIF`.
        """
        self.neuron = dataclasses.replace(
            self.neuron, surrogate=surrogate, detach_reset=detach_reset
        )
        if self.built and not self.learn:
            self._fix(self._built_for)

    def _fix(self, features):
        """Makes the system once, if nothing in it is learnt."""
        self._fixed = self._make_system(features)
        # Computed now, because `torch.compile` cannot follow it.
        _ = self._fixed.text

    def _system(self, features):
        """Returns the system of neurons with these features, flattened."""
        pairs = zip(features, self._built_for, strict=True)
        features = tuple(y if x is None else x for x, y in pairs)
        # Only arrays depend on the features.
        other = self._arrays and features != self._built_for
        if other:
            self._check_shapes(features)
        if self.learn or other:
            return self._make_system(features)
        return self._fixed

    def _free(self, name):
        """Returns the unbounded value that is stored for a constant."""
        low, high, _ = self.neuron.RANGES[name]
        value = getattr(self.neuron, name)
        if low == -math.inf:
            return value
        if not np.all((low < np.asarray(value)) & (np.asarray(value) < high)):
            raise ValueError(
                f"`{name}` must be in ({low:g}, {high:g}) to be learnt. "
                f"Received: {name}={value!r}"
            )
        return np.log(value) - (np.log1p(-value) if high == 1 else 0.0)

    def _learnt(self, name):
        """Returns the current value of a constant that is learnt."""
        low, high, _ = self.neuron.RANGES[name]
        free = ops.convert_to_tensor(self._weights_of[name])
        if low == -math.inf:
            return free
        return ops.sigmoid(free) if high == 1 else ops.exp(free)

    def _make_system(self, features):
        values = {}
        for name in self.neuron.RANGES:
            value = getattr(self.neuron, name)
            if name in self.learn:
                value = self._learnt(name)
                if np.ndim(getattr(self.neuron, name)):
                    value = ops.broadcast_to(value, features)
                    value = ops.reshape(value, (-1,))
            elif np.ndim(value):
                value = np.broadcast_to(value, features).flatten()
            values[name] = value
        return self.neuron.system(**values)

    def _constant(self, name):
        """Returns the current value as a number or a NumPy array."""
        if name not in self._weights_of:
            return getattr(self.neuron, name)
        value = ops.convert_to_numpy(self._learnt(name))
        return value if value.ndim else float(value)

    # Read-only, because the neuron is frozen.
    k = property(lambda self: self._constant("k"))
    lam = property(lambda self: self._constant("lam"))
    theta = property(lambda self: self._constant("theta"))
    surrogate = property(lambda self: self.neuron.surrogate)
    reset = property(lambda self: self.neuron.reset)
    detach_reset = property(lambda self: self.neuron.detach_reset)

    def _neuron_config(self):
        values = {x: getattr(self.neuron, x) for x in self.neuron.RANGES}
        config = {
            x: value.tolist() if np.ndim(value) else value
            for x, value in values.items()
        }
        if hasattr(self.neuron, "surrogate"):
            config |= {
                "surrogate": surrogates.serialize(self.surrogate),
                "reset": self.reset,
                "detach_reset": self.detach_reset,
            }
        return config | {"learn": list(self.learn)}
