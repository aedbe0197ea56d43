"""The asymptote initialization and the baselines it is compared with.

Each law is one line, here or in `keras_snn.theory`, and a Keras initializer
around it.
"""

import math
import random
import warnings

import keras
from keras import ops

from keras_snn import theory
from keras_snn.validation import (
    check_choice,
    check_count,
    check_neuron,
    check_seed,
)


class _KernelInitializer(keras.initializers.Initializer):
    """Base of the random kernel initializers: fan-in and seed.

    Unseeded, every call draws anew, so that one instance given to several
    layers never makes two of them equal. With an integer, every call of equal
    shape returns the same numbers, as in Keras, which a second call warns of.
    """

    def __init__(self, fan_in=None, seed=None):
        if isinstance(seed, dict):
            seed = keras.saving.deserialize_keras_object(seed)
        if fan_in is not None:
            check_count("fan_in", fan_in)
        self.fan_in = fan_in
        self.seed = check_seed(seed, keras.random.SeedGenerator)
        self._drawn = set()

    def __call__(self, shape, dtype=None):
        """Draws a kernel of a shape of rank 2 or more."""
        if len(shape) < 2:
            raise ValueError(
                f"`{type(self).__name__}` expects a kernel of rank 2 or more, "
                f"(..., inputs, units). Received: shape={tuple(shape)}"
            )
        # Dense (inputs, units) and Conv (..., inputs, filters) alike.
        fan_in = self.fan_in or math.prod(shape[:-1])
        check_count("fan_in", fan_in)
        seed = self.seed
        if seed is None:
            # Python's generator, which `keras.utils.set_random_seed` seeds and
            # Keras's own initializers draw from, works inside any trace.
            seed = random.randrange(2**31)
        elif isinstance(seed, int):
            if tuple(shape) in self._drawn:
                warnings.warn(
                    f"This `{type(self).__name__}` with the integer seed "
                    f"{seed} gives the same kernel again to shape "
                    f"{tuple(shape)}; layers that should differ want "
                    "initializers of their own seeds, or `seed=None`.",
                    stacklevel=2,
                )
            self._drawn.add(tuple(shape))
        dtype = dtype or keras.config.floatx()
        return self._draw(tuple(shape), fan_in, dtype, seed)

    def get_config(self):
        """The constructor's arguments."""
        seed = self.seed
        if isinstance(seed, keras.random.SeedGenerator):
            seed = keras.saving.serialize_keras_object(seed)
        return {"fan_in": self.fan_in, "seed": seed}


@keras.saving.register_keras_serializable(package="keras_snn")
class AsymptoteInitializer(_KernelInitializer):
    """Kernel of the asymptote initialization (Eq. 11).

    `N(0, 2 theta^2 / (lam^2 fan_in))`. With `AsymptoteBias`, every layer of
    spiking neurons fires, and so learns, from the first iteration.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`. The law of
            the kernel is the same for every `k`; that of the bias is not.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        fan_in: Number of inputs that one unit sums. By default the product of
            all axes of the kernel but the last, which is right for `Dense` and
            `Conv1D/2D/3D`, grouped ones too. Give it where a shape does not
            tell: `DepthwiseConv2D` (height x width), `EinsumDense` (the
            contracted axes).
        seed: `None`, an integer or a `keras.random.SeedGenerator`. `None`
            draws anew at every call; an integer, as in Keras, makes equal
            kernels for equal shapes, in this instance and in any other of the
            same seed: give every layer its own.

    Returns:
        When called with a shape of rank 2 or more: the kernel.

    Reference:
        "Accelerating Training of Deep Spiking Neural Networks with Parameter
        Initialization" (ICLR 2022 submission), Eq. 11.

    Example:
    >>> neuron = dict(k=0.8, lam=0.2, theta=1.0)
    >>> layer = keras.layers.Dense(
    ...     500,
    ...     kernel_initializer=AsymptoteInitializer(**neuron),
    ...     bias_initializer=AsymptoteBias(**neuron),
    ... )
    """

    def __init__(self, k, lam, theta, fan_in=None, seed=None):
        check_neuron(k, lam, theta)
        super().__init__(fan_in, seed)
        self.k, self.lam, self.theta = k, lam, theta

    def _draw(self, shape, fan_in, dtype, seed):
        stddev = theory.weight_stddev(fan_in, self.lam, self.theta)
        return keras.random.normal(shape, stddev=stddev, dtype=dtype, seed=seed)

    def get_config(self):
        """The constructor's arguments."""
        neuron = {"k": self.k, "lam": self.lam, "theta": self.theta}
        return neuron | super().get_config()


