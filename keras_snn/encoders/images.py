"""Encoders that turn an image into a spike train."""

import math

import keras
from keras import ops

from keras_snn.encoders.intensity import Encoder
from keras_snn.replicas import ReplicaSeedGenerator
from keras_snn.validation import check_choice, check_number, check_seed

__all__ = [
    "ConstantEncoder",
    "LatencyEncoder",
    "PoissonEncoder",
    "RetinaEncoder",
]


@keras.saving.register_keras_serializable(package="keras_snn")
class ConstantEncoder(Encoder):
    """Constant coding: repeats the image at every timestep.

    Args:
        timesteps: Length of the time axis, at least 1.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: Images `(batch, ...)`: bytes, or intensities in [0, 1].

    Returns:
        Floats in [0, 1], `(batch, timesteps, ...)`.

    Raises:
        ValueError: If the images are neither bytes nor intensities. Compiled
            code returns NaN instead, see `as_intensity`.

    Example:
    >>> tuple(ConstantEncoder(3)(ops.ones((2, 28, 28, 1))).shape)
    (2, 3, 28, 28, 1)
    """

    def encode(self, intensity):
        """Repeats the image along the time axis."""
        return ops.repeat(intensity, self.timesteps, axis=1)


@keras.saving.register_keras_serializable(package="keras_snn")
class PoissonEncoder(Encoder):
    """Poisson coding: the intensity is the probability of a spike.

    Every pixel draws independently at every timestep, in training and in
    inference. In data-parallel training, every replica draws its own numbers.

    Args:
        timesteps: Length of the time axis, at least 1.
        seed: `None`, or an integer in `[0, 2**31)`.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: Images `(batch, ...)`: bytes, or intensities in [0, 1].

    Returns:
        Spikes, 0 or 1, `(batch, timesteps, ...)`.

    Raises:
        ValueError: If the images are neither bytes nor intensities. Compiled
            code returns NaN instead, see `as_intensity`.

    Example:
    >>> tuple(PoissonEncoder(3)(ops.ones((2, 28, 28, 1))).shape)
    (2, 3, 28, 28, 1)
    """

    def __init__(self, timesteps, seed=None, **kwargs):
        super().__init__(timesteps, **kwargs)
        self.seed = check_seed(seed)
        self.seed_generator = ReplicaSeedGenerator(self.seed)

    def encode(self, intensity):
        """Compares the intensity with uniform numbers in [0, 1)."""
        batch, _, *rest = ops.shape(intensity)
        # In float32 under every policy: bfloat16 has too few distinct values.
        uniform = keras.random.uniform(
            (batch, self.timesteps, *rest),
            dtype="float32",
            seed=self.seed_generator,
        )
        return uniform < ops.cast(intensity, "float32")

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_snn")
class RetinaEncoder(Encoder):
    """Retina-like coding: every pixel integrates its intensity and fires.

    The coding is deterministic. At every timestep a pixel adds
    `gain * intensity` to its accumulator. When the accumulator reaches
    `threshold`, the pixel fires and the accumulator is reset. (A pixel fires at
    the threshold, `>=`. Neurons fire only above it.)

    The intensity is constant, so a closed form gives all timesteps at once. Let
    `rate = gain * intensity / threshold`, at most 1, and count timesteps from
    1. With `reset="zero"` a pixel fires at every multiple of `ceil(1 / rate)`.
    With `reset="subtract"` it has fired `floor(t * rate)` times after `t`
    timesteps.

    Rates are multiplied by 1 + 1e-6. Otherwise float32 rounding could keep an
    accumulator just below a threshold that it should reach, such as after 5
    times 51 / 255. If `gain / threshold` is 1, the code of bytes equals that of
    exact arithmetic for up to 2000 timesteps.

    Args:
        timesteps: Length of the time axis, at least 1.
        gain: What an intensity of 1 adds per timestep, above 0.
        threshold: Level at which a pixel fires, above 0. Only the ratio
            `gain / threshold` matters. At 1, the default, white fires at every
            timestep.
        reset: `"zero"` clears the accumulator, as in the paper. The possible
            rates are 1, 1/2, 1/3, and so on. `"subtract"` lowers it by
            `threshold`, which keeps every rate exact.
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: Images `(batch, ...)`: bytes, or intensities in [0, 1].

    Returns:
        Spikes, 0 or 1, `(batch, timesteps, ...)`.

    Raises:
        ValueError: If the images are neither bytes nor intensities. Compiled
            code returns NaN instead, see `as_intensity`.

    Reference:
        Zhu et al., "A retina-inspired sampling method for visual texture
        reconstruction", 2019.

    Example:
    >>> for reset in ("zero", "subtract"):
    ...     spikes = RetinaEncoder(6, reset=reset)(ops.full((1, 1), 0.75))
    ...     print(ops.convert_to_numpy(spikes).ravel().tolist())
    [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    [0.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    """

    def __init__(
        self, timesteps, gain=1.0, threshold=1.0, reset="zero", **kwargs
    ):
        super().__init__(timesteps, **kwargs)
        self.gain = check_number("gain", gain)
        self.threshold = check_number("threshold", threshold)
        self.reset = check_choice("reset", reset, ("zero", "subtract"))

    def encode(self, intensity):
        """Evaluates the closed form, in float32 under every policy."""
        slope = self.gain / self.threshold * (1 + 1e-6)
        rate = ops.minimum(slope * ops.cast(intensity, "float32"), 1)
        t = 1 + self.clock(intensity)
        if self.reset == "zero":
            # A period longer than the time axis gives no spike.
            period = ops.ceil(1 / ops.maximum(rate, 0.5 / self.timesteps))
            return ops.equal(ops.mod(t, ops.cast(period, "int32")), 0)
        t = ops.cast(t, "float32")
        return ops.floor(t * rate) - ops.floor((t - 1) * rate)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "gain": self.gain,
            "threshold": self.threshold,
            "reset": self.reset,
        }


