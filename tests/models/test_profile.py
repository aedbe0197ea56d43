"""`profile`: operations counted by hand, and as NeuroBench counts them."""

import keras
import numpy as np
import pytest
import reference

from keras_snn import layers
from keras_snn.models import five_layer_snn, profile
from keras_snn.models.profile import ENERGY, Energy
from tests.backend import to_numpy


def spikes(rng, *shape):
    return (rng.random(shape) < 0.3).astype("float32")


def test_an_operation_needs_an_input_and_a_weight(rng):
    inputs = keras.Input((5, 4))
    dense = keras.layers.Dense(3, name="dense")
    model = keras.Model(inputs, layers.LIF(name="lif")(dense(inputs)))
    kernel = rng.normal(size=(4, 3)) * (rng.random((4, 3)) < 0.6)
    dense.set_weights([kernel, np.ones(3)])
    x = spikes(rng, 2, 5, 4)
    found = profile(model, x).layers
    expected = ((x != 0) @ (kernel != 0).astype(float)).sum() / 2
    assert 0 < expected < 5 * 12
    assert found["dense"].acs == expected
    assert found["dense"].macs == 0
    assert found["dense"].dense == 5 * 12
    assert (found["dense"].parameters, found["dense"].bytes) == (15, 60)
    fired = to_numpy(model(x))
    assert found["lif"].spikes == fired.sum() / 2
    assert found["lif"].updates == 5 * 3
    np.testing.assert_allclose(found["lif"].rate, fired.mean(), rtol=1e-6)
    # A single input between 0 and 1 makes the layer multiply.
    x[0, 0, 0] = 0.5
    assert profile(model, x).layers["dense"].acs == 0
    assert profile(model, x).layers["dense"].macs > 0


def correlate(x, kernel):
    """Counts the operations of a 3x3 "same" convolution with stride 2."""
    count = 0.0
    size = x.shape[-2]
    outputs = -(-size // 2)
    before = max(0, 2 * (outputs - 1) + 3 - size) // 2
    for sample in x.reshape(-1, size, size, x.shape[-1]):
        for row in range(outputs):
            for column in range(outputs):
                for i in range(3):
                    for j in range(3):
                        at = 2 * row + i - before, 2 * column + j - before
                        if min(at) >= 0 and max(at) < size:
                            count += (sample[at] @ kernel[i, j]).sum()
    return count


@pytest.mark.parametrize(
    "wrap", [layers.PerTimestep, keras.layers.TimeDistributed]
)
def test_a_convolution_does_not_count_its_padding(rng, wrap):
    inputs = keras.Input((3, 5, 5, 2))
    conv = layers.Conv2D(4, 3, strides=2, padding="same")
    x = layers.LIF(k=0.5, lam=9.0)(wrap(conv, name="conv")(inputs))
    model = keras.Model(inputs, x)
    images = spikes(rng, 2, 3, 5, 5, 2)
    kernel = to_numpy(conv.kernel)
    found = profile(model, images).layers["conv"]
    ones = np.ones_like(kernel)
    assert found.acs == correlate(images, (kernel != 0).astype(float)) / 2
    assert found.dense == correlate(np.ones_like(images), ones) / 2


def test_a_recurrent_kernel_gets_the_spikes_of_the_timestep_before(rng):
    inputs = keras.Input((6, 4))
    neurons = layers.RecurrentLIF(4, k=0.5, lam=2.0, name="neurons")
    model = keras.Model(inputs, neurons(inputs))
    kernel = rng.normal(size=(4, 4)) * (rng.random((4, 4)) < 0.6)
    neurons.set_weights([kernel])
    x = 2 * rng.random((2, 6, 4)).astype("float32")
    fired = to_numpy(model(x))
    found = profile(model, x).layers["neurons"]
    expected = (fired[:, :-1] @ (kernel != 0).astype(float)).sum() / 2
    assert found.acs == expected > 0
    assert found.dense == 5 * 16


def test_energy_is_that_of_multiplications_and_additions(rng):
    model = five_layer_snn((8, 8, 1), timesteps=3, seed=0)
    x = rng.random((2, 8, 8, 1)).astype("float32")
    found = profile(model, x, energy=Energy(100.0, 1.0, "made up"))
    for costs in found.layers.values():
        several = costs.macs + costs.updates
        assert costs.energy == 100 * several + several + costs.acs
    assert found.total.parameters == model.count_params()
    assert found.total.bytes == 4 * model.count_params()
    for name in ("spikes", "macs", "acs", "dense", "updates", "energy"):
        total = sum(getattr(x, name) for x in found.layers.values())
        assert getattr(found.total, name) == total
    assert "made up" in str(found)
    assert ENERGY["float32"].multiply + ENERGY["float32"].add == 4.6e-12


def test_layers_that_run_once_for_all_timesteps_count_once(rng):
    x = rng.random((1, 8, 8, 1)).astype("float32")
    found = {
        encoder: profile(
            five_layer_snn((8, 8, 1), timesteps=4, seed=0, encoder=encoder), x
        ).layers["conv1"]
        for encoder in ("constant", "poisson")
    }
    assert 4 * found["constant"].dense == found["poisson"].dense


def test_models_inside_and_layers_used_twice_are_counted(rng):
    inside = keras.Input((3, 4))
    block = keras.Model(
        inside, layers.LIF(name="lif")(keras.layers.Dense(4)(inside))
    )
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, block(block(inputs)))
    found = profile(model, spikes(rng, 2, 3, 4))
    assert [x.partition(":")[2] for x in found.layers] == ["", "", "2", "2"]
    assert found.total.dense == 2 * 3 * 16
    assert found.total.parameters == 20


