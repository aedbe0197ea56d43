"""Firing rates: which timesteps count, in which mode, of which inputs."""

import keras
import numpy as np
import pytest
import reference

from keras_snn.callbacks import firing_rates
from keras_snn.layers import LIF, LIFRNNCell, Recompute

NEURON = {"k": 0.5, "lam": 0.5, "theta": 1.0}
BACKEND = keras.config.backend()
MASK = np.array(
    [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0, 0],
        [0, 1, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1],
    ],
    bool,
)


@pytest.fixture
def current(rng):
    # Exact in float32, see test_dynamics. No timestep is all zeros.
    current = (rng.integers(-16, 65, (5, 6, 3)) / 16).astype("float32")
    current[..., 2] = -1  # A silent neuron.
    return current


def lif_model(shape=(6, 3)):
    return keras.Sequential([keras.Input(shape), LIF(**NEURON, name="lif")])


def summary(spikes):
    """Rate and silent fraction of spikes `(counted timesteps, neurons)`."""
    return spikes.mean(), np.mean(spikes.sum(axis=0) == 0)


def masked_model(neurons, explicit):
    inputs = keras.Input((6, 3))
    if not explicit:
        masked = keras.layers.Masking()(inputs)
        return keras.Model(inputs, neurons(masked))
    mask = keras.Input((6,), dtype="bool")
    return keras.Model([inputs, mask], neurons(inputs, mask=mask))


@pytest.mark.parametrize("explicit", [False, True], ids=["Masking", "explicit"])
@pytest.mark.parametrize("backwards", [False, True], ids=["forward", "back"])
@pytest.mark.parametrize("sequences", [False, True], ids=["last", "all"])
@pytest.mark.parametrize("kind", ["LIF", "RNN"])
def test_masked_timesteps_do_not_count(
    kind, sequences, backwards, explicit, current
):
    options = {"return_sequences": sequences, "go_backwards": backwards}
    if kind == "LIF":
        neurons = LIF(**NEURON, **options, name="neurons")
    else:
        cell = LIFRNNCell(3, **NEURON)
        # JAX needs it, see `LIFRNNCell`. PyTorch cannot unroll backwards.
        options["unroll"] = BACKEND == "jax"
        neurons = keras.layers.RNN(cell, **options, name="neurons")
    current[~MASK] = 0
    x = [current, MASK] if explicit else current
    rates = firing_rates(masked_model(neurons, explicit), x, batch_size=2)

    order = slice(None, None, -1 if backwards else 1)
    mask = MASK[:, order]
    spikes, _ = reference.lif(current[:, order], **NEURON, mask=mask)
    counted = spikes[mask] if sequences else spikes[mask.any(axis=1), -1]
    assert rates["neurons"] == pytest.approx(summary(counted), rel=1e-12)


def test_a_layer_without_an_unmasked_timestep_has_no_rate():
    model = masked_model(LIF(**NEURON, name="lif"), explicit=True)
    x = [np.ones((2, 6, 3), "float32"), np.zeros((2, 6), "bool")]
    assert np.isnan(firing_rates(model, x)["lif"]).all()


@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.parametrize("recompute", [False, True], ids=["model", "Recompute"])
def test_masks_reach_nested_models_unless_recompute_drops_them(
    recompute, current
):
    inner = lif_model()
    inputs = keras.Input((6, 3))
    masked = keras.layers.Masking()(inputs)
    outputs = (Recompute(inner) if recompute else inner)(masked)
    current[~MASK] = 0
    rates = firing_rates(keras.Model(inputs, outputs), current)
    mask = np.ones_like(MASK) if recompute else MASK
    spikes, _ = reference.lif(current, **NEURON, mask=mask)
    assert rates["lif"] == pytest.approx(summary(spikes[mask]), rel=1e-12)


def test_batches_of_unequal_length_count_all_timesteps(current):
    batches = [current, current[:2, :3]]
    rates = firing_rates(lif_model((None, 3)), (batch for batch in batches))
    spikes = [reference.lif(x, **NEURON)[0].reshape(-1, 3) for x in batches]
    expected = summary(np.concatenate(spikes))
    assert rates["lif"] == pytest.approx(expected, rel=1e-12)


def test_training_uses_the_statistics_of_the_batch():
    # The batch has mean 1000 and variance 1. The cold averages are 0 and 1.
    x = 1000 + np.tile([1.0, -1.0, -1.0, 1.0], (2, 3, 1)).astype("float32")
    x[1] = 2000 - x[1]
    model = keras.Sequential(
        [
            keras.Input((3, 4)),
            keras.layers.BatchNormalization(),
            LIF(k=0.5, lam=2.0, theta=1.0, name="lif"),
        ]
    )
    assert firing_rates(model, x)["lif"] == (1.0, 0.0)
    # Half of the normalized currents are 1, which fires at once. The others
    # are -1. They lower the potential, but a spike clears it.
    assert firing_rates(model, x, training=True)["lif"] == (0.5, 0.0)


