"""Time folded into the batch."""

import keras
import numpy as np
import pytest
from backend import to_numpy
from keras import layers, ops

from keras_snn.encoders import DeltaEncoder
from keras_snn.layers import (
    BNTT,
    LIF,
    TDBN,
    FoldTime,
    LIFRNNCell,
    PerTimestep,
    UnfoldTime,
)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: keras.layers.Dense(5), (2, 6, 3)),
        (lambda: keras.layers.Conv2D(4, 3), (2, 6, 8, 8, 3)),
        (lambda: keras.layers.AveragePooling2D(2), (2, 6, 8, 8, 3)),
        (lambda: keras.layers.Flatten(), (2, 6, 8, 8, 3)),
    ],
    ids=["dense", "conv", "pool", "flatten"],
)
def test_per_timestep_is_time_distributed(rng, layer, shape):
    x = rng.random(shape).astype("float32")
    inner = layer()
    ours = PerTimestep(inner)(x)
    theirs = keras.layers.TimeDistributed(inner)(x)
    assert ours.shape == theirs.shape
    # One convolution of 12 samples against 6 of 2: sums in another order.
    np.testing.assert_allclose(
        to_numpy(ours), to_numpy(theirs), rtol=1e-5, atol=1e-6
    )


def test_per_timestep_passes_the_training_flag():
    layer = PerTimestep(keras.layers.Dropout(0.5))
    x = np.ones((2, 3, 100), "float32")
    assert to_numpy(layer(x, training=False)).min() == 1
    assert to_numpy(layer(x, training=True)).min() == 0


def padded(features):
    """Timesteps of 4, 4 and 6, whose mean is 14/3, then 0 as padding."""
    x = np.array([4, 4, 6, 0], "float32").reshape(1, 4, *[1] * len(features))
    return np.broadcast_to(x, (3, 4, *features)).copy()


def copies(units):
    return layers.Dense(units, kernel_initializer="identity")


def functional(normalization):
    inputs = keras.Input((5,))
    return keras.Model(inputs, normalization(inputs))


@pytest.mark.parametrize(
    ("wrap", "features", "axis"),
    [
        (lambda x: x, (5,), -1),
        (lambda x: x, (2, 3, 5), -1),
        (lambda x: x, (5, 2, 3), 1),
        (lambda x: keras.Sequential([copies(5), x]), (5,), -1),
        (lambda x: keras.Sequential([x, copies(5)]), (2, 3, 5), -1),
        (functional, (5,), -1),
    ],
    ids=["", "images", "channels_first", "behind", "before", "functional"],
)
def test_a_normalization_does_not_count_padding(wrap, features, axis):
    # Without the mask, the mean is 3.5.
    inner = layers.BatchNormalization(axis, momentum=0.0)
    x = padded(features)
    mask = ops.convert_to_tensor(x.reshape(3, 4, -1).any(-1))
    PerTimestep(wrap(inner))(x, mask=mask, training=True)
    np.testing.assert_allclose(to_numpy(inner.moving_mean), 14 / 3, rtol=1e-6)
    variance = np.var([4, 4, 6])
    found = to_numpy(inner.moving_variance)
    np.testing.assert_allclose(found, variance, rtol=1e-5)


def test_a_mask_passes_through_to_the_neurons():
    inputs = keras.Input((4, 5))
    x = layers.Masking()(inputs)
    inner = layers.BatchNormalization(momentum=0.0, scale=False)
    x = PerTimestep(inner)(x)
    neurons = LIF(0.5, 1.0, 0.5, return_state=True)
    model = keras.Model(inputs, neurons(x))
    x = padded((5,))
    spikes, _ = model(x, training=True)
    np.testing.assert_allclose(to_numpy(inner.moving_mean), 14 / 3, rtol=1e-6)
    # In standard deviations from the mean, 4, 4 and 6 are -0.7, -0.7 and 1.4.
    # The padding repeats the spike. Its own current would give none.
    assert to_numpy(spikes)[0, :, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "inner",
    [
        layers.Softmax,
        layers.GlobalAveragePooling1D,
        lambda: keras.Sequential([layers.Dense(2), layers.Softmax()]),
        lambda: keras.Sequential([layers.Conv1D(2, 1), layers.ReLU()]),
    ],
    ids=["softmax", "average", "softmax inside", "convolution"],
)
@pytest.mark.filterwarnings("error::UserWarning")
def test_layers_whose_mask_means_something_else_get_none(inner):
    layer = PerTimestep(inner())
    x = padded((2, 5))
    found = layer(x, mask=ops.convert_to_tensor(x.any((2, 3))))
    np.testing.assert_array_equal(to_numpy(found), to_numpy(layer(x)))


def two_inputs():
    """A model with a dictionary in and out."""
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    outputs = {"both": layers.Concatenate()([a, b]), "b": copies(3)(b)}
    return keras.Model({"a": a, "b": b}, outputs)