def test_batches_do_not_matter_and_the_model_stays_as_it_was(rng):
    model = five_layer_snn((8, 8, 1), timesteps=3, seed=0)
    x = np.round(rng.random((5, 8, 8, 1))).astype("float32")
    assert profile(model, x, batch_size=2) == profile(model, x)
    gray = 0.5 * np.ones_like(x)
    assert profile(model, gray) == profile(model, gray)


def test_an_unknown_energy_is_refused(rng):
    model = five_layer_snn((8, 8, 1), timesteps=2)
    with pytest.raises(ValueError, match="`energy` must be one of"):
        profile(model, rng.random((1, 8, 8, 1)), energy="float8")


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="NeuroBench is PyTorch's"
)
def test_neurobench_counts_the_same(rng):
    macs = pytest.importorskip(
        "neurobench.metrics.utils.layers", reason="NeuroBench is not installed"
    ).single_layer_MACs
    import torch

    inputs = keras.Input((3, 6, 6, 2))
    conv = layers.Conv2D(4, 3, padding="same")
    dense = keras.layers.Dense(5)
    x = layers.LIF(k=0.5, lam=9.0)(layers.PerTimestep(conv, name="c")(inputs))
    x = layers.PerTimestep(keras.layers.Flatten())(x)
    middle = layers.PerTimestep(dense, name="d")
    model = keras.Model(inputs, layers.LIF()(middle(x)))
    images = spikes(rng, 2, 3, 6, 6, 2)
    images[0, 0] *= 0.5
    found = profile(model, images).layers
    fired = to_numpy(keras.Model(inputs, x)(images)).reshape(6, -1)
    theirs = torch.nn.Conv2d(2, 4, 3, padding=1)
    theirs.weight.data = torch.tensor(to_numpy(conv.kernel)).permute(3, 2, 0, 1)
    folded = torch.tensor(images.reshape(6, 6, 6, 2)).permute(0, 3, 1, 2)
    assert macs(folded, theirs) == (2 * found["c"].macs, False)
    assert macs(folded, theirs, total=True)[0] == 2 * found["c"].dense
    theirs = torch.nn.Linear(144, 5)
    theirs.weight.data = torch.tensor(to_numpy(dense.kernel).T)
    assert macs(torch.tensor(fired), theirs) == (2 * found["d"].acs, True)
    assert found["d"].acs > 0


