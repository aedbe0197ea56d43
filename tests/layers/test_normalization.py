"""Batch normalization of sequences, against Keras, PyTorch and NumPy."""

import keras
import numpy as np
import pytest
import reference
from backend import (
    gradients,
    in_torch,
    needs_torch,
    operations,
    to_numpy,
)
from keras import ops

from keras_snn.layers import BNTT, LIF, TDBN, PerTimestep, Recompute

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


@pytest.fixture
def images(rng):
    """Every timestep and channel has a mean and a scale of its own."""
    shape = (4, TIMESTEPS, 3, 3, 2)
    scale = np.arange(1, 2 * TIMESTEPS + 1).reshape(TIMESTEPS, 1, 1, 2)
    return (scale * (rng.normal(size=shape) + 1)).astype("float32")


def axes_of(layer):
    return AXES[type(layer).__name__, layer.axis]


def steps_in_training(layer, batches):
    return [to_numpy(layer(batch, training=True)) for batch in batches]


@pytest.mark.parametrize("shape", [(4, 5, 2), (4, 5, 3, 3, 2)])
def test_bntt_is_one_keras_batch_normalization_per_timestep(rng, shape):
    batches = 3 + 2 * rng.normal(size=(3, *shape)).astype("float32")
    layer = BNTT(TIMESTEPS)
    separate = [
        keras.layers.BatchNormalization(
            center=False, epsilon=1e-4, momentum=0.9
        )
        for _ in range(TIMESTEPS)
    ]
    ours = steps_in_training(layer, batches)
    theirs = [
        steps_in_training(each, batches[:, :, t])
        for t, each in enumerate(separate)
    ]
    np.testing.assert_allclose(ours, np.stack(theirs, axis=2), **CLOSE)
    for name in ("moving_mean", "moving_variance"):
        np.testing.assert_allclose(
            to_numpy(getattr(layer, name)),
            [to_numpy(getattr(each, name)) for each in separate],
            **CLOSE,
        )
    inferred = [
        to_numpy(each(batches[0, :, t], training=False))
        for t, each in enumerate(separate)
    ]
    np.testing.assert_allclose(
        to_numpy(layer(batches[0], training=False)),
        np.stack(inferred, axis=1),
        **CLOSE,
    )


TORCH = """
batches, kind = arguments
if kind == "BNTT":
    layers = [torch.nn.BatchNorm2d(2, 1e-4, 0.1) for _ in range(5)]
    for layer in layers:
        layer.bias = None  # the authors' way to leave out the shift
    call = lambda x: torch.stack(
        [layer(x[:, t]) for t, layer in enumerate(layers)], dim=1
    )
else:
    layers = [torch.nn.BatchNorm3d(2, 1e-5, 0.1)]
    torch.nn.init.constant_(layers[0].weight, 0.5 * 0.25)
    call = lambda x: layers[0](x.swapaxes(1, 2)).swapaxes(1, 2)
results = [
    [call(torch.tensor(batch)).tolist() for batch in batches],
    [layer.running_mean.tolist() for layer in layers],
    [layer.running_var.tolist() for layer in layers],
]
"""


@needs_torch
@pytest.mark.parametrize("kind", ["BNTT", "TDBN"])
def test_it_is_torch_batch_norm_of_the_papers_settings(rng, kind):
    # PyTorch's layout: channels first.
    batches = 3 + 2 * rng.normal(size=(3, 4, TIMESTEPS, 2, 3, 3))
    if kind == "BNTT":
        layer = BNTT(TIMESTEPS, axis=2)
    else:
        layer = TDBN(0.5, alpha=0.25, axis=2)
    ours = steps_in_training(layer, batches.astype("float32"))
    outputs, means, variances = in_torch(TORCH, batches.tolist(), kind)
    np.testing.assert_allclose(ours, outputs, **CLOSE)
    np.testing.assert_allclose(
        to_numpy(layer.moving_mean), np.squeeze(means), **CLOSE
    )
    # PyTorch keeps n / (n - 1) times the variance, except in the initial 1.
    n = batches[0].size / 2 / len(variances)
    variances = 0.9**3 + (np.squeeze(variances) - 0.9**3) * (n - 1) / n
    np.testing.assert_allclose(
        to_numpy(layer.moving_variance), variances, **CLOSE
    )


@both
@pytest.mark.parametrize("axis", [-1, 2])
def test_training_normalizes_with_the_statistics_of_the_batch(
    images, make, axis
):
    x = images if axis == -1 else np.moveaxis(images, -1, 2)
    layer = make(axis=axis, epsilon=0.25)
    expected, mean, variance = reference.batch_norm(x, axes_of(layer), 0.25)
    if isinstance(layer, TDBN):
        expected = 0.5 * expected
    np.testing.assert_allclose(
        to_numpy(layer(x, training=True)), expected, **CLOSE
    )
    for moving, initial, value in (
        (layer.moving_mean, 0, mean),
        (layer.moving_variance, 1, variance),
    ):
        np.testing.assert_allclose(
            to_numpy(moving), 0.9 * initial + 0.1 * np.squeeze(value), **CLOSE
        )


