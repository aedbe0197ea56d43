"""A convolution with its bias inside the kernel equals Keras's."""

import keras
import numpy as np
import pytest
from backend import gradients, to_numpy

from keras_snn.layers import Conv2D


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "same"},
        {"padding": "same", "dilation_rate": 2},
        {"padding": "same", "strides": 2},
        {"strides": 2},
        {"groups": 2},
        {"use_bias": False},
        {"activation": "relu"},
    ],
    ids=str,
)
def test_it_is_keras_convolution(rng, options, data_format):
    if keras.config.backend() == "tensorflow":
        if data_format == "channels_first":
            pytest.skip("TensorFlow has no such gradient on CPUs")
        if "groups" in options:
            pytest.skip("TensorFlow has no such gradient on CPUs")
    options = options | {"data_format": data_format}
    first = data_format == "channels_first"
    x = rng.normal(size=(2, 4, 7, 8) if first else (2, 7, 8, 4))
    x = x.astype("float32")
    theirs = keras.layers.Conv2D(6, 3, bias_initializer="ones", **options)
    ours = Conv2D(6, 3, **options)
    theirs.build(x.shape)
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    expected = to_numpy(theirs(x))
    # Sums of 36 float32 terms, in another order.
    np.testing.assert_allclose(to_numpy(ours(x)), expected, atol=1e-5)
    weight = rng.normal(size=expected.shape).astype("float32")
    slopes = [
        gradients(lambda x, layer=layer: [layer(x)], [x], [weight])[0]
        for layer in (ours, theirs)
    ]
    np.testing.assert_allclose(*slopes, atol=1e-5)


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="only PyTorch has another way"
)
def test_pytorch_adds_the_bias_inside_the_kernel(rng, monkeypatch):
    layer = Conv2D(6, 3, data_format="channels_first")
    layer.build((None, 4, 8, 8))
    monkeypatch.setattr(keras.layers.Conv2D, "call", None)
    assert tuple(layer(rng.normal(size=(2, 4, 8, 8))).shape) == (2, 6, 6, 6)


def test_images_with_a_time_axis_get_a_message_that_names_per_timestep(rng):
    layer = Conv2D(6, 3)
    match = r"use `PerTimestep\(Conv2D\(...\)\)`. Received: shape=\((2|None), 5"
    for _ in range(2):
        with pytest.raises(ValueError, match=match):
            layer(keras.Input((5, 8, 8, 1)))
        with pytest.raises(ValueError, match=match):
            layer(rng.random((2, 5, 8, 8, 1)))
        layer(rng.random((2, 8, 8, 1)))  # The second time it is built.