def test_dropout_is_active_in_training_only():
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            keras.layers.Dropout(0.5),
            LIF(k=0.25, lam=1.0, theta=1.5, name="lif"),
        ]
    )
    x = np.ones((60, 6, 3), "float32")
    # Potentials stay below 1 / (1 - k) = 4/3.
    assert firing_rates(model, x)["lif"] == (0.0, 1.0)
    # A current of 2 fires at once, a current of 0 never does. 1080 draws have
    # a standard deviation of 0.015.
    rate, silent = firing_rates(model, x, training=True)["lif"]
    assert rate == pytest.approx(0.5, abs=0.08)
    assert silent == 0


class Counter(keras.layers.Layer):
    """Has a metric that counts calls."""

    def __init__(self):
        super().__init__()
        self.calls = keras.metrics.Sum(name="calls")

    def call(self, inputs):
        self.calls.update_state(1.0)
        return inputs


@pytest.mark.parametrize("training", [False, True], ids=["inference", "fit"])
def test_measuring_restores_everything_that_a_call_changes(training, rng):
    model = keras.Sequential(
        [
            keras.Input((6, 3), batch_size=2),
            keras.layers.SpectralNormalization(keras.layers.Dense(3)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dropout(0.5, seed=1),
            Counter(),
            LIF(**NEURON, stateful=True),
        ]
    )

    def state():
        variables = [*model.variables, *model.metrics_variables]
        values = [np.array(variable) for variable in variables]
        if BACKEND == "torch":
            import torch

            values.append(torch.get_rng_state().numpy())
        return values

    x = rng.random((4, 6, 3)).astype("float32")
    before = state()
    first = firing_rates(model, x, batch_size=2, training=training)
    for old, new in zip(before, state(), strict=True):
        np.testing.assert_array_equal(old, new)
    # Equal draws.
    assert first == firing_rates(model, x, batch_size=2, training=training)


class Parts(keras.utils.PyDataset):
    """Batches of two samples, with their labels."""

    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return -(-len(self.x) // 2)

    def __getitem__(self, index):
        part = self.x[2 * index : 2 * index + 2]
        return part, np.zeros(len(part))


def tf_dataset(x):
    if BACKEND == "torch":
        pytest.skip("PyTorch crashes in a process with TensorFlow")
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((x, np.zeros(len(x)))).batch(2)


def data_loader(x):
    if BACKEND != "torch":
        pytest.skip("PyTorch crashes in a process with TensorFlow or JAX")
    from torch.utils import data

    return data.DataLoader(list(zip(x, np.zeros(len(x)), strict=True)), 2)


SOURCES = {
    "array": lambda x: x,
    "tensor": keras.ops.convert_to_tensor,
    "list": lambda x: [x],
    "dictionary": lambda x: {"current": x},
    "PyDataset": Parts,
    "generator": lambda x: (x[[i]] for i in range(len(x))),
    "generator of dictionaries": lambda x: (
        ({"current": x[[i]]}, None) for i in range(len(x))
    ),
    "tf.data": tf_dataset,
    "DataLoader": data_loader,
}


@pytest.fixture(scope="module")
def named_model():
    inputs = keras.Input((6, 3), name="current")
    return keras.Model(inputs, LIF(**NEURON, name="lif")(inputs))


@pytest.mark.parametrize("source", SOURCES)
def test_inputs_are_what_predict_takes(source, named_model, current):
    rates = firing_rates(named_model, SOURCES[source](current))
    spikes, _ = reference.lif(current, **NEURON)
    expected = summary(spikes.reshape(-1, 3))
    assert rates["lif"] == pytest.approx(expected, rel=1e-12)


class Endless(Parts):
    num_batches = None


ONES = np.ones((2, 6, 3), "float32")
BAD = {
    "empty": (ONES[:0], {}, "at least one sample"),
    "no batches": ((x for x in ()), {}, "at least one batch, and a generator"),
    "no arrays": ([1.0, 2.0], {}, "`x` must be an array"),
    "path": ("images.npy", {}, "`x` must be an array"),
    "nothing": (None, {}, "`x` must be an array"),
    "endless": (Endless(ONES), {}, "`x` must have a last batch"),
    "batch size": (Parts(ONES), {"batch_size": 2}, "must be `None` if `x`"),
    "no batch size": (ONES, {"batch_size": 0}, "`batch_size` must be at least"),
    "mode": (ONES, {"training": "fit"}, "`training` must be one of False"),
    "features": (
        ONES[..., :2],
        {},
        r"inputs of the model, {'current': \(None, 6",
    ),
    "too many": ([ONES, ONES], {}, r"Received: shapes=\[\(2, 6, 3\), \(2"),
    "wrong name": ({"curent": ONES}, {}, r"of the model, .* shapes=\[\]"),
    "one sample": (iter(ONES), {}, r"Received: shapes=\[\(6, 3\)\]"),
}


@pytest.mark.parametrize(("x", "options", "message"), BAD.values(), ids=BAD)
def test_bad_inputs_are_refused(x, options, message, named_model):
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        firing_rates(named_model, x, **options)
    assert len(str(caught.value).splitlines()) == 1


def test_endless_datasets_are_refused(named_model):
    with pytest.raises(ValueError, match="`x` must have a last batch"):
        firing_rates(named_model, tf_dataset(ONES).repeat())


def test_every_batch_must_have_the_same_neurons():
    batches = (np.ones((1, 2, size, 3), "float32") for size in (1, 4))
    with pytest.raises(ValueError, match="'lif' the same neurons in every"):
        firing_rates(lif_model((None, None, 3)), batches)
