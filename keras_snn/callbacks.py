"""Callbacks that monitor, save and reproduce training."""

import collections.abc
import json
import os
import pathlib
import time

import keras
import numpy as np

from keras_snn.files import replacing
from keras_snn.layers.walk import walk
from keras_snn.models.rates import (
    Batches,
    FiringRates,
    firing_rates,
    rate_and_silent,
)
from keras_snn.validation import check_choice, check_count, check_seed

__all__ = [
    "Checkpoint",
    "EpochLog",
    "EpochSeeds",
    "FiringRateMonitor",
    "IterationHistory",
    "firing_rates",
    "reseed",
]


class FiringRateMonitor(keras.callbacks.Callback):
    """Logs the firing rate of every layer of neurons.

    After every epoch it adds two values per layer to the logs:
    `<layer>_firing_rate` (mean spikes per neuron and timestep) and
    `<layer>_silent_fraction` (fraction of neurons that emit no spike for `x`).
    Put it before `CSVLogger` and `TensorBoard` in the list of callbacks, so
    that they see these values. With `log_dir`, it writes for TensorBoard
    itself, in any order of callbacks.

    It measures in inference, like Keras's `val_` metrics. With `training=True`
    it measures in training, and all keys start with `training_`. A list of
    callbacks may hold one monitor of each mode. `firing_rates` says how the
    modes differ.

    Args:
        x: Inputs to measure on, as `firing_rates` takes them. A few dozen
            samples are enough. A generator is refused, because the monitor
            reads `x` at every measurement.
        every: Iterations between two measurements, or `None` for one per epoch.
        batch_size: Samples per call of the model, at least 1. `None` means 32.
            It must be `None` if `x` comes in batches.
        training: Whether the model runs in training instead of inference.
        log_dir: Folder for TensorBoard, or `None`. Every measurement writes the
            two values of each layer there, and the distribution of the firing
            rates of its neurons. Every `fit` starts again at iteration 0, so
            give each a folder of its own. It needs the package `tensorboard`.

    Attributes:
        history: Dictionary of lists under `"iteration"` and the two keys of
            every layer. There is one entry per measurement. The first
            measurement is made before training.

    Example:
    >>> from keras_snn.models import five_layer_snn
    >>> model = five_layer_snn((8, 8, 1), timesteps=2)
    >>> monitor = FiringRateMonitor(np.ones((1, 8, 8, 1), "float32"))
    >>> monitor.set_model(model)
    >>> list(monitor.measure())[:2]
    ['lif1_firing_rate', 'lif1_silent_fraction']
    """

    def __init__(
        self, x, every=None, batch_size=None, training=False, log_dir=None
    ):
        super().__init__()
        if log_dir is not None and (
            not isinstance(log_dir, (str, os.PathLike)) or not str(log_dir)
        ):
            raise TypeError(
                f"`log_dir` must be a path or `None`. Received: {log_dir!r}"
            )
        self._writer = None if log_dir is None else _EventWriter(log_dir)
        if every is not None:
            every = check_count("every", every)
        if isinstance(x, collections.abc.Iterator):
            raise ValueError(
                "`x` must be readable more than once: pass an array or a "
                f"dataset. Received: a {type(x).__name__}"
            )
        self.every = every
        self.training = check_choice("training", training, (False, True))
        self.history = {}
        self._batches = Batches(x, batch_size)

    def set_model(self, model):
        """Builds the model that measures the rates."""
        super().set_model(model)
        self._rates = FiringRates(model, self.training)

    def measure(self):
        """Measures the model now and returns a dictionary of logs."""
        return _logs(self._neurons())

    def _neurons(self):
        """Returns the firing rate of every neuron, an array per layer."""
        # On JAX, reading `model` during `fit` updates its weights.
        assert self.model is not None
        mode = "training_" if self.training else ""
        found = self._rates.of_neurons(self._batches)
        return {f"{mode}{name}": rates for name, rates in found.items()}

    def _record(self):
        neurons = self._neurons()
        logs = _logs(neurons)
        if self._writer is not None:
            self._writer.write(self._iteration, logs, neurons)
        for key, value in ({"iteration": self._iteration} | logs).items():
            self.history.setdefault(key, []).append(value)
        return logs

    def on_train_begin(self, logs=None):
        """Measures the network before training."""
        self.history.clear()
        if self._writer is not None:
            self._writer.open()
        self._iteration = self._before_epoch = 0
        self._record()

    def on_epoch_begin(self, epoch, logs=None):
        """Keeps the number of iterations before this epoch."""
        self._before_epoch = self._iteration

    def on_train_batch_end(self, batch, logs=None):
        """Measures every `every` iterations."""
        last = self._iteration
        self._iteration = self._before_epoch + _ended(self, batch)
        if self.every and self._iteration // self.every > last // self.every:
            self._record()

    def on_epoch_end(self, epoch, logs=None):
        """Measures, unless this iteration has been measured, and logs."""
        if self.history["iteration"][-1] != self._iteration:
            self._record()
        if logs is not None:
            last = {key: values[-1] for key, values in self.history.items()}
            del last["iteration"]
            logs.update(last)

    def on_train_end(self, logs=None):
        """Closes TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()


def _logs(neurons):
    """Returns the two values of every layer."""
    logs = {}
    for name, rates in neurons.items():
        rate, silent = rate_and_silent(rates)
        logs[f"{name}_firing_rate"] = rate
        logs[f"{name}_silent_fraction"] = silent
    return logs


class _EventWriter:
    """Writes what TensorBoard shows, without TensorFlow."""

    def __init__(self, folder):
        try:
            from tensorboard.compat.proto import event_pb2
            from tensorboard.plugins.histogram import summary_v2 as histogram
            from tensorboard.plugins.scalar import summary_v2 as scalar
            from tensorboard.summary.writer import event_file_writer
        except ImportError:
            raise ImportError(
                "`log_dir` needs the package `tensorboard`. Install it with "
                "`pip install tensorboard`."
            ) from None
        self._event = event_pb2.Event
        self._scalar, self._histogram = scalar.scalar_pb, histogram.histogram_pb
        self._open = event_file_writer.EventFileWriter
        self._folder, self._file = os.fspath(folder), None

    def open(self):
        self._file = self._open(self._folder)

    def write(self, iteration, logs, neurons):
        """Writes a measurement.

        Args:
            iteration: Number of iterations before it.
            logs: Dictionary of numbers.
            neurons: Dictionary of arrays of firing rates.
        """
        summaries = [self._scalar(name, value) for name, value in logs.items()]
        for name, rates in neurons.items():
            if np.isfinite(rates).all():
                tag = f"{name}_firing_rates_of_neurons"
                summaries.append(self._histogram(tag, rates.ravel()))
        for summary in summaries:
            now = time.time()
            event = self._event(wall_time=now, step=iteration, summary=summary)
            self._file.add_event(event)
        self._file.flush()  # An interrupted `fit` does not close the file.

    def close(self):
        self._file.close()
        self._file = None  # It cannot be copied.


def _ended(callback, batch):
    """Returns how many iterations of this epoch have ended.

    With `steps_per_execution`, `batch` may lie beyond the end of the epoch.
    """
    steps = (callback.params or {}).get("steps") or batch + 1
    return min(batch + 1, steps)


class IterationHistory(keras.callbacks.Callback):
    """Keeps the loss and the metrics of every iteration.

    Keras logs running means over the epoch. This callback recovers the value of
    each batch, for means over samples, such as loss and accuracy. The means are
    float32, so their rounding errors grow with the iteration: after 4,000
    iterations, to about 1e-3 for a loss of 5. If the last batch of an epoch is
    smaller, its value is wrong.

    Attributes:
        history: Dictionary of lists, one entry per iteration. With
            `steps_per_execution`, Keras reports several iterations at once.
            There is one entry for them, their mean.
    """

    def __init__(self):
        super().__init__()
        self.history = {}

    def on_train_begin(self, logs=None):
        """Clears the history."""
        self.history.clear()

    def on_epoch_begin(self, epoch, logs=None):
        """Restarts, as Keras's running means do."""
        self._totals, self._ended = {}, 0

    def on_train_batch_end(self, batch, logs=None):
        """Recovers the value of the batch from two running means."""
        ended = _ended(self, batch)
        for key, mean in (logs or {}).items():
            total = float(mean) * ended
            value = (total - self._totals.get(key, 0.0)) / (ended - self._ended)
            self._totals[key] = total
            self.history.setdefault(key, []).append(value)
        self._ended = ended


