import numpy as np
import pytest

from keras_snn import plots
from keras_snn.events import DTYPE

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

# Okabe and Ito's blue and vermilion.
OFF = np.array([0x00, 0x72, 0xB2]) / 255
ON = np.array([0xD5, 0x5E, 0x00]) / 255
WHITE, BLACK = np.ones(3), np.zeros(3)
# Four pixels, of which the second is the brightest.
IMAGE = np.array([[0, 255], [51, 102]], "uint8")
SPIKES = np.zeros((4, 2, 2, 1))
SPIKES[:, 0, 1] = 1
SPIKES[1, 1, 0] = 1
SPIKES[[0, 2], 1, 1] = 1


def drawn(axis):
    """The pixels of an axis' picture."""
    (image,) = axis.images
    return np.asarray(image.get_array())


def labelled(axes, name):
    return [axis for axis in axes if axis.get_xlabel() == name]


def row(image=IMAGE, values=SPIKES, **arguments):
    """The axes of one coding, once they have been drawn."""
    figure = plots.codings(image, {"a title": values}, **arguments)
    figure.canvas.draw()
    return figure.axes


def test_frames_are_drawn_as_they_are_and_one_by_one():
    axes = row(frames=3)
    assert not labelled(axes, "t = 4")
    (second,) = labelled(axes, "t = 2")
    np.testing.assert_array_equal(
        drawn(second), [[WHITE, BLACK], [BLACK, WHITE]]
    )
    (mean,) = labelled(axes, "mean of all")
    # A quarter, a half and all of the timesteps.
    np.testing.assert_allclose(
        drawn(mean), [[WHITE, BLACK], [0.75 * WHITE, 0.5 * WHITE]]
    )


def test_a_mean_of_spikes_is_as_dark_as_its_rate():
    # Without the pixel that is dark all the time.
    values = SPIKES[:2] * (IMAGE < 255)[..., None]
    (mean,) = labelled(row(values=values), "mean of all")
    np.testing.assert_allclose(drawn(mean)[1], [0.5 * WHITE, 0.5 * WHITE])


def test_a_recording_without_events_is_white():
    axes = row(values=np.zeros((4, 2, 2, 2)))
    for name in ("t = 1", "mean of all"):
        (tile,) = labelled(axes, name)
        np.testing.assert_array_equal(drawn(tile), np.ones((2, 2, 3)))


def test_a_row_has_its_title():
    assert [text.get_text() for text in row()[0].texts] == ["a title"]


def test_frames_that_are_not_there_leave_no_empty_panels():
    # Four frames, their mean, the trains and the rates.
    assert len(row(frames=6)) == 7


def test_rates_stand_over_the_intensities():
    *_, rates = row()
    (points,) = rates.collections
    np.testing.assert_allclose(
        points.get_offsets(), [(0, 0), (1, 1), (0.2, 0.25), (0.4, 0.5)]
    )
    (line,) = rates.lines
    assert line.get_xydata().tolist() == [[0, 0], [1, 1]]


def test_pixels_over_time_go_up_from_dark_to_bright():
    *_, over_time, _ = row()
    expected = np.array(
        [[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]]
    )
    np.testing.assert_array_equal(drawn(over_time)[..., 0], 1 - expected)
    assert over_time.images[0].origin == "lower"
    # Timestep 1 is centered on 1.
    assert over_time.images[0].get_extent()[:2] == [0.5, 4.5]
    ticks = [text.get_text() for text in over_time.get_yticklabels()]
    assert (ticks[0], ticks[-1]) == ("0", "1")


def test_pixels_over_time_are_spread_over_the_intensities():
    *_, over_time, _ = row(trains=2)
    np.testing.assert_array_equal(
        drawn(over_time)[..., 0], [[1, 1, 1, 1], [0, 0, 0, 0]]
    )


def test_floats_and_bytes_are_one_image():
    *_, rates = row(image=IMAGE[..., None] / 255)
    *_, others = row()
    np.testing.assert_allclose(
        rates.collections[0].get_offsets(), others.collections[0].get_offsets()
    )


def test_polarities_have_their_colors():
    counts = np.zeros((1, 2, 2, 2))
    counts[0, 0, 0] = 4, 0
    counts[0, 0, 1] = 0, 2
    counts[0, 1, 0] = 2, 2
    (tile,) = labelled(row(values=counts), "t = 1")
    # Half of the most is half way from white.
    np.testing.assert_allclose(
        drawn(tile), [[OFF, (WHITE + ON) / 2], [(OFF + ON) / 2, WHITE]]
    )


def test_polarities_have_rates_of_their_own():
    counts = np.zeros((2, 2, 2, 2))
    counts[0, 0, 1] = 3, 1
    *_, rates = row(values=counts)
    off, on = rates.collections
    assert off.get_offsets()[1].tolist() == [1, 1.5]
    assert on.get_offsets()[1].tolist() == [1, 0.5]
    names = [text.get_text() for text in rates.get_legend().get_texts()]
    assert names == ["OFF", "ON"]


