"""Losses and accuracy against their formulas in NumPy."""

import importlib.util

import keras
import numpy as np
import pytest
from backend import gradients, in_torch, needs_torch, to_numpy
from keras import ops
from scipy.special import log_softmax

from keras_snn.losses import (
    CountCrossentropy,
    CountMeanSquaredError,
    MembraneMeanSquaredError,
    RateAccuracy,
    TemporalCrossentropy,
)

LABELS = np.array([0, 2, 1, 1, 2])
ONE_HOT = np.eye(3)


def temporal(x, y, phi=1.0, lamb=0.0):
    """One sample: `x` is (timesteps, classes), `y` its label."""
    crossentropy = -log_softmax(x, -1)[:, y].mean()
    return (1 - lamb) * crossentropy + lamb * ((x - phi) ** 2).mean()


def count(x, y):
    return -log_softmax(x.sum(0))[y]


def count_error(x, y, correct, incorrect):
    target = np.where(ONE_HOT[y] == 1, correct, incorrect) * len(x)
    return ((x.sum(0) - target) ** 2).mean() / len(x)


def membrane_error(x, y, correct, incorrect):
    target = np.where(ONE_HOT[y] == 1, correct, incorrect)
    return ((x - target) ** 2).mean()


CASES = {
    "temporal": (TemporalCrossentropy, {}, temporal),
    "temporal-regularized": (
        TemporalCrossentropy,
        {"phi": -0.5, "lamb": 0.25},
        lambda x, y: temporal(x, y, -0.5, 0.25),
    ),
    "temporal-only-regularizer": (
        TemporalCrossentropy,
        {"phi": 2.0, "lamb": 1.0},
        lambda x, y: temporal(x, y, 2.0, 1.0),
    ),
    "count": (CountCrossentropy, {}, count),
    "count-error": (
        CountMeanSquaredError,
        {},
        lambda x, y: count_error(x, y, 1, 0),
    ),
    "count-error-of-rates": (
        CountMeanSquaredError,
        {"correct_rate": 0.75, "incorrect_rate": 0.125},
        lambda x, y: count_error(x, y, 0.75, 0.125),
    ),
    "membrane-error": (
        MembraneMeanSquaredError,
        {},
        lambda x, y: membrane_error(x, y, 1, 0),
    ),
    "membrane-error-of-potentials": (
        MembraneMeanSquaredError,
        {"correct_potential": 0.5, "incorrect_potential": 0.25},
        lambda x, y: membrane_error(x, y, 0.5, 0.25),
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_loss = pytest.mark.parametrize(
    "loss",
    [
        TemporalCrossentropy,
        CountCrossentropy,
        CountMeanSquaredError,
        MembraneMeanSquaredError,
    ],
)


@pytest.fixture
def outputs(rng):
    return rng.normal(size=(5, 8, 3)).astype("float32")


@every_case
@pytest.mark.parametrize("column", [False, True], ids=["flat", "column"])
def test_losses_are_their_formulas(case, column, outputs):
    loss, arguments, formula = case
    y = LABELS[:, None] if column else LABELS
    found = loss(**arguments, reduction="none")(y, outputs)
    expected = [formula(*each) for each in zip(outputs, LABELS, strict=True)]
    # float32 rounding.
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-5)
    mean = loss(**arguments)(y, outputs)
    assert float(mean) == pytest.approx(np.mean(expected), rel=1e-5)


@every_case
def test_outputs_without_a_time_axis_are_one_timestep(case, outputs):
    loss, arguments, formula = case
    found = loss(**arguments, reduction="none")(LABELS, outputs[:, 0])
    expected = [
        formula(*each) for each in zip(outputs[:, :1], LABELS, strict=True)
    ]
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-5)


