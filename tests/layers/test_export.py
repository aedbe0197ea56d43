"""Networks outside of Keras: SavedModel, and `torch.export`."""

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn.layers import LIF
from keras_snn.models import five_layer_snn


@pytest.fixture(params=["layer", "network"])
def exported(request, rng):
    """A model and inputs for it."""
    if request.param == "layer":
        model = keras.Sequential(
            [keras.Input((4, 5)), keras.layers.Dense(3), LIF(lam=2.0)]
        )
        return model, rng.normal(size=(2, 4, 5)).astype("float32")
    model = five_layer_snn(
        (8, 8, 1), timesteps=8, width=1 / 4, encoder="retina", seed=0
    )
    return model, rng.random((2, 8, 8, 1)).astype("float32")


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="TensorFlow's format"
)
def test_a_saved_model_computes_the_same(exported, tmp_path):
    import tensorflow as tf

    model, x = exported
    expected = to_numpy(model(x))
    assert np.ptp(expected) > 0
    model.export(tmp_path / "saved", verbose=False)
    saved = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_array_equal(saved.serve(x), expected)


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="graphs are TensorFlow's"
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_second_derivatives_in_a_graph_are_refused_when_it_runs(jit_compile):
    import tensorflow as tf

    layer = LIF(lam=1.0)

    @tf.function(jit_compile=jit_compile)
    def second(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                total = tf.reduce_sum(layer(x) ** 2)
            first = inner.gradient(total, x)
        return outer.gradient(first, x)

    x = tf.ones((2, 4, 3))
    if jit_compile:  # XLA drops assertions.
        assert np.isnan(second(x)).all()
    else:
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="first derivatives only"
        ):
            second(x)


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="torch.export is PyTorch's"
)
def test_an_exported_program_computes_the_same(exported):
    import torch

    model, x = exported
    x = torch.tensor(x)
    with torch.no_grad():
        expected = to_numpy(model(x))
        program = torch.export.export(model, (x,)).module()
        np.testing.assert_array_equal(to_numpy(program(x)), expected)
