"""Gradients, potentials and rates of the first iterations."""

import json

import keras
import numpy as np
import pytest
import reference

from experiments import losses, recipes, report, stability

TINY = recipes.get("digits-poisson").vary(
    {"network.timesteps": 3, "network.width": 1 / 8}
)


def test_gradient_norms_are_those_of_the_formula(rng):
    x = rng.normal(size=(5, 4)).astype("float32")
    labels = rng.integers(0, 3, 5)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    weights, bias = model.get_weights()
    (found,) = stability.gradient_norms(model, losses.get("mse"), x, labels)
    error = x @ weights + bias - np.eye(3)[labels]
    # The loss of a sample is the mean over 3 classes; the total, over 5.
    expected = np.linalg.norm(x.T @ (2 * error / 3) / 5)
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_measurement_leaves_the_model_as_it_was(rng):
    model = TINY.build((8, 8, 1), 1)
    x = rng.integers(0, 256, (6, 8, 8, 1)).astype("uint8")
    y = rng.integers(0, 10, 6)
    first, second = (
        stability.measure(model, losses.get("crossentropy"), x, y)
        for _ in range(2)
    )
    assert first == second  # The noise is the same again.
    assert {name: len(values) for name, values in first.items()} == {
        "norms": 5,
        "spreads": 4,
        "rates": 4,
    }
    assert all(0 < rate < 1 for rate in first["rates"][:2])


def test_spread_and_rate_are_those_of_eq_2(rng):
    neuron = {"k": 0.5, "lam": 2.0, "theta": 1.5}
    changes = {f"network.{name}": value for name, value in neuron.items()}
    # Constant coding has no noise.
    recipe = TINY.vary(changes | {"network.encoder": "constant"})
    model = recipe.build((8, 8, 1), 1)
    x = rng.integers(0, 256, (6, 8, 8, 1)).astype("uint8")
    found = stability.measure(
        model, losses.get("crossentropy"), x, rng.integers(0, 10, 6)
    )
    first = model.get_layer("lif1")
    current = keras.Model(model.input, first.input).predict(x, verbose=0)
    spikes, _ = reference.lif(current, **neuron)
    # Only the reset tells the potential after a spike from the one before.
    potential = np.zeros_like(current[:, 0], "float64")
    potentials = []
    for t in range(current.shape[1]):
        potentials.append(0.5 * potential + 2.0 * current[:, t])
        potential = potentials[-1] * (1 - spikes[:, t])
    assert found["rates"][0] == pytest.approx(spikes.mean(), abs=0.01)
    assert found["spreads"][0] == pytest.approx(
        np.std(potentials) / 1.5, rel=1e-3
    )


def test_a_figure_shows_every_layer_of_the_steepest_surrogate():
    def row(a, detached):
        changes = {"k": 0.8, "lam": 0.2, "theta": 1.0, "a": a}
        changes |= {"detach_reset": detached}
        return {
            "changes": {f"network.{x}": y for x, y in changes.items()},
            "iteration": [0, 5],
            "norms": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
            "spreads": [[0.1, 0.2], [0.3, 0.4]],
            "rates": [[0.5, 0.6], [0.7, 0.8]],
        }

    rows = [row(a, x) for a in stability.STEEPNESS for x in (False, True)]
    norms, spreads, rates = stability.figure(rows, "title", layers=True).axes
    assert [len(x.lines) for x in (norms, spreads, rates)] == [6, 4, 4]
    third = norms.lines[2]
    assert third.get_label() == "layer 3, attached"
    assert third.get_ydata().tolist() == [3.0, 6.0]
    assert spreads.lines[1].get_ydata().tolist() == [0.2, 0.4]
    assert rates.lines[3].get_ydata().tolist() == [0.6, 0.8]
    assert rates.lines[3].get_linestyle() == "--"
    assert norms.get_title().endswith("k θ a = 1.6")


def test_both_kinds_of_sgd_have_their_figures(tmp_path):
    changes = {f"network.{x}": 1.0 for x in ("k", "lam", "theta")}
    changes |= {"network.a": 2.0, "network.detach_reset": False}
    values = {"iteration": [0], "norms": [[1.0]], "rates": [[0.1]]}
    rows = [
        {"changes": changes | {"training.optimizer": x}, "spreads": [[0.5]]}
        | values
        for x in ("sgd", "asgd")
    ]
    (tmp_path / stability.FILE).write_text(json.dumps(rows))
    report.write({}, tmp_path)
    text = (tmp_path / "REPORT.md").read_text()
    for name in ("sgd", "sgd-layers", "asgd", "asgd-layers"):
        assert f"(figures/stability-{name}.png)" in text
        assert (tmp_path / "figures" / f"stability-{name}.png").exists()


@pytest.mark.slow
def test_a_stopped_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(stability, "ITERATIONS", 5)
    monkeypatch.setattr(stability, "STEEPNESS", (1.0,))
    path = tmp_path / "stability.json"
    neurons = ((0.8, 0.2, 1.0), (1.0, 1.0, 1.0))
    stability.run(path, neurons=neurons[:1], recipe=TINY)
    half = json.loads(path.read_text())
    stability.run(path, neurons=neurons, recipe=TINY)
    rows = json.loads(path.read_text())
    assert rows[:4] == half
    assert [row["iteration"] for row in rows] == [[0, 5]] * 8
    used = [row["changes"]["training.optimizer"] for row in rows]
    assert used == ["sgd", "sgd", "asgd", "asgd"] * 2
    # They start from the same weights and go different ways.
    assert rows[0]["norms"][0] == rows[2]["norms"][0]
    assert rows[0]["norms"][1] != rows[2]["norms"][1]
    rows = [x for x in rows if x["changes"]["training.optimizer"] == "sgd"]
    figure = stability.figure(rows, "title")
    assert len(figure.axes) == 6
    (attached, detached) = figure.axes[0].lines
    assert attached.get_ydata()[0] == max(rows[0]["norms"][0])
    assert detached.get_linestyle() == "--"
