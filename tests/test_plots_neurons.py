"""Rasters, potentials and responses."""

import keras
import numpy as np
import pytest

from keras_snn import models, plots, theory
from keras_snn.layers import LIF

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

NEURON = {"k": 0.5, "lam": 1.0, "theta": 1.25}
# Blue and vermilion of Okabe and Ito (2008).
BLUE, VERMILION = "#0072B2", "#D55E00"
# Under a current of 1, the potential is 1, 1.5, 0 + 1, 1.5. Under 0, it is 0.
# Under 2, every timestep spikes.
CURRENT = np.ones((2, 4, 1)) * [1.0, 0.0, 2.0]


def network(**kwargs):
    """Two layers: the second gets half of the spikes of the first."""
    inputs = keras.Input((4, 3))
    spikes = LIF(**NEURON, name="first", **kwargs)(inputs)
    return keras.Model(inputs, LIF(**NEURON, name="second")(1.5 * spikes))


def draw(function, *args):
    figure = function(*args)
    figure.canvas.draw()
    return figure


def dots(axis):
    (points,) = axis.collections
    return points.get_offsets().tolist()


def test_a_raster_has_a_row_of_dots_per_layer():
    first, second = draw(plots.raster, network(), CURRENT).axes
    # Timesteps count from 1. The first neuron is the lowest row.
    spikes = [[1, 2], [2, 0], [2, 2], [3, 2], [4, 0], [4, 2]]
    assert dots(first) == spikes
    assert dots(second) == spikes
    assert not first.yaxis_inverted()
    assert first.get_title() == "first: firing rate 0.500"
    assert second.get_title() == "second: firing rate 0.500"
    assert first.get_ylabel() == "3 of 3\nneurons"
    assert second.get_xlabel() == "timestep"
    assert first.get_xlim() == second.get_xlim() == (0.5, 4.5)


def test_a_raster_shows_the_first_sample():
    x = CURRENT * [[[0.0]], [[1.0]]]
    first, _ = plots.raster(network(), x).axes
    assert dots(first) == []
    assert first.get_title() == "first: firing rate 0.000"


def test_a_raster_of_few_neurons_has_the_rate_of_all():
    first, _ = plots.raster(network(), CURRENT, 2).axes
    # The first and the last of three.
    assert dots(first) == [[1, 1], [2, 0], [2, 1], [3, 1], [4, 0], [4, 1]]
    assert first.get_ylabel() == "2 of 3\nneurons"
    assert first.get_title() == "first: firing rate 0.500"
    # Silent neurons have their rows, too.
    assert first.get_ylim() == (-1, 2)


def test_a_raster_leaves_masked_timesteps_out():
    current = CURRENT.copy()
    current[:, 3] = 0
    inputs = keras.Input((4, 3))
    spikes = LIF(**NEURON)(keras.layers.Masking()(inputs))
    (axis,) = plots.raster(keras.Model(inputs, spikes), current).axes
    assert dots(axis) == [[1, 2], [2, 0], [2, 2], [3, 2]]
    assert axis.get_title().endswith("firing rate 0.444")  # 4 of 9
    assert axis.get_xlim() == (0.5, 4.5)


def test_a_raster_knows_only_the_last_spikes_of_some_layers():
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, LIF(**NEURON, return_sequences=False)(inputs))
    (axis,) = plots.raster(model, CURRENT).axes
    assert dots(axis) == [[4, 0], [4, 2]]
    assert axis.get_title().endswith("firing rate 0.667")


def test_a_raster_of_a_network_on_images_has_four_rows(rng):
    model = models.five_layer_snn((8, 8, 1), 10, 4, lam=1.0, seed=0)
    x = rng.integers(0, 256, (1, 8, 8, 1)).astype("uint8")
    spikes = models.probe(model).predict(x, verbose=0)
    axes = plots.raster(model, x).axes
    assert [axis.get_title().split(":")[0] for axis in axes] == list(spikes)
    assert axes[0].get_ylabel() == "64 of 2,048\nneurons"


@pytest.mark.parametrize("neurons", [0, -1])
def test_a_raster_refuses_less_than_a_neuron(neurons):
    with pytest.raises(ValueError, match="`neurons` must be at least 1"):
        plots.raster(network(), CURRENT, neurons)


def test_a_raster_refuses_inputs_without_samples():
    with pytest.raises(ValueError, match="`x` must fit the inputs"):
        plots.raster(network(), CURRENT[0])


@pytest.mark.parametrize(
    ("reset", "after"),
    [("zero", [1.0, 0.0, 1.0, 0.0]), ("subtract", [1.0, 0.25, 1.125, 0.3125])],
)
def test_the_line_drops_from_before_the_reset_to_after_it(reset, after):
    before = {
        "zero": [1.0, 1.5, 1.0, 1.5],
        "subtract": [1.0, 1.5, 1.125, 1.5625],
    }[reset]
    model = network(reset=reset)
    (axis,) = draw(plots.potentials, model, CURRENT, "first", [0]).axes
    line, threshold, spikes = axis.lines
    assert line.get_xdata().tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert line.get_ydata()[::2].tolist() == before
    assert line.get_ydata()[1::2].tolist() == after
    assert set(threshold.get_ydata()) == {1.25}
    assert spikes.get_xydata().tolist() == [[2, before[1]], [4, before[3]]]
    assert (line.get_color(), spikes.get_color()) == (BLUE, VERMILION)


