"""Hot pixels are found by two rules."""

import statistics

import numpy as np
import pytest
from event_files import array, at, recordings

from keras_snn import events


def counted(recording):
    pixels = {}
    for x, y in recording[["x", "y"]].tolist():
        pixels[x, y] = pixels.get((x, y), 0) + 1
    return pixels


def hot_pixels(recording, deviations=5.0):
    """Applies the rules as written, one pixel at a time."""
    pixels = counted(recording)
    numbers = list(pixels.values())
    limit = statistics.mean(numbers) + deviations * statistics.pstdev(numbers)
    found = set()
    for (x, y), number in pixels.items():
        around = [
            pixels.get((x + i, y + j), 0)
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
            if (i, j) != (0, 0)
        ]
        if number > limit and number > 4 * sorted(around)[-3]:
            found.add((x, y))
    return found


def planted(recording, places, rng):
    """Adds pixels that fire at 1 kHz."""
    start, end = int(recording["t"][0]), int(recording["t"][-1])
    rows = [
        (int(t), x, y, int(rng.integers(2)))
        for x, y in places
        for t in range(start, end, 1000)
    ]
    both = np.concatenate([recording, array(*rows)])
    return both[np.argsort(both["t"], kind="stable")]


def test_planted_hot_pixels_are_removed_from_real_recordings(rng):
    for file in recordings("nmnist")[::25]:
        recording = events.read(file)
        # In the middle of the digit, in the corner, and two neighbors.
        places = [(17, 17), (0, 0), (33, 20), (5, 28), (6, 28)]
        found = events.remove_hot_pixels(planted(recording, places, rng))
        outside = [xy not in places for xy in recording[["x", "y"]].tolist()]
        np.testing.assert_array_equal(found, recording[outside])


@pytest.mark.parametrize("deviations", [0.5, 2.0, 5.0])
def test_the_rules_are_as_written(deviations):
    for file in recordings("nmnist")[::40]:
        recording = events.read(file)
        hot = hot_pixels(recording, deviations)
        found = events.remove_hot_pixels(recording, deviations)
        kept = [xy not in hot for xy in recording[["x", "y"]].tolist()]
        np.testing.assert_array_equal(found, recording[kept])


def test_few_events_of_real_recordings_are_removed():
    def pixels(recording):
        return len(np.unique(100 * recording["y"] + recording["x"]))

    removed = 0
    for file in recordings("nmnist"):
        recording = events.read(file)
        removed += pixels(recording)
        removed -= pixels(events.remove_hot_pixels(recording))
    assert removed == 4
    for file in recordings("dvs_gesture"):
        recording = events.read(file)
        assert len(events.remove_hot_pixels(recording)) == len(recording)


def test_an_active_region_is_not_hot():
    """A hand that moves in one place is as active as a hot pixel."""
    quiet = [(0, x, y, 0) for x in range(40) for y in range(40)]
    hand = [
        (t, x, y, 1)
        for t in range(1, 200)
        for x in (10, 11, 12, 13)
        for y in (10, 11, 12, 13)
    ]
    recording = array(*quiet, *hand)
    assert len(events.remove_hot_pixels(recording)) == len(recording)
    hot = array(*quiet, *((t, 30, 30, 1) for t in range(1, 200)))
    found = events.remove_hot_pixels(hot)
    assert (30, 30) not in found[["x", "y"]].tolist()
    assert len(found) == len(quiet) - 1


def test_neighbors_are_not_found_across_the_border():
    # (0, 5) follows (39, 4) in the order of pixels.
    quiet = [(0, x, y, 0) for x in range(40) for y in range(40)]
    hot = [(t, 0, 5, 1) for t in range(1, 200)]
    beside = [(t, 39, y, 1) for t in range(1, 200) for y in (3, 4, 5)]
    recording = array(*quiet, *sorted(hot + beside))
    found = events.remove_hot_pixels(recording, deviations=2.0)
    assert (0, 5) not in found[["x", "y"]].tolist()


def test_small_recordings_are_kept():
    for recording in (at(), at(1), at(1, 2, 3)):
        found = events.remove_hot_pixels(recording)
        np.testing.assert_array_equal(found, recording)
        assert found is not recording


@pytest.mark.parametrize(
    ("recording", "deviations", "why"),
    [
        (at(3, 1), 5.0, "`events` must be in order of time"),
        (np.zeros((3, 4)), 5.0, "`events` must be an array of one axis"),
        (at(1), 0, "`deviations` must be above 0"),
        (at(1), float("nan"), "`deviations` must be finite"),
    ],
)
def test_arguments_are_checked(recording, deviations, why):
    with pytest.raises((TypeError, ValueError), match=why):
        events.remove_hot_pixels(recording, deviations)
