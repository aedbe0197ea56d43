"""Builds residual networks of spiking neurons: MS-ResNet and SEW-ResNet."""

import keras

from keras_snn.initializers import CopyInitializer, ScaledInitializer
from keras_snn.models.network import Network, check_image_shape
from keras_snn.models.portable import PortableModel
from keras_snn.validation import (
    check_choice,
    check_count,
    check_number,
    check_seed,
)

__all__ = ["BLOCKS", "STEMS", "residual_snn"]

BLOCKS = ("ms", "sew", "sew-and", "sew-iand")
STEMS = ("3x3", "7x7")
# Blocks per stage of the networks for ImageNet (He et al. 2016, Table 1).
IMAGENET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


def residual_snn(
    depth,
    input_shape,
    classes,
    timesteps=4,
    *,
    block="ms",
    stem="3x3",
    k=0.8,
    lam=0.2,
    theta=1.0,
    surrogate="auto",
    detach_reset=False,
    initializer="stationary",
    encoder="constant",
    normalization=None,
    readout="mean",
    width=1.0,
    data_format=None,
    seed=None,
    name="residual_snn",
):
    """Builds a residual network of `LIF` neurons.

    A first convolution, the stem, comes before stages of blocks. Each block
    combines a branch of two 3x3 convolutions with a shortcut around them:

    | `block` | branch | output |
    | --- | --- | --- |
    | `"ms"` | LIF, conv, norm, LIF, conv, norm | shortcut + branch |
    | `"sew"` | conv, norm, LIF, conv, norm, LIF | shortcut + branch |
    | `"sew-and"` | as `"sew"` | shortcut * branch |
    | `"sew-iand"` | as `"sew"` | shortcut * (1 - branch) |

    The blocks of MS-ResNet (`"ms"`) add currents. Those of SEW-ResNet combine
    spikes. The outputs under `"sew"` are sums of spikes: each block adds up to
    one, until the next stage begins with spikes again. So the currents grow
    with the number of blocks per stage, as soon as the branches fire. The
    outputs of the other two are spikes.

    Except in the first stage, the first block of a stage doubles the filters
    and halves the sides of the image. Odd sides are rounded up, so an image
    never gets smaller than 1x1. In such a block, the shortcut is a 1x1
    convolution with normalization and, unless `block="ms"`, neurons. All other
    shortcuts pass their input on.

    Every block starts close to its shortcut. With `n` blocks, the last kernel
    of each branch starts at `1 / n` of what `initializer` draws, and its bias
    at 0. Even if all branches agree, their sum starts no larger than the
    currents of one layer. With normalization, the last scale and shift of each
    branch start like this instead. Under `"sew-and"`, the last bias or shift
    makes the neurons fire at every timestep.

    Each block is a model inside the model: `block1` and so on. Its layers have
    names such as `conv2`, `norm2`, `lif2` and `shortcut1`. Their numbers go on
    from block to block.

    Args:
        depth: Number of layers, or a tuple of the numbers of blocks in each
            stage. 18 and 34 are the networks for ImageNet, `(2, 2, 2, 2)` and
            `(3, 4, 6, 3)`. `6 n + 2`, such as 20, 32 and 110, are those for
            CIFAR-10, `(n, n, n)`. There are no bottlenecks: 50 is `(8, 8, 8)`.
            Networks of four stages begin with 64 filters, others with 16.
        input_shape: `(height, width, channels)` of an image, without the time
            axis.
        classes: Number of classes, at least 1.
        timesteps: Length of the time axis, at least 1. The default and that of
            `encoder` are those of both papers.
        block: `"ms"`, `"sew"`, `"sew-and"` or `"sew-iand"`, see above.
        stem: `"3x3"` keeps the size of the image. `"7x7"`, for large images,
            has a 7x7 convolution that halves the sides. After it, 3x3 max
            pooling halves them again. Under `"ms"`, which has no spikes at this
            point, the first block does so instead.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0.
        surrogate: See `sequential_snn`. `"auto"` suits the initialization.
        detach_reset: Whether the gradient stops at the reset.
        initializer: A name in `keras_snn.initializers.NAMES`. It also sets the
            start of the normalization, see `initializers.for_normalization`:
            for neurons with a small `lam`, only `"asymptote"` and
            `"stationary"` suit. With a normalization, kernels start as in
            `sequential_snn`. Without, the 1x1 convolutions between currents
            start as copies under any name.
        encoder: `"constant"`, `"poisson"`, `"retina"` or `None`.
        normalization: `None`, `"batch"`, `"bntt"`, `"tdbn"` or a function, as
            in `sequential_snn`. The layers that a function returns keep their
            own start. `"sew-and"` needs a large shift, so it takes neither
            functions nor `"bntt"`.
        readout: `"mean"`, `"sequence"`, `"rate"` or `"potential"`. A dense
            layer follows the mean over the whole image.
        width: Factor for the numbers of filters, above 0. The results are
            rounded to integers of at least 1.
        data_format: `None`, `"channels_first"` or `"channels_last"`.
        seed: `None`, or an integer in `[0, 2**31)` that fixes weights and
            encoder.
        name: Name of the model.

    Returns:
        A `keras.Model`, as from `sequential_snn`.

    Raises:
        TypeError: If a number has the wrong type.
        ValueError: If an argument is out of range.

    Reference:
        MS-ResNet: "Advancing Spiking Neural Networks towards Deep Residual
        Learning" (Hu et al. 2021). SEW-ResNet: "Deep Residual Learning in
        Spiking Neural Networks" (Fang et al. 2021). Depths: "Deep Residual
        Learning for Image Recognition" (He et al. 2016).

    Example:
    >>> residual_snn(20, (8, 8, 1), 10, timesteps=2, width=1 / 4).output_shape
    (None, 10)
    """
    stages = _stages(depth)
    classes = check_count("classes", classes)
    network = _ResidualNetwork(
        check_choice("block", block, BLOCKS),
        sum(stages),
        check_count("timesteps", timesteps),
        {"k": k, "lam": lam, "theta": theta},
        {"surrogate": surrogate, "detach_reset": detach_reset},
        initializer,
        "average",
        normalization,
        check_number("width", width),
        data_format,
        check_seed(seed),
    )
    inputs = network.encode(check_image_shape(input_shape), encoder)
    network.add_blocks(stages, check_choice("stem", stem, STEMS))
    return PortableModel(inputs, network.read(classes, readout), name=name)


