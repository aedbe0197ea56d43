"""Neurons whose states are linear between spikes: one timestep, its gradient.

Eq. 2 of the paper, with the potential `v`, the current `i` and the spikes `o`:

    u_t = k v_t + lam i_t              leak and integrate
    o_t = H(u_t - theta), H(0) = 0     fire
    v_{t+1} = u_t (1 - o_t)            reset

Throughout this package, `u` is the potential before the reset and `v` the
potential after it. `distance` is `u - theta`. Its sign determines the spike,
and it is the argument of the surrogate.

Other neurons have further states, such as a synaptic current. They fit the same
form with vectors. The potential is the first state:

    z_t = decay x_{t-1} + gain i_t     `System.integrate`
    o_t = H(z_t[0] - theta)
    x_t = z_t, reset and raised        `System.after`

The classes of `neuron.py` hold the constants of a model and give its system.
The loops know nothing else, so each of them runs all models.
"""

import dataclasses
import functools
import json
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_snn import surrogates
from keras_snn.precision import at_least_float32

__all__ = ["REFUSAL", "RESETS", "System", "refuse_second_derivative"]

RESETS = ("zero", "subtract", "none")
REFUSAL = (
    "Spiking neurons have first derivatives only, and on TensorFlow and JAX "
    "only in reverse mode."
)


