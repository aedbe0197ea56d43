"""Functional builders of the paper's networks (Table A4)."""

import itertools

import keras
import numpy as np
from keras import ops

from keras_snn import initializers
from keras_snn.encoders import PoissonEncoder, RetinaEncoder, as_intensity
from keras_snn.layers import LIF, PerTimestep, Recompute
from keras_snn.validation import check_choice, check_count, check_seed

# How many parts of the batch take turns under `recompute`.
PARTS = 8
ENCODERS = ("constant", "poisson", "retina", None)
DATA_FORMATS = ("channels_first", "channels_last")
POOLING = {
    "average": keras.layers.AveragePooling2D,
    "max": keras.layers.MaxPooling2D,
}


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
    if isinstance(images, np.ndarray) or ops.is_tensor(images):
        as_intensity(images, name=name)
    return x


def five_layer_snn(
    input_shape=(28, 28, 1),
    classes=10,
    timesteps=20,
    k=0.8,
    lam=0.2,
    theta=1.0,
    surrogate="arctan",
    initializer="asymptote",
    encoder="poisson",
    pooling="average",
    data_format=None,
    seed=None,
    recompute=False,
):
    """The five-layer network of the MNIST experiments (Table A4).

    `C32 P C32 P FC500 FC100 FC10`: 3x3 "same" convolutions, 2x2 pooling, a
    `LIF` behind every convolution and hidden dense layer, none behind the
    last. The logits are the mean over time of the last layer's output.

    Args:
        input_shape: `(height, width, channels)` of an image, at least 4x4;
            without the time axis also where the input has one.
        classes: Number of classes, at least 1.
        timesteps: Length of the time axis, at least 1.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0.
        surrogate: Name, config or object of a `keras_snn.surrogates` surrogate.
        initializer: `"asymptote"`, `"glorot"`, `"he"`, `"wu"` or `"lee"`.
        encoder: `"constant"`, `"poisson"` or `"retina"`, or `None` if the
            input already has a time axis.
        pooling: `"average"` or `"max"`; the paper does not say which.
        data_format: `"channels_first"` or `"channels_last"`, the axes that the
            layers work on; by default whichever is fast, the former on
            PyTorch, the latter elsewhere. Images and weights are the same.
        seed: `None`, or an integer that fixes weights and encoder.
        recompute: Whether to save memory in training: what is between the
            encoder and the mean over time becomes one `layers.Recompute`, which
            runs twice, an eighth of the batch at a time. The weights are the
            same and in the same order, but no longer layers of the model:
            `callbacks.FiringRateMonitor` does not see the neurons inside.

    Returns:
        A `keras.Model`: images `(batch, *input_shape)`, `uint8` or floats in
        [0, 1], to logits `(batch, classes)`. With `encoder=None` the input is
        `(batch, timesteps, *input_shape)`, taken as it is.

    Example:
    >>> model = five_layer_snn(timesteps=5)
    >>> model.output_shape
    (None, 10)
    """
    check_choice("encoder", encoder, ENCODERS)
    check_choice("pooling", pooling, POOLING)
    check_choice("recompute", recompute, (False, True))
    data_format = _data_format(data_format)
    check_count("classes", classes)
    check_count("timesteps", timesteps)
    seed = check_seed(seed)
    input_shape = _check_image_shape(input_shape, smallest=4)
    # The encoder draws first, whether or not there is one, so that the weights
    # of one seed are the same under every coding.
    seeds = _seeds(seed)
    encoder_seed = next(seeds)

    def synapses(layer, *args, **kwargs):
        laws = initializers.for_layer(initializer, k, lam, theta, next(seeds))
        return layer(*args, **kwargs, **laws)

    def conv(filters):
        return synapses(
            keras.layers.Conv2D,
            *(filters, 3),
            padding="same",
            data_format=data_format,
        )

    def pool():
        layer = POOLING[pooling](2, data_format=data_format)
        return PerTimestep(layer)

    def dense(units):
        return synapses(keras.layers.Dense, units)

    # Named by hand: Keras's own counter runs on from model to model.
    names = (f"lif_{n}" for n in itertools.count(1))

    def neurons():
        return LIF(k, lam, theta, surrogate, name=next(names))

    if encoder is None:
        inputs = keras.Input((timesteps, *input_shape))
        x = _arrange(inputs, data_format)
        stack = [PerTimestep(conv(32))]
    elif encoder == "poisson":
        inputs = keras.Input(input_shape)
        x = _arrange(inputs, data_format)
        x = PoissonEncoder(timesteps, seed=encoder_seed)(x)
        stack = [PerTimestep(conv(32))]
    elif encoder == "retina":
        inputs = keras.Input(input_shape)
        x = _arrange(inputs, data_format)
        x = RetinaEncoder(timesteps)(x)
        stack = [PerTimestep(conv(32))]
    else:
        # The first convolution of a constant input is constant: run it once,
        # then repeat, which is `ConstantEncoder` taken behind it.
        inputs = keras.Input(input_shape)
        x = _arrange(inputs, data_format)
        x = ops.expand_dims(conv(32)(x), 1)
        x = ops.repeat(x, timesteps, axis=1)
        stack = []
    stack += [neurons(), pool(), PerTimestep(conv(32)), neurons(), pool()]
    # Keras flattens channels last either way, so that the weights behind it
    # fit both.
    flatten = keras.layers.Flatten(data_format=data_format)
    stack += [PerTimestep(flatten)]
    for units in (500, 100):
        stack += [PerTimestep(dense(units)), neurons()]
    if recompute:
        block = keras.Sequential(stack)
        spikes = encoder in ("poisson", "retina")
        stack = [Recompute(block, spikes=spikes, parts=PARTS)]
    for layer in stack:
        x = layer(x)
    # The last layer is linear: averaging its input over time averages its
    # output, and multiplies once.
    x = keras.layers.GlobalAveragePooling1D(data_format="channels_last")(x)
    logits = dense(int(classes))(x)
    model = PortableModel if encoder is None else ImageModel
    return model(inputs, logits, name="five_layer_snn")


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


def _seeds(seed):
    """An endless supply of different seeds derived from one, or of `None`."""
    sequence = np.random.SeedSequence(seed)
    while True:
        (child,) = sequence.spawn(1)
        yield None if seed is None else int(child.generate_state(1)[0] // 2)


def _check_image_shape(shape, smallest):
    try:
        height, width, channels = shape
        fits = min(height, width) >= smallest and channels >= 1
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            "`input_shape` must be (height, width, channels), at least "
            f"{smallest}x{smallest}. Received: input_shape={shape!r}"
        )
    return tuple(shape)