@both
def test_inference_normalizes_with_the_moving_statistics(images, make, rng):
    layer = make()
    layer.build(images.shape)
    weights = {
        name: rng.random(getattr(layer, name).shape) + 0.5
        for name in ("gamma", "moving_mean", "moving_variance")
    }
    beta = 0
    if isinstance(layer, TDBN):
        weights["beta"] = beta = rng.random(2)
    for name, value in weights.items():
        getattr(layer, name).assign(value)
    # Axes to broadcast along: (timesteps, channels) or (channels,).
    gamma, mean, variance = (
        weights[name].reshape(-1, 1, 1, 2)
        for name in ("gamma", "moving_mean", "moving_variance")
    )
    factor = 0.5 if isinstance(layer, TDBN) else 1
    expected = factor * gamma * (images - mean)
    expected = expected / np.sqrt(variance + layer.epsilon) + beta
    for output in (layer(images), layer(images, training=False)):
        np.testing.assert_allclose(to_numpy(output), expected, **CLOSE)
    np.testing.assert_array_equal(
        to_numpy(layer.moving_mean), weights["moving_mean"].astype("float32")
    )


def test_a_scale_per_timestep_is_learned_or_scale_and_shift(images):
    for layer, learned in (
        (BNTT(TIMESTEPS), [("gamma", (TIMESTEPS, 2))]),
        (TDBN(0.5), [("gamma", (2,)), ("beta", (2,))]),
    ):
        layer.build(images.shape)
        weights = [(w.name, tuple(w.shape)) for w in layer.trainable_weights]
        assert weights == learned


@both
def test_a_frozen_layer_infers_in_training_too(images, make):
    layer = make()
    layer.trainable = False
    expected = to_numpy(layer(images, training=False))
    np.testing.assert_array_equal(
        to_numpy(layer(images, training=True)), expected
    )
    assert not to_numpy(layer.moving_mean).any()


@both
def test_gradients_are_those_of_the_formula(images, make, rng):
    layer = make()
    layer.build(images.shape)
    gamma = (rng.random(layer.gamma.shape) + 0.5).astype("float32")
    others = [ops.convert_to_tensor(v) for v in layer.trainable_variables[1:]]
    fixed = [ops.convert_to_tensor(v) for v in layer.non_trainable_variables]

    def function(x, gamma):
        output, _ = layer.stateless_call(
            [gamma, *others], fixed, x, training=True
        )
        return (output,)

    at_output = rng.normal(size=images.shape).astype("float32")
    at_x, at_gamma = gradients(function, [images, gamma], [at_output])
    factor = 0.5 if isinstance(layer, TDBN) else 1
    expected_at_x, expected_at_scale = reference.batch_norm_gradient(
        images,
        at_output,
        axes_of(layer),
        layer.epsilon,
        factor * gamma.reshape(-1, 1, 1, 2),
    )
    np.testing.assert_allclose(at_x, expected_at_x, **CLOSE)
    np.testing.assert_allclose(
        at_gamma, factor * np.squeeze(expected_at_scale), **CLOSE
    )


@pytest.mark.parametrize("axis", [-1, 2])
def test_keras_batch_normalization_takes_batch_space_and_time(images, axis):
    # What the module says of it, on (batch, timesteps, ...), trained and not.
    x = images if axis == -1 else np.moveaxis(images, -1, 2)
    theirs = keras.layers.BatchNormalization(axis=axis)
    ours = TDBN(theta=1.0, epsilon=1e-3, momentum=0.99, axis=axis)
    expected, _, _ = reference.batch_norm(x, axes_of(ours), 1e-3)
    for layer in (theirs, ours):
        np.testing.assert_allclose(
            to_numpy(layer(x, training=True)), expected, **CLOSE
        )
    np.testing.assert_allclose(to_numpy(theirs(x)), to_numpy(ours(x)), **CLOSE)


@both
@pytest.mark.parametrize(
    "policy", ["mixed_float16", "mixed_bfloat16", "float16"]
)
def test_statistics_are_in_float32_under_half_precision(make, policy, rng):
    # Sums and squares of these pass the largest number of float16, 65504;
    # bfloat16 would not tell mean and values apart.
    x = 300 + 40 * rng.normal(size=(16, TIMESTEPS, 8, 2))
    x = x.astype("float16" if "b" not in policy else "float32")
    layer = make(dtype=policy)
    layer(x, training=True)
    rounded = to_numpy(ops.cast(x, layer.compute_dtype))
    axes = (0, 2) if isinstance(layer, BNTT) else (0, 1, 2)
    _, mean, variance = reference.batch_norm(rounded, axes, 0)
    for moving, initial, value in (
        (layer.moving_mean, 0, mean),
        (layer.moving_variance, 1, variance),
    ):
        assert keras.backend.standardize_dtype(moving.dtype) == "float32"
        np.testing.assert_allclose(
            to_numpy(moving), 0.9 * initial + 0.1 * np.squeeze(value), **CLOSE
        )