def test_lists_and_dictionaries_go_in_and_come_out(rng):
    a, b = rng.random((4, 6, 2)), rng.random((4, 6, 3))
    a, b = a.astype("float32"), b.astype("float32")
    expected = np.concatenate([a, b], axis=-1)
    joined = PerTimestep(layers.Concatenate())
    np.testing.assert_array_equal(to_numpy(joined([a, b])), expected)
    assert joined.compute_output_shape([(4, 6, 2), (4, 6, 3)]) == (4, 6, 5)
    first, second = keras.Input((6, 2)), keras.Input((6, 3))
    model = keras.Model(
        [first, second],
        PerTimestep(two_inputs())({"a": first, "b": second}),
    )
    assert model.output["both"].shape == (None, 6, 5)
    found = model.predict([a, b], verbose=0)
    assert set(found) == {"both", "b"}
    np.testing.assert_array_equal(found["both"], expected)
    np.testing.assert_array_equal(found["b"], b)


def test_a_timestep_of_several_inputs_counts_where_all_masks_are_true():
    x = {"a": np.ones((1, 3, 2)), "b": np.ones((1, 3, 3))}
    a = ops.convert_to_tensor([[True, True, False]])
    b = ops.convert_to_tensor([[False, True, True]])
    layer = PerTimestep(two_inputs())
    masks = layer.compute_mask(x, {"a": a, "b": b})
    for name in ("both", "b"):
        assert to_numpy(masks[name]).tolist() == [[0, 1, 0]]
    masks = layer.compute_mask(x, {"a": None, "b": b})
    assert to_numpy(masks["both"]).tolist() == [[0, 1, 1]]
    assert layer.compute_mask(x, {"a": None, "b": None}) is None


def test_inputs_and_masks_that_do_not_fit_are_refused():
    layer = PerTimestep(layers.Concatenate())
    # As many samples once folded.
    with pytest.raises(ValueError, match=r"`inputs` must have shape .2, 6, 3"):
        layer([np.ones((2, 6, 2)), np.ones((3, 4, 3))])
    layer = PerTimestep(layers.BatchNormalization())
    with pytest.raises(ValueError, match=r"`mask` must have shape .2, 6."):
        layer(np.ones((2, 6, 3)), mask=np.ones((2, 5), bool))


@pytest.mark.parametrize(
    "layer",
    [
        LIF,
        lambda: BNTT(5),
        lambda: TDBN(1.0),
        lambda: layers.LSTM(3),
        lambda: layers.RNN(LIFRNNCell(3)),
        lambda: layers.Bidirectional(layers.GRU(3)),
        lambda: keras.Sequential([layers.Dense(3), LIF()]),
        FoldTime,
        lambda: UnfoldTime(2),
        lambda: DeltaEncoder(0.5),
    ],
)
def test_layers_that_need_the_time_axis_are_refused(layer):
    with pytest.raises(ValueError, match="`layer` must not need the time axis"):
        PerTimestep(layer())


def test_the_layer_inside_computes_in_its_own_dtype():
    inside = layers.Dense(3, kernel_initializer="ones", dtype="float32")
    layer = PerTimestep(inside, dtype="mixed_float16")
    assert layer(keras.Input((5, 4))).dtype == "float32"
    found = to_numpy(layer(np.full((2, 5, 4), 1 / 3, "float32")))
    # Float16 would be off by 2e-4.
    np.testing.assert_allclose(found, 4 / 3, rtol=1e-6)


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="TensorFlow's graph"
)
def test_per_timestep_keeps_the_static_shape_of_a_graph():
    import tensorflow as tf

    layer = PerTimestep(keras.layers.Dense(2))
    layer.build((None, 5, 3))
    graph = tf.function(layer).get_concrete_function(
        tf.TensorSpec((None, 5, 3), "float32")
    )
    assert graph.structured_outputs.shape.as_list() == [None, 5, 2]


@pytest.mark.parametrize("shape", [(2, 5, 4), (3, 4, 6, 7, 2), (0, 5, 4)])
def test_unfolding_undoes_folding(rng, shape):
    x = rng.random(shape).astype("float32")
    folded = FoldTime()(x)
    np.testing.assert_array_equal(to_numpy(folded), x.reshape(-1, *shape[2:]))
    np.testing.assert_array_equal(to_numpy(UnfoldTime(shape[1])(folded)), x)


def test_a_graph_knows_the_shapes_of_folded_time():
    inputs = keras.Input((5, 4))
    folded = FoldTime()(inputs)
    assert folded.shape == (None, 4)
    assert UnfoldTime(5)(folded).shape == (None, 5, 4)
    fixed = keras.Input(batch_shape=(2, 5, 4))
    assert FoldTime()(fixed).shape == (10, 4)
    assert UnfoldTime(5)(FoldTime()(fixed)).shape == (2, 5, 4)


def test_folding_without_a_time_axis_is_refused():
    with pytest.raises(ValueError, match="expects inputs with a time axis"):
        FoldTime()(np.ones((2, 3)))


def test_a_batch_that_is_no_multiple_is_refused():
    with pytest.raises(ValueError, match="batch 10, timesteps=4"):
        UnfoldTime(4)(np.ones((10, 3), "float32"))
