"""Networks of ours run in other simulators with equal spikes, and back."""

import contextlib
import io

import keras
import numpy as np
import pytest
from backend import to_numpy
from peers import library, needs_peers

from keras_snn import datasets, layers
from keras_snn.encoders import as_intensity
from keras_snn.nir import compatibility, from_nir, to_nir

nir = pytest.importorskip("nir", reason="nir is not installed")

ignoring = pytest.mark.filterwarnings("ignore")
K = keras.layers
DT = 1e-4
TIMESTEPS = 8


def frames(number=100):
    """Returns digits as currents, `(number, timesteps, 8, 8, 1)`."""
    (images, _), _ = datasets.load("digits")
    images = to_numpy(as_intensity(images[:number]))
    # Sixteenths are exact.
    images = np.round(16 * images) / 4
    return np.repeat(images[:, None], TIMESTEPS, 1).astype("float32")


def dense(*neurons):
    x = inputs = keras.Input((TIMESTEPS, 8, 8, 1))
    x = layers.PerTimestep(K.Flatten())(x)
    for neuron in neurons:
        x = neuron(K.Dense(30)(x))
    return keras.Model(inputs, x)


def lif():
    return dense(layers.LIF(0.75, 0.5), layers.LIF(0.75, 1.0))


def integrate_and_fire():
    return dense(layers.LIF(1.0, 0.5), layers.LIF(1.0, 1.0))


def cuba():
    return dense(layers.CubaLIF(lam=0.5), layers.CubaLIF(alpha=0.75, lam=1.0))


def recurrent():
    return dense(layers.RecurrentLIF(30, 0.75, 0.5), layers.LIF(0.75, 1.0))


def convolutional(pool=K.AveragePooling2D):
    x = inputs = keras.Input((TIMESTEPS, 8, 8, 1))
    x = layers.PerTimestep(K.Conv2D(8, 3, padding="same"))(x)
    x = layers.PerTimestep(pool(2))(layers.LIF(0.75, 1.0)(x))
    x = layers.PerTimestep(K.Conv2D(8, 3, strides=1))(x)
    x = layers.PerTimestep(K.Flatten())(layers.LIF(0.75, 4.0)(x))
    return keras.Model(inputs, layers.LIF(0.75, 4.0)(K.Dense(10)(x)))


def with_sums():
    return convolutional(layers.SumPooling2D)


def over_time(net, inputs):
    """Runs a network of one timestep, and returns its spikes."""
    import torch

    state, found = None, []
    with torch.no_grad():
        for x in torch.tensor(np.moveaxis(inputs, 1, 0)):
            spikes, state = net(x, state)
            found.append(spikes.numpy())
    return np.stack(found, 1)


def sample_by_sample(make, inputs):
    """Runs a network whose `Flatten` does not know of a batch."""
    return np.stack([over_time(make(), x[None])[0] for x in inputs])


class Unbatched:
    """Runs a network on a batch of one sample, without the axis."""

    def __init__(self, net):
        self.net = net

    def __call__(self, x, state):
        spikes, state = self.net(x[0], state)
        return spikes[None], state


def in_snntorch(graph, inputs):
    read = library("snntorch.import_nir").import_from_nir

    def make():
        with contextlib.redirect_stdout(io.StringIO()):
            return Unbatched(read(graph))

    return sample_by_sample(make, inputs)


def in_norse(graph, inputs):
    read = library("norse.torch").from_nir
    return sample_by_sample(lambda: Unbatched(read(graph, dt=DT)), inputs)


def in_spikingjelly(graph, inputs):
    exchange = library("spikingjelly.activation_based.nir_exchange")
    return over_time(exchange.import_from_nir(graph, dt=DT), inputs)


def in_sinabs(graph, inputs):
    """Runs a network whose layers take samples and timesteps in one axis."""
    import torch

    library("nirtorch")  # sinabs reads graphs with it.
    samples, timesteps = inputs.shape[:2]
    net = library("sinabs.nir").from_nir(graph, batch_size=samples)
    with torch.no_grad():
        spikes, *_ = net(torch.tensor(inputs).flatten(0, 1))
    return spikes.numpy().reshape(samples, timesteps, -1)


RUNS = {
    "norse": in_norse,
    "snntorch": in_snntorch,
    "spikingjelly": in_spikingjelly,
}
READ = {
    "norse": [lif, integrate_and_fire, cuba, convolutional],
    "snntorch": [lif, cuba, convolutional, with_sums],
    "spikingjelly": [
        *(lif, integrate_and_fire, cuba, recurrent),
        *(convolutional, with_sums),
    ],
}


