"""Each example runs in a tiny setting and prints and draws what it says."""

import ast
import importlib.util
import pathlib
import re
import sys

import numpy as np
import pytest

from keras_snn import callbacks, datasets, events

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
ALLOWED = {"keras", "keras_snn", "numpy", "scipy"}
ALLOWED |= {"cifar10", "dvs"}  # whose networks epoch_time.py counts
# Whole recipes are longer.
LINES = {"cifar10": 235, "dvs": 105, "epoch_time": 90, "spoken_digits": 90}


@pytest.fixture
def few_samples(monkeypatch):
    """Makes `datasets.load` return the first digits of each set."""
    digits = datasets.load("digits")
    sizes = {"digits": 8, "mnist": 28}

    def load(name):
        edge = sizes[name] - 8
        border = (0, 0), (0, edge), (0, edge), (0, 0)
        return [(np.pad(x[:20], border), y[:20]) for x, y in digits]

    monkeypatch.setattr(datasets, "load", load)


@pytest.fixture
def nmnist(tmp_path, monkeypatch):
    """A folder like that of N-MNIST: horizontal bars (0), vertical bars (1)."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    for split, number in (("Train", 8), ("Test", 3)):
        for label in (0, 1):
            for i in range(number):
                image = np.zeros((28, 28), "uint8")
                image[6 + i : 9 + i, 4:24] = 255
                found = events.saccade(image if label == 0 else image.T)
                name = f"{split}/{label}/{i + 1:05}.bin"
                events.write(tmp_path / "nmnist" / name, found)
    return tmp_path / "nmnist"


@pytest.fixture
def series(tmp_path, monkeypatch):
    """Writes data as in aeon's package: rising series (1), falling ones (2)."""

    def write(lengths):
        folder = tmp_path / "aeon" / "datasets" / "data" / "Slopes"
        folder.mkdir(parents=True)
        (tmp_path / "aeon" / "__init__.py").touch()
        for split in ("TRAIN", "TEST"):
            rows = []
            for length in lengths:
                up = ",".join(map(str, range(length)))
                down = ",".join(map(str, reversed(range(length))))
                rows += [f"{up}:{down}:1", f"{down}:{up}:2"]
            text = "\n".join(["#About", "@problemName Slopes", "@data", *rows])
            (folder / f"Slopes_{split}.ts").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)

    return write


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG")


def test_every_example_has_a_test():
    tests = pathlib.Path(__file__).parent.glob("test_*.py")
    text = "".join(path.read_text("utf-8") for path in tests)
    assert SCRIPTS
    assert [x.stem for x in SCRIPTS if f'run("{x.stem}"' not in text] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_examples_are_short_and_import_little(path):
    source = path.read_text()
    assert len(source.splitlines()) < LINES.get(path.stem, 80)
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - set(sys.stdlib_module_names) <= ALLOWED


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_examples_state_command_result_and_time(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert f"\n    python examples/{path.name}" in docstring
    assert "\nPrints " in docstring
    assert re.search(r"Takes\s+(about|a\s+few)\s", docstring)


@pytest.mark.slow  # compiles five networks
def test_compare_initializers(run, tmp_path, capsys, monkeypatch):
    (x_train, _), (x_test, _) = datasets.load("digits")
    threes = (x_train, np.full(len(x_train), 3)), (x_test[:20], np.full(20, 3))
    monkeypatch.setattr(datasets, "load", lambda _: threes)
    out = tmp_path / "new folder"
    flags = ["--samples", 70, "--epochs", 1, "--timesteps", 10, "--out", out]
    runs = run("compare_initializers", *flags)["runs"]
    assert is_png(out / "curves.png")
    # 70 images are two whole batches of 32.
    assert [len(each["loss"]) for each in runs.values()] == [2] * 5
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines}
    assert set(runs) <= set(rows)
    # The last four columns are the firing rates before training. As in Fig. 3a,
    # the asymptote fires in every layer, Glorot in none.
    assert min(map(float, rows["asymptote"][-4:])) > 0
    assert rows["glorot"][-4:] == ["0.000"] * 4
    # A silent network gives all classes the same logit, at a loss of ln(10),
    # and `argmax` returns class 0. One step raises the logit of class 3.
    assert runs["glorot"]["loss"][0] == pytest.approx(np.log(10), rel=1e-6)
    assert runs["glorot"]["accuracy"] == [0, 1]
    assert rows["glorot"][1] == "2"
    # Wilson's interval of 20 hits in 20 images is [20 / (20 + 1.96^2), 1].
    assert "100.0% (83.9% to 100.0%)" in " ".join(rows["glorot"])


