"""Builds sequential networks of spiking neurons from one line of text."""

import collections

import keras
import numpy as np
from keras import ops

from keras_snn import initializers
from keras_snn.encoders import ConstantEncoder, PoissonEncoder, RetinaEncoder
from keras_snn.layers import (
    BNTT,
    LIF,
    TDBN,
    Conv2D,
    FoldTime,
    Recompute,
    UnfoldTime,
)
from keras_snn.models.layout import parse
from keras_snn.models.portable import PortableModel
from keras_snn.validation import (
    check_choice,
    check_count,
    check_number,
    check_seed,
)

__all__ = [
    "DATA_FORMATS",
    "ENCODERS",
    "NORMALIZATIONS",
    "POOLING",
    "sequential_snn",
]

ENCODERS = ("constant", "poisson", "retina", None)
POOLING = {
    "average": (
        keras.layers.AveragePooling2D,
        keras.layers.GlobalAveragePooling2D,
    ),
    "max": (keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling2D),
}
NORMALIZATIONS = (None, "batch", "bntt", "tdbn")
DATA_FORMATS = ("channels_first", "channels_last")
PARTS = 8  # parts of the batch for `recompute`


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
    """Builds a network of `LIF` neurons in the notation of Table A4.

    | word | layers |
    | --- | --- |
    | `C32` | 3x3 "same" convolution with 32 filters, normalization, neurons |
    | `FC500` | dense layer of 500 units, normalization, neurons |
    | `P` | pooling of 2x2 squares |
    | `G` | pooling of the whole image |
    | `D0.5` | dropout of half the spikes, the same ones at every timestep |

    The last spikes are averaged over time, and a dense layer without neurons
    turns them into logits. Layers are named by their kind: `conv1`, `norm1`,
    `lif1`, `pool1`, `dense1`, `dropout1`, `logits`.

    Args:
        layout: Words separated by spaces. `C`, `P` and `G` come before `FC`.
        input_shape: `(height, width, channels)` of an image, without the time
            axis. Height and width must be at least 2 to the power of the number
            of `P`. Pooling drops the last row or column of an odd number.
        classes: Number of classes, at least 1.
        timesteps: Length of the time axis, at least 1.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        surrogate: Surrogate from `keras_snn.surrogates`: a name, a config or an
            object.
        initializer: `"asymptote"`, `"glorot"`, `"he"`, `"wu"` or `"lee"`.
        encoder: `"constant"`, `"poisson"` or `"retina"`. Use `None` if the
            input already has a time axis, like event frames.
        pooling: `"average"` or `"max"`. The paper does not say which.
        normalization: `None`, `"batch"` (`keras.layers.BatchNormalization`
            over batch, time and space), `"bntt"` (`layers.BNTT`) or `"tdbn"`
            (`layers.TDBN`). With normalization, the layers before it have no
            bias.
        width: Factor for the numbers of filters and units, above 0. The
            results are rounded to integers of at least 1.
        data_format: `"channels_first"` or `"channels_last"`, the order of axes
            inside the network. The default is the faster one:
            `"channels_first"` on PyTorch, `"channels_last"` elsewhere. Images
            and weights are the same for both.
        seed: `None`, or an integer that fixes weights, encoder and dropout.
        recompute: Whether to trade time for memory in training. One
            `layers.Recompute` wraps the layers between the encoder and the
            first dropout and processes an eighth of the batch at a time. Not
            available with `normalization`, whose statistics need the whole
            batch.
        name: Name of the model.

    Returns:
        A `keras.Model` that maps images `(batch, *input_shape)`, bytes or
        floats in [0, 1], to logits `(batch, classes)`. With `encoder=None`, the
        input has the shape `(batch, timesteps, *input_shape)` and is not
        scaled.

    Raises:
        ValueError: If an argument is out of range, the layout is invalid, or
            the image is too small for the layout.

    Example:
    >>> model = sequential_snn("C8 P FC50 D0.5", (8, 8, 1), 10, timesteps=5)
    >>> [layer.name for layer in model.layers if isinstance(layer, LIF)]
    ['lif1', 'lif2']
    """
    check_choice("recompute", recompute, (False, True))
    if recompute and normalization:
        raise ValueError(
            "`recompute` must be False with a normalization. Received: "
            f"recompute={recompute!r}, normalization={normalization!r}"
        )
    classes = check_count("classes", classes)
    words = parse(layout)
    smallest = 2 ** [kind for kind, _ in words].count("P")
    input_shape = _check_image_shape(input_shape, smallest, layout)
    network = _Network(
        check_count("timesteps", timesteps),
        {"k": k, "lam": lam, "theta": theta},
        surrogate,
        initializer,
        check_choice("pooling", pooling, POOLING),
        check_choice("normalization", normalization, NORMALIZATIONS),
        check_number("width", width),
        _fast_data_format() if data_format is None else data_format,
        check_seed(seed),
    )
    inputs = network.encode(input_shape, encoder)
    if recompute:
        words = network.recompute(words, encoder in ("poisson", "retina"))
    network.add_words(words)
    return PortableModel(inputs, network.logits(classes), name=name)