def test_probabilities_are_accepted():
    probabilities = np.array([[[0.25, 0.75], [0.5, 0.5]]], "float32")
    found = TemporalCrossentropy(from_logits=False)([1], probabilities)
    expected = -(np.log(0.75) + np.log(0.5)) / 2
    assert float(found) == pytest.approx(expected, rel=1e-5)


@every_case
def test_gradients_are_those_of_the_formulas(case, outputs, double_precision):
    loss, arguments, formula = case
    outputs = outputs[:2, :3].astype("float64")

    def total(x):
        return (loss(**arguments, dtype="float64")(LABELS[:2], x),)

    (found,) = gradients(total, [outputs], [np.ones(())])
    # Central differences: an error of 1e-4 ** 2, and of rounding / 1e-4.
    expected = np.zeros_like(outputs)
    for at in np.ndindex(outputs.shape):
        step = np.zeros_like(outputs)
        step[at] = 1e-4
        up, down = (
            np.mean([formula(*e) for e in zip(x, LABELS[:2], strict=True)])
            for x in (outputs + step, outputs - step)
        )
        expected[at] = (up - down) / 2e-4
    assert found.dtype == "float64"
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.fixture
def half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


@every_loss
def test_half_precision_outputs_are_summed_in_float32(loss, half_precision):
    # 3001 and 1500 spikes; float16 has no 3001.
    spikes = np.ones((1, 3001, 2), "float16")
    spikes[:, ::2, 1] = 0
    found, expected = (
        float(loss()([0], ops.convert_to_tensor(spikes.astype(dtype))))
        for dtype in ("float16", "float32")
    )
    assert found == expected
    metric = RateAccuracy()
    # 3000 and 3001 spikes.
    spikes[:] = 1
    spikes[:, 0, 0] = 0
    metric.update_state([1], ops.convert_to_tensor(spikes))
    assert float(metric.result()) == 1


@every_loss
def test_labels_must_be_classes(loss, outputs):
    with pytest.raises(
        ValueError, match=r"`y_true` .*Received: shape=\(5, 3\)"
    ):
        loss()(ONE_HOT[LABELS], outputs)


@every_loss
def test_outputs_have_two_or_three_axes(loss, outputs):
    with pytest.raises(ValueError, match=r"`y_pred` .*shape=\(5, 8, 1, 3\)"):
        loss()(LABELS, outputs[:, :, None])


@pytest.mark.parametrize(
    ("loss", "change", "error", "message"),
    [
        (TemporalCrossentropy, {"lamb": 1.5}, ValueError, r"`lamb` .*=1.5"),
        (TemporalCrossentropy, {"lamb": -0.5}, ValueError, r"in \[0, 1\]"),
        (
            TemporalCrossentropy,
            {"phi": "1"},
            TypeError,
            "`phi` must be a fin",
        ),
        (TemporalCrossentropy, {"from_logits": 1}, ValueError, "`from_logits`"),
        (CountMeanSquaredError, {"correct_rate": 2}, ValueError, r"`correct_r"),
        (CountMeanSquaredError, {"incorrect_rate": -1}, ValueError, r"`incorr"),
        (
            MembraneMeanSquaredError,
            {"correct_potential": None},
            TypeError,
            "`correct_potential` must be a finite number",
        ),
        (
            MembraneMeanSquaredError,
            {"incorrect_potential": np.nan},
            ValueError,
            "`incorrect_potential` must be finite",
        ),
    ],
    ids=str,
)
def test_impossible_arguments_are_refused(loss, change, error, message):
    with pytest.raises(error, match=message):
        loss(**change)


def test_accuracy_is_that_of_the_mean_over_time():
    # The first sample: class 0, then class 2, and class 1 in the mean.
    outputs = np.array([[[2, 1, 0], [0, 5, 6]], [[1, 0, 0], [1, 0, 0]]])
    metric = RateAccuracy()
    metric.update_state(np.array([1, 1]), outputs.astype("float32"))
    assert float(metric.result()) == 0.5
    metric.update_state(np.array([[1], [0]]), outputs.astype("float32"))
    assert float(metric.result()) == 0.75


