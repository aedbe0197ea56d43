"""Spiking neurons as Keras layers.

Axes are `(batch, timesteps, ...)`. Neurons have no weights.
"""

import math

import keras
from keras import ops

from keras_snn import dynamics, surrogates
from keras_snn.layers.precision import at_least_float32
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

    Use it in `keras.layers.RNN`, for instance inside
    `keras.layers.Bidirectional`. `LIF` computes the same for a whole sequence.
    It is faster and accepts features of any shape.

    With a mask on JAX, pass `unroll=True` to `RNN`. Otherwise Keras 3.15 fills
    masked timesteps with the potential.

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
        spikes, potential = self.neuron.step(states[0], current)
        return spikes, [potential]

    def get_config(self):
        """Returns the constructor's arguments."""
        return (
            super().get_config() | {"units": self.units} | self._neuron_config()
        )


@keras.saving.register_keras_serializable(package="keras_snn")
class LIF(_Spiking, keras.layers.Layer):
    """Leaky integrate-and-fire neurons over a whole sequence (Eq. 2).

    It computes the same as `keras.layers.RNN(LIFRNNCell(...))`, but accepts
    features of any shape. It uses one fused loop over time with a hand-written
    gradient.

    Potentials start at zero at every call, unless `initial_state` is given or
    the layer is `stateful`. A NaN potential gives NaN spikes. Second
    derivatives are not supported: backends return wrong values or raise an
    error.

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
            previous batch. This requires a fixed batch size.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        sequences: Current, `(batch, timesteps, ...)`.
        initial_state: Initial potential, `(batch, ...)`, or a list that holds
            it.
        mask: Booleans `(batch, timesteps)`. As in `keras.layers.RNN`, a masked
            timestep keeps the potential and repeats the previous output.

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
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._set_neuron(k, lam, theta, surrogate, reset, detach_reset)
        flags = (False, True)
        self.return_sequences = check_choice(
            "return_sequences", return_sequences, flags
        )
        self.return_state = check_choice("return_state", return_state, flags)
        self.stateful = check_choice("stateful", stateful, flags)
        self.supports_masking = True

    def build(self, sequences_shape):
        """Checks the time axis, and adds the potential if stateful."""
        check_time_axis(self, sequences_shape)
        state_shape = _without_time(sequences_shape)
        if self.stateful:
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

    def call(self, sequences, initial_state=None, mask=None):
        """Runs the neurons over time."""
        check_time_axis(self, sequences.shape)
        if mask is not None:
            check_shape("mask", mask, sequences.shape[:2])
            mask = ops.cast(mask, "bool")
        # Event counts may be integers.
        sequences = ops.cast(sequences, self.compute_dtype)
        shape = ops.shape(sequences)
        dtype = at_least_float32(self.compute_dtype)
        state_shape = _without_time(shape)
        if isinstance(initial_state, (list, tuple)):
            (initial_state,) = initial_state
        expected = _without_time(sequences.shape)
        if initial_state is not None:
            check_shape("initial_state", initial_state, expected)
            potential = ops.cast(initial_state, dtype)
        elif self.stateful:
            check_shape("sequences", sequences, self._stateful_shape(sequences))
            # A copy, because PyTorch keeps it for the gradient.
            potential = ops.copy(self.potential)
        else:
            potential = ops.zeros(state_shape, dtype)

        units = math.prod(shape[2:])
        spikes, potential = dynamics.lif(
            self.neuron,
            ops.reshape(sequences, (*shape[:2], units)),
            ops.reshape(potential, (shape[0], units)),
            mask,
        )
        potential = ops.reshape(potential, state_shape)
        if self.stateful:
            self.potential.assign(ops.stop_gradient(potential))
        if mask is not None:
            spikes = _hold(spikes, mask)
        if self.return_sequences:
            output = ops.reshape(spikes, shape)
        else:
            output = ops.reshape(spikes[:, -1], state_shape)
        return (output, potential) if self.return_state else output

    def _stateful_shape(self, sequences):
        batch, *features = self.potential.shape
        return batch, sequences.shape[1], *features

    def reset_state(self):
        """Sets the potential of a stateful layer to zero."""
        if self.stateful and self.built:
            self.potential.assign(ops.zeros_like(self.potential.value))

    def compute_output_spec(self, sequences, initial_state=None, mask=None):
        """Returns shapes and dtypes of the outputs. Does not run the loop."""
        del mask
        check_time_axis(self, sequences.shape)
        state_shape = _without_time(sequences.shape)
        if isinstance(initial_state, (list, tuple)):
            (initial_state,) = initial_state
        if initial_state is not None:
            check_shape("initial_state", initial_state, state_shape)
        output = keras.KerasTensor(
            sequences.shape if self.return_sequences else state_shape,
            dtype=self.compute_dtype,
        )
        if not self.return_state:
            return output
        potential_dtype = at_least_float32(self.compute_dtype)
        return output, keras.KerasTensor(state_shape, dtype=potential_dtype)

    def compute_mask(self, sequences, mask):
        """Returns the mask if the output is a sequence."""
        del sequences
        mask = mask if self.return_sequences else None
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
            }
        )


def _without_time(shape):
    return (shape[0], *shape[2:])


def _hold(spikes, mask):
    """Fills masked timesteps with the last output before them."""
    mask = ops.cast(mask, "int32")
    ran = ops.cumsum(mask, axis=1)
    # Selects the last unmasked timestep. Before the first one it selects
    # nothing, which gives 0.
    same = ops.equal(ops.expand_dims(ran, 2), ops.expand_dims(ran, 1))
    select = ops.cast(same, spikes.dtype)
    select = select * ops.cast(ops.expand_dims(mask, 1), spikes.dtype)
    return ops.matmul(select, spikes)