@keras.saving.register_keras_serializable(package="keras_snn")
class AsymptoteBias(keras.initializers.Initializer):
    """Bias of the asymptote initialization (Eq. 11): `theta (1 - k) / (2 lam)`.

    The current at which the response of the neuron sets in; see
    `keras_snn.theory.transition_current`.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.

    Returns:
        When called with a shape: the constant bias.

    Reference:
        "Accelerating Training of Deep Spiking Neural Networks with Parameter
        Initialization" (ICLR 2022 submission), Eq. 11.
    """

    def __init__(self, k, lam, theta):
        check_neuron(k, lam, theta)
        self.k, self.lam, self.theta = k, lam, theta

    def __call__(self, shape, dtype=None):
        """The constant bias."""
        bias = theory.transition_current(self.k, self.lam, self.theta)
        return ops.full(shape, bias, dtype=dtype or keras.config.floatx())

    def get_config(self):
        """The constructor's arguments."""
        return {"k": self.k, "lam": self.lam, "theta": self.theta}


@keras.saving.register_keras_serializable(package="keras_snn")
class WuInitializer(_KernelInitializer):
    """Kernel of Wu et al. 2018: each unit's fan-in vector has norm 1.

    Uniform on `[-1, 1]`, then every unit's vector of incoming weights is
    divided by its norm.

    Args:
        fan_in: Number of inputs that one unit sums, the product of the leading
            axes of the kernel; by default of all axes but the last.
        seed: As in `AsymptoteInitializer`.

    Returns:
        When called with a shape of rank 2 or more: the kernel.

    Reference:
        Wu et al., "Spatio-temporal backpropagation for training
        high-performance spiking neural networks", 2018.
    """

    def _draw(self, shape, fan_in, dtype, seed):
        axes = _leading_axes(shape, fan_in)
        kernel = keras.random.uniform(shape, -1, 1, dtype="float32", seed=seed)
        norm = ops.sqrt(ops.sum(ops.square(kernel), axis=axes, keepdims=True))
        return ops.cast(kernel / norm, dtype)


@keras.saving.register_keras_serializable(package="keras_snn")
class LeeInitializer(_KernelInitializer):
    """Kernel of Lee et al. 2016: uniform on `+-sqrt(3 / fan_in)`.

    Args:
        fan_in: Number of inputs that one unit sums; by default the product of
            all axes of the kernel but the last.
        seed: As in `AsymptoteInitializer`.

    Returns:
        When called with a shape of rank 2 or more: the kernel.

    Reference:
        Lee, Delbruck and Pfeiffer, "Training deep spiking neural networks
        using backpropagation", 2016.
    """

    def _draw(self, shape, fan_in, dtype, seed):
        limit = math.sqrt(3 / fan_in)
        return keras.random.uniform(
            shape, -limit, limit, dtype=dtype, seed=seed
        )


def _leading_axes(shape, fan_in):
    """The leading axes of a kernel that a unit sums over."""
    for count in range(1, len(shape)):
        if math.prod(shape[:count]) == fan_in:
            return tuple(range(count))
    raise ValueError(
        "`fan_in` must be the product of leading axes of the kernel. "
        f"Received: fan_in={fan_in}, shape={shape}"
    )


NAMES = ("asymptote", "glorot", "he", "wu", "lee")


def for_layer(name, k, lam, theta, seed=None):
    """The initializers that a name stands for, as arguments of a layer.

    Args:
        name: `"asymptote"`, `"glorot"` (uniform), `"he"` (normal), `"wu"` or
            `"lee"`; biases are zero but for the first.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        seed: `None` or an integer, different for every layer.

    Returns:
        Dictionary of `kernel_initializer` and `bias_initializer`.

    Example:
    >>> layer = keras.layers.Dense(10, **for_layer("wu", 0.8, 0.2, 1.0))
    """
    check_choice("initializer", name, NAMES)
    check_neuron(k, lam, theta)
    seed = check_seed(seed)
    if name == "asymptote":
        return {
            "kernel_initializer": AsymptoteInitializer(
                k, lam, theta, seed=seed
            ),
            "bias_initializer": AsymptoteBias(k, lam, theta),
        }
    kernels = {
        "glorot": keras.initializers.GlorotUniform,
        "he": keras.initializers.HeNormal,
        "wu": WuInitializer,
        "lee": LeeInitializer,
    }
    return {
        "kernel_initializer": kernels[name](seed=seed),
        "bias_initializer": "zeros",
    }
