"""`plots.time_series`."""

import numpy as np
import pytest

from keras_snn import plots

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

SERIES = np.array([[0.0, 3.0], [1.0, 2.0], [2.0, 1.0]])
SPIKES = {
    "first": np.array([[1, 0], [0, 0], [1, 1]]),
    "second": np.array([[[1, 0]], [[0, 0]], [[0, 0]]]),
}
OUTPUTS = np.array([[0.0, 1.0, 0.0], [0.5, 2.0, 0.0], [1.0, 3.0, 0.0]])
VERMILION = "#D55E00"  # of Okabe and Ito (2008)


def draw(series=SERIES, spikes=SPIKES, outputs=OUTPUTS, label=None):
    figure = plots.time_series(series, spikes, outputs, label, "a title")
    figure.canvas.draw()
    return figure


def heights(axis):
    return [line.get_ydata().tolist() for line in axis.lines]


def test_every_feature_and_class_is_a_line_over_the_timesteps():
    figure = draw()
    top, *_, bottom = figure.axes
    assert figure.get_suptitle() == "a title"
    assert heights(top) == [[0, 1, 2], [3, 2, 1]]
    assert heights(bottom) == [[0, 0.5, 1], [1, 2, 3], [0, 0, 0]]
    for line in [*top.lines, *bottom.lines]:
        assert line.get_xdata().tolist() == [1, 2, 3]
    assert bottom.get_xlabel() == "timestep"


def test_the_spikes_stand_below_their_timesteps():
    top, first, second, _ = draw().axes
    (points,) = first.collections
    # Timesteps count from 1. The first neuron is the lowest row.
    expected = [[1, 0], [3, 0], [3, 1]]
    np.testing.assert_array_equal(points.get_offsets(), expected)
    assert not first.yaxis_inverted()
    assert first.get_xlim() == top.get_xlim()
    assert first.get_title() == "first: firing rate 0.500"
    assert second.get_title() == "second: firing rate 0.167"


def test_one_class_is_drawn_in_color():
    bottom = draw(label=1).axes[-1]
    (line,) = [x for x in bottom.lines if x.get_color() == VERMILION]
    assert line.get_ydata().tolist() == [1, 2, 3]
    # Gray lines do not cover it.
    assert line.get_zorder() > max(
        x.get_zorder() for x in bottom.lines if x is not line
    )
    (text,) = bottom.get_legend().get_texts()
    assert text.get_text() == "class 1"


def test_without_a_label_no_class_is_drawn_in_color():
    bottom = draw().axes[-1]
    assert {x.get_color() for x in bottom.lines} == {"silver"}
    assert bottom.get_legend() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"series": np.zeros(3)}, r"`series` must .* shape=\(3,\)"),
        ({"outputs": np.zeros((2, 3))}, r"`outputs` must .*\(3, .*\(2, 3\)"),
        ({"outputs": np.zeros(3)}, r"`outputs` must .* shape=\(3,\)"),
        ({"label": 3}, "`label` must be one of 0, 1, 2. Received: label=3"),
        ({"label": -1}, "`label` must be one of 0, 1, 2. Received: label=-1"),
        ({"spikes": {}}, "`spikes` must hold layers with the timesteps of `se"),
        ({"spikes": {"one": np.zeros((2, 4))}}, r"\(2, 4\).*\(3, 2\)"),
    ],
)
def test_time_series_refuses_other_shapes_and_classes(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw(**arguments)
