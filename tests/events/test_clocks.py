"""Clocks that start over, were reset, or run out of order."""

import struct

import numpy as np
import pytest
from event_files import (
    AEDAT2,
    AEDAT3,
    aedat2_event,
    aedat3_event,
    bin_event,
    packet,
    recordings,
    refused,
)
from foreign_files import dat, evt2, evt3, evt21
from hypothesis import given
from hypothesis import strategies as st

from keras_snn import events
from keras_snn.events.recording import unwrapped


def bin_file(times):
    return b"".join(bin_event(t % 2**23) for t in times)


def aedat2(times):
    return AEDAT2 + b"".join(aedat2_event(t % 2**32) for t in times)


def rows(times):
    return [(t, 1, 1, 0) for t in times]


# The writer and the range of the clock.
CLOCKS = {
    "bin": (bin_file, 2**23),
    "aedat2": (aedat2, 2**32),
    "dat": (lambda times: dat(rows(times)), 2**32),
    "evt2": (lambda times: evt2(rows(times)), 2**34),
    "evt21": (lambda times: evt21(rows(times)), 2**34),
    "evt3": (lambda times: evt3(rows(times)), 2**24),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_a_clock_continues_when_it_starts_over(path, name):
    write, span = CLOCKS[name]
    # Two turns, in steps of a sixteenth of the range.
    times = np.arange(span // 2, 3 * span, span // 16) + 5
    path.write_bytes(write(times.tolist()))
    np.testing.assert_array_equal(events.read(path)["t"], times)


def test_signed_times_of_jaer_continue_through_zero_and_their_end(path):
    signed = [-9, -4, 3, 2**31 - 2, -(2**31) + 5]
    path.write_bytes(
        AEDAT2 + b"".join(struct.pack(">Ii", 0, t) for t in signed)
    )
    t = events.read(path)["t"]
    assert (t - t[0]).tolist() == [0, 5, 12, 2**31 + 7, 2**31 + 14]


def test_a_real_recording_past_the_range_is_read(path):
    file = recordings("dvs_gesture")[0]
    expected = events.read(file)
    expected["t"] += 2**23 - 700_000  # it lasts 1.45 s
    t = expected["t"] % 2**23
    assert (np.diff(t) < 0).sum() == 1
    raw = np.frombuffer(file.read_bytes(), "u1").reshape(-1, 5).copy()
    raw[:, 2] = raw[:, 2] & 128 | t >> 16
    raw[:, 3], raw[:, 4] = t >> 8 & 255, t & 255
    path.write_bytes(raw.tobytes())
    np.testing.assert_array_equal(events.read(path), expected)


def test_a_late_event_belongs_to_the_turn_before(path):
    times = [2**23 - 9, 2**23 + 3, 2**23 - 5, 2**23 + 4]
    times += [3 * 2**22, 2**24 - 9, 2**24 + 1, 2**24 - 8, 2**24 + 2]
    path.write_bytes(bin_file(times))
    t = events.read(path, sort=True)["t"]
    assert t.tolist() == sorted(times)


def test_a_pause_is_not_a_turn(path):
    times = [3, 2**23 - 1]
    path.write_bytes(bin_file(times))
    assert events.read(path)["t"].tolist() == times
    path.write_bytes(bin_file([*times, 2**23 + 7]))
    assert events.read(path)["t"].tolist() == [*times, 2**23 + 7]


@given(
    steps=st.lists(st.integers(0, 249), min_size=1, max_size=60),
    start=st.integers(0, 999),
)
def test_unwrapping_undoes_the_remainder(steps, start):
    # Steps below a quarter of the range.
    times = np.cumsum([start, *steps])
    np.testing.assert_array_equal(unwrapped(times % 1000, 1000), times)


RESETS = {
    "bin": bin_file([5, 5_000_000, 9, 700]),
    "aedat2": aedat2([5, 5_000_000, 9, 700]),
    "aedat3": AEDAT3
    + packet(*(aedat3_event(t) for t in (5, 5_000_000, 9, 700))),
    "dat": dat(rows([5, 5_000_000, 9, 700])),
    "evt2": evt2(rows([5, 5_000_000, 9, 700])),
    "evt3": evt3(rows([5, 5_000_000, 9, 700])),
}
PLACES = {"bin": 10, "aedat2": len(AEDAT2) + 16, "aedat3": len(AEDAT3) + 44}


@pytest.mark.parametrize("name", RESETS)
def test_a_reset_has_its_own_sentence_without_advice_to_sort(path, name):
    why = "from 5000000 to 9 us; the clock was reset, or this is not a rec"
    path.write_bytes(RESETS[name])
    with pytest.raises(ValueError, match=why) as caught:
        events.read(path)
    assert "sort" not in str(caught.value)
    if name in PLACES:
        refused(path, RESETS[name], PLACES[name], why)


@pytest.mark.parametrize("late", [1, 10_000])
def test_jitter_advises_to_sort(path, late):
    content = bin_file([20_000, 50_000, 50_000 - late, 60_000])
    refused(path, content, 10, f"to {50_000 - late} us; `sort=True` sorts")
    found = events.read(path, sort=True)["t"].tolist()
    assert found == [20_000, 50_000 - late, 50_000, 60_000]


def test_a_reset_outweighs_jitter(path):
    content = bin_file([20_000, 19_999, 50_000, 39_999])
    refused(path, content, 15, "from 50000 to 39999 us; the clock was reset")