@needs_peers
@ignoring
@pytest.mark.parametrize(
    ("target", "make"),
    [
        pytest.param(
            *(target, make),
            marks=[pytest.mark.slow] * (make in (convolutional, with_sums)),
        )
        for target in READ
        for make in READ[target]
    ],
)
def test_a_network_of_ours_has_the_same_spikes_there(target, make):
    model = make()
    inputs = frames()
    ours = to_numpy(model(inputs))
    graph = to_nir(model, DT, target=target)
    theirs = RUNS[target](graph, np.moveaxis(inputs, -1, 2))
    assert ours.mean() > 0.01
    np.testing.assert_array_equal(theirs, ours)


def subtracting(k, *lams):
    """A network whose potentials stay below twice the threshold."""
    neurons = (layers.LIF(k, lam, reset="subtract") for lam in lams)
    model = dense(*neurons)
    for layer in model.layers:
        if isinstance(layer, K.Dense):
            kernel, bias = layer.get_weights()
            # No potential is negative: that of an IF node would be cut off.
            layer.set_weights([np.round(16 * abs(kernel)) / 64, bias])
    return model


@needs_peers
@ignoring
@pytest.mark.parametrize(("k", "lams"), [(0.75, (0.75, 1.0)), (1.0, (0.5,))])
def test_sinabs_has_the_same_spikes_while_it_fires_once(k, lams):
    model, inputs = subtracting(k, *lams), frames() / 4
    graph = to_nir(model, 1.0, reset="subtract", target="sinabs")
    theirs = in_sinabs(graph, np.moveaxis(inputs, -1, 2))
    assert theirs.mean() > 0.01
    assert theirs.max() == 1
    np.testing.assert_array_equal(theirs, to_numpy(model(inputs)))


@needs_peers
@ignoring
def test_sinabs_differs_as_compatibility_says():
    inputs = keras.Input((TIMESTEPS, 1))
    neuron = layers.LIF(1.0, 1.0, reset="subtract")
    model = keras.Model(inputs, neuron(inputs))
    graph = to_nir(model, 1.0, reset="subtract", target="sinabs")
    x = np.array([[2.5, 0, -9, 2.5, 0, 0, 0, 0]], "float32")[..., None]
    assert to_numpy(model(x)).ravel().tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    # Two spikes at once, and -1 instead of -8.5.
    theirs = in_sinabs(graph, x).ravel().tolist()
    assert theirs == [2, 0, 0, 1, 0, 0, 0, 0]


def test_padding_that_sinabs_ignores_is_refused():
    x = inputs = keras.Input((TIMESTEPS, 8, 8, 1))
    for layer in (K.ZeroPadding2D(1), K.AveragePooling2D(2), K.Flatten()):
        x = layers.PerTimestep(layer)(x)
    neuron = layers.LIF(1.0, reset="subtract")
    model = keras.Model(inputs, neuron(K.Dense(3)(x)))
    found = compatibility(model)["sinabs"]
    assert found.startswith("refused: sinabs ignores padding in pooling")


def test_several_inputs_or_outputs_are_refused():
    x, y = keras.Input((TIMESTEPS, 3)), keras.Input((TIMESTEPS, 3))
    both = layers.LIF()(K.Add()([K.Dense(2)(x), K.Dense(2)(y)]))
    first = layers.LIF()(K.Dense(2)(x))
    for model, which in (
        (keras.Model([x, y], both), "Input"),
        (keras.Model(x, [first, layers.LIF()(K.Dense(2)(first))]), "Output"),
    ):
        for target in ("snntorch", "spikingjelly", "norse"):
            message = f"refused: {target} reads graphs of one {which}. Received"
            assert compatibility(model)[target].startswith(message)


def test_what_is_no_graph_has_no_compatibility():
    with pytest.raises(ValueError, match="must be a functional model or"):
        compatibility(keras.layers.Dense(2))


def test_compatibility_says_how_far_each_simulator_goes():
    found = compatibility(lif())
    assert list(found) == ["snntorch", "spikingjelly", "norse", "sinabs"]
    assert found["norse"] == "equal spikes"
    assert found["sinabs"].startswith("refused: NIR cannot express")
    assert "its reset is 'zero'" in found["sinabs"]
    found = compatibility(integrate_and_fire())
    assert found["snntorch"].startswith("refused: snntorch cannot read IF")
    found = compatibility(subtracting(0.75, 0.5))
    assert found["sinabs"].startswith("approximate: a potential of twice")
    assert "its reset is 'subtract'" in found["norse"]


@pytest.mark.parametrize("target", RUNS)
@pytest.mark.parametrize("make", [lif, cuba, convolutional, with_sums])
def test_the_graph_of_a_target_is_the_same_network(target, make):
    model = make()
    back = from_nir(to_nir(model, DT, target=target), DT)
    inputs = frames(20)
    assert to_numpy(model(inputs)).mean() > 0.01
    np.testing.assert_array_equal(
        to_numpy(model(inputs)), to_numpy(back(inputs))
    )


