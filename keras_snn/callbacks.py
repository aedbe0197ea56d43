"""What to watch, save and fix while a spiking network trains."""

import json
import pathlib

import keras
import numpy as np
from keras import ops

from keras_snn.files import replacing
from keras_snn.layers import LIF, LIFRNNCell
from keras_snn.validation import check_count, check_seed


def firing_rates(model, x, batch_size=32):
    """Firing rate and silent fraction of every spiking layer, in inference.

    Leaves the model as it was, the state of its random generators included.

    Args:
        model: A built `keras.Model`. Spiking layers are looked for in its
            `layers`, in theirs, and in wrappers; a custom layer that holds
            some shows them by a `layers` attribute.
        x: NumPy array of inputs.
        batch_size: Samples per call of the model, at least 1.

    Returns:
        Dictionary from the name of each `LIF` layer, and each
        `keras.layers.RNN` of a `LIFRNNCell`, in the order of the network, to
        `(firing_rate, silent_fraction)`: mean spikes per neuron and timestep,
        and the fraction of neurons that emitted no spike at all for `x`.

    Raises:
        ValueError: If `x` is empty, the model has no spiking layer, or two of
            one name.
    """
    check_count("batch_size", batch_size)
    _check_samples(x)
    # A layer may be reached on several ways.
    layers = list({id(x): x for x in _spiking_layers(model)}.values())
    if not layers:
        raise ValueError(
            "`model` must have a `LIF` layer or an `RNN` of `LIFRNNCell`. "
            f"Received: {model.name!r}"
        )
    counts = {layer.name: 0.0 for layer in layers}
    if len(counts) < len(layers):
        raise ValueError(
            "`model` must give its spiking layers different names. "
            f"Received: {[layer.name for layer in layers]}"
        )
    emitted = dict.fromkeys(counts, 0)
    before = [np.array(v) for v in model.non_trainable_variables]

    def watched(layer, call):
        def call_and_count(*args, **kwargs):
            outputs = call(*args, **kwargs)
            spikes = outputs[0] if layer.return_state else outputs
            spikes = ops.convert_to_numpy(ops.cast(spikes, "float32"))
            if layer.return_sequences:
                emitted[layer.name] += spikes.shape[0] * spikes.shape[1]
                spikes = spikes.sum(1)
            else:
                emitted[layer.name] += spikes.shape[0]
            counts[layer.name] = counts[layer.name] + spikes.sum(0)
            return outputs

        return call_and_count

    try:
        for layer in layers:
            layer.call = watched(layer, layer.call)
        for start in range(0, len(x), batch_size):
            model(x[start : start + batch_size], training=False)
    finally:
        for layer in layers:
            vars(layer).pop("call", None)
        for variable, value in zip(
            model.non_trainable_variables, before, strict=True
        ):
            variable.assign(value)
    return {
        name: (
            float(np.mean(count) / emitted[name]),
            float(np.mean(count == 0)),
        )
        for name, count in counts.items()
    }


def _check_samples(x):
    if np.ndim(x) < 1 or not len(x):
        raise ValueError(
            f"`x` must hold at least one sample. Received: shape={np.shape(x)}"
        )


def _spiking_layers(layer):
    """All spiking layers at or below a layer."""
    if isinstance(layer, LIF):
        return [layer]
    if isinstance(layer, keras.layers.RNN):
        return [layer] if isinstance(layer.cell, LIFRNNCell) else []
    below = list(getattr(layer, "layers", ()))
    if isinstance(layer, keras.layers.Wrapper):
        below.append(layer.layer)
    return [found for each in below for found in _spiking_layers(each)]


class FiringRateMonitor(keras.callbacks.Callback):
    """Logs how much every spiking layer fires.

    After every epoch `<layer>_firing_rate` (mean spikes per neuron and
    timestep) and `<layer>_silent_fraction` (fraction of neurons that never
    fired for `x`) join the logs, so that `History`, `CSVLogger` and
    `TensorBoard` show them; name it before those two in the list of callbacks.

    Args:
        x: NumPy array of inputs to watch, some tens of samples.
        every: Number of iterations from one measurement to the next, or `None`
            for one per epoch.
        batch_size: Samples per call of the model, at least 1.

    Attributes:
        history: Dictionary of lists, one entry per measurement, the first
            before training: `"iteration"`, and the two keys of every layer.

    Example:
    >>> from keras_snn.models import five_layer_snn
    >>> model = five_layer_snn((8, 8, 1), timesteps=2)
    >>> monitor = FiringRateMonitor(np.ones((1, 8, 8, 1), "float32"))
    >>> monitor.set_model(model)
    >>> list(monitor.measure())[:2]
    ['lif_1_firing_rate', 'lif_1_silent_fraction']
    """

    def __init__(self, x, every=None, batch_size=32):
        super().__init__()
        if every is not None:
            check_count("every", every)
        _check_samples(x)
        check_count("batch_size", batch_size)
        self.x, self.every, self.batch_size = x, every, batch_size
        self.history = {}

    def measure(self):
        """Measures the model now, as a dictionary of logs."""
        logs = {}
        rates = firing_rates(self.model, self.x, self.batch_size)
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
        """Measures the network as it was initialized."""
        self.history.clear()
        self._iteration = 0
        self._record()

    def on_train_batch_end(self, batch, logs=None):
        """Measures every `every` iterations."""
        self._iteration += 1
        if self.every and self._iteration % self.every == 0:
            self._record()

    def on_epoch_end(self, epoch, logs=None):
        """Measures, unless just done, and adds to the logs."""
        if self.history["iteration"][-1] != self._iteration:
            self._record()
        if logs is not None:
            last = {key: values[-1] for key, values in self.history.items()}
            del last["iteration"]
            logs.update(last)


