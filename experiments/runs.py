"""One run: a recipe trained for some iterations, and what is kept of it."""

import dataclasses
import functools
import hashlib
import importlib
import json
import math
import pathlib
import time
import warnings

import keras
import numpy as np

from benchmarks import frameworks, machine
from examples import training
from keras_snn import callbacks, datasets
from keras_snn.files import replacing
from keras_snn.recipes import Recipe

PROBE = 64  # test samples on which firing rates are measured
# How often they are, first, and until which iteration; then once an epoch. The
# length of a run plays no part, so that a longer one has all of a shorter one.
EVERY, UNTIL = 50, 2000
# A run shorter than an epoch is a look at the beginning of a curve, which an
# accuracy to within three points is enough for.
SHORT_TEST = 1000
FINE = 3000  # iterations kept one by one: all of Tables A6 and A7
COARSE = 25  # of those behind them, so many make one mean
DIGITS = 3  # that are kept of a number
# Read when the code is: the checkout may move on while it runs.
COMMIT = machine.commit(besides="examples/reproduction/results")


@dataclasses.dataclass(frozen=True)
class Run:
    """A recipe, and how far to train it.

    Args:
        recipe: What is trained. Its `epochs` are what its schedule counts on,
            not where the run ends.
        iterations: Where it ends, at least 0: then only the network as it was
            initialized is looked at.
    """

    recipe: Recipe
    iterations: int

    def __post_init__(self):
        if self.iterations < 0:
            raise ValueError(
                "`iterations` must be at least 0. "
                f"Received: iterations={self.iterations}"
            )

    @property
    def key(self):
        """Twelve hexadecimal digits that all runs along one path share.

        The first iterations of a long run are those of a short one, so that
        neither `iterations` counts, nor epochs that no schedule looks at.
        """
        fields = dataclasses.asdict(self.recipe)
        if self.recipe.schedule != "cosine":
            del fields["epochs"]
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __str__(self):
        """The run in a line."""
        x = self.recipe
        neuron = f"({x.k:g}, {x.lam:g}, {x.theta:g})"
        surrogate = x.surrogate if x.a is None else f"{x.surrogate}({x.a:g})"
        return (
            f"{self.key}  {x.dataset} {x.encoder or 'events'} {x.network} "
            f"{neuron} {surrogate} {x.optimizer} "
            f"{x.normalization or ''}{' ' * bool(x.normalization)}"
            f"{x.initializer} seed {x.seed}, {self.iterations} iterations"
        )


