"""Firing rates of the layers of neurons in a model."""

import collections
import contextlib

import keras
import numpy as np
from keras import ops

from keras_snn.models.probe import spiking_outputs
from keras_snn.validation import check_choice, check_count

__all__ = [
    "Batches",
    "FiringRates",
    "as_inputs",
    "count",
    "firing_rates",
    "rate_and_silent",
    "restored",
]


def firing_rates(model, x, batch_size=None, training=False):
    """Measures the firing rate of every layer of neurons.

    It measures in inference, as `predict` runs the model. With `training=True`
    it measures in training, as `fit` runs the model: dropout is active, and
    batch normalization uses the statistics of each batch. Early in training the
    two differ, because the moving averages of batch normalization are far from
    the statistics of the batches.

    The model stays as it was: its weights, moving averages and random
    generators.

    Masked timesteps do not count. A layer with `return_sequences=False`
    counts as one timestep per sample.

    Args:
        model: A model that `keras_snn.models.probe` takes.
        x: Inputs as `predict` takes them: a NumPy array, a tensor, or a list or
            dictionary of them for a model of several inputs. Or batches of
            inputs: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a PyTorch
            `DataLoader` or a generator. Of batches `(x, y)`, it uses `x`.
        batch_size: Samples per call of the model, at least 1. `None` means 32.
            It must be `None` if `x` comes in batches.
        training: Whether the model runs in training instead of inference.

    Returns:
        Dictionary that maps the names of `probe`, in the order of the network,
        to `(firing_rate, silent_fraction)`: mean spikes per neuron and
        timestep, and the fraction of neurons that emit no spike for `x`. Both
        are NaN if a spike is NaN or if all timesteps of the layer are masked.

    Raises:
        TypeError: If `x` is none of the above.
        ValueError: If `x` is empty or endless, or `probe` does not accept the
            model.
    """
    return FiringRates(model, training)(Batches(x, batch_size))


class Batches:
    """Reads batches of inputs, as NumPy arrays, from what `predict` takes.

    Args:
        x: See `firing_rates`.
        batch_size: See `firing_rates`.

    Attributes:
        samples: The number of samples, or `None` if `x` comes in batches.
    """

    def __init__(self, x, batch_size=None):
        leaves = keras.tree.flatten(x)
        self._x, self._batch_size, self.samples = x, None, None
        if leaves and all(hasattr(each, "shape") for each in leaves):
            size = 32 if batch_size is None else batch_size
            self._batch_size = check_count("batch_size", size)
            self.samples = _check_samples(x)
            return
        single = len(leaves) == 1 and leaves[0] is x and not isinstance(x, str)
        if not (single and hasattr(x, "__iter__")) and not _is_py_dataset(x):
            raise TypeError(
                "`x` must be an array, a tensor, a list or dictionary of them, "
                f"or a dataset of batches. Received: x of type {type(x)}"
            )
        if batch_size is not None:
            raise ValueError(
                "`batch_size` must be `None` if `x` comes in batches. "
                f"Received: batch_size={batch_size!r}"
            )
        if _is_endless(x):
            raise ValueError(
                "`x` must have a last batch: use `take` or set `num_batches`. "
                f"Received: an endless {type(x).__name__}"
            )

    def __iter__(self):
        """Yields the inputs of one batch after another."""
        empty = True
        for batch in self._raw():
            batch = keras.tree.map_structure(ops.convert_to_numpy, batch)
            _check_samples(batch)
            empty = False
            yield batch
        if empty:
            raise ValueError(
                "`x` must hold at least one batch, and a generator can be read "
                f"only once. Received: an empty {type(self._x).__name__}"
            )

    def _raw(self):
        x, size = self._x, self._batch_size
        if size is not None:
            for start in range(0, self.samples, size):
                rows = slice(start, start + size)
                yield keras.tree.map_structure(lambda x, r=rows: x[r], x)
            return
        batches = x
        if _is_py_dataset(x):
            batches = (x[index] for index in range(x.num_batches))
        for batch in batches:
            yield keras.utils.unpack_x_y_sample_weight(batch)[0]


def _is_py_dataset(x):
    return isinstance(x, keras.utils.PyDataset)


def _is_endless(x):
    if _is_py_dataset(x):
        return x.num_batches is None
    # `tf.data` has a constant for this, but TensorFlow may not be installed.
    return hasattr(x, "cardinality") and int(x.cardinality()) == -1


def _check_samples(x):
    """Returns the number of samples, which all inputs must share."""
    shapes = [tuple(np.shape(each)) for each in keras.tree.flatten(x)]
    samples = {shape[0] if shape else 0 for shape in shapes}
    if len(samples) != 1 or 0 in samples:
        raise ValueError(
            "`x` must hold at least one sample, the same number for every "
            f"input. Received: shapes={shapes}"
        )
    return samples.pop()


