"""The spikes of a network in two simulators, and where they first differ."""

import collections
import dataclasses
import os
import re

import keras
import numpy as np
from keras import tree

from keras_snn.models.probe import is_spiking, numbered, observed_outputs
from keras_snn.models.rates import Batches
from keras_snn.models.time_axis import takes_images
from keras_snn.nir.graph import package
from keras_snn.nir.shapes import ENCODERS
from keras_snn.nir.write import Writer

__all__ = ["Difference", "first_difference", "record"]


@dataclasses.dataclass(frozen=True)
class Difference:
    """Where two recordings first differ.

    Attributes:
        node: Name of the node, as in the first recording.
        sample: Number of the sample, from 0.
        timestep: Number of the timestep, from 0.
        neuron: Number of the neuron, in NIR's order.
        values: What the two recordings have there.
        shares: Maps each node that was compared to the share of its spikes and
            silences that differ.
    """

    node: str
    sample: int
    timestep: int
    neuron: int
    values: tuple
    shares: dict

    def __str__(self):
        first, second = self.values
        return (
            f"{self.node!r} differs first, at timestep {self.timestep}: neuron "
            f"{self.neuron} of sample {self.sample} has {first:g} and "
            f"{second:g}. {100 * self.shares[self.node]:.2f} % of its outputs "
            "differ."
        )


def record(model, x, dt=1e-4, *, reset="zero", batch_size=32):
    """Records the inputs and spikes of a model, to compare with a simulator.

    Feed the recorded inputs to the graph of the model in the other simulator,
    record its spikes in the same way, and pass both to `first_difference`.

    Args:
        model: A model that `to_nir` takes, with neurons.
        x: Its inputs, an array or a list of arrays.
        dt: See `to_nir`.
        reset: See `to_nir`.
        batch_size: Samples per batch.

    Returns:
        An `nir.NIRGraphData`, which `nir.write_data` stores. It has the inputs
        of the graph, and the spikes of its neurons, by the names of nodes. Its
        arrays are `(samples, timesteps, neurons)`, in NIR's order of axes.
        An encoder's spikes, or the intensities of images under constant coding,
        are the inputs of the graph.

    Raises:
        ImportError: If the package `nir` is not installed.
        ValueError: If `to_nir` or `keras_snn.models.probe` does not accept the
            model.
    """
    nir = package()
    Batches(x, batch_size)  # checks both
    writer = Writer(dt, reset)
    writer.write(model)
    spikes = [pair for pair in writer.spikes if _observes(pair[0])]
    if not spikes:
        raise ValueError(
            "`model` must have neurons that spike, or an encoder. "
            f"Received: {model.name!r}"
        )
    names = numbered(layer.name for layer, _ in spikes)
    values = dict(zip(names, (value for _, value in spikes), strict=True))
    graph, found = observed_outputs(
        model,
        lambda layer, outputs, sequences, mask: outputs,  # noqa: ARG005
        _observes,
    )
    watch = keras.Model(graph.input, collections.OrderedDict(found))
    arrays = watch.predict(x, batch_size, verbose=0)
    timesteps = max(each.shape[1] for each in arrays.values())
    nodes = {}
    inputs = writer.recipes.of_kind("Input")
    for name, each in zip(inputs, tree.flatten(x), strict=True):
        each = keras.ops.convert_to_numpy(each)
        if takes_images(model):
            each = np.repeat(each[:, None], timesteps, 1)
        each = np.moveaxis(each, -1, 2)
        nodes[name] = {"input": each.reshape(*each.shape[:2], -1)}
    for name, each in arrays.items():
        node, order = values[name].sources[0], values[name].where.ravel()
        if np.isnan(each).any():
            raise ValueError(
                f"`model` must give no NaN for `x`. Received: NaN at {node!r}"
            )
        # Under constant coding, the outputs of the encoder have one timestep.
        size = len(each), timesteps, order.size
        outputs = np.empty(size, each.dtype if node in inputs else bool)
        outputs[:, :, order] = each.reshape(*each.shape[:2], -1)
        nodes[node] = {"input" if node in inputs else "spikes": outputs}
    return nir.NIRGraphData(
        {
            node: nir.NIRNodeData(
                {
                    key: nir.TimeGriddedData(y, writer.dt)
                    for key, y in observed.items()
                }
            )
            for node, observed in nodes.items()
        }
    )


def _observes(layer):
    return is_spiking(layer) or type(layer) in ENCODERS


