"""Spiking neurons as Keras layers.

Axes are `(batch, timesteps, ...)`. Neurons have no weights.
"""

import math

import keras
from keras import ops

from keras_snn import dynamics, surrogates
from keras_snn.layers.precision import at_least_float32
from keras_snn.layers.states import Stateful
from keras_snn.validation import (
    check_choice,
    check_count,
    check_shape,
    check_time_axis,
)

__all__ = ["LIF", "LIFRNNCell"]


class _Spiking:
    """Holds the constants of a neuron, for the cell and the layer."""

    def _set_neuron(self, k, lam, theta, surrogate, reset, detach_reset):
        self.neuron = dynamics.Neuron(
            k, lam, theta, surrogate, reset, detach_reset
        )

    # Read-only, because the neuron is frozen.
    k = property(lambda self: self.neuron.k)
    lam = property(lambda self: self.neuron.lam)
    theta = property(lambda self: self.neuron.theta)
    surrogate = property(lambda self: self.neuron.surrogate)
    reset = property(lambda self: self.neuron.reset)
    detach_reset = property(lambda self: self.neuron.detach_reset)

    def _neuron_config(self):
        return {
            "k": self.k,
            "lam": self.lam,
            "theta": self.theta,
            "surrogate": surrogates.serialize(self.surrogate),
            "reset": self.reset,
            "detach_reset": self.detach_reset,
        }


@keras.saving.register_keras_serializable(package="keras_snn")
class LIFRNNCell(_Spiking, keras.layers.Layer):
    """One timestep of leaky integrate-and-fire neurons (Eq. 2).

    Use it in `keras.layers.RNN`. `LIF` computes the same for a whole sequence.
    It is faster and accepts features of any shape.

    With a mask on JAX, pass `unroll=True` to `RNN`. Otherwise Keras 3.15 fills
    masked timesteps with the potential. With an `initial_state`, also pass
    `mask=` when you call `RNN`, because Keras drops the mask of its inputs.

    Args:
        units: Number of neurons, and of features of the current.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0, in the unit of the potential.
        surrogate: Surrogate from `keras_snn.surrogates`: a name, a config or an
            object. Its derivative replaces the derivative of the spike.
        reset: Effect of a spike on the potential: `"zero"` clears it (Eq. 2),
            `"subtract"` lowers it by `theta`, `"none"` leaves it unchanged.
        detach_reset: Whether the gradient stops at the reset.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: Current of one timestep, `(batch, units)`.
        states: List of one tensor, the potential `(batch, units)`.

    Returns:
        `(spikes, [potential])`: the spikes, 0 or 1, and the potential after the
        reset.

    Reference:
        "Accelerating Training of Deep Spiking Neural Networks with Parameter
        Initialization" (ICLR 2022 submission), Eq. 2.

    Example:
    >>> rnn = keras.layers.RNN(LIFRNNCell(1, k=0.5, lam=1.0, theta=1.25),
    ...                        return_sequences=True)
    >>> ops.convert_to_numpy(rnn(ops.ones((1, 4, 1)))).ravel().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(
        self,
        units,
        k=0.8,
        lam=0.2,
        theta=1.0,
        surrogate="arctan",
        reset="zero",
        detach_reset=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = check_count("units", units)
        self._set_neuron(k, lam, theta, surrogate, reset, detach_reset)
        self.state_size = self.output_size = self.units

    @property
    def compute_dtype(self):
        """The dtype of the potential.

        `keras.layers.RNN` carries the state in the cell's compute dtype.
        """
        return at_least_float32(super().compute_dtype)

    def build(self, input_shape):
        """Checks that the current has one feature per neuron."""
        if input_shape[-1] != self.units or len(input_shape) != 2:
            raise ValueError(
                f"`LIFRNNCell` of `units={self.units}` expects a current of "
                f"shape (batch, {self.units}) per timestep; use `LIF` for "
                f"images. Received: shape={tuple(input_shape)}"
            )

    def call(self, inputs, states):
        """Advances by one timestep."""
        current = ops.cast(inputs, self.compute_dtype)
        spikes, states = self.neuron.system().step(states, current)
        return spikes, list(states)

    def get_config(self):
        """Returns the constructor's arguments."""
        return (
            super().get_config() | {"units": self.units} | self._neuron_config()
        )