def test_accuracy_without_a_time_axis_is_kerass(rng):
    outputs = rng.normal(size=(50, 3)).astype("float32")
    labels = rng.integers(0, 3, 50)
    weights = rng.random(50)
    ours, theirs = RateAccuracy(), keras.metrics.SparseCategoricalAccuracy()
    for metric in (ours, theirs):
        metric.update_state(labels, outputs, weights)
    assert float(ours.result()) == float(theirs.result())


SNNTORCH = """
import snntorch.functional as SF
spikes, potential, labels = (torch.tensor(each) for each in arguments)
losses = {
    "temporal": (SF.ce_rate_loss(), potential),
    "count": (SF.ce_count_loss(), spikes),
    "count-error": (SF.mse_count_loss(), spikes),
    # 8 timesteps times these rates are whole numbers.
    "count-error-of-rates": (SF.mse_count_loss(0.75, 0.125), spikes),
    "membrane-error": (SF.mse_membrane_loss(), potential),
    "membrane-error-of-potentials": (
        SF.mse_membrane_loss(on_target=0.5, off_target=0.25), potential),
}
results = {
    name: float(loss(x.swapaxes(0, 1), labels))
    for name, (loss, x) in losses.items()
}
"""


@needs_torch
@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("snntorch") is None, reason="needs snnTorch"
)
def test_losses_are_those_of_snntorch(outputs):
    spikes = (outputs > 0.5).astype("float32")
    theirs = in_torch(
        SNNTORCH, spikes.tolist(), outputs.tolist(), LABELS.tolist()
    )
    for name, expected in theirs.items():
        loss, arguments, _ = CASES[name]
        x = spikes if name.startswith("count") else outputs
        found = float(loss(**arguments)(LABELS, x))
        assert found == pytest.approx(expected, rel=1e-5), name


def test_half_precision_keeps_classes_apart():
    outputs = np.zeros((1, 2, 300), "float32")
    outputs[..., 257] = 9  # 256 and 257 are one number in bfloat16
    loss = CountCrossentropy(dtype="bfloat16")
    right, wrong = (float(loss(np.array([x]), outputs)) for x in (257, 256))
    assert right < 1 < wrong


@every_loss
@pytest.mark.parametrize("wrong", [-1, 3, 255, 1000])
def test_a_label_outside_the_classes_gives_nan(loss, wrong, outputs):
    right = to_numpy(loss(reduction="none")([1, 2], outputs[:2]))
    found = to_numpy(loss(reduction="none")([1, wrong], outputs[:2]))
    assert found[0] == right[0]
    assert np.isnan(found[1])
    assert np.isfinite(right[1])


@every_loss
def test_a_label_outside_the_classes_shows_in_training(loss, outputs):
    model = keras.Sequential([keras.Input((8, 3)), keras.layers.Dense(3)])
    model.compile("sgd", loss())
    history = model.fit(outputs, np.array([0, 1, 2, 3, 0]), verbose=0).history
    assert np.isnan(history["loss"])


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="TensorFlow's graph"
)
@every_loss
def test_the_number_of_classes_may_be_unknown(loss, outputs):
    import tensorflow as tf

    unknown = tf.TensorSpec((None, None, None))
    compiled = tf.function(loss(), input_signature=[tf.TensorSpec(5), unknown])
    found = compiled(LABELS.astype("float32"), outputs)
    assert float(found) == pytest.approx(float(loss()(LABELS, outputs)))


@every_loss
def test_too_few_labels_are_refused(loss, outputs):
    with pytest.raises(ValueError, match="2 classes for 5 samples"):
        loss()([0, 1], outputs)


@every_loss
def test_a_loss_must_compute_with_floats(loss):
    with pytest.raises(ValueError, match="dtype='int32'"):
        loss(dtype="int32")
