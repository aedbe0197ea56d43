"""Records, and the file that keeps them."""

import concurrent.futures
import dataclasses
import datetime
import multiprocessing

import keras
import pytest

from experiments import __main__, environment, results
from experiments.catalogue import METHODS, Experiment
from experiments.records import (
    Damaged,
    Measurements,
    Record,
    Run,
    Store,
    find,
    trains,
)


def test_the_end_of_a_curve_decides_whether_a_network_trains(fake):
    rising = fake([0.1] * 80 + [0.2] * 20)
    assert rising.accuracy_at(100) == pytest.approx(0.2)
    assert rising.accuracy_at(90) == pytest.approx(0.15)
    assert trains([rising], 100)
    assert trains([rising], 90)
    # 0.105 is below 1.5 times the 0.1 of chance.
    assert not trains([rising], 81)


def test_test_accuracy_is_that_of_an_iteration(fake):
    record = fake([0.5] * 9, tested=[[5, 90], [9, 180]])
    assert record.test_accuracy() == 0.5
    assert record.test_accuracy(5) == 0.25
    assert record.test_accuracy(6) is None
    lost = fake([0.5] * 9, tested=[[5, 90]], lost=8, iterations=20)
    assert lost.test_accuracy() == lost.accuracy_at(8) == 0
    assert lost.test_accuracy(5) == 0.25


def test_60_percent_count_up_to_a_limit(fake):
    record = fake([0.5] * 9, to_60=7)
    assert (record.reached(7), record.reached(6)) == (7, None)


def test_the_longest_run_of_a_recipe_is_kept(tmp_path, fake, digits):
    store = Store(tmp_path)
    assert store.read() == {}
    for length in (5, 9, 7):
        store.add(fake([0.5] * length))
    store.add(fake([0.5] * 3, method="he"))
    records = store.read()
    assert sorted(x.iterations for x in records.values()) == [3, 9]
    assert find(records, Run(digits, 9)).iterations == 9
    assert find(records, Run(digits, 2)).iterations == 9
    assert find(records, Run(digits, 10)) is None
    assert find(records, Run(digits.vary({"seed": 3}), 1)) is None
    assert {x.name for x in tmp_path.iterdir()} == {"runs.jsonl"}


def test_a_run_of_equal_length_is_replaced_on_demand(tmp_path, fake):
    store = Store(tmp_path)
    store.add(fake([0.25]))
    store.add(fake([0.5]))
    assert [x.accuracy for x in store.read().values()] == [[0.25]]
    store.add(fake([0.5]), again=True)
    assert [x.accuracy for x in store.read().values()] == [[0.5]]


def test_a_run_on_all_samples_replaces_one_on_part_of_them(tmp_path, fake):
    store = Store(tmp_path)
    store.add(fake([0.25] * 9, train_samples=700))
    store.add(fake([0.5] * 5))
    store.add(fake([0.75] * 9, train_samples=700), again=True)
    (kept,) = store.read().values()
    assert (kept.iterations, kept.train_samples) == (5, 1437)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"iterations": 1}', "KeyError: 'recipe'"),
        (b'{"recipe": {"training": {}, "x": 1}}', "argument 'x'"),
        (
            b'{"recipe": {"data": {}, "network": {}, "training": {}}}',
            "missing 17 required",
        ),
        (b"\xff", "UnicodeDecodeError"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, fake, line, message):
    store = Store(tmp_path)
    store.add(fake([0.5]))
    with open(store.path, "ab") as file:
        file.write(line + b"\n")
    with pytest.raises(Damaged, match=f"Line 2 of .*Delete.*{message}"):
        store.read()
    with pytest.raises(SystemExit, match="Line 2 of"):
        __main__.main(["report", "--results", str(tmp_path)])


def _add(path, line, seed):
    record = Record.from_json(line)
    recipe = record.recipe.vary({"seed": seed})
    Store(path).add(Record(**vars(record) | {"recipe": recipe}))
    measured = Measurements(path / "measured.json")
    measured.add({"seed": seed % 5}, {"rate": seed})


@pytest.mark.slow
def test_processes_add_at_the_same_time(tmp_path, fake):
    line = fake([0.5]).to_json()
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        list(pool.map(_add, [tmp_path] * 8, [line] * 8, range(8)))
    assert len(Store(tmp_path).read()) == 8
    rows = Measurements(tmp_path / "measured.json").read()
    assert sorted(row["seed"] for row in rows) == list(range(5))


