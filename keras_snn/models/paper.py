"""The networks of the paper (Table A4 and Kim & Panda 2020).

At the start of a builder, `locals()` holds its arguments. All but the dropout
rate are those of `sequential_snn`. Debuggers change `locals()`, so it is
copied.
"""

import numpy as np

from keras_snn.models.sequential import sequential_snn
from keras_snn.validation import check_number

__all__ = ["five_layer_snn", "vgg9_dvs_snn", "vgg9_snn", "vgg11_snn"]


def five_layer_snn(
    input_shape=(28, 28, 1),
    classes=10,
    timesteps=20,
    *,
    k=0.8,
    lam=0.2,
    theta=1.0,
    surrogate="arctan",
    detach_reset=False,
    initializer="asymptote",
    encoder="poisson",
    pooling="average",
    normalization=None,
    readout="mean",
    width=1.0,
    data_format=None,
    seed=None,
    recompute=False,
    name="five_layer_snn",
):
    """Builds the five-layer network of MNIST and N-MNIST (Table A4).

    The layout is `C32 P C32 P FC500 FC100`, followed by a dense layer without
    neurons.

    Args:
        input_shape: `(height, width, channels)`, at least 4x4.
        classes: Number of classes, at least 1.
        timesteps: Length of the time axis, at least 1.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        surrogate: See `sequential_snn`, also for the arguments below.
        detach_reset: Whether the gradient stops at the reset.
        initializer: A name in `keras_snn.initializers.NAMES`.
        encoder: `"constant"`, `"poisson"`, `"retina"` or `None`.
        pooling: `"average"` or `"max"`.
        normalization: `None`, `"batch"`, `"bntt"`, `"tdbn"` or a function.
        readout: `"mean"`, `"sequence"`, `"rate"` or `"potential"`.
        width: Factor for the numbers of filters and units, above 0.
        data_format: `None`, `"channels_first"` or `"channels_last"`.
        seed: `None`, or an integer in `[0, 2**31)` that fixes weights, encoder
            and dropout.
        recompute: Whether to trade time for memory in training.
        name: Name of the model.

    Returns:
        A `keras.Model`, as from `sequential_snn`.

    Example:
    >>> five_layer_snn(timesteps=5).output_shape
    (None, 10)
    """
    return sequential_snn("C32 P C32 P FC500 FC100", **locals())


def vgg9_snn(
    input_shape=(32, 32, 3),
    classes=10,
    timesteps=20,
    *,
    k=0.8,
    lam=0.2,
    theta=1.0,
    surrogate="arctan",
    detach_reset=False,
    initializer="asymptote",
    encoder="poisson",
    pooling="average",
    normalization=None,
    readout="mean",
    width=1.0,
    dropout=0.5,
    data_format=None,
    seed=None,
    recompute=False,
    name="vgg9_snn",
):
    """Builds the VGG9 of CIFAR-10 (Table A4).

    The layout is `C128 C128 P C256 C256 P C256 C256 C256 P FC1024`, followed by
    dropout and a dense layer without neurons.

    Args:
        input_shape: `(height, width, channels)`, at least 8x8.
        classes: Number of classes, at least 1.
        timesteps: Length of the time axis, at least 1.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        surrogate: See `sequential_snn`, also for the arguments below.
        detach_reset: Whether the gradient stops at the reset.
        initializer: A name in `keras_snn.initializers.NAMES`.
        encoder: `"constant"`, `"poisson"`, `"retina"` or `None`.
        pooling: `"average"` or `"max"`.
        normalization: `None`, `"batch"`, `"bntt"`, `"tdbn"` or a function.
        readout: `"mean"`, `"sequence"`, `"rate"` or `"potential"`.
        width: Factor for the numbers of filters and units, above 0.
        dropout: Fraction of the spikes to drop, in `[0, 1)`. The paper does not
            give it. All timesteps of a sample share one mask.
        data_format: `None`, `"channels_first"` or `"channels_last"`.
        seed: `None`, or an integer in `[0, 2**31)` that fixes weights, encoder
            and dropout.
        recompute: Whether to trade time for memory in training.
        name: Name of the model.

    Returns:
        A `keras.Model`, as from `sequential_snn`.

    Example:
    >>> vgg9_snn(timesteps=2, width=1 / 32).output_shape
    (None, 10)
    """
    options = dict(locals())
    layout = "C128 C128 P C256 C256 P C256 C256 C256 P FC1024 "
    layout += _drop(options.pop("dropout"))
    return sequential_snn(layout, **options)


