"""The command line."""

import importlib.util
import json

import keras
import numpy as np
import pytest

from experiments import catalogue, recipes
from experiments.__main__ import main, parse_args
from experiments.records import Run, Store
from experiments.workers import Workers
from keras_snn.files import locked

TRAIN = ["train", "digits-poisson", "--set", "network.timesteps=3"]
TRAIN += ["network.width=0.25", "training.batch_size=256"]
TRAIN += ["training.epochs=2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "required: NAME"),
        (["run", "fig5", "--seeds", "0"], "--seeds: must be an integer"),
        (["run", "fig5", "--iterations", "x"], "at least 1. Received: x"),
        (["run", "fig5", "--gpus", "x"], "--gpus: invalid float value: 'x'"),
        (["run", "fig5", "--initializers", "lecun"], "invalid choice: 'lecun'"),
        (["train", "digits-poisson", "--set", "k"], "must be FIELD=VALUE"),
    ],
)
def test_bad_flags_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "fig9"], "An experiment must be `all` or a name"),
        (["run", "fig5", "--results", "/dev/null/x"], "Not a directory"),
        (["train", "mnist"], "`recipe` must be one of 'mnist-constant'"),
        ([*TRAIN, "network.k=2"], r"`k` must be in \(0, 1\]. Received: k=2"),
        ([*TRAIN, "training.epoch=2"], "Received: field='training.epoch'"),
        ([*TRAIN, "network.surrogate=relu"], "Received: surrogate='relu'"),
        (["train", "nmnist"], "`data_dir`"),
        ([*TRAIN, "--iterations", "99"], "must be at most 12"),
        ([*TRAIN, "--set", "training.epochs=1", "network.k=2"], "`k` must be"),
        ([*TRAIN, "data.split=-1"], "`data.split` must be at least 0"),
        ([*TRAIN, "network.normalization=[1]"], "`normalization` must be one"),
        (
            [*TRAIN, "network.surrogate=auto", "network.a=2"],
            "`network.a` must be left out with surrogate='auto'",
        ),
        *(
            ([x, "--results", __file__], "--results must be a folder. Received")
            for x in ("list", "report", "stability", "rates")
        ),
    ],
)
def test_bad_values_are_refused(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        main(words)


def test_settings_add_up():
    words = ["train", "digits-poisson", "--set", "network.k=0.5", "seed=1"]
    args = parse_args([*words, "--set", "training.epochs=3"])
    expected = {"network.k": 0.5, "seed": 1, "training.epochs": 3}
    assert dict(args.set) == expected


def test_a_folder_takes_one_run_at_a_time(tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(SystemExit, match="run` is locked by another process"),
    ):
        main([*TRAIN, "--out", str(tmp_path)])


def test_a_missing_ray_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="pip install"):
        main(["run", "fig5", "--ray", "local"])