@keras.saving.register_keras_serializable(package="keras_snn")
class LatencyEncoder(Encoder):
    """Latency coding: every pixel fires once, and bright pixels fire first.

    With `T` timesteps, an intensity `x` above `threshold` fires at the timestep
    that is nearest to

    - `(T - 1) (1 - x)` with `mode="linear"`,
    - `tau ln(x / (x - threshold))` with `mode="logarithmic"`. At this time, a
      leaky integrator with a constant input `x` reaches the threshold.

    Timesteps count from 0. An intensity of at most `threshold` does not fire,
    nor does one whose time lies beyond the last timestep.

    Args:
        timesteps: Length of the time axis, at least 1.
        mode: `"linear"` or `"logarithmic"`.
        tau: Time constant of `"logarithmic"` in timesteps, above 0. By default,
            the darkest byte above `threshold` fires at the last timestep.
        threshold: Intensity that a pixel must exceed to fire, in (0, 1].
        **kwargs: Keywords of `keras.layers.Layer`.

    Call arguments:
        inputs: Images `(batch, ...)`: bytes, or intensities in [0, 1].

    Returns:
        Spikes, 0 or 1, `(batch, timesteps, ...)`. At most one per pixel.

    Raises:
        ValueError: If the images are neither bytes nor intensities. Compiled
            code returns NaN instead, see `as_intensity`.

    Reference:
        `spikegen.latency` in snnTorch, with `clip=True`. Its `normalize=True`
        scales the times by the latest one of the batch. Here, the code of an
        image does not depend on the rest of its batch.

    Example:
    >>> spikes = LatencyEncoder(4)(ops.convert_to_tensor([[1.0, 0.25, 0.0]]))
    >>> for pixel in ops.convert_to_numpy(spikes)[0].T:
    ...     print(pixel.tolist())
    [1.0, 0.0, 0.0, 0.0]
    [0.0, 0.0, 1.0, 0.0]
    [0.0, 0.0, 0.0, 0.0]
    """

    def __init__(
        self, timesteps, mode="linear", tau=None, threshold=0.01, **kwargs
    ):
        super().__init__(timesteps, **kwargs)
        self.mode = check_choice("mode", mode, ("linear", "logarithmic"))
        self.tau = None if tau is None else check_number("tau", tau)
        self.threshold = check_number("threshold", threshold, high=1.0)

    def encode(self, intensity):
        """Compares the time of the spike with the clock, in float32."""
        x = ops.cast(intensity, "float32")
        if self.mode == "linear":
            time = (self.timesteps - 1) * (1 - x)
        else:
            # The lower bound keeps silent pixels finite.
            above = ops.maximum(x, self.threshold + 1e-6)
            time = self._tau() * ops.log(above / (above - self.threshold))
        clock = ops.cast(self.clock(intensity), "float32")
        now = ops.equal(ops.round(time), clock)
        return ops.logical_and(now, x > self.threshold)

    def _tau(self):
        if self.tau is not None:
            return self.tau
        darkest = (math.floor(255 * self.threshold) + 1) / 255
        last = math.log(darkest / (darkest - self.threshold))
        return (self.timesteps - 1) / last

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "mode": self.mode,
            "tau": self.tau,
            "threshold": self.threshold,
        }
