"""Spiking neurons as cells for `keras.layers.RNN`: one timestep each."""

import keras
from keras import ops

from keras_snn import dynamics
from keras_snn.layers.constants import Constants
from keras_snn.precision import at_least_float32
from keras_snn.validation import check_count, check_float_dtype, check_shape

__all__ = [
    "AdaptiveLIFCell",
    "CubaLIFCell",
    "LIFRNNCell",
    "LeakyIntegratorCell",
]


class _Cell(Constants, keras.layers.Layer):
    """Base class of the cells. A subclass sets `neuron`."""

    def __init__(self, units, neuron, learn, **kwargs):
        super().__init__(**kwargs)
        self.units = check_count("units", units)
        check_float_dtype(self)
        self.neuron = neuron
        self._set_learn(learn)
        sizes = [self.units] * len(neuron.states)
        self.state_size = sizes if sizes[1:] else self.units
        self.output_size = self.units

    @property
    def compute_dtype(self):
        """The dtype of the states.

        `keras.layers.RNN` carries the states in the cell's compute dtype.
        """
        return at_least_float32(super().compute_dtype)

    def build(self, input_shape):
        """Checks that the current has one feature per neuron."""
        if input_shape[-1] != self.units or len(input_shape) != 2:
            name = type(self).__name__
            raise ValueError(
                f"`{name}` of `units={self.units}` expects a current of "
                f"shape (batch, {self.units}) per timestep; use `LIF` for "
                f"images. Received: shape={tuple(input_shape)}"
            )
        self._build_constants((self.units,))

    def call(self, inputs, states):
        """Advances by one timestep."""
        check_shape("inputs", inputs, (None, self.units))
        current = ops.cast(inputs, self.compute_dtype)
        system = self._system((self.units,)).with_tensors(self.compute_dtype)
        outputs, states = system.step(tuple(states), current)
        return outputs, list(states)

    def get_config(self):
        """Returns the constructor's arguments."""
        return (
            super().get_config() | {"units": self.units} | self._neuron_config()
        )


@keras.saving.register_keras_serializable(package="keras_snn")
class LIFRNNCell(_Cell):
    """One timestep of leaky integrate-and-fire neurons (Eq. 2).

    Use it in `keras.layers.RNN`. `LIF` computes the same for a whole sequence.
    It is faster and accepts features of any shape.

    With a mask on JAX, pass `unroll=True` to `RNN`. Otherwise Keras 3.15 fills
    masked timesteps with the potential. With an `initial_state`, also pass
    `mask=` when you call `RNN`, because Keras drops the mask of its inputs.

    Args:
        units: Number of neurons, and of features of the current.
        k: Fraction of the potential kept per timestep, in `(0, 1]`. This and
            the other constants are numbers, or arrays that broadcast with
            `(units,)`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0, in the unit of the potential.
        surrogate: Surrogate from `keras_snn.surrogates`: a name, a config or an
            object. Its derivative replaces the derivative of the spike.
        reset: Effect of a spike on the potential: `"zero"` clears it (Eq. 2),
            `"subtract"` lowers it by `theta`, `"none"` leaves it unchanged.
        detach_reset: Whether the gradient stops at the reset.
        learn: Names of the constants to learn, such as `("k",)`. Each becomes
            a weight. A learnt fraction must start strictly between 0 and 1.
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
        learn=(),
        **kwargs,
    ):
        # A model with further constants passes them on by name.
        further = {x: kwargs.pop(x) for x in self.model.RANGES if x in kwargs}
        neuron = self.model(
            *(k, lam, theta, surrogate, reset, detach_reset), **further
        )
        super().__init__(units, neuron, learn, **kwargs)


@keras.saving.register_keras_serializable(package="keras_snn")
class CubaLIFCell(LIFRNNCell):
    """One timestep of `CubaLIF` neurons, for `keras.layers.RNN`.

    Args:
        units: Number of neurons, and of features of the current.
        k: See `CubaLIF`.
        lam: See `CubaLIF`.
        theta: See `CubaLIF`.
        alpha: See `CubaLIF`.
        **kwargs: The other arguments of `LIFRNNCell`.

    Call arguments:
        inputs: Current of one timestep, `(batch, units)`.
        states: List of the potential and the synaptic current,
            `(batch, units)`.

    Returns:
        `(spikes, states)`.
    """

    model = dynamics.Cuba

    def __init__(self, units, k=0.8, lam=0.2, theta=1.0, alpha=0.5, **kwargs):
        super().__init__(units, k, lam, theta, alpha=alpha, **kwargs)

    alpha = property(lambda self: self._constant("alpha"))


@keras.saving.register_keras_serializable(package="keras_snn")
class AdaptiveLIFCell(LIFRNNCell):
    """One timestep of `AdaptiveLIF` neurons, for `keras.layers.RNN`.

    Args:
        units: Number of neurons, and of features of the current.
        k: See `AdaptiveLIF`.
        lam: See `AdaptiveLIF`.
        theta: See `AdaptiveLIF`.
        rho: See `AdaptiveLIF`.
        coupling: See `AdaptiveLIF`.
        jump: See `AdaptiveLIF`.
        **kwargs: The other arguments of `LIFRNNCell`.

    Call arguments:
        inputs: Current of one timestep, `(batch, units)`.
        states: List of the potential and the adaptation, `(batch, units)`.

    Returns:
        `(spikes, states)`.
    """

    model = dynamics.Adaptive

    def __init__(
        self,
        units,
        k=0.8,
        lam=0.2,
        theta=1.0,
        rho=0.9,
        coupling=0.0,
        jump=1.0,
        **kwargs,
    ):
        further = {"rho": rho, "coupling": coupling, "jump": jump}
        super().__init__(units, k, lam, theta, **further, **kwargs)

    rho = property(lambda self: self._constant("rho"))
    coupling = property(lambda self: self._constant("coupling"))
    jump = property(lambda self: self._constant("jump"))


@keras.saving.register_keras_serializable(package="keras_snn")
class LeakyIntegratorCell(_Cell):
    """One timestep of `LeakyIntegrator`, for `keras.layers.RNN`.

    Args:
        units: Number of integrators, and of features of the current.
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        learn: See `LeakyIntegrator`.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: Current of one timestep, `(batch, units)`.
        states: List of one tensor, the potential `(batch, units)`.

    Returns:
        `(potential, [potential])`.
    """

    model = dynamics.Integrator

    def __init__(self, units, k=0.8, lam=0.2, learn=(), **kwargs):
        super().__init__(units, self.model(k, lam), learn, **kwargs)
