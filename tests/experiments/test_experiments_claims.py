"""What the runs say about the paper's claims."""

import dataclasses

import pytest

from experiments import claims, published
from experiments.catalogue import EXPERIMENTS, LEAKY, METHODS
from experiments.recipes import neuron

CODINGS = ("constant", "poisson", "retina")


def empty(*names):
    return {name: {(): {x: [] for x in METHODS}} for name in names}


def test_no_runs_decide_nothing():
    gathered = empty("bntt", *(x for x in EXPERIMENTS if "table2" in x))
    gathered |= empty(*(x for x in EXPERIMENTS if x.startswith("fig4")))
    gathered |= {x: {} for x in ("fig5", "tableA6", "tableA7")}
    rows = claims.check(gathered)
    assert [list(x[:2]) for x in rows] == published.CLAIMS
    assert {x[2:] for x in rows} == {("·", "not run")}


@pytest.mark.parametrize(
    ("hits", "verdict"),
    [
        ((9840, 9850, 9900), "holds"),
        # Wilson's interval of 98.2 % of 10,000 is -+ 0.27 points.
        ((9820, 9850, 9900), "holds; 98% lies within an interval"),
        ((9760, 9850, 9900), "does not hold in 1 of 3"),
    ],
)
def test_98_percent_after_an_epoch(fake, hits, verdict):
    gathered = {}
    for coding, right in zip(CODINGS, hits, strict=True):
        tested = [[1875, right], [3750, 0]]
        recipe = EXPERIMENTS[f"table2-mnist-{coding}"].panels[()]
        record = fake(
            [0.5],
            recipe=recipe,
            tested=tested,
            test_samples=10_000,
            train_samples=60_000,
        )
        gathered[f"table2-mnist-{coding}"] = {(): {"asymptote": [record]}}
    names = list(gathered)
    ours, found = claims.accuracy(gathered, names, 1875, 0.98)
    assert f"retina {hits[2] / 100:.2f}%" in ours
    assert found == verdict
    gathered |= empty(names[0])
    _, found = claims.accuracy(gathered, names, 1875, 0.98)
    assert found == "holds; 1 not run"


@pytest.mark.parametrize(
    ("asymptote", "glorot", "ours", "verdict"),
    [
        (10, 120, ": 12.0", "holds; 3 not run"),
        (10, 100, ": 10.0", "does not hold; 3 not run"),
        (10, None, ": > 30.0", "holds; 3 not run"),
        (100, None, ": > 3.0", "not run; 1 undecided, the runs are short"),
        (None, 5, ": asymptote not in 300", "does not hold; 3 not run"),
    ],
)
def test_how_much_faster(fake, asymptote, glorot, ours, verdict):
    cells = {
        "asymptote": [fake([0.5] * 300, to_60=asymptote)],
        "glorot": [fake([0.5] * 300, to_60=glorot)],
    }
    leaky, other = (neuron(*LEAKY[5]),), (neuron(0.3, 0.1, 1.0),)
    text, found = claims.faster({"fig5": {leaky: cells}})
    assert text.endswith(ours)
    assert found == verdict
    # Only the series of falling tau counts.
    assert claims.faster({"fig5": {other: cells}})[1] == "not run"


