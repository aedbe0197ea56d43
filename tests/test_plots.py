import pathlib
import runpy
import sys

import numpy as np
import pytest

from keras_snn import callbacks, models, plots
from keras_snn.events import DTYPE

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

# Blue and vermilion of Okabe and Ito (2008).
OFF = np.array([0x00, 0x72, 0xB2]) / 255
ON = np.array([0xD5, 0x5E, 0x00]) / 255
WHITE, BLACK = np.ones(3), np.zeros(3)
# Four pixels with the intensities 0, 1, 0.2 and 0.4.
IMAGE = np.array([[0, 255], [51, 102]], "uint8")
SPIKES = np.zeros((4, 2, 2, 1))
SPIKES[:, 0, 1] = 1
SPIKES[1, 1, 0] = 1
SPIKES[[0, 2], 1, 1] = 1

EVENTS = np.array([(1000, 3, 1, 0), (2000, 2, 0, 1), (4000, 1, 0, 1)], DTYPE)
FRAMES = np.zeros((3, 2, 4, 2))
FRAMES[0, 1, 3, 0] = FRAMES[1, 0, 2, 1] = FRAMES[2, 0, 1, 1] = 1
LAYERS = {
    "first": np.array([[[1, 0]], [[0, 0]], [[1, 1]]]),
    "second": np.array([[1, 0], [0, 0], [0, 0]]),
}


def pixels(axis):
    """The RGB values of the image in an axis."""
    (image,) = axis.images
    return np.asarray(image.get_array())


def labelled(axes, name):
    return [axis for axis in axes if axis.get_xlabel() == name]


def labels(axes):
    return [axis.get_xlabel() for axis in axes]


def texts(artists):
    return [artist.get_text() for artist in artists]


def row(image=IMAGE, values=SPIKES):
    """The axes of one coding: frames, mean, pixels over time, rates."""
    figure = plots.codings(image, {"a title": values})
    figure.canvas.draw()
    return figure.axes


def recording(events=EVENTS, frames=FRAMES, spikes=LAYERS):
    figure = plots.recording(events, frames, spikes, "a title")
    figure.canvas.draw()
    return figure


def spikes(axis):
    """The timestep and the row of every spike in an axis."""
    (points,) = axis.collections
    return points.get_offsets().tolist()


