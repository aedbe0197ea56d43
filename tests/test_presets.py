"""The presets by their formulas. test_peers.py compares them with the peers."""

import inspect

import keras
import numpy as np
import pytest
import reference
from backend import to_numpy

from keras_snn import presets
from keras_snn.layers import LIF, CubaLIF, RecurrentLIF

# Every preset, and arguments that it cannot do without.
PRESETS = {
    presets.time_constant: {"tau": 4.0},
    presets.integrate_and_fire: {},
    presets.decay: {"factor": 0.25},
    presets.snntorch: {"beta": 0.5, "reset_mechanism": "zero"},
    presets.snntorch_synaptic: {"alpha": 0.5, "beta": 1.0},
    presets.snntorch_rleaky: {"beta": 1.0},
    presets.spikingjelly: {},
    presets.spikingjelly_if: {},
    presets.spikingjelly_plif: {},
    presets.norse: {},
    presets.norse_lif: {},
    presets.sinabs: {"tau_mem": 4.0},
    presets.sinabs_iaf: {},
}
# The layers of the presets that are not for `LIF`.
LAYERS = {
    presets.snntorch_synaptic: CubaLIF,
    presets.snntorch_rleaky: lambda **kw: RecurrentLIF(3, **kw),
    presets.norse_lif: CubaLIF,
}


def test_every_preset_is_tested():
    assert {each.__name__ for each in PRESETS} == set(presets.__all__)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda each: each.__name__)
def test_the_layer_accepts_and_keeps_a_preset(preset):
    arguments = preset(**PRESETS[preset])
    layer = LAYERS.get(preset, LIF)(**arguments)
    config = layer.from_config(layer.get_config()).get_config()
    surrogate = arguments.pop("surrogate", None)
    if "learn" in arguments:
        arguments["learn"] = list(arguments["learn"])
    assert arguments.items() <= config.items()
    if surrogate is not None:
        assert config["surrogate"]["config"] == surrogate.get_config()


@pytest.mark.parametrize(
    ("neuron", "k", "lam"),
    [
        (presets.time_constant(4.0), 0.75, 0.25),
        (presets.time_constant(2, resistance=3), 0.5, 1.5),
        (presets.integrate_and_fire(), 1, 1),
        (presets.integrate_and_fire(4), 1, 0.25),
        (presets.decay(0.5), 0.5, 1),
        (presets.decay(1), 1, 1),
        (presets.snntorch(0.5, reset_mechanism="zero"), 0.5, 1),
        (presets.snntorch_synaptic(0.25, 0.5, reset_delay=False), 0.5, 1),
        (presets.snntorch_rleaky(0.5, reset_delay=False), 0.5, 1),
        (presets.spikingjelly(4.0), 0.75, 0.25),
        (presets.spikingjelly(4.0, decay_input=False), 0.75, 1),
        (presets.spikingjelly_if(), 1, 1),
        (presets.spikingjelly_plif(4.0), 0.75, 1),
        (presets.norse(250.0, dt=0.002), 0.5, 0.5),
        (presets.norse_lif(tau_mem_inv=250.0), 0.75, 0.25),
        (presets.sinabs(1 / np.log(2)), 0.5, 0.5),
        (presets.sinabs(1 / np.log(4), norm_input=False), 0.25, 1),
        (presets.sinabs_iaf(), 1, 1),
    ],
)
def test_constants_are_those_of_the_difference_equation(neuron, k, lam):
    assert [neuron["k"], neuron["lam"]] == pytest.approx([k, lam])


@pytest.mark.parametrize(
    ("neuron", "alpha"),
    [
        (presets.snntorch_synaptic(0.25, 0.5, reset_delay=False), 0.25),
        (presets.snntorch_synaptic(0.0, 0.5, reset_delay=False), 0),
        (presets.norse_lif(125.0, dt=0.002), 0.75),
        (presets.norse_lif(500.0, dt=0.002), 0),
    ],
)
def test_the_decay_of_the_synaptic_current(neuron, alpha):
    assert neuron["alpha"] == pytest.approx(alpha)


