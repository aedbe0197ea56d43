"""Trains one run. A killed run resumes from its checkpoint."""

import json
import math
import pathlib
import time
import warnings

import keras
import numpy as np

from experiments import environment
from experiments.recipes import Recipe
from experiments.records import Record
from keras_snn import callbacks, datasets
from keras_snn.files import replacing

__all__ = ["Trainer"]

PROBE = 64  # test samples on which the firing rates are measured
# Rates are measured every 50 iterations up to 2000, then once per epoch. This
# does not depend on the length of the run, so a longer run contains a shorter
# one.
EVERY, UNTIL = 50, 2000
# A run shorter than an epoch shows the beginning of a curve, where an accuracy
# within three points is enough.
SHORT_TEST = 1000
FINE = 3000  # iterations stored one by one: enough for Tables A6 and A7
COARSE = 25  # later iterations per stored mean
DIGITS = 3  # significant digits of a stored number


class Trainer:
    """Trains a recipe for a number of iterations.

    The constructor checks the recipe by building all that training needs.

    Args:
        recipe: The recipe.
        data: `(x_train, y_train), (x_test, y_test)`, from `recipe.load`.
        iterations: Where to stop. `None` trains to the end of the last epoch. 0
            only measures the untrained network.
        folder: Folder for `log.jsonl` and for a checkpoint after every epoch,
            from which a killed run resumes. `None` writes neither.

    Raises:
        ValueError: If the recipe or `iterations` is out of range, or `folder`
            holds a run of another length that ended within an epoch.
    """

    def __init__(self, recipe: Recipe, data, iterations=None, folder=None):
        self.recipe = recipe
        self.train_data, (x, y) = data
        self.steps = len(recipe.batches(*self.train_data))
        most = recipe.training.epochs * self.steps
        self.iterations = most if iterations is None else iterations
        if self.iterations > most:
            raise ValueError(
                f"`iterations` must be at most {most:,}, which all epochs "
                f"take. Received: {self.iterations:,}"
            )
        events = datasets.INFO[recipe.data["name"]].events
        rows = np.arange(len(x))
        if events:  # recordings are sorted by class
            rows = np.random.default_rng(0).permutation(rows)
        if self.iterations < self.steps:
            rows = rows[:SHORT_TEST]
        self.test_data = x[rows], y[rows]
        probe = self.test_data[0][:PROBE]
        # Not every backend accepts the integer dtypes of counts.
        self.probe = probe.astype("float32") if events else probe
        # The model's generators have the recipe's seed. This one seeds all
        # others, such as that of an initializer without a seed.
        keras.utils.set_random_seed(recipe.seed)
        self.folder = None if folder is None else pathlib.Path(folder)
        self.history = {x: [] for x in ("loss", "accuracy", "tested")}
        self.history |= {"rates": {"iteration": []}, "seconds": 0.0}
        self.model = self._resume()
        if self.model is None:
            self.model = recipe.build(self.train_data[0].shape[-3:], self.steps)
        if self.done > self.iterations:
            raise ValueError(
                f"`iterations` must be at least {self.done:,}, which "
                f"`{folder}` holds. Received: {self.iterations:,}"
            )

    @property
    def done(self) -> int:
        """Number of iterations so far."""
        return len(self.history["loss"])

    def run(self, verbose: str | int = 0, watchers=()) -> Record:
        """Trains to the end.

        Args:
            verbose: Verbosity of `fit`.
            watchers: Further callbacks of `fit`.
        """
        means = callbacks.IterationHistory()
        watch = _Watch(self, means)
        if not self.done:
            watch.measure()
        if self.done < self.iterations:
            seed, batch_size = self.recipe.seed, self.recipe.training.batch_size
            watchers = [callbacks.EpochSeeds(seed), means, watch, *watchers]
            if self.folder:
                watchers += [
                    callbacks.EpochLog(self.folder / "log.jsonl"),
                    callbacks.Checkpoint(self.folder / "checkpoint.keras"),
                ]
            epoch = self.done // self.steps
            test = datasets.batches(*self.test_data, batch_size, shuffle=False)
            self.model.fit(
                self.recipe.batches(*self.train_data, first_epoch=epoch),
                epochs=math.ceil(self.iterations / self.steps),
                initial_epoch=epoch,
                shuffle=False,  # the batches are shuffled already
                validation_data=test,
                callbacks=watchers,
                verbose=verbose,
            )
        samples = len(self.train_data[0]), len(self.test_data[0])
        return make_record(self.recipe, self.iterations, self.history, *samples)

    def _resume(self) -> keras.Model | None:
        """Reads the model and history of a killed run, if there is one."""
        checkpoint = self.folder and self.folder / "checkpoint.keras"
        if not checkpoint or not checkpoint.exists():
            return None
        try:
            model = keras.models.load_model(checkpoint)
            history = json.loads((self.folder / "progress.json").read_text())
            done = int(model.optimizer.iterations)
            self.history = self._cut(history, done)
        # Keras, JSON and the file system raise different errors for damage.
        except Exception as error:
            warnings.warn(
                f"`{self.folder}` cannot be resumed. The run starts from the "
                f"beginning. Received: {type(error).__name__}: {error}",
                stacklevel=3,
            )
            return None
        if done % self.steps and done != self.iterations:
            raise ValueError(
                f"`iterations` must be {done:,}, where the run in "
                f"`{self.folder}` ended within an epoch. "
                f"Received: {self.iterations:,}"
            )
        return model

    def _cut(self, history, done):
        """Cuts a history, which may be an epoch ahead of its checkpoint."""
        there = len(history["loss"])
        if there < done:
            raise ValueError(
                f"{done} iterations of training, {there} of history"
            )
        kept = sum(at <= done for at in history["rates"]["iteration"])
        return {
            "loss": history["loss"][:done],
            "accuracy": history["accuracy"][:done],
            "tested": [x for x in history["tested"] if x[0] <= done],
            "rates": {name: x[:kept] for name, x in history["rates"].items()},
            "seconds": history["seconds"],
        }


