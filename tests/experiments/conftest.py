import dataclasses

import pytest

from experiments import catalogue, recipes
from experiments.records import Record
from experiments.training import Trainer

SHORT = recipes.get("digits-poisson").vary(
    {
        "network.timesteps": 4,
        "network.width": 1 / 4,
        "training.batch_size": 256,
        "training.drop_remainder": True,
    }
)


@pytest.fixture(scope="session")
def digits():
    """A recipe with epochs of 5 iterations."""
    return SHORT


@pytest.fixture(scope="session")
def data():
    """The digits."""
    return SHORT.load()


@pytest.fixture(scope="session")
def whole(data):
    """The record of 12 iterations, two epochs and a bit."""
    return Trainer(SHORT, data, 12).run()


@pytest.fixture(scope="session")
def fake():
    """Makes a record from a curve of training accuracy."""

    def make(accuracy, *, recipe=SHORT, method=None, seed=0, **fields):
        if method:
            recipe = catalogue.variant(recipe, method, seed)
        record = Record(
            recipe=dataclasses.replace(recipe, seed=seed),
            iterations=len(accuracy),
            lost=None,
            to_60=None,
            train_samples=1437,
            test_samples=360,
            tested=[[len(accuracy), 180]],
            rates={"iteration": [0], "lif1": [0.1], "lif2": [0.3]},
            loss=[1.0] * len(accuracy),
            accuracy=list(accuracy),
            later={"every": 25, "loss": [], "accuracy": []},
            seconds=1.0,
            backend="jax",
            versions={"keras": "3", "jax": "0"},
            device="CPU",
            cores=2,
            commit=None,
            time="2026-01-01T00:00:00+00:00",
        )
        return dataclasses.replace(record, **fields)

    return make
