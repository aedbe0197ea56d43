"""Callbacks that monitor, save and reproduce training."""

import collections
import json
import pathlib

import keras
import numpy as np
from keras import ops

from keras_snn.files import replacing
from keras_snn.layers.walk import walk
from keras_snn.models.probe import spiking_outputs
from keras_snn.validation import check_count, check_seed

__all__ = [
    "Checkpoint",
    "EpochLog",
    "EpochSeeds",
    "FiringRateMonitor",
    "IterationHistory",
    "firing_rates",
    "reseed",
]


def firing_rates(model, x, batch_size=32):
    """Measures the firing rate of every layer of neurons, in inference.

    The model stays as it was, including its random generators.

    Args:
        model: A model that `keras_snn.models.probe` takes.
        x: NumPy array of inputs, or a list or dictionary of arrays for a model
            of several inputs.
        batch_size: Samples per call of the model, at least 1.

    Returns:
        Dictionary that maps the names of `probe`, in the order of the network,
        to `(firing_rate, silent_fraction)`: mean spikes per neuron and
        timestep, and the fraction of neurons that emit no spike for `x`.

    Raises:
        ValueError: If `x` is empty, or `probe` does not accept the model.
    """
    return _Rates(model)(x, batch_size)


class _Rates:
    """Measures `firing_rates`, with a model that is built once."""

    def __init__(self, model):
        graph, found = spiking_outputs(model)
        self._steps = {}
        # Keras sorts the keys of plain dictionaries.
        counts = collections.OrderedDict()
        for name, (layer, spikes) in found.items():
            spikes = ops.cast(spikes, "float32")
            self._steps[name] = 1
            if layer.return_sequences:
                # Sums of spikes are exact, means are not.
                self._steps[name] = spikes.shape[1] or 1
                reduce = ops.sum if spikes.shape[1] else ops.mean
                spikes = reduce(spikes, axis=1)
            counts[name] = spikes
        self._counts = keras.Model(graph.input, counts)

    def __call__(self, x, batch_size):
        batch_size = check_count("batch_size", batch_size)
        samples = _check_samples(x)
        state = self._counts.non_trainable_variables
        before = [np.array(variable) for variable in state]
        totals = dict.fromkeys(self._steps, 0.0)
        try:
            for start in range(0, samples, batch_size):
                rows = slice(start, start + batch_size)
                batch = keras.tree.map_structure(lambda x, r=rows: x[r], x)
                for name, count in self._counts.predict_on_batch(batch).items():
                    totals[name] = totals[name] + count.sum(0, dtype="float64")
        finally:
            for variable, value in zip(state, before, strict=True):
                variable.assign(value)
        return {
            name: (
                float(np.mean(total) / (samples * self._steps[name])),
                # NaN where a rate is NaN.
                float(np.mean(np.where(np.isnan(total), total, total == 0))),
            )
            for name, total in totals.items()
        }


def _check_samples(x):
    """Returns the number of samples, which all inputs must share."""
    shapes = [np.shape(each) for each in keras.tree.flatten(x)]
    samples = {shape[0] if shape else 0 for shape in shapes}
    if len(samples) != 1 or 0 in samples:
        raise ValueError(
            "`x` must hold at least one sample, the same number for every "
            f"input. Received: shapes={shapes}"
        )
    return samples.pop()


class FiringRateMonitor(keras.callbacks.Callback):
    """Logs the firing rate of every layer of neurons, in inference.

    After every epoch it adds two values per layer to the logs:
    `<layer>_firing_rate` (mean spikes per neuron and timestep) and
    `<layer>_silent_fraction` (fraction of neurons that emit no spike for `x`).
    Put it before `CSVLogger` and `TensorBoard` in the list of callbacks, so
    that they see these values.

    Args:
        x: NumPy array of inputs to measure on. A few dozen samples are enough.
        every: Iterations between two measurements, or `None` for one per epoch.
        batch_size: Samples per call of the model, at least 1.

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

    def __init__(self, x, every=None, batch_size=32):
        super().__init__()
        if every is not None:
            every = check_count("every", every)
        _check_samples(x)
        self.x, self.every = x, every
        self.batch_size = check_count("batch_size", batch_size)
        self.history = {}

    def set_model(self, model):
        """Builds the model that measures the rates."""
        super().set_model(model)
        self._rates = _Rates(model)

    def measure(self):
        """Measures the model now and returns a dictionary of logs."""
        # On JAX, reading `model` during `fit` updates its weights.
        assert self.model is not None
        logs = {}
        rates = self._rates(self.x, self.batch_size)
        for name, (rate, silent) in rates.items():
            logs[f"{name}_firing_rate"] = rate
            logs[f"{name}_silent_fraction"] = silent
        return logs

    def _record(self):
        logs = self.measure()
        for key, value in ({"iteration": self._iteration} | logs).items():
            self.history.setdefault(key, []).append(value)
        return logs

    def on_train_begin(self, logs=None):
        """Measures the network before training."""
        self.history.clear()
        self._iteration = 0
        self._record()

    def on_train_batch_end(self, batch, logs=None):
        """Measures every `every` iterations."""
        self._iteration += 1
        if self.every and self._iteration % self.every == 0:
            self._record()

    def on_epoch_end(self, epoch, logs=None):
        """Measures, unless this iteration has been measured, and logs."""
        if self.history["iteration"][-1] != self._iteration:
            self._record()
        if logs is not None:
            last = {key: values[-1] for key, values in self.history.items()}
            del last["iteration"]
            logs.update(last)


class IterationHistory(keras.callbacks.Callback):
    """Keeps the loss and the metrics of every iteration.

    Keras logs running means over the epoch. This callback recovers the value of
    each batch. The result is exact for means over samples, such as loss and
    accuracy, if all batches have the same size. If the last batch of an epoch
    is smaller, its value is not exact.

    Attributes:
        history: Dictionary of lists, one entry per iteration.
    """

    def __init__(self):
        super().__init__()
        self.history = {}

    def on_train_begin(self, logs=None):
        """Clears the history."""
        self.history.clear()

    def on_epoch_begin(self, epoch, logs=None):
        """Restarts, as Keras's running means do."""
        self._totals = {}

    def on_train_batch_end(self, batch, logs=None):
        """Recovers the value of the batch from two running means."""
        for key, mean in (logs or {}).items():
            total = float(mean) * (batch + 1)
            value = total - self._totals.get(key, 0.0)
            self._totals[key] = total
            self.history.setdefault(key, []).append(value)


class Checkpoint(keras.callbacks.Callback):
    """Saves the model with its optimizer after every epoch.

    Unlike `keras.callbacks.ModelCheckpoint`, it never leaves a half-written
    file. If a run is killed while saving, the file of the previous epoch stays.

    Args:
        path: The `.keras` file.
    """

    def __init__(self, path):
        super().__init__()
        self.path = path

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
        for number, line in enumerate(self.path.read_text().splitlines(), 1):
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
