"""Models of small graphs equal a plain simulation of the graphs."""

import re
import sys

import keras
import numpy as np
import pytest
from backend import to_numpy
from nir_files import first, last
from nir_reference import simulate

from keras_snn import layers, models
from keras_snn.nir import from_nir

nir = pytest.importorskip("nir", reason="nir is not installed")

DT = 1 / 4


def exact(*shape):
    """Sixteenths, so sums and products are exact in float32."""
    found = np.random.default_rng(shape).integers(-16, 17, shape)
    return (found / 16).astype("float32")


def counts(*shape):
    found = np.random.default_rng(shape).integers(0, 3, (2, 6, *shape))
    return found.astype("float32")


def full(value, *shape):
    return np.full(shape, value, "float32")


def graph(*nodes, shape, edges=(), between=()):
    """Nodes "0", "1", ... in a row behind an input, and further edges."""
    names = [str(n) for n in range(len(nodes))]
    row = ["input", *names, "output"]
    every = {"input": nir.Input(np.array(shape)), "output": nir.Output(None)}
    every |= dict(zip(names, nodes, strict=True)) | dict(between)
    edges = [*zip(row, row[1:], strict=False), *edges]
    return nir.NIRGraph(every, edges, type_check=False)


def lif(*shape, tau=0.5, r=2.0, v_leak=0.0, v_threshold=0.5, v_reset=0.0):
    parameters = tau, r, v_leak, v_threshold, v_reset
    return nir.LIF(*(full(x, *shape) for x in parameters))


def cuba(*shape, v_leak=0.0, v_reset=0.0, w_in=2.0):
    parameters = 0.5, 1.0, 2.0, v_leak, 0.75, v_reset, w_in
    return nir.CubaLIF(*(full(x, *shape) for x in parameters))


def conv(weight, stride=1, padding=0, dilation=1, groups=1):
    bias = exact(len(weight))
    window = stride, padding, dilation, groups, bias
    if weight.ndim == 3:
        return nir.Conv1d(None, weight, *window)
    return nir.Conv2d(None, weight, *window)


PAIR = np.array([2, 2])
NODES = {
    "affine": (nir.Affine(exact(3, 4), exact(3)), (4,)),
    "linear": (nir.Linear(exact(3, 4)), (4,)),
    "conv1d": (conv(exact(3, 2, 3)), (2, 7)),
    "conv1d, stride": (conv(exact(3, 2, 3), 2, 1), (2, 7)),
    "conv1d, same": (conv(exact(3, 2, 4), 1, "same"), (2, 7)),
    "conv1d, dilation": (conv(exact(3, 2, 3), 1, 2, 2), (2, 7)),
    "conv2d": (conv(exact(3, 2, 3, 3)), (2, 5, 6)),
    "conv2d, padding": (conv(exact(3, 2, 3, 3), 1, (1, 1)), (2, 5, 6)),
    "conv2d, wide": (conv(exact(3, 2, 3, 2), 1, (2, 1)), (2, 5, 6)),
    "conv2d, stride": (conv(exact(3, 2, 5, 5), (2, 1), (1, 1)), (2, 6, 6)),
    "conv2d, even": (conv(exact(3, 2, 3, 3), (2, 2), (1, 1)), (2, 6, 6)),
    "conv2d, same": (conv(exact(3, 2, 3, 4), 1, "same"), (2, 5, 6)),
    "conv2d, valid": (conv(exact(3, 2, 2, 2), 2, "valid"), (2, 5, 6)),
    "conv2d, dilation": (conv(exact(3, 2, 3, 3), 1, 2, 2), (2, 6, 6)),
    "conv2d, groups": (conv(exact(4, 1, 3, 3), 1, 1, 1, 2), (2, 5, 6)),
    "sum": (nir.SumPool2d(PAIR, PAIR, 0 * PAIR), (2, 5, 6)),
    "sum, stride": (nir.SumPool2d(PAIR + 1, PAIR - 1, PAIR - 1), (2, 4, 5)),
    "average": (nir.AvgPool2d(PAIR, PAIR, 0 * PAIR), (2, 5, 6)),
    "average, padding": (nir.AvgPool2d(PAIR, PAIR, PAIR - 1), (2, 4, 6)),
    "flatten": (nir.Flatten(None, 0, -1), (2, 3, 4)),
    "flatten, space": (nir.Flatten(None, 1, -1), (2, 3, 4)),
    "flatten, channels": (nir.Flatten(None, 0, 1), (2, 3, 4)),
    "flatten, nothing": (nir.Flatten(None, 0, -1), (5,)),
    "scale": (nir.Scale(exact(2, 3, 4)), (2, 3, 4)),
    "threshold": (nir.Threshold(exact(2, 3, 4)), (2, 3, 4)),
    "if": (nir.IF(full(2, 3), full(1.25, 3)), (3,)),
    "if, reset": (nir.IF(full(2, 3), full(1.25, 3), full(0.5, 3)), (3,)),
    "lif": (lif(3), (3,)),
    "lif, leak": (lif(3, v_leak=0.25), (3,)),
    "lif, reset": (lif(3, v_reset=-0.5, v_leak=-0.5), (3,)),
    "lif, leak and reset": (lif(3, v_reset=-0.25, v_leak=0.25), (3,)),
    "lif, per channel": (
        nir.LIF(
            np.repeat([0.5, 1], 6).reshape(2, 2, 3),
            *(full(x, 2, 2, 3) for x in (2, 0, 0.5)),
        ),
        (2, 2, 3),
    ),
    "lif, per neuron": (
        nir.LIF(
            full(0.5, 2, 2, 3),
            1 + np.arange(12.0).reshape(2, 2, 3),
            *(full(x, 2, 2, 3) for x in (0, 0.5)),
        ),
        (2, 2, 3),
    ),
    "cubalif": (cuba(3), (3,)),
    "cubalif, reset": (cuba(3, v_leak=0.25, v_reset=0.25), (3,)),
    "i": (nir.I(full(2, 3)), (3,)),
    "li": (nir.LI(*(full(x, 3) for x in (0.5, 2, 0.25))), (3,)),
    "cubali": (
        nir.CubaLI(*(full(x, 3) for x in (0.5, 1, 2, 0.25, 0.5))),
        (3,),
    ),
    "cubali, tau_syn = dt": (
        nir.CubaLI(*(full(x, 3) for x in (DT, 1, 2, 0.25, 0.5))),
        (3,),
    ),
}
every_node = pytest.mark.parametrize(
    ("node", "shape"), NODES.values(), ids=NODES
)


