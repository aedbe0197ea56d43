"""Cells of a table beside the paper's."""

import pytest

from experiments.comparison import Cell, Row, agreement


@pytest.fixture
def row(fake):
    """Makes a row from the end and the test hits of each method's curve."""

    def make(theirs, full=100, **cells):
        records = {
            method: [fake([0.1] * 60 + [end] * 40, tested=[[100, right]])]
            for method, (end, right) in cells.items()
        }
        return Row(
            "name",
            {x: Cell(records.get(x, []), y, full) for x, y in theirs.items()},
        )

    return make


def test_cells_are_compared_with_the_papers(row):
    theirs = {"asymptote": 91.0, "glorot": None, "he": 90.5, "wu": 90.0}
    one = row(
        theirs,
        asymptote=(0.9, 324),  # of 360: 90 %
        glorot=(0.1, 36),  # fails, as there
        he=(0.95, 342),  # ahead, unlike there, and 4.5 points off
        # Wu was not run.
    )
    cells = [one.cells[x] for x in ("asymptote", "glorot", "he")]
    assert [x.trains for x in cells] == [True, False, True]
    assert [x.agrees for x in cells] == [True, True, True]
    assert one.winner_agrees("glorot") is True
    assert one.winner_agrees("he") is False
    assert one.winner_agrees("wu") is None
    assert cells[0].distance == pytest.approx(-1.0)
    assert cells[2].distance == pytest.approx(4.5)
    assert cells[1].distance is None
    # Wilson's interval of 342 of 360, by hand: with z = 1.96 and
    # z^2 / n = 0.01067, (0.95 + 0.005335 -+ 0.02314) / 1.01067.
    assert one.text() == [
        *("name", "90.00 (86.47–92.69) / 91", "– / –"),
        *("95.00 (92.24–96.81) / 90.5", "· / 90"),
    ]
    text = agreement([one])
    assert "Stored: 3 of 4 cells" in text
    assert "as in the paper: 3 of 3" in text
    assert "1 of 2 pairs" in text
    assert "1 of 2 full runs" in text
    assert (
        "Misses: 1\n  - name, he: after 100 iterations he is ahead (90.0 "
        "against 95.0 %); in the paper 91 against 90.5 %"
    ) in text


def test_reduced_runs_are_not_compared_in_points(row):
    theirs = {"asymptote": 91.0, "glorot": 80.0}
    one = row(theirs, 200, asymptote=(0.9, 324), glorot=(0.1, 36))
    assert one.cells["asymptote"].distance is None
    text = agreement([one])
    assert "all runs are reduced" in text
    assert "glorot: does not train in 100 iterations (fewer" in text
    assert "0 of these, and 1 of the others, do not train in a" in text
    assert one.text()[1].startswith("90.0 (")


def test_shorter_runs_of_a_row_say_so(fake):
    asymptote = [
        fake([0.5] * 100, tested=[[100, 180]]),
        fake([0.9] * 40, tested=[[40, 360]], seed=1),
    ]
    glorot = [fake([0.7] * 40, tested=[[40, 90]])]
    one = Row(
        "name",
        {
            "asymptote": Cell(asymptote, 91.0, 200),
            "glorot": Cell(glorot, 80.0, 200),
        },
    )
    _, first, second = one.text()
    # The longer run shows one seed ...
    assert first.startswith("50.0 (")
    assert first.endswith(") / 91")
    assert second.startswith("25.0 (")
    assert second.endswith(" at 40 / 80")
    # ... but at 40 iterations there are two: (50 + 90) / 2 against 70.
    assert one.scores("glorot") == pytest.approx((40, 70.0, 70.0))
