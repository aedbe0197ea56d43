"""The potentials of neurons in a model, and what they receive and emit."""

import keras
import numpy as np
import pytest
from backend import to_numpy

from keras_snn import layers, models
from keras_snn.encoders import PoissonEncoder
from keras_snn.models.traces import potentials, traces

NEURON = {"k": 0.5, "lam": 0.5, "theta": 1.0}
ADAPTIVE = {"rho": 0.5, "coupling": 0.25, "jump": 0.5}
KERNEL = np.array([[0, 0.5, -0.5], [1, 0, 0.25], [0.5, 0.5, 0]], "float32")
UNITS = 3


@pytest.fixture
def current(rng):
    # Sixteenths and powers of two make all potentials exact in float32.
    return (rng.integers(-16, 64, (2, 6, UNITS)) / 16).astype("float32")


def reference(
    current,
    k=0.5,
    lam=0.5,
    theta=1.0,
    reset="zero",
    alpha=0.0,
    kernel=0.0 * KERNEL,
    start=0.0,
    **adaptation,
):
    """Iterates the equations of all neurons, for one sample.

    Returns the potentials before and after the reset, and the spikes.
    """
    v = c = w = o = np.zeros(current.shape[1:])
    v = v + start
    rho, coupling, jump = adaptation.values() if adaptation else (0, 0, 0)
    rows = []
    for i in current.astype("float64"):
        i = i + o @ kernel
        c = alpha * c + i
        u = k * v + lam * (c - w)
        o = (u > theta).astype("float64")
        w = rho * w + coupling * u + jump * o
        v = {"zero": u * (1 - o), "subtract": u - theta * o, "none": u}[reset]
        rows.append((u, v, o))
    return [np.array(x) for x in zip(*rows, strict=True)]


def rnn(cell):
    return keras.layers.RNN(cell, return_sequences=True)


RECURRENT = {"kernel": KERNEL}
FIXED = {"recurrent_initializer": keras.initializers.Constant(KERNEL)}
CASES = {
    "zero": (lambda: layers.LIF(**NEURON), {}),
    "subtract": (
        lambda: layers.LIF(**NEURON, reset="subtract"),
        {"reset": "subtract"},
    ),
    "none": (lambda: layers.LIF(**NEURON, reset="none"), {"reset": "none"}),
    "cuba": (lambda: layers.CubaLIF(**NEURON, alpha=0.25), {"alpha": 0.25}),
    "adaptive": (lambda: layers.AdaptiveLIF(**NEURON, **ADAPTIVE), ADAPTIVE),
    "recurrent": (
        lambda: layers.RecurrentLIF(UNITS, **NEURON, **FIXED),
        RECURRENT,
    ),
    "recurrent cuba": (
        lambda: layers.RecurrentCubaLIF(UNITS, **NEURON, alpha=0.25, **FIXED),
        RECURRENT | {"alpha": 0.25},
    ),
    "recurrent adaptive": (
        lambda: layers.RecurrentAdaptiveLIF(
            UNITS, **NEURON, **ADAPTIVE, **FIXED
        ),
        RECURRENT | ADAPTIVE,
    ),
    "cell": (lambda: rnn(layers.LIFRNNCell(UNITS, **NEURON)), {}),
    "adaptive cell": (
        lambda: rnn(layers.AdaptiveLIFCell(UNITS, **NEURON, **ADAPTIVE)),
        ADAPTIVE,
    ),
    "recurrent cell": (
        lambda: rnn(
            layers.RecurrentCell(
                layers.CubaLIFCell(UNITS, **NEURON, alpha=0.25), **FIXED
            )
        ),
        RECURRENT | {"alpha": 0.25},
    ),
}


def model_of(layer, batch=None):
    inputs = keras.Input((6, UNITS), batch_size=batch)
    return keras.Model(inputs, layer(inputs))


def only(found):
    (trace,) = found.values()
    return trace


@pytest.mark.parametrize("case", CASES)
def test_the_potentials_of_every_neuron_follow_its_equations(case, current):
    make, constants = CASES[case]
    trace = only(traces(model_of(make()), current))
    before, after, spikes = reference(current[0], **constants)
    found = potentials(trace)
    np.testing.assert_array_equal(trace.currents, current[0])
    np.testing.assert_array_equal(trace.spikes, spikes)
    assert trace.known.all()
    for one, other in zip(found, (before, after, 1.0, spikes), strict=True):
        np.testing.assert_array_equal(one, np.broadcast_to(other, one.shape))
    assert 0 < spikes.mean() < 1


def test_every_neuron_may_have_its_constants(rng):
    current = (rng.integers(0, 64, (1, 6, 2, UNITS)) / 16).astype("float32")
    constants = {"k": [0.25, 0.5, 1.0], "lam": 0.5, "theta": [[0.5], [2.0]]}
    inputs = keras.Input(current.shape[1:])
    model = keras.Model(inputs, layers.LIF(**constants)(inputs))
    arrays = {name: np.array(x) for name, x in constants.items()}
    before, after, _ = reference(current[0], **arrays)
    integrated, kept, theta, _ = potentials(only(traces(model, current)))
    np.testing.assert_array_equal(integrated, before)
    np.testing.assert_array_equal(kept, after)
    assert theta.tolist() == [[0.5] * 3, [2.0] * 3]


def test_learnt_constants_have_their_present_values(current):
    layer = layers.LIF(**NEURON, learn="lam")
    model = model_of(layer)
    # The logarithm is stored.
    layer.set_weights([np.log(np.array(0.8, "float32"))])
    before, *_ = reference(current[0], lam=0.8)
    found = potentials(only(traces(model, current)))
    np.testing.assert_allclose(found[0], before, rtol=1e-5, atol=1e-6)