def assert_equal(made, inputs, **options):
    """Compares a model of a graph with the simulation."""
    expected = simulate(made, inputs, DT, **options)["output"]
    options.pop("fires", None)
    x = last(inputs) if inputs.ndim > 3 else inputs
    ours = to_numpy(from_nir(made, DT)(x))
    ours = first(ours) if ours.ndim > 3 else ours
    assert expected.std() > 0
    np.testing.assert_array_equal(ours, expected)


@every_node
def test_a_node_computes_what_nir_says(node, shape):
    assert_equal(graph(node, shape=shape), counts(*shape))


def test_nodes_work_for_any_number_of_timesteps():
    model = from_nir(graph(conv(exact(3, 2, 3, 3), 2, 1), shape=(2, 5, 5)), DT)
    assert model.input_shape == (None, None, 5, 5, 2)
    for timesteps in (1, 3):
        assert model(np.ones((2, timesteps, 5, 5, 2))).shape[1] == timesteps


def test_several_inputs_of_a_node_are_added():
    weights = nir.Linear(exact(3, 4))
    made = graph(
        nir.Affine(exact(3, 4), exact(3)),
        lif(3),
        shape=(4,),
        between={"skip": weights},
        edges=[("input", "skip"), ("skip", "1")],
    )
    assert_equal(made, counts(4))


RECURRENT = {
    "affine": [nir.Affine(exact(3, 3), exact(3))],
    "linear": [nir.Linear(exact(3, 3))],
    "two": [nir.Linear(exact(3, 3)), nir.Affine(exact(3, 3), exact(3))],
}


@pytest.mark.parametrize("node", [lif(3), cuba(3)], ids=["lif", "cubalif"])
@pytest.mark.parametrize("weights", RECURRENT.values(), ids=RECURRENT)
def test_recurrent_weights_carry_the_last_spikes(node, weights):
    between = {f"w{n}": x for n, x in enumerate(weights)}
    edges = [(a, b) for w in between for a, b in (("1", w), (w, "1"))]
    made = graph(
        nir.Affine(np.abs(exact(3, 4)), exact(3)),
        node,
        shape=(4,),
        between=between,
        edges=edges,
    )
    assert_equal(made, counts(4))


