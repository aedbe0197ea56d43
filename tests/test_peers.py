"""Neurons and surrogates against those of the libraries that have them, too.

Inputs are sixteenths, and `k` and `lam` are powers of two, so potentials are
exact in float32 and spikes can be compared with `==`.
"""

import functools
import math
import warnings

import keras
import numpy as np
import pytest
from backend import gradients, to_numpy

from keras_snn import presets, surrogates
from keras_snn.layers import LIF

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="the peers use PyTorch"
)
SHAPE = (50, 10, 20)  # samples, timesteps, neurons: 10,000 inputs


@functools.cache
def library(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, exc_type=ImportError)


def over_time(step):
    """Runs `step`, from current and state to spikes and state, over time."""
    import torch

    def run(current):
        state, spikes = None, []
        for now in current.unbind(1):
            out, state = step(now, state)
            spikes.append(out)
        return torch.stack(spikes, 1)

    return run


def assert_equal(rng, neuron, peer, low=-16, high=48):
    """Compares `LIF(**neuron)` with the function `peer` of the current."""
    current = (rng.integers(low, high + 1, SHAPE) / 16).astype("float32")
    upstream = rng.normal(size=SHAPE).astype("float32")
    ours, theirs = (
        to_numpy(function(keras.ops.convert_to_tensor(current)))
        for function in (LIF(**neuron), peer)
    )
    assert 0.02 < theirs.mean() < 0.98
    np.testing.assert_array_equal(ours, theirs)
    (ours,), (theirs,) = (
        gradients(lambda x, f=function: (f(x),), [current], [upstream])
        for function in (LIF(**neuron), peer)
    )
    # Ten timesteps in float32, in another order.
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    assert error < 1e-5


def leaky(beta, threshold=1.0, **options):
    made = library("snntorch").Leaky(beta, threshold, **options)

    def run(current):
        made.reset_mem()  # It keeps the potential of the previous call.
        return over_time(made)(current)

    return run


@pytest.mark.parametrize("reset_delay", [True, False])
@pytest.mark.parametrize("reset_mechanism", ["zero", "none"])
@pytest.mark.parametrize(("beta", "threshold"), [(0.5, 1), (1, 1.5)])
def test_leaky_of_snntorch(rng, beta, threshold, reset_mechanism, reset_delay):
    arguments = (beta, threshold)
    options = {"reset_mechanism": reset_mechanism, "reset_delay": reset_delay}
    neuron = presets.snntorch(*arguments, **options)
    assert_equal(rng, neuron, leaky(*arguments, **options))


def test_delayed_reset_by_subtraction_of_snntorch_without_a_leak(rng):
    assert_equal(rng, presets.snntorch(1.0), leaky(1.0))


def test_delayed_reset_by_subtraction_of_snntorch_is_not_that_of_lif():
    # Potentials of `Leaky`: 2, then 1 + 1 - 1 = 1. Of `LIF`: 2, then
    # (2 - 1) / 2 + 1 = 1.5.
    current = keras.ops.convert_to_tensor([[[2.0], [1.0]]])
    ours = to_numpy(LIF(**presets.snntorch(0.5))(current))
    theirs = to_numpy(leaky(0.5)(current))
    assert (ours.ravel().tolist(), theirs.ravel().tolist()) == ([1, 1], [1, 0])


def test_immediate_reset_by_subtraction_of_snntorch(rng):
    # A reset leaves at most the threshold 1, and half of it plus 1.5 is 2.
    neuron = presets.snntorch(0.5, reset_delay=False)
    assert_equal(rng, neuron, leaky(0.5, reset_delay=False), high=24)


# Hard reset to zero and elsewhere, and soft reset.
RESETS = pytest.mark.parametrize("v_reset", [0.0, -0.5, None])


def node(name, **arguments):
    activation_based = "spikingjelly.activation_based"
    neurons = library(f"{activation_based}.neuron")
    functional = library(f"{activation_based}.functional")
    made = getattr(neurons, name)(step_mode="m", **arguments)

    def run(current):
        functional.reset_net(made)
        return made(current.transpose(0, 1)).transpose(0, 1)

    return run


@RESETS
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("decay_input", [False, True])
@pytest.mark.parametrize("v_threshold", [1.0, 0.75])
def test_lif_node_of_spikingjelly(
    rng, v_threshold, decay_input, detach_reset, v_reset
):
    arguments = {
        "tau": 2.0,
        "decay_input": decay_input,
        "v_threshold": v_threshold,
        "v_reset": v_reset,
        "detach_reset": detach_reset,
    }
    peer = node("LIFNode", **arguments)
    assert_equal(rng, presets.spikingjelly(**arguments), peer)


@RESETS
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("v_threshold", [1.0, 0.75])
def test_if_node_of_spikingjelly(rng, v_threshold, detach_reset, v_reset):
    arguments = {
        "v_threshold": v_threshold,
        "v_reset": v_reset,
        "detach_reset": detach_reset,
    }
    peer = node("IFNode", **arguments)
    assert_equal(rng, presets.spikingjelly_if(**arguments), peer)


def test_defaults_are_those_of_spikingjelly(rng):
    assert_equal(rng, presets.spikingjelly(), node("LIFNode"))
    assert_equal(rng, presets.spikingjelly_if(), node("IFNode"))


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_lif_box_of_norse(rng, reset):
    import torch

    box = library("norse.torch.functional.lif_box")
    methods = library("norse.torch.functional.reset")
    by_reset = {"zero": methods.reset_value, "subtract": methods.reset_subtract}
    parameters = box.LIFBoxParameters(
        tau_mem_inv=torch.tensor(500.0), reset_method=by_reset[reset]
    )
    rest = box.LIFBoxFeedForwardState(v=torch.tensor(0.0))
    peer = over_time(
        lambda now, state: box.lif_box_feed_forward_step(
            now, rest if state is None else state, parameters
        )
    )
    assert_equal(rng, presets.norse(500.0) | {"reset": reset}, peer)


@pytest.mark.parametrize("threshold", [1.0, 0.75])
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize(
    ("name", "norm_input"), [("LIF", False), ("LIF", True), ("IAF", None)]
)
def test_neurons_of_sinabs(rng, name, reset, threshold, norm_input):
    activation = library("sinabs.activation")
    kinds = library("sinabs.layers")
    options = {
        "spike_threshold": threshold,
        "spike_fn": activation.SingleSpike,
        "surrogate_grad_fn": activation.SingleExponential(grad_scale=0.5),
    }
    if reset == "zero":
        options["reset_fn"] = activation.MembraneReset()
    tau = 1 / math.log(2)
    if name == "IAF":
        neuron = presets.sinabs_iaf(threshold)
    else:
        neuron = presets.sinabs(tau, threshold, norm_input)
        options |= {"tau_mem": tau, "norm_input": norm_input}
    if reset == "zero":
        neuron |= {"reset": "zero", "detach_reset": True}

    def peer(current):
        return getattr(kinds, name)(**options)(current)

    assert_equal(rng, neuron, peer)


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
