"""Firing rates of deep plain networks before training."""

import json

import numpy as np
import pytest
import reference
from backend import to_numpy

from experiments import rates
from keras_snn import initializers


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in {
        **{"DENSE": 3, "UNITS": 20, "CONVOLUTIONS": 2, "FILTERS": 2, "SIDE": 4},
        **{"SEEDS": 2, "TIMESTEPS": (4,), "LAWS": ("stationary", "asymptote")},
    }.items():
        monkeypatch.setattr(rates, name, value)


def test_rates_are_those_of_a_network_in_numpy():
    neuron = {"k": 0.5, "lam": 0.25, "theta": 1.5}
    found = rates.rates("asymptote", tuple(neuron.values()), 4, seed=3)
    rng = np.random.default_rng(3)
    spikes = (rng.random((rates.SAMPLES, 4, 20)) < 0.15).astype("float64")
    for number, rate in enumerate(found):
        law = initializers.for_layer("asymptote", **neuron, seed=3000 + number)
        kernel = to_numpy(law["kernel_initializer"]((20, 20)))
        bias = to_numpy(law["bias_initializer"]((20,)))
        spikes, _ = reference.lif(spikes @ kernel + bias, **neuron)
        # Rounding may flip one of 160 spikes.
        assert rate == pytest.approx(spikes.mean(), abs=2 / 160)


def test_a_stopped_run_goes_on(tmp_path, capsys):
    path = tmp_path / "rates.json"
    rates.run(path, neurons=[(0.5, 1.0, 1.0)])
    rows = json.loads(path.read_text())
    path.write_text(json.dumps(rows[:1]))
    capsys.readouterr()
    rates.run(path, neurons=[(0.5, 1.0, 1.0)])
    again = json.loads(path.read_text())
    assert again[0] == rows[0]
    measured = [[x | {"time": ""} for x in each] for each in (rows, again)]
    assert measured[0] == measured[1]
    assert [row["seeds"] for row in rows] == [2] * len(rows)
    assert len(capsys.readouterr().out.splitlines()) == len(rows) - 1


def test_table_shows_what_an_unfinished_run_has():
    row = {"network": "dense", "timesteps": 4, "neuron": [0.5, 1, 1]}
    row |= {"law": "stationary", "rates": [0.15, 0.18]}
    assert rates.table([row]) == [
        ["network", "stationary", "asymptote"],
        ["2 layers, dense, T=4", "1 of 1, 0.180", ""],
    ]


def test_table_counts_networks_that_stay_at_the_target():
    row = {"network": "dense", "timesteps": 4, "neuron": [0.5, 1, 1]}
    rows = [
        row | {"law": "stationary", "rates": [0.15, 0.18]},
        row | {"law": "stationary", "rates": [0.15, 0.2]},
        row | {"law": "asymptote", "rates": [0.1, 0.0]},
    ]
    assert rates.table(rows) == [
        ["network", "stationary", "asymptote"],
        ["2 layers, dense, T=4", "1 of 2, 0.190", "0 of 1, 0.000"],
    ]
