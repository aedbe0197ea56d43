"""Time folded into the batch."""

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn.layers import FoldTime, PerTimestep, UnfoldTime


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
