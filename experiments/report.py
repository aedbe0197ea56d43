"""Writes REPORT.md, its figures and the headline results from stored runs."""

import dataclasses
import pathlib

from experiments import (
    beyond,
    claims,
    figures,
    headline,
    heatmaps,
    published,
    rates,
    results,
    stability,
)
from experiments.catalogue import (
    EXPERIMENTS,
    SIX,
    STEEPNESS,
    WITHOUT_LEAK,
)
from experiments.comparison import (
    FAILED,
    MISSING,
    Cell,
    Row,
    agreement,
    counts,
    percent,
)
from experiments.recipes import neuron
from experiments.records import LAST, TRAINS, Measurements, Record
from keras_snn.files import replacing

__all__ = ["Report", "write"]

SGD = "Why SGD fails for some neurons"
RATES = "Firing rates of deep plain networks"
SWAPPED = {"hardtanh": "sigmoid", "sigmoid": "hardtanh"}
FOOTNOTE = (
    "The paper probably swapped the rows of hardtanh and sigmoid in Table A7. "
    "Fig. 6b prints .974, .980, .980, .977 and .985 for what its caption calls "
    "sigmoid, and the text says that hardtanh suppresses training under the "
    "other methods. With the two rows exchanged:"
)


def write(records: dict[str, Record], folder: str | pathlib.Path) -> str:
    """Writes everything.

    Args:
        records: What `Store.read` returns.
        folder: Folder for `REPORT.md`, `HEADLINE.md` and the folder `figures`.

    Returns:
        A sentence about what was written.
    """
    folder = pathlib.Path(folder)
    report = Report(records, folder / "figures")
    paragraphs = [
        *report.head(),
        *report.claims(),
        *report.table_2(),
        *report.table("tableA6", "neuron, optimizer", published.TABLE_A6),
        *report.table("tableA7", "neuron, surrogate", published.TABLE_A7),
        *report.table("tableA8", "VGG11", published.TABLE_A8),
        *report.table("spikingA6", "neuron, optimizer", published.TABLE_A6),
        *report.table("spikingA7", "neuron, surrogate", published.TABLE_A7),
        *report.rates(),
        *(x for name in beyond.TEXTS for x in report.beyond(name)),
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
        self.records, self.folder, self.drawn = records, folder, 0
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
        from PIL import Image  # comes with Matplotlib

        with replacing(self.folder / f"{name}.png") as partial:
            figure.savefig(partial, dpi=110)
            # A palette shrinks the file to a third. Git keeps every version.
            palette = Image.open(partial).convert("RGB").quantize(256)
            palette.save(partial, optimize=True)
        self.drawn += 1
        return f"![{name}](figures/{name}.png)"

    def head(self) -> list[str]:
        """Introduces the report and the runs."""
        runs = self.records.values()
        machines = {
            f"{x.device}, {x.backend} {x.versions[x.backend]}, Keras "
            f"{x.versions['keras']}"
            for x in runs
        }
        hours = sum(x.seconds for x in runs) / 3600
        commits = len({(x.commit or "").rstrip("+") for x in runs})
        return [
            "# Report",
            "`python -m experiments report` writes this page from the stored "
            f"runs in `runs.jsonl`: {len(runs)} runs, {hours:.1f} hours of "
            f"training ({'; '.join(sorted(machines)) or 'none yet'}). They "
            f"come from {commits} commits, and each run names its own. A `+` "
            "after it marks uncommitted changes.",
            "REDUCED marks runs that are fewer or shorter than the paper's. "
            f"`{FAILED}` is a network that does not train (the paper's "
            f"hyphen), `{MISSING}` one that was not run. A network trains if "
            f"its training accuracy over the last {LAST} iterations is at "
            f"least {TRAINS:g} times that of chance. A network that does not "
            "train in a reduced run may do so later. 95 % intervals are "
            "Wilson's over the test samples for one seed, and Student's over "
            "several, in tables at least as wide as Wilson's, because seeds "
            "share test samples. Runs shorter than an epoch are tested on "
            "1,000 images. Backends may differ within a table or a cell.",
        ]

    def claims(self) -> list[str]:
        """Lists the paper's claims."""
        head = ["claim", "paper", "ours", "verdict"]
        rows = claims.check(self.gathered)
        return ["## Claims", headline.markdown([head, *rows])]

    def rows(self, name: str, labels, theirs) -> list[Row]:
        """Pairs the panels of an experiment with published rows.

        Args:
            name: Name of the experiment.
            labels: Name of each row.
            theirs: Published numbers of each row, by method.
        """
        experiment, rows = EXPERIMENTS[name], []
        panels = zip(labels, experiment.panels.items(), theirs, strict=True)
        for label, (panel, recipe), numbers in panels:
            records, full = self.gathered[name][panel], experiment.full(recipe)
            cells = {x: Cell(records[x], y, full) for x, y in numbers.items()}
            rows.append(Row(label, cells))
        return rows

    def table_2(self) -> list[str]:
        """Compares Table 2, a row per dataset and coding."""
        rows, extents = [], {}
        for name, numbers in published.TABLE_2.items():
            rows += self.rows(f"table2-{name}", [name], [numbers])
            extents[name] = self.extent(f"table2-{name}")
        total = sum(extents.values(), results.Extent())
        return [
            "## Table 2. Test accuracy",
            *compared(total, "dataset and coding", rows),
            "\n".join(f"- {name}: {x}" for name, x in extents.items()),
        ]

    def table(self, name: str, corner: str, published: dict) -> list[str]:
        """Compares Table A6, A7 or A8, a row per panel."""
        labels = list(map(", ".join, EXPERIMENTS[name].panels))
        rows = self.rows(name, labels, published.values())
        compare = compared(self.extent(name), corner, rows)
        if name.endswith("A7"):
            swapped = [
                published[neuron, SWAPPED.get(surrogate, surrogate)]
                for neuron, surrogate in published
            ]
            rows = self.rows(name, labels, swapped)
            compare += [FOOTNOTE, "\n".join(counts(rows))]
        return [f"## {heading(name)}", *compare]

    def figures(self) -> list[str]:
        """Shows all figures."""
        paragraphs = ["## Figures"]
        for name in EXPERIMENTS:
            if name == "fig2":
                paragraphs += self.responses(name)
            elif name == "figA7":
                figure = figures.surrogates(STEEPNESS, heading(name))
                paragraphs.append(self.picture(name, figure))
            elif name != "readings" and not name.startswith(
                ("spiking", "table2")
            ):
                paragraphs.append(self.trained(name))
        return paragraphs + self.stability() + self.readings()

    def readings(self) -> list[str]:
        """Compares readings of what the paper leaves open."""
        gathered, recipes = self.gathered["readings"], EXPERIMENTS["readings"]
        full = recipes.full(next(iter(recipes.panels.values())))
        paragraphs = [
            "## Which reading fits",
            "Test accuracy of the asymptote in percent after "
            f"{full:,} iterations, seed 0. The distance is the mean absolute "
            "difference from the paper. A network that does not train counts "
            "as 10 %. Readings differ most in these cells of SGD and averaged "
            "SGD. Those of Adam and Adagrad are kept out of the choice.",
        ]
        theirs = {
            (neuron(*constants), name): x["asymptote"]
            for (constants, name), x in published.TABLE_A6.items()
        }
        columns = list(dict.fromkeys(panel[1:] for panel in gathered))
        rows = [["reading", *map(", ".join, columns), "distance"]]
        paper = [theirs[column] for column in columns]
        rows.append(["the paper", *map(percent, paper), ""])
        absent = []
        for reading in dict.fromkeys(panel[0] for panel in gathered):
            cells = [
                Cell(gathered[reading, *x]["asymptote"], theirs[x], full)
                for x in columns
            ]
            done = [x for x in cells if x.length == full]
            if not done:
                absent.append(reading)
                continue
            text = f"only {len(done)} of {len(cells)} cells"
            if len(done) == len(cells):
                apart = [
                    abs((x.score(full) or 10) - (x.theirs or 10)) for x in done
                ]
                text = f"{sum(apart) / len(apart):.1f}"
            rows.append([reading, *(_accuracy(x) for x in cells), text])
        paragraphs.append(headline.markdown(rows))
        if absent:
            paragraphs.append(f"Not run at this length: {'; '.join(absent)}.")
        return paragraphs

    def beyond(self, name: str) -> list[str]:
        """Tables an experiment that the paper does not have."""
        iterations = EXPERIMENTS[name].quick
        rows = beyond.table(self.gathered[name], iterations)
        if len(rows) == 1:
            return []
        return [
            f"## {EXPERIMENTS[name].title}",
            f"Not in the paper. {iterations} iterations {beyond.TEXTS[name]} "
            f"{beyond.NUMBERS}",
            headline.markdown(rows),
        ]

    def stability(self) -> list[str]:
        """Shows gradients under SGD and averaged SGD, if measured."""
        rows = Measurements(self.folder.parent / stability.FILE).read()
        if not rows:
            return [f"{SGD}: not run"]
        pictures = []
        for name, label in stability.OPTIMIZERS.items():
            chosen = [
                x for x in rows if x["changes"]["training.optimizer"] == name
            ]
            if not chosen:
                continue
            title = f"Not in the paper. Gradients under {label}, seed 0"
            figure = stability.figure(chosen, title)
            title += f", every layer, a={stability.STEEPNESS[-1]:g}"
            layers = stability.figure(chosen, title, layers=True)
            file = f"stability-{name}"
            pictures.append(self.picture(file, figure))
            pictures.append(self.picture(f"{file}-layers", layers))
        return [
            f"## {SGD}",
            *pictures,
            "Attached, the reset multiplies the gradient of a neuron at its "
            "threshold by about k θ a per timestep. `python -m experiments "
            "stability` repeats the measurement.",
        ]

    def rates(self) -> list[str]:
        """Tables the rates of deep networks, if they were measured."""
        rows = Measurements(self.folder.parent / rates.FILE).read()
        if not rows:
            return [f"{RATES}: not run"]
        targets = ", ".join(f"{x} {rates.TARGETS[x]:g}" for x in rates.LAWS)
        return [
            f"## {RATES}",
            "Not in the paper. In how many networks the rate of every layer is "
            f"within 25 % of its target ({targets}) before training, and the "
            "median rate of the last layer. Neurons of Table A6 and, for dense "
            "layers, 20 random ones. Command: `python -m experiments rates`.",
            headline.markdown(rates.table(rows)),
        ]

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
            "Largest distances between the curves, for rates over "
            f"{figures.TIMESTEPS} timesteps. Under a constant current, a "
            "neuron in discrete time fires every n-th timestep, so its rate is "
            "1/n. Noise of the size that Eq. 11 gives a network "
            f"({figures.NOISE} θ/λ) smooths that out. Theorem 1 also has k - 1 "
            "where discrete time gives ln k: at k = 0.2 and a current just "
            "above θ/λ, it predicts a rate of 0.51 instead of 1.",
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
        gathered = self.gathered[name]
        if experiment.coarse:
            gathered = results.mostly_run(gathered, experiment.coarse)
        limit, gathered = results.common(gathered)
        extent = results.extent(experiment, gathered, limit)
        cells = sum(map(len, self.gathered[name].values()))
        extent = dataclasses.replace(extent, cells=cells)
        if not extent.seeds:
            return f"{title}: {extent}"
        title += f"\n{extent}"
        whole = self.extent(name)
        tested = name.startswith("fig4") or name == "bntt"
        if tested and str(whole) != str(extent):
            title += f"\ntest accuracy: {whole}".replace("REDUCED: ", "")
        title += f"\n{figures.SEEDS}" * (max(extent.seeds) > 1)
        if name.startswith("fig3"):
            figure = figures.firing_rates(gathered, title)
        elif tested or name == "fig1":
            shows = "tested" if tested else "rates"
            figure = figures.early_curves(gathered, title, limit, shows)
        elif name == "fig5":
            leaky = len(WITHOUT_LEAK)
            figure = figures.iterations_to_60(gathered, title, limit, leaky)
        elif name in ("figA8", "figA9"):
            neurons = {
                panel: tuple(recipe.network[x] for x in ("k", "lam", "theta"))
                for panel, recipe in experiment.panels.items()
            }
            figure = heatmaps.heatmaps(
                gathered, neurons, title, limit, accuracy=name == "figA9"
            )
        else:
            figure = figures.curves(gathered, title, limit)
        return self.picture(shown, figure)


def _accuracy(cell: Cell) -> str:
    """Returns the accuracy of a full run."""
    if cell.length < cell.full:
        return MISSING
    return f"{cell.score(cell.full):.1f}" if cell.trains else FAILED


def compared(extent, corner: str, rows: list[Row]) -> list[str]:
    """Compares a table with the published one, and says how far they agree."""
    head = [corner, *rows[0].cells]
    paragraphs = [
        str(extent),
        "Ours / the paper's, in percent. Reduced runs show the test accuracy "
        "at their end.",
        headline.markdown([head, *(x.text() for x in rows)]),
    ]
    return [*paragraphs, agreement(rows) if extent.seeds else "Not run."]


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