def first_difference(ours, theirs):
    """Finds where two recordings of a network first differ.

    The first difference is that of the earliest timestep. Among the nodes that
    differ there, it is in the one that comes first in `ours`.

    Args:
        ours: An `nir.NIRGraphData` of `record`.
        theirs: Another, or the path of its file. It may lack nodes of `ours`,
            and must have no others. Events are put into the timesteps of
            `ours`. A node has one observable, or one called `"spikes"`. The
            node `a.b` may be called `a_b`, as `from_nir` calls its layer, and
            the neurons `a.lif` of a recurrent layer `a`.

    Returns:
        A `Difference`, or `None` if all nodes of `theirs` are equal.

    Raises:
        ValueError: If the nodes do not match, or the samples, timesteps and
            neurons are not the same.

    Example:
    >>> from keras_snn.layers import LIF
    >>> inputs = keras.Input((None, 1))
    >>> x = np.full((2, 8, 1), 0.75)
    >>> slow, fast = (
    ...     record(keras.Model(inputs, layer(inputs)), x)
    ...     for layer in (LIF(0.25, 1.0, name="a"), LIF(0.5, 1.0, name="a"))
    ... )
    >>> print(first_difference(slow, fast))
    'a' differs first, at timestep 1: neuron 0 of sample 0 has 0 and 1. \
50.00 % of its outputs differ.
    """
    nodes, found = dict(_nodes(_checked(ours))), {}
    for name, other in _nodes(_read(theirs)):
        node = _match(name, nodes)
        if node is None or node in found:
            raise ValueError(
                "Every node of `theirs` must be one of `ours`, "
                f"{list(nodes)}. Received: {name!r}"
            )
        data = _observed(node, nodes[node])
        if hasattr(data, "idx"):
            raise ValueError(
                "`ours` must have timesteps, as in `record`. "
                f"Received: events at {node!r}"
            )
        values = _array(name, _observed(name, other), data)
        if data.shape != values.shape:
            raise ValueError(
                "Both recordings must have the same samples, timesteps and "
                f"neurons. Received: {data.shape} and {values.shape} at "
                f"{node!r}"
            )
        found[node] = data.data, values
    if not found:
        raise ValueError("`theirs` must have a node. Received: none")
    shares, where = {}, []
    for name in filter(found.get, nodes):
        first, second = found[name]
        unequal = _unequal(first, second)
        shares[name] = float(unequal.mean())
        if unequal.any():
            timestep = int(unequal.any((0, 2)).argmax())
            where.append((timestep, name))
    if not where:
        return None
    timestep, name = min(where, key=lambda pair: pair[0])
    first, second = (values[:, timestep] for values in found[name])
    sample, neuron = map(int, np.argwhere(_unequal(first, second))[0])
    values = first[sample, neuron].item(), second[sample, neuron].item()
    return Difference(name, sample, timestep, neuron, values, shares)


def _unequal(first, second):
    # Intensities may be rounded. Numbers of spikes are integers.
    return ~np.isclose(first, second, rtol=1e-5, atol=1e-6)


def _read(data):
    """Returns a recording, from its file if it is a path."""
    if isinstance(data, (str, os.PathLike)):
        data = package().read_data(os.fspath(data))
    return _checked(data)


def _checked(data):
    if not isinstance(data, package().NIRGraphData):
        raise TypeError(
            f"A recording must be an `nir.NIRGraphData`. Received: {data!r}"
        )
    return data


def _nodes(data, before=""):
    """Yields names and data of all nodes, those of subgraphs included."""
    for name, node in data.nodes.items():
        if hasattr(node, "nodes"):
            yield from _nodes(node, f"{before}{name}.")
        else:
            yield before + name, node


def _match(name, nodes):
    """Returns the one of some nodes that a name stands for, or `None`."""
    if name in nodes:
        return name
    alike = [node for node in nodes if _key(node) == _key(name)]
    return alike[0] if len(alike) == 1 else None


def _key(name):
    """Returns what the names of a node have in common."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    while name.endswith("_lif"):
        name = name.removesuffix("_lif")
    return name


def _observed(name, node):
    """Returns the spikes of a node, or the only thing observed."""
    observed = node.observables
    if len(observed) != 1 and "spikes" not in observed:
        raise ValueError(
            "A node must have one observable, or one called 'spikes'. "
            f"Received: {list(observed)} at {name!r}"
        )
    return observed.get("spikes", next(iter(observed.values())))


def _array(name, data, like):
    """Returns data as an array, events in the timesteps of other data."""
    if not hasattr(data, "idx"):
        return data.data
    samples, numbers = np.nonzero(data.idx != -1)
    neurons, times = data.idx[samples, numbers], data.time[samples, numbers]
    # A time on the boundary may have been rounded down.
    times = times / like.dt + 1e-6
    inside = (neurons >= 0) & (neurons < data.n_neurons)
    inside &= (times >= 0) & (times < like.n_time_steps)
    if not inside.all():
        raise ValueError(
            f"Events of {name!r} must lie within {like.n_time_steps} timesteps "
            f"of {like.dt:g} and {data.n_neurons} neurons. Received: timestep "
            f"{times[~inside][0]:.6g}, neuron {neurons[~inside][0]}"
        )
    size = getattr(data, "value", np.ones(data.idx.shape))[samples, numbers]
    values = np.zeros((data.n_samples, like.n_time_steps, data.n_neurons))
    # Several events in one timestep add up.
    np.add.at(values, (samples, times.astype(int), neurons), size)
    return values
