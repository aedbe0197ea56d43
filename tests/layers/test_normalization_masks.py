"""Batch normalization: masks, and inputs that are refused."""

import keras
import numpy as np
import pytest
import reference
from backend import (
    to_numpy,
)
from keras import ops

from keras_snn.layers import BNTT, TDBN

TIMESTEPS = 5
# Statistics of 4 to 180 float32 terms, in another order of operations.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
both = pytest.mark.parametrize(
    "make",
    [lambda **kw: BNTT(TIMESTEPS, **kw), lambda **kw: TDBN(0.5, **kw)],
    ids=["BNTT", "TDBN"],
)
# Axes over which statistics are taken, for channels last and first.
AXES = {
    ("BNTT", -1): (0, 2, 3),
    ("BNTT", 2): (0, 3, 4),
    ("TDBN", -1): (0, 1, 2, 3),
    ("TDBN", 2): (0, 1, 3, 4),
}


def axes_of(layer):
    return AXES[type(layer).__name__, layer.axis]


@pytest.fixture
def images(rng):
    """Every timestep and channel has a mean and a scale of its own."""
    shape = (4, TIMESTEPS, 3, 3, 2)
    scale = np.arange(1, 2 * TIMESTEPS + 1).reshape(TIMESTEPS, 1, 1, 2)
    return (scale * (rng.normal(size=shape) + 1)).astype("float32")


def test_masked_as_keras_batch_normalization_where_that_takes_masks(rng):
    x = rng.normal(size=(6, TIMESTEPS, 2)).astype("float32")
    mask = rng.random((6, TIMESTEPS)) < 0.5
    theirs = keras.layers.BatchNormalization()
    ours = TDBN(theta=1.0, epsilon=1e-3, momentum=0.99)
    np.testing.assert_allclose(
        to_numpy(ours(x, training=True, mask=mask)),
        to_numpy(theirs(x, training=True, mask=mask)),
        **CLOSE,
    )
    np.testing.assert_allclose(
        to_numpy(ours.moving_variance),
        to_numpy(theirs.moving_variance),
        **CLOSE,
    )


@both
def test_statistics_leave_out_what_is_masked(images, make, rng):
    mask = rng.random((4, TIMESTEPS)) < 0.5
    mask[0] = True
    layer = make()
    expected, mean, variance = reference.batch_norm(
        images, axes_of(layer), layer.epsilon, mask
    )
    factor = 0.5 if isinstance(layer, TDBN) else 1
    output = to_numpy(layer(images, training=True, mask=mask))
    np.testing.assert_allclose(output, factor * expected, **CLOSE)
    for moving, initial, value in (
        (layer.moving_mean, 0, mean),
        (layer.moving_variance, 1, variance),
    ):
        np.testing.assert_allclose(
            to_numpy(moving), 0.9 * initial + 0.1 * np.squeeze(value), **CLOSE
        )
    # What is there does not count, whatever it is.
    images[~mask] = np.nan
    again = to_numpy(make()(images, training=True, mask=mask))
    np.testing.assert_allclose(again[mask], output[mask], **CLOSE)


def test_a_timestep_masked_everywhere_keeps_its_statistics(images):
    mask = np.ones((4, TIMESTEPS), bool)
    mask[:, 3:] = False
    layer = BNTT(TIMESTEPS)
    layer(images, training=True)
    before = to_numpy(layer.moving_mean), to_numpy(layer.moving_variance)
    output = to_numpy(layer(2 * images, training=True, mask=mask))
    for moving, old in zip(
        (layer.moving_mean, layer.moving_variance), before, strict=True
    ):
        np.testing.assert_allclose(to_numpy(moving)[3:], old[3:], rtol=1e-6)
        assert (to_numpy(moving)[:3] != old[:3]).all()
    assert np.isfinite(output).all()


@both
def test_a_mask_is_found_and_goes_on(rng, make):
    x = rng.normal(size=(4, TIMESTEPS, 2)).astype("float32")
    x[2, 3:] = 0
    mask = (x != 0).any(-1)
    masked = keras.layers.Masking()(x)
    layer = make()
    expected = to_numpy(make()(x, training=True, mask=mask))
    output = layer(masked, training=True)
    np.testing.assert_array_equal(to_numpy(output), expected)
    # Keras hangs the mask on the tensor.
    after = layer.compute_mask(masked, ops.convert_to_tensor(mask))
    np.testing.assert_array_equal(to_numpy(after), mask)


def test_another_number_of_timesteps_is_refused(images):
    match = r"`BNTT` was made for timesteps=5. Received: timesteps=4, shape="
    layer = BNTT(TIMESTEPS)
    with pytest.raises(ValueError, match=match):
        layer(images[:, :4])
    layer(images)
    with pytest.raises(ValueError, match=match):
        layer(images[:, :4])
    with pytest.raises(ValueError, match=match):
        layer(keras.Input((4, 3, 3, 2)))
    with pytest.raises(ValueError, match=match):
        layer.compute_output_shape((None, 4, 3, 3, 2))


@pytest.mark.parametrize("timesteps", [4, 1])
def test_another_number_of_timesteps_is_refused_in_a_graph(images, timesteps):
    inputs = keras.Input((None, 3, 3, 2))
    model = keras.Model(inputs, BNTT(TIMESTEPS)(inputs))
    model.predict(images, verbose=0)
    error = ValueError
    match = f"`BNTT` was made for timesteps=5.*timesteps={timesteps},"
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        # Keras's graph is that of any number of timesteps by now.
        error = tf.errors.InvalidArgumentError
        shapes = (
            rf"\[4,{timesteps},3,3,2\] is not .*expected shape \[4,5,3,3,2\]"
        )
        match = rf"(?s){shapes}.*bntt"
    with pytest.raises(error, match=match):
        model.predict(images[:, :timesteps], verbose=0)


@both
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epsilon": 0}, ValueError, "`epsilon` must be above 0. .*epsilon=0"),
        (
            {"momentum": 1.5},
            ValueError,
            r"`momentum` must be in \[0, 1\]. Received: momentum=1.5",
        ),
        (
            {"momentum": "a"},
            TypeError,
            r"`momentum` must be a number in \[0, 1",
        ),
        ({"axis": 1.0}, TypeError, "`axis` must be an integer. .*axis=1.0"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(make, change, error, message):
    with pytest.raises(error, match=message):
        make(**change)


def test_bad_arguments_of_one_layer_are_refused():
    with pytest.raises(ValueError, match="`timesteps` must be at least 1. "):
        BNTT(0)
    with pytest.raises(ValueError, match="`theta` must be above 0. .*theta=0"):
        TDBN(0)
    with pytest.raises(ValueError, match="`alpha` must be above 0. .*alpha=-1"):
        TDBN(1, alpha=-1)


@both
def test_shapes_that_do_not_fit_are_refused(images, make):
    with pytest.raises(ValueError, match="at least one timestep, of shape"):
        make()(images[:, 0, 0, 0])
    for axis in (0, 1, 5, -4):
        match = rf"`axis` must be a channel axis.*axis={axis}, shape="
        with pytest.raises(ValueError, match=match):
            make(axis=axis)(images)
    with pytest.raises(ValueError, match="expects a fixed number of channels"):
        make()(keras.Input((TIMESTEPS, None)))
    with pytest.raises(ValueError, match=r"`mask` must have shape .4, 5.\."):
        make()(images, training=True, mask=np.ones((4, 4), bool))
