"""The plan of the measurements for the page about speed."""

import subprocess

import pytest

from benchmarks import cases, cli, contenders, data, machine, plan, results
from benchmarks.check import Different
from benchmarks.measure import FIELDS, summary

MACHINE = {
    "cpu": "AMD EPYC",
    "cores": 2,
    "gpu": None,
    "commit": "0123456789abcdef",
    "load_average": [0.1],
}


def result(backend, described):
    case = cases.make("W2", on_gpu=False)
    row = {"device": "cpu", "versions": {}, "step_s": summary([1.0])}
    return {
        "case": {x: getattr(case, x) for x in FIELDS},
        "backend": backend,
        "machine": described,
        "check": {},
        "contenders": {"keras_snn": row},
        "failed": {},
    }


@pytest.mark.parametrize("on_gpu", [False, True], ids=["CPU", "GPU"])
def test_the_plan_measures_every_case_once(on_gpu):
    runs = [cli.parse(x.split()) for x in plan.commands(on_gpu)]
    measured = [
        (x.workload, x.backend, x.dtype, str(x.timesteps)) for x in runs
    ]
    assert len(set(measured)) == len(measured)
    assert {workload for workload, *_ in measured} == set(cases.CASES)
    expected = {"torch", "jax"} if on_gpu else set(contenders.BACKENDS)
    assert {backend for _, backend, *_ in measured} == expected
    neurons = [x for x in measured if x[0] == "W2"]
    assert len(neurons) == (2 * 3 * 4 if on_gpu else 3)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"load_average": [9.0]}, True),
        ({"commit": "0123456789abcdef+1"}, False),
        ({"commit": None}, False),
        ({"cores": 4}, False),
        ({"gpu": "NVIDIA H100"}, False),
    ],
)
def test_what_counts_as_stored(change, expected):
    files = [{"a case": result("tensorflow", MACHINE)}]
    here = MACHINE | change
    assert plan.stored(files, "a case", "tensorflow", here) == expected
    assert not plan.stored(files, "a case", "jax", here)
    assert not plan.stored(files, "another case", "tensorflow", here)


def test_an_unknown_commit_is_measured_again():
    unknown = MACHINE | {"commit": None}
    files = [{"a case": result("tensorflow", unknown)}]
    assert not plan.stored(files, "a case", "tensorflow", unknown)


@pytest.fixture
def three_runs(monkeypatch):
    """A plan of three runs that are counted and not measured."""
    calls = []

    def verify(*arguments):
        calls.append("check")

    def measure(case, names, backend, rounds, steps, against, verified):
        del names, rounds, steps
        verified(data.checked_case(case), backend, against)
        calls.append((case.name, case.timesteps))
        return result(backend, machine.describe())

    listed = ["W0", "W2 --timesteps 4", "W2 --timesteps 8"]
    listed = [f"--workload {x} --backend jax" for x in listed]
    monkeypatch.setattr(plan, "commands", lambda _: listed)
    monkeypatch.setattr(cli, "measure", measure)
    monkeypatch.setattr(cli, "verify", verify)
    monkeypatch.setattr(machine, "commit", lambda _: "0123")
    return calls


def test_plan_lists_what_is_missing(three_runs, tmp_path, capsys):
    flags = ["plan", "--out", str(tmp_path)]
    here = machine.describe()
    key = cases.make("W0", machine.has_gpu()).key
    results.store(tmp_path / "a.json", key, result("jax", here))
    assert cli.main(flags) == 0
    assert capsys.readouterr().out.splitlines() == [
        "python -m benchmarks --workload W2 --timesteps 4 --backend jax",
        "python -m benchmarks --workload W2 --timesteps 8 --backend jax",
    ]
    assert three_runs == []


def test_a_second_plan_goes_on(three_runs, tmp_path, monkeypatch):
    flags = ["plan", "--run", "--minutes", "1", "--out", str(tmp_path)]
    clock = iter([0.0, 30.0, 61.0])
    with monkeypatch.context() as patch:
        patch.setattr(cli.time, "monotonic", lambda: next(clock))
        cli.main(flags)
    first = ["check", ("W0", 20)]
    assert three_runs == first
    cli.main(flags)
    # One check for both lengths.
    expected = [*first, "check", ("W2", 4), ("W2", 8)]
    assert three_runs == expected
    cli.main(flags)
    assert three_runs == expected


def test_a_plan_goes_on_after_a_run_that_fails(
    three_runs, tmp_path, monkeypatch
):
    measure = cli.measure

    def fail_w0(case, *arguments):
        if case.name == "W0":
            raise Different("other spikes")
        return measure(case, *arguments)

    monkeypatch.setattr(cli, "measure", fail_w0)
    assert cli.main(["plan", "--run", "--out", str(tmp_path)]) == 1
    assert three_runs == ["check", ("W2", 4), ("W2", 8)]


def test_the_commit_is_that_of_the_measured_code(tmp_path, monkeypatch):
    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", *who, *words]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    monkeypatch.setattr(machine, "CHECKOUT", tmp_path)
    assert machine.commit() is None
    git("init")
    results_ = tmp_path / "benchmarks" / "results"
    results_.mkdir(parents=True)
    code, stored = tmp_path / "benchmarks" / "a.py", results_ / "a.json"
    for number, path in enumerate((code, stored)):
        path.write_text("1")
        git("add", ".")
        git("commit", "-m", str(number))
    expected = git("rev-parse", "HEAD~1")
    assert machine.commit() == expected
    stored.write_text("2")
    assert machine.commit() == expected
    code.write_text("2")
    changed = machine.commit()
    assert changed.startswith(f"{expected}+")
    code.write_text("3")
    assert changed != machine.commit() != expected
