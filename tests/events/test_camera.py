"""The simulated camera follows its definition."""

import math

import numpy as np
import pytest

from keras_snn import events


@pytest.fixture
def image(rng):
    """A blurred blob on black, `uint8`."""
    image = np.zeros((12, 10))
    image[3:8, 2:7] = rng.random((5, 5))
    return (image * 255).astype("uint8")


def simulated(image, size, threshold, duration, distance):
    """Follows the definition of the camera, one pixel and event at a time.

    Returns a list of (time, polarity) per pixel.
    """
    height, width = image.shape
    top = (size[0] - height - distance) / 2
    left = (size[1] - width - distance) / 2
    corners = [(0, 0), (distance, distance / 2), (0, distance), (0, 0)]
    # Sixteen images per pixel of way, as the module says.
    steps = math.ceil(16 * distance * math.sqrt(1.25))

    def seen(row, column, corner):
        y = min(max(row - top - corner[0], 0), height - 1)
        x = min(max(column - left - corner[1], 0), width - 1)
        i, j = min(int(y), height - 2), min(int(x), width - 2)
        a, b = y - i, x - j
        light = (
            (1 - a) * ((1 - b) * image[i, j] + b * image[i, j + 1])
            + a * ((1 - b) * image[i + 1, j] + b * image[i + 1, j + 1])
        ) / 255
        return math.log(light + 0.2)

    found = {}
    for row, column in np.ndindex(*size):
        pixel = found[row, column] = []
        first = seen(row, column, corners[0])
        multiple, before = 0, 0.0
        for step in range(3 * steps):
            side, part = divmod(step, steps)
            way = (1 - math.cos(math.pi * (part + 1) / steps)) / 2
            (a, b), (c, d) = corners[side : side + 2]
            corner = ((1 - way) * a + way * c, (1 - way) * b + way * d)
            level = (seen(row, column, corner) - first) / threshold
            while level >= multiple + 1 or level <= multiple - 1:
                sign = 1 if level > multiple else -1
                multiple += sign
                passed = step + (multiple - before) / (level - before)
                pixel.append((passed * duration / steps, int(sign > 0)))
            before = level
    return found


@pytest.mark.parametrize("threshold", [0.3, 0.03], ids=["usual", "tiny"])
def test_the_camera_follows_its_definition(image, threshold):
    size, duration, distance = (15, 14), 7000, 4.0
    recording = events.saccade(image, size, threshold, duration, distance)
    expected = simulated(image, size, threshold, duration, distance)
    for (y, x), pixel in expected.items():
        mine = recording[(recording["y"] == y) & (recording["x"] == x)]
        assert mine["p"].tolist() == [polarity for _, polarity in pixel]
        # Times are rounded down to whole microseconds, after a rounding error.
        late = [
            t - found for (t, _), found in zip(pixel, mine["t"], strict=True)
        ]
        assert -1e-6 < min(late, default=0) <= max(late, default=0) < 1 + 1e-6
    assert len(recording) == sum(len(pixel) for pixel in expected.values())
    assert len(recording) > 300


def test_an_edge_passes_when_the_image_has_moved_so_far():
    # White rows 0 to 9 move down by 6 and up again, so the edge passes the
    # camera's row 12 in both directions.
    image = np.zeros((28, 28))
    image[:10] = 1
    recording = events.saccade(image, threshold=0.4, duration=100_000)
    pixel = recording[(recording["y"] == 12) & (recording["x"] == 16)]
    # Row 12 of the camera sees row 12 - way of the image: black up to way 2,
    # white from way 3, and the brightness way - 2 in between.
    bright = [0.2 * math.exp(0.4 * n) - 0.2 for n in (1, 2, 3, 4)]
    ways = [2 + light for light in bright]
    times = [math.acos(1 - 2 * way / 6) / math.pi * 1e5 for way in ways]
    assert pixel["p"].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    # Linear between two of 108 images per saccade, which are 926 us apart.
    np.testing.assert_allclose(pixel["t"][:4], times, atol=100)
    # The second saccade goes back up in the same time.
    back = [200_000 - t for t in times[::-1]]
    np.testing.assert_allclose(pixel["t"][4:7], back[1:], atol=100)


