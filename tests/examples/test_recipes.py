"""The recipes augment, keep their accuracy, stop in time and can be resumed."""

import json
import pathlib
import re
import types

import cifar10
import dvs
import epoch_time
import keras
import numpy as np
import pytest
from shared import shared

from keras_snn import datasets
from keras_snn.layers import LIF

# Keras asks JAX for int64.
without_int64 = pytest.mark.filterwarnings(
    "ignore:.*Explicitly requested dtype int64:UserWarning"
)


@pytest.fixture
def clock(tmp_path, monkeypatch):
    """A `Clock` of 10 epochs or 2 minutes, and the time that it sees."""
    now = types.SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(cifar10.time, "perf_counter", lambda: now.seconds)
    clock = cifar10.Clock(0.5, 10, 2.0, tmp_path / "cifar10.json", {})
    optimizer = types.SimpleNamespace(learning_rate=None)
    clock.set_model(
        types.SimpleNamespace(optimizer=optimizer, stop_training=False)
    )
    return clock, now


def end_epoch(clock, epoch, accuracy):
    clock.on_test_begin()
    clock.on_epoch_end(epoch, {"loss": 1.0, "val_accuracy": accuracy})


def test_the_learning_rate_lies_on_a_cosine(clock):
    clock, now = clock
    rate = []
    for epoch, seconds in enumerate([0, 30, 30]):
        now.seconds += seconds
        clock.on_epoch_begin(epoch)
        rate.append(clock.model.optimizer.learning_rate)
        now.seconds += 10
        end_epoch(clock, epoch, 0.1)
    # After 10 seconds of 2 minutes, 1 of 10 epochs has passed, and so on.
    done = np.array([0, 1 / 10, 2 / 10])
    np.testing.assert_allclose(rate, 0.25 * (1 + np.cos(np.pi * done)))


def test_minutes_end_the_training_and_leave_out_the_tests(clock):
    clock, now = clock
    clock.on_epoch_begin(0)
    now.seconds += 60
    clock.on_train_batch_end(0)
    clock.on_test_begin()
    now.seconds += 300
    clock.on_epoch_end(0, {"loss": 1.0, "val_accuracy": 0.5})
    clock.on_epoch_begin(1)
    # 1 of 2 minutes: half of the cosine.
    assert clock.model.optimizer.learning_rate == pytest.approx(0.25)
    now.seconds += 59
    clock.on_train_batch_end(0)
    assert not clock.model.stop_training
    now.seconds += 1
    clock.on_train_batch_end(1)
    assert clock.model.stop_training
    end_epoch(clock, 1, 0.75)
    stored = json.loads(clock.path.read_text())["rows"]
    assert [row["minutes"] for row in stored] == [1, 2]
    assert [row["test_accuracy"] for row in stored] == [0.5, 0.75]


def test_a_run_does_not_go_on_with_other_settings(clock):
    clock, _ = clock
    clock.on_epoch_begin(0)
    end_epoch(clock, 0, 0.5)
    again = cifar10.Clock(0.5, 10, 2.0, clock.path, {})
    assert again.rows == clock.rows
    with pytest.raises(SystemExit, match="holds a run with"):
        cifar10.Clock(0.5, 10, 2.0, clock.path, {"seed": 1})
    with pytest.raises(SystemExit, match="--epochs must be at least 1, the"):
        cifar10.Clock(0.5, 0, 2.0, clock.path, {})


@pytest.mark.parametrize("flag", ["--epochs", "--minutes"])
def test_a_run_needs_something_to_train(run, tmp_path, capsys, flag):
    with pytest.raises(SystemExit):
        run("cifar10", flag, 0, "--out", tmp_path / "new")
    assert f"error: {flag} must be" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@without_int64
