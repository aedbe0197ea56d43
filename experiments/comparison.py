"""Cells of a table beside the published ones, and how far they agree."""

import math

import numpy as np

from experiments import figures, results

MISSING = "·"
FAILED = "–"
POINT = 1.0  # percent


class Line:
    """A line of a table: ours beside the paper's.

    Args:
        name: What it is called.
        gathered: Dictionary from method to its records.
        theirs: Dictionary from method to the published number, or `None`.
        full: Iterations of the paper's runs.
        unit: What makes percents of the published numbers, 1 or 100.
    """

    def __init__(self, name, gathered, theirs, full, unit):
        self.name, self.full = name, full
        self.all = gathered
        self.gathered = {x: results.longest(y) for x, y in gathered.items()}
        self.theirs = {
            method: None if x is None else x * unit
            for method, x in theirs.items()
        }

    def length(self, method):
        """Iterations of the runs that a cell shows, 0 if there are none."""
        records = self.gathered[method]
        return min(self.full, records[0]["iterations"]) if records else 0

    def trains(self, method):
        """Whether ours trains, or `None` if there is none."""
        records = self.gathered[method]
        if not records:
            return None
        return results.trains(records, self.length(method))

    def expected(self, method):
        """Whether the paper's trains."""
        return self.theirs[method] is not None

    def agrees(self, method):
        """Whether ours trains just where the paper's does, or `None`."""
        ours = self.trains(method)
        return None if ours is None else ours == self.expected(method)

    def score(self, method, at):
        """What decides who is ahead, in percent: 0 if it does not train."""
        # Of the shorter runs, too, those that go so far.
        records = [x for x in self.all[method] if x["iterations"] >= at]
        if not results.trains(records, at):
            return 0.0
        measure = results.accuracy_at
        if at == self.full:
            measure = results.held_out
        return 100 * float(np.mean([measure(x, at) for x in records]))

    def scores(self, method):
        """Scores of the asymptote and of a method, as far as both go.

        Returns:
            `(asymptote, method)`, or `None` if one of them is missing.
        """
        at = min(self.length("asymptote"), self.length(method))
        if not at:
            return None
        return self.score("asymptote", at), self.score(method, at)

    def winner_agrees(self, method):
        """Whether who is ahead of the two is so in the paper.

        Returns:
            `None` if one of them is missing, or the paper's two train equally
            well to the last digit: ours never do.
        """
        scores = self.scores(method)
        theirs = self.theirs["asymptote"] or 0, self.theirs[method] or 0
        if scores is None or theirs[0] == theirs[1] != 0:
            return None
        return sign(*scores) == sign(*theirs)

    def distance(self, method):
        """Points between ours and the paper's, of full runs that train."""
        if self.length(method) < self.full or not self.expected(method):
            return None
        if not self.trains(method):
            return None
        return self.score(method, self.full) - self.theirs[method]

    def text(self, method, interval=True):
        """Ours, by default with its interval, and the paper's."""
        return f"{self._ours(method, interval)} / {self.paper(method)}"

    def paper(self, method):
        """The paper's number."""
        number = self.theirs[method]
        return FAILED if number is None else f"{number:.4g}"

    def _ours(self, method, interval):
        records = self.gathered[method]
        if not records:
            return MISSING
        if not self.trains(method):
            return FAILED
        values = [results.held_out(x) for x in records]
        mean, low, high = results.mean_and_interval(
            values, records[0]["test_samples"]
        )
        full = self.length(method) == self.full
        text = f"{100 * mean:.{2 if full else 1}f}"
        if interval and not math.isnan(low):
            text += f" ({100 * low:.1f}–{100 * high:.1f})"
        # Beside a longer one a shorter run says so.
        if self.length(method) < max(map(self.length, self.theirs)):
            text += f" at {records[0]['iterations']:,}"
        return text

    def color(self, method):
        """The colour of a cell."""
        if self.trains(method) is None:
            return figures.NONE
        if self.agrees(method):
            return figures.GOOD
        return figures.LATE if self.waits(method) else figures.BAD

    def waits(self, method):
        """Whether ours does not train so far, in a reduced run."""
        return not self.trains(method) and self.length(method) < self.full


def sign(first, second):
    """Which of two is more: 1, -1, or 0 if they are equal."""
    return (first > second) - (first < second)


def agreement(lines):
    """How many cells agree with the paper's, and a list of those that do not.

    Args:
        lines: List of `Line`.

    Returns:
        Markdown.
    """
    methods = list(lines[0].theirs)
    cells = [(x, method) for x in lines for method in methods]
    there = [(x, y) for x, y in cells if x.trains(y) is not None]
    rivals = [(x, y) for x, y in there if y != "asymptote"]
    compared = [(x, y) for x, y in rivals if x.winner_agrees(y) is not None]
    near = [x.distance(y) for x, y in there if x.distance(y) is not None]
    text = [
        f"- Stored: {len(there)} of {len(cells)} cells.",
        "- Trains or not, as in the paper: "
        f"{sum(x.agrees(y) for x, y in there)} of {len(there)}. Of networks "
        "that do not train in a reduced run there are "
        f"{sum(x.waits(y) and x.agrees(y) for x, y in there)} among these, "
        f"{sum(x.waits(y) and not x.agrees(y) for x, y in there)} among the "
        "others.",
        "- Who is ahead, asymptote or the other, as in the paper: "
        f"{sum(x.winner_agrees(y) for x, y in compared)} of {len(compared)} "
        "pairs (by test accuracy in full runs, by training accuracy of the "
        f"last {results.LAST} iterations in reduced ones).",
        f"- Within {POINT:g} point of the paper: "
        + (
            f"{sum(abs(x) <= POINT for x in near)} of {len(near)} full runs."
            if near
            else "nothing to compare, there are reduced runs only."
        ),
    ]
    misses = list(filter(None, (miss(x, y) for x, y in there)))
    if misses:
        text.append(f"- Misses: {len(misses)}\n" + "\n".join(misses))
    return "\n".join(text)


def miss(line, method):
    """In what a cell differs from the paper's, as Markdown, or `None`."""
    name = f"  - {line.name}, {method}"
    if not line.agrees(method):
        ours, theirs = (
            "trains" if x else "does not train"
            for x in (line.trains(method), line.expected(method))
        )
        late = " (of fewer than there)" * line.waits(method)
        return (
            f"{name}: {ours} in {line.length(method):,} iterations{late}; in "
            f"the paper it {theirs}"
        )
    if method != "asymptote" and line.winner_agrees(method) is False:
        ours, other = line.scores(method)
        ahead = ("neither", "asymptote", method)[sign(ours, other)]
        at = min(line.length("asymptote"), line.length(method))
        return (
            f"{name}: at {at:,} iterations {ahead} is ahead ({ours:.1f} "
            f"against {other:.1f} %); in the paper {line.paper('asymptote')} "
            f"against {line.paper(method)} %"
        )
    distance = line.distance(method)
    if distance is not None and abs(distance) > POINT:
        return f"{name}: {distance:+.2f} points from the paper"
    return None
