"""Figures, tables and claims from what is stored, as PNG and Markdown."""

import math
import pathlib

import numpy as np

from examples.reproduction import claims, figures, published, results
from examples.reproduction.experiments import (
    EXPERIMENTS,
    NEURONS,
    SURROGATES,
    TABLE_2,
    neuron,
)
from keras_snn.files import replacing

MISSING = "·"
FAILED = "–"
POINT = 1.0  # percent


def write(records, folder):
    """Draws and writes everything.

    Args:
        records: What `Store.read` returns.
        folder: Where `REPORT.md` and the folder `figures` go.

    Returns:
        What was written, in a sentence.
    """
    folder = pathlib.Path(folder)
    pages = Pages(records, folder / "figures")
    text = "\n\n".join(
        [
            *pages.head(),
            *pages.claims(),
            *pages.table_2(),
            *pages.analysis("tableA6", published.TABLE_A6),
            *pages.analysis("tableA7", published.TABLE_A7),
            *pages.table_a8(),
            *pages.figures(),
        ]
    )
    with replacing(folder / "REPORT.md") as partial:
        partial.write_text(text + "\n")
    return f"{pages.drawn} pictures in {pages.folder}, {folder / 'REPORT.md'}"


class Pages:
    """The report's parts, each a list of paragraphs.

    Args:
        records: What `Store.read` returns.
        folder: Where pictures go.
    """

    def __init__(self, records, folder):
        self.records, self.folder = records, folder
        self.drawn = 0
        self.gathered = {
            name: results.gather(records, x) for name, x in EXPERIMENTS.items()
        }
        self.extents = {
            name: results.extent(x, self.gathered[name])
            for name, x in EXPERIMENTS.items()
            if x.panels
        }

    def picture(self, name, figure):
        """Saves a figure; returns the Markdown that shows it."""
        with replacing(self.folder / f"{name}.png") as partial:
            figure.savefig(partial, dpi=110)
        self.drawn += 1
        return f"![{name}](figures/{name}.png)"

    def title(self, name):
        """What a picture says on its face."""
        words = f"{label(name)}. {EXPERIMENTS[name].title}"
        return (
            f"{words}\n{self.extents[name]}" if name in self.extents else words
        )

    def head(self):
        """What it is, and what the runs were made with."""
        shown = {
            x["key"]: x
            for panels in self.gathered.values()
            for methods in panels.values()
            for records in methods.values()
            for x in records
        }.values()
        machines = sorted(
            {
                f"{x['device']}, {x['backend']} {x['versions'][x['backend']]}, "
                f"Keras {x['versions']['keras']}"
                for x in shown
            }
        )
        hours = sum(x["seconds"] for x in shown) / 3600
        commits = {x["commit"] for x in shown}
        return [
            "# Reproduction",
            "Written by `python -m examples.reproduction report` from "
            f"`runs.jsonl`: {len(shown)} runs, {hours:.1f} hours of training "
            f"({'; '.join(machines) or 'nothing yet'}; {len(commits)} "
            "commits, each run names its own).",
            "Where a part says REDUCED, it is less than the paper's. "
            f"`{FAILED}` is a network that does not train (the paper's "
            f"hyphen), `{MISSING}` one that was not run. A network trains if "
            f"the mean of its last {results.LAST} training accuracies is at "
            f"least {results.TRAINS:g} times that of chance; in a reduced run "
            "that only says that it has not begun yet. Intervals are of 95 %: "
            "Student's over the seeds, or Wilson's for the test samples where "
            "there is one seed.",
        ]

    def claims(self):
        """The paper's own claims."""
        rows = [
            f"| {x.claim} | {x.paper} | {x.ours} | {x.verdict} |"
            for x in claims.all_of(self.gathered)
        ]
        head = [
            "| claim | paper | ours | verdict |",
            "| --- | --- | --- | --- |",
        ]
        return ["## Claims", "\n".join(head + rows)]

    def table_2(self):
        """Table 2, a line for each dataset and coding."""
        lines = []
        for name in TABLE_2:
            experiment = f"table2-{name}"
            gathered = self.gathered[experiment][()]
            theirs = dict(
                zip(
                    published.TABLE_2_ORDER,
                    published.TABLE_2[name],
                    strict=True,
                )
            )
            lines.append(
                Line(
                    name,
                    gathered,
                    theirs,
                    full(experiment),
                    unit=1,
                )
            )
        head = ["dataset and coding", *published.TABLE_2_ORDER]
        extents = {x: self.extents[f"table2-{x}"] for x in TABLE_2}
        together = sum(extents.values(), results.Extent())
        return [
            *self.compared(
                "table2", f"Table 2. Test accuracy\n{together}", head, lines
            ),
            "\n".join(f"- {name}: {x}" for name, x in extents.items()),
        ]

    def table_a8(self):
        """Table A8, a line for each dataset, neuron and technique."""
        gathered = self.gathered["tableA8"]
        lines = [
            Line(
                ", ".join(panel),
                methods,
                dict(zip(published.TABLE_A8_ORDER, theirs, strict=True)),
                full("tableA8", panel),
                unit=1,
            )
            for (panel, methods), theirs in zip(
                gathered.items(), published.TABLE_A8.values(), strict=True
            )
        ]
        head = ["VGG11", *published.TABLE_A8_ORDER]
        return self.compared("tableA8", self.title("tableA8"), head, lines)

    def analysis(self, name, theirs):
        """Table A6 or A7, a line for each neuron and setting."""
        lines = []
        for (row, setting), methods in self.gathered[name].items():
            key = next(x for x in NEURONS if neuron(*x) == row)
            numbers = dict(
                zip(published.ANALYSIS_ORDER, theirs[key][setting], strict=True)
            )
            lines.append(
                Line(
                    f"{row}, {setting}",
                    methods,
                    numbers,
                    full(name, (row, setting)),
                    unit=100,
                )
            )
        head = ["neuron, setting", *published.ANALYSIS_ORDER]
        return self.compared(name, self.title(name), head, lines)

    def compared(self, name, title, head, lines):
        """A table beside the published one, and how far the two agree."""
        parts = [f"## {title.splitlines()[0]}", *title.splitlines()[1:]]
        parts.append(
            "Ours / the paper's, in percent. Reduced runs show the test "
            "accuracy at their end."
        )
        rows = [[x.name, *map(x.text, head[1:])] for x in lines]
        bar = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
        parts.append(
            "\n".join(bar + ["| " + " | ".join(row) + " |" for row in rows])
        )
        if not any(x.length(y) for x in lines for y in head[1:]):
            return [*parts, "Not run."]
        colors = [[x.color(method) for method in head[1:]] for x in lines]
        short = [[x.name, *(x.text(y, False) for y in head[1:])] for x in lines]
        parts.append(
            self.picture(
                name, figures.table(short, head, colors, f"{title}\n{KEY}")
            )
        )
        return [*parts, agreement(lines)]

    def figures(self):
        """All figures that have something to show."""
        parts = ["## Figures"]
        for name in EXPERIMENTS:
            if name.startswith("table2"):
                continue
            if name == "fig2":
                parts += self.responses(name)
            elif name == "figA7":
                steepness = {x: y["a"] for x, y in SURROGATES.items()}
                figure = figures.surrogates(steepness, self.title(name))
                parts.append(self.picture(name, figure))
            else:
                parts.append(self.trained(name))
        return parts

    def responses(self, name):
        """Fig. 2 and how far its curves are apart."""
        figure, distances = figures.responses(NEURONS[:6], self.title(name))
        rows = [
            f"| {neuron(*x)} | {' | '.join(f'{y:.3f}' for y in far)} |"
            for x, far in distances.items()
        ]
        head = (
            "| neuron | constant current to Theorem 1, at most | Theorem 1 to "
            "asymptote | noisy current to asymptote |"
        )
        return [
            self.picture(name, figure),
            "Rates of 2000 timesteps. A discrete neuron under a constant "
            "current fires every n-th timestep, so at rates of 1/n; noise, of "
            "the size that Eq. 11 gives a network "
            f"({figures.NOISE} θ/λ), smooths that out.",
            "\n".join([head, "| --- " * 4 + "|", *rows]),
        ]

    def trained(self, name):
        """A figure of training runs, as Markdown."""
        experiment, extent = EXPERIMENTS[name], self.extents[name]
        shown, title = name, self.title(name)
        if experiment.curves:
            shown = experiment.curves
            title = f"{label(shown)}. The curves of {label(name)}"
        if not extent.stored:
            return f"{title.splitlines()[0]}: {extent}"
        # To where all of its curves go, so that none seems to end.
        limit, gathered = results.common(self.gathered[name])
        extent = results.extent(experiment, gathered, limit)
        title = f"{title.splitlines()[0]}\n{extent}"
        title += figures.seeds_note(gathered)
        if name.startswith("fig3"):
            figure = figures.firing_rates(gathered, title)
        elif name == "fig1":
            figure = figures.beginning(gathered, title, limit)
        elif name.startswith("fig4") or name == "bntt":
            figure = figures.loss_and_accuracy(gathered, title, limit)
        elif name == "fig5":
            figure = figures.iterations_to_60(gathered, title, limit)
        else:
            metric = "loss" if name == "figA9" else "accuracy"
            figure = figures.curves(gathered, metric, title, limit)
        return self.picture(shown, figure)


KEY = (
    "green: trains or not, as in the paper; red: other than there; yellow: not "
    "yet, in a reduced run"
)


def full(name, panel=()):
    """Iterations of the paper's run of a panel."""
    experiment = EXPERIMENTS[name]
    return experiment.full(experiment.panels[panel])


def label(name):
    """A name as it is written: "fig4-mnist" is Fig. 4 (mnist)."""
    name, _, part = name.partition("-")
    for begin, written in (("fig", "Fig. "), ("table", "Table ")):
        if name.startswith(begin):
            name = written + name.removeprefix(begin)
            return f"{name} ({part})" if part else name
    return "Not the paper's"


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
        # A cell shows its longest runs.
        self.gathered = {
            method: [
                x for x in records if x["iterations"] == results.length(records)
            ]
            for method, records in gathered.items()
        }
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
        """Whether ours does not train, but may begin later."""
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
        "that have not begun in a reduced run there are "
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
