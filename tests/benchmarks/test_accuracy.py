"""The contenders train on the same images, and a run keeps what it has."""

import argparse
import importlib.util
import json

import keras
import numpy as np
import pytest

from benchmarks import accuracy
from keras_snn import datasets
from keras_snn.files import locked

BACKEND = keras.config.backend()


def tiny(path, *contenders):
    """The flags of a run of two turns."""
    flags = f"--minutes 0.002 --every 0.001 --width 0.1 --batch 4 --out {path}"
    flags += f" --test-images 10 --backend {BACKEND} --contenders"
    return [*flags.split(), *contenders]


def change(image, source):
    """Returns flip and shifts between an image and its source."""
    padded = np.pad(source, ((4, 4), (4, 4), (0, 0)))
    height, width = source.shape[:2]
    (found,) = [
        (flip, top, left)
        for flip in (1, -1)
        for top in range(9)
        for left in range(9)
        if np.array_equal(
            np.round(255 * image),
            padded[top : top + height, left : left + width][:, ::flip],
        )
    ]
    return found


def test_images_are_flipped_and_shifted_by_up_to_four_pixels(rng):
    x = rng.integers(1, 256, size=(6, 5, 7, 2)).astype("uint8")
    batches = accuracy.augmented(x, np.arange(6), batch=6)
    pairs = []
    for _ in range(200):
        images, labels = next(batches)
        pairs.append([change(images[i], x[labels[i]]) for i in (0, 1)])
    # Both flips, and all of 9 shifts in both directions.
    first, second = (np.array(x) for x in zip(*pairs, strict=True))
    assert [len(np.unique(column)) for column in first.T] == [2, 9, 9]
    # The images of a batch change each in its own way.
    assert (first != second).any(0).all()


def test_an_epoch_has_every_image_once(rng):
    x = rng.integers(256, size=(8, 4, 4, 1)).astype("uint8")
    batches = accuracy.augmented(x, np.arange(8), batch=4)
    for _ in range(3):
        labels = [next(batches)[1] for _ in range(2)]
        np.testing.assert_array_equal(np.sort(np.ravel(labels)), np.arange(8))


def test_a_batch_needs_enough_images():
    batches = accuracy.augmented(np.zeros((3, 4, 4, 1)), np.zeros(3), batch=4)
    with pytest.raises(ValueError, match="Received: batch=4, 3 images"):
        next(batches)


@pytest.mark.slow  # three processes
@pytest.mark.skipif(
    not importlib.util.find_spec("spikingjelly"),
    reason="SpikingJelly is not installed",
)
def test_all_contenders_train_as_many_weights(few_images, tmp_path):
    path = tmp_path / "new" / "accuracy.json"
    accuracy.main(tiny(path, *accuracy.CONTENDERS))
    results = json.loads(path.read_text())
    assert results["failed"] == {}
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    # Filters of a tenth of the width: 3, 3, 6, 6, 13, 13. A convolution has
    # 9 weights per pair of channels, normalization two per channel.
    channels = [3, 3, 3, 6, 6, 13, 13]
    weights = sum(
        9 * before * after + 2 * after
        for before, after in zip(channels, channels[1:], strict=False)
    )
    weights += 13 * 10 + 10
    assert list(results["contenders"]) == list(accuracy.CONTENDERS)
    about = results["about"]
    assert {x: y["parameters"] for x, y in about.items()} == dict.fromkeys(
        accuracy.CONTENDERS, weights
    )
    assert about["relu"]["versions"]["keras"] == keras.__version__
    assert list(about["spikingjelly"]["versions"]) == ["torch", "spikingjelly"]
    for rows in results["contenders"].values():
        # The first step compiles, which may take longer than both turns.
        assert rows[0]["iterations"] >= 1
        assert rows[-1]["minutes"] >= 0.002
        assert rows[-1]["images"] == 4 * rows[-1]["iterations"]


@pytest.mark.slow  # starts a process
def test_a_contender_that_fails_is_reported(few_images, tmp_path):
    path = tmp_path / "accuracy.json"
    flags = [*tiny(path, "relu"), "--batch", "21"]  # of 20 images
    message = "no contender could be trained: relu: .*batch=21, 20 images"
    with pytest.raises(SystemExit, match=message):
        accuracy.main(flags)
    assert not list(tmp_path.iterdir())  # the same command can run again


