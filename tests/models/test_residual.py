"""Residual networks."""

import math

import numpy as np
import pytest
import reference
from backend import to_numpy
from residual_networks import BLOCKS, NEURON, layers_of, randomize, small

from keras_snn import models
from keras_snn.models import probe, residual_snn

# Shapes.


@pytest.mark.parametrize(
    ("depth", "millions", "digits"),
    [
        # He et al. 2016, Table 6, and 11.7 million (Torchvision's ResNet-18)
        # without 990 of its 1,000 classes of 512 weights and a bias.
        (20, 0.27, 2),
        pytest.param(110, 1.7, 1, marks=pytest.mark.slow),
        pytest.param(18, 11.2, 1, marks=pytest.mark.slow),
    ],
)
def test_parameters_are_as_many_as_published(depth, millions, digits):
    model = residual_snn(
        depth, (32, 32, 3), 10, timesteps=1, normalization="batch"
    )
    trainable = sum(math.prod(x.shape) for x in model.trainable_weights)
    assert round(trainable / 1e6, digits) == millions


@BLOCKS
def test_every_weight_is_counted(block):
    model = small((2, 1), block=block)
    # Stem, two blocks of 4 filters, one of 8 with its shortcut, and logits.
    kernels = 9 * (2 * 4 + 4 * 4 * 4 + 4 * 8 + 8 * 8) + 4 * 8 + 8 * 3
    biases = 5 * 4 + 3 * 8 + 3
    assert model.count_params() == kernels + biases


@pytest.mark.parametrize(
    ("depth", "blocks", "channels"),
    [
        (8, 3, [4, 8, 16]),
        (20, 9, [4] * 3 + [8] * 3 + [16] * 3),
        (18, 8, [16, 16, 32, 32, 64, 64, 128, 128]),
        ((1, 2), 3, [4, 8, 8]),
        ([1, 1, 1, 1, 1], 5, [4, 8, 16, 32, 64]),
    ],
    ids=str,
)
def test_stages_double_the_filters_and_halve_the_image(depth, blocks, channels):
    model = small(depth, data_format="channels_last")
    outputs = [model.get_layer(f"block{i + 1}").output for i in range(blocks)]
    assert [x.shape[-1] for x in outputs] == channels
    # 6x5 becomes 3x3, 2x2, and 1x1 for good.
    sides = {4: (6, 5), 8: (3, 3), 16: (2, 2), 32: (1, 1), 64: (1, 1)}
    if depth == 18:
        sides = {16: (6, 5), 32: (3, 3), 64: (2, 2), 128: (1, 1)}
    assert [x.shape[2:4] for x in outputs] == [sides[n] for n in channels]
    assert f"block{blocks + 1}" not in {x.name for x in model.layers}


def test_34_layers_are_those_of_he_et_al():
    model = small(34, timesteps=1, width=1 / 64)
    convolutions = [x for x in layers_of(model) if x.startswith("conv")]
    assert len(convolutions) + 1 == 34  # and the logits
    widths = [x.output.shape[-1] for x in model.layers if "block" in x.name]
    if layers_of(model)["conv1"].data_format == "channels_last":
        assert widths == [1] * 3 + [2] * 4 + [4] * 6 + [8] * 3


@BLOCKS
def test_the_large_stem_shrinks_the_image_by_four(block):
    model = small(
        (1, 1),
        (32, 24, 3),
        block=block,
        stem="7x7",
        data_format="channels_last",
    )
    assert layers_of(model)["conv1"].kernel.shape == (7, 7, 3, 4)
    sides = [model.get_layer(f"block{i}").output.shape[2:4] for i in (1, 2)]
    assert sides == [(8, 6), (4, 3)]


# Values.


