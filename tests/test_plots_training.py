"""`plots.firing_rates`."""

import numpy as np
import pytest

from keras_snn import callbacks, models, plots

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

HISTORY = {
    "iteration": [0, 10, 30],
    "lif1_firing_rate": [0.0, 0.1, 0.2],
    "lif1_silent_fraction": [1.0, 0.5, 0.5],
    "lif2_firing_rate": [0.004, 0.006, np.nan],
    "lif2_silent_fraction": [0.9, 0.9, np.nan],
}
VERMILION = (0xD5 / 255, 0x5E / 255, 0)  # of Okabe and Ito (2008)
GRAY = (0x80 / 255,) * 3


def draw(history=HISTORY):
    figure = plots.firing_rates(history)
    figure.canvas.draw()
    return figure.axes


def mesh(axis):
    (found,) = axis.collections
    return found


def colors(axis):
    """The color of every cell, `(layers, measurements, 3)`."""
    cells = mesh(axis)
    return cells.to_rgba(cells.get_array())[..., :3]


def test_a_row_is_a_layer_from_top_to_bottom():
    axis, bar = draw()
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert labels == ["lif1", "lif2"]
    assert axis.yaxis_inverted()
    np.testing.assert_array_equal(
        mesh(axis).get_array().filled(np.nan),
        [HISTORY["lif1_firing_rate"], HISTORY["lif2_firing_rate"]],
    )
    assert bar.get_ylabel() == "spikes per neuron and timestep"
    assert bar.get_ylim() == (0.005, 0.2)


def test_a_column_reaches_halfway_to_the_next_measurement():
    axis, _ = draw()
    corners = mesh(axis).get_coordinates()
    assert corners[0, :, 0].tolist() == [-5, 5, 20, 40]
    assert corners[:, 0, 1].tolist() == [-0.5, 0.5, 1.5]
    assert axis.get_xlabel() == "iteration"


def test_silent_layers_and_nan_stand_out():
    axis, _ = draw()
    found = colors(axis)
    np.testing.assert_allclose(found[:, 0], [VERMILION, VERMILION])
    np.testing.assert_allclose(found[1, 2], GRAY)
    for row, column in ((0, 1), (0, 2), (1, 1)):
        assert np.abs(found[row, column] - VERMILION).max() > 0.2
    (text,) = axis.get_legend().get_texts()
    assert text.get_text() == "silent: below 0.005"


def test_a_silent_network_is_all_vermilion():
    axis, _ = draw({"iteration": [0, 1], "lif_firing_rate": [0, 0]})
    np.testing.assert_allclose(colors(axis), [[VERMILION] * 2])


def test_one_measurement_is_a_column():
    axis, _ = draw({"iteration": [7], "lif_firing_rate": [0.1]})
    assert mesh(axis).get_coordinates()[0, :, 0].tolist() == [6.5, 7.5]


def test_deep_networks_have_a_label_at_every_nth_layer():
    rates = {f"lif{n}_firing_rate": [0.1, 0.1] for n in range(100)}
    axis, _ = draw({"iteration": [0, 1]} | rates)
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert labels == [f"lif{n}" for n in range(0, 100, 4)]


@pytest.mark.parametrize("training", [False, True])
def test_the_history_of_a_monitor_is_drawn(training, rng):
    model = models.five_layer_snn((4, 4, 1), 2, timesteps=2, width=0.02, seed=0)
    model.compile("sgd", "mse")
    x, y = rng.random((6, 4, 4, 1), "float32"), np.zeros((6, 2), "float32")
    monitor = callbacks.FiringRateMonitor(x, every=2, training=training)
    model.fit(x, y, batch_size=2, verbose=0, callbacks=[monitor])
    axis, _ = draw(monitor.history)
    prefix = "training_" * training
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert labels == [f"{prefix}lif{n}" for n in (1, 2, 3, 4)]
    # Measured at 0, 2 and 3.
    assert mesh(axis).get_coordinates()[0, :, 0].tolist() == [-1, 1, 2.5, 3.5]


@pytest.mark.parametrize(
    "history",
    [
        {},
        {"iteration": [0]},
        {"lif_firing_rate": [0.1]},
        {"iteration": [], "lif_firing_rate": []},
        {"iteration": [0, 1], "lif_firing_rate": [0.1]},
    ],
)
def test_other_histories_are_refused(history):
    with pytest.raises(ValueError, match='`history` must have "iteration"'):
        plots.firing_rates(history)


@pytest.mark.parametrize("history", [None, [0.1], "iteration"])
def test_a_history_must_be_a_dictionary(history):
    with pytest.raises(TypeError, match="`history` must be a dictionary"):
        plots.firing_rates(history)


RUN = {
    "loss": [1.0],
    "accuracy": [0.5],
    "iteration": [0],
    "lif_firing_rate": [0.1],
}


@pytest.mark.parametrize(
    ("runs", "error", "message"),
    [
        (None, TypeError, "`runs` must be a dictionary. Received: runs=None"),
        ([RUN], TypeError, "`runs` must be a dictionary"),
        ({}, ValueError, "`runs` must have at least one run"),
        (RUN, TypeError, r"`runs\['loss'\]` must be a dictionary"),
        ({"he": [RUN]}, TypeError, r"`runs\['he'\]` must be a dictionary"),
        ({"he": {"loss": [1]}}, ValueError, r"`runs\['he'\]`.*keys 'loss'$"),
    ],
)
def test_what_is_not_a_run_is_refused(runs, error, message):
    with pytest.raises(error, match=message):
        plots.learning_curves(runs)


@pytest.mark.parametrize("key", RUN)
def test_a_run_needs_all_curves(key):
    run = {name: values for name, values in RUN.items() if name != key}
    with pytest.raises(ValueError, match=r"`runs\['he'\]` must have"):
        plots.learning_curves({"lee": RUN, "he": run})
