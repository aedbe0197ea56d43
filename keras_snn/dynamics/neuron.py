"""The models of neurons: their constants, and the system of each.

A model is one class. `_matrices` is its definition. See `system.py`.
"""

import copy
import dataclasses
import math
from typing import Any, ClassVar

from keras_snn import surrogates
from keras_snn.dynamics.system import RESETS, System
from keras_snn.validation import check_choice, check_numbers

__all__ = ["Adaptive", "Cuba", "Integrator", "Neuron"]

FRACTION = (0.0, 1.0, "high")
POSITIVE = (0.0, math.inf, "high")
CLOSED = (0.0, 1.0, "both")
ANY = (-math.inf, math.inf, "high")


class _Model:
    """Checks the constants of a model."""

    # Low and high bound of each constant, and which belong to the range.
    RANGES: ClassVar[dict[str, tuple[float, float, str]]]

    def __post_init__(self):
        for name, bounds in self.RANGES.items():
            value = check_numbers(name, getattr(self, name), *bounds)
            self._set(**{name: value})

    def _set(self, **values):
        # A frozen dataclass does not allow plain assignment.
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states."""
        return ("potential",)


@dataclasses.dataclass(frozen=True)
class Neuron(_Model):
    """The constants of a leaky integrate-and-fire neuron (Eq. 2).

    Each constant is a number, or an array with one value per neuron.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0, in the unit of the potential. A
            neuron fires strictly above it.
        surrogate: Anything that `surrogates.get` accepts.
        reset: What a spike does to the potential: `"zero"` clears it (Eq. 2),
            `"subtract"` lowers it by `theta`, `"none"` leaves it.
        detach_reset: Whether the gradient stops at the reset.
    """

    RANGES = {"k": FRACTION, "lam": POSITIVE, "theta": POSITIVE}

    k: Any
    lam: Any
    theta: Any
    surrogate: surrogates.Surrogate
    reset: str = "zero"
    detach_reset: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_choice("reset", self.reset, RESETS)
        check_choice("detach_reset", self.detach_reset, (False, True))
        self._set(surrogate=surrogates.get(self.surrogate))

    def system(self, **values: Any) -> System:
        """Returns what the loops run, with other values of constants."""
        other = copy.copy(self)  # without the checks
        other._set(**values)
        decay, gain, jump = other._matrices()
        choices = self.surrogate, self.reset, self.detach_reset
        return System(decay, gain, other.theta, jump, *choices)

    def _matrices(self):
        """Returns `decay`, `gain` and `jump` of the system."""
        return ((self.k,),), (self.lam,), ()


@dataclasses.dataclass(frozen=True)
class Cuba(Neuron):
    """A LIF neuron with a synaptic current `c`.

        c_t = alpha c_{t-1} + i_t
        u_t = k v_t + lam c_t

    Args:
        alpha: Fraction of the synaptic current kept per timestep, in `[0, 1]`.
    """

    RANGES = Neuron.RANGES | {"alpha": CLOSED}

    alpha: Any = dataclasses.field(kw_only=True)

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states."""
        return "potential", "synaptic_current"

    def _matrices(self):
        k, lam, alpha = self.k, self.lam, self.alpha
        return ((k, lam * alpha), (None, alpha)), (lam, 1.0), (None,)


@dataclasses.dataclass(frozen=True)
class Adaptive(Neuron):
    """A LIF neuron with an adaptation `w`, which lowers its current.

        u_t = k v_t + lam (i_t - w_{t-1})
        w_t = rho w_{t-1} + coupling u_t + jump o_t

    Args:
        rho: Fraction of the adaptation kept per timestep, in `[0, 1]`.
        coupling: What the potential adds to the adaptation.
        jump: What a spike adds to the adaptation.
    """

    RANGES = Neuron.RANGES | {"rho": CLOSED, "coupling": ANY, "jump": ANY}

    rho: Any = dataclasses.field(kw_only=True)
    coupling: Any = dataclasses.field(default=0.0, kw_only=True)
    jump: Any = dataclasses.field(default=0.0, kw_only=True)

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states."""
        return "potential", "adaptation"

    def _matrices(self):
        k, lam, rho, coupling = self.k, self.lam, self.rho, self.coupling
        jump = self.jump
        if isinstance(jump, float) and jump == 0:
            jump = None
        if isinstance(coupling, float) and coupling == 0:
            return ((k, -lam), (None, rho)), (lam, None), (jump,)
        adapted = coupling * k, rho - coupling * lam
        return ((k, -lam), adapted), (lam, coupling * lam), (jump,)


@dataclasses.dataclass(frozen=True)
class Integrator(_Model):
    """A leaky integrator without spikes: `v_t = k v_{t-1} + lam i_t`.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
    """

    RANGES = {"k": FRACTION, "lam": POSITIVE}

    k: Any
    lam: Any

    def system(self, **values: Any) -> System:
        """Returns what the loops run, with other values of constants."""
        k, lam = (values.get(x, getattr(self, x)) for x in ("k", "lam"))
        return System(((k,),), (lam,), 0.0, (), None, reset="none")
