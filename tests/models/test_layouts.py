"""Networks from a line of text."""

import keras
import numpy as np
import pytest
import reference
from backend import to_numpy
from pairs import pairs

import keras_snn
from keras_snn import models
from keras_snn.layers import LIF
from keras_snn.models import sequential_snn

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize("name", ["batch", "bntt", "tdbn"])
@pytest.mark.parametrize("encoder", ["constant", None])
def test_normalization_sits_between_synapses_and_neurons(name, encoder, rng):
    lead = (6, 3) if encoder is None else (6,)
    x = rng.random((*lead, 8, 10, 1)).astype("float32")
    logits = []
    for data_format in ("channels_first", "channels_last"):
        model = sequential_snn(
            *("C4 P C5 P FC6", (8, 10, 1), 3, 3),
            encoder=encoder,
            normalization=name,
            data_format=data_format,
            lam=0.8,  # enough for the last neurons to fire
            theta=0.5,
            seed=0,
        )
        cls = {
            "batch": keras.layers.BatchNormalization,
            "bntt": keras_snn.layers.BNTT,
            "tdbn": keras_snn.layers.TDBN,
        }[name]
        found = [type(x) for x in model.layers]
        places = [i for i, kind in enumerate(found) if kind is LIF]
        assert len(places) == 3
        assert [found[i - 1] for i in places] == [cls] * 3
        normalizations = [x for x in model.layers if isinstance(x, cls)]
        assert [x.gamma.shape[-1] for x in normalizations] == [4, 5, 6]
        if name == "tdbn":
            assert {x.theta for x in normalizations} == {0.5}
        # Kernels of the three, kernel and bias of the last dense layer.
        kernels = [w for w in model.trainable_weights if "kernel" in w.path]
        biases = [w for w in model.trainable_weights if "/bias" in w.path]
        assert (len(kernels), len(biases)) == (4, 1)
        logits.append(to_numpy(model(x, training=True)))
    # Sums in another order may differ, but too little here for other spikes.
    np.testing.assert_allclose(*logits, rtol=0, atol=1e-5)
    assert (np.ptp(logits[0], axis=0) > 0.01).all()


@pytest.mark.parametrize("encoder", ["constant", None])
def test_readouts_agree(encoder, rng):
    lead = (6, 8) if encoder is None else (6,)
    x = rng.random((*lead, 4, 4, 1)).astype("float32")
    neuron = {"k": 0.5, "lam": 1.0, "theta": 0.5}
    mean, sequence, rate, potential = (
        sequential_snn(
            *("FC30", (4, 4, 1), 5, 8),
            **neuron,
            encoder=encoder,
            readout=readout,
            detach_reset=readout == "rate",
            seed=0,
        )
        for readout in models.READOUTS
    )
    logits = to_numpy(sequence(x))
    assert logits.shape == (6, 8, 5)
    np.testing.assert_allclose(to_numpy(mean(x)), logits.mean(1), atol=1e-5)
    spikes, _ = reference.lif(logits, **neuron)
    assert 0.05 < spikes.mean() < 0.95
    np.testing.assert_allclose(to_numpy(rate(x)), spikes.mean(1), atol=1e-6)
    # Without a threshold, a neuron weights a current by its age.
    weights = neuron["lam"] * neuron["k"] ** np.arange(8)[::-1]
    expected = np.einsum("t,btc->bc", weights, logits)
    np.testing.assert_allclose(to_numpy(potential(x)), expected, atol=1e-5)
    for model, detached in ((mean, False), (rate, True)):
        neurons = [x for x in model.layers if isinstance(x, LIF)]
        assert {x.detach_reset for x in neurons} == {detached}
    assert len(neurons) == 2


@pairs(
    layout=(
        *("D0.5 FC7", "FC20", "FC20 D0.5 FC6"),
        *("P C4 G", "P C4 P", "C3 G D0.5 FC5"),
    ),
    encoder=models.ENCODERS,
)
def test_every_layout_trains(layout, encoder, rng):
    model = sequential_snn(
        layout, (8, 9, 2), 3, timesteps=4, encoder=encoder, seed=0
    )
    model.compile("sgd", LOSS)
    lead = (8, 4) if encoder is None else (8,)
    x = rng.random((*lead, 8, 9, 2)).astype("float32")
    fit = model.fit(x, np.arange(8) % 3, verbose=0)
    assert np.isfinite(fit.history["loss"]).all()
    assert model.output_shape == (None, 3)


def test_there_may_be_nothing_to_recompute():
    model = sequential_snn(
        "D0.5 FC4", (4, 4, 1), 2, encoder="constant", recompute=True
    )
    assert model.output_shape == (None, 2)


def test_a_number_after_the_star_repeats_the_layer():
    short = sequential_snn("C4*2 P FC6*3", (8, 8, 1), 3, timesteps=2, seed=0)
    long = sequential_snn(
        "C4 C4 P FC6 FC6 FC6", (8, 8, 1), 3, timesteps=2, seed=0
    )
    assert [x.name for x in short.layers[1:]] == [
        x.name for x in long.layers[1:]
    ]
    for one, other in zip(short.weights, long.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


@pytest.mark.parametrize(
    ("layout", "change", "message"),
    [
        ("C32 Q", {}, "`layout` must be words such as C32.*Received: 'Q' in"),
        ("C0", {}, "Received: 'C0'"),
        ("D1.5 C3", {}, "Received: 'D1.5'"),
        (7, {}, "Received: 7"),
        ("D0.5 C3", {}, "Received: 'C3' in"),
        ("FC5 C3", {}, "C, P or G after FC.*Received: 'C3' in"),
        ("C3 G P", {}, "Received: 'P' in"),
        ("C4*0", {}, "`layout` must be words such as"),
        ("P*2 C4", {}, "Received: 'P\\*2' in"),
        ("", {}, "at least one C or FC. Received: layout=''"),
        ("P", {}, "at least one C or FC. Received: layout='P'"),
        ("C3", {"width": 0}, "`width` must be above 0"),
        ("C3", {"normalization": "group"}, "`normalization` must be one of"),
        (
            "C3",
            {"normalization": "bntt", "recompute": True},
            "`recompute` must be False with a normalization",
        ),
    ],
)
def test_bad_layouts_are_refused(layout, change, message):
    with pytest.raises(ValueError, match=message):
        sequential_snn(layout, (8, 8, 1), 3, **change)


def test_bntt_models_take_their_own_number_of_timesteps_alone(rng):
    model = sequential_snn(
        *("C4 FC6", (8, 8, 1), 3, 5), encoder=None, normalization="bntt"
    )
    with pytest.raises(
        ValueError,
        match="shape=.None, 5|made for timesteps=5|`timesteps` divides",
    ):
        model.predict(rng.random((2, 4, 8, 8, 1)), verbose=0)