def test_list_shows_state_and_recipes(tmp_path, fake, capsys):
    recipe = recipes.get("mnist-poisson")
    Store(tmp_path).add(fake([0.5] * 300, recipe=recipe))
    main(["list", "--results", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    lines = {x.split()[0]: x for x in lines if x}
    assert set(catalogue.EXPERIMENTS) | set(recipes.RECIPES) <= set(lines)
    assert "1 of 5" in lines["fig4-mnist"]
    assert "0 of 5" in lines["fig4-nmnist"]
    assert "50 epochs, batches of 32, adam, cosine" in lines["mnist-retina"]
    for field, ours, others in recipes.CHOICES:
        assert str(ours) in lines[field]
        assert others in lines[field]
    assert "neurons" in lines["Fig."]


def test_run_trains_the_longest_of_what_is_missing(
    tmp_path, digits, fake, monkeypatch, capsys
):
    for name, quick in (("one", 2), ("two", 4)):
        tiny = catalogue.Experiment("", {(): digits}, quick, few=("he", "wu"))
        monkeypatch.setitem(catalogue.EXPERIMENTS, name, tiny)
    trained = []

    def train(workers, run):
        trained.append(run.iterations)
        method = run.recipe.network["initializer"]
        return fake([0.5] * run.iterations, method=method, to_60=3)

    monkeypatch.setattr(Workers, "train", train)
    store = Store(tmp_path)
    store.add(fake([0.5] * 4, method="he"))
    words = ["run", "one", "two", "--results", str(tmp_path)]
    words += ["--checkpoints", str(tmp_path / "c")]
    main(words)
    assert trained == [4]
    printed = capsys.readouterr().out
    assert printed.startswith("2 runs, 1 stored\n[1/1, ")
    assert "60 % after 3 iterations, test accuracy 50.00%" in printed
    # A run that is killed just after it was stored leaves its checkpoint.
    run = Run(catalogue.variant(digits, "he", 0), 4)
    left = Workers(store, tmp_path / "c").folder(run)
    left.mkdir()
    main(words)
    assert capsys.readouterr().out == "2 runs, 2 stored\n"
    assert trained == [4]
    assert not left.exists()


def test_failed_runs_are_counted(tmp_path, digits, monkeypatch, capsys):
    tiny = catalogue.Experiment("", {(): digits}, 2, few=("he",))
    monkeypatch.setitem(catalogue.EXPERIMENTS, "tiny", tiny)

    def train(workers, run):
        raise RuntimeError("no memory")

    monkeypatch.setattr(Workers, "train", train)
    words = ["run", "tiny", "--results", str(tmp_path)]
    with pytest.raises(SystemExit, match="1 of 1 runs failed"):
        main([*words, "--checkpoints", str(tmp_path / "c")])
    assert "FAILED RuntimeError: no memory" in capsys.readouterr().out


def test_missing_data_are_a_sentence(tmp_path, capsys):
    words = ["run", "fig4-nmnist", "--initializers", "he", "--iterations", "1"]
    words += ["--results", str(tmp_path), "--data-dir", str(tmp_path)]
    with pytest.raises(SystemExit, match="1 of 1 runs failed"):
        main([*words, "--checkpoints", str(tmp_path / "c")])
    printed = capsys.readouterr()
    assert "FAILED: `data_dir` must be" in printed.out
    assert "Traceback" not in printed.err


def test_a_report_needs_runs(tmp_path):
    with pytest.raises(SystemExit, match="runs.jsonl` is missing. Use `run`"):
        main(["report", "--results", str(tmp_path)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished `train`."""
    folder = tmp_path_factory.mktemp("finished")
    main([*TRAIN, "--out", str(folder)])
    return folder


def assert_same_weights(folder, other):
    models = (
        keras.models.load_model(x / "checkpoint.keras") for x in (folder, other)
    )
    for a, b in zip(*(x.get_weights() for x in models), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_train_leaves_its_results(finished):
    run = json.loads((finished / "run.json").read_text())
    assert run["recipe"]["network"]["timesteps"] == 3
    assert run["backend"] == keras.config.backend()
    lines = (finished / "log.jsonl").read_text().splitlines()
    first, last = map(json.loads, lines)
    assert (first["epoch"], last["epoch"]) == (0, 1)
    assert {"loss", "accuracy", "lif1_firing_rate"} <= set(last)
    result = json.loads((finished / "result.json").read_text())
    # 1437 samples in batches of 256 make 6 iterations.
    assert len(result["loss"]) == result["iterations"] == 12
    hits = round(last["val_accuracy"] * 360)
    assert result["tested"][-1] == [12, hits]
    model = keras.models.load_model(finished / "checkpoint.keras")
    assert int(model.optimizer.iterations) == 12


@pytest.mark.slow
def test_interrupted_training_says_how_to_go_on(
    finished, tmp_path, monkeypatch, capsys
):
    from keras_snn import callbacks

    on_epoch_end = callbacks.Checkpoint.on_epoch_end

    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
        on_epoch_end(self, epoch, logs)

    words = [*TRAIN, "--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpoint, "on_epoch_end", interrupt)
        with pytest.raises(SystemExit) as stop:
            main(words)
    assert stop.value.code == 130
    command = f"python -m experiments {' '.join(words)} --resume"
    assert command in capsys.readouterr().out
    with pytest.raises(SystemExit, match="holds a run. Add --resume"):
        main(words)
    main([*words, "--resume"])
    assert_same_weights(tmp_path, finished)
    for name in ("log.jsonl", "run.json"):
        assert (tmp_path / name).read_text() == (finished / name).read_text()
    results = (
        json.loads((x / "result.json").read_text())
        for x in (tmp_path, finished)
    )
    same = {"seconds": 0, "time": ""}
    a, b = (x | same for x in results)
    assert a == b


@pytest.mark.slow
def test_only_the_same_recipe_goes_on(finished):
    before = (finished / "run.json").read_text()
    words = [*TRAIN[:2], "--out", str(finished), "--resume"]
    message = "needs network.k=0.8, as in .*. Received: network.k=0.5"
    with pytest.raises(SystemExit, match=message):
        main([*words, "--set", *TRAIN[3:], "network.k=0.5"])
    assert (finished / "run.json").read_text() == before


@pytest.mark.slow
def test_more_epochs_follow_a_constant_rate(finished, tmp_path):
    import shutil

    shutil.copytree(finished, tmp_path / "longer")
    words = [*TRAIN[:-1], "training.epochs=3"]
    main([*words, "--out", str(tmp_path / "longer"), "--resume"])
    main([*words, "--out", str(tmp_path / "anew")])
    assert_same_weights(tmp_path / "longer", tmp_path / "anew")


@pytest.mark.parametrize("content", [None, "{", "{}", '{"recipe": {}}'])
def test_going_on_needs_a_run(tmp_path, content):
    if content:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(SystemExit, match="--resume needs a run.*missing or da"):
        main([*TRAIN, "--out", str(tmp_path), "--resume"])