@needs_peers
@ignoring
def test_a_potential_at_the_threshold_does_not_fire_there_either():
    inputs = keras.Input((TIMESTEPS, 3))
    model = keras.Model(inputs, layers.LIF(1.0, 0.5, 1.0)(inputs))
    x = np.full((1, TIMESTEPS, 3), 0.5, "float32")
    theirs = in_spikingjelly(to_nir(model, DT, target="spikingjelly"), x)
    # The potential is 1 at the fourth timestep.
    assert theirs[0, :, 0].tolist() == [0, 0, 0, 0, 1, 0, 0, 0]


@needs_peers
@ignoring
@pytest.mark.parametrize("kind", ["IFNode", "LIFNode", "CUBALIFNode"])
def test_a_network_of_spikingjelly_has_the_same_spikes_here(kind):
    import torch

    library("spikingjelly.activation_based.neuron")
    library("nirtorch")  # SpikingJelly exports with it.
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    decays = {"CUBALIFNode": {"c_decay": 0.5, "v_decay": 0.75}}
    options = decays.get(kind, {})
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        layer.Conv2d(1, 4, 3, stride=2, padding=1),
        getattr(neuron, kind)(**options),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(16, 10),
        getattr(neuron, kind)(**options),
    )
    with torch.no_grad():
        for x in net.parameters():
            x *= 6
    inputs = frames()
    x = torch.tensor(np.moveaxis(inputs, -1, 2))
    graph = export_to_nir(net, x[:, 0], dt=DT)
    functional.reset_net(net)
    with torch.no_grad():
        theirs = np.stack([net(now).numpy() for now in x.unbind(1)], 1)
    ours = to_numpy(from_nir(graph, DT, firing=">=")(inputs))
    assert theirs.mean() > 0.01
    np.testing.assert_array_equal(ours, theirs)


@needs_peers
@ignoring
def test_a_network_of_snntorch_has_the_same_spikes_here():
    import torch

    snntorch = library("snntorch")
    export = library("snntorch.export_nir").export_to_nir
    options = {"reset_mechanism": "zero", "reset_delay": False}
    options |= {"init_hidden": True}

    def constants(units, **numbers):
        # Without a size of their own, snnTorch's nodes have no shape.
        full = {x: torch.full((units,), y) for x, y in numbers.items()}
        return full | {"threshold": torch.ones(units)} | options

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 30),
        snntorch.Leaky(**constants(30, beta=0.75)),
        torch.nn.Linear(30, 10),
        snntorch.Synaptic(**constants(10, alpha=0.5, beta=0.75), output=True),
    )
    inputs = frames().reshape(100, TIMESTEPS, 64)
    x = torch.tensor(inputs)
    graph = export(net, x[:1, 0], ignore_dims=[0])
    net[1].reset_mem()
    net[3].reset_mem()
    with torch.no_grad():
        theirs = np.stack([net(now)[0].numpy() for now in x.unbind(1)], 1)
    ours = to_numpy(from_nir(graph)(inputs))
    assert theirs.mean() > 0.01
    np.testing.assert_array_equal(ours, theirs)


REFUSED = {
    "snntorch cannot read IF nodes: it gives": (integrate_and_fire, {}),
    "snntorch cannot read Linear nodes: it resets": (recurrent, {}),
    "`dt` must be 0.0001 for snntorch": (lif, {"dt": 1e-3}),
    "norse cannot read Linear nodes": (recurrent, {"target": "norse"}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_a_target_cannot_read_is_refused(message):
    make, options = REFUSED[message]
    with pytest.raises(ValueError, match=message):
        to_nir(make(), **({"target": "snntorch"} | options))


def test_neurons_that_differ_are_refused_where_they_must_not():
    model = dense(layers.LIF(0.75, 1.0, np.linspace(1, 2, 30)))
    assert to_nir(model, target="norse")
    with pytest.raises(ValueError, match="cannot read neurons that differ"):
        to_nir(model, target="snntorch")


def test_pooling_without_weights_behind_is_refused():
    inputs = keras.Input((TIMESTEPS, 8, 8, 1))
    pooled = layers.PerTimestep(layers.SumPooling2D(2))(inputs)
    model = keras.Model(inputs, layers.LIF()(pooled))
    with pytest.raises(ValueError, match="has no pooling like that"):
        to_nir(model, target="snntorch")


def test_targets_have_names():
    with pytest.raises(ValueError, match="`target` must be one of None"):
        to_nir(lif(), target="lava")
