"""The report, its figures and the headline."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from experiments import (
    catalogue,
    figures,
    headline,
    heatmaps,
    published,
    rates,
    report,
    results,
    stability,
)
from experiments.catalogue import EXPERIMENTS, TWO
from experiments.records import FOLDER, Damaged, Store
from keras_snn import initializers


def test_no_runs_make_a_report(tmp_path):
    # Figs. 2 and A7 need no runs.
    assert report.write({}, tmp_path).endswith("2 figures")
    text = (tmp_path / "REPORT.md").read_text()
    title = f"Fig. 5. {EXPERIMENTS['fig5'].title}"
    assert f"{title}: not run" in text
    assert f"{report.SGD}: not run" in text
    assert f"{report.RATES}: not run" in text
    assert text.count("not run |") == len(published.CLAIMS)
    text = (tmp_path / "HEADLINE.md").read_text()
    assert text == headline.to_markdown([])
    with Image.open(tmp_path / "figures" / "figA7.png") as picture:
        assert picture.mode == "P"  # a third of the size


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "5", "[5]", "[{}, 5]"])
@pytest.mark.parametrize("name", [rates.FILE, stability.FILE])
def test_a_damaged_measurement_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(
        Damaged, match=f"{name}` must be a list of JSON objects"
    ):
        report.write({}, tmp_path)


@pytest.fixture
def published_runs(fake):
    """Full runs of all tables, with the paper's numbers."""
    tables = {f"table2-{x}": [y] for x, y in published.TABLE_2.items()}
    for name in ("A6", "A7", "A8"):
        table = getattr(published, f"TABLE_{name}")
        tables[f"table{name}"] = table.values()
    records = {}
    for name, rows in tables.items():
        recipes = EXPERIMENTS[name].panels.values()
        for recipe, numbers in zip(recipes, rows, strict=True):
            full = EXPERIMENTS[name].full(recipe)
            samples = {"mnist": 60_000, "nmnist": 60_000, "cifar10": 50_000}
            samples |= {"cifar10_dvs": 9000, "cifar100": 50_000}
            samples |= {"tiny_imagenet": 100_000}
            for method, number in numbers.items():
                percent = number or 0
                record = fake(
                    [percent / 100] * 20,
                    recipe=recipe,
                    method=method,
                    iterations=full,
                    tested=[[full, round(100 * percent)]],
                    train_samples=samples[recipe.data["name"]],
                    test_samples=10_000,
                )
                records[record.key] = record
    return records


@pytest.mark.slow
def test_the_papers_numbers_agree_with_the_paper(
    tmp_path, published_runs, monkeypatch
):
    # Layout and drawing take most of the time. Other tests look at pictures.
    def blank(self, path, **_):
        Image.new("RGB", (1, 1)).save(path, "png")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", blank)
    report.write(published_runs, tmp_path)
    text = (tmp_path / "REPORT.md").read_text()
    assert "Misses" not in text
    assert "160 of 160. 0 of these" in text
    # Table A7 counts twice: as printed, and with two rows exchanged.
    assert len(re.findall("Stored: 160 of 160 cells", text)) == 3
    # Figures share their runs.
    names = {x.stem for x in (tmp_path / "figures").iterdir()}
    assert names >= {"fig3a", "fig3b", "fig4-mnist", "fig5", "fig6a", "fig6b"}
    assert names >= {"figA10", "figA11", "figA12"}
    # The paper has two hyphens of its own in Table A6; one is excepted.
    row = next(x for x in text.splitlines() if x.startswith("| trains in"))
    assert row.endswith("| holds |")
    extents = re.findall(r"\n\n(all [0-9,a-z ]+ iterations, 1 seed)\n", text)
    assert "all 2,811 iterations, 1 seed" in extents
    assert "REDUCED" not in text.split("## Figures")[0].split("## Table 2")[1]


