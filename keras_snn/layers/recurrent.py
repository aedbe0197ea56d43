"""Neurons with recurrent connections within their layer."""

import keras
import numpy as np

from keras_snn import dynamics
from keras_snn.initializers import AsymptoteInitializer
from keras_snn.layers.cells import LIFRNNCell
from keras_snn.layers.neurons import LIF, AdaptiveLIF, CubaLIF
from keras_snn.precision import at_least_float32
from keras_snn.validation import check_count, check_shape

__all__ = [
    "RecurrentAdaptiveLIF",
    "RecurrentCell",
    "RecurrentCubaLIF",
    "RecurrentLIF",
]


class _Recurrent:
    """Adds a recurrent kernel. Inherit from it before a layer of neurons."""

    def __init__(self, units, *args, recurrent_initializer=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.units = check_count("units", units)
        self.recurrent_initializer = keras.initializers.get(
            recurrent_initializer
        )

    @property
    def state_names(self):
        """The names of the states: the spikes come last."""
        return *super().state_names, "spikes"

    def build(self, sequences_shape):
        """Adds the recurrent kernel."""
        if len(sequences_shape) != 3 or sequences_shape[2] != self.units:
            raise ValueError(
                f"`{type(self).__name__}` of `units={self.units}` expects a "
                f"current of shape (batch, timesteps, {self.units}). "
                f"Received: shape={tuple(sequences_shape)}"
            )
        super().build(sequences_shape)
        # Keras checks the shapes of later calls.
        self.input_spec = keras.layers.InputSpec(shape=(None, None, self.units))
        _add_kernel(self, self.neuron)

    def _run(self, sequences, states, mask, features):
        kernel = keras.ops.convert_to_tensor(self.recurrent_kernel)
        system = self._system(features)
        return dynamics.run(
            system, sequences, states, mask, kernel, self.unroll
        )

    def get_config(self):
        """Returns the constructor's arguments."""
        initializer = self.recurrent_initializer
        return super().get_config() | {
            "units": self.units,
            "recurrent_initializer": initializer
            and keras.initializers.serialize(initializer),
        }


def _add_kernel(layer, neuron):
    """Adds the recurrent kernel of a layer or cell."""
    initializer = layer.recurrent_initializer
    if initializer is None:
        # Half of the inputs of a neuron are recurrent.
        constants = neuron.k, neuron.lam, neuron.theta
        if any(np.ndim(x) for x in constants):
            raise ValueError(
                "`recurrent_initializer` must be given if `k`, `lam` or "
                "`theta` is an array."
            )
        initializer = AsymptoteInitializer(*constants, fan_in=2 * layer.units)
    layer.recurrent_kernel = layer.add_weight(
        shape=(layer.units, layer.units),
        initializer=initializer,
        dtype=at_least_float32(layer.compute_dtype),
        autocast=False,  # The loop integrates in the dtype of the states.
        name="recurrent_kernel",
    )


@keras.saving.register_keras_serializable(package="keras_snn")
class RecurrentLIF(_Recurrent, LIF):
    """`LIF` neurons that feed their spikes back into their own current.

        i_t <- i_t + o_{t-1} recurrent_kernel

    Like `keras.layers.SimpleRNN`, but the input kernel is a layer of its own
    before it: `keras.layers.Dense(units)`.

    Args:
        units: Number of neurons, and of features of the current.
        k: See `LIF`.
        lam: See `LIF`.
        theta: See `LIF`.
        recurrent_initializer: Initializer of the recurrent kernel
            `(units, units)`. The default is `AsymptoteInitializer` with
            `fan_in=2 * units`, which assumes as many external inputs as
            recurrent ones.
        **kwargs: The other arguments of `LIF`.

    Call arguments:
        sequences: Current, `(batch, timesteps, units)`.
        initial_state: List of the potential and the last spikes,
            `(batch, units)`.
        mask: Booleans `(batch, timesteps)`, as for `LIF`. A masked timestep
            keeps the last spikes, too.
        sequences_mask: The same.

    Returns:
        Spikes, as `LIF`. With `return_state`, also the states.

    Raises:
        TypeError, ValueError: As `LIF`.
        ValueError: Also if the current does not have `units` features, or a
            constant is an array and `recurrent_initializer` is not given.

    Example:
    >>> neurons = RecurrentLIF(2, k=0.5, lam=1.0, theta=1.25,
    ...                        recurrent_initializer="identity")
    >>> spikes = neurons(keras.ops.ones((1, 5, 2)))
    >>> keras.ops.convert_to_numpy(spikes)[0, :, 0].tolist()
    [0.0, 1.0, 1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        units,
        k=0.8,
        lam=0.2,
        theta=1.0,
        recurrent_initializer=None,
        **kwargs,
    ):
        kwargs["recurrent_initializer"] = recurrent_initializer
        super().__init__(units, k, lam, theta, **kwargs)


@keras.saving.register_keras_serializable(package="keras_snn")
class RecurrentCubaLIF(_Recurrent, CubaLIF):
    """`CubaLIF` neurons with a recurrent kernel, as in `RecurrentLIF`.

    Args:
        units: Number of neurons, and of features of the current.
        k: See `CubaLIF`.
        lam: See `CubaLIF`.
        theta: See `CubaLIF`.
        alpha: See `CubaLIF`.
        recurrent_initializer: See `RecurrentLIF`.
        **kwargs: The other arguments of `LIF`.

    Call arguments:
        sequences: Current, `(batch, timesteps, units)`.
        initial_state: List of the potential, the synaptic current and the last
            spikes, `(batch, units)`.
        mask: See `RecurrentLIF`.
        sequences_mask: The same.

    Returns:
        Spikes, as `LIF`. With `return_state`, also the states.

    Raises:
        TypeError, ValueError: As `RecurrentLIF`.
    """

    def __init__(
        self,
        units,
        k=0.8,
        lam=0.2,
        theta=1.0,
        alpha=0.5,
        recurrent_initializer=None,
        **kwargs,
    ):
        kwargs["recurrent_initializer"] = recurrent_initializer
        super().__init__(units, k, lam, theta, alpha, **kwargs)


@keras.saving.register_keras_serializable(package="keras_snn")
class RecurrentAdaptiveLIF(_Recurrent, AdaptiveLIF):
    """`AdaptiveLIF` neurons with a recurrent kernel, as in `RecurrentLIF`.

    Args:
        units: Number of neurons, and of features of the current.
        k: See `AdaptiveLIF`.
        lam: See `AdaptiveLIF`.
        theta: See `AdaptiveLIF`.
        rho: See `AdaptiveLIF`.
        coupling: See `AdaptiveLIF`.
        jump: See `AdaptiveLIF`.
        recurrent_initializer: See `RecurrentLIF`.
        **kwargs: The other arguments of `LIF`.

    Call arguments:
        sequences: Current, `(batch, timesteps, units)`.
        initial_state: List of the potential, the adaptation and the last
            spikes, `(batch, units)`.
        mask: See `RecurrentLIF`.
        sequences_mask: The same.

    Returns:
        Spikes, as `LIF`. With `return_state`, also the states.

    Raises:
        TypeError, ValueError: As `RecurrentLIF`.
    """

    def __init__(
        self,
        units,
        k=0.8,
        lam=0.2,
        theta=1.0,
        rho=0.9,
        coupling=0.0,
        jump=1.0,
        recurrent_initializer=None,
        **kwargs,
    ):
        kwargs["recurrent_initializer"] = recurrent_initializer
        constants = k, lam, theta, rho, coupling, jump
        super().__init__(units, *constants, **kwargs)


@keras.saving.register_keras_serializable(package="keras_snn")
class RecurrentCell(keras.layers.Layer):
    """Adds a recurrent kernel to a cell of neurons, for `keras.layers.RNN`.

    With `LIFRNNCell`, it computes the same as `RecurrentLIF`, which is faster.

    Args:
        cell: A `LIFRNNCell`, `CubaLIFCell` or `AdaptiveLIFCell`.
        recurrent_initializer: See `RecurrentLIF`.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: Current of one timestep, `(batch, units)`.
        states: List of the states of the cell, and the last spikes,
            `(batch, units)`.

    Returns:
        `(spikes, states)`.

    Example:
    >>> cell = LIFRNNCell(2, k=0.5, lam=1.0, theta=1.25)
    >>> cell = RecurrentCell(cell, recurrent_initializer="identity")
    >>> rnn = keras.layers.RNN(cell, return_sequences=True)
    >>> spikes = rnn(keras.ops.ones((1, 5, 2)))
    >>> keras.ops.convert_to_numpy(spikes)[0, :, 0].tolist()
    [0.0, 1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, cell, recurrent_initializer=None, **kwargs):
        super().__init__(**kwargs)
        if isinstance(cell, dict):  # a config
            cell = keras.saving.deserialize_keras_object(cell)
        if not isinstance(cell, LIFRNNCell):
            raise TypeError(
                "`cell` must be a LIFRNNCell, CubaLIFCell or AdaptiveLIFCell. "
                f"Received: cell={cell!r}"
            )
        self.cell, self.units = cell, cell.units
        self.recurrent_initializer = keras.initializers.get(
            recurrent_initializer
        )
        self.state_size = [*keras.tree.flatten(cell.state_size), self.units]
        self.output_size = self.units

    @property
    def compute_dtype(self):
        """The dtype of the states, as in `LIFRNNCell`."""
        return self.cell.compute_dtype

    def build(self, input_shape):
        """Builds the cell and adds the recurrent kernel."""
        if not self.cell.built:
            self.cell.build(input_shape)
            self.cell.built = True
        _add_kernel(self, self.cell.neuron)

    def call(self, inputs, states):
        """Advances by one timestep."""
        check_shape("inputs", inputs, (None, self.units))
        *states, spikes = states
        spikes = keras.ops.cast(spikes, self.recurrent_kernel.dtype)
        current = keras.ops.cast(inputs, self.recurrent_kernel.dtype)
        # Not in place, which PyTorch refuses for a view.
        current = current + keras.ops.matmul(spikes, self.recurrent_kernel)
        spikes, states = self.cell(current, states)
        return spikes, [*states, spikes]

    def get_config(self):
        """Returns the constructor's arguments."""
        initializer = self.recurrent_initializer
        return super().get_config() | {
            "cell": keras.saving.serialize_keras_object(self.cell),
            "recurrent_initializer": initializer
            and keras.initializers.serialize(initializer),
        }
