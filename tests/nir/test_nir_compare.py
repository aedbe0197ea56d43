"""Recordings of two simulators, and where they first differ."""

import copy

import keras
import numpy as np
import pytest
from nir_files import first
from nir_reference import simulate

from keras_snn import datasets, models
from keras_snn.layers import LIF, PerTimestep, RecurrentLIF
from keras_snn.nir import first_difference, from_nir, record, to_nir

nir = pytest.importorskip("nir", reason="nir is not installed")
DT = 0.5


def network():
    x = inputs = keras.Input((None, 6, 5, 2))
    x = LIF(0.75, 1.0, name="image")(PerTimestep(keras.layers.Conv2D(4, 3))(x))
    x = PerTimestep(keras.layers.Flatten())(x)
    x = RecurrentLIF(6, 0.75, 1.0, name="around")(keras.layers.Dense(6)(x))
    x = LIF(0.75, 1.0, name="last")(keras.layers.Dense(3)(x))
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(0)
    # Sums of eighths are exact.
    model.set_weights(
        [np.round(4 * rng.normal(size=w.shape)) / 8 for w in model.weights]
    )
    return model


@pytest.fixture
def inputs(rng):
    return rng.integers(0, 3, (4, 7, 6, 5, 2)).astype("float32")


def simulated(graph, inputs):
    """What another simulator would record."""
    outputs = simulate(graph, first(inputs), DT)
    names = [x for x in graph.nodes if "v_threshold" in dir(graph.nodes[x])]
    return {
        name: np.asarray(outputs[name]).reshape(*inputs.shape[:2], -1)
        for name in (*names, "input")
    }


def recording(arrays, dt=DT, observable="spikes"):
    return nir.NIRGraphData(
        {
            name: nir.NIRNodeData({observable: nir.TimeGriddedData(x, dt)})
            for name, x in arrays.items()
        }
    )


def test_a_plain_simulation_of_the_graph_has_the_same_spikes(inputs):
    model = network()
    ours = record(model, inputs, DT)
    assert list(ours.nodes) == ["input", "image", "around.lif", "last"]
    graph = to_nir(model, DT)
    theirs = simulated(graph, inputs)
    assert all(x.mean() > 0.01 for x in theirs.values())
    assert first_difference(ours, recording(theirs)) is None
    back = record(from_nir(graph, DT), inputs, DT)
    assert list(back.nodes) == ["input", "image", "around_lif.lif", "last"]
    assert first_difference(back, recording(theirs)) is None
    assert first_difference(ours, back) is None


@pytest.mark.parametrize("node", ["input", "image", "around.lif", "last"])
def test_the_first_difference_is_where_it_was_made(node, inputs):
    model = network()
    theirs = simulated(to_nir(model, DT), inputs)
    # Everything behind it differs, too.
    for name in list(theirs)[list(theirs).index(node) :]:
        if name != "input" or node == "input":
            theirs[name][1:, 5:] = 1 - theirs[name][1:, 5:]
    theirs[node][2, 4, 1] = 7
    found = first_difference(record(model, inputs, DT), recording(theirs))
    assert found.node == node
    assert (found.sample, found.timestep, found.neuron) == (2, 4, 1)
    assert found.values[1] == 7
    size = theirs[node][0, 0].size
    expected = (3 * 2 * size + 1) / theirs[node].size
    assert found.shares[found.node] == pytest.approx(expected)
    assert f"{found.node!r} differs first, at timestep 4" in str(found)


def test_the_first_of_the_nodes_is_named_where_several_differ(inputs):
    model = network()
    ours = record(model, inputs, DT)
    theirs = simulated(to_nir(model, DT), inputs)
    # The order is not that of the alphabet, in which files have their nodes.
    theirs["around.lif"][0, 3] = theirs["image"][0, 3] = 2
    theirs = dict(sorted(theirs.items()))
    assert first_difference(ours, recording(theirs)).node == "image"
    theirs["last"][0, 2] = 2
    found = first_difference(ours, recording(theirs))
    assert found.node == "last"
    assert list(found.shares) == ["input", "image", "around.lif", "last"]


def as_events(data):
    """The same spikes, as events in the middle of their timesteps."""
    return nir.NIRGraphData(
        {
            name: nir.NIRNodeData(
                {
                    key: x.to_event(x.data[0].size, 0.5 * DT)
                    for key, x in node.observables.items()
                }
            )
            for name, node in data.nodes.items()
            if name != "input"
        }
    )


@pytest.mark.parametrize("change", [lambda x: x, as_events])
def test_files_and_events_are_read(change, inputs, tmp_path):
    ours = record(network(), inputs, DT)
    nir.write_data(str(tmp_path / "b.nir"), change(ours))
    assert first_difference(ours, tmp_path / "b.nir") is None
    assert first_difference(ours, str(tmp_path / "b.nir")) is None


