"""Figures, tables and claims from what is stored, as PNG and Markdown."""

import pathlib

from experiments import claims, figures, published, results
from experiments.comparison import (
    FAILED,
    MISSING,
    Line,
    agreement,
)
from experiments.experiments import (
    EXPERIMENTS,
    NEURONS,
    SIX,
    SURROGATES,
    TABLE_2,
    neuron,
)
from keras_snn.files import replacing


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
            name: results.extent(
                x,
                {
                    panel: {y: results.longest(z) for y, z in cells.items()}
                    for panel, cells in self.gathered[name].items()
                },
            )
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
        return f"{heading(name)}\n{self.extents[name]}"

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
            "Written by `python -m experiments report` from "
            f"`runs.jsonl`: {len(shown)} runs, {hours:.1f} hours of training "
            f"({'; '.join(machines) or 'nothing yet'}; {len(commits)} "
            "commits, each run names its own).",
            "Where a part says REDUCED, it is less than the paper's. "
            f"`{FAILED}` is a network that does not train (the paper's "
            f"hyphen), `{MISSING}` one that was not run. A network trains if "
            f"the mean of its last {results.LAST} training accuracies is at "
            f"least {results.TRAINS:g} times that of chance; what does not in "
            "a reduced run may do so later. Intervals are of 95 %: "
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
            line = Line(name, gathered, theirs, full(experiment), unit=1)
            lines.append(line)
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
                figure = figures.surrogates(steepness, heading(name))
                parts.append(self.picture(name, figure))
            else:
                parts.append(self.trained(name))
        return parts

    def responses(self, name):
        """Fig. 2 and how far its curves are apart."""
        figure, distances = figures.responses(SIX, heading(name))
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
        experiment = EXPERIMENTS[name]
        shown, title = name, heading(name)
        if experiment.curves:
            shown = experiment.curves
            title = f"{label(shown)}. The curves of {label(name)}"
        if not self.extents[name].stored:
            return f"{title}: {self.extents[name]}"
        # To where all of its curves go, so that none seems to end.
        limit, gathered = results.common(self.gathered[name])
        title += f"\n{results.extent(experiment, gathered, limit)}"
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
    "so far, in a reduced run"
)


def full(name, panel=()):
    """Iterations of the paper's run of a panel."""
    experiment = EXPERIMENTS[name]
    return experiment.full(experiment.panels[panel])


def heading(name):
    """What an experiment is called, and what it shows."""
    return f"{label(name)}. {EXPERIMENTS[name].title}"


def label(name):
    """A name as it is written: "fig4-mnist" is Fig. 4 (mnist)."""
    name, _, part = name.partition("-")
    for begin, written in (("fig", "Fig. "), ("table", "Table ")):
        if name.startswith(begin):
            name = written + name.removeprefix(begin)
            return f"{name} ({part})" if part else name
    return "Not the paper's"