@dataclasses.dataclass(frozen=True)
class System:
    """What the loops run: a linear system with a threshold.

    Entries are numbers, scalar tensors, or tensors `(units,)`. `None` stands
    for 0.

    Compiled loops take the entries as operands, so that neurons of one kind
    share a loop: `flatten` separates the two, and `unflatten` rebuilds the
    system inside the loop.

    Args:
        decay: Matrix from the states to the next ones, as nested tuples.
        gain: Vector from the current to the states.
        theta: Threshold of the first state, the potential.
        jump: What a spike adds to the states after the potential.
        surrogate: A `Surrogate`. `None` for a system without spikes, whose
            output is the potential.
        reset: One of `RESETS`.
        detach_reset: Whether the gradient stops at the reset.
    """

    decay: tuple[tuple[Any, ...], ...]
    gain: tuple[Any, ...]
    theta: Any
    jump: tuple[Any, ...]
    surrogate: surrogates.Surrogate | None
    reset: str = "zero"
    detach_reset: bool = False

    @property
    def entries(self) -> tuple[Any, ...]:
        """All entries but zeros, in a fixed order."""
        nested = (*self.decay, self.gain, (self.theta,), self.jump)
        return tuple(x for row in nested for x in row if x is not None)

    @functools.cached_property
    def text(self) -> str:
        """The kind of the system as JSON, for operators of PyTorch."""
        kind, *_ = self.flatten()
        names = (x.name for x in dataclasses.fields(kind))
        fields = {name: getattr(kind, name) for name in names}
        if self.surrogate is not None:
            fields["surrogate"] = surrogates.serialize(self.surrogate)
        return json.dumps(fields)

    @property
    def is_lif(self) -> bool:
        """Whether the system is that of a LIF neuron, which has kernels."""
        return len(self.gain) == 1 and self.surrogate is not None

    def at_rest(self, current, recurrent=None):
        """Returns the states at rest: a tuple of zeros `(batch, units)`.

        Args:
            current: `(batch, timesteps, units)`.
            recurrent: A recurrent kernel or `None`. With it, the last of the
                states are spikes.
        """
        batch, _, units = ops.shape(current)
        count = len(self.gain) + (recurrent is not None)
        zeros = ops.zeros((batch, units), at_least_float32(current.dtype))
        return (zeros,) * count

    def flatten(self) -> "tuple[System, tuple[Any, ...], tuple[Any, ...]]":
        """Splits the system into its kind and its operands.

        Returns:
            `(kind, entries, steepness)`: a hashable system that is equal for
            all that share a loop, its entries, and the surrogate's constants.
        """
        surrogate, steepness = self.surrogate, ()
        if surrogate is not None:
            surrogate, steepness = surrogate.flatten()
        kind = self._with((1.0,) * len(self.entries), surrogate)
        return kind, self.entries, steepness

    def unflatten(
        self, entries: Sequence[Any], steepness: Sequence[Any]
    ) -> "System":
        """Returns a system of this kind.

        Args:
            entries: Numbers, or tensors in the dtype of the potential.
            steepness: As returned by `flatten`, or scalar tensors.
        """
        surrogate = self.surrogate and self.surrogate.unflatten(steepness)
        return self._with(entries, surrogate)

    def with_entries(self, entries: Sequence[Any]) -> "System":
        """Returns a system with other entries."""
        return self._with(entries, self.surrogate)

    def with_tensors(self, dtype: Any) -> "System":
        """Returns a system with tensors in place of arrays.

        PyTorch does not multiply tensors by NumPy arrays.
        """
        return self.with_entries(
            [
                x if isinstance(x, float) else ops.convert_to_tensor(x, dtype)
                for x in self.entries
            ]
        )

    def _with(self, entries, surrogate):
        left = iter(entries)

        def fill(row):
            return tuple(None if x is None else next(left) for x in row)

        decay = tuple(map(fill, self.decay))
        gain, (theta,), jump = map(fill, (self.gain, (self.theta,), self.jump))
        values = {"decay": decay, "gain": gain, "theta": theta, "jump": jump}
        return dataclasses.replace(self, surrogate=surrogate, **values)

    def integrate(self, states, current):
        """Computes `z_t` from `x_{t-1}` and `i_t`.

        Args:
            states: Tuple of float tensors of any shape.
            current: Float tensor of the same shape.
        """
        return tuple(
            _sum(_times((*row, gain), (*states, current)))
            for row, gain in zip(self.decay, self.gain, strict=True)
        )

    def after(self, fired, integrated):
        """Computes `x_t` from `z_t`.

        It selects instead of multiplying as in Eq. 2, because infinity times 0
        is NaN.

        Args:
            fired: Boolean tensor, true where the neuron fired.
            integrated: `z_t`, tuple of float tensors of the same shape.
        """
        potential, *others = integrated
        if self.reset == "zero":
            zero = ops.zeros_like(potential)
            potential = ops.where(fired, zero, potential)
        elif self.reset == "subtract":
            potential = ops.where(fired, potential - self.theta, potential)
        raised = [
            x if jump is None else ops.where(fired, x + jump, x)
            for x, jump in zip(others, self.jump, strict=True)
        ]
        return potential, *raised

    def step(self, states, current):
        """Advances by one timestep. The backend can differentiate through it.

        Convert entries that are arrays first, see `with_tensors`.

        Args:
            states: `x_{t-1}`, tuple of float tensors of any shape.
            current: `i_t`, float tensor of the same shape.

        Returns:
            `(o_t, x_t)`: the spikes, and the states after the reset.
        """
        integrated = self.integrate(states, current)
        if self.surrogate is None:
            return integrated[0], integrated
        potential, *others = integrated
        spikes = self.surrogate(potential - self.theta)
        after, *_ = self.after(spikes > 0, integrated)
        raised = [
            x if jump is None else x + jump * spikes
            for x, jump in zip(others, self.jump, strict=True)
        ]
        if self.detach_reset or self.reset == "none":
            return spikes, (after, *raised)
        # The selection above has no gradient through the spikes. This term has
        # the value 0 and adds that gradient.
        jump = self.theta
        if self.reset == "zero":
            jump = ops.where(ops.isfinite(potential), potential, 0.0)
        after = after - jump * (spikes - ops.stop_gradient(spikes))
        return spikes, (after, *raised)

    def adjoint(self, distance, silent):
        """Returns the gradient at the potential as two factors.

        The gradient at `u_t` is `slope g_o + carried g_v`, linear in `g_o`, the
        gradient at the spikes, and `g_v`, the gradient at the potential after
        the reset.

        Args:
            distance: `u_t - theta`, float tensor of any shape.
            silent: `1 - o_t`, float tensor of the same shape. On PyTorch it is
                overwritten.

        Returns:
            `(slope, carried)`, tensors of the shape of `distance`. If `carried`
            is constant, it is the number 1.0.
        """
        if self.surrogate is None:
            return 1.0, 1.0
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

    def pull(self, gradients):
        """Returns the gradients at `x_{t-1}` and `i_t` for those at `z_t`."""
        columns = zip(*self.decay, strict=True)
        states = tuple(_sum(_times(x, gradients)) for x in columns)
        return states, _sum(_times(self.gain, gradients))

    def at_entries(self, gradients, after, states, current, silent):
        """Returns the gradients at the entries, in their order.

        Args:
            gradients: At `z_t`.
            after: Gradients at `x_t`.
            states: `x_{t-1}`.
            current: `i_t`.
            silent: `1 - o_t`.
        """
        found = [
            gradient * x
            for row, gradient in zip(self.decay, gradients, strict=True)
            for entry, x in zip(row, states, strict=True)
            if entry is not None
        ]
        found += _times_present(self.gain, gradients, current)
        # The potential passes straight through a timestep without a spike. What
        # is left of its gradient went through the spike.
        straight = after[0]
        if self.reset == "zero":
            straight = straight * silent
        at_theta = straight - gradients[0]
        if self.reset == "subtract":
            at_theta = at_theta - (1 - silent) * after[0]
        found.append(at_theta)
        found += _times_present(self.jump, after[1:], 1 - silent)
        return found

    def raised(self, at_spikes, at_states):
        """Adds to the gradient at the spikes what passes through `jump`."""
        return _sum([at_spikes, *_times(self.jump, at_states[1:])])


def _times_present(entries, gradients, factor):
    pairs = zip(entries, gradients, strict=True)
    return [x * factor for entry, x in pairs if entry is not None]


def _times(factors, tensors):
    pairs = zip(factors, tensors, strict=True)
    return [factor * x for factor, x in pairs if factor is not None]


def _sum(terms):
    first, *rest = terms
    for term in rest:
        first = first + term
    return first


def refuse_second_derivative(*_):
    """Raises an error, in place of the derivative of a fused gradient."""
    raise NotImplementedError(REFUSAL)
