"""Compares the cells of a table with the published ones."""

import dataclasses

import numpy as np

from experiments import results
from experiments.records import LAST, Record, trains

__all__ = ["FAILED", "MISSING", "Cell", "Row", "agreement", "counts"]

MISSING, FAILED = "·", "–"
POINT = 1.0  # percent


@dataclasses.dataclass(frozen=True)
class Cell:
    """Our runs for a cell, and the published number.

    Args:
        records: One or more records per seed, of any length.
        theirs: Published accuracy in percent; `None` if training failed.
        full: Number of iterations of the published run.
    """

    records: list[Record]
    theirs: float | None
    full: int

    @property
    def length(self) -> int:
        """Number of iterations of the longest record; 0 without records."""
        return min(
            self.full, max((x.iterations for x in self.records), default=0)
        )

    @property
    def trains(self) -> bool:
        """Whether our network trains."""
        return trains(results.longest(self.records), self.length)

    @property
    def agrees(self) -> bool:
        """Whether our network trains if and only if the published one does."""
        return self.trains == (self.theirs is not None)

    @property
    def waits(self) -> bool:
        """Whether our network does not train, in a reduced run."""
        return not self.trains and self.length < self.full

    @property
    def distance(self) -> float | None:
        """Difference from the published number, for full runs that train."""
        if self.length < self.full or not self.trains or self.theirs is None:
            return None
        return self.score(self.full) - self.theirs

    def score(self, at: int) -> float:
        """Returns the accuracy that ranks methods, in percent.

        It is the test accuracy of full runs, the training accuracy of reduced
        runs, and 0 if the network does not train.
        """
        # Includes runs that are not the longest, if they are long enough.
        records = [x for x in self.records if x.iterations >= at]
        if not trains(records, at):
            return 0.0
        score = Record.test_accuracy if at == self.full else Record.accuracy_at
        return 100 * float(np.mean([score(x, at) for x in records]))

    def text(self, most: int) -> str:
        """Returns our test accuracy and the published number.

        Args:
            most: Length of the longest run of the row.
        """
        theirs = percent(self.theirs)
        if not self.records or not self.trains:
            return f"{FAILED if self.records else MISSING} / {theirs}"
        shown = results.longest(self.records)
        mean, low, high = (100 * x for x in results.accuracy_interval(shown))
        digits = 2 if self.length == self.full else 1
        mean, low, high = (f"{x:.{digits}f}" for x in (mean, low, high))
        text = f"{mean} ({low}–{high})"
        if self.length < most:
            text += f" at {self.length:,}"
        return f"{text} / {theirs}"


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        name: Label of the row.
        cells: Cell of each method.
    """

    name: str
    cells: dict[str, Cell]

    def text(self) -> list[str]:
        """Returns the label and the cells as text."""
        most = max(x.length for x in self.cells.values())
        return [self.name, *(x.text(most) for x in self.cells.values())]

    def scores(self, method: str) -> tuple[int, float, float] | None:
        """Compares the asymptote with another method.

        Returns:
            The number of iterations that both have reached, and the scores of
            the asymptote and the other method there. `None` if one is missing.
        """
        ours, other = self.cells["asymptote"], self.cells[method]
        at = min(ours.length, other.length)
        return (at, ours.score(at), other.score(at)) if at else None

    def winner_agrees(self, method: str) -> bool | None:
        """Says whether the better of the two is the same as in the paper.

        Returns:
            The answer, or `None` if a run is missing, or if both train in the
            paper, to the same accuracy.
        """
        scores = self.scores(method)
        theirs = [self.cells[x].theirs or 0 for x in ("asymptote", method)]
        if method == "asymptote" or not scores or theirs[0] == theirs[1] != 0:
            return None
        ours = np.sign(scores[1] - scores[2])
        return bool(ours == np.sign(theirs[0] - theirs[1]))

    def miss(self, method: str) -> str | None:
        """Describes how a cell differs from the paper's, if it does."""
        cell = self.cells[method]
        if not cell.agrees:
            ours, theirs = "trains", "it does not train"
            if not cell.trains:
                ours, theirs = "does not train", "it trains"
            early = " (fewer than in the paper)" * cell.waits
            partial = any(x.partial for x in cell.records)
            early += " on part of the data" * partial
            return (
                f"{ours} in {cell.length:,} iterations{early}; in the paper "
                f"{theirs}"
            )
        if self.winner_agrees(method) is False:
            at, ours, other = self.scores(method) or (0, 0, 0)
            ahead = "asymptote" if ours > other else method
            ahead = "neither" if ours == other else ahead
            theirs = (self.cells[x].theirs for x in ("asymptote", method))
            first, second = map(percent, theirs)
            return (
                f"after {at:,} iterations {ahead} is ahead ({ours:.1f} against "
                f"{other:.1f} %); in the paper {first} against {second} %"
            )
        if cell.distance is not None and abs(cell.distance) > POINT:
            return f"{cell.distance:+.2f} points from the paper"
        return None


def percent(theirs: float | None) -> str:
    """Returns a published number as text."""
    return FAILED if theirs is None else f"{theirs:.4g}"


def counts(rows: list[Row]) -> list[str]:
    """Counts the cells that agree with the paper.

    Args:
        rows: The rows of a table.

    Returns:
        The lines of a Markdown list.
    """
    stored = _stored(rows)
    cells = [x.cells[y] for x, y in stored]
    waiting = [x.agrees for x in cells if x.waits]
    winners = [x.winner_agrees(y) for x, y in stored]
    winners = [x for x in winners if x is not None]
    near = [abs(x.distance) <= POINT for x in cells if x.distance is not None]
    distances = f"{sum(near)} of {len(near)} full runs"
    if not near:
        distances = "nothing to compare, since all runs are reduced"
    return [
        f"- Stored: {len(stored)} of {sum(len(x.cells) for x in rows)} cells.",
        f"- Trains or fails as in the paper: {sum(x.agrees for x in cells)} of "
        f"{len(stored)}. {sum(waiting)} of these, and "
        f"{len(waiting) - sum(waiting)} of the others, do not train in a "
        "reduced run, but may in a longer one.",
        "- The better of asymptote and another method is the paper's: "
        f"{sum(winners)} of {len(winners)} pairs (by test accuracy in full "
        f"runs, by training accuracy of the last {LAST} iterations in reduced "
        "ones).",
        f"- Within {POINT:g} point of the paper: {distances}.",
    ]


def agreement(rows: list[Row]) -> str:
    """Counts the cells that agree with the paper, and lists the others.

    Args:
        rows: The rows of a table.

    Returns:
        Markdown.
    """
    misses = [(f"{x.name}, {y}", x.miss(y)) for x, y in _stored(rows)]
    misses = [f"  - {name}: {miss}" for name, miss in misses if miss]
    lines = counts(rows) + [f"- Misses: {len(misses)}"] * bool(misses)
    return "\n".join(lines + misses)


def _stored(rows):
    """Returns the pairs of a row and a method that have runs."""
    pairs = [(row, method) for row in rows for method in row.cells]
    return [(x, y) for x, y in pairs if x.cells[y].records]
