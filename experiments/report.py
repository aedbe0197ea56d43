"""Writes REPORT.md, its figures and the headline from stored runs."""

import pathlib

from experiments import claims, figures, headline, published, results
from experiments.catalogue import (
    EXPERIMENTS,
    SIX,
    STEEPNESS,
    TABLE_2,
    neuron,
)
from experiments.comparison import FAILED, MISSING, Cell, Row, agreement
from experiments.records import LAST, TRAINS, Record
from keras_snn.files import replacing

__all__ = ["Report", "write"]

KEY = (
    "green: trains or fails as in the paper; red: does not; yellow: does not "
    "train yet, in a reduced run"
)
GOOD, BAD, LATE, NONE = "#d5ead6", "#f6d0c4", "#fbedc3", "#eeeeee"


def write(records: dict[str, Record], folder: str | pathlib.Path) -> str:
    """Writes everything.

    Args:
        records: What `Store.read` returns.
        folder: Folder for `REPORT.md`, `HEADLINE.md`, `headline.json` and the
            folder `figures`.

    Returns:
        A sentence about what was written.
    """
    folder = pathlib.Path(folder)
    report = Report(records, folder / "figures")
    paragraphs = [
        *report.head(),
        *report.claims(),
        *report.table_2(),
        *report.analysis("tableA6", published.TABLE_A6),
        *report.analysis("tableA7", published.TABLE_A7),
        *report.table_a8(),
        *report.figures(),
    ]
    with replacing(folder / "REPORT.md") as partial:
        partial.write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    headline.write(records, folder)
    return f"Wrote `{folder / 'REPORT.md'}` and {report.drawn} figures"


