"""Batch normalization: masks, empty batches, float64, bad arguments."""

import keras
import numpy as np
import pytest
import reference
from backend import gradients, to_numpy
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
        np.testing.assert_array_equal(to_numpy(moving)[3:], old[3:])
        assert (to_numpy(moving)[:3] != old[:3]).all()
    assert np.isfinite(output).all()


synchronized = pytest.mark.parametrize(
    "synchronized", [False, True], ids=["", "synchronized"]
)
masked = pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])


@both
@synchronized
@masked
@pytest.mark.parametrize("samples", [0, 4])
def test_nothing_to_average_keeps_the_statistics(
    images, make, synchronized, masked, samples
):
    if samples and not masked:
        images = images[:, :, :0]  # images without rows
    layer = make(synchronized=synchronized)
    layer.build((None, *images.shape[1:]))
    for moving in (layer.moving_mean, layer.moving_variance):
        values = np.linspace(0.1, 0.7, moving.shape[-1])
        moving.assign(np.broadcast_to(values, moving.shape))
    before = layer.get_weights()
    mask = np.zeros((samples, TIMESTEPS), bool) if masked else None
    output = layer(images[:samples], training=True, mask=mask)
    assert tuple(output.shape) == images[:samples].shape
    assert np.isfinite(to_numpy(output)).all()
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@both
@synchronized
@masked
def test_no_samples_in_a_graph_of_any_batch_size(
    images, make, synchronized, masked
):
    if keras.config.backend() != "tensorflow":
        pytest.skip("Other backends know the number of samples")
    import tensorflow as tf

    layer = make(synchronized=synchronized)
    layer.build(images.shape)
    before = layer.get_weights()

    @tf.function(input_signature=[tf.TensorSpec((None, *images.shape[1:]))])
    def train(x):
        mask = tf.ones(tf.shape(x)[:2], bool) if masked else None
        return layer(x, training=True, mask=mask)

    assert train(images[:0]).shape == images[:0].shape
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    train(images)
    assert all(np.isfinite(weight).all() for weight in layer.get_weights())
    assert (layer.get_weights()[-2] != before[-2]).all()


@both
@masked
def test_one_replica_alone_is_synchronized(images, make, masked, rng):
    mask = rng.random((4, TIMESTEPS)) < 0.5 if masked else None
    one, other = make(), make(synchronized=True)
    np.testing.assert_allclose(
        to_numpy(other(images, training=True, mask=mask)),
        to_numpy(one(images, training=True, mask=mask)),
        **CLOSE,
    )
    for ours, theirs in zip(
        other.get_weights(), one.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, **CLOSE)


@both
@synchronized
@masked
@pytest.mark.usefixtures("double_precision")
def test_float64_is_computed_in_float64(make, rng, synchronized, masked):
    layer = make(dtype="float64", synchronized=synchronized)
    x = 1000 + rng.normal(size=(4, TIMESTEPS, 3, 3, 2))
    mask = rng.random((4, TIMESTEPS)) < 0.7 if masked else None
    found = layer(x, training=True, mask=mask)
    assert keras.backend.standardize_dtype(found.dtype) == "float64"
    expected, mean, variance = reference.batch_norm(
        x, axes_of(layer), layer.epsilon, mask
    )
    factor = 0.5 if isinstance(layer, TDBN) else 1.0
    # A rounding error of 1000 is 1e-13, and divided by deviations of about 1.
    close = {"rtol": 0, "atol": 1e-11}
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), factor * expected, **close
    )
    for moving, initial, value in (
        (layer.moving_mean, 0, mean),
        (layer.moving_variance, 1, variance),
    ):
        moved = 0.9 * initial + 0.1 * np.squeeze(value)
        np.testing.assert_allclose(ops.convert_to_numpy(moving), moved, **close)
    inferred = layer(x, training=False, mask=mask)
    assert keras.backend.standardize_dtype(inferred.dtype) == "float64"


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
        (
            {"synchronized": 1},
            ValueError,
            "`synchronized` must be one of False, True. .*synchronized=1",
        ),
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


@pytest.mark.parametrize("kind", [lambda: BNTT(4), lambda: TDBN(1.0)])
@pytest.mark.parametrize("padding", [np.nan, np.inf])
def test_padding_of_nan_does_not_reach_gradients(kind, padding, rng):
    layer = kind()
    layer.build((3, 4, 2))
    weights = [to_numpy(w) for w in layer.trainable_variables]
    fixed = [ops.convert_to_tensor(v) for v in layer.non_trainable_variables]
    mask = rng.random((3, 4)) < 0.6
    at_output = rng.normal(size=(3, 4, 2)) * mask[..., None]

    def function(x, *weights):
        output, _ = layer.stateless_call(
            list(weights),
            fixed,
            x,
            training=True,
            mask=ops.convert_to_tensor(mask),
        )
        # A loss that leaves out what is masked.
        return (ops.where(mask[..., None], output, 0.0),)

    x = rng.normal(size=(3, 4, 2)).astype("float32")
    found = [
        gradients(
            function,
            [np.where(mask[..., None], x, y).astype("float32"), *weights],
            [at_output.astype("float32")],
        )
        for y in (0.0, padding)
    ]
    for expected, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