def test_masked_timesteps_have_no_potential(current):
    current[0, 2:4] = 0
    inputs = keras.Input((6, UNITS))
    masked = keras.layers.Masking()(inputs)
    model = keras.Model(inputs, layers.LIF(**NEURON)(masked))
    trace = only(traces(model, current))
    runs = np.array([1, 1, 0, 0, 1, 1], bool)
    assert trace.runs.tolist() == trace.known.tolist() == runs.tolist()
    before, after, spikes = reference(current[0, runs])
    for found, expected in zip(
        potentials(trace)[:2], (before, after), strict=True
    ):
        np.testing.assert_array_equal(found[runs], expected)
        assert np.isnan(found[~runs]).all()
    found = potentials(trace)[3]
    np.testing.assert_array_equal(found[runs], spikes)
    assert not found[~runs].any()


def test_neurons_that_return_the_last_spikes_have_all_potentials(current):
    layer = layers.LIF(**NEURON, return_sequences=False)
    trace = only(traces(model_of(layer), current))
    before, _, spikes = reference(current[0])
    assert trace.known.tolist() == [False] * 5 + [True]
    np.testing.assert_array_equal(trace.spikes[-1], spikes[-1])
    integrated, _, _, found = potentials(trace)
    np.testing.assert_array_equal(integrated, before)
    np.testing.assert_array_equal(found, spikes)


@pytest.mark.parametrize("sequences", [True, False])
def test_neurons_that_go_backwards_end_at_the_first_timestep(
    sequences, current
):
    layer = layers.LIF(**NEURON, go_backwards=True, return_sequences=sequences)
    trace = only(traces(model_of(layer), current))
    before, _, spikes = reference(current[0, ::-1])
    integrated, _, _, found = potentials(trace)
    np.testing.assert_array_equal(integrated, before[::-1])
    np.testing.assert_array_equal(found, spikes[::-1])
    np.testing.assert_array_equal(
        trace.spikes[trace.known], spikes[::-1][trace.known]
    )
    assert trace.known.tolist() == [True] + [sequences] * 5


@pytest.mark.parametrize("kind", ["layer", "rnn"])
def test_a_stateful_layer_goes_on_from_its_state_and_keeps_it(kind, current):
    layer = layers.LIF(**NEURON, stateful=True)
    if kind == "rnn":
        cell = layers.LIFRNNCell(UNITS, **NEURON)
        layer = keras.layers.RNN(cell, return_sequences=True, stateful=True)
    model = model_of(layer, batch=2)
    layer(current)  # On JAX, `predict` drops the states of Keras's RNN.
    _, after, _ = reference(current[0])
    expected, *_ = reference(current[0], start=after[-1])
    for _ in range(2):
        found = potentials(only(traces(model, current)))
        np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(to_numpy(layer.states[0])[0], after[-1])


def test_random_encoders_draw_the_same_again(rng):
    inputs = keras.Input((4, 4, 1))
    code = PoissonEncoder(timesteps=8, seed=0)(inputs)
    model = keras.Model(inputs, layers.LIF(**NEURON, name="lif")(code))
    x = rng.random((1, 4, 4, 1))
    first, second = (only(traces(model, x)) for _ in range(2))
    np.testing.assert_array_equal(first.currents, second.currents)
    assert first.currents.std() > 0


def test_one_call_of_a_shared_layer_is_recorded(current):
    shared = layers.LIF(**NEURON, name="lif")
    inputs = keras.Input((6, UNITS))
    model = keras.Model(inputs, shared(shared(inputs)))
    _, _, spikes = reference(current[0])
    (name, trace), *rest = traces(model, current, "lif:2").items()
    assert (name, rest) == ("lif:2", [])
    np.testing.assert_array_equal(trace.currents, spikes)
    np.testing.assert_array_equal(potentials(trace)[0], reference(spikes)[0])


def test_every_layer_of_a_network_is_followed(rng):
    model = models.five_layer_snn((8, 8, 1), 10, 6, lam=0.5, seed=0)
    x = rng.integers(0, 256, (2, 8, 8, 1)).astype("uint8")
    found = traces(model, x)
    assert list(found) == ["lif1", "lif2", "lif3", "lif4"]
    for trace in found.values():
        integrated, _, theta, spikes = potentials(trace)
        np.testing.assert_array_equal(spikes, trace.spikes)
        # Rounding might only matter next to the threshold.
        far = np.abs(integrated - theta) > 1e-4
        np.testing.assert_array_equal((integrated > theta)[far], spikes[far])


def test_half_precision_rounds_the_currents(rng):
    current = rng.normal(1, 1, (1, 6, UNITS)).astype("float32")
    model = model_of(layers.LIF(**NEURON, dtype="mixed_float16"))
    trace = only(traces(model, current))
    rounded = current[0].astype("float16")
    np.testing.assert_array_equal(trace.currents, rounded)
    found = potentials(trace)
    np.testing.assert_allclose(found[0], reference(rounded)[0], rtol=1e-6)


def test_an_initial_state_is_refused(current):
    inputs = keras.Input((6, UNITS))
    start = 0 * inputs[:, 0] + 4.0
    spikes = layers.LIF(**NEURON, name="lif")(inputs, initial_state=start)
    trace = only(traces(keras.Model(inputs, spikes), 0 * current))
    with pytest.raises(ValueError, match="`layer` must start at rest .* 'lif'"):
        potentials(trace)


def test_an_unknown_layer_is_refused(current):
    model = model_of(layers.LIF(**NEURON, name="lif"))
    with pytest.raises(ValueError, match="`layer` must be one of 'lif'. Rec"):
        traces(model, current, "dense")