def test_a_lost_network_counts_as_zero(tmp_path, fake):
    recipe = EXPERIMENTS["fig4-mnist"].panels[()]
    records = {}
    for seed in (0, 1):
        for method in ("asymptote", "he"):
            lost = {"lost": 21} if (method, seed) == ("he", 1) else {}
            record = fake(
                [0.9] * (20 if lost else 400),
                recipe=recipe,
                method=method,
                seed=seed,
                iterations=400,
                tested=[[400, 324]],
                **lost,
            )
            records[record.key] = record
    report.write(records, tmp_path)
    text = (tmp_path / "REPORT.md").read_text()
    # He's seeds have 90 % and 0: 45 %.
    assert re.search(r"\| mnist-poisson .* 45\.0 \(0\.0–100\.0\) / 99.26", text)
    assert (tmp_path / "figures" / "fig1.png").exists()


def test_untrained_networks_make_a_report(tmp_path, fake):
    recipe = EXPERIMENTS["fig3b"].panels[()]
    record = fake([], recipe=recipe, tested=[])
    report.write({record.key: record}, tmp_path)
    assert (tmp_path / "figures" / "fig3b.png").exists()
    assert not (tmp_path / "figures" / "fig4-cifar10.png").exists()


def test_curves_show_mean_and_interval(fake):
    records = [fake([0.25] * 60), fake([0.75] * 60, seed=1)]
    gathered = {("a", "b"): {"asymptote": records, "he": []}}
    figure = figures.curves(gathered, "title", 50)
    (axis,) = figure.axes
    line, threshold = axis.lines
    np.testing.assert_allclose(line.get_ydata(), [0.5] * 50)
    assert line.get_xdata()[-1] == 50
    assert set(threshold.get_ydata()) == {0.6}
    # Student's interval of two values: 12.706 standard errors of 0.25.
    (band,) = axis.collections
    top = band.get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(0.5 + 12.7062 * 0.25)


def test_curves_are_trailing_means_of_ten(fake):
    values = np.arange(30) / 100
    gathered = {("a",): {"asymptote": [fake(values)]}}
    figure = figures.curves(gathered, "title", 30)
    line = figure.axes[0].lines[0].get_ydata()
    # The mean of an arithmetic sequence is that of its ends.
    np.testing.assert_allclose(line[:10], values[:10] / 2)
    np.testing.assert_allclose(line[10:], values[10:] - 0.045)


def test_the_test_accuracy_shows_the_longest_runs(fake):
    records = [
        fake([0.5] * 30, tested=[[10, 90], [20, 180], [30, 270]]),
        fake([0.5] * 10, tested=[[10, 36]], seed=1),
    ]
    gathered = {(): {"asymptote": records, "he": [records[1]]}}
    figure = figures.early_curves(gathered, "title", 10, "tested")
    ours, he, _ = figure.axes[2].lines
    assert ours.get_xdata().tolist() == [10, 20, 30]
    assert ours.get_ydata().tolist() == [0.25, 0.5, 0.75]  # of 360 images
    assert he.get_xdata().tolist() == [10]
    assert figure.axes[0].lines[0].get_xdata()[-1] == 10


def test_a_single_test_has_an_interval(fake):
    records = [
        fake([0.5] * 10, tested=[[10, hits]], seed=seed)
        for seed, hits in enumerate((170, 190))
    ]
    gathered = {(): {"asymptote": records}}
    figure = figures.early_curves(gathered, "title", 10, "tested")
    (interval,) = figure.axes[2].collections
    (line,) = interval.get_segments()
    # Student's interval of two values: 12.706 standard errors of 10 of 360.
    half = 12.7062 * 10 / 360
    np.testing.assert_allclose(line[:, 1], [0.5 - half, 0.5 + half], atol=1e-4)


def test_bars_show_which_seeds_get_there(fake):
    gathered = {
        ("n",): {
            "asymptote": [fake([0.5], to_60=10), fake([0.5], to_60=30)],
            "glorot": [fake([0.5], to_60=None)],
            "he": [fake([0.5], to_60=40), fake([0.5], to_60=None)],
        }
    }
    figure = figures.iterations_to_60(gathered, "title", 300)
    texts = [x.get_text() for x in figure.axes[0].texts]
    assert texts == ["20", "–", "40\n1 of 2"]


def test_firing_rates_are_those_before_training(fake):
    rates = {"iteration": [0, 5], "lif1": [0.1, 0.9], "lif2": [0.3, 0.9]}
    gathered = {(): {"asymptote": [fake([0.5], rates=rates)]}}
    figure = figures.firing_rates(gathered, "title")
    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == [1, 2]
    assert line.get_ydata().tolist() == [0.1, 0.3]


