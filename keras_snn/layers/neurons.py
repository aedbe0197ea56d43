"""Spiking neurons as Keras layers.

Axes are `(batch, timesteps, ...)`. Neurons have no weights except learnt
constants.
"""

import keras

from keras_snn import dynamics
from keras_snn.layers.over_time import OverTime

__all__ = ["LIF", "AdaptiveLIF", "CubaLIF", "LeakyIntegrator"]


@keras.saving.register_keras_serializable(package="keras_snn")
class LIF(OverTime):
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
    `reset_state` sets it to zero, and `keras_snn.layers.reset_states(model)`
    does so in a whole model.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`. This and
            the other constants are numbers, or arrays that broadcast with the
            features: `(channels,)` gives each channel of images its own.
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
        learn: Names of the constants to learn, such as `("k",)`. Each becomes
            a weight: its logit if it is a fraction, its logarithm if it is
            above 0. `layer.k` and so on give the constants themselves. A learnt
            fraction must start strictly between 0 and 1.
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

    Raises:
        TypeError: If a constant or a flag has the wrong type.
        ValueError: If a constant is out of range, an array of constants does
            not fit the features, a learnt fraction starts at 0 or 1, the
            current has no time axis, or a stateful layer has no fixed batch
            size.

    Reference:
        "Accelerating Training of Deep Spiking Neural Networks with Parameter
        Initialization" (ICLR 2022 submission), Eq. 2.

    Example:
    >>> spikes = LIF(k=0.5, lam=1.0, theta=1.25)(keras.ops.ones((1, 4, 1)))
    >>> keras.ops.convert_to_numpy(spikes).ravel().tolist()
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
        learn=(),
        **kwargs,
    ):
        # A model with further constants passes them on by name.
        further = {x: kwargs.pop(x) for x in self.model.RANGES if x in kwargs}
        super().__init__(
            return_sequences, return_state, stateful, go_backwards, **kwargs
        )
        choices = surrogate, reset, detach_reset
        self.neuron = self.model(k, lam, theta, *choices, **further)
        self._set_learn(learn)


@keras.saving.register_keras_serializable(package="keras_snn")
class CubaLIF(LIF):
    """`LIF` neurons with a synaptic current `c`, which decays over time.

        c_t = alpha c_{t-1} + i_t
        u_t = k v_t + lam c_t

    Both states start at zero.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the synaptic current, above 0.
        theta: Firing threshold, above 0, in the unit of the potential.
        alpha: Fraction of the synaptic current kept per timestep, in `[0, 1]`.
        **kwargs: The other arguments of `LIF`.

    Call arguments:
        sequences: Current, `(batch, timesteps, ...)`.
        initial_state: List of the potential and the synaptic current,
            `(batch, ...)`.
        mask: Booleans `(batch, timesteps)`, as for `LIF`.
        sequences_mask: The same.

    Returns:
        Spikes, as `LIF`. With `return_state`, also both states.

    Raises:
        TypeError, ValueError: As `LIF`.

    Example:
    >>> neurons = CubaLIF(k=0.5, lam=1.0, theta=1.25, alpha=0.5)
    >>> spikes = neurons(keras.ops.ones((1, 4, 1)))
    >>> keras.ops.convert_to_numpy(spikes).ravel().tolist()
    [0.0, 1.0, 1.0, 1.0]
    """

    model = dynamics.Cuba

    def __init__(self, k=0.8, lam=0.2, theta=1.0, alpha=0.5, **kwargs):
        super().__init__(k, lam, theta, alpha=alpha, **kwargs)

    alpha = property(lambda self: self._constant("alpha"))


@keras.saving.register_keras_serializable(package="keras_snn")
class AdaptiveLIF(LIF):
    """`LIF` neurons with an adaptation `w`, which lowers their current.

        u_t = k v_t + lam (i_t - w_{t-1})
        w_t = rho w_{t-1} + coupling u_t + jump o_t

    Every spike lowers the current for a while. With a positive `coupling`, the
    neuron may resonate. It is close to SE-adLIF (Baronig et al. 2024) with
    `lam = 1 - k`, `coupling = (1 - rho) a` and `jump = (1 - rho) b`. There,
    `w_t` takes the potential after the reset. Both states start at zero.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0, in the unit of the potential.
        rho: Fraction of the adaptation kept per timestep, in `[0, 1]`.
        coupling: What the potential adds to the adaptation per timestep, in
            units of current per unit of potential. Any finite number.
        jump: What a spike adds to the adaptation, in the unit of the current.
            Any finite number.
        **kwargs: The other arguments of `LIF`.

    Call arguments:
        sequences: Current, `(batch, timesteps, ...)`.
        initial_state: List of the potential and the adaptation, `(batch, ...)`.
        mask: Booleans `(batch, timesteps)`, as for `LIF`.
        sequences_mask: The same.

    Returns:
        Spikes, as `LIF`. With `return_state`, also both states.

    Raises:
        TypeError, ValueError: As `LIF`.

    Reference:
        Baronig et al. (2024), "Advancing Spatio-Temporal Processing in Spiking
        Neural Networks through Adaptation".

    Example:
    >>> neurons = AdaptiveLIF(k=0.5, lam=1.0, theta=0.75, rho=0.5, jump=1.0)
    >>> spikes = neurons(keras.ops.ones((1, 4, 1)))
    >>> keras.ops.convert_to_numpy(spikes).ravel().tolist()
    [1.0, 0.0, 0.0, 1.0]
    """

    model = dynamics.Adaptive

    def __init__(
        self,
        k=0.8,
        lam=0.2,
        theta=1.0,
        rho=0.9,
        coupling=0.0,
        jump=1.0,
        **kwargs,
    ):
        further = {"rho": rho, "coupling": coupling, "jump": jump}
        super().__init__(k, lam, theta, **further, **kwargs)

    rho = property(lambda self: self._constant("rho"))
    coupling = property(lambda self: self._constant("coupling"))
    jump = property(lambda self: self._constant("jump"))


@keras.saving.register_keras_serializable(package="keras_snn")
class LeakyIntegrator(OverTime):
    """Leaky integrators, which do not spike: `v_t = k v_{t-1} + lam i_t`.

    A readout: it turns the spikes or logits of all timesteps into potentials.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        return_sequences: Whether to return the potentials of all timesteps.
            Otherwise returns the last.
        return_state: Whether to return the final potential as well.
        stateful: See `LIF`.
        go_backwards: See `LIF`.
        learn: Names of the constants to learn, such as `("k",)`. Each becomes
            a weight. A learnt fraction must start strictly between 0 and 1.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        sequences: Current, `(batch, timesteps, ...)`.
        initial_state: Initial potential, `(batch, ...)`, or a list of it.
        mask: Booleans `(batch, timesteps)`. A masked timestep keeps the
            potential.
        sequences_mask: The same.

    Returns:
        Potentials in the shape of `sequences`. Unless `return_sequences`,
        there is no time axis. With `return_state`, also the final potential,
        `(batch, ...)`.

    Raises:
        TypeError, ValueError: As `LIF`.

    Example:
    >>> potentials = LeakyIntegrator(k=0.5, lam=1.0)(keras.ops.ones((1, 3, 1)))
    >>> keras.ops.convert_to_numpy(potentials).ravel().tolist()
    [1.0, 1.5, 1.75]
    """

    model = dynamics.Integrator

    def __init__(
        self,
        k=0.8,
        lam=0.2,
        return_sequences=True,
        return_state=False,
        stateful=False,
        go_backwards=False,
        learn=(),
        **kwargs,
    ):
        super().__init__(
            return_sequences, return_state, stateful, go_backwards, **kwargs
        )
        self.neuron = self.model(k, lam)
        self._set_learn(learn)
