"""What is run for each figure and table, and the paper's numbers."""

import json

import pytest
from shared import shared

from experiments import catalogue, published, results
from experiments.catalogue import EXPERIMENTS
from experiments.records import FOLDER, Store


def test_names_follow_the_paper():
    figures = "1 2 3a 3b 4-mnist 4-nmnist 4-cifar10 4-cifar10dvs 5 6a 6b"
    figures += " A7 A8 A9"
    assert {f"fig{x}" for x in figures.split()} <= set(EXPERIMENTS)
    assert {"tableA6", "tableA7", "tableA8"} <= set(EXPERIMENTS)
    assert len([x for x in EXPERIMENTS if x.startswith("table2-")]) == 8


@pytest.mark.parametrize(
    ("name", "cells", "iterations"),
    [
        # Table A4: 50 epochs of 1875 batches, 150 of 1563, 150 of 563.
        ("fig4-mnist", 5, 93_750),
        ("fig4-nmnist", 5, 93_750),
        ("fig4-cifar10", 5, 234_450),
        ("fig4-cifar10dvs", 5, 84_450),
        # 3 epochs of 937, as Tables A6 and A7 say themselves.
        ("fig5", 30, 2811),
        ("tableA6", 160, 2811),
        ("tableA7", 160, 2811),
        ("fig6a", 40, 2811),
        ("fig3b", 5, 0),
        ("fig2", 0, None),
    ],
)
def test_full_runs_are_the_papers(name, cells, iterations):
    runs = EXPERIMENTS[name].runs(full=True)
    assert len(runs) == cells
    assert {x.iterations for x in runs.values()} <= {iterations}


def test_quick_runs_are_fewer_and_shorter():
    table = EXPERIMENTS["tableA6"]
    quick = table.runs(seeds=2)
    assert len(quick) == 32 * 2 * 2
    assert {x.iterations for x in quick.values()} == {200}
    # The paper's ranges: k to 1, lam from 0.1 to 4, and four thetas.
    grid = EXPERIMENTS["figA9"]
    assert len(grid.runs()) == 6 * 5 * 4 * 2
    assert len(grid.runs(full=True)) == 10 * 10 * 4 * 5
    longer = table.runs(iterations=10**6, methods=["he"])
    assert {x.iterations for x in longer.values()} == {2811}
    assert len(longer) == 32


def test_experiments_share_runs():
    def keys(name):
        runs = EXPERIMENTS[name].runs(full=True)
        return {x.recipe.key for x in runs.values()}

    # Fig. 6 has one neuron of Tables A6 and A7: four settings, five methods.
    assert len(keys("fig6a") & keys("tableA6")) == 20
    assert len(keys("fig6b") & keys("tableA7")) == 20
    assert keys("figA8") < keys("figA9")
    assert len(keys("fig5") & keys("figA8")) >= 15
    assert keys("fig1") == keys("fig4-mnist") == keys("table2-mnist-poisson")
    # Of Fig. 5, Table A6 has (0.8, 0.2, 1), (0.2, 0.8, 1) and (1, 1, 1).
    assert len(keys("fig5") & keys("tableA6")) == 15
    # One reading has its eight decisive cells in the table of all cells.
    assert len(keys("readings") & keys("spikingA6")) == 40
    assert list(EXPERIMENTS["spikingA6"].panels) == list(
        EXPERIMENTS["tableA6"].panels
    )
    assert list(EXPERIMENTS["spikingA7"].panels) == list(
        EXPERIMENTS["tableA7"].panels
    )
    for panel, recipe in EXPERIMENTS["spikingA7"].panels.items():
        changed = EXPERIMENTS["tableA7"].panels[panel]
        assert recipe == changed.vary({"network.readout": "rate"})
    # Table A7 has another steepness of arctan.
    assert not keys("tableA6") & keys("tableA7")


def test_experiments_are_selected_by_name():
    select = catalogue.select
    assert select(["fig5", "fig1", "fig5"]) == ["fig1", "fig5"]
    assert len(select(["table2"])) == 8
    assert len(select(["table2-mnist"])) == 3
    assert select(["all"]) == list(EXPERIMENTS)
    assert select(["fig6"]) == ["fig6a", "fig6b"]
    assert select(["figA10"]) == ["tableA6"]
    for name in ("fig", "4", "mnist", ""):
        with pytest.raises(ValueError, match="that `list` shows. Received: "):
            select([name])


def test_every_stored_run_belongs_to_an_experiment():
    records = Store(FOLDER).read()
    assert len(records) >= 227
    used = set()
    for experiment in EXPERIMENTS.values():
        for methods in results.gather(records, experiment).values():
            used |= {x.key for y in methods.values() for x in y}
    assert used == set(records)


def test_published_numbers_are_the_papers():
    def equal(ours, theirs, unit):
        theirs = {x.replace("ours", "asymptote"): y for x, y in theirs.items()}
        assert set(ours) == set(theirs)
        for method, number in theirs.items():
            wanted = None if number is None else number * unit
            assert ours[method] == pytest.approx(wanted, abs=1e-9)

    tables = json.loads(shared("paper/tables.json").read_text())
    order = ("glorot", "he", "wu", "lee", "ours")
    names = {"event_nmnist": "nmnist", "event_cifar10dvs": "cifar10dvs"}
    for dataset in ("mnist", "cifar10"):
        for coding, numbers in tables["table2"][dataset].items():
            name = names.get(coding, f"{dataset}-{coding}")
            numbers = dict(zip(order, numbers, strict=True))
            equal(published.TABLE_2[name], numbers, 1)
    for table, name in (
        (published.TABLE_A6, "table_a6"),
        (published.TABLE_A7, "table_a7"),
    ):
        assert len(tables[name]["rows"]) == len(table) == 32
        for row in tables[name]["rows"]:
            neuron = row["k"], row["lam"], row["theta"]
            setting = row["setting"].split("(")[0].lower()
            equal(table[neuron, setting], row["val_accuracy"], 100)
    for row in tables["table_a8"]["rows"]:
        name = row["dataset"], row["k"], row["lam"], row["technique"]
        equal(published.TABLE_A8[name], row["acc"], 1)