def test_an_event_on_the_boundary_belongs_to_the_timestep_after():
    spikes = np.zeros((1, 30, 2), bool)
    spikes[0, ::3, 1] = True
    ours = recording({"a": spikes}, dt=0.1)
    # 3 * 0.1 is above 0.3, and 0.3 / 0.1 below 3.
    times = np.arange(0, 30, 3)[None] / 10
    events = nir.EventData(np.ones((1, 10), int), times, 2, 3.0)
    theirs = nir.NIRGraphData({"a": nir.NIRNodeData({"spikes": events})})
    assert first_difference(ours, theirs) is None
    # Two spikes at once are not one.
    events.time[0, 3] = events.time[0, 2]
    assert first_difference(ours, theirs).values == (1, 2)
    for key, wrong in (
        ("time", 3.0),
        ("time", -1e-4),
        ("time", np.nan),
        ("idx", 2),
        ("idx", -5),
    ):
        changed = copy.deepcopy(theirs)
        getattr(changed.nodes["a"].observables["spikes"], key)[0, -1] = wrong
        with pytest.raises(ValueError, match="of 'a' must lie within 30 time"):
            first_difference(ours, changed)
    with pytest.raises(ValueError, match="`ours` must have timesteps"):
        first_difference(theirs, ours)


@pytest.mark.parametrize("encoder", ["constant", "poisson", "retina", None])
def test_recorded_inputs_drive_the_graph(encoder):
    (images, _), _ = datasets.load("digits")
    x = images[:8]
    if encoder is None:
        x = np.repeat(x[:, None] / 255, 5, 1)
    model = models.five_layer_snn(
        *((8, 8, 1), 10, 5), width=1 / 16, lam=1.0, encoder=encoder, seed=0
    )
    ours = record(model, x, DT)
    frames = ours.nodes["input"].observables["input"].data
    assert frames.shape == (8, 5, 64)
    graph = to_nir(model, DT)
    theirs = simulate(graph, frames.reshape(8, 5, 1, 8, 8), DT)
    theirs = {
        name: values.reshape(8, 5, -1)
        for name, values in theirs.items()
        if name.startswith("lif")
    }
    assert len(theirs) == 4
    assert theirs["lif1"].mean() > 0.01
    found = first_difference(ours, recording(theirs))
    # The reference adds in float64: a potential may lie across the threshold.
    assert found is None or max(found.shares.values()) < 1e-3


def test_models_of_several_inputs_are_recorded():
    shapes = [keras.Input((3, 2), name="a"), keras.Input((3, 2), name="b")]
    model = keras.Model(shapes, LIF(name="c")(keras.layers.Add()(shapes)))
    found = record(model, [np.zeros((1, 3, 2)), np.ones((1, 3, 2))], DT)
    assert list(found.nodes) == ["a", "b", "c"]
    assert found.nodes["b"].observables["input"].data.all()


def test_what_cannot_be_compared_is_refused(inputs):
    ours = record(network(), inputs, DT)
    for names in (["x"], ["around.lif", "around_lif"]):
        wrong = recording({name: np.zeros((4, 7, 6)) for name in names})
        with pytest.raises(
            ValueError, match="must be one of `ours`.*: 'x|_lif'"
        ):
            first_difference(ours, wrong)
    with pytest.raises(ValueError, match="`theirs` must have a node"):
        first_difference(ours, recording({}))
    with pytest.raises(ValueError, match="the same samples.*at 'last'"):
        first_difference(ours, recording({"last": np.zeros((4, 6, 3))}))
    twice = {
        key: nir.TimeGriddedData(np.zeros((4, 7, 3)), DT) for key in ("v", "i")
    }
    with pytest.raises(ValueError, match="one observable, or one called"):
        first_difference(
            ours, nir.NIRGraphData({"last": nir.NIRNodeData(twice)})
        )
    with pytest.raises(TypeError, match="must be an `nir.NIRGraphData`"):
        first_difference(ours, inputs)
    with pytest.raises(ValueError, match="`dt` must be above 0"):
        record(network(), inputs, 0)


def test_other_observables_may_stand_beside_the_spikes(inputs):
    ours = record(network(), inputs, DT)
    spikes = ours.nodes["last"].observables["spikes"]
    both = {"potential": nir.TimeGriddedData(np.ones((4, 7, 3)), DT)}
    theirs = nir.NIRGraphData(
        {"last": nir.NIRNodeData(both | {"spikes": spikes})}
    )
    assert first_difference(ours, theirs) is None


def test_what_cannot_be_recorded_is_refused(inputs):
    x = keras.Input((3, 2))
    model = keras.Model(x, keras.layers.Dense(2)(x))
    with pytest.raises(ValueError, match="must have neurons that spike"):
        record(model, np.zeros((1, 3, 2)))
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        record(network(), inputs, DT, batch_size=0)
    with pytest.raises(ValueError, match="`x` must hold at least one sample"):
        record(network(), inputs[:0], DT)
    inputs[1, 2] = np.nan
    with pytest.raises(
        ValueError, match="no NaN for `x`. Received: NaN at 'im"
    ):
        record(network(), inputs, DT)


def test_rounded_intensities_are_equal(inputs):
    ours = record(network(), inputs / 3, DT)
    values = ours.nodes["input"].observables["input"].data
    theirs = recording({"input": values * np.float32(1 + 1e-6)})
    assert first_difference(ours, theirs) is None
    theirs = recording({"input": values * np.float32(1 + 1e-4)})
    assert first_difference(ours, theirs).node == "input"
