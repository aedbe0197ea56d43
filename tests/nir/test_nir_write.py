"""A plain simulation of the graph of a model equals the model."""

import keras
import numpy as np
import pytest
from backend import to_numpy
from nir_files import first, last
from nir_reference import simulate

from keras_snn import encoders, layers, models, surrogates
from keras_snn.layers.walk import walk
from keras_snn.nir import from_nir, to_nir

nir = pytest.importorskip("nir", reason="nir is not installed")

DT = 1 / 4
K = keras.layers
# Exact in float32, as are the weights and inputs below.
NEURON = {"k": 0.5, "lam": 0.5, "theta": 0.25}
CUBA = NEURON | {"alpha": 0.5}


def sixteenths(*shape):
    found = np.random.default_rng(shape).integers(-16, 17, shape)
    return (found / 16).astype("float32")


def counts(*shape):
    found = np.random.default_rng(shape).integers(0, 3, (2, 6, *shape))
    return found.astype("float32")


def network(shape, *parts):
    """A model of these layers over time, whose weights are sixteenths."""
    inputs = x = keras.Input((None, *shape))
    for part in parts:
        x = part(x)
    model = keras.Model(inputs, x)
    model.set_weights([sixteenths(*w.shape) for w in model.get_weights()])
    for layer in walk(model):
        if hasattr(layer, "moving_variance"):
            layer.moving_variance.assign(layer.moving_variance**2 + 0.5)
    return model


def each(layer):
    return layers.PerTimestep(layer)


def assert_equal(model, inputs, **options):
    """Compares a model with the simulation of its graph."""
    graph = to_nir(model, DT, **options)
    subtract = options.get("reset") == "subtract"
    x = first(inputs) if inputs.ndim > 3 else inputs
    expected = simulate(graph, x, DT, subtract=subtract)["output"]
    expected = last(expected) if expected.ndim > 3 else expected
    ours = to_numpy(model(inputs))
    assert ours.std() > 0
    # Normalization rounds. Spikes are equal.
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
    return graph


def recurrent(kind, **constants):
    initializer = keras.initializers.Zeros()
    return kind(3, recurrent_initializer=initializer, **constants)


def rnn(cell):
    return K.RNN(cell, return_sequences=True)


def in_space(layer):
    """Applies a layer with channels first."""
    to_first, to_last = K.Permute((3, 1, 2)), K.Permute((2, 3, 1))
    return each(keras.Sequential([to_first, layer, to_last]))


