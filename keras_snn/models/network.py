"""The layers of a network, added one after another.

The builders call it. It keeps track of where the time axis is.
"""

import collections

import keras
import numpy as np
from keras import ops

from keras_snn import initializers, surrogates
from keras_snn.encoders import ConstantEncoder, PoissonEncoder, RetinaEncoder
from keras_snn.layers import (
    BNTT,
    LIF,
    TDBN,
    Conv2D,
    FoldTime,
    LeakyIntegrator,
    Recompute,
    UnfoldTime,
)
from keras_snn.validation import check_choice, check_count

__all__ = [
    "DATA_FORMATS",
    "ENCODERS",
    "NORMALIZATIONS",
    "POOLING",
    "READOUTS",
    "Network",
    "check_image_shape",
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
SCALED = ("asymptote", "stationary")  # give a normalization its scale
READOUTS = ("mean", "sequence", "rate", "potential")
DATA_FORMATS = ("channels_first", "channels_last")
PARTS = 8  # parts of the batch for `recompute`


class Network:
    """A functional graph that grows layer by layer.

    Attributes:
        x: The output so far.
        axes: `"time"` if `x` is `(batch, timesteps, ...)`, `"folded"` if it is
            `(batch * timesteps, ...)`, and `"still"` if it is `(batch, ...)`.
            With constant coding, the layers before the first neurons are
            `"still"`: they give the same at every timestep, so they run once.
        channels: The axis of the channels of images with a time axis.
        hidden: Initialization of all kernels but that of the logits.
    """

    def __init__(
        self,
        timesteps,
        neuron,
        gradient,
        initializer,
        pooling,
        normalization,
        width,
        data_format,
        seed,
    ):
        self.timesteps, self.neuron, self.gradient = timesteps, neuron, gradient
        self.initializer = check_choice(
            "initializer", initializer, initializers.NAMES
        )
        if gradient["surrogate"] == "auto":
            law = initializers.for_gradient(
                initializer, **neuron, timesteps=timesteps
            )
            detached = law["detach_reset"] or gradient["detach_reset"]
            self.gradient = law | {"detach_reset": detached}
        elif isinstance(gradient["surrogate"], str):
            names = ("auto", *surrogates.NAMES)
            check_choice("surrogate", gradient["surrogate"], names)
        self.pooling, self.width, self.seed = pooling, width, seed
        if not callable(normalization):
            check_choice("normalization", normalization, NORMALIZATIONS)
        self.normalization = normalization
        # A normalization makes up for the size of the weights, but the larger
        # they are, the less a step of Adam changes the outputs.
        scaled = isinstance(normalization, str) and initializer in SCALED
        self.hidden = "glorot" if scaled else initializer
        if isinstance(normalization, (type, keras.layers.Layer)):
            raise ValueError(
                "`normalization` must be a name or a function that takes the "
                "channel axis and returns a layer. Received: "
                f"normalization={normalization!r}"
            )
        if data_format is None:
            # On PyTorch, Keras transposes `channels_last` data before and after
            # every convolution and pooling.
            on_torch = keras.config.backend() == "torch"
            data_format = "channels_first" if on_torch else "channels_last"
        self.data_format = check_choice(
            "data_format", data_format, DATA_FORMATS
        )
        self.channels = 2 if data_format == "channels_first" else -1
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

    def read(self, classes, readout):
        """Adds the readout and returns its output."""
        check_choice("readout", readout, READOUTS)
        name = self.initializer
        if name == "copy":
            # The readout mixes all features.
            name = "asymptote" if readout == "rate" else "glorot"
        options = self._laws(name=name)
        logits = keras.layers.Dense(classes, name="logits", **options)
        mean = keras.layers.GlobalAveragePooling1D(
            data_format="channels_last", name="mean"
        )
        if readout == "mean":
            # The last layer is linear, so averaging over time before it gives
            # the same logits as after it, with a single matrix product.
            self._over_time(mean)
            return logits(self.x)
        self._per_timestep(logits)
        self._unfold()
        if readout == "rate":
            self._fire()
            self._over_time(mean)
        elif readout == "potential":
            leak = {"k": self.neuron["k"], "lam": self.neuron["lam"]}
            last = LeakyIntegrator(**leak, return_sequences=False, name=readout)
            self._over_time(last)
        return self.x

    def _convolution(self, filters):
        self._convolve(filters, 3)
        self._neurons(self.channels)

    def _convolve(self, filters, size, strides=1, kind="conv", laws=None):
        """Adds a convolution, without normalization and neurons."""
        self._per_timestep(
            Conv2D(
                self._scaled(filters),
                size,
                strides,
                padding="same",
                data_format=self.data_format,
                use_bias=not self.normalization,
                name=self._name(kind),
                **(laws or self._laws(self._fan_in(size, strides))),
            )
        )

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
        if self.normalization:
            self._over_time(self._normalization(axis))
        self._fire()

    def _normalization(self, axis, kind="norm"):
        if callable(self.normalization):
            return self.normalization(axis)
        start = initializers.for_normalization(
            self.initializer, **self.neuron, timesteps=self.timesteps
        )
        options = {"axis": axis, "name": self._name(kind)}
        if self.normalization == "batch":
            # As in BNTT, TDBN and PyTorch. With 0.99, Keras's default, moving
            # averages lag behind the weights for hundreds of iterations.
            return keras.layers.BatchNormalization(
                momentum=0.9, **start, **options
            )
        if self.normalization == "bntt":
            # BNTT has no shift. The neurons fire without it, because the shift
            # is smaller than the scale.
            scale = start["gamma_initializer"]
            return BNTT(self.timesteps, gamma_initializer=scale, **options)
        # TDBN multiplies by `theta / lam` itself.
        of_unit = self.neuron | {"lam": 1.0, "theta": 1.0}
        unit = initializers.for_normalization(
            self.initializer, **of_unit, timesteps=self.timesteps
        )
        start["gamma_initializer"] = unit["gamma_initializer"]
        lam, theta = self.neuron["lam"], self.neuron["theta"]
        return TDBN(theta, lam=lam, **start, **options)

    def _fire(self, kind="lif"):
        name = self._name(kind)
        self._over_time(LIF(**self.neuron, **self.gradient, name=name))

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

    def _fan_in(self, size, strides):
        """Returns the fan-in of a convolution, or `None` for the kernel's."""
        if self.initializer != "stationary" or self.normalization:
            # Others are as their authors published them, and a normalization
            # scales the currents anyway.
            return None
        shape = list(self.x.shape[-3:])
        first = self.data_format == "channels_first"
        channels = shape.pop(0 if first else -1)
        return initializers.padded_fan_in((*shape, channels), size, strides)

    def _laws(self, fan_in=None, name=None):
        """Returns the initializers of the next layer of synapses.

        Args:
            fan_in: As in `initializers.for_layer`.
            name: As there. By default, that of hidden layers.
        """
        self._counts["synapses"] += 1
        seed = self._seed(self._counts["synapses"])
        return initializers.for_layer(
            name or self.hidden,
            **self.neuron,
            seed=seed,
            timesteps=self.timesteps,
            fan_in=fan_in,
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


def check_image_shape(shape, smallest=1, condition=""):
    """Returns the shape of an image if it has one of at least `smallest`.

    Args:
        shape: `(height, width, channels)`.
        smallest: Smallest height and width.
        condition: What the message says about `smallest`.
    """
    try:
        height, width, channels = (check_count("side", x) for x in shape)
        fits = min(height, width) >= smallest
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"`input_shape` must be (height, width, channels){condition}. "
            f"Received: input_shape={shape!r}"
        )
    return height, width, channels