@pytest.mark.parametrize(
    ("neuron", "threshold"),
    [
        (presets.spikingjelly(v_threshold=0.75), 0.75),
        (presets.spikingjelly_if(v_threshold=1.0, v_reset=-0.5), 1.5),
        (presets.sinabs_iaf(0.3), 0.3),
    ],
)
def test_theta_lets_a_neuron_fire_at_the_threshold(neuron, threshold):
    reached = np.float32(threshold)
    below = np.nextafter(reached, np.float32(0))
    current = np.array([below, reached])[:, None, None]
    current /= np.float32(neuron["lam"])  # a power of two: exact
    spikes = LIF(**neuron)(current)
    np.testing.assert_array_equal(to_numpy(spikes).ravel(), [0, 1])


def test_a_threshold_that_is_not_reached_is_exact(rng):
    current = rng.integers(-16, 49, (4, 12, 3)) / 16
    neuron = presets.snntorch(0.5, threshold=1.25, reset_mechanism="zero")
    expected, _ = reference.lif(current, 0.5, 1.0, 1.25)
    spikes = LIF(**neuron)(keras.ops.convert_to_tensor(current, "float32"))
    np.testing.assert_array_equal(to_numpy(spikes), expected)


@pytest.mark.parametrize(
    ("preset", "arguments", "message"),
    [
        ("time_constant", {"tau": 1}, "`tau` must be above 1. Received: tau=1"),
        ("time_constant", {"tau": 2, "resistance": 0}, "`resistance` must be"),
        ("integrate_and_fire", {"capacitance": -1}, "`capacitance` must be"),
        ("decay", {"factor": 1.5}, r"`factor` must be in \(0, 1\]"),
        ("snntorch", {"beta": 0}, r"`beta` must be in \(0, 1\]"),
        ("snntorch", {"beta": 1, "threshold": 0}, "`threshold` must be above"),
        ("snntorch", {"beta": 1, "reset_mechanism": "soft"}, "one of 'subtrac"),
        ("snntorch", {"beta": 1, "reset_delay": 0}, "`reset_delay` must be"),
        ("snntorch_synaptic", {"alpha": 2, "beta": 1}, r"`alpha` must be in"),
        ("snntorch_rleaky", {"beta": 2}, r"`beta` must be in \(0, 1\]"),
        ("spikingjelly", {"tau": 1}, "`tau` must be above 1"),
        ("spikingjelly", {"decay_input": 1}, "`decay_input` must be one of"),
        ("spikingjelly_if", {"v_reset": 1.0}, "`v_threshold` must be above 1"),
        ("spikingjelly_if", {"v_reset": np.nan}, "`v_reset` must be finite"),
        ("spikingjelly_plif", {"init_tau": 1}, "`init_tau` must be above 1"),
        ("norse", {"tau_mem_inv": 2000}, "`tau_mem_inv` must be below"),
        ("norse", {"dt": 0}, "`dt` must be above 0"),
        ("norse", {"v_th": 0}, "`v_th` must be above 0"),
        ("norse", {"tau_mem_inv": 0}, "`tau_mem_inv` must be above 0"),
        ("norse_lif", {"tau_syn_inv": 1001}, "`tau_syn_inv` must be at most"),
        ("norse_lif", {"tau_syn_inv": 0}, "`tau_syn_inv` must be above 0"),
        ("sinabs", {"tau_mem": 0}, "`tau_mem` must be above 0"),
        ("sinabs", {"tau_mem": 1, "norm_input": 2}, "`norm_input` must be one"),
        ("sinabs_iaf", {"spike_threshold": 0}, "`spike_threshold` must be"),
    ],
)
def test_arguments_out_of_range_are_refused(preset, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(presets, preset)(**arguments)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda each: each.__name__)
def test_documented_arguments_are_the_signature(preset):
    section = inspect.getdoc(preset).split("Args:\n")[1].split("\n\n")[0]
    documented = [
        line.split(":")[0].strip()
        for line in section.splitlines()
        if line.startswith("    ") and not line.startswith("     ")
    ]
    assert documented == list(inspect.signature(preset).parameters)