@both
def test_a_large_mean_does_not_swallow_the_variance(make, rng):
    # Sixteenths of a standard deviation are exact beside it in float32.
    x = 4096 + rng.integers(-16, 17, (16, TIMESTEPS, 8, 2)) / 16
    layer = make(momentum=0.0)
    layer(x.astype("float32"), training=True)
    axes = (0, 2) if isinstance(layer, BNTT) else (0, 1, 2)
    np.testing.assert_allclose(
        to_numpy(layer.moving_variance), x.var(axes), rtol=1e-5
    )


@both
def test_fit_moves_the_statistics_and_a_file_keeps_them(images, make, tmp_path):
    inputs = keras.Input(images.shape[1:])
    layer = make()
    x = keras.layers.GlobalAveragePooling3D()(layer(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse")
    # Four times the same batch.
    labels = np.ones((4, 1), "float32")
    model.fit(images, labels, epochs=4, batch_size=4, verbose=0)
    _, mean, variance = reference.batch_norm(images, axes_of(layer), 0)
    for moving, initial, value in (
        (layer.moving_mean, 0, mean),
        (layer.moving_variance, 1, variance),
    ):
        expected = 0.9**4 * initial + (1 - 0.9**4) * np.squeeze(value)
        np.testing.assert_allclose(to_numpy(moving), expected, **CLOSE)
    assert (to_numpy(layer.gamma) != 1).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0), model.predict(images, verbose=0)
    )


@both
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_spiking_network_with_it_learns(make, policy, rng):
    def on(layer, **kwargs):
        return PerTimestep(layer(**kwargs, dtype=policy), dtype=policy)

    inputs = keras.Input((TIMESTEPS, 6, 6, 1))
    x = on(keras.layers.Conv2D, filters=4, kernel_size=3)(inputs)
    x = make(dtype=policy)(x)
    x = LIF(0.8, 0.2, 0.5, dtype=policy)(x)
    x = on(keras.layers.Flatten)(x)
    x = keras.layers.GlobalAveragePooling1D(dtype=policy)(x)
    model = keras.Model(inputs, keras.layers.Dense(1, dtype=policy)(x))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    # The target is the mean of the image.
    x = rng.random((32, TIMESTEPS, 6, 6, 1)) * rng.random((32, 1, 1, 1, 1))
    losses = model.fit(x, x.mean((1, 2, 3, 4)), epochs=15, verbose=0).history
    assert losses["loss"][-1] < losses["loss"][0] / 2


@both
def test_a_layer_that_recomputes_moves_the_statistics_once(images, make):
    weights = []
    for wrap in (lambda layer: layer, Recompute):
        layer = make()
        inputs = keras.Input(images.shape[1:])
        x = keras.layers.GlobalAveragePooling3D()(wrap(layer)(inputs))
        model = keras.Model(inputs, x)
        model.compile("sgd", "mse")
        model.fit(images, np.ones((4, 2)), verbose=0)
        weights.append(layer.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, **CLOSE)


@pytest.mark.parametrize("training", [False, True])
def test_all_timesteps_are_one_computation(rng, training):
    def size(timesteps):
        x = rng.random((2, timesteps, 3)).astype("float32")
        layer = BNTT(timesteps)
        layer.build(x.shape)
        weights = [
            [ops.convert_to_tensor(v) for v in variables]
            for variables in (
                layer.trainable_variables,
                layer.non_trainable_variables,
            )
        ]
        return operations(
            lambda x: layer.stateless_call(*weights, x, training=training)[0], x
        )

    assert size(3) == size(50) > 0


@both
def test_a_model_may_leave_the_number_of_timesteps_open(images, make):
    inputs = keras.Input((None, 3, 3, 2))
    layer = make()
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, 3, 3, 2)
    np.testing.assert_allclose(
        model.predict(images, verbose=0), to_numpy(layer(images)), **CLOSE
    )


def test_extreme_momenta_keep_all_or_nothing(images):
    for momentum, expected in ((0, images.mean((0, 2, 3))), (1, 0)):
        layer = BNTT(TIMESTEPS, momentum=momentum)
        layer(images, training=True)
        moving = to_numpy(layer.moving_mean)
        np.testing.assert_allclose(
            moving, np.broadcast_to(expected, moving.shape), **CLOSE
        )


def test_tdbn_scales_to_the_threshold_of_neurons_with_a_gain(images):
    outputs = to_numpy(TDBN(theta=0.5, lam=0.25)(images, training=True))
    # The potential, lam times the current, deviates by theta.
    np.testing.assert_allclose(0.25 * outputs.std((0, 1, 2, 3)), 0.5, **CLOSE)