def as_inputs(batch, model):
    """Returns a batch in the structure of a functional model's inputs.

    Raises:
        ValueError: If the batch does not fit the inputs.
    """
    inputs = model.input
    if not isinstance(inputs, dict):
        inputs = {each.name: each for each in model.inputs}
    arrays = batch
    if isinstance(batch, dict):
        arrays = {name: batch[name] for name in inputs if name in batch}
        if not isinstance(model.input, dict):
            arrays = list(arrays.values())
    arrays = keras.tree.flatten(arrays)
    if len(arrays) != len(model.inputs) or not all(
        _fits(array.shape, each.shape)
        for array, each in zip(arrays, model.inputs, strict=True)
    ):
        expected = {name: each.shape for name, each in inputs.items()}
        raise ValueError(
            f"`x` must fit the inputs of the model, {expected}. "
            f"Received: shapes={[array.shape for array in arrays]}"
        )
    return keras.tree.pack_sequence_as(model.input, arrays)


def _fits(shape, expected):
    # Keras adds or removes a last axis of size 1.
    if len(shape) == len(expected) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    elif len(shape) == len(expected) - 1 and expected[-1] == 1:
        shape = (*shape, 1)
    return len(shape) == len(expected) and all(
        size is None or size == actual
        for actual, size in zip(shape, expected, strict=True)
    )


class FiringRates:
    """Measures `firing_rates`, with a model that is built once.

    Args:
        model: See `firing_rates`.
        training: See `firing_rates`.

    Call arguments:
        batches: `Batches`.
    """

    def __init__(self, model, training=False):
        self._training = check_choice("training", training, (False, True))
        graph, found = spiking_outputs(model, count)
        # Keras sorts the keys of plain dictionaries.
        counts = keras.Model(graph.input, collections.OrderedDict(found))
        self._counts = InMode(counts, self._training)

    def __call__(self, batches):
        """Returns the rates, see `firing_rates`."""
        return {
            name: rate_and_silent(rates)
            for name, rates in self.of_neurons(batches).items()
        }

    def of_neurons(self, batches):
        """Returns the firing rate of every neuron, an array per layer."""
        totals, timesteps = {}, {}
        with self._restored():
            for batch in batches:
                inputs = as_inputs(batch, self._counts.inner)
                counts = self._counts.predict_on_batch(inputs)
                for name, (spikes, steps) in counts.items():
                    total = spikes.sum(0, dtype="float64")
                    before = totals.setdefault(name, np.zeros_like(total))
                    if before.shape != total.shape:
                        raise ValueError(
                            f"`x` must give layer {name!r} the same neurons in "
                            f"every batch. Received: {before.shape} and "
                            f"{total.shape}"
                        )
                    before += total
                    steps = steps.sum(dtype="float64")
                    timesteps[name] = timesteps.get(name, 0.0) + steps
        # NaN if all timesteps are masked.
        with np.errstate(invalid="ignore"):
            return {
                name: total / np.float64(timesteps[name])
                for name, total in totals.items()
            }

    def _restored(self):
        """Restores the state of the model at the end."""
        state = self._counts.non_trainable_variables
        if self._training:
            # `SpectralNormalization` even changes its kernel.
            state = self._counts.variables
        return restored([*state, *self._counts.metrics_variables])


@contextlib.contextmanager
def restored(variables):
    """Restores variables, and the random generators of PyTorch, at the end."""
    before = [np.array(ops.convert_to_numpy(x.value)) for x in variables]
    generators = contextlib.nullcontext()
    if keras.config.backend() == "torch":
        import torch

        # Dropout without a seed and data loaders use PyTorch's generators.
        generators = torch.random.fork_rng(range(torch.cuda.device_count()))
    try:
        with generators:
            yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def rate_and_silent(rates):
    """Returns the mean of the rates, and the fraction of silent neurons."""
    # NaN where a rate is NaN.
    silent = np.where(np.isnan(rates), rates, rates == 0)
    return float(np.mean(rates)), float(np.mean(silent))


class InMode(keras.Model):
    """Runs a model in one mode, because `predict` always runs inference."""

    def __init__(self, inner, mode):
        super().__init__()
        self.inner, self.mode = inner, mode

    def call(self, inputs):
        return self.inner(inputs, training=self.mode)


def count(layer, spikes, sequences, mask):
    """Returns spikes per neuron and timesteps, both for every sample."""
    return _SpikeCounts(
        layer.return_sequences, getattr(layer, "go_backwards", False)
    )(spikes, sequences, sequences_mask=mask)


class _SpikeCounts(keras.layers.Layer):
    """Counts spikes and timesteps where the mask is true."""

    def __init__(self, sequential, backwards):
        super().__init__(autocast=False)
        self.sequential, self.backwards = sequential, backwards

    def call(self, spikes, sequences, sequences_mask=None):
        # In half precision, sums of spikes would be rounded.
        spikes = ops.cast(spikes, "float32")
        shape = ops.shape(sequences)[:2]
        if sequences_mask is None:
            mask = ops.ones(shape, "bool")
        else:
            mask = ops.reshape(ops.cast(sequences_mask, "bool"), shape)
        if self.backwards:
            # The outputs are in reverse order, the mask is not.
            mask = ops.flip(mask, axis=1)
        if not self.sequential:
            spikes = ops.expand_dims(spikes, 1)
            mask = ops.any(mask, axis=1, keepdims=True)
        if sequences_mask is not None:
            over = (*ops.shape(mask), *[1] * (len(spikes.shape) - 2))
            spikes = ops.where(ops.reshape(mask, over), spikes, 0.0)
        return ops.sum(spikes, axis=1), ops.sum(ops.cast(mask, "float32"), 1)

    def compute_mask(self, *args):
        """Returns no mask, because the outputs have no time axis."""
        del args