def test_the_image_goes_down_then_up_and_to_the_right_then_back():
    image = np.zeros((28, 28))
    image[14, 14] = 1
    recording = events.saccade(image)
    on = recording[recording["p"] == 1]
    # The last place of each saccade: the margin 0 plus 6 or 3 pixels.
    for end, place in zip(
        (1, 2, 3), [(20, 17), (14, 20), (14, 14)], strict=True
    ):
        last = on[on["t"] <= end * 105_000][-1]
        assert abs(last["y"] - place[0]) <= 1
        assert abs(last["x"] - place[1]) <= 1


def test_every_pixel_brightens_as_often_as_it_darkens(image):
    recording = events.saccade(image, (20, 20), 0.1)
    off, on = np.moveaxis(events.to_frames(recording, 1, (20, 20))[0], -1, 0)
    assert on.max() > 5
    np.testing.assert_array_equal(on, off)


def test_the_default_sensor_is_that_of_nmnist(rng):
    # Beyond its border, the image continues, so the last pixels see changes.
    recording = events.saccade(rng.random((28, 28)), threshold=0.1)
    seen = events.to_frames(recording, 1, (34, 34)).any(axis=(0, 3))
    assert seen.any(axis=0).all()
    assert seen.any(axis=1).all()


@pytest.mark.parametrize("shade", [0, 77, 255])
def test_a_uniform_image_gives_no_events(shade):
    recording = events.saccade(
        np.full((28, 28), shade, "uint8"), threshold=0.01
    )
    assert recording.dtype == events.DTYPE
    assert len(recording) == 0


def test_times_are_in_order_and_end_with_the_third_saccade(image):
    recording = events.saccade(image, (20, 20), duration=10_000)
    t = recording["t"]
    assert (np.diff(t) >= 0).all()
    assert 0 <= t[0] < 10_000
    assert 20_000 < t[-1] <= 30_000


def test_a_slower_camera_gives_the_same_events_later(image):
    once = events.saccade(image, (20, 20), duration=1000)
    twice = events.saccade(image, (20, 20), duration=2000)
    assert len(once) == len(twice)
    halves = np.sort(twice, order=["y", "x", "t"], kind="stable")
    singles = np.sort(once, order=["y", "x", "t"], kind="stable")
    # Times are rounded down before and after doubling.
    assert set((halves["t"] - 2 * singles["t"]).tolist()) <= {0, 1}


def test_a_smaller_threshold_makes_more_events(image):
    numbers = [
        len(events.saccade(image, (20, 20), threshold))
        for threshold in (0.1, 0.2, 0.4, 0.8, 10.0)
    ]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] > numbers[3] > numbers[4] == 0


def test_bytes_floats_and_a_channel_axis_give_the_same_events(image):
    expected = events.saccade(image)
    for same in (image / 255, image[..., None], (image / 255)[..., None]):
        np.testing.assert_array_equal(events.saccade(same), expected)


def test_a_simulated_recording_can_be_written_and_counted(path, image):
    recording = events.saccade(image)
    events.write(path, recording)
    found = events.read(path, sensor_size=(34, 34))
    np.testing.assert_array_equal(found, recording)
    assert events.to_frames(found, 20).sum() == len(recording)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"image": np.zeros((28, 28, 3))}, r"`image` must be of shape"),
        ({"image": np.zeros((0, 28))}, r"`image` must be of shape"),
        ({"image": np.zeros(28)}, r"`image` must be of shape"),
        ({"image": np.zeros((28, 28), int)}, "Received: .* dtype=int64"),
        ({"image": np.full((28, 28), 255.0)}, "values from 255.0 to"),
        ({"image": np.full((28, 28), np.nan)}, "values from nan to"),
        ({"sensor_size": (34, 0)}, "`sensor_size` must be at least 1"),
        ({"threshold": 0.0}, "`threshold` must be above 0"),
        ({"duration": 0}, "`duration` must be at least 1"),
        ({"duration": 1.5}, "`duration` must be an integer"),
        ({"distance": -1}, "`distance` must be above 0"),
    ],
)
def test_arguments_of_the_camera_are_checked(bad, why):
    arguments = {"image": np.zeros((28, 28))} | bad
    with pytest.raises((TypeError, ValueError), match=why):
        events.saccade(**arguments)
