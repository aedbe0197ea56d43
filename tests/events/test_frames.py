"""Frames count every event exactly once."""

import fractions
import math

import numpy as np
import pytest
from event_files import array, at, recordings, some_events
from hypothesis import given
from hypothesis import strategies as st

from keras_snn import events


def per_frame(frames):
    return frames.sum((1, 2, 3)).tolist()


def test_frames_are_counts_of_off_and_on_by_row_and_column():
    recording = array((0, 2, 1, 0), (0, 2, 1, 1), (1, 2, 1, 1), (2, 0, 3, 0))
    frames = events.to_frames(recording, 2, sensor_size=(4, 3))
    assert frames.shape == (2, 4, 3, 2)
    assert frames.dtype == np.float32
    expected = np.zeros((2, 4, 3, 2))
    expected[0, 1, 2] = 1, 1
    expected[1, 1, 2] = 0, 1
    expected[1, 3, 0] = 1, 0
    np.testing.assert_array_equal(frames, expected)


@pytest.mark.parametrize(
    ("number", "timesteps", "expected"),
    [
        (7, 3, [2, 2, 3]),
        (6, 3, [2, 2, 2]),
        (5, 3, [1, 1, 3]),
        (2, 3, [0, 0, 2]),
        (0, 3, [0, 0, 0]),
        (7, 1, [7]),
    ],
)
def test_the_last_frame_has_the_remainder(number, timesteps, expected):
    recording = at(*[0] * (number // 2), *[9] * (number - number // 2))
    assert per_frame(events.to_frames(recording, timesteps)) == expected


@pytest.mark.parametrize(
    ("kind", "side"), [("nmnist", 34), ("dvs_gesture", 128)]
)
@pytest.mark.parametrize("timesteps", [1, 7, 20])
def test_equal_numbers_are_spikingjellys_bit_for_bit(
    kind, side, timesteps, spikingjelly
):
    for file in recordings(kind):
        frames = events.to_frames(events.read(file), timesteps, (side, side))
        expected = spikingjelly.utils.integrate_events_by_fixed_frames_number(
            spikingjelly.utils.load_ATIS_bin(file),
            "number",
            timesteps,
            side,
            side,
        )
        np.testing.assert_array_equal(frames, np.moveaxis(expected, 1, -1))


@pytest.mark.parametrize(
    ("times", "timesteps", "expected"),
    [
        ([0, 1, 2, 3, 4, 5, 6], 2, [3, 4]),  # [0, 3) and [3, 6]
        ([0, 1, 2, 3, 4, 5, 6], 4, [2, 1, 2, 2]),  # edges 1.5, 3, 4.5
        ([10, 110], 4, [1, 0, 0, 1]),
        ([10, 34, 35, 59, 60, 110], 4, [2, 2, 1, 1]),
        ([7, 7, 7], 3, [0, 0, 3]),  # no time passes
        ([7], 1, [1]),
        ([], 3, [0, 0, 0]),
        ([0, 2**61, 2**62], 2**10, [1] + [0] * 511 + [1] + [0] * 510 + [1]),
    ],
)
def test_equal_times_are_half_open(times, timesteps, expected):
    frames = events.to_frames(at(*times), timesteps, (10, 6), by="time")
    assert per_frame(frames) == expected


@given(recording=some_events(least=1), timesteps=st.integers(1, 30))
def test_equal_times_follow_their_definition(recording, timesteps):
    frames = events.to_frames(recording, timesteps, by="time")
    first, last = recording["t"][[0, -1]].tolist()
    length = fractions.Fraction(last - first, timesteps)
    expected = np.zeros_like(frames)
    for t, x, y, p in recording.tolist():
        step = math.floor((t - first) / length) if t < last else timesteps - 1
        expected[step, y, x, p] += 1
    np.testing.assert_array_equal(frames, expected)


def test_equal_times_are_spikingjellys_if_those_are_whole(spikingjelly):
    compared = 0
    for file in recordings("nmnist"):
        recording = events.read(file)
        span = int(recording["t"][-1] - recording["t"][0])
        for timesteps in (n for n in range(2, 21) if span % n == 0):
            loaded = {name: recording[name] for name in "txyp"}
            expected = (
                spikingjelly.utils.integrate_events_by_fixed_frames_number(
                    loaded, "time", timesteps, 34, 34
                )
            )
            frames = events.to_frames(recording, timesteps, by="time")
            np.testing.assert_array_equal(frames, np.moveaxis(expected, 1, -1))
            compared += 1
    assert compared > 1000


@pytest.mark.parametrize(
    ("timesteps", "expected"),
    [
        (None, [2, 1, 0, 2]),
        (4, [2, 1, 0, 2]),
        (6, [2, 1, 0, 2, 0, 0]),
        (3, [2, 1, 0]),
        (1, [2]),
    ],
)
def test_fixed_durations_start_at_the_first_event(timesteps, expected):
    recording = at(5, 14, 15, 35, 44)  # [5, 15), [15, 25), [25, 35), [35, 45)
    frames = events.to_frames(recording, timesteps, by="time", duration=10)
    assert per_frame(frames) == expected


@pytest.mark.parametrize("duration", [1000, 15_000, 400_000])
def test_fixed_durations_are_spikingjellys(duration, spikingjelly):
    compared = 0
    for file in recordings("nmnist")[::20]:
        recording = events.read(file)
        if (recording["t"][-1] - recording["t"][0]) % duration == 0:
            continue  # SpikingJelly closes the last frame
        loaded = {name: recording[name] for name in "txyp"}
        expected = spikingjelly.utils.integrate_events_by_fixed_duration(
            loaded, duration, 34, 34
        )
        frames = events.to_frames(recording, by="time", duration=duration)
        np.testing.assert_array_equal(frames, np.moveaxis(expected, 1, -1))
        compared += 1
    assert compared > 35


@pytest.mark.parametrize("duration", [2**62, 10**30])
def test_a_duration_may_exceed_64_bits(duration):
    recording = at(5, 2**62)
    frames = events.to_frames(recording, 3, by="time", duration=duration)
    assert per_frame(frames) == [2, 0, 0]


def test_no_events_give_no_frames():
    frames = events.to_frames(at(), by="time", duration=10)
    assert frames.shape == (0, 34, 34, 2)
    assert per_frame(events.to_frames(at(), 2, by="time", duration=10)) == [
        0,
        0,
    ]


@given(
    recording=some_events(largest=2**20),
    frames=st.sampled_from(
        [
            {"timesteps": 1},
            {"timesteps": 20},
            {"timesteps": 20, "by": "time"},
            {"duration": 3000, "by": "time"},
            {"timesteps": 400, "duration": 3000, "by": "time"},
        ]
    ),
    downsample=st.sampled_from([1, 2, 17, 34]),
)
def test_no_event_is_lost(recording, frames, downsample):
    counted = events.to_frames(recording, **frames, downsample=downsample)
    assert counted.sum() == len(recording)
    on = recording["p"].sum()
    assert counted.sum((0, 1, 2)).tolist() == [len(recording) - on, on]


def test_no_event_of_real_recordings_is_lost():
    for file in recordings("nmnist"):
        recording = events.read(file)
        for by in ("number", "time"):
            frames = events.to_frames(recording, 20, by=by)
            assert frames.sum() == len(recording)


@pytest.mark.parametrize(
    ("crop", "rows", "columns"),
    [
        ((4, 5), slice(0, 4), slice(0, 5)),
        ((2, 3), slice(1, 3), slice(1, 4)),
        (np.array([2, 3]), slice(1, 3), slice(1, 4)),
        ((1, 2), slice(1, 2), slice(1, 3)),  # the odd ones are below and right
        ((4, 1), slice(0, 4), slice(2, 3)),
    ],
)
def test_cropping_keeps_the_center(crop, rows, columns, rng):
    recording = np.zeros(200, events.DTYPE)
    recording["x"], recording["y"] = (
        rng.integers(0, 5, 200),
        rng.integers(0, 4, 200),
    )
    whole = events.to_frames(recording, 3, (4, 5))
    cropped = events.to_frames(recording, 3, (4, 5), crop=crop)
    np.testing.assert_array_equal(cropped, whole[:, rows, columns])


def test_downsampling_sums_squares(rng):
    recording = np.zeros(500, events.DTYPE)
    recording["x"], recording["y"] = (
        rng.integers(0, 8, 500),
        rng.integers(0, 6, 500),
    )
    recording["p"] = rng.integers(0, 2, 500)
    whole = events.to_frames(recording, 3, (6, 8))
    halved = events.to_frames(recording, 3, (6, 8), downsample=2)
    expected = whole.reshape(3, 3, 2, 4, 2, 2).sum((2, 4))
    np.testing.assert_array_equal(halved, expected)
    both = events.to_frames(recording, 3, (6, 8), crop=(3, 6), downsample=3)
    expected = whole[:, 1:4, 1:7].reshape(3, 1, 3, 2, 3, 2).sum((2, 4))
    np.testing.assert_array_equal(both, expected)


def test_binary_frames_are_0_or_1():
    frames = events.to_frames(at(1, 1, 1, 2), 2)
    binary = events.to_frames(at(1, 1, 1, 2), 2, binary=True)
    assert frames.max() == 2
    np.testing.assert_array_equal(binary, frames > 0)


def test_other_integers_and_boolean_polarities_count_the_same():
    recording = array((1, 3, 2, 0), (2, 30, 20, 1))
    other = np.zeros(2, [("p", "?"), ("t", "u4"), ("y", "i2"), ("x", "i8")])
    for name in "txyp":
        other[name] = recording[name]
    np.testing.assert_array_equal(
        events.to_frames(other, 2), events.to_frames(recording, 2)
    )


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint64])
@pytest.mark.parametrize("by", ["number", "time"])
def test_numpy_integers_count_like_pythons(kind, by, rng):
    recording = np.zeros(500, events.DTYPE)
    recording["t"] = np.sort(rng.integers(0, 10**6, 500))
    recording["x"], recording["y"] = rng.integers(0, 128, (2, 500))
    options = {"sensor_size": (128, 128), "by": by}
    expected = events.to_frames(recording, 20, downsample=4, **options)
    found = events.to_frames(recording, kind(20), downsample=kind(4), **options)
    np.testing.assert_array_equal(found, expected)


