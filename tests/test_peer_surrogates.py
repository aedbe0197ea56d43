"""Surrogates against those of the libraries that have them, too."""

import math

import numpy as np
import pytest
from backend import gradients
from peers import library, needs_peers

from keras_snn import surrogates

pytestmark = needs_peers


def derivative_of(package, name, **arguments):
    if package == "spikingjelly":
        module = library("spikingjelly.activation_based.surrogate")
    else:
        module = library("snntorch.surrogate")
    return getattr(module, name)(**arguments)


@pytest.mark.parametrize(
    ("ours", "package", "name", "arguments"),
    [
        (surrogates.Sigmoid(4), "spikingjelly", "Sigmoid", {}),
        (surrogates.Arctan(1), "spikingjelly", "ATan", {}),
        (surrogates.FastSigmoid(), "spikingjelly", "SoftSign", {}),
        (surrogates.Triangular(), "spikingjelly", "PiecewiseQuadratic", {}),
        (
            surrogates.Triangular(2.5),
            "spikingjelly",
            "PiecewiseQuadratic",
            {"alpha": 2.5},
        ),
        (surrogates.Exponential(0.5), "spikingjelly", "PiecewiseExp", {}),
        (
            surrogates.Exponential(1.5),
            "spikingjelly",
            "PiecewiseExp",
            {"alpha": 3.0},
        ),
        (
            surrogates.Gaussian(2 / math.sqrt(math.pi)),
            "spikingjelly",
            "Erf",
            {},
        ),
        (surrogates.Sigmoid(25), "snntorch", "sigmoid", {}),
        (surrogates.Arctan(1), "snntorch", "atan", {}),
        (surrogates.FastSigmoid(25), "snntorch", "fast_sigmoid", {}),
        (surrogates.FastSigmoid(3), "snntorch", "fast_sigmoid", {"slope": 3}),
    ],
    ids=str,
)
def test_surrogates_of_the_peers(ours, package, name, arguments):
    assert_same_gradient(ours, derivative_of(package, name, **arguments))


def test_surrogates_of_norse():
    threshold = library("norse.torch.functional.threshold").threshold
    for ours, method in [
        (surrogates.FastSigmoid(1), "super"),
        (surrogates.Triangular(1), "triangle"),
    ]:
        assert_same_gradient(ours, lambda x, m=method: threshold(x, m, 1.0))


def test_surrogates_of_sinabs():
    activation = library("sinabs.activation")
    for ours, theirs in [
        (
            surrogates.Exponential(0.8),
            activation.SingleExponential(grad_width=0.625, grad_scale=0.5),
        ),
        (surrogates.Gaussian(math.sqrt(2 / math.pi)), activation.Gaussian()),
    ]:
        assert_same_gradient(
            ours,
            lambda x, f=theirs: activation.SingleSpike.apply(x + 1, 1.0, f),
        )


def assert_same_gradient(ours, theirs):
    x = np.linspace(-3, 3, 96, dtype="float32")  # no corner, and not zero
    ones = np.ones_like(x)
    (ours,), (theirs,) = (
        gradients(lambda x, f=f: (f(x),), [x], [ones]) for f in (ours, theirs)
    )
    # float32: the sigmoid loses digits where it is close to 1.
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6 * scale)
