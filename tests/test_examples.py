"""Every example runs, in a tiny setting, and leaves what it says."""

import importlib.util
import json
import pathlib

import keras
import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_has_a_test():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    examples = {"compare_initializers", "train_mnist", "save_and_load"}
    assert names == examples | {"flags"}


@pytest.mark.parametrize(
    ("name", "flag", "value", "message"),
    [
        ("compare_initializers", "--epochs", "0", "integer of at least 1"),
        ("compare_initializers", "--samples", "-40", "integer of at least 1"),
        ("compare_initializers", "--out", "/dev/null/x", "can be written to"),
        ("train_mnist", "--batch-size", "x", "integer of at least 1"),
        ("train_mnist", "--checkpoint", "model", "be a .keras file"),
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


def test_train_mnist_and_resume(tmp_path, capsys):
    main = example("train_mnist").main
    path = tmp_path / "model.keras"
    flags = ["--dataset", "digits", "--samples", "64", "--timesteps", "2"]
    flags += ["--checkpoint", str(path)]
    with pytest.raises(SystemExit, match="--resume needs a checkpoint"):
        main([*flags, "--resume"])
    main([*flags, "--epochs", "1"])
    assert keras.models.load_model(path).optimizer.iterations == 2
    main([*flags, "--epochs", "3", "--resume"])
    assert keras.models.load_model(path).optimizer.iterations == 6
    assert "test accuracy" in capsys.readouterr().out


def test_save_and_load_predicts_the_same():
    tiny = ["--epochs", "1", "--samples", "32", "--timesteps", "2"]
    assert example("save_and_load").main(tiny) == 0