def test_a_duration_may_be_a_numpy_integer(rng):
    recording = np.zeros(50, events.DTYPE)
    recording["t"] = np.sort(rng.integers(0, 1000, 50))
    options = {"timesteps": None, "by": "time"}
    np.testing.assert_array_equal(
        events.to_frames(recording, duration=np.uint8(100), **options),
        events.to_frames(recording, duration=100, **options),
    )


SIGNED = [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1")]


@pytest.mark.parametrize(
    ("recording", "why"),
    [
        (
            array((1, 1, 1, 0), (1, 34, 33, 0)),
            r"x in \[0, 34\). Received: x=34 at event 1",
        ),
        (array((1, 33, 34, 0)), r"y in \[0, 34\). Received: y=34 at event 0"),
        (np.array([(1, -1, 0, 0)], SIGNED), "Received: x=-1 at event 0"),
        (np.array([(1, 0, -1, 0)], SIGNED), "Received: y=-1 at event 0"),
        (np.array([(1, 0, 0, -1)], SIGNED), "Received: p=-1 at event 0"),
        (at(4, 5, 3), "in order of time. Received: t=5 before t=3 at event 2"),
    ],
)
def test_events_out_of_range_are_refused(recording, why):
    with pytest.raises(ValueError, match=why):
        events.to_frames(recording, 2)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "`timesteps` must be an integer"),
        ({"by": "time"}, "`timesteps` must be an integer"),
        ({"timesteps": 0}, "`timesteps` must be at least 1"),
        ({"timesteps": 2.0}, "`timesteps` must be an integer"),
        (
            {"timesteps": 2, "by": "duration"},
            "`by` must be one of 'number', 'time'",
        ),
        ({"timesteps": 2, "duration": 5}, "`duration` must be `None` unless"),
        ({"by": "time", "duration": 0}, "`duration` must be at least 1"),
        ({"by": "time", "duration": 0.5}, "`duration` must be an integer"),
        ({"timesteps": 2, "sensor_size": 34}, "`sensor_size` must be"),
        ({"timesteps": 2, "crop": (35, 1)}, "`crop` must not be larger"),
        ({"timesteps": 2, "crop": (1, 35)}, "`crop` must not be larger"),
        ({"timesteps": 2, "crop": (0, 1)}, "`crop` must be at least 1"),
        ({"timesteps": 2, "crop": 0}, "`crop` must"),
        ({"timesteps": 2, "downsample": 4}, "`downsample` must divide .* 34"),
        ({"timesteps": 2, "crop": (32, 33), "downsample": 2}, "width 33"),
        ({"timesteps": 2, "crop": (33, 32), "downsample": 2}, "height 33"),
        ({"timesteps": 2, "downsample": 0}, "`downsample` must be at least 1"),
        ({"timesteps": 2**20}, r"at most 2\*\*31 values"),
        ({"by": "time", "duration": 1}, r"Received: shape=\(4194305, 34"),
    ],
)
def test_arguments_of_frames_are_checked(arguments, why):
    with pytest.raises((TypeError, ValueError), match=why):
        events.to_frames(at(0, 2**22), **arguments)