class Report:
    """The parts of the report, each a list of paragraphs.

    Args:
        records: What `Store.read` returns.
        folder: Folder for the figures.
    """

    def __init__(self, records: dict[str, Record], folder: pathlib.Path):
        self.folder, self.drawn = folder, 0
        self.gathered = {
            name: results.gather(records, x) for name, x in EXPERIMENTS.items()
        }

    def extent(self, name: str) -> results.Extent:
        """Measures the longest runs of an experiment."""
        shown = {
            panel: {x: results.longest(y) for x, y in cells.items()}
            for panel, cells in self.gathered[name].items()
        }
        return results.extent(EXPERIMENTS[name], shown)

    def picture(self, name: str, figure) -> str:
        """Saves a figure and returns the Markdown that shows it."""
        with replacing(self.folder / f"{name}.png") as partial:
            figure.savefig(partial, dpi=110)
        self.drawn += 1
        return f"![{name}](figures/{name}.png)"

    def head(self) -> list[str]:
        """Introduces the report and the runs."""
        runs = {
            x.key: x
            for panels in self.gathered.values()
            for methods in panels.values()
            for records in methods.values()
            for x in records
        }.values()
        machines = {
            f"{x.device}, {x.backend} {x.versions[x.backend]}, Keras "
            f"{x.versions['keras']}"
            for x in runs
        }
        hours = sum(x.seconds for x in runs) / 3600
        commits = len({x.commit for x in runs})
        return [
            "# Report",
            "`python -m experiments report` writes this page from the stored "
            f"runs in `runs.jsonl`: {len(runs)} runs, {hours:.1f} hours of "
            f"training ({'; '.join(sorted(machines)) or 'none yet'}; {commits} "
            "commits, which the runs name).",
            "REDUCED marks what is less than in the paper. "
            f"`{FAILED}` is a network that does not train (the paper's "
            f"hyphen), `{MISSING}` one that was not run. A network trains if "
            f"its training accuracy over the last {LAST} iterations is at "
            f"least {TRAINS:g} times that of chance. A network that does not "
            "train in a reduced run may do so later. Intervals are 95 % "
            "intervals: Student's over the seeds, or Wilson's over the test "
            "samples if there is one seed.",
        ]

    def claims(self) -> list[str]:
        """Lists the paper's claims."""
        head = ["claim", "paper", "ours", "verdict"]
        rows = claims.all_claims(self.gathered)
        return ["## Claims", headline.markdown([head, *rows])]

    def rows(self, name, labels, order, theirs) -> list[Row]:
        """Pairs the panels of a table with published rows.

        Args:
            name: Name of the experiment.
            labels: Name of each row.
            order: Methods, in the order of the published numbers.
            theirs: Published rows, in percent.
        """
        experiment = EXPERIMENTS[name]
        panels = zip(labels, experiment.panels.items(), theirs, strict=True)
        return [
            Row(
                label,
                {
                    method: Cell(
                        self.gathered[name][panel][method],
                        number,
                        experiment.full(recipe),
                    )
                    for method, number in zip(order, numbers, strict=True)
                },
            )
            for label, (panel, recipe), numbers in panels
        ]

    def table_2(self) -> list[str]:
        """Compares Table 2, a row per dataset and coding."""
        rows, extents = [], {}
        for name in TABLE_2:
            experiment, numbers = f"table2-{name}", [published.TABLE_2[name]]
            order = published.TABLE_2_ORDER
            rows += self.rows(experiment, [name], order, numbers)
            extents[name] = self.extent(experiment)
        total = sum(extents.values(), results.Extent())
        title = f"Table 2. Test accuracy\n{total}"
        return [
            *self.compared("table2", title, "dataset and coding", rows),
            "\n".join(f"- {name}: {x}" for name, x in extents.items()),
        ]

    def table_a8(self) -> list[str]:
        """Compares Table A8, a row per dataset, neuron and technique."""
        labels = map(", ".join, EXPERIMENTS["tableA8"].panels)
        theirs = published.TABLE_A8.values()
        rows = self.rows("tableA8", labels, published.TABLE_A8_ORDER, theirs)
        title = f"{heading('tableA8')}\n{self.extent('tableA8')}"
        return self.compared("tableA8", title, "VGG11", rows)

    def analysis(self, name: str, theirs: dict) -> list[str]:
        """Compares Table A6 or A7, a row per neuron and setting."""
        labels = map(", ".join, EXPERIMENTS[name].panels)
        percents = [
            [None if x is None else 100 * x for x in numbers]
            for settings in theirs.values()
            for numbers in settings.values()
        ]
        rows = self.rows(name, labels, published.ANALYSIS_ORDER, percents)
        title = f"{heading(name)}\n{self.extent(name)}"
        return self.compared(name, title, "neuron, setting", rows)

    def compared(self, name, title, corner, rows) -> list[str]:
        """Shows a table beside the published one, and how far they agree."""
        methods = list(rows[0].cells)
        head, extent = title.split("\n")
        cells = [[x.name, *map(x.text, methods)] for x in rows]
        paragraphs = [
            f"## {head}",
            extent,
            "Ours / the paper's, in percent. Reduced runs show the test "
            "accuracy at their end.",
            headline.markdown([[corner, *methods], *cells]),
        ]
        if not any(cell.records for x in rows for cell in x.cells.values()):
            return [*paragraphs, "Not run."]
        colors = [[color(x) for x in row.cells.values()] for row in rows]
        short = [[x.name, *(x.text(y, False) for y in methods)] for x in rows]
        figure = figures.table(
            short, [corner, *methods], colors, f"{title}\n{KEY}"
        )
        return [*paragraphs, self.picture(name, figure), agreement(rows)]

    def figures(self) -> list[str]:
        """Shows all figures."""
        paragraphs = ["## Figures"]
        for name in EXPERIMENTS:
            if name == "fig2":
                paragraphs += self.responses(name)
            elif name == "figA7":
                figure = figures.surrogates(STEEPNESS, heading(name))
                paragraphs.append(self.picture(name, figure))
            elif not name.startswith("table2"):
                paragraphs.append(self.trained(name))
        return paragraphs

    def responses(self, name: str) -> list[str]:
        """Shows Fig. 2 and the distances between its curves."""
        figure, distances = figures.responses(SIX, heading(name))
        rows = [
            [neuron(*constants), *(f"{x:.3f}" for x in found)]
            for constants, found in distances.items()
        ]
        head = ["neuron", "constant current to Theorem 1"]
        head += ["Theorem 1 to asymptote", "noisy current to asymptote"]
        return [
            self.picture(name, figure),
            "Largest distances between the curves, for rates over 2000 "
            "timesteps. Under a constant current, a neuron in discrete time "
            "fires every n-th timestep, so its rate is 1/n. Noise of the size "
            f"that Eq. 11 gives a network ({figures.NOISE} θ/λ) smooths that "
            "out.",
            headline.markdown([head, *rows]),
        ]

    def trained(self, name: str) -> str:
        """Shows a figure of training runs."""
        experiment = EXPERIMENTS[name]
        shown, title = name, heading(name)
        if experiment.curves:
            shown = experiment.curves
            title = f"{label(shown)}. Curves of {label(name)}"
        # All curves of a figure end at the same iteration.
        limit, gathered = results.common(self.gathered[name])
        extent = results.extent(experiment, gathered, limit)
        if not extent.seeds:
            return f"{title}: {extent}"
        title += f"\n{extent}" + f"\n{figures.SEEDS}" * (max(extent.seeds) > 1)
        if name.startswith("fig3"):
            figure = figures.firing_rates(gathered, title)
        elif name == "fig1":
            figure = figures.early_curves(gathered, title, limit, rates=True)
        elif name.startswith("fig4") or name == "bntt":
            figure = figures.early_curves(gathered, title, limit)
        elif name == "fig5":
            figure = figures.iterations_to_60(gathered, title, limit)
        else:
            metric = "loss" if name == "figA9" else "accuracy"
            figure = figures.curves(gathered, metric, title, limit)
        return self.picture(shown, figure)


def color(cell: Cell) -> str:
    """Returns the color of a cell."""
    if cell.agrees is None:
        return NONE
    if cell.agrees:
        return GOOD
    return LATE if cell.waits else BAD


def heading(name: str) -> str:
    """Returns the name and the title of an experiment."""
    return f"{label(name)}. {EXPERIMENTS[name].title}"


def label(name: str) -> str:
    """Returns a name as the paper writes it: "Fig. 4 (mnist)"."""
    name, _, part = name.partition("-")
    for begin, written in (("fig", "Fig. "), ("table", "Table ")):
        if name.startswith(begin):
            name = written + name.removeprefix(begin)
            return f"{name} ({part})" if part else name
    return "Not in the paper"
