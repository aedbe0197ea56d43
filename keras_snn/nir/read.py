"""A Keras model of a graph of NIR."""

import re

import keras
import numpy as np

from keras_snn import surrogates
from keras_snn.layers import (
    LIF,
    CubaLIF,
    LeakyIntegrator,
    PerTimestep,
    RecurrentCubaLIF,
    RecurrentLIF,
)
from keras_snn.models import PortableModel
from keras_snn.nir.constants import from_node
from keras_snn.nir.graph import SPIKING, Graph, kind
from keras_snn.nir.nodes import ADDERS, channels_last, rescale
from keras_snn.validation import check_choice, check_number

__all__ = ["FIRINGS", "RESETS", "from_nir"]

RESETS = ("zero", "subtract")
FIRINGS = (">", ">=")
INTEGRATORS = ("I", "LI", "CubaLI")


def from_nir(
    graph,
    dt=1e-4,
    *,
    reset="zero",
    firing=">",
    surrogate="arctan",
    detach_reset=False,
    name="nir",
):
    """Builds a model from a graph of NIR.

    The model computes the same as the graph, one timestep after another. Its
    layers have the names of the nodes, with `_` in place of characters that
    Keras does not allow. `probe` and `step_model` accept it, and it can be
    trained.

    A connection from neurons to themselves, with weights or without, carries
    the spikes of the timestep before. Other cycles are refused. Several inputs
    of a node are added.

    Args:
        graph: Path of a file, or an `nir.NIRGraph`.
        dt: Length of a timestep, above 0, in the unit of the time constants.
            It must be below those of the potentials. The package's docstring
            says what other simulators take.
        reset: What a spike does to the potential. In NIR it sets it to
            `v_reset`: `"zero"`. For a simulator that lowers it by the
            threshold, pass `"subtract"`.
        firing: `">"`, as in NIR, if neurons fire above the threshold. `">="`
            if they fire at the threshold, too, as in sinabs and SpikingJelly.
            The layers then have the next smaller threshold of float32.
        surrogate: Surrogate of all neurons, for training. NIR has none.
        detach_reset: Whether the gradient stops at the reset.
        name: Name of the model.

    Returns:
        A functional `keras.Model`. It maps `(batch, timesteps, ...)` to the
        sequence of the last node, for any number of timesteps. Images are
        channels last. It has a list of inputs or outputs if the graph has
        several `Input` or `Output` nodes.

    Raises:
        ImportError: If the package `nir` is not installed.
        ValueError: If a node or a cycle has no counterpart, or a constant is
            out of range.

    Example:
    >>> import nir
    >>> one = np.ones(1)
    >>> neuron = nir.LIF(tau=2 * one, r=2 * one, v_leak=0 * one,
    ...                  v_threshold=1.25 * one)
    >>> model = from_nir(nir.NIRGraph.from_list(neuron), dt=1.0)
    >>> spikes = model(keras.ops.ones((1, 4, 1)))
    >>> keras.ops.convert_to_numpy(spikes).ravel().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    builder = _Builder(
        Graph(graph),
        check_number("dt", dt),
        check_choice("firing", firing, FIRINGS),
        {
            "reset": check_choice("reset", reset, RESETS),
            "surrogate": surrogates.get(surrogate),
            "detach_reset": detach_reset,
        },
    )
    return builder.build(name)


class _Builder:
    """Builds the layers of a graph.

    Args:
        graph: A `Graph`.
        dt: See `from_nir`.
        firing: See `from_nir`.
        neuron: Arguments of all neurons.
    """

    def __init__(self, graph, dt, firing, neuron):
        self.graph, self.dt, self.firing = graph, dt, firing
        self.neuron = neuron
        self.tensors = {}
        self._names = set()
        # Constant currents of neurons that are still to be added.
        self.currents = self._recurrent_biases()

    def build(self, name):
        """Returns the model."""
        for node in self.graph.in_order():
            self.tensors[node] = self._add(node, self.graph.nodes[node])
        inputs, outputs = (
            [self.tensors[x] for x in self.graph.of_kind(which)]
            for which in ("Input", "Output")
        )
        if not inputs or not outputs:
            raise ValueError(
                "`graph` must have an Input and an Output. "
                f"Received: nodes {list(self.graph.nodes)}"
            )
        single = [x if x[1:] else x[0] for x in (inputs, outputs)]
        return PortableModel(*single, name=name)

    def _add(self, name, node):
        """Adds the layers of a node and returns their output."""
        label = self._label(name)
        which = kind(node)
        if which == "Input":
            channels, *space = map(int, node.input_type["input"])
            return keras.Input((None, *space, channels), name=label)
        before = [self.tensors[x] for x in self.graph.before[name]]
        if not before:
            raise ValueError(
                "Every node but an Input must have an input. Received: node "
                f"{name!r} without one"
            )
        x = before[0]
        if before[1:]:
            x = keras.layers.Add(name=f"{label}_sum")(before)
        if which == "Output":
            return x
        if which in ADDERS:
            current = self._current_behind(name, node)
            return ADDERS[which](label, node, x, current)
        if which == "Threshold":
            below = -channels_last(node.threshold)
            x = rescale(f"{label}_distance", x, 1.0, below)
            fire = keras.layers.Activation(
                self.neuron["surrogate"], name=f"{label}_fire"
            )
            return PerTimestep(fire, name=label)(x)
        if which in SPIKING:
            return self._spiking(name, label, node, x)
        if which in INTEGRATORS:
            return self._integrator(name, label, node, x)
        raise ValueError(
            f"`graph` must not have {which} nodes, which have no counterpart. "
            f"Received: node {name!r}"
        )

    def _label(self, name):
        """Returns the name of a layer for a node."""
        label = re.sub(r"\W", "_", name, flags=re.ASCII)
        while label in self._names:
            label += "_"
        self._names.add(label)
        return label

    def _recurrent_biases(self):
        """Returns the constant currents of recurrent connections."""
        biases = {}
        for name, connections in self.graph.recurrent.items():
            found = [getattr(x, "bias", None) for x in connections]
            found = [np.asarray(x) for x in found if x is not None]
            if any(np.any(x) for x in found):
                biases[name] = sum(found)
        return biases

    def _current_behind(self, name, node):
        """Takes the constant current of the neurons after weights.

        It becomes part of the bias, if nothing else is behind the weights.
        """
        after = self.graph.after(name)
        if len(after) != 1 or len(self.graph.before[after[0]]) != 1:
            return None
        if kind(node) not in ("Affine", "Conv1d", "Conv2d", "Linear"):
            return None
        return self.currents.pop(after[0], None)

    def _with_current(self, name, label, node, x):
        """Returns the constants of neurons, and `x` with their currents."""
        shape = tuple(x.shape[2:])
        constants, offset = from_node(name, node, shape, self.dt, self.firing)
        offset = offset + self.currents.pop(name, 0.0)
        if np.any(offset):
            x = rescale(f"{label}_current", x, 1.0, offset)
        return constants, x

    def _spiking(self, name, label, node, x):
        """Adds neurons."""
        if kind(node) == "CubaLIF" and np.any(node.v_leak != node.v_reset):
            raise ValueError(
                f"`v_leak` of CubaLIF {name!r} must equal `v_reset`, because "
                "a layer has no current behind the synapse."
            )
        constants, x = self._with_current(name, label, node, x)
        arguments = constants | self.neuron | {"name": label}
        connections = self.graph.recurrent[name]
        cuba = "alpha" in constants
        if not connections:
            return (CubaLIF if cuba else LIF)(**arguments)(x)
        if len(x.shape) != 3:
            raise ValueError(
                f"Recurrent neurons must be a vector. Received: node {name!r} "
                f"of shape {tuple(x.shape[2:])}"
            )
        units = x.shape[-1]
        identity = np.eye(units)
        kernel = sum(
            identity if x is None else np.asarray(x.weight).T
            for x in connections
        )
        layer = (RecurrentCubaLIF if cuba else RecurrentLIF)(
            units, recurrent_initializer="zeros", **arguments
        )
        y = layer(x)
        layer.recurrent_kernel.assign(kernel)
        return y

    def _integrator(self, name, label, node, x):
        """Adds leaky integrators: one, or two if there is a synapse."""
        shape = tuple(x.shape[2:])
        constants, offset = from_node(name, node, shape, self.dt, self.firing)
        alpha = constants.pop("alpha", 0.0)
        if np.any(alpha) and not np.all(alpha):
            raise ValueError(
                f"`tau_syn` of node {name!r} must be above `dt` everywhere or "
                f"nowhere, {self.dt:g}. Received: {np.min(node.tau_syn):g} to "
                f"{np.max(node.tau_syn):g}"
            )
        if np.any(alpha):
            synapse = LeakyIntegrator(alpha, 1.0, name=f"{label}_synapse")
            x = synapse(x)
        if np.any(offset):
            x = rescale(f"{label}_current", x, 1.0, offset)
        return LeakyIntegrator(**constants, name=label)(x)
