"""Losses and accuracy against their formulas in NumPy."""

import keras
import numpy as np
import pytest
from backend import to_numpy
from scipy.special import log_softmax, softmax

from experiments import losses
from experiments.recipes import Training

ONE_HOT = np.eye(3)
FORMULAS = {
    "crossentropy": lambda x, t: -(log_softmax(x, -1) * t).sum(-1),
    "mse": lambda x, t: ((x - t) ** 2).mean(-1),
    "mse-softmax": lambda x, t: ((softmax(x, -1) - t) ** 2).mean(-1),
}


@pytest.mark.parametrize("timesteps", [None, 4])
@pytest.mark.parametrize("column", [False, True], ids=["flat", "column"])
@pytest.mark.parametrize("name", losses.LOSSES)
def test_losses_are_their_formulas(name, column, timesteps, rng):
    labels = np.array([0, 2, 1, 1, 2])
    axes = (5, 3) if timesteps is None else (5, timesteps, 3)
    outputs = rng.normal(size=axes).astype("float32")
    targets = ONE_HOT[labels]
    if timesteps is not None:
        targets = targets[:, None]
    expected = FORMULAS[name](outputs, targets).reshape(5, -1).mean(1)
    y = labels[:, None] if column else labels
    found = losses.get(name)(
        keras.ops.convert_to_tensor(y), keras.ops.convert_to_tensor(outputs)
    )
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-5)


def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match=r"training\.loss.*Received.*'hinge'"):
        losses.get("hinge")


def test_the_default_is_kerass_crossentropy(rng):
    labels = rng.integers(0, 3, 7)
    outputs = rng.normal(size=(7, 3)).astype("float32")
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = losses.get(Training().loss)(labels, outputs)
    mean = float(keras.ops.mean(found))
    assert mean == pytest.approx(float(expected(labels, outputs)), rel=1e-6)