def vgg9_dvs_snn(
    input_shape=(128, 128, 2),
    classes=10,
    timesteps=20,
    *,
    k=0.8,
    lam=0.2,
    theta=1.0,
    surrogate="arctan",
    detach_reset=False,
    initializer="asymptote",
    encoder=None,
    pooling="average",
    normalization=None,
    readout="mean",
    width=1.0,
    dropout=0.5,
    data_format=None,
    seed=None,
    recompute=False,
    name="vgg9_dvs_snn",
):
    """Builds the VGG9 for event cameras, such as CIFAR10-DVS (Table A4).

    The layout is `C64 C128 P C128 C128 P C128 P C128 P C128 P FC1024 FC1024`,
    with dropout after each `FC1024`, followed by a dense layer without neurons.

    Args:
        input_shape: `(height, width, channels)` of a frame, at least 32x32.
        classes: Number of classes, at least 1.
        timesteps: Length of the time axis, at least 1.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        surrogate: See `sequential_snn`, also for the arguments below.
        detach_reset: Whether the gradient stops at the reset.
        initializer: A name in `keras_snn.initializers.NAMES`.
        encoder: `"constant"`, `"poisson"`, `"retina"` or `None`.
        pooling: `"average"` or `"max"`.
        normalization: `None`, `"batch"`, `"bntt"`, `"tdbn"` or a function.
        readout: `"mean"`, `"sequence"`, `"rate"` or `"potential"`.
        width: Factor for the numbers of filters and units, above 0.
        dropout: Fraction of the spikes to drop, in `[0, 1)`. The paper does not
            give it. All timesteps of a sample share one mask.
        data_format: `None`, `"channels_first"` or `"channels_last"`.
        seed: `None`, or an integer in `[0, 2**31)` that fixes weights, encoder
            and dropout.
        recompute: Whether to trade time for memory in training.
        name: Name of the model.

    Returns:
        A `keras.Model`, as from `sequential_snn`.

    Example:
    >>> vgg9_dvs_snn((32, 32, 2), timesteps=2, width=1 / 32).input_shape
    (None, 2, 32, 32, 2)
    """
    options = dict(locals())
    drop = _drop(options.pop("dropout"))
    layout = "C64 C128 P C128 C128 P C128 P C128 P C128 P "
    layout += f"FC1024 {drop} FC1024 {drop}"
    return sequential_snn(layout, **options)


def vgg11_snn(
    input_shape=(32, 32, 3),
    classes=100,
    timesteps=20,
    *,
    k=0.8,
    lam=0.2,
    theta=1.0,
    surrogate="arctan",
    detach_reset=False,
    initializer="asymptote",
    encoder="poisson",
    pooling="average",
    normalization=None,
    readout="mean",
    width=1.0,
    dropout=0.0,
    data_format=None,
    seed=None,
    recompute=False,
    name="vgg11_snn",
):
    """Builds the VGG11 of CIFAR-100 and Tiny ImageNet (Kim & Panda 2020).

    The layout is `C64 P C128 P C256 C256 P C512 C512 P C512 C512 G FC4096`,
    where `G` pools the whole image. A dense layer without neurons follows.

    Args:
        input_shape: `(height, width, channels)`, at least 16x16.
        classes: Number of classes, at least 1.
        timesteps: Length of the time axis, at least 1.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        surrogate: See `sequential_snn`, also for the arguments below.
        detach_reset: Whether the gradient stops at the reset.
        initializer: A name in `keras_snn.initializers.NAMES`.
        encoder: `"constant"`, `"poisson"`, `"retina"` or `None`.
        pooling: `"average"` or `"max"`.
        normalization: `None`, `"batch"`, `"bntt"`, `"tdbn"` or a function.
        readout: `"mean"`, `"sequence"`, `"rate"` or `"potential"`.
        width: Factor for the numbers of filters and units, above 0.
        dropout: Fraction of the spikes to drop, in `[0, 1)`. The paper does not
            give it. All timesteps of a sample share one mask.
        data_format: `None`, `"channels_first"` or `"channels_last"`.
        seed: `None`, or an integer in `[0, 2**31)` that fixes weights, encoder
            and dropout.
        recompute: Whether to trade time for memory in training.
        name: Name of the model.

    Returns:
        A `keras.Model`, as from `sequential_snn`.

    Example:
    >>> vgg11_snn(timesteps=2, width=1 / 64).output_shape
    (None, 100)
    """
    options = dict(locals())
    layout = "C64 P C128 P C256 C256 P C512 C512 P C512 C512 G FC4096 "
    layout += _drop(options.pop("dropout"))
    return sequential_snn(layout, **options)


def _drop(rate):
    """Returns the layout's word for a dropout rate, or nothing for rate 0."""
    rate = check_number("dropout", rate, high=1.0, included="low")
    # With all digits and without an exponent, which layouts do not support.
    return f"D{np.format_float_positional(rate)}" if rate else ""
