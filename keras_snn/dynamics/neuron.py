"""One timestep of leaky integrate-and-fire neurons, and its gradient.

Eq. 2 of the paper, with the potential `v`, the current `i` and the spikes `o`:

    u_t = k v_t + lam i_t              leak and integrate
    o_t = H(u_t - theta), H(0) = 0     fire
    v_{t+1} = u_t (1 - o_t)            reset

Throughout this package, `u` is the potential before the reset and `v` the
potential after it. `distance` is `u - theta`. Its sign determines the spike,
and it is the argument of the surrogate.
"""

import copy
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_snn import surrogates
from keras_snn.validation import check_choice, check_neuron

__all__ = ["REFUSAL", "RESETS", "Neuron", "refuse_second_derivative"]

RESETS = ("zero", "subtract", "none")
REFUSAL = (
    "Spiking neurons have first derivatives only, and on TensorFlow and JAX "
    "only in reverse mode."
)


@dataclasses.dataclass(frozen=True)
class Neuron:
    """The constants of a neuron, its update for one timestep, and the adjoint.

    Compiled loops take the constants as operands, so that neurons of one kind
    share a loop: `flatten` separates the two, and `unflatten` rebuilds the
    neuron inside the loop.

    Args:
        k: Fraction of the potential kept per timestep, in `(0, 1]`.
        lam: Gain of the current, above 0.
        theta: Firing threshold, above 0, in the unit of the potential. A
            neuron fires strictly above it.
        surrogate: Anything that `surrogates.get` accepts.
        reset: What a spike does to the potential: `"zero"` clears it (Eq. 2),
            `"subtract"` lowers it by `theta`, `"none"` leaves it.
        detach_reset: Whether the gradient stops at the reset.

    Attributes:
        plain: The six arguments as floats, strings and a boolean, for
            `Neuron.from_plain`. PyTorch operators do not accept objects.
    """

    k: float
    lam: float
    theta: float
    surrogate: surrogates.Surrogate
    reset: str = "zero"
    detach_reset: bool = False

    def __post_init__(self):
        k, lam, theta = check_neuron(self.k, self.lam, self.theta)
        surrogate = surrogates.get(self.surrogate)
        check_choice("reset", self.reset, RESETS)
        check_choice("detach_reset", self.detach_reset, (False, True))
        text = json.dumps(surrogates.serialize(surrogate))
        plain = (k, lam, theta, text, self.reset, self.detach_reset)
        checked = {"k": k, "lam": lam, "theta": theta, "surrogate": surrogate}
        # A frozen dataclass does not allow plain assignment.
        for name, value in (checked | {"plain": plain}).items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_plain(
        cls,
        k: float,
        lam: float,
        theta: float,
        surrogate: str,
        reset: str,
        detach_reset: bool,
    ) -> "Neuron":
        """Rebuilds a neuron from its attribute `plain`."""
        return cls(k, lam, theta, json.loads(surrogate), reset, detach_reset)

    def flatten(self) -> "tuple[Neuron, tuple[float, ...]]":
        """Splits the neuron into its kind and its constants.

        Returns:
            `(kind, constants)`: a hashable neuron that is equal for all neurons
            that share a loop, and the numbers that tell them apart.
        """
        surrogate, constants = self.surrogate.flatten()
        kind = self._with(1.0, 1.0, 1.0, surrogate)
        return kind, (self.k, self.lam, self.theta, *constants)

    def unflatten(self, constants: Sequence[Any]) -> "Neuron":
        """Returns a neuron of this kind.

        Args:
            constants: As returned by `flatten`, or scalar tensors in the dtype
                of the potential.
        """
        k, lam, theta, *rest = constants
        return self._with(k, lam, theta, self.surrogate.unflatten(rest))

    def _with(self, k, lam, theta, surrogate):
        """Returns a copy with other constants, which may be tensors."""
        other = copy.copy(self)  # without the checks
        values = {"k": k, "lam": lam, "theta": theta, "surrogate": surrogate}
        for name, value in values.items():
            object.__setattr__(other, name, value)
        return other

    def integrate(self, potential, current):
        """Computes `u_t` from `v_t` and `i_t`."""
        return self.k * potential + self.lam * current

    def reset_where(self, fired, potential):
        """Computes `v_{t+1}` from `u_t`.

        It selects instead of multiplying as in Eq. 2, because infinity times 0
        is NaN.

        Args:
            fired: Boolean tensor, true where the neuron fired.
            potential: `u_t`, float tensor of the same shape.
        """
        if self.reset == "zero":
            return ops.where(fired, ops.zeros_like(potential), potential)
        if self.reset == "subtract":
            return ops.where(fired, potential - self.theta, potential)
        return potential

    def step(self, potential, current):
        """Advances by one timestep. The backend can differentiate through it.

        Args:
            potential: `v_t`, float tensor of any shape.
            current: `i_t`, float tensor of the same shape.

        Returns:
            `(o_t, v_{t+1})`: the spikes and the potential after the reset.
        """
        potential = self.integrate(potential, current)
        spikes = self.surrogate(potential - self.theta)
        after = self.reset_where(spikes > 0, potential)
        if self.detach_reset or self.reset == "none":
            return spikes, after
        # The selection above has no gradient through the spikes. This term has
        # the value 0 and adds that gradient.
        jump = self.theta
        if self.reset == "zero":
            jump = ops.where(ops.isfinite(potential), potential, 0.0)
        return spikes, after - jump * (spikes - ops.stop_gradient(spikes))

    def adjoint(self, distance, silent):
        """Returns the gradient of one timestep as two factors.

        The gradient is linear in `g_o`, the gradient at the spikes, and `g_v`,
        the gradient at the potential after the reset. At `u_t` it is
        `g_u = slope g_o + carried g_v`, at `i_t` it is `lam g_u`, and at `v_t`
        it is `k g_u`.

        Args:
            distance: `u_t - theta`, float tensor of any shape.
            silent: `1 - o_t`, float tensor of the same shape. On PyTorch it is
                overwritten.

        Returns:
            `(slope, carried)`, tensors of the shape of `distance`. If `carried`
            is constant, it is the number 1.0.
        """
        slope = self.surrogate.derivative(distance)
        if self.reset == "zero":
            if not self.detach_reset:
                # `*=` and `-=` each save an array on PyTorch.
                jump = distance + self.theta
                jump *= slope
                silent -= jump
            return slope, silent
        if self.reset == "subtract" and not self.detach_reset:
            return slope, 1.0 - self.theta * slope
        return slope, 1.0


def refuse_second_derivative(*_):
    """Raises an error, in place of the derivative of a fused gradient."""
    raise NotImplementedError(REFUSAL)