@pytest.mark.slow  # compiles the augmentation
def test_augmented_images_are_intensities_and_labels_are_mixtures(few_images):
    (x, y), _ = datasets.load()
    x[:3] = np.array([0, 255, 7])[:, None, None, None]
    batches = datasets.batches(x, y, 10)
    augmented = cifar10.Augmented(batches, 0)
    found = [augmented[i] for _ in range(4) for i in range(2)]
    for images, labels in found:
        assert images.shape == (10, 32, 32, 3)
        assert images.min() >= 0
        assert images.max() <= 1
        np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)
        assert ((labels > 0).sum(1) <= 2).all()
    assert any((labels.max(1) < 1).any() for _, labels in found)


@without_int64
@pytest.mark.slow  # compiles the augmentation
def test_no_two_epochs_augment_alike(few_images):
    (x, _), _ = datasets.load()
    augmentation = cifar10.Augmentation()
    first, second = (augmentation.predict_on_batch(x) for _ in range(2))
    assert abs(first - second).max() > 0.1


@without_int64
@pytest.mark.slow  # compiles network and augmentation
def test_a_killed_run_on_cifar10_goes_on(
    run, few_images, tmp_path, monkeypatch
):
    flags = ["--network", "vgg", "--width", 0.05, "--batch-size", 10]
    flags += ["--epochs", 3, "--out", tmp_path, "--dtype", "mixed_bfloat16"]
    backup = keras.callbacks.BackupAndRestore

    class Killed(backup):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            if epoch == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(keras.callbacks, "BackupAndRestore", Killed)
    with pytest.raises(KeyboardInterrupt):
        run("cifar10", *flags)
    first = json.loads((tmp_path / "cifar10.json").read_text())["rows"]
    monkeypatch.setattr(keras.callbacks, "BackupAndRestore", backup)
    run("cifar10", *flags)
    rows = json.loads((tmp_path / "cifar10.json").read_text())["rows"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[:2] == first
    assert rows[2]["minutes"] > rows[1]["minutes"]
    assert not (tmp_path / "cifar10_backup").exists()
    assert keras.saving.load_model(tmp_path / "cifar10.keras").count_params()
    with pytest.raises(SystemExit):  # a folder holds one run
        run("cifar10", *flags)


@without_int64
@pytest.mark.slow  # compiles network and augmentation
@pytest.mark.parametrize(
    "limit", [["--epochs", 1], ["--minutes", 1e-9]], ids=["epochs", "minutes"]
)
def test_a_run_killed_after_its_last_epoch_is_saved(
    run, few_images, tmp_path, monkeypatch, limit
):
    flags = ["--network", "vgg", "--width", 0.05, "--batch-size", 10]
    flags += [*limit, "--out", tmp_path]
    trained = []

    def killed(model, path):
        trained.extend(model.get_weights())
        path.write_text("half a file")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            run("cifar10", *flags)
    assert not (tmp_path / "cifar10.keras").exists()
    rows = (tmp_path / "cifar10.json").read_text()
    run("cifar10", *flags)
    assert (tmp_path / "cifar10.json").read_text() == rows
    model = keras.saving.load_model(tmp_path / "cifar10.keras")
    for weight, expected in zip(model.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert not (tmp_path / "cifar10_backup").exists()


@pytest.mark.slow  # ten seconds on JAX
def test_the_networks_of_the_recipe_have_the_depth_of_their_names():
    for name, convolutions in ("vgg", 13), ("resnet18", 20):
        model = cifar10.network(name, width=1 / 32)
        # Three shortcuts of the ResNet have a convolution, too.
        kernels = [x for x in model.weights if len(x.shape) == 4]
        assert len(kernels) == convolutions
        assert model.output_shape == (None, 10)


@pytest.fixture
def shd(tmp_path, monkeypatch, rng):
    """A folder like that of SHD: low channels (4), high channels (11)."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    for part, number in ("train", 64), ("test", 10):
        labels = np.tile([4, 11], number // 2)
        with h5py.File(tmp_path / f"shd_{part}.h5", "w") as file:
            file["labels"] = labels.astype("u2")
            for name, dtype in ("times", "f2"), ("units", "u2"):
                kind = h5py.vlen_dtype(dtype)
                rows = file.create_dataset(f"spikes/{name}", (number,), kind)
                for i, label in enumerate(labels):
                    drawn = rng.uniform(0, 1, 600)
                    low = 50 if label == 4 else 350
                    values = drawn if name == "times" else low + 300 * drawn
                    rows[i] = values.astype(dtype)
    return tmp_path


@pytest.mark.slow
def test_spoken_digits_learns_low_and_high_voices(run, shd, capsys):
    flags = ["--data-dir", shd, "--units", 32, "--batch-size", 16]
    run("spoken_digits", *flags, "--epochs", 25)
    found = re.findall("val_accuracy: ([0-9.]+)", capsys.readouterr().out)
    assert len(found) == 25
    assert float(found[-1]) == 1


def test_spoken_digits_says_where_the_data_is(run, tmp_path):
    (tmp_path / "shd_train.h5.gz").touch()
    with pytest.raises(SystemExit, match="from https://zenkelab.org/datasets/"):
        run("spoken_digits", "--data-dir", tmp_path)


@pytest.mark.parametrize("flip", [False, True])
def test_all_frames_of_a_recording_move_together(flip, rng):
    frames = np.zeros((8, 3, 64, 64, 2), "float32")
    # Pixels in the middle: neither a shift nor an edge loses them.
    frames[:, :, 20:44, 20:44] = rng.integers(1, 5, (8, 3, 24, 24, 2))
    layers = dvs.augmentation(3, flip)
    found = frames
    for layer in layers:
        found = layer(found, training=True)
    found = keras.ops.convert_to_numpy(found)
    assert found.shape == frames.shape
    moved = 0
    for before, after in zip(frames, found, strict=True):
        kept = after > 0
        # A rectangle is emptied at all timesteps, for both polarities.
        assert (kept == kept[:1, :, :, :1]).all()
        candidates = [
            (across, down)
            for mirrored in ([before, before[:, :, ::-1]] if flip else [before])
            for down in range(-5, 6)
            for across in range(-5, 6)
            if np.array_equal(
                np.roll(mirrored, (down, across), (1, 2))[kept], after[kept]
            )
        ]
        assert len(candidates) == 1
        moved += candidates[0] != (0, 0)
    assert moved >= 4


@pytest.mark.slow  # reads 128x128 pixels
def test_the_recipe_runs_on_recordings_of_gestures(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    for path in sorted(shared("events/dvs_gesture").glob("*.bin")):
        for split in "Train", "Test":
            folder = tmp_path / split / str(int(path.stem))
            folder.mkdir(parents=True)
            (folder / path.name).write_bytes(path.read_bytes())
    flags = ["--width", 0.05, "--timesteps", 4, "--batch-size", 5]
    run("dvs", "--data-dir", tmp_path, *flags, "--epochs", 2)
    assert capsys.readouterr().out.count("val_accuracy: ") == 2


@pytest.mark.slow  # counts the operations of four networks
def test_the_page_has_the_table_that_the_script_prints(run, capsys):
    run("epoch_time")
    rows = capsys.readouterr().out.splitlines()
    root = pathlib.Path(epoch_time.__file__).parents[1]
    page = (root / "docs" / "recipes.md").read_text("utf-8")
    assert len(rows) == 2 + 4
    assert "\n".join(rows) in page


def test_bytes_and_time_follow_from_the_size_of_the_network():
    model = keras.Sequential(
        [
            keras.Input((4, 4, 4, 2)),
            keras.Sequential([keras.layers.BatchNormalization()]),
            LIF(),
            keras.layers.Flatten(),
        ]
    )
    # 128 values of two bytes: eight times for normalization, six times for the
    # neurons.
    assert epoch_time.moved_bytes(model) == 128 * 2 * (8 + 6)
    # 10 samples of 2 MACs: 120 operations at 60 per second take 2 s. 10 times
    # 6 bytes at 20 bytes per second take 3 s.
    assert epoch_time.predicted_seconds(10, 2, 6, 60, 20) == 5