def test_neurons_may_feed_themselves_directly():
    made = graph(lif(3), shape=(3,), edges=[("0", "0")])
    inputs = (counts(3) > 1).astype("float32")
    assert_equal(made, inputs)
    (layer,) = from_nir(made, DT).layers[1:]
    assert isinstance(layer, layers.RecurrentLIF)


def test_a_bias_of_recurrent_weights_without_weights_before_is_a_current():
    weights = nir.Affine(exact(3, 3), exact(3))
    edges = [("0", "w"), ("w", "0")]
    made = graph(lif(3), shape=(3,), between={"w": weights}, edges=edges)
    assert_equal(made, counts(3))


def test_subgraphs_become_part_of_the_graph():
    weights, recurrent = nir.Linear(exact(3, 4)), nir.Linear(exact(3, 3))
    ends = {"in": nir.Input(np.array([3])), "out": nir.Output(np.array([3]))}
    edges = [("in", "n"), ("n", "w"), ("w", "n"), ("n", "out")]
    inside = nir.NIRGraph(
        ends | {"n": lif(3), "w": recurrent}, edges, type_check=False
    )
    nested = graph(weights, inside, weights, shape=(4,))
    nested.nodes["2"] = nir.Linear(exact(2, 3))
    plain = graph(
        weights,
        lif(3),
        nested.nodes["2"],
        shape=(4,),
        between={"w": recurrent},
        edges=[("1", "w"), ("w", "1")],
    )
    model, inputs = from_nir(nested, DT), counts(4)
    expected = simulate(plain, inputs, DT)["output"]
    np.testing.assert_array_equal(to_numpy(model(inputs)), expected)
    assert model.get_layer("1_n").name == "1_n"


def test_a_graph_may_have_several_inputs_and_outputs():
    nodes = {
        "a": nir.Input(np.array([2])),
        "b": nir.Input(np.array([2])),
        "sum": nir.Linear(exact(3, 2)),
        "left": nir.Output(np.array([3])),
        "right": nir.Output(np.array([2])),
    }
    edges = [("a", "sum"), ("b", "sum"), ("sum", "left"), ("b", "right")]
    model = from_nir(nir.NIRGraph(nodes, edges, type_check=False))
    a, b = counts(2), counts(2)
    left, right = map(to_numpy, model([a, b]))
    np.testing.assert_array_equal(left, (a + b) @ nodes["sum"].weight.T)
    np.testing.assert_array_equal(right, b)


def test_firing_at_the_threshold_is_a_choice():
    made = graph(nir.IF(full(4, 2), full(1, 2)), shape=(2,))
    inputs = np.full((1, 4, 2), 0.5, "float32")
    for firing, fires in ((">", np.greater), (">=", np.greater_equal)):
        ours = to_numpy(from_nir(made, DT, firing=firing)(inputs))
        expected = simulate(made, inputs, DT, fires)["output"]
        np.testing.assert_array_equal(ours, expected)


def test_reset_by_subtraction_is_a_choice():
    made = graph(lif(2, v_threshold=0.5), shape=(2,))
    inputs = counts(2)
    ours = to_numpy(from_nir(made, DT, reset="subtract")(inputs))
    expected = simulate(made, inputs, DT, subtract=True)["output"]
    np.testing.assert_array_equal(ours, expected)


def test_a_file_gives_what_its_graph_gives(tmp_path):
    made = graph(*(NODES[x][0] for x in ("affine", "lif")), shape=(4,))
    made.infer_types()
    nir.write(tmp_path / "network.nir", made)
    inputs = counts(4)
    ours = from_nir(str(tmp_path / "network.nir"), DT)(inputs)
    expected = simulate(made, inputs, DT)["output"]
    np.testing.assert_array_equal(to_numpy(ours), expected)


@pytest.fixture
def model():
    flat = nir.Flatten(None, 0, -1)
    pool = nir.SumPool2d(PAIR, PAIR, 0 * PAIR)
    nodes = [conv(exact(3, 2, 3, 3), 1, 2), lif(3, 8, 8), pool, flat]
    nodes += [nir.Linear(exact(4, 48)), nir.Threshold(full(1, 4)), cuba(4)]
    return from_nir(graph(*nodes, shape=(2, 6, 6)), DT)