class _Network:
    """A functional graph that grows layer by layer.

    Attributes:
        x: The output so far.
        axes: `"time"` if `x` is `(batch, timesteps, ...)`, `"folded"` if it is
            `(batch * timesteps, ...)`, and `"still"` if it is `(batch, ...)`.
            With constant coding, the layers before the first neurons are
            `"still"`: they give the same at every timestep, so they run once.
    """

    def __init__(
        self,
        timesteps,
        neuron,
        surrogate,
        initializer,
        pooling,
        normalization,
        width,
        data_format,
        seed,
    ):
        self.timesteps, self.neuron = timesteps, neuron
        self.surrogate, self.initializer = surrogate, initializer
        self.pooling, self.normalization = pooling, normalization
        self.width, self.seed = width, seed
        self.data_format = check_choice(
            "data_format", data_format, DATA_FORMATS
        )
        self.x, self.axes = None, "time"
        self._counts = collections.Counter()

    def encode(self, input_shape, encoder):
        """Starts the graph and returns its input."""
        check_choice("encoder", encoder, ENCODERS)
        time = () if encoder else (self.timesteps,)
        self.x = inputs = keras.Input((*time, *input_shape))
        if self.data_format == "channels_first":
            *leading, height, width, channels = range(1, len(inputs.shape))
            order = (*leading, channels, height, width)
            self.x = keras.layers.Permute(order, name="channels_first")(inputs)
        if encoder == "constant":
            # The image at a single timestep.
            self.x = ConstantEncoder(1, name="encoder")(self.x)
            self.x = FoldTime(name=self._name("fold"))(self.x)
            self.axes = "still"
        elif encoder == "poisson":
            self.x = PoissonEncoder(
                self.timesteps, seed=self._seed(0), name="encoder"
            )(self.x)
        elif encoder == "retina":
            self.x = RetinaEncoder(self.timesteps, name="encoder")(self.x)
        return inputs

    def recompute(self, words, spikes):
        """Adds the words before the first dropout as one `Recompute`.

        Args:
            words: The words of the layout.
            spikes: Whether the inputs are spikes.

        Returns:
            The remaining words.
        """
        # `Recompute` in parts needs layers without state. Dropout has one: it
        # draws random numbers.
        kinds = [kind for kind, _ in words]
        end = kinds.index("D") if "D" in kinds else len(words)
        if end:
            outside, self.x = self.x, keras.Input(self.x.shape[1:])
            inside = self.x
            self.add_words(words[:end])
            self._unfold()
            block = keras.Model(inside, self.x, name="recomputed")
            self.x = Recompute(
                block, spikes=spikes, parts=PARTS, name="recompute"
            )(outside)
        return words[end:]

    def add_words(self, words):
        """Adds the layers for some words of a layout."""
        adders = {
            "C": self._convolution,
            "FC": self._dense,
            "P": self._pool,
            "G": self._pool_all,
            "D": self._dropout,
            "flatten": self._flatten,
        }
        for kind, number in words:
            adders[kind](*() if number is None else (number,))

    def logits(self, classes):
        """Adds the readout and returns its output."""
        # The last layer is linear, so averaging over time before it gives the
        # same logits as after it, with a single matrix product.
        self._over_time(
            keras.layers.GlobalAveragePooling1D(
                data_format="channels_last", name="mean"
            )
        )
        options = self._laws()
        return keras.layers.Dense(classes, name="logits", **options)(self.x)

    def _convolution(self, filters):
        self._per_timestep(
            Conv2D(
                self._scaled(filters),
                3,
                padding="same",
                data_format=self.data_format,
                use_bias=not self.normalization,
                name=self._name("conv"),
                **self._laws(),
            )
        )
        self._neurons(2 if self.data_format == "channels_first" else -1)

    def _dense(self, units):
        self._per_timestep(
            keras.layers.Dense(
                self._scaled(units),
                use_bias=not self.normalization,
                name=self._name("dense"),
                **self._laws(),
            )
        )
        self._neurons(-1)

    def _neurons(self, axis):
        """Adds normalization, if any, with channels on `axis`, and neurons."""
        name = self._name("norm")
        if self.normalization == "batch":
            normalize = keras.layers.BatchNormalization(axis=axis, name=name)
            self._over_time(normalize)
        elif self.normalization == "bntt":
            self._over_time(BNTT(self.timesteps, axis=axis, name=name))
        elif self.normalization == "tdbn":
            theta = self.neuron["theta"]
            self._over_time(TDBN(theta, axis=axis, name=name))
        self._over_time(
            LIF(**self.neuron, surrogate=self.surrogate, name=self._name("lif"))
        )

    def _pool(self):
        squares, _ = POOLING[self.pooling]
        name = self._name("pool")
        self._per_timestep(squares(2, data_format=self.data_format, name=name))

    def _pool_all(self):
        _, whole = POOLING[self.pooling]
        name = self._name("pool")
        self._per_timestep(whole(data_format=self.data_format, name=name))

    def _flatten(self):
        # Keras flattens in channels-last order for both data formats, so the
        # weights of the next layer fit both.
        self._per_timestep(
            keras.layers.Flatten(data_format=self.data_format, name="flatten")
        )

    def _dropout(self, rate):
        name = self._name("dropout")
        seed = self._seed(1, self._counts["dropout"] - 1)
        shape = (None, 1, None)  # one mask for all timesteps of a sample
        self._over_time(keras.layers.Dropout(rate, shape, seed, name=name))

    def _per_timestep(self, layer):
        """Applies a layer that does not need the time axis."""
        if self.axes == "time":
            self.x = FoldTime(name=self._name("fold"))(self.x)
            self.axes = "folded"
        self.x = layer(self.x)

    def _over_time(self, layer):
        """Applies a layer to `(batch, timesteps, ...)`."""
        self._unfold()
        self.x = layer(self.x)

    def _unfold(self):
        if self.axes == "folded":
            name = self._name("unfold")
            self.x = UnfoldTime(self.timesteps, name=name)(self.x)
        elif self.axes == "still":
            once = ops.expand_dims(self.x, 1)
            self.x = ops.repeat(once, self.timesteps, axis=1)
        self.axes = "time"

    def _laws(self):
        """Returns the initializers of the next layer of synapses."""
        self._counts["synapses"] += 1
        seed = self._seed(self._counts["synapses"])
        return initializers.for_layer(
            self.initializer, **self.neuron, seed=seed
        )

    def _seed(self, *key):
        """Derives the seed of a layer from a key.

        The encoder has the key 0, and the layers of synapses 1, 2, and so on.
        Dropout has keys of two numbers, so it does not change the weights.
        """
        if self.seed is None:
            return None
        sequence = np.random.SeedSequence(self.seed, spawn_key=key)
        return int(sequence.generate_state(1)[0] // 2)

    def _scaled(self, number):
        return max(1, round(number * self.width))

    def _name(self, kind):
        # Keras's own counters would go on from model to model.
        self._counts[kind] += 1
        return f"{kind}{self._counts[kind]}"


def _fast_data_format():
    """Returns the data format that is fast on this backend.

    On PyTorch, Keras transposes `channels_last` data before and after every
    convolution and pooling.
    """
    on_torch = keras.config.backend() == "torch"
    return "channels_first" if on_torch else "channels_last"


def _check_image_shape(shape, smallest, layout):
    try:
        height, width, channels = (check_count("side", x) for x in shape)
        fits = min(height, width) >= smallest
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            "`input_shape` must be (height, width, channels), at least "
            f"{smallest}x{smallest} for {layout!r}. "
            f"Received: input_shape={shape!r}"
        )
    return height, width, channels
