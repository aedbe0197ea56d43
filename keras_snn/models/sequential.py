"""Functional builders of the paper's networks (Table A4), and of their like."""

import itertools
import re

import keras
import numpy as np
from keras import ops

from keras_snn import initializers
from keras_snn.encoders import PoissonEncoder, RetinaEncoder, as_intensity
from keras_snn.layers import BNTT, LIF, TDBN, PerTimestep, Recompute
from keras_snn.validation import (
    check_choice,
    check_count,
    check_number,
    check_seed,
)

# How many parts of the batch take turns under `recompute`.
PARTS = 8
ENCODERS = ("constant", "poisson", "retina", None)
DATA_FORMATS = ("channels_first", "channels_last")
POOLING = {
    "average": (
        keras.layers.AveragePooling2D,
        keras.layers.GlobalAveragePooling2D,
    ),
    "max": (keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling2D),
}
NORMALIZATIONS = (None, "batch", "bntt", "tdbn")


@keras.saving.register_keras_serializable(package="keras_snn")
class PortableModel(keras.Model):
    """A functional model whose compiled file loads on every backend.

    On PyTorch Keras files its own optimizers under a module that imports torch.
    Without torch such a file does not load, and where torch comes with Triton,
    its LLVM and TensorFlow's abort the process.
    """

    def get_compile_config(self):
        """Keras's, with an optimizer that every backend has."""
        config = super().get_compile_config()
        optimizer = config.get("optimizer")
        while optimizer:
            if ".backend.torch." in (optimizer["module"] or ""):
                optimizer["module"] = "keras.optimizers"
                optimizer["registered_name"] = None
            optimizer = optimizer["config"].get("inner_optimizer")
        return config