def test_probe_and_step_model_accept_the_model(model):
    inputs = last(counts(2, 6, 6))
    assert list(models.probe(model).output) == ["1", "6"]
    step = models.step_model(model)
    stepped = step.stream(np.moveaxis(inputs, 1, 0))
    ours = np.stack([to_numpy(x) for x in stepped], 1)
    np.testing.assert_array_equal(ours, to_numpy(model(inputs)))


def test_the_model_can_be_saved_and_trained(model, tmp_path):
    model.save(tmp_path / "model.keras")
    other = keras.saving.load_model(tmp_path / "model.keras")
    inputs = last(counts(2, 6, 6))
    outputs = to_numpy(model(inputs))
    np.testing.assert_array_equal(to_numpy(other(inputs)), outputs)
    other.compile("adam", "mse")
    before = other.get_weights()
    other.fit(inputs, 1 - outputs, verbose=0)
    for old, new in zip(before, other.get_weights(), strict=True):
        assert np.any(old != new)


CYCLE = [("1", "w"), ("w", "0")]
REFUSED = {
    "`graph` must not have Delay nodes": (nir.Delay(full(1, 3)), (3,)),
    "`tau` of node '0' must be above `dt`": (lif(3, tau=DT), (3,)),
    "`tau_syn` of node '0' must be at least": (
        nir.CubaLIF(*(full(x, 3) for x in (0.1, 1, 1, 0, 1))),
        (3,),
    ),
    "`tau_syn` of node '0' must be above `dt` everywhere": (
        nir.CubaLI(np.array([DT, 1.0, 1.0]), *(full(x, 3) for x in (1, 1, 0))),
        (3,),
    ),
    "`r` of node '0' must be above 0": (lif(3, r=-1), (3,)),
    "`v_threshold` of node '0' must be above `v_reset`": (
        lif(3, v_reset=0.5),
        (3,),
    ),
    "`r` of node '0' must have the shape of its inputs": (lif(2), (3,)),
    "`v_leak` of CubaLIF '0' must equal": (cuba(3, v_leak=0.5), (3,)),
    "Affine '0' must get a vector": (NODES["affine"][0], (2, 4)),
    "Conv2d '0' must get inputs": (NODES["conv2d"][0], (2, 4)),
    "must have a stride of 1 if": (
        conv(exact(3, 2, 3, 3), 2, "same"),
        (2, 4, 4),
    ),
    "Node '0' must have one number per input": (
        nir.Scale(full(1, 2) * [1, 2]),
        (3,),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_has_no_counterpart_is_refused(message):
    node, shape = REFUSED[message]
    with pytest.raises(ValueError, match=message):
        from_nir(graph(node, shape=shape), DT)


def test_other_cycles_are_refused():
    made = graph(
        lif(3),
        lif(3),
        shape=(3,),
        between={"w": nir.Linear(exact(3, 3))},
        edges=CYCLE,
    )
    with pytest.raises(ValueError, match="must have no cycle except"):
        from_nir(made)


def test_recurrent_images_are_refused():
    made = graph(lif(2, 3, 3), shape=(2, 3, 3), edges=[("0", "0")])
    with pytest.raises(ValueError, match="must be a vector"):
        from_nir(made, DT)


def test_a_subgraph_with_two_inputs_is_refused():
    ends = {x: nir.Input(np.array([3])) for x in "ab"}
    inside = nir.NIRGraph(
        ends | {"out": nir.Output(np.array([3]))},
        [("a", "out"), ("b", "out")],
        type_check=False,
    )
    with pytest.raises(ValueError, match="must have one Input"):
        from_nir(graph(inside, shape=(3,)))


def test_a_node_alone_is_no_graph():
    with pytest.raises(TypeError, match="must be a path or an `nir.NIRGraph`"):
        from_nir(lif(3))


def test_a_graph_without_output_is_refused():
    alone = nir.NIRGraph({"a": nir.Input(np.array([3]))}, [], type_check=False)
    with pytest.raises(ValueError, match="an Input and an Output"):
        from_nir(alone)


def test_without_nir_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(ImportError, match="pip install"):
        from_nir("network.nir")


def test_a_file_that_is_not_nir_is_named(tmp_path):
    path = tmp_path / "network.nir"
    path.write_bytes(b"no network")
    with pytest.raises(ValueError, match=f"`{re.escape(str(path))}` must be"):
        from_nir(path)
    with pytest.raises(FileNotFoundError):
        from_nir(tmp_path / "missing.nir")
