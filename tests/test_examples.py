"""Every example runs, in a tiny setting, and leaves what it says."""

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_snn import recipes

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_has_a_test():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    examples = {"compare_initializers", "train", "save_and_load"}
    assert names == examples | {"flags"}


@pytest.mark.parametrize(
    ("name", "flag", "value", "message"),
    [
        ("compare_initializers", "--epochs", "0", "integer of at least 1"),
        ("compare_initializers", "--samples", "-40", "integer of at least 1"),
        ("compare_initializers", "--out", "/dev/null/x", "can be written to"),
        ("train", "--samples", "x", "integer of at least 1"),
        ("train", "--batch-size", "x", "must be an integer. Received: x"),
        ("train", "--k", "x", "must be a number. Received: x"),
        ("train", "--dropout", "x", "must be a number or none. Received: x"),
        ("train", "--out", "/dev/null/x", "can be written to"),
        ("save_and_load", "--samples", "0", "integer of at least 1"),
    ],
)
def test_bad_flags_are_refused_at_once(name, flag, value, message, capsys):
    with pytest.raises(SystemExit):
        example(name).main([flag, value])
    assert f"{flag}: must be" in (error := capsys.readouterr().err)
    assert message in error


def test_compare_initializers(tmp_path, capsys):
    tiny = ["--epochs", "1", "--samples", "70", "--timesteps", "10"]
    two = ["--initializers", "asymptote", "glorot"]
    main = example("compare_initializers").main
    runs = main([*tiny, *two, "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "iterations to 60 %" in printed
    assert [len(run["loss"]) for run in runs.values()] == [2, 2]
    # Fig. 3a in small: asymptote fires in every layer, Glorot in none.
    assert min(runs["asymptote"]["initial_firing_rate"].values()) > 0
    assert max(runs["glorot"]["initial_firing_rate"].values()) == 0
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["runs"] == runs
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    model = keras.models.load_model(tmp_path / "asymptote.keras")
    assert model.predict(np.zeros((1, 8, 8, 1)), verbose=0).shape == (1, 10)


def test_compare_initializers_needs_a_batch(tmp_path):
    with pytest.raises(SystemExit, match="--samples must be at least"):
        example("compare_initializers").main(
            ["--samples", "10", "--out", str(tmp_path)]
        )


TINY = ["--samples", "64", "--timesteps", "2", "--validate"]
TINY += ["--epochs", "3", "--schedule", "cosine"]


def numbers(folder):
    """All that the checkpoint of a run holds."""
    model = keras.models.load_model(folder / "checkpoint.keras")
    moments = [np.array(x) for x in model.optimizer.variables]
    return [*model.get_weights(), *moments]


def log(folder):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def assert_equal(first, second):
    for a, b in zip(numbers(first), numbers(second), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return example("train").main([*TINY, "--out", str(folder)]), folder


def test_train_leaves_what_it_says(uninterrupted):
    result, folder = uninterrupted
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint.keras",
        "log.jsonl",
        "result.json",
        "run.json",
    }
    assert json.loads((folder / "result.json").read_text()) == result
    low, high = result["interval"]
    assert low < result["test_accuracy"] < high
    assert result["test_samples"] == 64
    model = keras.models.load_model(folder / "checkpoint.keras")
    assert model.optimizer.iterations == 6
    assert [line["epoch"] for line in log(folder)] == [0, 1, 2]
    keys = {"loss", "accuracy", "val_accuracy", "lif_4_firing_rate"}
    assert all(keys <= set(line) for line in log(folder))
    run = json.loads((folder / "run.json").read_text())
    assert (run["dataset"], run["timesteps"], run["samples"]) == (
        "digits",
        2,
        64,
    )


KILLED = """
import os, signal, sys
import train

class Killer(train.callbacks.EpochSeeds):
    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == (1, 1):
            os.kill(os.getpid(), signal.SIGKILL)

train.callbacks.EpochSeeds = Killer
train.main(sys.argv[1:])
"""


def test_a_run_killed_in_an_epoch_resumes_and_ends_alike(
    tmp_path, uninterrupted
):
    flags = [*TINY, "--out", str(tmp_path)]
    path = [str(EXAMPLES), str(EXAMPLES.parent)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *flags],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [line["epoch"] for line in log(tmp_path)] == [0]
    result = example("train").main([*flags, "--resume"])
    expected, folder = uninterrupted
    assert result | {"seconds": 0} == expected | {"seconds": 0}
    assert log(tmp_path) == log(folder)
    assert_equal(tmp_path, folder)


def test_interrupted_training_says_how_to_go_on(
    tmp_path, uninterrupted, monkeypatch, capsys
):
    module = example("train")
    flags = [*TINY, "--out", str(tmp_path)]

    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        monitor = module.callbacks.FiringRateMonitor
        patch.setattr(monitor, "on_epoch_end", interrupt)
        with pytest.raises(SystemExit) as stop:
            module.main(flags)
    assert stop.value.code == 130
    command = f"python examples/train.py {' '.join(flags)} --resume"
    assert command in capsys.readouterr().out
    # That of epoch 0, whose rates are missing from the log.
    path = tmp_path / "checkpoint.keras"
    assert keras.models.load_model(path).optimizer.iterations == 2
    with pytest.raises(SystemExit, match="is there: give --resume to go on"):
        module.main(flags)
    result = module.main([*flags, "--resume"])
    expected, folder = uninterrupted
    assert result["test_accuracy"] == expected["test_accuracy"]
    assert_equal(tmp_path, folder)


def test_a_finished_run_resumed_is_tested_again(uninterrupted):
    expected, folder = uninterrupted
    result = example("train").main([*TINY, "--out", str(folder), "--resume"])
    assert result | {"seconds": 0} == expected | {"seconds": 0}


def test_another_recipe_is_not_resumed(uninterrupted):
    _, folder = uninterrupted
    before = (folder / "run.json").read_text()
    flags = [*TINY, "--out", str(folder), "--resume"]
    message = "goes on with k=0.8, as .* says. Received: k=0.5"
    with pytest.raises(SystemExit, match=message):
        example("train").main([*flags, "--k", "0.5"])
    with pytest.raises(SystemExit, match="goes on with samples=64"):
        example("train").main([*flags, "--samples", "32"])
    with pytest.raises(SystemExit, match="with epochs=3, .*: epochs=4"):
        example("train").main([*flags, "--epochs", "4"])
    assert (folder / "run.json").read_text() == before


@pytest.mark.parametrize(
    ("schedule", "before", "now", "refused"),
    [
        ("constant", 3, 4, False),
        ("multistep", 3, 4, False),
        ("cosine", 3, 4, True),
        ("constant", 3, 2, True),
    ],
)
def test_epochs_may_follow_where_the_schedule_allows(
    tmp_path, schedule, before, now, refused
):
    settings = {"schedule": schedule, "epochs": before}
    path = tmp_path / "run.json"
    path.write_text(json.dumps(settings))
    check = example("train").check_resumable
    check(path, settings)
    if refused:
        with pytest.raises(SystemExit, match="--resume goes on with epochs=3"):
            check(path, settings | {"epochs": now})
    else:
        check(path, settings | {"epochs": now})


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is missing"), ("{", "is damaged"), ("{}", "is damaged or of an")],
)
def test_resuming_needs_a_run(tmp_path, content, message):
    if content:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(SystemExit, match=f"--resume needs a run.*{message}"):
        example("train").main(["--out", str(tmp_path), "--resume"])


def test_recipes_are_listed_and_checked(tmp_path, capsys):
    main = example("train").main
    main(["--list", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()] == list(
        recipes.RECIPES
    )
    assert not list(tmp_path.iterdir())
    for flags, message in (
        (["--recipe", "mnist"], "`name` must be one of 'digits-poisson',"),
        (["--encoder", "none"], "`encoder` must be a coding"),
        (["--k", "2"], "`k` must be in (0, 1]. Received: k=2.0"),
        (["--optimiz", "sgd"], "unrecognized arguments: --optimiz sgd"),
    ):
        with pytest.raises(SystemExit):
            main([*flags, "--out", str(tmp_path)])
        assert message in capsys.readouterr().err


def test_training_needs_a_whole_batch_where_others_are_dropped(tmp_path):
    flags = ["--samples", "31", "--drop-remainder", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match="--samples must be at least"):
        example("train").main(flags)


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
def test_intervals_are_wilsons(hits, samples, low, high):
    interval = example("train").wilson(hits, samples)
    np.testing.assert_allclose(interval, (low, high), atol=5e-5)


def test_save_and_load_predicts_the_same():
    tiny = ["--epochs", "1", "--samples", "32", "--timesteps", "2"]
    assert example("save_and_load").main(tiny) == 0
