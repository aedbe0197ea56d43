"""One neuron, one timestep: Eq. 2 in tensors (`theory.simulate`: in NumPy)."""

import dataclasses
import threading

from keras import ops

from keras_snn import surrogates
from keras_snn.validation import check_choice, check_neuron

RESETS = ("zero", "subtract", "none")
# A number for each neuron of this process, by which operators can name it that
# take no objects. A neuron is a few numbers, so that all may stay.
_NUMBERS = {}
_NUMBERED = []
_LOCK = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Neuron:
    """A leaky integrate-and-fire neuron: its constants and its timestep.

    Frozen and hashable, so that a backend may keep what it compiled for it.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the input current, above 0.
        theta: Firing threshold, above 0, in the unit of the potential. A
            neuron fires strictly above it.
        surrogate: A `surrogates.Surrogate`, or what `surrogates.get` takes.
        reset: What a spike does to the potential: `"zero"` clears it (the
            paper's), `"subtract"` lowers it by `theta`, `"none"` leaves it.
        detach_reset: Whether the gradient stops at the reset instead of
            passing through it.
    """

    k: float
    lam: float
    theta: float
    surrogate: surrogates.Surrogate
    reset: str = "zero"
    detach_reset: bool = False

    def __post_init__(self):
        check_neuron(self.k, self.lam, self.theta)
        check_choice("reset", self.reset, RESETS)
        check_choice("detach_reset", self.detach_reset, (False, True))
        # The dataclass is frozen, so that a name becomes an object this way.
        object.__setattr__(self, "surrogate", surrogates.get(self.surrogate))
        for name in ("k", "lam", "theta"):
            object.__setattr__(self, name, float(getattr(self, name)))
        with _LOCK:
            number = _NUMBERS.setdefault(self, len(_NUMBERS))
            if number == len(_NUMBERED):
                _NUMBERED.append(self)
        object.__setattr__(self, "number", number)

    @staticmethod
    def numbered(number):
        """The neuron, or one equal to it, whose `number` this is."""
        return _NUMBERED[number]

    def __reduce__(self):
        # Made anew: its number is this process's own.
        return Neuron, tuple(
            getattr(self, field.name) for field in dataclasses.fields(self)
        )

    def integrate(self, potential, current):
        """Leaks and integrates: `u_t = k v_t + lam i_t`."""
        return self.k * potential + self.lam * current

    def after_spike(self, potential, spikes):
        """The potential after the reset, `v_{t+1}` of `u_t` and `o_t`."""
        if self.reset == "zero":
            return potential * (1 - spikes)
        if self.reset == "subtract":
            return potential - self.theta * spikes
        return potential

    def step(self, potential, current):
        """Advances by one timestep, differentiably (Eq. 2).

        Args:
            potential: `v_t`, float tensor of any shape.
            current: `i_t`, float tensor of the same shape.

        Returns:
            `(o_t, v_{t+1})`: the spikes and the potential after the reset.
        """
        potential = self.integrate(potential, current)
        spikes = self.surrogate(potential - self.theta)
        reset = ops.stop_gradient(spikes) if self.detach_reset else spikes
        return spikes, self.after_spike(potential, reset)

    def adjoint(self, distance, silent):
        """Gradient of one timestep, by hand.

        It is linear in what comes back from the spikes, `g_o`, and from the
        potential after the reset, `g_v`: the gradient at `u_t` is
        `g = slope g_o + carried g_v`, that at `i_t` is `lam g`, that at `v_t`
        is `k g`.

        Args:
            distance: `u_t - theta`, what the forward pass kept.
            silent: `1 - o_t`, not needed afterwards.

        Returns:
            `(slope, carried)`, of the shape of `distance`; `carried` is the
            number 1 where the reset has no part in the gradient.
        """
        slope = self.surrogate.derivative(distance)
        if self.reset == "zero":
            if not self.detach_reset:
                # `*=` and `-=` spare PyTorch an array each.
                jump = distance + self.theta
                jump *= slope
                silent -= jump
            return slope, silent
        if self.reset == "subtract" and not self.detach_reset:
            return slope, 1.0 - self.theta * slope
        return slope, 1.0