@pytest.mark.slow  # compiles two networks
def test_other_initializations_can_be_compared(run, tmp_path):
    flags = [
        "--samples",
        32,
        "--epochs",
        1,
        "--timesteps",
        4,
        "--out",
        tmp_path,
    ]
    names = ["micheli", "shi"]
    runs = run("compare_initializers", "--initializers", *names, *flags)["runs"]
    assert list(runs) == names


def test_codings(run, tmp_path, capsys):
    coded = run("codings", "--index", 13, "--out", tmp_path)["coded"]
    assert is_png(tmp_path / "codings.png")
    (images, labels), _ = datasets.load("digits")
    assert f"the codings of a {labels[13]}" in capsys.readouterr().out
    intensity = images[13, ..., 0] / 255
    constant, poisson, zero, subtract, event = coded.values()
    assert {x.shape for x in (constant, poisson)} == {(20, 8, 8, 1)}
    np.testing.assert_allclose(constant[7, ..., 0], intensity, rtol=1e-6)
    assert set(np.unique(poisson)) == {0, 1}
    assert (poisson[:, intensity == 0] == 0).all()
    # After a reset to zero, intensities below 1 need two timesteps per spike.
    assert (zero[:, intensity < 1].mean(0) <= 0.5).all()
    exact = np.floor(20 * intensity + 1e-4)
    np.testing.assert_array_equal(subtract.sum((0, 3)), exact)
    # The image returns to its place, so each pixel has as many ON as OFF.
    assert event.shape == (20, 8, 8, 2)
    assert event.sum() > 0
    np.testing.assert_array_equal(*np.moveaxis(event.sum(0), -1, 0))


@pytest.mark.slow
def test_event_camera_learns_from_recordings(run, nmnist, tmp_path, capsys):
    flags = ["--data-dir", nmnist, "--out", tmp_path, "--shown", 4]
    found = run("event_camera", *flags, "--epochs", 25, "--timesteps", 5)
    assert is_png(tmp_path / "recording.png")
    assert "Test accuracy 100.0% of 6 recordings" in capsys.readouterr().out
    # Recording 4 is the second of class 1, after the three of class 0.
    path = nmnist / "Test" / "1" / "00002.bin"
    np.testing.assert_array_equal(found["recording"], events.read(path))
    assert found["title"] == "A 1 that the network takes for a 1"
    # The picture shows what the network has seen and what it has fired.
    expected = found["count"](found["recording"])
    np.testing.assert_array_equal(found["frames"], expected)
    rates = callbacks.firing_rates(found["model"], expected[None])
    assert {name: x.mean() for name, x in found["spikes"].items()} == (
        pytest.approx({name: rate for name, (rate, _) in rates.items()})
    )


@pytest.mark.slow
def test_event_camera_simulates_recordings(run, few_samples, tmp_path):
    flags = ["--epochs", 1, "--timesteps", 4, "--out", tmp_path]
    found = run("event_camera", *flags)
    assert is_png(tmp_path / "recording.png")
    assert found["x_train"].shape == (20, 4, 32, 32, 2)
    for frames in found["x_test"]:
        # The digit is large and in the middle of the frames.
        rows = frames.sum((0, 2, 3)) / frames.sum()
        mean = rows @ np.arange(32)
        assert 12 < mean < 20
        assert 4 < np.sqrt(rows @ (np.arange(32) - mean) ** 2) < 10
    # The digit moves down first. The pixels below its strokes grow darker, and
    # those that it leaves grow brighter, as in N-MNIST.
    recording = found["recording"]
    first = recording[recording["t"] < 105_000]
    off, on = (first["y"][first["p"] == p].mean() for p in (0, 1))
    assert off > on + 1


