import keras
import numpy as np
import pytest
import reference
from backend import to_numpy

from keras_snn.encoders import DeltaEncoder
from keras_snn.layers import LIF


def up_and_down(series, threshold, mask=None):
    spikes = to_numpy(DeltaEncoder(threshold)(series, mask=mask))
    return np.split(spikes, 2, axis=-1)


@pytest.fixture
def series(rng):
    """Steps of up to four thresholds of 1/4, exact in float32."""
    steps = rng.integers(-16, 17, (4, 30, 3))
    return (np.cumsum(steps, axis=1) / 16).astype("float32")


def test_delta_agrees_with_the_reference(series):
    expected = reference.delta(series, 0.25)
    assert min(x.sum() for x in expected) > 50
    np.testing.assert_array_equal(up_and_down(series, 0.25), expected)


def test_the_level_stays_near_a_slow_series(rng):
    steps = rng.uniform(-0.1, 0.1, (4, 300, 3))
    series = np.cumsum(steps, axis=1).astype("float32")
    up, down = up_and_down(series, 0.1)
    level = series[:, :1] + 0.1 * np.cumsum(up - down, axis=1)
    # The tolerance is a float32 rounding of sums of order 1.
    assert abs(series - level).max() < 0.1 + 1e-5


def test_a_slow_drift_is_noticed():
    # It never changes by the threshold within a timestep.
    series = np.arange(33, dtype="float32").reshape(1, 33, 1) / 16
    up, down = up_and_down(series, 0.5)
    assert np.flatnonzero(up).tolist() == [8, 16, 24, 32]
    assert not down.any()


def test_a_jump_is_made_up_for_over_several_timesteps():
    series = np.array([0, 3, 3, 3, 3, 3], "float32").reshape(1, 6, 1)
    up, _ = up_and_down(series, 1.0)
    assert up.ravel().tolist() == [0, 1, 1, 1, 0, 0]


def test_only_changes_are_encoded(series):
    np.testing.assert_array_equal(
        up_and_down(series + 8, 0.25), up_and_down(series, 0.25)
    )


def test_delta_encodes_frames_of_any_shape(series):
    frames = series.reshape(4, 30, 1, 3, 1).repeat(2, axis=-1)
    spikes = DeltaEncoder(0.25)(frames)
    assert tuple(spikes.shape) == (4, 30, 1, 3, 4)
    up, down = (x[:, :, None, :, None] for x in reference.delta(series, 0.25))
    np.testing.assert_array_equal(
        to_numpy(spikes), np.concatenate([up, up, down, down], axis=-1)
    )


@pytest.mark.parametrize("padding", ["before", "inside", "after"])
def test_masked_timesteps_send_nothing_and_keep_the_level(series, padding):
    mask = np.ones((4, 30), "bool")
    places = {"before": slice(0, 7), "inside": slice(9, 14)}
    mask[1, places.get(padding, slice(20, 30))] = False
    mask[2] = False
    # Padding is often NaN.
    padded = np.where(mask[..., None], series, np.float32("nan"))
    np.testing.assert_array_equal(
        up_and_down(padded, 0.25, mask), reference.delta(series, 0.25, mask)
    )


def test_a_mask_reaches_the_neurons_behind_the_encoder(series):
    series[0, 20:] = 0
    inputs = keras.Input((None, 3))
    x = DeltaEncoder(0.25)(keras.layers.Masking()(inputs))
    _, potential = LIF(k=1.0, lam=1.0, theta=1e3, return_state=True)(x)
    found = keras.Model(inputs, potential).predict(series, verbose=0)
    mask = (series != 0).any(-1)
    # Without leak, reset or spikes, potentials count the spikes.
    expected = np.concatenate(reference.delta(series, 0.25, mask), axis=-1)
    np.testing.assert_array_equal(found, expected.sum(1))


def test_series_may_have_any_length_and_batch_size(series):
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, DeltaEncoder(0.25)(inputs))
    compiled = keras.config.backend() != "torch"
    model.compile(jit_compile=compiled)
    assert model.output_shape == (None, None, 6)
    for length in (1, 30):
        part = series[:, :length]
        found = model.predict(part, batch_size=3, verbose=0)
        expected = np.concatenate(reference.delta(part, 0.25), axis=-1)
        np.testing.assert_array_equal(found, expected)


def test_no_series_give_no_spikes():
    assert tuple(DeltaEncoder(1.0)(np.ones((0, 5, 3))).shape) == (0, 5, 6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_delta_is_as_exact_in_half_precision(series, policy):
    # Half precision would lose the sixteenths.
    spikes = DeltaEncoder(0.25, dtype=policy)(series + 1000)
    dtype = keras.backend.standardize_dtype(spikes.dtype)
    assert dtype == policy.removeprefix("mixed_")
    np.testing.assert_array_equal(
        to_numpy(spikes),
        np.concatenate(reference.delta(series, 0.25), axis=-1),
    )


def test_integers_are_encoded(rng):
    counts = rng.integers(0, 9, (2, 20, 3))
    np.testing.assert_array_equal(
        up_and_down(counts, 2.0), reference.delta(counts, 2)
    )


def test_nan_stays_where_it_is(series):
    damaged = series.copy()
    damaged[1, 5, 2] = np.nan
    expected = np.stack(up_and_down(series, 0.25))
    found = np.stack(up_and_down(damaged, 0.25))
    assert np.argwhere(np.isnan(found)).tolist() == [[0, 1, 5, 2], [1, 1, 5, 2]]
    same = np.ones(expected.shape, "bool")
    same[:, 1, 5:, 2] = False
    np.testing.assert_array_equal(found[same], expected[same])


@pytest.mark.parametrize(
    ("threshold", "error"),
    [(0, ValueError), (-1, ValueError), ("1", TypeError)],
)
def test_impossible_thresholds_are_refused(threshold, error):
    with pytest.raises(error, match="`threshold` must be .*above 0. Received"):
        DeltaEncoder(threshold)


def test_a_series_has_a_time_axis():
    with pytest.raises(ValueError, match="`DeltaEncoder` expects .* time axis"):
        DeltaEncoder(1.0)(np.ones((2, 5)))
    used = DeltaEncoder(1.0)
    used(np.ones((1, 3, 2)))
    with pytest.raises(ValueError, match="`DeltaEncoder` expects .* time axis"):
        used(np.ones((1, 0, 2)))
    with pytest.raises(ValueError, match="`DeltaEncoder` expects .* time axis"):
        used(keras.Input((0, 2)))


def test_a_mask_has_one_value_per_timestep(series):
    with pytest.raises(ValueError, match=r"`mask` must have shape \(4, 30\)"):
        DeltaEncoder(1.0)(series, mask=np.ones((4, 29), "bool"))