def layer_axes(figure):
    """The axes of the rasters and of the means, one for each layer."""
    axes = figure.subfigs[1].axes
    return axes[: len(axes) // 2], axes[len(axes) // 2 :]


def test_only_drawing_needs_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for path in pathlib.Path(plots.__file__).parent.glob("*.py"):
        runpy.run_path(str(path))
    with pytest.raises(ImportError, match="matplotlib"):
        plots.codings(IMAGE, {"a title": SPIKES})


@pytest.fixture
def run():
    return {
        "loss": [4.0, 2.0, 0.0],
        "accuracy": [0.0, 0.5, 1.0],
        "iteration": [0, 3],
        "lif1_firing_rate": [0.1, 0.2],
        "lif1_silent_fraction": [0.9, 0.9],
        "lif2_firing_rate": [0.3, 0.6],
    }


def test_learning_curves_are_trailing_means(run):
    loss, accuracy, _ = plots.learning_curves({"he": run}, smooth=2).axes
    assert loss.lines[0].get_xydata().tolist() == [[1, 4], [2, 3], [3, 1]]
    assert accuracy.lines[0].get_ydata().tolist() == [0, 0.25, 0.75]


def test_learning_curves_average_the_firing_rates_of_the_layers(run):
    *_, rate = plots.learning_curves({"he": run}).axes
    np.testing.assert_allclose(rate.lines[0].get_xydata(), [[0, 0.2], [3, 0.4]])


def test_learning_curves_take_one_rate_for_all_layers(run):
    run = {key: run[key] for key in ("loss", "accuracy", "iteration")}
    figure = plots.learning_curves({"he": run | {"firing_rate": [0.5, 0.25]}})
    assert figure.axes[2].lines[0].get_ydata().tolist() == [0.5, 0.25]


def test_learning_curves_draw_what_the_callbacks_record(rng):
    model = models.five_layer_snn((4, 4, 1), 2, timesteps=2, width=0.02, seed=0)
    model.compile("sgd", "mse", metrics=["accuracy"])
    x, y = rng.random((6, 4, 4, 1), "float32"), np.zeros((6, 2), "float32")
    curves = callbacks.IterationHistory()
    monitor = callbacks.FiringRateMonitor(x)
    model.fit(x, y, batch_size=2, verbose=0, callbacks=[curves, monitor])
    runs = {"asymptote": curves.history | monitor.history}
    loss, _, rate = plots.learning_curves(runs).axes
    assert len(loss.lines[0].get_xydata()) == 3
    assert rate.lines[0].get_xdata().tolist() == [0, 3]


def test_every_run_has_its_color_and_an_entry_in_the_legend(run):
    figure = plots.learning_curves(dict.fromkeys(["wu", "mine", "lee"], run))
    (legend,) = figure.legends
    assert texts(legend.get_texts()) == ["wu", "mine", "lee"]
    for axis in figure.axes:
        wu, mine, lee = (line.get_color() for line in axis.lines[:3])
        # Reddish purple and orange of Okabe and Ito.
        assert (wu, lee) == ("#CC79A7", "#E69F00")
        assert mine not in (wu, lee)
        # Solid lines would hide each other where networks are silent.
        styles = [line.get_linestyle() for line in axis.lines[:3]]
        assert styles == ["--", "-", "--"]


def test_the_first_trailing_means_have_fewer_values(run):
    run["loss"] = [3.0, 6.0, 0.0, 3.0]
    loss = plots.learning_curves({"he": run}, smooth=3).axes[0]
    assert loss.lines[0].get_ydata().tolist() == [3, 4.5, 3, 3]


def test_a_mean_recovers_from_an_infinite_loss(run):
    run["loss"] = [1.0, np.inf, 1.0, 1.0]
    loss = plots.learning_curves({"he": run}, smooth=2).axes[0]
    assert loss.lines[0].get_ydata().tolist() == [1, np.inf, np.inf, 1]


def test_learning_curves_refuse_an_empty_mean(run):
    with pytest.raises(ValueError, match="`smooth` must be at least 1"):
        plots.learning_curves({"he": run}, smooth=0)


def test_frames_show_the_spikes_of_their_timestep():
    axes = row()
    (second,) = labelled(axes, "t = 2")
    np.testing.assert_array_equal(
        pixels(second), [[WHITE, BLACK], [BLACK, WHITE]]
    )


def test_the_mean_is_as_dark_as_the_rate():
    (mean,) = labelled(row(), "mean of all")
    # A quarter, a half and all of the timesteps.
    np.testing.assert_allclose(
        pixels(mean), [[WHITE, BLACK], [0.75 * WHITE, 0.5 * WHITE]]
    )


def test_the_mean_keeps_its_scale_without_a_pixel_that_always_spikes():
    values = SPIKES[:2] * (IMAGE < 255)[..., None]
    (mean,) = labelled(row(values=values), "mean of all")
    np.testing.assert_allclose(pixels(mean)[1], [0.5 * WHITE, 0.5 * WHITE])


def test_frames_without_events_are_white():
    axes = row(values=np.zeros((4, 2, 2, 2)))
    for name in ("t = 1", "mean of all"):
        (tile,) = labelled(axes, name)
        np.testing.assert_array_equal(pixels(tile), np.ones((2, 2, 3)))


@pytest.mark.parametrize(("timesteps", "shown"), [(4, 4), (6, 6), (9, 6)])
def test_at_most_six_frames_are_shown(timesteps, shown):
    axes = row(values=np.zeros((timesteps, 2, 2, 1)))
    frames = [f"t = {step + 1}" for step in range(shown)]
    rest = ["mean of all", "timestep", "intensity"]
    assert labels(axes) == frames + rest


def test_every_coding_has_a_row_and_a_title():
    events = np.zeros((1, 2, 2, 2))
    figure = plots.codings(IMAGE, {"one": SPIKES, "two": events})
    figure.canvas.draw()
    assert [texts(axis.texts) for axis in figure.axes if axis.texts] == [
        ["one"],
        ["two"],
    ]
    assert len(labelled(figure.axes, "mean of all")) == 2


def test_rates_are_drawn_over_the_intensities():
    *_, rates = row()
    (points,) = rates.collections
    np.testing.assert_allclose(
        points.get_offsets(), [(0, 0), (1, 1), (0.2, 0.25), (0.4, 0.5)]
    )
    (line,) = rates.lines
    assert line.get_xydata().tolist() == [[0, 0], [1, 1]]


def test_pixels_over_time_run_from_dark_to_bright():
    *_, over_time, _ = row()
    expected = np.array(
        [[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]]
    )
    np.testing.assert_array_equal(pixels(over_time)[..., 0], 1 - expected)
    (image,) = over_time.images
    assert image.origin == "lower"
    # Timestep 1 is centered on 1, and row 0 on 0.
    assert list(image.get_extent()) == [0.5, 4.5, -0.5, 3.5]
    ticks = texts(over_time.get_yticklabels())
    assert (ticks[0], ticks[-1]) == ("0", "1")


def test_pixels_over_time_have_evenly_spaced_intensities():
    # Frame t shows the pixels from intensity t / 64 on, so that the number of
    # dark frames of a pixel tells its intensity.
    image = np.arange(65).reshape(5, 13) / 64
    values = (image[None] > np.arange(64)[:, None, None] / 64)[..., None]
    *_, over_time, _ = row(image[:, ::-1], values[:, :, ::-1].astype(float))
    dark = 64 - pixels(over_time)[..., 0].sum(1)
    assert dark.tolist() == list(range(0, 65, 4))
    assert texts(over_time.get_yticklabels()) == ["0", "0.5", "1"]


def test_pixels_over_time_repeat_no_pixel():
    image = np.array([[0.0, 0.0, 0.0, 0.9]])
    *_, over_time, _ = row(image, np.zeros((2, 1, 4, 1)))
    assert len(pixels(over_time)) == 2


def test_floats_and_bytes_are_the_same_image():
    *_, rates = row(image=IMAGE[..., None] / 255)
    *_, expected = row()
    np.testing.assert_allclose(
        rates.collections[0].get_offsets(),
        expected.collections[0].get_offsets(),
    )


def test_events_have_the_colors_of_their_polarities():
    counts = np.zeros((1, 2, 2, 2))
    counts[0, 0, 0] = 4, 0
    counts[0, 0, 1] = 0, 2
    counts[0, 1, 0] = 2, 2
    (tile,) = labelled(row(values=counts), "t = 1")
    # Half of the largest count is half way from white.
    np.testing.assert_allclose(
        pixels(tile), [[OFF, (WHITE + ON) / 2], [(OFF + ON) / 2, WHITE]]
    )


def test_each_polarity_has_its_rates():
    counts = np.zeros((2, 2, 2, 2))
    counts[0, 0, 1] = 3, 1
    *_, rates = row(values=counts)
    off, on = rates.collections
    assert off.get_offsets()[1].tolist() == [1, 1.5]
    assert on.get_offsets()[1].tolist() == [1, 0.5]
    # A ring around a dot: neither hides the other.
    assert not len(off.get_facecolors())
    np.testing.assert_allclose(off.get_edgecolors()[0, :3], OFF)
    np.testing.assert_allclose(on.get_facecolors()[0, :3], ON)
    assert texts(rates.get_legend().get_texts()) == ["OFF", "ON"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": np.zeros((2, 2, 3))}, r"`image` must .*=\(2, 2, 3\)"),
        ({"image": np.zeros((0, 2))}, "`image` must have shape"),
        ({"values": np.zeros((4, 2, 2))}, r"\(timesteps, 2, 2, 1 or 2\)"),
        ({"values": np.zeros((4, 2, 2, 3))}, r"Received: .*\(4, 2, 2, 3\)"),
        ({"values": np.zeros((4, 2, 3, 1))}, r"Received: .*\(4, 2, 3, 1\)"),
        ({"values": np.zeros((0, 2, 2, 1))}, r"Received: .*\(0, 2, 2, 1\)"),
    ],
)
def test_codings_refuses_other_shapes(arguments, message):
    with pytest.raises(ValueError, match=message):
        row(**arguments)


