"""What all layers of neurons over time have in common."""

import math

import keras
from keras import ops

from keras_snn import dynamics
from keras_snn.layers.constants import Constants
from keras_snn.layers.states import Stateful
from keras_snn.precision import at_least_float32
from keras_snn.validation import (
    check_choice,
    check_float_dtype,
    check_shape,
    check_time_axis,
)

__all__ = ["OverTime"]


class OverTime(Constants, Stateful, keras.layers.Layer):
    """Runs neurons over whole sequences.

    A subclass sets `model` and `neuron`, see `Constants`.

    Args:
        return_sequences: See `LIF`.
        return_state: See `LIF`.
        stateful: See `LIF`.
        go_backwards: See `LIF`.
        **kwargs: Keywords of `keras.layers.Layer`.
    """

    needs_time_axis = True

    def __init__(
        self,
        return_sequences=True,
        return_state=False,
        stateful=False,
        go_backwards=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_float_dtype(self)
        flags = (False, True)
        self.return_sequences = check_choice(
            "return_sequences", return_sequences, flags
        )
        self.return_state = check_choice("return_state", return_state, flags)
        self.stateful = check_choice("stateful", stateful, flags)
        self.go_backwards = check_choice("go_backwards", go_backwards, flags)
        # `keras.layers.Bidirectional` sets this attribute.
        self.zero_output_for_mask = False
        self.states = self._features = self._timesteps = None
        self.supports_masking = True
        self.unroll = False  # `unrolled` sets it.
        # `call` casts: Keras would round the initial states, too.
        self.autocast = False

    @property
    def state_names(self):
        """The names of the states."""
        return self.neuron.states

    def build(self, sequences_shape):
        """Checks the time axis. Adds learnt constants and carried states."""
        check_time_axis(self, sequences_shape)
        _, self._timesteps, *features = sequences_shape
        self._features = tuple(features)
        self._build_constants(self._features)
        if self.stateful:
            state_shape = _without_time(sequences_shape)
            if None in state_shape:
                raise ValueError(
                    "`stateful=True` needs a fixed batch size and feature "
                    f"shape. Received: shape={tuple(sequences_shape)}"
                )
            self.states = [
                self.add_weight(
                    shape=state_shape,
                    initializer="zeros",
                    dtype=at_least_float32(self.compute_dtype),
                    trainable=False,
                    autocast=False,  # A half-precision policy would round it.
                    name=name,
                )
                for name in self.state_names
            ]

    def get_initial_state(self, batch_size):
        """Returns a list of the states at rest, `(batch_size, ...)`."""
        if self._features is None or None in self._features:
            raise ValueError(
                "`get_initial_state` needs a built layer of known feature "
                f"shape. Received: feature shape {self._features}"
            )
        shape = (batch_size, *self._features)
        dtype = at_least_float32(self.compute_dtype)
        return [ops.zeros(shape, dtype) for _ in self.state_names]

    def call(
        self, sequences, initial_state=None, mask=None, sequences_mask=None
    ):
        """Runs the neurons over time."""
        check_time_axis(self, sequences.shape)
        known = None not in (self._timesteps, sequences.shape[1])
        if self.unroll and (self.stateful or not known):
            # PyTorch would trace one timestep for an unknown number.
            raise ValueError(
                f"`{self.name}` can be unrolled only over a fixed number of "
                "timesteps, and not if it is stateful. Export "
                "`step_model(model)` instead. Received: "
                f"declared timesteps={self._timesteps}, "
                f"stateful={self.stateful}"
            )
        mask = sequences_mask if mask is None else mask
        if mask is not None:
            mask = ops.cast(mask, "bool")
            check_shape("mask", mask, sequences.shape[:2])
        if self.stateful:
            sequences = self._check_batch(sequences)
        states = self._start(sequences, initial_state)
        # Event counts may be integers.
        sequences = ops.cast(sequences, self.compute_dtype)
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
            mask = mask if mask is None else ops.flip(mask, axis=1)

        features = tuple(sequences.shape[2:])
        shape = ops.shape(sequences)
        state_shape = _without_time(shape)
        flat = len(shape) == 3
        if not flat:
            units = math.prod(shape[2:])
            sequences = ops.reshape(sequences, (*shape[:2], units))
            states = states and [
                ops.reshape(x, (shape[0], units)) for x in states
            ]
        spikes, states = self._run(sequences, states, mask, features)
        if not flat and (self.return_state or self.stateful):
            states = [ops.reshape(x, state_shape) for x in states]
        if self.stateful:
            for variable, x in zip(self.states, states, strict=True):
                # A copy: `fit` on JAX deletes the old array of a variable.
                variable.assign(ops.copy(ops.stop_gradient(x)))
        if mask is not None and not self.zero_output_for_mask:
            spikes = _hold(spikes, mask)
        output = spikes
        if not self.return_sequences:
            output, shape = spikes[:, -1], state_shape
        output = output if flat else ops.reshape(output, shape)
        return (output, *states) if self.return_state else output

    def _run(self, sequences, states, mask, features):
        """Runs the neurons on `(batch, timesteps, units)`."""
        system = self._system(features)
        return dynamics.run(system, sequences, states, mask, unroll=self.unroll)

    def _start(self, sequences, initial_state):
        """Returns the states before the first timestep, `None` at rest."""
        if initial_state is not None:
            dtype = at_least_float32(self.compute_dtype)
            states = self._check_states(initial_state, sequences)
            return [ops.cast(x, dtype) for x in states]
        if self.stateful:
            # Copies, because PyTorch keeps them for the gradient.
            return [ops.copy(x) for x in self.states]
        return None

    def _check_states(self, initial_state, sequences):
        """Returns the initial states as a list."""
        states, names = initial_state, self.state_names
        if not isinstance(states, (list, tuple)):
            states = [states]
        tensors = all(hasattr(x, "shape") for x in states)
        if len(states) != len(names) or not tensors:
            one = "one tensor, or a list of one tensor"
            several = f"a list of {len(names)} tensors: {', '.join(names)}"
            raise ValueError(
                f"`initial_state` must be {several if names[1:] else one}. "
                f"Received: initial_state={initial_state!r}"
            )
        for state in states:
            expected = _without_time(sequences.shape)
            check_shape("initial_state", state, expected)
        return states

    def compute_output_shape(self, sequences_shape):
        """Returns the shape of the spikes, and of the states if returned."""
        check_time_axis(self, sequences_shape)
        state_shape = _without_time(sequences_shape)
        shape = tuple(sequences_shape) if self.return_sequences else state_shape
        if not self.return_state:
            return shape
        return (shape, *[state_shape] * len(self.state_names))

    def compute_output_spec(
        self, sequences, initial_state=None, mask=None, sequences_mask=None
    ):
        """Returns shapes and dtypes of the outputs. Does not run the loop."""
        del mask, sequences_mask
        shapes = self.compute_output_shape(sequences.shape)
        if initial_state is not None:
            self._check_states(initial_state, sequences)
        if not self.return_state:
            return keras.KerasTensor(shapes, self.compute_dtype)
        dtype = at_least_float32(self.compute_dtype)
        dtypes = self.compute_dtype, *[dtype] * len(self.state_names)
        return tuple(map(keras.KerasTensor, shapes, dtypes))

    def compute_mask(self, sequences, mask):
        """Returns the mask if the output is a sequence."""
        del sequences
        mask = mask if self.return_sequences else None
        if self.go_backwards and mask is not None:
            mask = ops.flip(mask, axis=1)
        if self.return_state:
            return [mask, *[None] * len(self.state_names)]
        return mask

    def get_config(self):
        """Returns the constructor's arguments."""
        return (
            super().get_config()
            | self._neuron_config()
            | {
                "return_sequences": self.return_sequences,
                "return_state": self.return_state,
                "stateful": self.stateful,
                "go_backwards": self.go_backwards,
            }
        )


def _without_time(shape):
    return (shape[0], *shape[2:])


def _hold(spikes, mask):
    """Fills masked timesteps with the last output before them."""
    batch, timesteps, units = ops.shape(spikes)
    ran = ops.cumsum(ops.cast(mask, "int32"), axis=1)
    # The unmasked timesteps in order, then anything.
    order = ops.sort(ops.where(mask, ops.arange(timesteps), timesteps), axis=1)
    last = ops.take_along_axis(order, ops.maximum(ran - 1, 0), axis=1)
    # Before the first unmasked timestep, timestep 0 is masked and holds 0.
    last = ops.where(ran > 0, last, 0)
    rows = last + ops.expand_dims(ops.arange(batch) * timesteps, 1)
    spikes = ops.reshape(spikes, (batch * timesteps, units))
    held = ops.take(spikes, ops.reshape(rows, (batch * timesteps,)), axis=0)
    return ops.reshape(held, (batch, timesteps, units))
