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

from keras_snn import callbacks, datasets, events, models, plots, recipes

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_has_a_test():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    examples = {"compare_initializers", "train", "save_and_load"}
    examples |= {"codings", "nmnist_events"}
    assert names == examples | {"flags", "training"}


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
        ("codings", "--index", "-1", "integer of at least 0"),
        ("codings", "--out", "picture", "be a .png file"),
        ("codings", "--recording", "/dev/null/x", "that exists"),
        ("nmnist_events", "--seeds", "0", "integer of at least 1"),
        ("nmnist_events", "--data-dir", "/dev/null/x", "that exists"),
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
    assert stored["runs"] == json.loads(json.dumps(runs))
    assert stored["args"]["samples"] == 64
    assert stored["args"]["keras"] == keras.__version__
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    model = keras.models.load_model(tmp_path / "asymptote.keras")
    assert model.predict(np.zeros((1, 8, 8, 1)), verbose=0).shape == (1, 10)


def test_compare_initializers_needs_a_batch(tmp_path):
    with pytest.raises(SystemExit, match="--samples must be at least"):
        example("compare_initializers").main(
            ["--samples", "10", "--out", str(tmp_path)]
        )


@pytest.mark.parametrize(
    ("flags", "epochs"),
    [
        ([], 10),
        (["--dataset", "digits"], 10),
        (["--dataset", "mnist"], 1),
        (["--dataset", "cifar10"], 1),
        (["--dataset", "mnist", "--epochs", "3"], 3),
    ],
)
def test_small_datasets_are_seen_more_often(
    flags, epochs, tmp_path, monkeypatch
):
    class Asked(Exception):
        pass

    def train(build, data, epochs, *_):
        raise Asked(epochs)

    x, y = np.zeros((64, 8, 8, 1), "uint8"), np.zeros(64, "int64")
    monkeypatch.setattr(datasets, "load", lambda _: ((x, y), (x, y)))
    module = example("compare_initializers")
    monkeypatch.setattr(module.training, "train", train)
    with pytest.raises(Asked, match=f"^{epochs}$"):
        module.main([*flags, "--out", str(tmp_path)])


TINY = ["--samples", "64", "--timesteps", "6", "--validate"]
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
    # Where nothing fires all runs end alike.
    assert log(folder)[0]["lif_4_firing_rate"] > 0
    run = json.loads((folder / "run.json").read_text())
    assert (run["dataset"], run["timesteps"], run["samples"]) == (
        "digits",
        6,
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


@pytest.mark.slow
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
        (["--recipe", "mnist"], "must be one that --list names. Received: mni"),
        (["--encoder", "none"], "`encoder` must be a coding"),
        (["--k", "2"], "`k` must be in (0, 1]. Received: k=2.0"),
        (["--optimiz", "sgd"], "unrecognized arguments: --optimiz sgd"),
    ):
        with pytest.raises(SystemExit):
            main([*flags, "--out", str(tmp_path)])
        assert message in capsys.readouterr().err


def test_training_says_in_a_sentence_that_data_are_missing(tmp_path):
    flags = ["--recipe", "nmnist", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match="'nmnist' needs `data_dir`"):
        example("train").main(flags)


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
    interval = example("training").wilson(hits, samples)
    np.testing.assert_allclose(interval, (low, high), atol=5e-5)


def test_save_and_load_predicts_the_same():
    tiny = ["--epochs", "1", "--samples", "32", "--timesteps", "2"]
    assert example("save_and_load").main(tiny) == 0


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [([0.6, 0.1], 1), ([0.1, 0.59, 0.9, 0.2], 3), ([0.1, 0.5], None)],
)
def test_iterations_count_to_the_first_that_reaches_60(accuracy, expected):
    assert example("training").iterations_to(accuracy) == expected