def test_frames_of_another_size_are_counted_in_place_of_intensities():
    counts = np.zeros((2, 3, 1, 2))
    counts[0, 0, 0] = counts[0, 1, 0] = 1, 0
    counts[1, 1, 0] = 1, 1
    *_, over_time, pixels = row(values=counts)
    assert pixels.get_xlabel() == "events"
    assert over_time.get_ylabel() == "events"
    # One pixel without any, one with one, one with two; two without, one with.
    for outline, expected in zip(
        pixels.patches, ([1, 1, 1], [2, 1, 0]), strict=True
    ):
        heights = outline.get_xy()[1:-1:2, 1]
        assert heights.tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": np.zeros((2, 2, 3))}, r"`image` must be .*=\(2, 2, 3\)"),
        ({"image": np.zeros((0, 2))}, "`image` must be"),
        ({"values": np.zeros((4, 2, 2))}, r"`coded` must be .*=\(4, 2, 2\)"),
        ({"values": np.zeros((4, 2, 2, 3))}, "`coded` must be"),
        ({"values": np.zeros((0, 2, 2, 1))}, "`coded` must be"),
        ({"frames": 0}, "`frames` must be at least 1"),
        ({"trains": 0}, "`trains` must be at least 1"),
    ],
)
def test_codings_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        row(**arguments)


EVENTS = np.array([(1000, 3, 1, 0), (2000, 2, 0, 1), (4000, 1, 0, 1)], DTYPE)
FRAMES = np.zeros((3, 2, 4, 2))
FRAMES[0, 1, 3, 0] = FRAMES[1, 0, 2, 1] = FRAMES[2, 0, 1, 1] = 1
LAYERS = {
    "lif_1": np.array([[[1, 0]], [[0, 0]], [[1, 1]]]),
    "lif_2": np.array([[1], [0], [0]]),
}


def recording(events=EVENTS, frames=FRAMES, spikes=LAYERS):
    figure = plots.recording(events, frames, spikes, "a title")
    figure.canvas.draw()
    return figure


def test_events_stand_in_space_and_time(monkeypatch):
    from mpl_toolkits.mplot3d import Axes3D

    found = {}

    def scatter(self, *where, label, **style):
        found[label] = np.array(where).T.tolist()
        return scattered(self, *where, label=label, **style)

    scattered = Axes3D.scatter
    monkeypatch.setattr(Axes3D, "scatter", scatter)
    (axis,) = labelled(recording().axes, "time (ms)")
    # Time, column and row; the rows of a camera go down.
    assert found == {"OFF": [[1, 3, 1]], "ON": [[2, 2, 0], [4, 1, 0]]}
    low, high = axis.get_zlim()
    assert low > high


def test_a_long_recording_is_thinned_out(monkeypatch):
    from mpl_toolkits.mplot3d import Axes3D

    sizes = []

    def scatter(self, t, *where, **style):
        sizes.append(len(t))
        return scattered(self, t, *where, **style)

    scattered = Axes3D.scatter
    monkeypatch.setattr(Axes3D, "scatter", scatter)
    monkeypatch.setattr(plots, "POINTS", 10)
    events = np.zeros(101, DTYPE)
    recording(events)
    assert sizes == [10, 0]  # every eleventh


def test_every_layer_has_its_spikes_and_their_mean():
    figure = recording()
    raster, other, mean, _ = figure.subfigs[1].axes
    assert raster.get_title() == "lif_1: 0.500 per neuron and timestep"
    assert other.get_title() == "lif_2: 0.333 per neuron and timestep"
    # The first neuron is the lowest row.
    np.testing.assert_array_equal(drawn(raster)[..., 0], [[0, 1, 0], [1, 1, 0]])
    assert [bar.get_height() for bar in mean.patches] == [0.5, 0, 1]
    assert [bar.get_center()[0] for bar in mean.patches] == [1, 2, 3]
    assert figure.get_suptitle() == "a title"


def test_no_frame_and_no_neuron_is_drawn_twice():
    figure = recording()
    names = [axis.get_xlabel() for axis in figure.axes]
    assert [x for x in names if x.startswith("t =")] == [
        "t = 1",
        "t = 2",
        "t = 3",
    ]


def test_a_silent_network_is_drawn_too():
    recording(spikes={"lif_1": np.zeros((3, 8, 8, 2))})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames": np.zeros((3, 2, 4, 1))}, r"`frames` must be .* width, 2\)"),
        ({"spikes": {}}, "`spikes` must hold"),
        ({"spikes": {"lif_1": np.zeros((2, 4))}}, r"\(2, 4\).*\(3, 2, 4, 2\)"),
    ],
)
def test_recording_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        recording(**arguments)


def test_learning_curves_are_trailing_means():
    run = {
        "loss": [4.0, 2.0, 0.0],
        "accuracy": [0.0, 0.5, 1.0],
        "iteration": [0, 3],
        "firing_rate": [0.1, 0.2],
    }
    figure = plots.learning_curves({"he": run}, smooth=2)
    figure.canvas.draw()
    loss, accuracy, rate = figure.axes
    assert loss.lines[0].get_xydata().tolist() == [[1, 4], [2, 3], [3, 1]]
    assert accuracy.lines[0].get_ydata().tolist() == [0, 0.25, 0.75]
    assert rate.lines[0].get_xydata().tolist() == [[0, 0.1], [3, 0.2]]
