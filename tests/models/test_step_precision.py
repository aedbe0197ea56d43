"""Networks of one timestep in other dtypes."""

import keras
import numpy as np
from backend import to_numpy

from keras_snn import layers, step_model

TIMESTEPS = 6


def test_networks_stream_in_double_precision(rng, double_precision):
    inputs = keras.Input((TIMESTEPS, 4), dtype="float64")
    options = {"dtype": "float64"}
    # No dense layer: Keras's products are not exact on PyTorch.
    x = layers.FoldTime(**options)(inputs)
    x = layers.UnfoldTime(TIMESTEPS, **options)(x)
    x = layers.LeakyIntegrator(**options)(x)
    mean = keras.layers.GlobalAveragePooling1D(**options)(x)
    model = keras.Model(inputs, mean)
    x = rng.normal(size=(3, TIMESTEPS, 4))
    *_, found = step_model(model).stream(x.swapaxes(0, 1))
    found = to_numpy(found)
    assert found.dtype == "float64"
    expected, potential = 0, 0
    for current in np.moveaxis(x, 1, 0):
        potential = 0.8 * potential + 0.2 * current
        expected += potential / TIMESTEPS
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_mean_over_many_timesteps_is_not_rounded_to_half_precision(rng):
    options = {"dtype": "mixed_float16"}
    inputs = keras.Input((None, 2))
    outputs = keras.layers.GlobalAveragePooling1D(**options)(inputs)
    step = step_model(keras.Model(inputs, outputs))
    x = (rng.random((3000, 1, 2)) < 0.75).astype("float32")
    states = step.initial_states(1)
    for each in x:
        output, *states = step([keras.ops.convert_to_tensor(each), *states])
    assert {keras.backend.standardize_dtype(s.dtype) for s in states} == {
        "float32"
    }
    # Half precision counts up to 2048.
    np.testing.assert_allclose(to_numpy(output), x.mean(0), rtol=1e-3)