class Checkpoint(keras.callbacks.Callback):
    """Saves the model with its optimizer after every epoch.

    Unlike `keras.callbacks.ModelCheckpoint`, it never leaves a half-written
    file. If a run is killed while saving, the file of the previous epoch stays.

    Args:
        path: The `.keras` file. Other suffixes raise a `ValueError`.
    """

    def __init__(self, path):
        super().__init__()
        self.path = pathlib.Path(path)
        if self.path.suffix != ".keras":
            raise ValueError(
                f"`path` must end in '.keras'. Received: path={path!r}"
            )

    def on_epoch_end(self, epoch, logs=None):
        """Saves the model."""
        with replacing(self.path) as partial:
            self.model.save(partial)


class EpochLog(keras.callbacks.Callback):
    """Writes the logs of every epoch to a file, one JSON object per line.

    A resumed run leaves the same file as an uninterrupted one. Lines of epochs
    before the first epoch of `fit` stay, and later lines are dropped.

    Put it after callbacks that add to the logs and before `Checkpoint`. If a
    run is killed between the two, the resumed run rewrites the last line. The
    file is replaced as a whole, so it is never half-written.

    Args:
        path: The `.jsonl` file.
    """

    def __init__(self, path):
        super().__init__()
        self.path = pathlib.Path(path)

    def _lines(self):
        """Returns pairs of an epoch and its line.

        Raises:
            ValueError: If a line was not written by this callback.
        """
        if not self.path.exists():
            return []
        pairs = []
        text = self.path.read_text("utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            try:
                pairs.append((int(json.loads(line)["epoch"]), line))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"Line {number} of `{self.path}` must be the JSON of an "
                    f"epoch: delete it. Received: {line!r}"
                ) from error
        return pairs

    def on_train_begin(self, logs=None):
        """Checks the file before training, not after the first epoch."""
        self._lines()

    def on_epoch_end(self, epoch, logs=None):
        """Writes the line of the epoch. Epochs count from 0."""
        lines = [line for number, line in self._lines() if number < epoch]
        numbers = {key: float(value) for key, value in (logs or {}).items()}
        lines.append(json.dumps({"epoch": epoch} | numbers))
        with replacing(self.path) as partial:
            partial.write_text("\n".join(lines) + "\n")