class _Watch(keras.callbacks.Callback):
    """Fills and saves a trainer's history, and stops its training."""

    def __init__(self, trainer, means):
        super().__init__()
        self.trainer, self.means = trainer, means
        self.history = trainer.history
        self.start = time.perf_counter() - self.history["seconds"]
        options = {"batch_size": trainer.recipe.training.batch_size}
        self.monitor = callbacks.FiringRateMonitor(trainer.probe, **options)
        self.monitor.set_model(trainer.model)

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        """Keeps loss and accuracy, measures, and stops."""
        for name in ("loss", "accuracy"):
            self.history[name].append(self.means.history[name][-1])
        done = self.trainer.done
        over = done >= self.trainer.iterations
        # Training does not recover from a NaN loss.
        if over or not math.isfinite(self.history["loss"][-1]):
            self.trainer.model.stop_training = True
        early = done <= UNTIL and done % EVERY == 0
        if over or early or done % self.trainer.steps == 0:
            self.measure()

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        """Keeps the test accuracy, and writes the history to its file."""
        hits = round(logs["val_accuracy"] * len(self.trainer.test_data[0]))
        self.history["tested"].append([self.trainer.done, hits])
        self.history["seconds"] = time.perf_counter() - self.start
        for layer, rates in self.history["rates"].items():
            if layer != "iteration":
                logs[f"{layer}_firing_rate"] = rates[-1]
        if self.trainer.folder is not None:
            with replacing(self.trainer.folder / "progress.json") as partial:
                partial.write_text(json.dumps(self.history))

    def measure(self):
        """Adds the current firing rates."""
        rates = self.history["rates"]
        rates["iteration"].append(self.trainer.done)
        for name, rate in self.monitor.measure().items():
            layer = name.removesuffix("_firing_rate")
            if layer != name:
                rates.setdefault(layer, []).append(rate)


def make_record(recipe, iterations, history, train_samples, test_samples):
    """Makes the record of a finished run.

    Args:
        recipe: The recipe.
        iterations: Where the run was to end.
        history: Loss and accuracy of every iteration, tests, firing rates and
            seconds.
        train_samples: Number of training samples.
        test_samples: Number of test samples.
    """
    loss, accuracy = np.array(history["loss"]), np.array(history["accuracy"])
    lost = np.flatnonzero(~np.isfinite(loss))
    if len(lost):
        loss, accuracy = loss[: lost[0]], accuracy[: lost[0]]
    there = np.flatnonzero(accuracy >= 0.6)
    return Record(
        recipe=recipe,
        iterations=iterations,
        lost=int(lost[0]) + 1 if len(lost) else None,
        to_60=int(there[0]) + 1 if len(there) else None,
        train_samples=train_samples,
        test_samples=test_samples,
        tested=history["tested"],
        rates={
            name: values if name == "iteration" else _round(values)
            for name, values in history["rates"].items()
        },
        loss=_round(loss[:FINE]),
        accuracy=_round(accuracy[:FINE]),
        later={
            "every": COARSE,
            "loss": _means(loss[FINE:]),
            "accuracy": _means(accuracy[FINE:]),
        },
        seconds=round(history["seconds"], 1),
        **environment.describe(),
    )


def _round(values):
    return [float(f"{x:.{DIGITS}g}") for x in values]


def _means(values):
    starts = range(0, len(values), COARSE)
    return _round(values[x : x + COARSE].mean() for x in starts)