def test_a_file_takes_one_run_at_a_time(few_images, tmp_path):
    path = tmp_path / "accuracy.json"
    with (
        locked(path.with_suffix(""), wait=False),
        pytest.raises(SystemExit, match=r"another run writes to .*\.json`"),
    ):
        accuracy.main(tiny(path, "relu"))


@pytest.mark.parametrize("error", [ImportError, RuntimeError, ValueError])
def test_missing_data_are_reported(monkeypatch, tmp_path, error):
    def load(*args, **options):
        raise error("no CIFAR-10")

    monkeypatch.setattr(datasets, "load", load)
    with pytest.raises(SystemExit, match="no CIFAR-10"):
        accuracy.main(tiny(tmp_path / "accuracy.json", "relu"))
    assert not list(tmp_path.iterdir())


def test_a_run_needs_a_new_file(tmp_path, capsys):
    path = tmp_path / "accuracy.json"
    path.write_text("{}")
    with pytest.raises(SystemExit):
        accuracy.main(tiny(path, "relu"))
    assert "--out must be a new file" in capsys.readouterr().err


def test_a_backend_of_the_environment_is_checked(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(SystemExit):
        accuracy.main(["--out", str(tmp_path / "accuracy.json")])
    text = "--backend: must be one of tensorflow, jax, torch. Received: theano"
    assert text in capsys.readouterr().err


def test_the_learning_rate_falls_along_a_cosine(few_images, monkeypatch):
    rates, now = [], [0.0]

    class Network:
        def __init__(self, *_):
            pass

        def step(self, *arguments):
            rates.append(arguments[-1])
            now[0] += 15
            return 2.0

        def logits(self, x):
            now[0] += 1000  # evaluation does not count
            return np.eye(10)[np.zeros(len(x), int)]

    monkeypatch.setattr(accuracy, "_KerasNetwork", Network)
    monkeypatch.setattr(accuracy.time, "perf_counter", lambda: now[0])
    flags = {"timesteps": 4, "width": 1, "seed": 0, "batch": 4}
    args = argparse.Namespace(**flags, minutes=1.0, test_images=20)
    worker = accuracy._Worker("relu", args, datasets.load())
    rows = [worker.train(until) for until in (0.5, 1.0)]
    expected = accuracy.RATE * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2
    np.testing.assert_allclose(rates, expected)
    assert [row["minutes"] for row in rows] == [0.5, 1.0]
    assert [row["iterations"] for row in rows] == [2, 4]
    # Two of the 20 images are of class 0.
    assert [row["accuracy"] for row in rows] == [0.1, 0.1]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("--out {folder}", "--out must be a new file, *.json"),
        ("--out {folder}/a.png", "--out must be a new file, *.json"),
        ("--draw --out {folder}/a.json", "--out must be a file of results"),
        ("--minutes inf", "--minutes must be finite and above 0. Received"),
        ("--test-images 0", "--test-images must be above 0. Received: 0"),
        ("--seed -1", "--seed must be at least 0. Received: -1"),
    ],
)
def test_flags_out_of_range_are_refused(flags, text, tmp_path, capsys):
    with pytest.raises(SystemExit):
        accuracy.main(flags.format(folder=tmp_path).split())
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_damaged_results_are_named(text, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(SystemExit, match=r"a\.json` is damaged"):
        accuracy.main(["--draw", "--out", str(path)])


def test_the_picture_shows_accuracy_over_minutes():
    rows = [
        {"minutes": 5.0, "accuracy": 0.5},
        {"minutes": 10.0, "accuracy": 0.75},
    ]
    settings = {"layout": "C8 G", "width": 0.5}
    results = {"settings": settings, "contenders": {"relu": rows}}
    axis = accuracy.draw(results).axes[0]
    np.testing.assert_array_equal(
        axis.lines[0].get_xydata(), [[5.0, 0.5], [10.0, 0.75]]
    )
    assert axis.get_title() == "CIFAR-10, C8 G, width 0.5"