class IterationHistory(keras.callbacks.Callback):
    """Keeps the loss and the metrics of every single iteration.

    Keras logs running means over the epoch; this takes them apart. Exact for
    means over samples, such as loss and accuracy, if all batches are of one
    size; a smaller last batch of an epoch is weighted like the others.

    Attributes:
        history: Dictionary of lists, one entry per iteration.
    """

    def __init__(self):
        super().__init__()
        self.history = {}

    def on_train_begin(self, logs=None):
        """Starts anew."""
        self.history.clear()

    def on_epoch_begin(self, epoch, logs=None):
        """Keras's running means start anew."""
        self._totals = {}

    def on_train_batch_end(self, batch, logs=None):
        """Recovers the last batch's value from two running means."""
        for key, mean in (logs or {}).items():
            total = float(mean) * (batch + 1)
            value = total - self._totals.get(key, 0.0)
            self._totals[key] = total
            self.history.setdefault(key, []).append(value)


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole model, optimizer included, after every epoch.

    Unlike `keras.callbacks.ModelCheckpoint` it never leaves a half-written
    file: a run killed while saving keeps the epoch before.

    Args:
        path: The `.keras` file.
    """

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        """Saves."""
        with replacing(self.path) as partial:
            self.model.save(partial)


class EpochLog(keras.callbacks.Callback):
    """Writes the logs of every epoch to a file, one JSON object a line.

    The lines of the epochs before the one that `fit` begins with stay, those of
    later ones go, so that the file of a run that was resumed reads like that of
    one never interrupted. Name it behind what adds to the logs, and before
    `Checkpoint`: a run killed between the two then repeats its last line. The
    file is replaced as a whole, never half-written.

    Args:
        path: The `.jsonl` file.
    """

    def __init__(self, path):
        super().__init__()
        self.path = pathlib.Path(path)

    def _lines(self):
        """Pairs of an epoch and its line.

        Raises:
            ValueError: If a line is none that this callback writes.
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
        """Looks whether the file can be added to, before it is too late."""
        self._lines()

    def on_epoch_end(self, epoch, logs=None):
        """Adds the line of an epoch, counted from 0."""
        lines = [line for number, line in self._lines() if number < epoch]
        numbers = {key: float(value) for key, value in (logs or {}).items()}
        lines.append(json.dumps({"epoch": epoch} | numbers))
        with replacing(self.path) as partial:
            partial.write_text("\n".join(lines) + "\n")


def reseed(model, seed, epoch):
    """Sets all random generators of a model from two numbers alone.

    Those of the Poisson encoder and of dropout, and every other
    `keras.random.SeedGenerator` of a layer. On PyTorch also that backend's own
    generator, from which Keras draws the dropout of layers without a seed.

    Args:
        model: A built `keras.Model`.
        seed: An integer in `[0, 2**31)`.
        epoch: An integer of at least 0.

    Raises:
        TypeError: If `seed` or `epoch` is not an integer.
        ValueError: If one of them is out of range.
    """
    if check_seed(seed) is None:
        raise TypeError(f"`seed` must be an integer. Received: seed={seed!r}")
    check_count("epoch", epoch, low=0)
    # Keras counts generators among the variables, but not among the weights.
    weights = {id(x) for x in model.non_trainable_weights}
    states = [
        x
        for x in model.non_trainable_variables
        if id(x) not in weights and tuple(x.shape) == (2,) and "int" in x.dtype
    ]
    words = np.random.SeedSequence((seed, epoch)).generate_state(
        len(states) + 1
    )
    # Of 31 bits: the state is a signed integer on PyTorch. Its second number
    # counts the draws.
    first, *words = (int(word) // 2 for word in words)
    for state, word in zip(states, words, strict=True):
        state.assign([word, 0])
    if keras.config.backend() == "torch":
        import torch

        torch.manual_seed(first)


class EpochSeeds(keras.callbacks.Callback):
    """Makes the random numbers of an epoch those of a seed and the epoch.

    Before every epoch all random generators of the model are set by `reseed`.
    With batches whose order depends on the epoch alone, such as those of
    `datasets.batches`, an epoch is so a function of weights, optimizer, seed
    and its number. Training that goes on from a `Checkpoint`, with
    `initial_epoch`, then ends where it would have ended uninterrupted, to the
    last bit on the same machine where its arithmetic repeats itself, as on
    CPUs.

    Args:
        seed: An integer in `[0, 2**31)`.
    """

    def __init__(self, seed):
        super().__init__()
        if check_seed(seed) is None:
            raise TypeError(
                f"`seed` must be an integer. Received: seed={seed!r}"
            )
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        """Sets the generators; Keras on JAX reads them thereafter."""
        reseed(self.model, self.seed, epoch)