def reseed(model, seed, epoch):
    """Sets all random generators of a model from a seed and an epoch.

    It sets every `keras.random.SeedGenerator` among the attributes of the
    layers, such as those of `PoissonEncoder` and dropout. On PyTorch it also
    seeds the backend's own generator, which Keras uses for dropout layers
    without a seed.

    Args:
        model: A built `keras.Model`.
        seed: An integer in `[0, 2**31)`.
        epoch: An integer of at least 0.

    Raises:
        TypeError: If `seed` or `epoch` is not an integer.
        ValueError: If one of them is out of range.
    """
    seed = _check_integer_seed(seed)
    epoch = check_count("epoch", epoch, low=0)
    generators = {
        id(x): x
        for layer in walk(model)
        for x in vars(layer).values()
        if isinstance(x, keras.random.SeedGenerator)
    }
    words = np.random.SeedSequence((seed, epoch)).generate_state(
        len(generators) + 1
    )
    # 31 bits, since the state is a signed integer on PyTorch.
    first, *words = (int(word) // 2 for word in words)
    for generator, word in zip(generators.values(), words, strict=True):
        generator.state.assign([word, 0])  # The second number counts draws.
    if keras.config.backend() == "torch":
        import torch

        torch.manual_seed(first)


def _check_integer_seed(seed):
    if seed is None:
        raise TypeError(f"`seed` must be an integer. Received: seed={seed!r}")
    return check_seed(seed)


class EpochSeeds(keras.callbacks.Callback):
    """Makes random numbers depend only on a seed and the epoch.

    It calls `reseed` before every epoch. Combine it with batches whose order
    depends only on the epoch, such as those of `datasets.batches`. Training
    that resumes from a `Checkpoint` (with `initial_epoch`) then gives the same
    result as uninterrupted training. On one machine the results are equal to
    the last bit, if the arithmetic is deterministic, as on CPUs.

    Args:
        seed: An integer in `[0, 2**31)`.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = _check_integer_seed(seed)

    def on_epoch_begin(self, epoch, logs=None):
        """Sets the random generators."""
        reseed(self.model, self.seed, epoch)