@keras.saving.register_keras_serializable(package="keras_snn")
class LIF(_Spiking, Stateful, keras.layers.Layer):
    """Leaky integrate-and-fire neurons over a whole sequence (Eq. 2).

    It computes the same as `keras.layers.RNN(LIFRNNCell(...))`, but accepts
    features of any shape. It uses one fused loop over time with a hand-written
    gradient.

    Potentials start at zero at every call, unless `initial_state` is given or
    the layer is `stateful`. A NaN potential gives NaN spikes. Second
    derivatives raise an error.

    As in `keras.layers.RNN`, the potential of a stateful layer is a variable,
    but not a weight. It is not saved, counted or set with the weights. So
    weights trained with batches of 32 fit a stateful network of batch size 1.
    `reset_state` sets it to zero. This loop does it for a whole model::

        for variable in model.non_trainable_variables:
            if variable.name == "potential":
                variable.assign(keras.ops.zeros(variable.shape))

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0, in the unit of the potential.
        surrogate: Surrogate from `keras_snn.surrogates`: a name, a config or an
            object. Its derivative replaces the derivative of the spike.
        reset: Effect of a spike on the potential: `"zero"` clears it (Eq. 2),
            `"subtract"` lowers it by `theta`, `"none"` leaves it unchanged.
        detach_reset: Whether the gradient stops at the reset.
        return_sequences: Whether to return the spikes of all timesteps.
            Otherwise returns those of the last timestep.
        return_state: Whether to return the final potential as well.
        stateful: Whether each batch starts from the final potential of the
            previous batch. All batches must have the same size.
        go_backwards: Whether to run from the last timestep to the first. The
            outputs come in that order, too.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        sequences: Current, `(batch, timesteps, ...)`.
        initial_state: Initial potential, `(batch, ...)`, or a list that holds
            it.
        mask: Booleans `(batch, timesteps)`. As in `keras.layers.RNN`, a masked
            timestep keeps the potential and repeats the previous output.
        sequences_mask: The same. Keras passes a mask under this name if there
            is an `initial_state`.

    Returns:
        Spikes, 0 or 1, in the shape of `sequences`. Unless `return_sequences`,
        there is no time axis. With `return_state`, also the potential, which is
        float32 under a half-precision policy.

    Reference:
        "Accelerating Training of Deep Spiking Neural Networks with Parameter
        Initialization" (ICLR 2022 submission), Eq. 2.

    Example:
    >>> spikes = LIF(k=0.5, lam=1.0, theta=1.25)(ops.ones((1, 4, 1)))
    >>> ops.convert_to_numpy(spikes).ravel().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(
        self,
        k=0.8,
        lam=0.2,
        theta=1.0,
        surrogate="arctan",
        reset="zero",
        detach_reset=False,
        return_sequences=True,
        return_state=False,
        stateful=False,
        go_backwards=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if "float" not in self.compute_dtype:
            raise ValueError(
                "`dtype` must be a float dtype or a policy of one. "
                f"Received: dtype={self.compute_dtype!r}"
            )
        self._set_neuron(k, lam, theta, surrogate, reset, detach_reset)
        flags = (False, True)
        self.return_sequences = check_choice(
            "return_sequences", return_sequences, flags
        )
        self.return_state = check_choice("return_state", return_state, flags)
        self.stateful = check_choice("stateful", stateful, flags)
        self.go_backwards = check_choice("go_backwards", go_backwards, flags)
        # `keras.layers.Bidirectional` sets this attribute.
        self.zero_output_for_mask = False
        self.potential = self._features = None
        self.supports_masking = True
        # `call` casts: Keras would round the initial potential, too.
        self.autocast = False

    @property
    def states(self):
        """A list of the carried potential, or `None` unless stateful."""
        return None if self.potential is None else [self.potential]

    def build(self, sequences_shape):
        """Checks the time axis, and adds the potential if stateful."""
        check_time_axis(self, sequences_shape)
        self._features = tuple(sequences_shape[2:])
        if self.stateful:
            state_shape = _without_time(sequences_shape)
            if None in state_shape:
                raise ValueError(
                    "`stateful=True` needs a fixed batch size and feature "
                    f"shape. Received: shape={tuple(sequences_shape)}"
                )
            self.potential = self.add_weight(
                shape=state_shape,
                initializer="zeros",
                dtype=at_least_float32(self.compute_dtype),
                trainable=False,
                autocast=False,  # A half-precision policy would round it.
                name="potential",
            )

    def get_initial_state(self, batch_size):
        """Returns a list of the potential at rest, `(batch_size, ...)`."""
        if self._features is None or None in self._features:
            raise ValueError(
                "`get_initial_state` needs a built layer of known feature "
                f"shape. Received: feature shape {self._features}"
            )
        dtype = at_least_float32(self.compute_dtype)
        return [ops.zeros((batch_size, *self._features), dtype)]

    def call(
        self, sequences, initial_state=None, mask=None, sequences_mask=None
    ):
        """Runs the neurons over time."""
        check_time_axis(self, sequences.shape)
        mask = sequences_mask if mask is None else mask
        if mask is not None:
            mask = ops.cast(mask, "bool")
            check_shape("mask", mask, sequences.shape[:2])
        if self.stateful:
            sequences = self._check_batch(sequences)
        potential = self._start(sequences, initial_state)
        # Event counts may be integers.
        sequences = ops.cast(sequences, self.compute_dtype)
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
            mask = mask if mask is None else ops.flip(mask, axis=1)

        shape = ops.shape(sequences)
        state_shape = _without_time(shape)
        flat = len(shape) == 3
        if not flat:
            units = math.prod(shape[2:])
            sequences = ops.reshape(sequences, (*shape[:2], units))
            potential = ops.reshape(potential, (shape[0], units))
        spikes, (potential,) = dynamics.run(
            self.neuron.system(), sequences, [potential], mask
        )
        if not flat and (self.return_state or self.stateful):
            potential = ops.reshape(potential, state_shape)
        if self.stateful:
            # A copy, because `fit` on JAX deletes the old array of a variable.
            self.potential.assign(ops.copy(ops.stop_gradient(potential)))
        if mask is not None and not self.zero_output_for_mask:
            spikes = _hold(spikes, mask)
        output = spikes
        if not self.return_sequences:
            output, shape = spikes[:, -1], state_shape
        output = output if flat else ops.reshape(output, shape)
        return (output, potential) if self.return_state else output

    def _start(self, sequences, initial_state):
        """Returns the potential before the first timestep."""
        dtype = at_least_float32(self.compute_dtype)
        if initial_state is not None:
            return ops.cast(_potential_of(initial_state, sequences), dtype)
        if self.stateful:
            # A copy, because PyTorch keeps it for the gradient.
            return ops.copy(self.potential)
        return ops.zeros(_without_time(ops.shape(sequences)), dtype)

    def compute_output_shape(self, sequences_shape):
        """Returns the shape of the spikes, and of the potential if returned."""
        check_time_axis(self, sequences_shape)
        state_shape = _without_time(sequences_shape)
        shape = tuple(sequences_shape) if self.return_sequences else state_shape
        return (shape, state_shape) if self.return_state else shape

    def compute_output_spec(
        self, sequences, initial_state=None, mask=None, sequences_mask=None
    ):
        """Returns shapes and dtypes of the outputs. Does not run the loop."""
        del mask, sequences_mask
        shapes = self.compute_output_shape(sequences.shape)
        if initial_state is not None:
            _potential_of(initial_state, sequences)
        if not self.return_state:
            return keras.KerasTensor(shapes, self.compute_dtype)
        dtypes = self.compute_dtype, at_least_float32(self.compute_dtype)
        return tuple(map(keras.KerasTensor, shapes, dtypes))

    def compute_mask(self, sequences, mask):
        """Returns the mask if the output is a sequence."""
        del sequences
        mask = mask if self.return_sequences else None
        if self.go_backwards and mask is not None:
            mask = ops.flip(mask, axis=1)
        return [mask, None] if self.return_state else mask

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


def _potential_of(initial_state, sequences):
    states = initial_state
    if not isinstance(states, (list, tuple)):
        states = [states]
    if len(states) != 1 or not hasattr(states[0], "shape"):
        raise ValueError(
            "`initial_state` must be one tensor, or a list of one tensor. "
            f"Received: initial_state={initial_state!r}"
        )
    check_shape("initial_state", states[0], _without_time(sequences.shape))
    return states[0]


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