@pytest.mark.parametrize("in_a_cell", [False, True])
def test_the_last_spikes_cost_as_much_as_all(rng, in_a_cell):
    def network(sequences):
        inputs = keras.Input((6, 4))
        options = {"return_sequences": sequences, "name": "neurons"}
        if in_a_cell:
            cell = layers.RecurrentCell(layers.LIFRNNCell(4, k=0.5, lam=2.0))
            neurons = keras.layers.RNN(cell, **options)
        else:
            neurons = layers.RecurrentLIF(4, k=0.5, lam=2.0, **options)
        return keras.Model(inputs, neurons(inputs))

    whole, last = network(True), network(False)
    last.set_weights(whole.get_weights())
    x = 2 * rng.random((2, 6, 4)).astype("float32")
    found = profile(whole, x)
    assert found.total.acs > 0
    assert found.total.dense == 5 * 16
    assert profile(last, x) == found


def test_integrators_and_second_states_are_updated(rng):
    inputs = keras.Input((5, 3))
    x = layers.CubaLIF(name="cuba")(inputs)
    x = layers.LeakyIntegrator(name="integrator")(x)
    found = profile(keras.Model(inputs, x), spikes(rng, 2, 5, 3)).layers
    assert found["cuba"].updates == 2 * 15
    assert found["integrator"].updates == 15
    assert found["integrator"].rate is None


def test_an_rnn_of_integrators_is_updated(rng):
    inputs = keras.Input((5, 3))
    cell = layers.LeakyIntegratorCell(3)
    x = keras.layers.RNN(cell, return_sequences=True, name="rnn")(inputs)
    found = profile(keras.Model(inputs, x), spikes(rng, 2, 5, 3)).layers
    assert found["rnn"].updates == 15
    assert found["rnn"].rate is None


def test_a_normalization_has_no_products(rng):
    inputs = keras.Input((5, 3))
    x = layers.BNTT(5)(keras.layers.BatchNormalization()(inputs))
    model = keras.Model(inputs, layers.LIF()(x))
    assert profile(model, spikes(rng, 2, 5, 3)).uncounted == ()


def test_what_is_not_counted_is_named(rng):
    inputs = keras.Input((3, 6, 6, 2))
    wrapped = layers.PerTimestep(keras.layers.SeparableConv2D(4, 3, name="sep"))
    x = wrapped(inputs)
    x = layers.PerTimestep(keras.layers.Conv2DTranspose(2, 2, name="up"))(x)
    found = profile(
        keras.Model(inputs, layers.LIF()(x)), spikes(rng, 2, 3, 6, 6, 2)
    )
    assert found.uncounted == ("sep",)
    assert "Not counted: sep." in str(found)
    # Every input of "up" reaches 2x2 outputs with 2 filters.
    (name,) = (x for x in found.layers if "per_timestep" in x)
    assert found.layers[name].dense == 3 * 16 * 4 * 4 * 2


def test_many_operations_do_not_overflow():
    inputs = keras.Input((300, 4096))
    dense = keras.layers.Dense(4096, name="dense")
    model = keras.Model(inputs, layers.LIF()(dense(inputs)))
    found = profile(model, np.zeros((1, 300, 4096), "float32"))
    assert found.layers["dense"].dense == 300 * 4096**2 > 2**32


def test_masked_timesteps_send_no_spikes(rng):
    inputs = keras.Input((6, 4))
    masked = keras.layers.Masking()(inputs)
    neurons = layers.RecurrentLIF(4, k=0.5, lam=2.0, name="neurons")
    model = keras.Model(inputs, neurons(masked))
    x = 2 * rng.random((2, 6, 4)).astype("float32")
    x[:, 3:] = 0.0
    short = keras.Input((3, 4))
    expected = profile(keras.Model(short, neurons(short)), x[:, :3])
    assert expected.layers["neurons"].acs > 0
    assert profile(model, x).layers["neurons"] == expected.layers["neurons"]


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_layers_behind_the_last_spikes_are_counted(reset, rng):
    neuron = {"k": 0.5, "lam": 1.0, "theta": 1.0, "reset": reset}
    inputs = keras.Input((5, 4))
    last = layers.LIF(**neuron, return_sequences=False)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, name="out")(last))
    x = rng.integers(0, 8, (6, 5, 4)).astype("float32") / 4
    spikes, _ = reference.lif(x, **neuron)
    found = profile(model, x).layers
    assert found["out"].acs == pytest.approx(3 * spikes[:, -1].sum() / 6)
    assert found["out"].dense == 12
    assert found[model.layers[1].name].updates == 5 * 4