def convolve(x, kernel, bias, strides):
    """Convolves (..., height, width, channels), padded to equal sides."""
    size = kernel.shape[0]
    padding = [(0, 0)] * (x.ndim - 3)
    for side in x.shape[-3:-1]:
        total = max((-(-side // strides) - 1) * strides + size - side, 0)
        padding.append((total // 2, total - total // 2))
    x = np.pad(x, [*padding, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(
        x, (size, size), (-3, -2)
    )
    windows = windows[..., ::strides, ::strides, :, :, :]
    return np.einsum("...cij,ijco->...o", windows, kernel) + bias


class Forward:
    """A network of `small` in NumPy, with the weights of a model."""

    def __init__(self, model, block):
        self.layers, self.block = layers_of(model), block
        self.spikes = {}
        self.margin = np.inf  # the least distance of a potential from theta

    def current(self, x, name, strides=1):
        kernel, *bias = map(to_numpy, self.layers[name].weights)
        x = convolve(x, kernel, bias[0] if bias else 0.0, strides)
        norm = name.replace("conv", "norm").replace("shortcut", "shortcut_norm")
        if norm in self.layers:
            weights = map(to_numpy, self.layers[norm].weights)
            gamma, beta, mean, variance = weights
            x = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
        return x

    def fire(self, current, name):
        spikes, _ = reference.lif(current, **NEURON)
        # A potential at theta would fire with a slightly larger current.
        for scale in (1 - 1e-5, 1 + 1e-5):
            other, _ = reference.lif(scale * current, **NEURON)
            np.testing.assert_array_equal(other, spikes)
        self.spikes[name] = spikes
        return spikes

    def __call__(self, x, stages):
        ms, lif, conv, shortcuts = self.block == "ms", 0, 1, 0
        x = self.current(x, "conv1")
        if not ms:
            x, lif = self.fire(x, "lif1"), 1
        for strides in stages:
            branch = x
            for step in (strides, 1):
                lif, conv = lif + 1, conv + 1
                if ms:
                    branch = self.fire(branch, f"lif{lif}")
                branch = self.current(branch, f"conv{conv}", step)
                if not ms:
                    branch = self.fire(branch, f"lif{lif}")
            if strides > 1:
                shortcuts += 1
                x = self.current(x, f"shortcut{shortcuts}", strides)
                if not ms:
                    x = self.fire(x, f"shortcut_lif{shortcuts}")
            x = {
                "ms": x + branch,
                "sew": x + branch,
                "sew-and": x * branch,
                "sew-iand": x * (1 - branch),
            }[self.block]
        if ms:
            x = self.fire(x, f"lif{lif + 1}")
        kernel, bias = map(to_numpy, self.layers["logits"].weights)
        return x.mean((1, 2, 3)) @ kernel + bias


@BLOCKS
@pytest.mark.parametrize("normalization", [None, "batch"])
def test_spikes_are_those_of_the_equations(block, normalization, rng):
    model = small(
        (2, 1), block=block, normalization=normalization, encoder=None
    )
    randomize(model)
    x = rng.integers(0, 2, (2, 3, 6, 5, 2)).astype("float32")
    numpy = Forward(model, block)
    logits = numpy(x, stages=(1, 1, 2))
    found = {
        name: np.moveaxis(to_numpy(y), 2, -1)
        if numpy.layers["conv1"].data_format == "channels_first"
        else to_numpy(y)
        for name, y in probe(model)(x).items()
    }
    assert found.keys() == numpy.spikes.keys()
    for name, spikes in numpy.spikes.items():
        assert 0.02 < spikes.mean() < 0.98, name
        np.testing.assert_array_equal(found[name], spikes)
    np.testing.assert_allclose(to_numpy(model(x)), logits, atol=1e-5)


@BLOCKS
@pytest.mark.parametrize("encoder", ["constant", None])
def test_data_formats_compute_the_same(block, encoder, rng):
    lead = (2, 3) if encoder is None else (2,)
    x = rng.integers(0, 2, (*lead, 6, 5, 2)).astype("float32")
    logits = []
    for data_format in models.DATA_FORMATS:
        model = small(block=block, encoder=encoder, data_format=data_format)
        randomize(model)
        logits.append(to_numpy(model(x)))
    # Sums in another order.
    np.testing.assert_allclose(*logits, rtol=0, atol=1e-5)
    assert np.ptp(logits[0], axis=0).max() > 0.01


def test_equal_seeds_give_equal_weights():
    first, second, other = (small(seed=seed) for seed in (3, 3, 4))
    for a, b, c in zip(
        *(x.trainable_weights for x in (first, second, other)), strict=True
    ):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
        # Biases are constant, and the 1x1 convolution is a copy.
        drawn = a.shape[0] != 1 and len(a.shape) > 1
        assert np.array_equal(to_numpy(a), to_numpy(c)) is not drawn


def test_no_two_layers_get_the_same_weights():
    for seed in (0, None):
        model = small((3,), seed=seed)
        kernels = [
            to_numpy(x.kernel).ravel()
            for name, x in layers_of(model).items()
            if name.startswith("conv") and name != "conv1"
        ]
        for i, kernel in enumerate(kernels):
            for other in kernels[:i]:
                assert abs(np.corrcoef(kernel, other)[0, 1]) < 0.5