def test_codings_refuses_an_empty_dictionary():
    with pytest.raises(ValueError, match="`coded` must have at least one"):
        plots.codings(IMAGE, {})


@pytest.fixture
def scattered(monkeypatch):
    """Collects the points of every scatter plot in space, by their label."""
    from mpl_toolkits.mplot3d import Axes3D

    points = {}
    scatter = Axes3D.scatter

    def spy(self, *where, label, **style):
        points[label] = np.array(where).T.tolist()
        return scatter(self, *where, label=label, **style)

    monkeypatch.setattr(Axes3D, "scatter", spy)
    return points


def test_events_are_drawn_in_space_and_time(scattered):
    (axis,) = labelled(recording().axes, "time (ms)")
    # Time, column, row.
    assert scattered == {"OFF": [[1, 3, 1]], "ON": [[2, 2, 0], [4, 1, 0]]}
    low, high = axis.get_zlim()
    assert low > high  # row 0 of a camera is on top
    assert texts(axis.get_legend().get_texts()) == ["OFF", "ON"]


@pytest.mark.parametrize(
    ("events", "shown"), [(0, 0), (10_000, 10_000), (10_001, 5001)]
)
def test_a_long_recording_is_thinned_out(events, shown, scattered):
    plots.recording(np.zeros(events, DTYPE), FRAMES, LAYERS)
    assert len(scattered["OFF"]) == shown
    assert not scattered["ON"]