@keras.saving.register_keras_serializable(package="keras_snn")
class ImageModel(PortableModel):
    """A functional model whose images may be `uint8` or floats in [0, 1].

    A plain functional model casts its input to the one dtype it was declared
    with: `uint8` images would arrive as floats up to 255, or floats truncated
    to 0. This one scales `uint8` by 1/255 on the device, and refuses images
    outside [0, 1], be they arrays or tensors. What a pipeline or generator
    delivers to a compiled step is not looked at.
    """

    def call(self, inputs, training=None, mask=None):
        """Scales the images, then runs the graph."""
        if isinstance(inputs, (list, tuple)):
            (inputs,) = inputs
        images = as_intensity(ops.convert_to_tensor(inputs))
        return super().call(images, training, mask)

    def fit(self, x=None, *args, **kwargs):
        """`keras.Model.fit`, with the images checked before the first step."""
        validation = kwargs.get("validation_data")
        if isinstance(validation, (list, tuple)):
            _checked(validation[0], name="validation_data")
        return super().fit(_checked(x), *args, **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        """`keras.Model.evaluate`, with the images checked first."""
        return super().evaluate(_checked(x), *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """`keras.Model.predict`, with the images checked first."""
        return super().predict(_checked(x), *args, **kwargs)

    def train_on_batch(self, x, *args, **kwargs):
        """`keras.Model.train_on_batch`, with the images checked first."""
        return super().train_on_batch(_checked(x), *args, **kwargs)

    def test_on_batch(self, x, *args, **kwargs):
        """`keras.Model.test_on_batch`, with the images checked first."""
        return super().test_on_batch(_checked(x), *args, **kwargs)

    def predict_on_batch(self, x):
        """`keras.Model.predict_on_batch`, with the images checked first."""
        return super().predict_on_batch(_checked(x))


def _checked(x, name="x"):
    images = x[0] if isinstance(x, (list, tuple)) and len(x) == 1 else x
    # Pipelines have no values yet; what they deliver is checked where it can.
    known = isinstance(images, np.ndarray) or ops.is_tensor(images)
    # All bytes are images, and to convert them takes four times their memory.
    if known and "uint8" not in str(images.dtype):
        as_intensity(images, name=name)
    return x


def sequential_snn(
    layout,
    input_shape,
    classes,
    timesteps=20,
    *,
    k=0.8,
    lam=0.2,
    theta=1.0,
    surrogate="arctan",
    initializer="asymptote",
    encoder="poisson",
    pooling="average",
    normalization=None,
    width=1.0,
    data_format=None,
    seed=None,
    recompute=False,
    name="sequential_snn",
):
    """A network in the notation of Table A4, of `LIF` neurons throughout.

    | word | layers |
    | --- | --- |
    | `C32` | 3x3 "same" convolution with 32 filters, normalization, neurons |
    | `FC500` | dense layer of 500 units, normalization, neurons |
    | `P` | pooling of 2x2 squares |
    | `G` | pooling of the whole image |
    | `D0.5` | dropout of half the spikes, the same ones at every timestep |

    Behind the last word comes a dense layer without neurons. The logits are the
    mean of its output over time.

    Args:
        layout: Words separated by spaces; `FC` after all `C`, `P` and `G`.
        input_shape: `(height, width, channels)` of an image, without the time
            axis also where the input has one; both sides at least 2 to the
            power of the number of `P`. Odd sides lose a row at a pooling.
        classes: Number of classes, at least 1.
        timesteps: Length of the time axis, at least 1.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        surrogate: Name, config or object of a `keras_snn.surrogates` surrogate.
        initializer: `"asymptote"`, `"glorot"`, `"he"`, `"wu"` or `"lee"`.
        encoder: `"constant"`, `"poisson"` or `"retina"`, or `None` if the
            input already has a time axis, as event frames do.
        pooling: `"average"` or `"max"`; the paper does not say which.
        normalization: `None`; `"batch"`, `keras.layers.BatchNormalization`
            over batch, time and space; `"bntt"`, `layers.BNTT`; or `"tdbn"`,
            `layers.TDBN`. It subtracts a mean: the layers before it have no
            bias.
        width: Factor above 0 on the numbers of filters and units; they are
            rounded, to at least 1.
        data_format: `"channels_first"` or `"channels_last"`, the axes that the
            layers work on; by default whichever is fast, the former on
            PyTorch, the latter elsewhere. Images and weights are the same.
        seed: `None`, or an integer that fixes weights, encoder and dropout.
        recompute: Whether to save memory in training: what is between the
            encoder and the first dropout or the mean over time becomes one
            `layers.Recompute`, which runs twice, an eighth of the batch at a
            time. The weights are the same and in the same order, but no longer
            layers of the model: `callbacks.FiringRateMonitor` does not see the
            neurons inside. Not with normalization, whose statistics are the
            whole batch's.
        name: Name of the model.

    Returns:
        A `keras.Model`: images `(batch, *input_shape)`, `uint8` or floats in
        [0, 1], to logits `(batch, classes)`. With `encoder=None` the input is
        `(batch, timesteps, *input_shape)`, taken as it is.

    Raises:
        ValueError: If an argument is out of range, the layout is not one, or
            the image too small for it.

    Example:
    >>> model = sequential_snn("C8 P FC50 D0.5", (8, 8, 1), 10, timesteps=5)
    >>> [layer.name for layer in model.layers if isinstance(layer, LIF)]
    ['lif_1', 'lif_2']
    """
    check_choice("encoder", encoder, ENCODERS)
    check_choice("pooling", pooling, POOLING)
    check_choice("normalization", normalization, NORMALIZATIONS)
    check_choice("recompute", recompute, (False, True))
    check_number("width", width)
    check_count("classes", classes)
    check_count("timesteps", timesteps)
    if recompute and normalization:
        raise ValueError(
            "`recompute` must be False with a normalization. Received: "
            f"recompute={recompute!r}, normalization={normalization!r}"
        )
    words = _parse(layout)
    smallest = 2 ** [kind for kind, _ in words].count("P")
    input_shape = _check_image_shape(input_shape, smallest, layout)
    data_format = _data_format(data_format)
    seed = check_seed(seed)
    # The encoder draws first, whether or not there is one, so that the weights
    # of one seed are the same under every coding, and with or without dropout.
    seeds, dropout_seeds = _seeds(seed), _seeds(seed, 1)
    encoder_seed = next(seeds)
    # Named by hand: Keras's own counter runs on from model to model.
    names = (f"lif_{n}" for n in itertools.count(1))

    def synapses(layer, *args, use_bias=not normalization, **kwargs):
        laws = initializers.for_layer(initializer, k, lam, theta, next(seeds))
        return layer(*args, use_bias=use_bias, **kwargs, **laws)

    def units(number):
        return max(1, round(number * width))

    def neurons(axis):
        """Normalization, if any, of the channels on an axis, and neurons."""
        lif = LIF(k, lam, theta, surrogate, name=next(names))
        return [*_normalization(normalization, timesteps, theta, axis), lif]

    def layers_of(kind, number):
        """What a word stands for: layers without time, and those with it."""
        if kind == "C":
            conv = synapses(
                *(keras.layers.Conv2D, units(number), 3),
                padding="same",
                data_format=data_format,
            )
            return [conv], neurons(-1 if data_format == "channels_last" else 2)
        if kind == "FC":
            return [synapses(keras.layers.Dense, units(number))], neurons(-1)
        if kind == "D":
            shared = (None, 1, None)  # one mask for all timesteps of a sample
            drop = keras.layers.Dropout(number, shared, next(dropout_seeds))
            return [], [drop]
        if kind == "flatten":
            # Keras flattens channels last either way, so that the weights
            # behind it fit both.
            return [keras.layers.Flatten(data_format=data_format)], []
        squares, whole = POOLING[pooling]
        if kind == "G":
            return [whole(data_format=data_format)], []
        return [squares(2, data_format=data_format)], []

    time = () if encoder else (timesteps,)
    inputs = keras.Input((*time, *input_shape))
    x = _arrange(inputs, data_format)
    if encoder == "poisson":
        x = PoissonEncoder(timesteps, seed=encoder_seed)(x)
    elif encoder == "retina":
        x = RetinaEncoder(timesteps)(x)
    stack, once = [], encoder == "constant"
    for kind, number in words:
        without_time, with_time = layers_of(kind, number)
        for layer in without_time:
            if once:
                x = layer(x)
            else:
                stack.append(PerTimestep(layer))
        if once and with_time:
            # What stands before the first neurons is constant under constant
            # coding: it runs once and is repeated, which is `ConstantEncoder`
            # taken behind it.
            x = ops.repeat(ops.expand_dims(x, 1), timesteps, axis=1)
            once = False
        stack += with_time
    if recompute:
        stack = _recomputed(stack, spikes=encoder in ("poisson", "retina"))
    for layer in stack:
        x = layer(x)
    # The last layer is linear: averaging its input over time averages its
    # output, and multiplies once.
    x = keras.layers.GlobalAveragePooling1D(data_format="channels_last")(x)
    logits = synapses(keras.layers.Dense, int(classes), use_bias=True)(x)
    model = PortableModel if encoder is None else ImageModel
    return model(inputs, logits, name=name)


def five_layer_snn(
    input_shape=(28, 28, 1), classes=10, timesteps=20, **options
):
    """The five-layer network of MNIST and N-MNIST (Table A4).

    `C32 P C32 P FC500 FC100` and a dense layer without neurons.

    Args:
        input_shape: `(height, width, channels)`, at least 4x4.
        classes: Number of classes, at least 1.
        timesteps: Length of the time axis, at least 1.
        **options: The keywords of `sequential_snn`.

    Returns:
        A `keras.Model` as that of `sequential_snn`.

    Example:
    >>> five_layer_snn(timesteps=5).output_shape
    (None, 10)
    """
    layout = "C32 P C32 P FC500 FC100"
    options = {"name": "five_layer_snn"} | options
    return sequential_snn(layout, input_shape, classes, timesteps, **options)


def vgg9_snn(
    input_shape=(32, 32, 3), classes=10, timesteps=20, *, dropout=0.5, **options
):
    """The VGG9 of CIFAR-10 (Table A4).

    `C128 C128 P C256 C256 P C256 C256 C256 P FC1024`, dropout, and a dense
    layer without neurons.

    Args:
        input_shape: `(height, width, channels)`, at least 8x8.
        classes: Number of classes, at least 1.
        timesteps: Length of the time axis, at least 1.
        dropout: Fraction of the spikes dropped, in `[0, 1)`; the paper does not
            say how many. A sample keeps its mask over time.
        **options: The keywords of `sequential_snn`.

    Returns:
        A `keras.Model` as that of `sequential_snn`.

    Example:
    >>> vgg9_snn(timesteps=2, width=1 / 32).output_shape
    (None, 10)
    """
    layout = "C128 C128 P C256 C256 P C256 C256 C256 P FC1024 " + _drop(dropout)
    options = {"name": "vgg9_snn"} | options
    return sequential_snn(layout, input_shape, classes, timesteps, **options)


def vgg9_dvs_snn(
    input_shape=(128, 128, 2),
    classes=10,
    timesteps=20,
    *,
    dropout=0.5,
    **options,
):
    """The VGG9 of event cameras, for CIFAR10-DVS (Table A4).

    `C64 C128 P C128 C128 P C128 P C128 P C128 P FC1024`, dropout, `FC1024`,
    dropout, and a dense layer without neurons.

    Args:
        input_shape: `(height, width, channels)` of a frame, at least 32x32.
        classes: Number of classes, at least 1.
        timesteps: Length of the time axis, at least 1.
        dropout: Fraction of the spikes dropped, in `[0, 1)`; the paper does not
            say how many. A sample keeps its mask over time.
        **options: The keywords of `sequential_snn`; `encoder` is `None` unless
            given, for frames with a time axis.

    Returns:
        A `keras.Model` as that of `sequential_snn`.

    Example:
    >>> vgg9_dvs_snn((32, 32, 2), timesteps=2, width=1 / 32).input_shape
    (None, 2, 32, 32, 2)
    """
    drop = _drop(dropout)
    layout = (
        "C64 C128 P C128 C128 P C128 P C128 P C128 P "
        f"FC1024 {drop} FC1024 {drop}"
    )
    options = {"name": "vgg9_dvs_snn", "encoder": None} | options
    return sequential_snn(layout, input_shape, classes, timesteps, **options)


def vgg11_snn(
    input_shape=(32, 32, 3),
    classes=100,
    timesteps=20,
    *,
    dropout=0.0,
    **options,
):
    """The VGG11 of CIFAR-100 and Tiny ImageNet (Kim & Panda 2020).

    `C64 P C128 P C256 C256 P C512 C512 P C512 C512`, pooling of the whole
    image, `FC4096`, and a dense layer without neurons.

    Args:
        input_shape: `(height, width, channels)`, at least 16x16.
        classes: Number of classes, at least 1.
        timesteps: Length of the time axis, at least 1.
        dropout: Fraction of the spikes behind `FC4096` dropped, in `[0, 1)`. A
            sample keeps its mask over time.
        **options: The keywords of `sequential_snn`.

    Returns:
        A `keras.Model` as that of `sequential_snn`.

    Example:
    >>> vgg11_snn(timesteps=2, width=1 / 64).output_shape
    (None, 100)
    """
    layout = "C64 P C128 P C256 C256 P C512 C512 P C512 C512 G FC4096 "
    layout += _drop(dropout)
    options = {"name": "vgg11_snn"} | options
    return sequential_snn(layout, input_shape, classes, timesteps, **options)


def _normalization(name, timesteps, theta, axis):
    """A list of the layer that `normalization` names."""
    if name == "batch":
        return [keras.layers.BatchNormalization(axis=axis)]
    if name == "bntt":
        return [BNTT(timesteps, axis=axis)]
    return [TDBN(theta, axis=axis)] if name == "tdbn" else []


def _drop(rate):
    check_number("dropout", rate, high=1.0, included="low")
    # As many digits as it takes, and no exponent, which no layout has.
    return f"D{np.format_float_positional(rate)}" if rate else ""


def _parse(layout):
    """The words of a layout as (kind, number), with the flattening put in."""
    words, flat = [], False
    for word in layout.split() if isinstance(layout, str) else [layout]:
        match = re.fullmatch(
            r"(C|FC)([1-9]\d*)|([PG])|(D)(0?\.\d+|0)", str(word)
        )
        if not match:
            raise ValueError(
                "`layout` must be words such as C32, P, G, FC500 and D0.5. "
                f"Received: {word!r} in layout={layout!r}"
            )
        sized, size, plain, drop, rate = match.groups()
        kind = sized or plain or drop
        if flat and kind in ("C", "P", "G"):
            raise ValueError(
                "`layout` must have C, P and G before FC, D and a G. "
                f"Received: {word!r} late in layout={layout!r}"
            )
        if kind in ("FC", "D") and not flat:
            words.append(("flatten", None))
            flat = True
        flat = flat or kind == "G"
        if kind == "D":
            words.append((kind, float(rate)))
        else:
            words.append((kind, size and int(size)))
    if not {"C", "FC"} & {kind for kind, _ in words}:
        raise ValueError(
            "`layout` must have at least one C or FC. "
            f"Received: layout={layout!r}"
        )
    return words if flat else [*words, ("flatten", None)]


def _recomputed(stack, spikes):
    """The layers up to the first dropout, which has a state, as one."""
    kinds = [isinstance(layer, keras.layers.Dropout) for layer in stack]
    end = kinds.index(True) if True in kinds else len(stack)
    if not end:
        return stack
    block = keras.Sequential(stack[:end])
    return [Recompute(block, spikes=spikes, parts=PARTS), *stack[end:]]


def _data_format(data_format):
    """The given data format, or the one that is fast on this backend.

    Keras moves `channels_last` data to `channels_first` and back around every
    convolution and pooling on PyTorch.
    """
    if data_format is None:
        on_torch = keras.config.backend() == "torch"
        return "channels_first" if on_torch else "channels_last"
    check_choice("data_format", data_format, DATA_FORMATS)
    return data_format


def _arrange(images, data_format):
    """Puts the channels of images, given last, where the layers want them."""
    if data_format == "channels_last":
        return images
    *leading, height, width, channels = range(1, len(images.shape))
    return keras.layers.Permute((*leading, channels, height, width))(images)


def _seeds(seed, *key):
    """An endless supply of different seeds derived from one, or of `None`."""
    sequence = np.random.SeedSequence(seed, spawn_key=key)
    while True:
        (child,) = sequence.spawn(1)
        yield None if seed is None else int(child.generate_state(1)[0] // 2)


def _check_image_shape(shape, smallest, layout):
    try:
        height, width, channels = shape
        for size in shape:
            check_count("input_shape", size)
        fits = min(height, width) >= smallest
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            "`input_shape` must be (height, width, channels), at least "
            f"{smallest}x{smallest} for {layout!r}. "
            f"Received: input_shape={shape!r}"
        )
    return int(height), int(width), int(channels)
