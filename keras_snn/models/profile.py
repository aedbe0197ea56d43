"""Counts the operations of a network, and what they cost."""

import collections
import dataclasses
import inspect
import math

import keras
import numpy as np
from keras import ops

from keras_snn.layers import BNTT, LeakyIntegratorCell, PerTimestep
from keras_snn.layers.over_time import OverTime
from keras_snn.layers.walk import walk
from keras_snn.models.probe import is_spiking, observed_outputs
from keras_snn.models.rates import Batches, as_inputs, count, restored
from keras_snn.models.report import table
from keras_snn.models.synapses import constants_of, recurrent_kernel
from keras_snn.validation import check_choice

__all__ = ["ENERGY", "Costs", "Energy", "Profile", "profile"]

# Layers whose operations are known. A subclass counts as the first of its bases
# here.
SYNAPSES = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)
WRAPPERS = (PerTimestep, keras.layers.TimeDistributed)


@dataclasses.dataclass(frozen=True)
class Energy:
    """The energy of arithmetic on some hardware.

    Attributes:
        multiply: Energy of a multiplication in joules.
        add: Energy of an addition in joules.
        source: Where these come from.
    """

    multiply: float
    add: float
    source: str


_HOROWITZ = (
    'Horowitz, "Computing\'s energy problem (and what we can do about it)", '
    "ISSCC 2014: 45 nm, 0.9 V"
)
ENERGY = {
    "float32": Energy(3.7e-12, 0.9e-12, _HOROWITZ),
    "float16": Energy(1.1e-12, 0.4e-12, _HOROWITZ),
    "int8": Energy(0.2e-12, 0.03e-12, _HOROWITZ),
}


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a layer does per sample.

    Attributes:
        rate: Firing rate. `None` for layers that do not spike.
        spikes: Spikes of all its neurons over all timesteps.
        macs: Multiplications of an input other than 0 with a weight other than
            0, and their additions.
        acs: Additions of weights other than 0, where all inputs of the layer
            are -1, 0 or 1.
        dense: Synaptic operations if no input and no weight were 0.
        updates: Updates of states: neurons times timesteps, times the states of
            a neuron.
        parameters: Number of weights.
        bytes: Their size.
        energy: Energy of the arithmetic in joules, see `profile`.
    """

    rate: float | None = None
    spikes: float = 0.0
    macs: float = 0.0
    acs: float = 0.0
    dense: float = 0.0
    updates: float = 0.0
    parameters: int = 0
    bytes: int = 0
    energy: float = 0.0


@dataclasses.dataclass(frozen=True)
class Profile:
    """What `profile` counted. Print it.

    Attributes:
        layers: Maps the name of each layer, in the order of the network, to its
            `Costs`.
        total: The sum of all layers. Its rate is `None`.
        source: Where the energies come from.
        uncounted: Names of layers with weights whose operations are not
            counted.
    """

    layers: dict[str, Costs]
    total: Costs
    source: str
    uncounted: tuple[str, ...] = ()

    def __str__(self):
        head = ["layer", *(x.name for x in dataclasses.fields(Costs))]
        head[-1] = "energy, nJ"
        rows = [
            [name, *_texts(costs)]
            for name, costs in [*self.layers.items(), ("total", self.total)]
        ]
        text = f"{table(head, rows)}\n\nPer sample. Energy: {self.source}."
        if self.uncounted:
            text += f"\nNot counted: {', '.join(self.uncounted)}."
        return text


def _texts(costs):
    rate, *numbers, energy = dataclasses.astuple(costs)
    texts = [f"{x:,.0f}" if x else "" for x in numbers]
    return [
        "" if rate is None else f"{rate:.3f}",
        *texts,
        f"{1e9 * energy:.3g}",
    ]


def profile(model, x, batch_size=None, energy="float32"):
    """Counts the operations of every layer in inference, per sample.

    Synaptic operations are counted as NeuroBench counts them: an operation
    needs an input and a weight other than 0; it is an accumulation (AC) if all
    inputs of the layer are -1, 0 or 1, and a multiply-accumulate (MAC)
    otherwise. Biases do not count. Layers that run once for all timesteps, as
    those before the first neurons under constant coding, count once.

    The energy is that of the arithmetic alone: a multiplication and an addition
    per MAC, an addition per AC, and a multiplication and an addition per update
    of a state, such as the potential. Moving data costs more than that on most
    hardware, so compare networks by it, not devices.

    Masked timesteps do not count for neurons. They do for the layers before
    them, which compute them anyway.

    Args:
        model: A model that `keras_snn.models.probe` takes.
        x: Inputs, as `callbacks.firing_rates` takes them.
        batch_size: Samples per call of the model, at least 1. `None` means 32.
        energy: `"float32"`, `"float16"` or `"int8"`, whose energies are those
            of a processor of 45 nm, or an `Energy`.

    Returns:
        A `Profile` of neurons, leaky integrators, and `Dense`, `Conv`,
        `DepthwiseConv` and transposed convolutional layers, also in
        `PerTimestep`. Other layers with weights, such as `SeparableConv2D` and
        attention, are named in `uncounted`.

    Raises:
        ValueError: If `energy` is unknown, or `probe` does not accept the
            model.

    Reference:
        "The NeuroBench framework for benchmarking neuromorphic computing
        algorithms and systems" (Yik et al., Nature Communications, 2025).
        Energies: Horowitz, "Computing's energy problem (and what we can do
        about it)" (ISSCC 2014).

    Example:
    >>> inputs = keras.Input((4, 3))
    >>> start = {"kernel_initializer": "ones", "use_bias": False}
    >>> currents = keras.layers.Dense(2, **start)(inputs)
    >>> from keras_snn.layers import LIF
    >>> found = profile(
    ...     keras.Model(inputs, LIF(k=0.5, lam=1.0)(currents)),
    ...     np.array([[[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]]], "float32"),
    ... )
    >>> found.total.acs, found.total.dense, found.total.updates
    (6.0, 24.0, 8.0)
    """
    if not isinstance(energy, Energy):
        energy = ENERGY[check_choice("energy", energy, tuple(ENERGY))]
    counted = []
    graph, found = observed_outputs(
        model,
        lambda layer, outputs, inputs, mask: _count(
            counted, layer, outputs, inputs, mask
        ),
        lambda layer: _has_states(layer) or _synapses(layer) is not None,
    )
    # Keras sorts the keys of plain dictionaries.
    counting = keras.Model(graph.input, collections.OrderedDict(found))
    costs, samples = {}, 0
    with restored(counting.non_trainable_variables):
        for batch in Batches(x, batch_size):
            samples += len(keras.tree.flatten(batch)[0])
            inputs = as_inputs(batch, counting)
            for name, arrays in counting.predict_on_batch(inputs).items():
                costs.setdefault(name, []).append(arrays)
    costs = {
        name: _costs(counted, batches, samples, energy)
        for name, batches in costs.items()
    }
    sums = {
        x.name: sum(getattr(each, x.name) for each in costs.values())
        for x in dataclasses.fields(Costs)[1:]
    }
    sums |= {"parameters": model.count_params(), "bytes": _size(model)}
    others = tuple(_uncounted(model, counted))
    return Profile(costs, Costs(**sums), energy.source, others)


def _uncounted(model, counted):
    """Yields the names of layers with matrices as weights, but `counted`."""
    known = {id(inside) for layer in counted for inside in walk(layer)}
    for layer in walk(model):
        matrices = any(x.shape and len(x.shape) > 1 for x in layer.weights)
        if isinstance(layer, BNTT):  # a scale per timestep, no products
            continue
        if matrices and len(list(walk(layer))) == 1 and id(layer) not in known:
            yield layer.name


def _synapses(layer):
    """Returns the layer whose operations are known, or `None`."""
    if isinstance(layer, WRAPPERS):
        layer = layer.layer
    return layer if isinstance(layer, SYNAPSES) else None


def _has_states(layer):
    """Returns whether a layer consists of neurons or leaky integrators."""
    cell = getattr(layer, "cell", None)  # of `keras.layers.RNN`
    integrates = isinstance(layer, OverTime) or isinstance(
        cell, LeakyIntegratorCell
    )
    return is_spiking(layer) or integrates


def _all_timesteps(layer, outputs, inputs, mask, name):
    """Returns a layer and its outputs of all timesteps, from a copy if needed.

    The model may hold the layer itself, too, so the copy has another name.
    """
    if layer.return_sequences:
        return layer, outputs
    flags = {"return_sequences": True, "return_state": False, "name": name}
    copy = type(layer).from_config(layer.get_config() | flags)
    outputs = copy(inputs) if mask is None else copy(inputs, mask=mask)
    copy.set_weights(layer.get_weights())
    return copy, outputs


def _count(counted, layer, outputs, inputs, mask):
    """Returns the counts of a call, and the index of its layer in `counted`."""
    counted.append(layer)
    index = len(counted) - 1
    if _synapses(layer) is None:
        name = f"{layer.name}_of_call_{index}"
        whole, outputs = _all_timesteps(layer, outputs, inputs, mask, name)
        spikes, steps = count(whole, outputs, inputs, mask)
        sums = [_sum(spikes), steps, _sum(ops.ones_like(spikes))]
        # The last spikes go nowhere. At masked timesteps, they are repeated.
        sent = spikes - ops.cast(outputs[:, -1], spikes.dtype)
        sums += [_recurrent(layer, sent), ops.maximum(steps - 1, 0)]
        return [ops.full_like(steps, index), *sums]
    operations = _Operations(_synapses(layer), isinstance(layer, WRAPPERS))
    counts = operations(inputs)
    return [ops.full_like(counts[0], index), *counts]


def _sum(x):
    """Returns the sums over all axes but the first."""
    return ops.sum(x, axis=tuple(range(1, len(x.shape))))


def _recurrent(layer, spikes):
    """Returns the operations of a recurrent kernel, per sample.

    Args:
        layer: The layer.
        spikes: Spikes of every neuron that the kernel takes.
    """
    kernel = recurrent_kernel(layer)
    if kernel is None:
        return _sum(ops.zeros_like(spikes))
    fan_out = np.count_nonzero(ops.convert_to_numpy(kernel), axis=1)
    return _sum(spikes * fan_out.astype("float32"))


class _Operations(keras.layers.Layer):
    """Counts the operations of a layer, for every row of its input.

    Args:
        layer: One of `SYNAPSES`.
        over_time: Whether the second axis is time.
    """

    def __init__(self, layer, over_time):
        super().__init__(autocast=False)
        self.supports_masking = True  # `count` looks at masks.
        self.over_time = over_time
        kernel = ops.convert_to_numpy(layer.kernel)
        # The same layer with weights of 0 and 1, and with weights of 1.
        self.ones = np.ones(kernel.shape), (kernel != 0)
        base = next(x for x in SYNAPSES if isinstance(layer, x))
        plain = {"use_bias": False, "activation": None, "dtype": "float32"}
        names = inspect.signature(base.__init__).parameters
        config = {x: y for x, y in layer.get_config().items() if x in names}
        config |= plain
        self.copies = [base.from_config(config) for _ in self.ones]

    def build(self, shape):
        """Sets the weights of the copies."""
        if self.over_time:
            shape = (None, *shape[2:])
        for copy, ones in zip(self.copies, self.ones, strict=True):
            copy.build(shape)
            copy.kernel.assign(ones.astype("float32"))

    def call(self, x):
        """Returns all operations, those that are needed, and if x is binary."""
        if self.over_time:
            x = ops.reshape(x, (-1, *x.shape[2:]))
        active = ops.cast(x != 0, "float32")
        # Whole numbers, exact up to 2^24 per output. A sum over one axis fits
        # int32. `_costs` adds these up in float64.
        dense, effective = (
            ops.reshape(ops.sum(ops.cast(copy(inputs), "int32"), -1), (-1,))
            for copy, inputs in zip(
                self.copies, (ops.ones_like(active), active), strict=True
            )
        )
        binary = ops.logical_or(ops.equal(x, 0), ops.equal(ops.abs(x), 1))
        axes = tuple(range(1, len(x.shape)))
        return dense, effective, ops.all(binary, axis=axes)


def _costs(counted, batches, samples, energy):
    """Returns the `Costs` of a layer.

    Args:
        counted: All layers, by index.
        batches: What `_count` returns, per batch.
        samples: The number of samples.
        energy: An `Energy`.
    """
    index, *columns = (np.concatenate(x) for x in zip(*batches, strict=True))
    layer = counted[int(index[0])]
    found = {
        "parameters": layer.count_params() if layer.built else 0,
        "bytes": _size(layer),
    }
    sums = [float(x.sum(dtype="float64")) / samples for x in columns]
    if _synapses(layer) is None:
        spikes, steps, units, recurrent, sent = sums
        # The number of units is the same for every sample.
        outputs = units * steps
        states = len(constants_of(layer).neuron.states)
        found |= {"updates": states * outputs, "acs": recurrent, "dense": 0.0}
        if is_spiking(layer):
            rate = spikes / outputs if outputs else float("nan")
            found |= {"rate": rate, "spikes": spikes}
        kernel = recurrent_kernel(layer)
        if kernel is not None:
            found["dense"] = float(np.prod(kernel.shape) * sent)
    else:
        dense, effective, _ = sums
        kind = "acs" if columns[2].all() else "macs"
        found |= {"dense": dense, kind: effective}
    multiplications = found.get("macs", 0.0) + found.get("updates", 0.0)
    additions = multiplications + found.get("acs", 0.0)
    joules = multiplications * energy.multiply + additions * energy.add
    return Costs(**found, energy=joules)


def _size(layer):
    """Returns the size of the weights in bytes."""
    sizes = ((x.shape, x.dtype) for x in layer.weights)
    return sum(
        # NumPy does not know this type.
        math.prod(shape) * (2 if x == "bfloat16" else np.dtype(x).itemsize)
        for shape, x in sizes
    )