def test_codings(tmp_path, capsys):
    out = tmp_path / "codings.png"
    coded = example("codings").main(["--index", "13", "--out", str(out)])
    assert out.read_bytes().startswith(b"\x89PNG")
    (images, labels), _ = datasets.load("digits")
    intensity = images[13, ..., 0] / 255
    constant, poisson, zero, subtract, event = coded.values()
    # One code after the other, from what it is said to be.
    assert {x.shape for x in (constant, poisson)} == {(20, 8, 8, 1)}
    np.testing.assert_allclose(constant[7, ..., 0], intensity, rtol=1e-6)
    assert set(np.unique(poisson)) == {0, 1}
    assert (poisson[:, intensity == 0] == 0).all()
    assert (zero[:, intensity < 1].mean(0) <= 0.5).all()
    exact = np.floor(20 * intensity + 1e-4)
    np.testing.assert_array_equal(subtract.sum((0, 3)), exact)
    # The image ends where it began: as many ON as OFF, at every pixel.
    assert event.shape == (20, 8, 8, 2)
    assert event.sum() > 0
    np.testing.assert_array_equal(*np.moveaxis(event.sum(0), -1, 0))
    assert f"A {labels[13]} under all" in capsys.readouterr().out


def test_codings_of_a_recording(tmp_path):
    path = tmp_path / "00001.bin"
    found = np.array([(5, 3, 1, 0), (9, 2, 6, 1)], events.DTYPE)
    events.write(path, found)
    flags = ["--timesteps", "2", "--out", str(tmp_path / "x.png")]
    coded = example("codings").main([*flags, "--recording", str(path)])
    frames = coded["Event: the recording 00001.bin"]
    assert frames.shape == (2, 7, 4, 2)
    assert np.argwhere(frames).tolist() == [[0, 1, 3, 0], [1, 6, 2, 1]]


def test_codings_knows_how_many_images_there_are(tmp_path):
    with pytest.raises(SystemExit, match=r"--index must be in \[0, 1437\)"):
        example("codings").main(
            ["--index", "1437", "--out", str(tmp_path / "x.png")]
        )