IMAGE = (5, 6, 2)
FIRST = {"data_format": "channels_first"}
LAYERS = {
    "dense": ((4,), K.Dense(3)),
    "dense, no bias": ((4,), K.Dense(3, use_bias=False)),
    "conv1d": ((7, 2), each(K.Conv1D(3, 3, strides=2))),
    "conv1d, same": ((7, 2), each(K.Conv1D(3, 4, padding="same"))),
    "conv2d": (IMAGE, each(K.Conv2D(3, 3))),
    "conv2d, ours": (IMAGE, each(layers.Conv2D(3, 3, padding="same"))),
    "conv2d, same": (IMAGE, each(K.Conv2D(3, 2, padding="same"))),
    "conv2d, stride": ((5, 7, 2), each(K.Conv2D(3, 3, 2, padding="same"))),
    "conv2d, dilation": (IMAGE, each(K.Conv2D(3, 2, dilation_rate=2))),
    "conv2d, groups": (IMAGE, each(K.Conv2D(4, 3, groups=2))),
    "conv2d, first": (IMAGE, in_space(K.Conv2D(3, 3, **FIRST))),
    "depthwise": (IMAGE, each(K.DepthwiseConv2D(3, depth_multiplier=2))),
    "zeros": (
        IMAGE,
        each(keras.Sequential([K.ZeroPadding2D((2, 1)), K.Conv2D(3, 3)])),
    ),
    "zeros, same": (
        IMAGE,
        each(
            keras.Sequential(
                [K.ZeroPadding2D(1), K.Conv2D(3, 3, padding="same")]
            )
        ),
    ),
    "zeros, 1d": (
        (7, 2),
        each(keras.Sequential([K.ZeroPadding1D(1), K.Conv1D(3, 3)])),
    ),
    "average": (IMAGE, each(K.AveragePooling2D(2))),
    "average, same": ((4, 6, 2), each(K.AveragePooling2D(2, padding="same"))),
    "average, first": (IMAGE, in_space(K.AveragePooling2D(2, **FIRST))),
    "global": (IMAGE, each(K.GlobalAveragePooling2D())),
    "global, axes": (IMAGE, each(K.GlobalAveragePooling2D(keepdims=True))),
    "sum": (IMAGE, each(layers.SumPooling2D(2, (1, 2)))),
    "flatten": (
        IMAGE,
        each(keras.Sequential([K.Flatten(), K.Dense(3)])),
    ),
    "reshape": (
        IMAGE,
        each(keras.Sequential([K.Reshape((-1,)), K.Dense(3)])),
    ),
    "normalization": ((4,), K.BatchNormalization()),
    "normalization, image": (IMAGE, K.BatchNormalization()),
    "normalization, 1d": ((7, 2), K.BatchNormalization()),
    "normalization, conv": (
        IMAGE,
        each(keras.Sequential([K.Conv2D(3, 3), K.BatchNormalization()])),
    ),
    "normalization, bare": (
        (4,),
        K.BatchNormalization(center=False, scale=False),
    ),
    "normalization, first": (IMAGE, in_space(K.BatchNormalization(axis=1))),
    "tdbn": (IMAGE, layers.TDBN(0.5, lam=0.25, alpha=2.0)),
    "scale": ((4,), K.Rescaling(0.5)),
    "scale, image": (IMAGE, K.Rescaling([0.5, 2.0])),
    "offset": ((4,), K.Rescaling(0.5, [1.0, 2.0, 3.0, 4.0])),
    "offset, image": (IMAGE, K.Rescaling([0.5, 2.0], 1.0)),
    "threshold": ((4,), each(K.Activation(surrogates.Arctan()))),
    "lif": ((3,), layers.LIF(**NEURON)),
    "lif, image": (IMAGE, layers.LIF(**NEURON)),
    "lif, per channel": (IMAGE, layers.LIF([0.5, 0.25], 0.5, 1.0)),
    "lif, per neuron": (
        IMAGE,
        layers.LIF(0.5, 0.5, np.abs(sixteenths(*IMAGE)) + 0.25),
    ),
    "lif, learnt": ((3,), layers.LIF(0.5, 4.0, 0.25, learn=("theta",))),
    "if": ((3,), layers.LIF(1.0, 0.5, 1.25)),
    "cubalif": ((3,), layers.CubaLIF(**CUBA)),
    "li": ((3,), layers.LeakyIntegrator(0.5, 0.25)),
    "i": ((3,), layers.LeakyIntegrator(1.0, 0.25)),
    "recurrent lif": ((3,), recurrent(layers.RecurrentLIF, **NEURON)),
    "recurrent cubalif": ((3,), recurrent(layers.RecurrentCubaLIF, **CUBA)),
    "cell": ((3,), rnn(layers.LIFRNNCell(3, **NEURON))),
    "cuba cell": ((3,), rnn(layers.CubaLIFCell(3, **CUBA))),
    "integrator cell": ((3,), rnn(layers.LeakyIntegratorCell(3, 0.5, 0.5))),
    "recurrent cell": (
        (3,),
        rnn(layers.RecurrentCell(layers.LIFRNNCell(3, **NEURON))),
    ),
    "dropout": ((3,), K.Dropout(0.5)),
    "recompute": ((3,), layers.Recompute(K.Dense(2))),
    "distributed": (IMAGE, K.TimeDistributed(K.Conv2D(3, 3))),
}


@pytest.mark.parametrize(("shape", "layer"), LAYERS.values(), ids=LAYERS)
def test_a_layer_becomes_nodes_that_compute_the_same(shape, layer):
    assert_equal(network(shape, layer), counts(*shape))


def test_reset_by_subtraction_needs_the_reader_to_know():
    model = network((3,), layers.LIF(**NEURON, reset="subtract"))
    assert_equal(model, counts(3), reset="subtract")
    with pytest.raises(ValueError, match="and `reset` is .zero."):
        to_nir(model)


def test_residual_branches_are_added():
    block = layers.LIF(**NEURON), K.Dense(3), K.BatchNormalization()

    def branch(x):
        y = x
        for layer in block:
            y = layer(y)
        return K.Add()([x + y, K.Dense(3)(x)])

    model = network((3,), branch, layers.LIF(**NEURON), K.Dense(2))
    assert_equal(model, counts(3))


def test_recurrent_weights_follow_the_order_of_a_flattened_image():
    flat = each(K.Flatten())
    neurons = layers.RecurrentLIF(12, recurrent_initializer="zeros", **NEURON)
    model = network((2, 3, 2), flat, neurons, K.Dense(3))
    assert_equal(model, counts(2, 3, 2))


def test_a_model_inside_becomes_part_of_the_graph():
    part = network((3,), K.Dense(3, name="a"), layers.LIF(**NEURON, name="b"))
    model = network((3,), part, part)
    graph = assert_equal(model, counts(3))
    assert [*graph.nodes][1:-1] == ["a", "b", "a_2", "b_2"]


def test_several_inputs_and_outputs_keep_their_order():
    a, b = keras.Input((None, 2), name="a"), keras.Input((None, 2), name="b")
    model = keras.Model([a, b], [K.Add()([a, b]), K.Rescaling(2.0)(b)])
    back = from_nir(to_nir(model))
    x = counts(2), counts(2) + 1
    ours, theirs = model(list(x)), back(list(x))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


ENCODERS = {
    "constant": encoders.ConstantEncoder(6),
    "poisson": encoders.PoissonEncoder(6),
    "latency": encoders.LatencyEncoder(6),
    "retina": encoders.RetinaEncoder(6),
}


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_the_graph_starts_behind_the_encoder(encoder):
    images = keras.Input((3,))
    weigh = K.Dense(2)
    graph = to_nir(keras.Model(images, weigh(encoder(images))))
    behind = keras.Input((6, 3))
    expected = to_nir(keras.Model(behind, weigh(behind)))
    assert graph.nodes.keys() == expected.nodes.keys()
    assert graph.nodes["input"].input_type["input"].tolist() == [3]


