"""`step_model` of networks that begin with an encoder with a clock or a state.

The encoders themselves are tested against closed forms elsewhere. Here, the
steps must give what the encoder gives for the whole sequence.
"""

import keras
import numpy as np
import pytest

from keras_snn import encoders, layers
from keras_snn.models import step_model
from tests.backend import to_numpy

TIMESTEPS = 6
ENCODERS = [
    encoders.RetinaEncoder(TIMESTEPS),
    encoders.RetinaEncoder(TIMESTEPS, reset="subtract"),
    encoders.LatencyEncoder(TIMESTEPS),
    encoders.LatencyEncoder(TIMESTEPS, mode="logarithmic"),
]


def in_steps(model, frames):
    return np.stack([to_numpy(x) for x in step_model(model).stream(frames)], 1)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda x: type(x).__name__)
def test_an_encoder_of_images_counts_timesteps(encoder, rng):
    inputs = keras.Input((4, 5), dtype="uint8")
    model = keras.Model(inputs, encoder(inputs))
    images = rng.integers(0, 256, (3, 4, 5)).astype("uint8")
    whole = to_numpy(model(images))
    assert 0 < whole.mean() < 1
    assert (whole[:, 0] != whole[:, 1]).any()
    found = in_steps(model, [images] * (TIMESTEPS + 2))
    np.testing.assert_array_equal(found[:, :TIMESTEPS], whole)
    assert not found[:, TIMESTEPS:].any()


def test_a_network_behind_an_encoder_streams(rng):
    inputs = keras.Input((20,))
    x = encoders.LatencyEncoder(TIMESTEPS)(inputs)
    x = layers.LIF(k=0.5, lam=2.0)(keras.layers.Dense(8, "relu")(x))
    model = keras.Model(inputs, x)
    images = rng.random((2, 20)).astype("float32")
    whole = to_numpy(model(images))
    assert 0 < whole.mean() < 1
    np.testing.assert_array_equal(in_steps(model, [images] * TIMESTEPS), whole)


def test_changes_of_a_series_stream(tmp_path, rng):
    inputs = keras.Input((TIMESTEPS, 3))
    model = keras.Model(inputs, encoders.DeltaEncoder(0.5)(inputs))
    # The first value differs between samples, and one step exceeds many levels.
    series = np.cumsum(rng.normal(size=(4, TIMESTEPS, 3)), 1).astype("float32")
    series[0, 2:] += 10
    series[1, 1, 0] = series[2, 0, 1] = np.nan
    whole = to_numpy(model(series))
    assert 0 < np.nanmean(whole) < 1
    np.testing.assert_array_equal(in_steps(model, series.swapaxes(0, 1)), whole)

    step_model(model).save(tmp_path / "step.keras")
    loaded = keras.saving.load_model(tmp_path / "step.keras")
    found = [to_numpy(x) for x in loaded.stream(series.swapaxes(0, 1))]
    np.testing.assert_array_equal(np.stack(found, 1), whole)


def test_a_stream_may_branch(rng):
    inputs = keras.Input((TIMESTEPS, 3))
    model = keras.Model(inputs, encoders.DeltaEncoder(0.5)(inputs))
    step = step_model(model)
    first, second = (
        keras.ops.convert_to_tensor(rng.normal(size=(4, 3)), "float32")
        for _ in "ab"
    )
    _, *states = step([first, *step.initial_states(4)])
    kept = [np.array(to_numpy(x)) for x in states]
    once, again = (to_numpy(step([second, *states])[0]) for _ in "ab")
    assert once.any()
    np.testing.assert_array_equal(again, once)
    for state, before in zip(states, kept, strict=True):
        np.testing.assert_array_equal(to_numpy(state), before)