def test_every_layer_has_its_spikes_and_their_mean():
    figure = recording()
    assert figure.get_suptitle() == "a title"
    (first, second), (mean, other) = layer_axes(figure)
    assert first.get_title() == "first: firing rate 0.500"
    assert second.get_title() == "second: firing rate 0.167"
    # The first neuron is the lowest row.
    assert spikes(first) == [[1, 0], [3, 0], [3, 1]]
    assert not first.yaxis_inverted()
    assert [bar.get_height() for bar in mean.patches] == [0.5, 0, 1]
    assert [bar.get_center()[0] for bar in mean.patches] == [1, 2, 3]
    # The means of all layers have one scale.
    assert mean.get_ylim() == other.get_ylim()
    assert mean.get_ylim()[0] == 0


def test_large_layers_show_64_neurons_and_the_mean_over_all():
    values = np.zeros((3, 127))
    values[:, ::2] = 1  # the 64 neurons at even places
    (raster,), (mean,) = layer_axes(recording(spikes={"large": values}))
    assert len(spikes(raster)) == 3 * 64
    assert raster.get_ylabel() == "64 of 127\nneurons"
    assert mean.patches[0].get_height() == pytest.approx(64 / 127)


@pytest.mark.parametrize(
    ("timesteps", "shown"),
    [(3, [1, 2, 3]), (10, range(1, 11)), (19, range(1, 20, 2))],
)
def test_ten_frames_are_spread_over_the_recording(timesteps, shown):
    frames = np.zeros((timesteps, 2, 4, 2))
    figure = recording(frames=frames, spikes={"one": np.zeros((timesteps, 1))})
    names = [name for name in labels(figure.axes) if name.startswith("t =")]
    assert names == [f"t = {step}" for step in shown]


def test_a_silent_network_is_drawn():
    silent = {"silent": np.zeros((3, 8, 8, 2))}
    (raster,), (mean,) = layer_axes(recording(spikes=silent))
    assert spikes(raster) == []
    assert mean.get_ylim()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames": np.zeros((3, 2, 4, 1))}, r"`frames` must .* width, 2\)"),
        ({"frames": np.zeros((0, 2, 4, 2))}, r"Received: .*\(0, 2, 4, 2\)"),
        ({"spikes": {}}, "`spikes` must hold"),
        ({"spikes": {"one": np.zeros((2, 4))}}, r"\(2, 4\).*\(3, 2, 4, 2\)"),
    ],
)
def test_recording_refuses_other_shapes(arguments, message):
    with pytest.raises(ValueError, match=message):
        recording(**arguments)