def test_delta_coding_doubles_the_features_of_the_graph():
    series = keras.Input((None, 3))
    encoder, weigh = encoders.DeltaEncoder(0.5), K.Dense(2)
    model = keras.Model(series, weigh(encoder(series)))
    spikes = to_numpy(encoder(counts(3)))
    outputs = simulate(to_nir(model), spikes, 1.0)["output"]
    np.testing.assert_allclose(outputs, to_numpy(model(counts(3))), atol=1e-6)


@pytest.mark.parametrize("data_format", models.DATA_FORMATS)
def test_both_data_formats_give_the_same_graph(data_format):
    options = {"timesteps": 2, "encoder": None, "seed": 1}
    graphs = [
        to_nir(models.five_layer_snn((8, 8, 1), **options, data_format=x))
        for x in (data_format, "channels_last")
    ]
    inputs = counts(1, 8, 8)
    one, other = (simulate(x, inputs, 1e-4)["output"] for x in graphs)
    np.testing.assert_array_equal(one, other)


def test_weights_after_a_mean_over_time_are_part_of_the_graph():
    mean, last_weights = K.GlobalAveragePooling1D(), K.Dense(2)
    model = network((3,), layers.LIF(**NEURON), mean, last_weights)
    outputs = simulate(to_nir(model, DT), counts(3), DT)["output"]
    ours = to_numpy(model(counts(3)))
    np.testing.assert_allclose(outputs.mean(1), ours, atol=1e-6)


REFUSED = {
    "it has an activation": ((3,), K.Dense(2, activation="relu")),
    "of type MaxPooling2D": (IMAGE, each(K.MaxPooling2D(2))),
    "of type BNTT": ((3,), layers.BNTT(6)),
    "of type AdaptiveLIF": ((3,), layers.AdaptiveLIF()),
    "its reset is 'none'": ((3,), layers.LIF(reset="none")),
    "a graph has no masks": ((3,), K.Masking()),
    "sequence of its outputs": ((3,), layers.LIF(return_sequences=False)),
    "alone, in order": ((3,), layers.LIF(go_backwards=True)),
    "pads the two sides differently": (
        (6, 6, 2),
        each(K.Conv2D(3, 3, 2, padding="same")),
    ),
    "last squares are cut off": (
        (7, 7, 2),
        each(K.AveragePooling2D(3, padding="same")),
    ),
    "infers wrong shapes": (IMAGE, each(K.Conv2D(3, (2, 3)))),
    "its padding is 'causal'": (
        (7, 2),
        each(K.Conv1D(3, 3, padding="causal")),
    ),
    "its inputs are not vectors": (IMAGE, K.Dense(2)),
    "after padding with zeros": (
        IMAGE,
        each(keras.Sequential([K.ZeroPadding2D(1), K.Flatten()])),
    ),
    "a different number to each pixel": (
        IMAGE,
        K.Rescaling(1.0, sixteenths(*IMAGE).tolist()),
    ),
    "is not the channel axis": (IMAGE, K.BatchNormalization(axis=3)),
    "moved or flattened": (IMAGE, each(K.Flatten())),
    "`k` of layer 'mixed' must be below 1": (
        (2,),
        layers.LIF([1.0, 0.5], name="mixed"),
    ),
    "`alpha` of layer": ((2,), layers.CubaLIF(alpha=1.0)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_nir_cannot_express_is_refused(message):
    shape, layer = REFUSED[message]
    inputs = keras.Input((6, *shape))
    with pytest.raises(ValueError, match=message):
        to_nir(keras.Model(inputs, layer(inputs)))


def test_neurons_after_a_mean_over_time_are_refused():
    inputs = keras.Input((6, 3))
    mean = keras.ops.expand_dims(K.GlobalAveragePooling1D()(inputs), 1)
    model = keras.Model(inputs, layers.LIF()(mean))
    with pytest.raises(ValueError, match="after a mean over time"):
        to_nir(model)


def test_a_tensor_added_to_itself_is_refused():
    inputs = keras.Input((6, 3))
    with pytest.raises(ValueError, match="must add different tensors"):
        to_nir(keras.Model(inputs, inputs + inputs))


def test_images_of_unknown_size_are_refused():
    inputs = keras.Input((6, None, None, 2))
    model = keras.Model(inputs, layers.LIF()(inputs))
    with pytest.raises(ValueError, match="must know the shape"):
        to_nir(model)


def test_a_model_without_graph_is_refused():
    with pytest.raises(ValueError, match="must be a functional model"):
        to_nir(keras.Sequential([K.Dense(2)]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    inputs = keras.Input((3, 2))
    model = keras.Model(inputs, keras.layers.Dense(2, name="d")(inputs))
    model.layers[-1].bias.assign([0.0, value])
    with pytest.raises(ValueError, match="finite weights.*at node 'd'"):
        to_nir(model)