def test_mnist(run, few_samples, capsys):
    found = run("mnist", "--timesteps", 2)
    accuracy = found["accuracy"]
    assert f"Test accuracy {accuracy:.2%}" in capsys.readouterr().out
    # 20 images fit into one batch.
    assert found["model"].optimizer.iterations == 1


@pytest.mark.slow  # starts a second process
def test_save_and_load_predicts_the_same(run, few_samples, capsys):
    found = run("save_and_load", "--epochs", 1, "--timesteps", 10)
    # A silent network would predict the same for all images.
    assert np.ptp(found["here"], axis=0).min() > 0
    assert "largest difference 0\n" in capsys.readouterr().out


@pytest.mark.slow  # trains two networks
def test_time_series_learns_from_unequal_lengths(run, series, tmp_path, capsys):
    series(range(4, 12))
    flags = ["--dataset", "Slopes", "--timesteps", 12, "--noise", 0.1]
    found = run("time_series", *flags, "--epochs", 30, "--out", tmp_path)
    assert is_png(tmp_path / "time_series.png")
    printed = capsys.readouterr().out
    assert printed == "GRU: test accuracy 100.0%\nSNN: test accuracy 100.0%\n"
    # The values 0 to n - 1 of all series, once up and once down.
    values = np.concatenate([np.arange(n) for n in range(4, 12)])
    expected = (np.arange(5) - values.mean()) / values.std()
    x, labels = found["x_train"], found["y_train"]
    np.testing.assert_allclose(x[2, :5, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(x[2, :5, 1], expected[::-1], rtol=1e-5)
    assert not x[2, 5:].any()
    np.testing.assert_array_equal(labels, [0, 1] * 8)
    # The figure shows the real timesteps. The last output is the prediction.
    spikes, outputs = found["shown"]
    assert spikes["RecurrentLIF"].shape == (4, 128)
    assert outputs.shape == (4, 2)
    whole = found["model"].predict(found["x_test"][:1], verbose=0)
    np.testing.assert_allclose(outputs[-1], whole[0], atol=1e-5)


@pytest.mark.slow  # trains two networks
def test_time_series_can_read_all_spikes(run, series, tmp_path, capsys):
    series([5] * 8)
    flags = ["--dataset", "Slopes", "--timesteps", 5, "--flatten"]
    found = run("time_series", *flags, "--epochs", 20, "--out", tmp_path)
    assert "SNN: test accuracy 100.0%" in capsys.readouterr().out
    assert found["model"].layers[-1].kernel.shape == (5 * 128, 2)


def test_time_series_says_where_the_data_is(run, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", {"aeon": None}.get)
    with pytest.raises(SystemExit, match="run `pip install --no-deps aeon`"):
        run("time_series", "--out", tmp_path)


@pytest.mark.slow  # trains two networks
@pytest.mark.skipif(
    not importlib.util.find_spec("aeon"), reason="aeon is not installed"
)
def test_time_series_reads_the_nine_speakers(run, tmp_path):
    found = run("time_series", "--epochs", 1, "--out", tmp_path)
    # As the archive describes the data.
    assert found["x_train"].shape == (270, 29, 12)
    assert found["x_test"].shape == (370, 29, 12)
    lengths = [x.any(-1).sum() for x in (*found["x_train"], *found["x_test"])]
    assert (min(lengths), max(lengths)) == (7, 29)
    np.testing.assert_array_equal(np.bincount(found["y_train"]), [30] * 9)