def test_a_measurement_says_where_it_was_made(tmp_path):
    stored = Measurements(tmp_path / "measured.json")
    assert stored.read() == []
    key = {"law": "copy", "neuron": [0.5, 1.0]}
    stored.add(key, {"rate": 0.15})
    stored.add(key, {"rate": 0.2})  # is stored already
    assert stored.has(key)
    assert not stored.has(key | {"law": "shi"})
    (row,) = stored.read()
    assert (row["law"], row["rate"]) == ("copy", 0.15)
    fields = {x.name for x in dataclasses.fields(Record)}
    assert set(row) - {*key, "rate"} < fields
    assert row["backend"] == keras.config.backend()
    assert row["versions"]["keras"] == keras.__version__
    assert row["commit"] == environment.COMMIT
    made = datetime.datetime.fromisoformat(row["time"])
    age = datetime.datetime.now(datetime.UTC) - made
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=1)


# Newcombe, "Two-sided confidence intervals for the single proportion", 1998,
# Table I, method 3.
@pytest.mark.parametrize(
    ("hits", "samples", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_one_seed_has_wilsons_interval(hits, samples, low, high):
    found = results.mean_and_interval([hits / samples], samples)
    assert found == pytest.approx((hits / samples, low, high), abs=5e-5)


def test_several_seeds_have_students_interval():
    # Student's 97.5 % quantile for two degrees of freedom is 4.3027; the
    # standard error of 0.5, 0.6, 0.7 is 0.1 / sqrt(3).
    mean, low, high = results.mean_and_interval([0.5, 0.6, 0.7], 360)
    half = 4.3027 * 0.1 / 3**0.5
    expected = (0.6, 0.6 - half, 0.6 + half)
    assert (mean, low, high) == pytest.approx(expected, abs=1e-5)


def test_seeds_that_share_test_samples_share_their_error(fake):
    fields = {"tested": [[9, 15]], "test_samples": 148}
    seeds = [fake([0.5] * 9, **fields) for _ in range(2)]
    # Wilson's interval of 15 of 148, from that table. Student's has no width.
    expected = (15 / 148, 0.0624, 0.1605)
    found = results.accuracy_interval(seeds)
    assert found == pytest.approx(expected, abs=5e-5)


@pytest.fixture
def experiment(digits):
    return Experiment("any", {("a", "b"): digits}, epochs=1)


@pytest.mark.parametrize(
    ("lengths", "text"),
    [
        ({}, "not run"),
        (
            {("asymptote", 0): 2, ("glorot", 0): 3, ("glorot", 1): 2},
            "REDUCED: the first 2 to 3 of 5 iterations, 1 to 2 seeds, "
            "2 of 5 cells",
        ),
        (
            dict.fromkeys([(x, 0) for x in METHODS], 6),
            "all 5 iterations, 1 seed",
        ),
    ],
)
def test_reduced_experiments_say_so(lengths, text, experiment, fake):
    records = {}
    for (method, seed), length in lengths.items():
        record = fake([0.5] * length, seed=seed, method=method)
        records[record.key] = record
    gathered = results.gather(records, experiment)
    found = results.extent(experiment, gathered)
    assert str(found) == text
    assert found.reduced == (not text.startswith("all"))


def test_partial_data_say_so(experiment, fake):
    record = fake([0.5] * 5, train_samples=1400)
    gathered = results.gather({record.key: record}, experiment)
    text = str(results.extent(experiment, gathered))
    assert text.endswith("1 of 5 cells, 1,400 of 1,437 samples")


def test_what_needs_no_training_takes_runs_of_any_length(experiment, fake):
    experiment = dataclasses.replace(experiment, epochs=0, quick=None)
    records = {}
    for method in METHODS:
        for seed, length in enumerate((4, 0, 0)):
            record = fake([0.5] * length, seed=seed, method=method)
            records[record.key] = record
    limit, kept = results.common(results.gather(records, experiment))
    assert limit == 0
    assert {len(x) for x in kept["a", "b"].values()} == {3}


def test_comparisons_go_as_far_as_all_methods(experiment, fake):
    records = {}
    for method, seed, length in (
        ("asymptote", 0, 4),
        ("asymptote", 1, 2),
        ("asymptote", 2, 1),  # too short
        ("glorot", 0, 2),
        ("he", 0, 0),  # measured without training
    ):
        record = fake([0.5] * length, seed=seed, method=method)
        records[record.key] = record
    limit, kept = results.common(results.gather(records, experiment))
    assert limit == 2
    found = {x: len(y) for x, y in kept["a", "b"].items()}
    assert found == {"asymptote": 2, "glorot": 1, "he": 0, "wu": 0, "lee": 0}
    text = str(results.extent(experiment, kept, limit))
    assert text.startswith("REDUCED: the first 2 of 5 iterations")