def test_the_headline_shows_the_longest_runs(fake):
    recipe = EXPERIMENTS["table2-mnist-poisson"].panels[()]
    records = [
        fake([0.5] * 300, recipe=recipe, method="asymptote", to_60=9),
        fake([0.5] * 300, recipe=recipe, method="asymptote", seed=1, to_60=12),
        fake([0.5] * 99, recipe=recipe, method="asymptote", seed=2, to_60=1),
        fake([0.5] * 3750, recipe=recipe, method="glorot"),
    ]
    ours, glorot = headline.headline({x.key: x for x in records})
    assert (ours["initialization"], ours["seeds"]) == ("asymptote", 2)
    assert (ours["iterations"], ours["to_60"]) == (300, 10.5)
    assert ours["command"] == (
        "python -m experiments run table2-mnist-poisson --iterations 300 "
        "--seeds 2"
    )
    assert glorot["to_60"] is None
    assert glorot["command"].endswith("run table2-mnist-poisson")
    table = headline.to_markdown([ours, glorot]).splitlines()
    assert (table[0], table[-1]) == (headline.BEGIN, headline.END)
    # Wilson's interval of 180 of 360: 0.5 -+ 0.0514.
    assert "| 3,750 | not run | never, 50.0 % (44.9–55.1) |" in table[-2]


@pytest.mark.slow
def test_the_report_is_that_of_the_stored_runs(tmp_path):
    for name in (rates.FILE, stability.FILE):  # measurements beside the runs
        if (FOLDER / name).exists():
            shutil.copy(FOLDER / name, tmp_path)
    report.write(Store(FOLDER).read(), tmp_path)
    for name in ("REPORT.md", "HEADLINE.md"):
        written = (FOLDER / name).read_text()
        assert (tmp_path / name).read_text() == written, (
            f"{name} is out of date: run `python -m experiments report`"
        )
    pictures = {x.name for x in (tmp_path / "figures").iterdir()}
    assert pictures == {x.name for x in (FOLDER / "figures").iterdir()}
    text = (FOLDER / "REPORT.md").read_text()
    assert set(re.findall(r"\(figures/(.*?)\)", text)) == pictures


def test_stored_results_are_small():
    assert (FOLDER / "runs.jsonl").stat().st_size < 6e6
    files = [x.stat().st_size for x in FOLDER.rglob("*") if x.is_file()]
    assert sum(files) < 8e6


def test_the_headline_compares_the_paper_s_claim():
    rows = headline.headline(Store(FOLDER).read())
    found = {(x["experiment"], x["initialization"]) for x in rows}
    codings = ("constant", "poisson", "retina")
    names = ["tableA6", *(f"table2-mnist-{x}" for x in codings)]
    assert found == {(x, y) for x in names for y in TWO}
    assert len([x for x in rows if x["experiment"] == "tableA6"]) == 2 * len(
        catalogue.SIX
    )


def test_a_heat_map_has_k_across_and_lam_up(fake):
    neurons = {
        ("a",): (0.5, 0.1, 1.0),
        ("b",): (1.0, 0.1, 1.0),
        ("c",): (0.5, 2.0, 1.0),
        ("d",): (1.0, 2.0, 1.0),  # not run
    }
    to_60 = {("a",): 30, ("b",): None, ("c",): 10}
    gathered = {
        panel: {"asymptote": [fake([0.5] * 40, to_60=x)], "glorot": []}
        for panel, x in to_60.items()
    } | {("d",): {"asymptote": [], "glorot": []}}
    figure = heatmaps.heatmaps(gathered, neurons, "title", 40, accuracy=False)
    axis = figure.axes[0]
    assert [x.get_text() for x in axis.get_xticklabels()] == ["0.5", "1"]
    assert [x.get_text() for x in axis.get_yticklabels()] == ["0.1", "2"]
    (image,) = axis.images
    # A network that is not there takes at least as long as the run.
    np.testing.assert_array_equal(
        image.get_array().filled(np.nan), [[30, 40], [10, np.nan]]
    )
    texts = {x.get_position(): x.get_text() for x in axis.texts}
    assert texts == {(0, 0): "30", (1, 0): "–", (0, 1): "10"}
    figure = heatmaps.heatmaps(gathered, neurons, "title", 40, accuracy=True)
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown.filled(-1), [[0.5, 0.5], [0.5, -1]])


