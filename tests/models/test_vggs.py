"""The VGGs, and dropout."""

import sys

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn.layers import LIF
from keras_snn.models import sequential_snn, vgg9_dvs_snn, vgg9_snn, vgg11_snn

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def conv(*channels):
    """The numbers of kernel and bias of 3x3 convolutions in a row."""
    pairs = zip(channels, channels[1:], strict=False)
    return [n for i, o in pairs for n in (9 * i * o, o)]


def dense(*units):
    pairs = zip(units, units[1:], strict=False)
    return [n for i, o in pairs for n in (i * o, o)]


# Sizes of all weights and of all layers of neurons, written out by hand.
VGG = {
    vgg9_snn: (
        conv(3, 128, 128, 256, 256, 256, 256, 256)
        + dense(4 * 4 * 256, 1024, 10),
        [(32, 128), (32, 128), (16, 256), (16, 256)]
        + [(8, 256), (8, 256), (8, 256), (1024,)],
    ),
    vgg9_dvs_snn: (
        conv(2, 64, 128, 128, 128, 128, 128, 128)
        + dense(4 * 4 * 128, 1024, 1024, 10),
        [(128, 64), (128, 128), (64, 128), (64, 128)]
        + [(32, 128), (16, 128), (8, 128), (1024,), (1024,)],
    ),
    vgg11_snn: (
        conv(3, 64, 128, 256, 256, 512, 512, 512, 512) + dense(512, 4096, 100),
        [(32, 64), (16, 128), (8, 256), (8, 256)]
        + [(4, 512), (4, 512), (2, 512), (2, 512), (4096,)],
    ),
}
DROPOUTS = {vgg9_snn: 1, vgg9_dvs_snn: 2, vgg11_snn: 0}
SMALLEST = {vgg9_snn: 8, vgg9_dvs_snn: 32, vgg11_snn: 16}
builders = pytest.mark.parametrize("build", VGG)


@builders
def test_layers_of_the_vggs(build):
    model = build(data_format="channels_last")
    weights, sizes = VGG[build]
    assert [int(np.prod(w.shape)) for w in model.trainable_weights] == weights
    neurons = [x for x in model.layers if isinstance(x, LIF)]
    expected = [(size[0], *size) if size[1:] else size for size in sizes]
    assert [x.output.shape[2:] for x in neurons] == expected
    drops = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert [x.rate for x in drops] == [0.5] * DROPOUTS[build]
    assert model.name == build.__name__


@builders
def test_vggs_take_what_the_pooling_allows(build, rng):
    size = SMALLEST[build]
    shape = (size, size + 3, 2)  # odd sides lose a row
    model = build(shape, 3, timesteps=2, width=1 / 64, encoder=None)
    images = rng.random((2, 2, *shape))
    assert model.predict(images, verbose=0).shape == (2, 3)
    message = f"at least {size}x{size} for 'C.*Received: input_shape="
    with pytest.raises(ValueError, match=message):
        build((size + 1, size - 1, 2))


@pytest.mark.slow
@builders
def test_vggs_train_save_and_load(build, tmp_path, rng):
    size = SMALLEST[build]
    shape = (8, 16, size, size, 3)
    model = build(
        (size, size, 3), 4, 16, width=1 / 8, encoder=None, pooling="max", seed=0
    )
    before = model.get_weights()
    model.compile("adam", LOSS)
    x = rng.integers(0, 9, shape).astype("uint8")  # counts
    model.fit(x, np.arange(8) % 4, verbose=0)
    moved = zip(before, model.get_weights(), strict=True)
    assert all(np.abs(new - old).max() > 0 for old, new in moved)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    )


def test_a_sample_keeps_its_dropout_mask_over_time():
    model = vgg9_snn(timesteps=6, width=1 / 16, seed=0)
    (drop,) = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
    kept = to_numpy(drop(np.ones((3, 6, 64), "float32"), training=True))
    assert set(np.unique(kept)) == {0, 2}
    np.testing.assert_array_equal(kept, np.repeat(kept[:, :1], 6, axis=1))
    assert (kept[0] != kept[1]).any()
    (drop,) = [
        x
        for x in vgg9_snn(timesteps=6, width=1 / 16, dropout=0.25).layers
        if isinstance(x, keras.layers.Dropout)
    ]
    assert drop.rate == 0.25


def test_dropout_leaves_the_weights_of_a_seed_alone():
    with_it, without = (
        sequential_snn(f"C4 FC6 {drop} FC5", (4, 4, 1), 3, seed=1).get_weights()
        for drop in ("D0.5", "")
    )
    for a, b in zip(with_it, without, strict=True):
        if a.ndim:
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_recomputing_ends_before_dropout(rng):
    x = rng.random((16, 8, 8, 3)).astype("float32")
    weights = []
    for recompute in (False, True):
        model = vgg9_snn(
            *((8, 8, 3), 4, 3),
            width=1 / 16,
            encoder="constant",
            seed=0,
            recompute=recompute,
        )
        model.compile(keras.optimizers.SGD(0.5), LOSS)
        model.train_on_batch(x, np.arange(16) % 4)
        weights.append([to_numpy(w) for w in model.trainable_weights])
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "rate", [1e-7, 0.9999999, 1 / 3, 5e-324, np.float64(0.25)]
)
def test_dropout_arrives_to_the_last_digit(rate):
    model = vgg9_snn((8, 8, 1), timesteps=1, width=1 / 128, dropout=rate)
    (drop,) = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert drop.rate == rate


@pytest.mark.parametrize("rate", [0, 0.0])
def test_no_dropout_is_no_layer(rate):
    model = vgg9_snn((8, 8, 1), timesteps=1, width=1 / 128, dropout=rate)
    assert "Dropout" not in {type(layer).__name__ for layer in model.layers}


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5])
def test_bad_dropouts_are_refused(rate):
    with pytest.raises(ValueError, match=r"`dropout` must be in \[0, 1\)"):
        vgg9_snn(dropout=rate)


@pytest.mark.parametrize("build", [vgg9_snn, vgg9_dvs_snn, vgg11_snn])
def test_builders_work_under_a_debugger(build):
    def trace(*_):
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # as a debugger does
    try:
        with pytest.raises(ValueError, match="classes"):
            build(classes=0)
    finally:
        sys.settrace(before)
