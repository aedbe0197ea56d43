"""What the neurons of a model receive and emit, and their potentials."""

import collections
import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_snn.models.probe import spiking_outputs
from keras_snn.models.rates import Batches, as_inputs, restored
from keras_snn.models.synapses import constants_of, recurrent_kernel
from keras_snn.validation import check_choice

__all__ = ["Trace", "potentials", "traces"]

TOLERANCE = 1e-3  # of potentials, which half precision rounds


@dataclasses.dataclass(frozen=True)
class Trace:
    """What the neurons of a layer receive and emit for one sample.

    Attributes:
        layer: The layer.
        currents: `(timesteps, ...)`.
        spikes: `(timesteps, ...)`, 0 or 1. Only those at `known` timesteps
            have a meaning.
        runs: `(timesteps,)`, false at masked timesteps.
        known: `(timesteps,)`, false where the layer does not return its spikes:
            at masked timesteps, and at all but the last unless
            `return_sequences`.
    """

    layer: Any
    currents: np.ndarray
    spikes: np.ndarray
    runs: np.ndarray
    known: np.ndarray


def traces(model, x, name=None):
    """Records what every layer of neurons receives and emits.

    It runs in inference and leaves the model as it was.

    Args:
        model: A model that `keras_snn.models.probe` takes.
        x: Inputs, as `callbacks.firing_rates` takes them. Only the first sample
            counts.
        name: Name of the only layer to record, one of those of `probe`.

    Returns:
        Dictionary that maps the names of `probe` to a `Trace`.

    Raises:
        ValueError: If `probe` does not accept the model, or it has no such
            layer.
    """
    layers = []

    def observe(layer, spikes, sequences, mask):
        layers.append(layer)
        watch = _Watch(len(layers) - 1, layer.compute_dtype)
        return watch(spikes, sequences, sequences_mask=mask)

    graph, found = spiking_outputs(model, observe)
    if name is not None:
        name = check_choice("layer", name, tuple(found))
        found = {name: found[name]}
    # Keras sorts the keys of plain dictionaries.
    watching = keras.Model(graph.input, collections.OrderedDict(found))
    size = model.inputs[0].shape[0]  # known for stateful models
    batch = as_inputs(next(iter(Batches(x, size))), watching)
    batch = keras.tree.map_structure(lambda x: x[: size or 1], batch)
    with restored(watching.non_trainable_variables):
        recorded = watching.predict_on_batch(batch)
    return {
        name: _trace(layers[int(index[0])], *(each[0] for each in arrays))
        for name, (index, *arrays) in recorded.items()
    }


class _Watch(keras.layers.Layer):
    """Returns what a layer receives and emits, and its index."""

    def __init__(self, index, dtype):
        super().__init__(autocast=False)
        self.index, self.current_dtype = index, dtype

    def call(self, spikes, sequences, sequences_mask=None):
        """Returns tensors that start with the axis of the samples."""
        shape = ops.shape(sequences)[:2]
        mask = ops.ones(shape, "bool")
        if sequences_mask is not None:
            mask = ops.reshape(ops.cast(sequences_mask, "bool"), shape)
        # The neurons integrate rounded currents under a half-precision policy.
        currents = ops.cast(sequences, self.current_dtype)
        return [
            ops.full((shape[0],), self.index, "int32"),
            ops.cast(currents, "float32"),
            ops.cast(spikes, "float32"),
            mask,
        ]

    def compute_mask(self, *args):
        """Returns no mask."""
        del args


def _trace(layer, currents, spikes, runs):
    known = runs
    if layer.return_sequences:
        if layer.go_backwards:
            spikes = spikes[::-1]
    else:
        at = np.arange(len(runs))[:: -1 if layer.go_backwards else 1]
        known = np.zeros_like(runs)
        known[at[runs[at]][-1:]] = True
        spikes = known.reshape(-1, *[1] * spikes.ndim) * spikes
    return Trace(layer, currents, spikes, runs, known)


def potentials(trace):
    """Computes the potentials of all neurons of a layer.

    It drives the equations of the neuron with the recorded currents. Where the
    spikes are known, it resets the neurons that spiked in the model, so that
    rounding cannot flip a spike.

    Args:
        trace: A `Trace`.

    Returns:
        `(integrated, kept, theta, spikes)`. The first two have the shape of the
        currents: the potential before the reset, `u_t`, and after it,
        `v_{t+1}`. They are NaN at masked timesteps. `theta` is the threshold of
        each neuron. `spikes` are those of all timesteps.

    Raises:
        ValueError: If the potentials do not agree with the spikes, as under an
            `initial_state`.
    """
    layer, shape = trace.layer, trace.currents.shape
    neurons, kernel = constants_of(layer), recurrent_kernel(layer)
    names = neurons.neuron.RANGES
    system = neurons.neuron.system(**{x: getattr(neurons, x) for x in names})
    count = len(system.gain)
    states = [np.zeros(shape[1:])] * count
    fired = np.zeros(shape[1:])
    if layer.stateful:
        states = [ops.convert_to_numpy(x)[0] for x in layer.states]
        fired, states = states[-1], states[:count]
    integrated, kept = np.full((2, *shape), np.nan)
    spikes = np.zeros(shape)
    order = np.flatnonzero(trace.runs)
    for t in order[::-1] if layer.go_backwards else order:
        current = trace.currents[t].astype("float64")
        if kernel is not None:
            current = current + fired @ ops.convert_to_numpy(kernel)
        found = system.integrate(states, current)
        fired = found[0] > system.theta
        if trace.known[t]:
            _check(trace, found[0], system.theta, t)
            fired = trace.spikes[t] > 0
        states = [ops.convert_to_numpy(x) for x in system.after(fired, found)]
        integrated[t], kept[t], spikes[t] = found[0], states[0], fired
    return integrated, kept, np.broadcast_to(system.theta, shape[1:]), spikes


def _check(trace, potential, theta, t):
    """Raises if potentials and spikes differ by more than rounding."""
    wrong = (potential > theta) != (trace.spikes[t] > 0)
    far = np.abs(potential - theta) > TOLERANCE * (theta + np.abs(potential))
    if (wrong & far).any():
        raise ValueError(
            "`layer` must start at rest and follow the equations of its class. "
            f"Received: layer {trace.layer.name!r}, whose spikes differ from "
            f"those of its potentials at timestep {t + 1}"
        )