@pytest.fixture
def nmnist(tmp_path_factory, monkeypatch):
    """A folder as N-MNIST's, of bars that lie (0) and stand (1)."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("home")))
    folder = tmp_path_factory.mktemp("nmnist")
    for split, number in (("Train", 8), ("Test", 3)):
        for label in (0, 1):
            for i in range(number):
                image = np.zeros((28, 28), "uint8")
                image[6 + i : 9 + i, 4:24] = 255
                found = events.saccade(image if label == 0 else image.T)
                path = folder / split / str(label) / f"{i + 1:05}.bin"
                events.write(path, found)
    return folder


def test_epochs_have_orders_of_their_own():
    def silent():
        return models.sequential_snn("FC1", (1, 1, 2), 2, 1, encoder=None)

    # No input, so that only the last bias learns, and the class 0 is expected
    # from the second epoch on: wrong is the one sample of the other class.
    x, y = np.zeros((16, 1, 1, 1, 2), "uint8"), np.arange(16) == 0
    data = (x, y.astype(int)), (x, y.astype(int))
    train = example("training").train
    _, run = train(silent, data, *(5, 1, 0), reshuffle=True)
    wrong = np.argwhere(np.reshape(run["accuracy"], (5, 16))[1:] < 0.5)
    assert wrong[:, 0].tolist() == [0, 1, 2, 3]
    assert len(set(wrong[:, 1])) > 1


def test_nmnist_events(nmnist, tmp_path, capsys):
    flags = ["--data-dir", str(nmnist), "--out", str(tmp_path)]
    flags += ["--epochs", "8", "--batch-size", "4", "--timesteps", "5"]
    runs = example("nmnist_events").main([*flags, "--seeds", "2"])
    printed = capsys.readouterr().out
    assert "16 recordings to train, 6 to test" in printed
    # Two seeds are two networks, of 4 iterations in each of 8 epochs.
    first, second = runs["asymptote"]
    assert len(first["loss"]) == 32
    assert first["loss"] != second["loss"]
    # Bars that lie and bars that stand are told apart at once.
    assert first["test_accuracy"] == second["test_accuracy"] == 1
    assert first["iterations_to_60"] <= 16
    # Wilson's interval of 6 of 6 recordings, not of 12: 6 / (6 + 1.96^2).
    assert "100.00% (60.97% to 100.00%)" in printed
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["runs"] == json.loads(json.dumps(runs))
    assert stored["args"]["data_dir"] == str(nmnist)
    for name in ("recording.png", "curves.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    model = keras.models.load_model(tmp_path / "asymptote.keras")
    assert model.input_shape == (None, 5, 32, 32, 2)


def test_the_recording_shown_is_the_one_asked_for(nmnist):
    module = example("nmnist_events")
    flags = ["--data-dir", str(nmnist), "--shown", "4", "--timesteps", "3"]
    (_, (x_test, y_test)), (recording, label) = module.real(
        module.parse_args(flags)
    )
    # The second of the class 1, behind three of the class 0.
    path = nmnist / "Test" / "1" / "00002.bin"
    np.testing.assert_array_equal(recording, events.read(path))
    assert label == y_test[4] == 1
    # What is drawn is what the network is tested on.
    np.testing.assert_array_equal(module.frames_of(recording, 3), x_test[4])


def test_the_spikes_shown_are_the_networks(rng):
    model = models.five_layer_snn((8, 8, 2), timesteps=5, encoder=None, seed=0)
    frames = rng.poisson(0.5, (5, 8, 8, 2)).astype("uint8")
    spikes = example("nmnist_events").spikes_of(model, frames)
    assert [len(x) for x in spikes.values()] == [5] * 4
    rates = callbacks.firing_rates(model, frames[None])
    assert {name: x.mean() for name, x in spikes.items()} == pytest.approx(
        {name: rate for name, (rate, _) in rates.items()}
    )


def test_nmnist_events_makes_its_own_recordings(tmp_path, monkeypatch):
    titles = []

    def recording(*args):
        titles.append(args[-1])
        return plots_recording(*args)

    plots_recording = plots.recording
    monkeypatch.setattr(plots, "recording", recording)
    flags = ["--samples", "20", "--epochs", "1", "--timesteps", "2"]
    flags += ["--initializers", "asymptote", "glorot"]
    runs = example("nmnist_events").main([*flags, "--out", str(tmp_path)])
    (silent,) = runs["glorot"]
    assert silent["loss"] == pytest.approx([np.log(10)], rel=1e-5)
    assert len(titles) == 1  # of the first network
    assert "by a simulated camera" in titles[0]


def test_own_recordings_lie_within_the_camera():
    module = example("nmnist_events")
    (found, labels), _ = module.make("digits", 3)
    assert len(labels) == 3
    for recording in found:
        frames = module.frames_of(recording, 4)
        assert frames.shape == (4, 32, 32, 2)
        # In the middle, and large: the center of mass, and what it spreads.
        rows = frames.sum((0, 2, 3)) / frames.sum()
        mean = rows @ np.arange(32)
        assert 12 < mean < 20
        assert 4 < np.sqrt(rows @ (np.arange(32) - mean) ** 2) < 10
        # The image moves down first; where the lower edges of its strokes come
        # it grows darker, as in N-MNIST.
        first = recording[recording["t"] < 105_000]
        off, on = (first["y"][first["p"] == p].mean() for p in (0, 1))
        assert off > on + 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--shown", "6"], r"--shown must be in \[0, 6\)"), ([], "must hold")],
)
def test_nmnist_events_says_what_is_missing(flags, message, nmnist, tmp_path):
    folder = nmnist if flags else tmp_path
    flags = [*flags, "--data-dir", str(folder), "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match=message):
        example("nmnist_events").main(flags)
