"""Networks that other simulators trained and exported, on real inputs."""

import keras
import numpy as np
import pytest
from backend import needs_torch, to_numpy
from nir_files import first
from nir_reference import simulate
from shared import shared

from keras_snn import events, layers, models
from keras_snn.nir import from_nir

nir = pytest.importorskip("nir", reason="nir is not installed")

FRAMES = 300  # of 1 ms


def recordings():
    """Returns frames of all test recordings of N-MNIST, and their classes."""
    files = sorted(shared("events/nmnist").glob("Test/*/*.bin"))
    frames = np.zeros((len(files), FRAMES, 34, 34, 2), "float32")
    for counts, file in zip(frames, files, strict=True):
        found = events.read(file)
        found = found[found["t"] < 1000 * FRAMES]
        at = found["t"] // 1000, found["y"], found["x"], found["p"]
        np.add.at(counts, at, 1)
    return frames, np.array([int(file.parent.name) for file in files])


@pytest.mark.slow
def test_the_network_of_sinabs_reads_real_recordings():
    path = shared("nir/cnn_sinabs.nir")
    model = from_nir(path, dt=1.0, firing=">=")
    frames, classes = recordings()
    spikes = model.predict(frames, batch_size=8, verbose=0)
    assert len(classes) == 38
    assert np.sum(spikes.sum(1).argmax(-1) == classes) >= 36


@pytest.mark.slow
def test_its_first_layers_equal_a_plain_simulation():
    path = shared("nir/cnn_sinabs.nir")
    frames, _ = recordings()
    frames = frames[::8]
    spikes = models.probe(from_nir(path, dt=1.0, firing=">="))(frames)
    graph = nir.read(path)
    begin = ("input", "0", "1", "2", "3")
    part = nir.NIRGraph(
        {name: graph.nodes[name] for name in begin},
        [edge for edge in graph.edges if set(edge) <= set(begin)],
        type_check=False,
    )
    expected = simulate(part, first(frames), 1.0, np.greater_equal)
    for name in ("1", "3"):
        assert expected[name].mean() > 0.002
        ours = first(to_numpy(spikes[name]))
        np.testing.assert_array_equal(ours, expected[name])


@pytest.mark.parametrize(
    ("simulator", "unit"),
    # snnTorch has no gain, so its potential is `tau / dt` times as high.
    [("norse", 1.0), ("snntorch", 25.0), ("exact", 1.0)],
)
def test_the_neuron_of_norse_fires_as_in_its_traces(simulator, unit):
    model = from_nir(shared("nir/lif_norse.nir"), dt=1e-4)
    trace = np.loadtxt(shared(f"nir/lif_{simulator}.csv"), delimiter=",")
    inputs, potential, spikes = trace.T
    inputs = inputs.astype("float32")[None, :, None]
    np.testing.assert_array_equal(to_numpy(model(inputs)).ravel(), spikes)
    config = model.get_layer("1").get_config() | {"return_state": True}
    neuron = layers.LIF.from_config(config)
    # The solution of the equation is not that of Euler's method.
    tolerance = 0.01 if simulator == "exact" else 1e-6
    found = []
    for t in range(105, 1000, 90):
        _, state = neuron(inputs[:, : t + 1])
        found.append((unit * to_numpy(state).item(), potential[t]))
    ours, theirs = np.transpose(found)
    assert np.max(theirs) > 0.05 * unit
    assert np.max(np.abs(ours - theirs)) < tolerance * unit


def braille(rng):
    """Returns the recurrent network of snnTorch, and random inputs."""
    path = shared("nir/braille_noDelay_bias_zero.nir")
    spikes = rng.random((100, 200, 12)) < 0.1
    return nir.read(path), spikes.astype("float32")


def test_the_recurrent_network_equals_a_plain_simulation(rng):
    graph, inputs = braille(rng)
    spikes = models.probe(from_nir(graph))(inputs)
    expected = simulate(graph, inputs, 1e-4)
    for ours, name in (("lif1_lif", "lif1.lif"), ("lif2", "lif2")):
        assert expected[name].mean() > 0.005
        np.testing.assert_array_equal(to_numpy(spikes[ours]), expected[name])


@needs_torch
@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="snnTorch uses PyTorch"
)
@pytest.mark.filterwarnings("ignore")
def test_the_recurrent_network_equals_the_neurons_of_snntorch(rng):
    # `snntorch.import_nir` fails with nirtorch 2.6, and `RSynaptic` of snnTorch
    # 1.0 resets one timestep late, whatever `reset_delay` says. So this test
    # feeds the spikes back to `Synaptic`.
    import torch

    snntorch = pytest.importorskip("snntorch")
    graph, inputs = braille(rng)

    def neurons(name):
        node = graph.nodes[name]
        gain = node.w_in[0] * 1e-4 / node.tau_syn[0]
        return snntorch.Synaptic(
            alpha=1 - 1e-4 / node.tau_syn[0],
            beta=1 - 1e-4 / node.tau_mem[0],
            threshold=node.v_threshold[0] / gain,
            reset_mechanism="zero",
            reset_delay=False,
        )

    def weigh(name, x):
        weights = graph.nodes[name].weight, graph.nodes[name].bias
        return torch.nn.functional.linear(x, *map(torch.tensor, weights))

    hidden, last = neurons("lif1.lif"), neurons("lif2")
    spikes, *state = torch.zeros(3, 100, 38)
    memory, found = torch.zeros(2, 100, 7), []
    with torch.no_grad():
        for x in torch.tensor(inputs).unbind(1):
            current = weigh("fc1", x) + weigh("lif1.w_rec", spikes)
            spikes, *state = hidden(current, *state)
            out, *memory = last(weigh("fc2", spikes), *memory)
            found.append(out.numpy())
    ours = to_numpy(from_nir(graph)(inputs))
    np.testing.assert_array_equal(ours, np.stack(found, 1))