def test_the_claim_counts_where_only_others_fail(fake):
    panels = list(EXPERIMENTS["tableA6"].panels)
    # Asymptote and Glorot: both train, one does, the other does, none does.
    ends = ((0.9, 0.8), (0.9, 0.1), (0.1, 0.9), (0.1, 0.1))
    # Where both train, the length does not count.
    lengths = 450, 300, 300, 300
    analysis = EXPERIMENTS["tableA6"].panels[panels[0]]
    cells = {
        panel: {
            method: [fake([end] * length, recipe=analysis, method=method)]
            for method, end in zip(("asymptote", "glorot"), pair, strict=True)
        }
        for panel, pair, length in zip(panels, ends, lengths, strict=False)
    }
    ours, verdict = claims.trains_alone({"tableA6": cells, "tableA7": {}})
    missed = ", ".join(panels[3])
    assert ours == f"1 of 2 cells, after 300 iterations; not: {missed}"
    # The paper's runs have 2811 iterations.
    assert verdict == "does not hold in 1 of 2, 1 of them in short runs"
    # A longer run of the asymptote shows more, even where Glorot has none.
    for end, also in ((0.1, " (nor after 2,811)"), (0.9, "")):
        long = fake([0.1] * 300 + [end] * 2511, recipe=analysis)
        cells[panels[3]]["asymptote"] = [long]
        ours, verdict = claims.trains_alone({"tableA6": cells, "tableA7": {}})
        assert ours.endswith(f"not: {missed}{also}")
        assert ("short" in verdict) == (not also)


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ({}, "not run"),
        ({"asymptote": 0.9, "he": 0.8}, "not run"),
        (dict.fromkeys(METHODS, 0.3) | {"asymptote": 0.9}, "holds"),
        (dict.fromkeys(METHODS, 0.8) | {"asymptote": 0.7}, "does not hold"),
        (dict.fromkeys(METHODS, 0.1), "undecided: some are equal"),
    ],
)
def test_the_first_of_five_is_ahead(fake, ends, verdict):
    cells = {x: [fake([ends[x]] * 300)] if x in ends else [] for x in METHODS}
    gathered = {"fig4-mnist": {(): cells}}
    text, found = claims.first(gathered, "fig4-mnist")
    assert found == verdict
    if "does not" in verdict:
        assert text.endswith("wu 80.0% = lee 80.0% > asymptote 70.0%")


def test_part_of_the_data_is_named(fake):
    recipe = EXPERIMENTS["fig4-nmnist"].panels[()]
    records = {
        x: fake(
            [0.9 if x == "asymptote" else 0.3] * 300,
            recipe=recipe,
            method=x,
            train_samples=700,
            test_samples=38,
            tested=[[3750, 38]],
        )
        for x in METHODS
    }
    cells = {(): {x: [y] for x, y in records.items()}}
    gathered = {"fig4-nmnist": cells, "table2-nmnist": cells}
    ours, verdict = claims.first(gathered, "fig4-nmnist")
    assert ours.startswith("300 iterations, 700 of 60,000 samples: asymptote")
    assert verdict == "holds, on part of the data"
    # Some of them may be complete.
    cells[()]["asymptote"] = [
        dataclasses.replace(records["asymptote"], train_samples=60_000)
    ]
    assert claims.first(gathered, "fig4-nmnist") == (ours, verdict)
    cells[()]["asymptote"] = [records["asymptote"]]
    # Two epochs of 60,000 recordings are not 171 epochs of 700.
    found = claims.accuracy(gathered, ["table2-nmnist"], 3750, 0.98)
    assert found == ("·", "not run")


# "ours > Wu > He >= Lee > Glorot"
IN_ORDER = dict(asymptote=0.9, wu=0.8, he=0.7, lee=0.7, glorot=0.1)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "holds"),
        ({"lee": 0.75}, "does not hold"),
        ({"glorot": 0.95}, "does not hold"),
        ({"he": None}, "not run"),
        # As long as four of them are silent.
        (dict(wu=0.1, he=0.1, lee=0.1), "undecided: some are equal"),
        (dict(wu=0.9), "undecided: some are equal"),
    ],
)
def test_the_order_of_the_methods(fake, changes, verdict):
    ends = IN_ORDER | changes
    cells = {
        x: [fake([ends[x]] * 300)] if ends[x] is not None else []
        for x in METHODS
    }
    gathered = {"fig4-cifar10": {(): cells}}
    text, found = claims.ordered(gathered, "fig4-cifar10")
    assert found == verdict
    assert text.startswith("300 iterations: ")


@pytest.mark.parametrize(
    ("hits", "samples", "verdict"),
    [
        ((9700, 9650), 10_000, "holds, on another network and dataset"),
        # Two proportions near 0.9 of 10,000 differ by chance by up to 2.77
        # standard errors (the studentized range of two), 0.8 points.
        ((9100, 8900), 10_000, "does not hold within a point"),
        # Of 1000 by 2.6 points.
        ((910, 890), 1000, "undecided, too few test samples"),
    ],
)
def test_how_little_bntt_leaves(fake, hits, samples, verdict):
    cells = {
        method: [fake([0.5] * 10, tested=[[10, x]], test_samples=samples)]
        for method, x in zip(("asymptote", "he"), hits, strict=True)
    }
    ours, found = claims.bntt({"bntt": {(): cells}})
    assert found == verdict
    assert ours.startswith(f"{100 * (hits[0] - hits[1]) / samples:.1f} points")