def test_every_neuron_has_a_row_in_the_order_of_the_list():
    figure = draw(plots.potentials, network(), CURRENT, "first", [2, 1])
    loud, silent = figure.axes
    assert (loud.get_ylabel(), silent.get_ylabel()) == ("neuron 2", "neuron 1")
    assert loud.lines[0].get_ydata()[::2].tolist() == [2, 2, 2, 2]
    assert silent.lines[0].get_ydata().tolist() == [0] * 8
    assert not len(silent.lines[2].get_xdata())
    assert loud.get_title("left") == "first: potentials"
    names = [text.get_text() for text in loud.get_legend().get_texts()]
    assert names == ["potential", "threshold", "spike"]
    assert silent.get_xlabel() == "timestep"


def test_the_default_neurons_run_from_few_spikes_to_many():
    figure = plots.potentials(network(), CURRENT, "first")
    names = [axis.get_ylabel() for axis in figure.axes]
    # None, two and four spikes.
    assert names == ["neuron 1", "neuron 0", "neuron 2"]


def test_at_most_four_neurons_are_drawn_by_default():
    # Neuron n fires in n of 6 timesteps.
    current = 2.0 * np.tri(7, 6, -1).T[None]
    inputs = keras.Input((6, 7))
    model = keras.Model(inputs, LIF(**NEURON, name="lif")(inputs))
    axes = plots.potentials(model, current, "lif").axes
    names = [axis.get_ylabel() for axis in axes]
    assert names == [f"neuron {n}" for n in (0, 2, 4, 6)]


def test_neurons_of_images_show_their_place():
    inputs = keras.Input((4, 2, 3, 5))
    model = keras.Model(inputs, LIF(**NEURON, name="lif")(inputs))
    x = np.zeros((1, 4, 2, 3, 5))
    x[:, :, 1, 2, 3] = 1
    (axis,) = plots.potentials(model, x, "lif", [15 + 10 + 3]).axes
    assert axis.get_ylabel() == "neuron 28\n(1, 2, 3)"
    assert axis.lines[2].get_xdata().tolist() == [2, 4]


@pytest.mark.parametrize(
    "neurons", [[3], [-1], [], [0.0], 1, [[0]], "first", [True]]
)
def test_neurons_must_be_indices_of_the_layer(neurons):
    with pytest.raises(ValueError, match="`neurons` must be a list .* 0 to 2"):
        plots.potentials(network(), CURRENT, "first", neurons)


def test_potentials_refuse_an_unknown_layer():
    with pytest.raises(ValueError, match="must be one of 'first', 'second'"):
        plots.potentials(network(), CURRENT, "third")
    with pytest.raises(TypeError, match="`layer` must be a name"):
        plots.potentials(network(), CURRENT, None)


def test_the_response_has_theory_asymptote_and_simulation():
    neuron = {"k": 0.5, "lam": 1.0, "theta": 1.0}
    (axis,) = draw(lambda: plots.response(**neuron, timesteps=4)).axes
    simulation, rate, asymptote = axis.lines
    current = simulation.get_xdata()
    assert (current[0], current[-1]) == (0, 1.5)
    # After n timesteps, the potential is i, 3/2 i, 7/4 i, 15/8 i. So it takes
    # four of them above a current of 8/15, and one above 1.
    spikes = np.select(
        [current <= 8 / 15, current <= 4 / 7, current <= 2 / 3, current <= 1],
        [0, 1, 1, 2],
        4,
    )
    edges = np.abs(current[:, None] - [8 / 15, 4 / 7, 2 / 3, 1]).min(1) < 1e-9
    np.testing.assert_array_equal(
        simulation.get_ydata()[~edges], spikes[~edges] / 4
    )
    np.testing.assert_array_equal(
        rate.get_ydata(), theory.firing_rate(current, **neuron)
    )
    # 1 i + (1/2 - 1) / 2, clipped.
    np.testing.assert_allclose(
        asymptote.get_ydata(), np.clip(current - 0.25, 0, 1), atol=1e-12
    )
    assert (rate.get_color(), asymptote.get_color()) == (BLUE, VERMILION)
    assert axis.get_title() == "k = 0.5, lam = 1, theta = 1"
    names = [text.get_text() for text in axis.get_legend().get_texts()]
    assert names == ["simulation, 4 timesteps", "Theorem 1", "asymptote"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.5, 1.0, 1.0), r"`k` must be in \(0, 1\]. Received: k=1.5"),
        ((0.5, 0.0, 1.0), "`lam` must be .* Received: lam=0.0"),
        ((0.5, 1.0, -1.0), "`theta` must be .* Received: theta=-1.0"),
        ((0.5, 1.0, 1.0, 0), "`timesteps` must be at least 1"),
    ],
)
def test_the_response_refuses_other_constants(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.response(*arguments)
