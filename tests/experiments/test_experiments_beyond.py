"""Tables of the experiments that the paper does not have."""

import pytest

from experiments import beyond


@pytest.fixture
def record(fake):
    def make(correct, to_60, iterations=400, **fields):
        tested = {"tested": [[iterations, correct]], "test_samples": 200}
        return fake([0.5] * iterations, to_60=to_60, **tested, **fields)

    return make


def cell(*runs):
    """Returns the text of a cell at 400 iterations."""
    head, (_, text) = beyond.table({("deep",): {"copy": runs, "shi": []}}, 400)
    assert head == ["network", "copy"]
    return text


def test_a_cell_has_mean_interval_seeds_and_median(record):
    runs = [record(180, 50), record(190, None), record(185, 70)]
    # Student's interval of .90, .95, .925: .925 +- 4.303 * .025 / sqrt(3).
    expected = "92.5 (86.3–98.7, 3 seeds) [70]"
    assert cell(*runs) == expected
    # Shorter runs do not count.
    assert cell(*runs, record(9, 1, 5)) == expected


def test_longer_runs_say_so(record):
    runs = [record(100, 9), record(180, 50, 800), record(190, 30, 800)]
    # Student's interval of .90, .95: .925 +- 12.706 * .025, at most 1.
    assert cell(*runs) == "92.5 (60.7–100.0, 2 seeds) [40] after 800"


def test_a_network_that_mostly_fails_has_no_iteration(record):
    runs = [record(20, None), record(20, None), record(20, 7)]
    # Wilson's interval of 20 of 200, by hand: with z = 1.96 and
    # z^2 / n = 0.0192, (0.1 + 0.0096 -+ 0.0427) / 1.0192. Student's has none.
    assert cell(*runs) == "10.0 (6.6–14.9, 3 seeds) [–]"


def test_a_lost_run_counts_as_nothing(record):
    runs = [record(200, 50), record(200, 50, lost=300)]
    # Student's interval of 1 and 0: .5 +- 12.706 * .5, within 0 and 1.
    assert cell(*runs) == "50.0 (0.0–100.0, 2 seeds) [50]"


def test_panels_without_runs_are_left_out(record):
    cells = {("a",): {"copy": []}, ("b",): {"copy": [record(180, 5)]}}
    assert [row[0] for row in beyond.table(cells, 400)] == ["network", "b"]
