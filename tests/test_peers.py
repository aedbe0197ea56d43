"""Neurons against those of the libraries that have them, too."""

import math

import keras
import numpy as np
import pytest
from backend import to_numpy
from peers import (
    SHAPE,
    assert_close,
    assert_equal,
    library,
    needs_peers,
    node,
    over_time,
)

from keras_snn import presets
from keras_snn.layers import LIF, CubaLIF, RecurrentLIF

pytestmark = needs_peers


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
    with pytest.warns(UserWarning, match="use reset_mechanism='zero' in both"):
        neuron = presets.snntorch(0.5)
    ours = to_numpy(LIF(**neuron)(current))
    theirs = to_numpy(leaky(0.5)(current))
    assert (ours.ravel().tolist(), theirs.ravel().tolist()) == ([1, 1], [1, 0])


def test_immediate_reset_by_subtraction_of_snntorch(rng):
    # A reset leaves at most the threshold 1, and half of it plus 1.5 is 2.
    neuron = presets.snntorch(0.5, reset_delay=False)
    assert_equal(rng, neuron, leaky(0.5, reset_delay=False), high=24)


# The cases of `presets.snntorch_synaptic`, and the highest synaptic current in
# eighths. A reset leaves at most the threshold 1, and half of it plus 1.5 is 2.
EQUAL = pytest.mark.parametrize(
    ("reset_mechanism", "reset_delay", "beta", "high"),
    [
        ("none", True, 0.5, 16),
        ("none", False, 0.5, 16),
        ("zero", False, 0.5, 16),
        ("subtract", True, 1.0, 16),
        ("subtract", False, 0.5, 12),
    ],
)


@EQUAL
def test_synaptic_of_snntorch(rng, reset_mechanism, reset_delay, beta, high):
    options = {"reset_mechanism": reset_mechanism, "reset_delay": reset_delay}
    made = library("snntorch").Synaptic(0.5, beta, **options)

    def step(now, state):
        spikes, *state = made(now, *state)
        return spikes, state

    def peer(current):
        return over_time(step, made.reset_mem())(current)

    layer = CubaLIF(**presets.snntorch_synaptic(0.5, beta, **options))
    assert_equal(rng, layer, peer, low=-8, high=high)


@EQUAL
def test_rleaky_of_snntorch(rng, reset_mechanism, reset_delay, beta, high):
    import torch

    units = SHAPE[-1]
    options = {"reset_mechanism": reset_mechanism, "reset_delay": reset_delay}
    made = library("snntorch").RLeaky(beta, linear_features=units, **options)
    # Sums of these are exact. With an immediate reset by subtraction, the
    # recurrent current must not lift a potential above 2.
    kernel = rng.integers(-2, 3, (units, units)) / 16
    if (reset_mechanism, reset_delay) == ("subtract", False):
        kernel = -np.abs(kernel)
    with torch.no_grad():
        made.recurrent.weight.copy_(torch.tensor(kernel.T))
        made.recurrent.bias.zero_()

    def step(now, state):
        spikes, potential = made(now, *state)
        return spikes, (spikes, potential)

    def peer(current):
        return over_time(step, made.reset_mem())(current)

    layer = RecurrentLIF(
        units,
        recurrent_initializer=lambda *_, **__: kernel.astype("float32"),
        **presets.snntorch_rleaky(beta, **options),
    )
    assert_equal(rng, layer, peer, low=-8, high=2 * high)
    ours = to_numpy(layer.recurrent_kernel.value.grad)
    assert_close(ours, to_numpy(made.recurrent.weight.grad).T)


@pytest.mark.parametrize("name", ["Synaptic", "RLeaky"])
def test_delayed_reset_to_zero_of_snntorch_silences_the_next_timestep(name):
    # Currents above the threshold. `CubaLIF` and `RecurrentLIF` would fire
    # twice.
    import torch

    options = {"reset_mechanism": "zero"}
    warns = pytest.warns(UserWarning, match=f"`{name}` .*reset_delay=False")
    if name == "Synaptic":
        made = library("snntorch").Synaptic(0.5, 0.5, **options)
        with warns:
            ours = CubaLIF(**presets.snntorch_synaptic(0.5, 0.5, **options))
    else:
        made = library("snntorch").RLeaky(0.5, linear_features=1, **options)
        torch.nn.init.zeros_(made.recurrent.weight)
        torch.nn.init.zeros_(made.recurrent.bias)
        with warns:
            neuron = presets.snntorch_rleaky(0.5, **options)
        ours = RecurrentLIF(1, recurrent_initializer="zeros", **neuron)
    current = torch.full((1, 2, 1), 2.0)
    state, theirs = made.reset_mem(), []
    for now in current.unbind(1):
        spikes, *state = made(now, *state)
        if name == "RLeaky":
            state = [spikes, *state]
        theirs.append(spikes.item())
    assert to_numpy(ours(current)).ravel().tolist() == [1, 1]
    assert theirs == [1, 0]


# Hard reset to zero and elsewhere, and soft reset.
RESETS = pytest.mark.parametrize("v_reset", [0.0, -0.5, None])


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


@RESETS
@pytest.mark.parametrize("detach_reset", [False, True])
def test_parametric_lif_node_of_spikingjelly(rng, detach_reset, v_reset):
    arguments = {"v_reset": v_reset, "detach_reset": detach_reset}
    peer = node("ParametricLIFNode", decay_input=False, **arguments)
    layer = LIF(**presets.spikingjelly_plif(**arguments))
    assert_equal(rng, layer, peer)
    (logit,) = layer.trainable_weights
    assert_close(to_numpy(logit.value.grad), -to_numpy(peer.node.w.grad))


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


def test_lif_of_norse(rng):
    import torch

    lif = library("norse.torch.functional.lif")
    parameters = lif.LIFParameters(
        tau_syn_inv=torch.tensor(256.0), tau_mem_inv=torch.tensor(512.0)
    )
    rest = lif.LIFFeedForwardState(v=torch.tensor(0.0), i=torch.tensor(0.0))
    # 1 / 1024 makes the constants exact.
    peer = over_time(
        lambda now, state: lif.lif_feed_forward_step(
            now, state, parameters, dt=1 / 1024
        ),
        rest,
    )
    layer = CubaLIF(**presets.norse_lif(256.0, 512.0, dt=1 / 1024))
    assert_equal(rng, layer, peer, low=-8, high=16)


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
