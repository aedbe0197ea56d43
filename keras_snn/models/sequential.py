"""Builds sequential networks of spiking neurons from one line of text."""

from keras_snn.models.layout import parse
from keras_snn.models.network import POOLING, Network, check_image_shape
from keras_snn.models.portable import PortableModel
from keras_snn.validation import (
    check_choice,
    check_count,
    check_number,
    check_seed,
)

__all__ = ["sequential_snn"]


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
    name="sequential_snn",
):
    """Builds a network of `LIF` neurons in the notation of Table A4.

    | word | layers |
    | --- | --- |
    | `C32` | 3x3 "same" convolution with 32 filters, normalization, neurons |
    | `FC500` | dense layer of 500 units, normalization, neurons |
    | `FC500*3` | the same three times; also `C32*3` |
    | `P` | pooling of 2x2 squares |
    | `G` | pooling of the whole image |
    | `D0.5` | dropout of half the spikes, the same ones at every timestep |

    A dense layer for the classes follows, see `readout`. Layers are named by
    their kind: `conv1`, `norm1`, `lif1`, `pool1`, `dense1`, `dropout1`,
    `logits`.

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
            object. `"auto"` is the one that suits the initialization, see
            `initializers.for_gradient`. Under `"stationary"`, `"copy"` and
            `"shi"` it also detaches the reset, whatever `detach_reset`
            says.
        detach_reset: Whether the gradient stops at the reset.
        initializer: Initialization of weights and biases: a name in
            `keras_snn.initializers.NAMES`. `initializers.for_layer` says what
            it stands for. Under `"copy"`, the last dense layer is random.
        encoder: `"constant"`, `"poisson"` or `"retina"`. Use `None` if the
            input already has a time axis, like event frames.
        pooling: `"average"` or `"max"`. The paper does not say which.
        normalization: `None`, `"batch"` (`keras.layers.BatchNormalization`
            over batch, time and space, with a momentum of 0.9), `"bntt"`
            (`layers.BNTT`) or `"tdbn"` (`layers.TDBN`). With normalization, the
            layers before it have no bias. Scale and shift start as
            `initializers.for_normalization` says. Under `"asymptote"` and
            `"stationary"`, they suit the neurons, and the kernels before them
            start as under `"glorot"`: with the larger weights of these laws,
            networks learn more slowly. For another start or another layer,
            pass a function that takes the channel axis and returns a layer.
            Then all kernels follow `initializer`.
        readout: `"mean"` averages the spikes of the last neurons over time, and
            a dense layer without neurons turns them into logits. `"sequence"`
            gives the logits of every timestep, for losses over time. `"rate"`
            adds neurons after the last dense layer and gives their firing
            rates. `"potential"` adds neurons that do not fire and gives their
            last potential, see `layers.LeakyIntegrator`.
        width: Factor for the numbers of filters and units, above 0. The
            results are rounded to integers of at least 1.
        data_format: `"channels_first"` or `"channels_last"`, the order of axes
            inside the network. The default is the faster one:
            `"channels_first"` on PyTorch, `"channels_last"` elsewhere. Images
            and weights are the same for both.
        seed: `None`, or an integer in `[0, 2**31)` that fixes weights, encoder
            and dropout.
        recompute: Whether to trade time for memory in training. One
            `layers.Recompute` wraps the layers between the encoder and the
            first dropout and processes an eighth of the batch at a time. Not
            available with `normalization`, whose statistics need the whole
            batch.
        name: Name of the model.

    Returns:
        A `keras.Model` that maps images `(batch, *input_shape)`, bytes or
        floats in [0, 1], to logits, rates or potentials `(batch, classes)`,
        or to logits `(batch, timesteps, classes)`. With `encoder=None`, the
        input has the shape `(batch, timesteps, *input_shape)` and is not
        scaled.

    Raises:
        TypeError: If a number has the wrong type.
        ValueError: If an argument is out of range, the layout is invalid, or
            the image is too small for the layout.

    Example:
    >>> model = sequential_snn("C8 P FC50 D0.5", (8, 8, 1), 10, timesteps=5)
    >>> model.get_layer("lif2").output.shape
    (None, 5, 50)
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
    input_shape = check_image_shape(
        input_shape,
        smallest,
        f", at least {smallest}x{smallest} for {layout!r}",
    )
    network = Network(
        check_count("timesteps", timesteps),
        {"k": k, "lam": lam, "theta": theta},
        {"surrogate": surrogate, "detach_reset": detach_reset},
        initializer,
        check_choice("pooling", pooling, POOLING),
        normalization,
        check_number("width", width),
        data_format,
        check_seed(seed),
    )
    inputs = network.encode(input_shape, encoder)
    if recompute:
        words = network.recompute(words, encoder in ("poisson", "retina"))
    network.add_words(words)
    return PortableModel(inputs, network.read(classes, readout), name=name)