@pytest.mark.parametrize("name", ["tableA7", "spikingA7"])
def test_table_a7_is_counted_as_printed_and_with_two_rows_exchanged(
    name, tmp_path, fake
):
    records = {}
    for neuron, surrogate in published.TABLE_A7:
        recipe = EXPERIMENTS[name].panels[catalogue.neuron(*neuron), surrogate]
        other = report.SWAPPED.get(surrogate, surrogate)
        exchanged = published.TABLE_A7[neuron, other]
        # Our networks do what the exchanged rows say.
        for method, number in exchanged.items():
            record = fake(
                [(number or 0) / 100] * 20,
                recipe=recipe,
                method=method,
                iterations=2811,
                tested=[[2811, round(100 * (number or 0))]],
                test_samples=10_000,
            )
            records[record.key] = record
    text = "\n".join(
        report.Report(records, tmp_path).table(
            name, "neuron, surrogate", published.TABLE_A7
        )
    )
    printed, exchanged = re.findall(r"as in the paper: (\d+) of 160", text)
    differ = sum(
        (a is None) != (published.TABLE_A7[n, report.SWAPPED[s]][m] is None)
        for (n, s), row in published.TABLE_A7.items()
        if s in report.SWAPPED
        for m, a in row.items()
    )
    assert differ > 0
    assert (int(printed), int(exchanged)) == (160 - differ, 160)


def test_bars_stand_above_the_test_accuracy(fake):
    gathered = {
        (name,): {"asymptote": [fake([0.5], to_60=9, tested=[[300, hits]])]}
        for name, hits in (("a", 90), ("b", 270))
    }
    figure = figures.iterations_to_60(gathered, "title", 300)
    (line,) = figure.axes[1].lines
    np.testing.assert_allclose(line.get_ydata(), [0.25, 0.75])  # of 360
    # No line joins the neurons without leak to the others.
    figure = figures.iterations_to_60(gathered, "title", 300, leaky=1)
    found = [x.get_xdata() for x in figure.axes[1].lines]
    assert found == [[0], [1]]


def test_a_map_shows_what_was_mostly_run():
    def cells(**runs):
        return {x: runs.get(x, []) for x in ("asymptote", "glorot", "he")}

    one = ["a record"]
    gathered = {
        "a": cells(asymptote=one, glorot=one, he=one),
        "b": cells(asymptote=one, glorot=one),
        "c": cells(asymptote=one),
        "d": cells(),
        "e": cells(),
        "f": cells(),
    }
    shown = results.mostly_run(gathered, ("a", "b", "c"))
    assert list(shown) == ["a", "b", "c"]
    assert all(list(x) == ["asymptote", "glorot"] for x in shown.values())
    gathered["d"] = cells(asymptote=one)
    shown = results.mostly_run(gathered, ("a", "b", "c"))
    assert list(shown) == list(gathered)
    assert all(list(x) == ["asymptote"] for x in shown.values())


def test_readings_are_ranked_by_their_distance_from_the_paper(tmp_path, fake):
    panels = EXPERIMENTS["readings"].panels
    first, *others = [p for p in panels if p[0] == next(iter(panels))[0]]
    records = {}
    for panel, number in ((first, 70.6), (others[0], None)):
        record = fake(
            [(number or 0) / 100] * 20,
            recipe=panels[panel],
            iterations=2811,
            tested=[[2811, round(100 * (number or 0))]],
            test_samples=10_000,
        )
        records[record.key] = record
    *_, table, absent = report.Report(records, tmp_path).readings()
    row = next(x for x in table.splitlines() if x.startswith(f"| {first[0]}"))
    assert "| 70.6 | – | · |" in row
    # Means over other cells cannot be compared.
    assert "| only 2 of 8 cells |" in row
    assert absent.count(";") == len({x[0] for x in panels}) - 2


def test_every_initialization_has_a_color():
    assert set(initializers.NAMES) <= figures.COLORS.keys()
