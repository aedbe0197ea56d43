"""Runs in this process, in killed processes, and on Ray."""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments.records import Run, Store
from experiments.workers import Workers
from keras_snn.files import locked

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def runs(digits):
    return [Run(digits.vary({"seed": seed}), 2) for seed in range(3)]


@pytest.fixture
def training(monkeypatch, fake):
    """Replaces training; collects the runs that would be trained."""
    trained = []

    def train(workers, run):
        trained.append(run)
        return fake([0.5] * run.iterations, seed=run.recipe.seed)

    monkeypatch.setattr(Workers, "train", train)
    return trained


def test_one_failure_does_not_stop_the_others(
    tmp_path, monkeypatch, runs, fake
):
    def train(workers, run):
        if run.recipe.seed == 1:
            raise RuntimeError("no")
        return fake([0.5] * 2, seed=run.recipe.seed)

    monkeypatch.setattr(Workers, "train", train)
    workers = Workers(Store(tmp_path), tmp_path / "checkpoints")
    results = [result for _, result in workers.here(runs)]
    assert isinstance(results[1], RuntimeError)
    keys = {runs[0].recipe.key, runs[2].recipe.key}
    assert set(Store(tmp_path).read()) == keys


def test_stored_runs_are_trained_only_again(tmp_path, runs, training, fake):
    store = Store(tmp_path)
    store.add(fake([0.25] * 2))
    ((_, record),) = Workers(store, tmp_path).here(runs[:1])
    assert record.accuracy == [0.25] * 2
    assert not training
    list(Workers(store, tmp_path, again=True).here(runs[:1]))
    assert training == runs[:1]
    (record,) = store.read().values()
    assert record.accuracy == [0.5] * 2


def test_two_processes_share_the_runs(tmp_path, runs, training, fake):
    others, own, _ = runs
    store = Store(tmp_path)
    workers = Workers(store, tmp_path)
    results = workers.here([others, own])
    with locked(workers.folder(others)):  # as the other process does
        assert next(results)[0] == own
        store.add(fake([0.25] * 2))
    ((late, record),) = results
    assert (late, record.accuracy) == (others, [0.25] * 2)
    assert training == [own]


def test_a_short_run_leaves_the_checkpoint_of_a_long_one(
    tmp_path, runs, training
):
    workers = Workers(Store(tmp_path), tmp_path)
    long = workers.folder(dataclasses.replace(runs[0], iterations=10))
    short = workers.folder(runs[0])
    for folder in (long, short):
        folder.mkdir()
        (folder / "checkpoint.keras").write_text("x")
    list(workers.here(runs[:1]))
    assert (long / "checkpoint.keras").read_text() == "x"
    assert not short.exists()


SCRIPT = """
import json, sys
from experiments import __main__, catalogue, recipes
fields = json.loads(sys.argv.pop(1))
recipe = recipes.Recipe.from_dict(fields)
catalogue.EXPERIMENTS["tiny"] = catalogue.Experiment(
    "", {(): recipe}, few=("asymptote", "glorot", "he"), quick=12
)
__main__.main(sys.argv[1:])
"""


@pytest.fixture
def command(digits):
    """Starts `python -m experiments run tiny`."""
    import json

    recipe = json.dumps(dataclasses.asdict(digits))

    def start(folder, *more):
        words = [sys.executable, "-c", SCRIPT, recipe, "run", "tiny", *more]
        words += ["--results", str(folder), "--checkpoints", str(folder / "c")]
        return subprocess.Popen(
            words,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def wait_for(process, there):
    while not there():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_program_goes_on(tmp_path, whole, command):
    process = command(tmp_path)
    # In the second epoch of the first run.
    wait_for(process, lambda: list(tmp_path.glob("c/*/checkpoint.keras")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not Store(tmp_path).path.exists()
    process = command(tmp_path)
    wait_for(process, Store(tmp_path).path.exists)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = Store(tmp_path).read()
    assert 1 <= len(before) < 3
    process = command(tmp_path)
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    assert f"3 runs, {len(before)} stored" in printed
    after = Store(tmp_path).read()
    assert len(after) == 3
    assert {x: after[x] for x in before} == before
    found = after[whole.key]
    for name in ("loss", "accuracy", "tested", "rates"):
        assert getattr(found, name) == getattr(whole, name)
    assert not list(tmp_path.glob("c/*/*"))


def kill_ray_workers(process):
    """Kills the processes of a program's Ray tasks; returns how many."""
    import psutil  # tensorflow_datasets needs it, too

    killed = 0
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "".join(child.cmdline()).startswith("ray::_task"):
                child.kill()
                killed += 1
    return killed


@pytest.mark.slow
@pytest.mark.skipif(
    not importlib.util.find_spec("ray"), reason="Ray is not installed"
)
def test_ray_stores_what_one_process_does(tmp_path, command):
    process = command(tmp_path / "ray", "--ray", "local")
    # The tasks die in the second epoch of a run. Ray tries again.
    wait_for(process, lambda: list(tmp_path.glob("ray/c/*/checkpoint.keras")))
    killed = kill_ray_workers(process)
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    assert killed
    printed, _ = (process := command(tmp_path / "here")).communicate()
    assert process.returncode == 0, printed
    ray, here = (Store(tmp_path / x).read() for x in ("ray", "here"))
    assert set(ray) == set(here)
    assert len(here) == 3
    for key, record in here.items():
        same = {"seconds": 0.0, "time": ""}
        assert dataclasses.replace(ray[key], **same) == dataclasses.replace(
            record, **same
        )
    too_many = command(tmp_path / "x", "--ray", "local", "--gpus", "99")
    printed, _ = too_many.communicate()
    assert too_many.returncode == 1
    assert "`--gpus` must be at most 0" in printed