def _stages(depth):
    """Returns the number of blocks in each stage."""
    if isinstance(depth, (tuple, list)) and len(depth):
        return tuple(
            check_count(f"depth[{stage}]", blocks)
            for stage, blocks in enumerate(depth)
        )
    try:
        layers = check_count("depth", depth, 8)
        blocks, rest = divmod(layers - 2, 6)
        if layers in IMAGENET:
            return IMAGENET[layers]
    except (TypeError, ValueError):
        rest = None
    if rest != 0:
        raise ValueError(
            "`depth` must be 18, 34, 6 n + 2 with n above 0, or a tuple of the "
            f"numbers of blocks in each stage. Received: depth={depth!r}"
        )
    return (blocks,) * 3


class _ResidualNetwork(Network):
    """A graph that grows block by block.

    Args:
        block: One of `BLOCKS`.
        blocks: Number of blocks.
        *arguments: Arguments of `Network`.
    """

    def __init__(self, block, blocks, *arguments):
        super().__init__(*arguments)
        self.spiking = block != "ms"
        self.combine = {
            "ms": self._add,
            "sew": self._add,
            "sew-and": self._and,
            "sew-iand": self._and_not,
        }[block]
        self.factor = 1 / blocks
        self.shift = keras.initializers.Zeros()
        if block == "sew-and":
            if self.normalization == "bntt" or callable(self.normalization):
                raise ValueError(
                    "`normalization` must be None, 'batch' or 'tdbn' under "
                    "`block='sew-and'`, whose last shift is large. Received: "
                    f"normalization={self.normalization!r}"
                )
            # Twice the current that fires at every timestep.
            current = 2 * self.neuron["theta"] / self.neuron["lam"]
            self.shift = keras.initializers.Constant(current)

    def add_blocks(self, stages, stem):
        """Adds the stem, the blocks, and pooling of the whole image."""
        filters = 64 if len(stages) == 4 else 16
        self._synapses(filters, *((3, 1) if stem == "3x3" else (7, 2)))
        shrinks = stem == "7x7"
        if self.spiking:
            self._fire()
            if shrinks:
                self._pool_stem()
                shrinks = False
        for blocks in stages:
            for index in range(blocks):
                first = index == 0 and shrinks
                self._block(filters, strides=2 if first else 1)
            filters, shrinks = 2 * filters, True
        if not self.spiking:
            self._fire()
        self._pool_all()

    def _pool_stem(self):
        options = {"padding": "same", "data_format": self.data_format}
        name = self._name("pool")
        self._per_timestep(
            keras.layers.MaxPooling2D(3, 2, name=name, **options)
        )

    def _block(self, filters, strides):
        # A model of its own, because Keras walks through a graph by recursion.
        # A thousand layers in one graph would be too deep.
        self._unfold()
        outside = self.x
        self.x = inside = keras.Input(outside.shape[1:], dtype=outside.dtype)
        shrinks = strides > 1
        widens = outside.shape[self.channels] != self._scaled(filters)
        if shrinks or widens:
            self._shortcut(filters, strides)
        shortcut, self.x = self.x, inside
        self._branch(filters, strides)
        outputs = self.combine(shortcut, self.x)
        block = keras.Model(inside, outputs, name=self._name("block"))
        self.x = block(outside)

    def _branch(self, filters, strides):
        if not self.spiking:
            self._fire()
        self._synapses(filters, 3, strides)
        self._fire()
        self._synapses(filters, 3, ends=True)
        if self.spiking:
            self._fire()
        self._unfold()

    def _shortcut(self, filters, strides):
        laws = self._laws()
        if not (self.spiking or self.normalization):
            # Copies keep the distribution of the currents.
            copy = CopyInitializer(1.0, 1.0, 1.0, gain=1.0, noise=0.0)
            laws = {"kernel_initializer": copy}
        self._convolve(filters, 1, strides, "shortcut", laws)
        if self.normalization:
            norm = self._normalization(self.channels, "shortcut_norm")
            self._over_time(norm)
        if self.spiking:
            self._fire("shortcut_lif")
        self._unfold()

    def _synapses(self, filters, size, strides=1, ends=False):
        """Adds a convolution and normalization.

        Args:
            filters: Number of filters at a width of 1.
            size: Side of the kernel.
            strides: Strides.
            ends: Whether a branch ends here, and starts small.
        """
        laws = self._laws(self._fan_in(size, strides))
        if ends and not self.normalization:
            kernel = laws["kernel_initializer"]
            laws["kernel_initializer"] = ScaledInitializer(kernel, self.factor)
            laws["bias_initializer"] = self.shift
        self._convolve(filters, size, strides, laws=laws)
        if self.normalization:
            norm = self._normalization(self.channels)
            if ends and not callable(self.normalization):
                gamma = ScaledInitializer(norm.gamma_initializer, self.factor)
                norm.gamma_initializer = gamma
                norm.beta_initializer = self.shift
            self._over_time(norm)

    def _add(self, shortcut, branch):
        add = keras.layers.Add(name=self._name("add"))
        return add([shortcut, branch])

    def _and(self, shortcut, branch):
        multiply = keras.layers.Multiply(name=self._name("and"))
        return multiply([shortcut, branch])

    def _and_not(self, shortcut, branch):
        subtract = keras.layers.Subtract(name=self._name("and_not"))
        return subtract([shortcut, self._and(shortcut, branch)])