class _Watch(keras.callbacks.Callback):
    """Keeps what happens, saves it, and stops at the end or a lost loss."""

    def __init__(self, run, steps, history, folder, probe):
        super().__init__()
        self.run, self.steps, self.history = run, steps, history
        self.folder, self.probe = folder, probe
        self.means = callbacks.IterationHistory()
        self.start = time.perf_counter() - history["seconds"]

    @property
    def done(self):
        """Iterations so far."""
        return len(self.history["loss"])

    def on_train_begin(self, logs=None):
        self.means.on_train_begin(logs)
        if not self.done:
            self.measure()

    def on_epoch_begin(self, epoch, logs=None):
        self.means.on_epoch_begin(epoch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self.means.on_train_batch_end(batch, logs)
        for key in ("loss", "accuracy"):
            self.history[key].append(self.means.history[key][-1])
        over = self.done >= self.run.iterations
        # From a loss that is no number any more no training comes back.
        if over or not math.isfinite(self.history["loss"][-1]):
            self.model.stop_training = True
        early = self.done <= UNTIL and self.done % EVERY == 0
        if over or early or self.done % self.steps == 0:
            self.measure()

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 (Keras's)
        self.history["tested"].append([self.done, float(logs["val_accuracy"])])
        self.history["seconds"] = time.perf_counter() - self.start
        whole = self.done % self.steps == 0 and self.done < self.run.iterations
        if self.folder is not None and whole:
            with replacing(self.folder / "progress.json") as partial:
                partial.write_text(json.dumps(self.history))
            with replacing(self.folder / "checkpoint.keras") as partial:
                self.model.save(partial)

    def measure(self):
        """Adds the firing rates of now."""
        rates = callbacks.firing_rates(
            self.model, self.probe, self.run.recipe.batch_size
        )
        self.history["rates"]["iteration"].append(self.done)
        for layer, (rate, _) in rates.items():
            self.history["rates"].setdefault(layer, []).append(rate)


def train(run, data_dir=None, checkpoints=None):
    """Trains one run to its end.

    Args:
        run: A `Run`.
        data_dir: Folder of the data, or `None` for the usual one.
        checkpoints: Folder for what a run longer than an epoch goes on from, if
            it was killed; `None` for none.

    Returns:
        The run's record, a dictionary that JSON knows.
    """
    recipe = run.recipe
    (x_train, y_train), (x_test, y_test) = _data(_source(recipe), data_dir)
    steps = len(recipe.batches(x_train, y_train))
    if run.iterations > recipe.epochs * steps:
        raise ValueError(
            f"`iterations` must be at most {recipe.epochs * steps:,}, the "
            f"{recipe.epochs} epochs of {len(x_train):,} training samples. "
            f"Received: {run.iterations:,}"
        )
    if recipe.dataset in datasets.EVENTS:  # which come class by class
        mixed = np.random.default_rng(0).permutation(len(x_test))
        x_test, y_test = x_test[mixed], y_test[mixed]
    if run.iterations < steps:
        x_test, y_test = x_test[:SHORT_TEST], y_test[:SHORT_TEST]
    # Weights come from the recipe's seed; this is for all that has none.
    keras.utils.set_random_seed(recipe.seed)
    folder = checkpoints and checkpoint_folder(run, checkpoints)
    model, history = _begun(folder, steps)
    if model is None:
        model = recipe.build(x_train.shape[-3:], steps)
    probe = x_test[:PROBE]
    if recipe.dataset in datasets.EVENTS:  # counts, of any integer dtype
        probe = probe.astype("float32")
    watch = _Watch(run, steps, history, folder, probe)
    done = watch.done
    if done < run.iterations:
        model.fit(
            recipe.batches(x_train, y_train, first_epoch=done // steps),
            epochs=math.ceil(run.iterations / steps),
            initial_epoch=done // steps,
            shuffle=False,  # the order of the batches is the recipe's
            validation_data=datasets.batches(
                x_test, y_test, recipe.batch_size, shuffle=False
            ),
            callbacks=[callbacks.EpochSeeds(recipe.seed), watch],
            verbose=0,
        )
    elif not done:
        watch.set_model(model)
        watch.measure()
    return record(run, history, len(x_train), len(x_test))


def checkpoint_folder(run, checkpoints):
    """Where a run saves what it goes on from.

    Runs of another length or backend go on from something else.
    """
    name = f"{run.key}-{run.iterations}-{keras.config.backend()}"
    return pathlib.Path(checkpoints) / name


def _source(recipe):
    """The recipe with all that its data do not depend on as by default."""
    fields = ("dataset", "encoder", "timesteps")
    fields += ("by", "crop", "downsample", "binary")
    return Recipe(**{name: getattr(recipe, name) for name in fields})


@functools.lru_cache(maxsize=2)
def _data(recipe, data_dir):
    return recipe.load(data_dir)


def _begun(folder, steps):
    """Model and history of a run that was killed, or none and an empty one."""
    history = {
        "loss": [],
        "accuracy": [],
        "tested": [],
        "rates": {"iteration": []},
        "seconds": 0.0,
    }
    if folder is None or not (folder / "checkpoint.keras").exists():
        return None, history
    try:
        model = keras.models.load_model(folder / "checkpoint.keras")
        before = json.loads((folder / "progress.json").read_text())
        return model, _until(before, int(model.optimizer.iterations), steps)
    # Keras, JSON and the file system have errors of their own for damage.
    except Exception as error:
        warnings.warn(
            f"`{folder}` is damaged, so that the run begins anew. "
            f"Received: {type(error).__name__}: {error}",
            stacklevel=2,
        )
        return None, history


def _until(history, done, steps):
    """A history as it was at the end of an epoch.

    It is written before the model, and may be ahead by an epoch.
    """
    if done % steps or len(history["loss"]) < done:
        raise ValueError(
            f"{len(history['loss'])} iterations of history, {done} of training "
            f"in epochs of {steps}"
        )
    kept = sum(at <= done for at in history["rates"]["iteration"])
    return {
        "loss": history["loss"][:done],
        "accuracy": history["accuracy"][:done],
        "tested": [x for x in history["tested"] if x[0] <= done],
        "rates": {name: x[:kept] for name, x in history["rates"].items()},
        "seconds": history["seconds"],
    }


def record(run, history, train_samples, test_samples):
    """What is kept of a run.

    Args:
        run: The `Run`.
        history: Its loss and accuracy of every iteration, tests, firing rates
            and seconds.
        train_samples: How many training samples there were.
        test_samples: How many test samples.

    Returns:
        A dictionary. `loss` and `accuracy` have one number for each of the
        first `FINE` iterations, `later` the means of `COARSE` each of those
        behind them, the last of what is left; `tested` pairs of an iteration
        and the number of test samples that were right; `lost` the iteration at
        which the loss was no number any more.
    """
    versions = training.versions()
    backend = versions.pop("backend")
    versions[backend] = importlib.import_module(backend).__version__
    loss, accuracy = (np.array(history[x]) for x in ("loss", "accuracy"))
    lost = np.flatnonzero(~np.isfinite(loss))
    if len(lost):
        loss, accuracy = loss[: lost[0]], accuracy[: lost[0]]
    return {
        "key": run.key,
        "recipe": dataclasses.asdict(run.recipe),
        "iterations": run.iterations,
        "lost": int(lost[0]) + 1 if len(lost) else None,
        "to_60": training.iterations_to(accuracy),
        "train_samples": train_samples,
        "test_samples": test_samples,
        "tested": [
            [at, round(x * test_samples)] for at, x in history["tested"]
        ],
        "rates": {
            name: values if name == "iteration" else _short(values)
            for name, values in history["rates"].items()
        },
        "loss": _short(loss[:FINE]),
        "accuracy": _short(accuracy[:FINE]),
        "later": {
            "every": COARSE,
            "loss": _means(loss[FINE:]),
            "accuracy": _means(accuracy[FINE:]),
        },
        "seconds": round(history["seconds"], 1),
        "backend": backend,
        "versions": versions,
        **where(),
    }


def _short(values):
    return [float(f"{x:.{DIGITS}g}") for x in values]


def _means(values):
    starts = range(0, len(values), COARSE)
    return _short(values[x : x + COARSE].mean() for x in starts)


def where():
    """Device, cores, commit of the code that runs, and time."""
    found = machine.describe()
    return {
        "device": device() or found["cpu"],
        "cores": found["cores"],
        "commit": COMMIT,
        "time": found["time"],
    }


def device():
    """The name of the accelerator that Keras's backend uses, or `None`."""
    found = frameworks.FRAMEWORKS[keras.config.backend()]().device()
    return None if found == "cpu" else found
