"""The asymptote initialization and the baselines of its paper.

Each class wraps a one-line formula, given here or in `keras_snn.theory`.
"""

import math

import keras
from keras import ops

from keras_snn import theory
from keras_snn.initializers.base import (
    ConstantBias,
    KernelInitializer,
    NormalInitializer,
)

__all__ = [
    "AsymptoteBias",
    "AsymptoteInitializer",
    "LeeInitializer",
    "WuInitializer",
]


@keras.saving.register_keras_serializable(package="keras_snn")
class AsymptoteInitializer(NormalInitializer):
    """Kernel of the asymptote initialization (Eq. 11).

    Draws from `N(0, 2 theta^2 / (lam^2 fan_in))`. Together with
    `AsymptoteBias`, it makes every layer of spiking neurons fire, and so learn,
    from the first iteration, in networks of up to about ten layers. For deeper
    ones, see `CopyInitializer` and `StationaryInitializer`.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`. The bias
            depends on it; the kernel does not.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        fan_in: Number of inputs to one unit. The default is the product of all
            axes of the kernel but the last. It is right for `Dense` and for
            `Conv1D`, `Conv2D` and `Conv3D`, grouped or not. Set it for layers
            whose fan-in differs, such as `DepthwiseConv2D` (height x width) and
            `EinsumDense` (the contracted axes).
        seed: `None`, an integer in `[0, 2**31)` or a
            `keras.random.SeedGenerator`. With `None`,
            every call draws a new kernel. With an integer, every call with the
            same shape draws the same kernel, as in Keras. Give each layer an
            initializer with its own seed.

    Call arguments:
        shape: Shape of the kernel, of rank 2 or more.
        dtype: Dtype of the kernel; Keras's `floatx` by default.

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

    def _stddev(self, fan_in):
        return theory.weight_stddev(fan_in, self.lam, self.theta)


@keras.saving.register_keras_serializable(package="keras_snn")
class AsymptoteBias(ConstantBias):
    """Bias of the asymptote initialization (Eq. 11): `theta (1 - k) / (2 lam)`.

    This is the current at which the asymptote of the firing rate leaves zero.
    See `keras_snn.theory.transition_current`.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.

    Call arguments:
        shape: Shape of the bias.
        dtype: Dtype of the bias; Keras's `floatx` by default.

    Reference:
        "Accelerating Training of Deep Spiking Neural Networks with Parameter
        Initialization" (ICLR 2022 submission), Eq. 11.
    """

    def _value(self):
        return theory.transition_current(self.k, self.lam, self.theta)


@keras.saving.register_keras_serializable(package="keras_snn")
class WuInitializer(KernelInitializer):
    """Kernel of Wu et al. 2018: the incoming weights of each unit have norm 1.

    Draws from the uniform distribution on `[-1, 1]`, then divides the incoming
    weights of each unit by their norm.

    Args:
        fan_in: Number of inputs to one unit. It must be the product of leading
            axes of the kernel. The default is the product of all axes but the
            last.
        seed: As in `AsymptoteInitializer`.

    Call arguments:
        shape: Shape of the kernel, of rank 2 or more.
        dtype: Dtype of the kernel; Keras's `floatx` by default.

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
class LeeInitializer(KernelInitializer):
    """Kernel of Lee et al. 2016: uniform on `+-sqrt(3 / fan_in)`.

    Args:
        fan_in: Number of inputs to one unit. The default is the product of all
            axes of the kernel but the last.
        seed: As in `AsymptoteInitializer`.

    Call arguments:
        shape: Shape of the kernel, of rank 2 or more.
        dtype: Dtype of the kernel; Keras's `floatx` by default.

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
    """Finds the leading axes of a kernel whose product is `fan_in`."""
    for count in range(1, len(shape)):
        if math.prod(shape[:count]) == fan_in:
            return tuple(range(count))
    raise ValueError(
        "`fan_in` must be the product of leading axes of the kernel. "
        f"Received: fan_in={fan_in}, shape={shape}"
    )
