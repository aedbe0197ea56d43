"""Neurons in plain NumPy and float64, with derivatives in forward mode.

Imports nothing of the package. A `Dual` carries a number and its derivative in
one direction, so the definitions below differentiate themselves. The package
goes backward through time, so the two derivations are independent.
"""

import numpy as np


class Dual:
    """A number and its derivative."""

    __array_ufunc__ = None  # arrays leave the arithmetic to this class

    def __init__(self, value, tangent=0.0):
        self.value = np.asarray(value, "float64")
        self.tangent = np.zeros_like(self.value) + tangent

    def __add__(self, other):
        other = dual(other)
        return Dual(self.value + other.value, self.tangent + other.tangent)

    def __mul__(self, other):
        other = dual(other)
        tangent = self.tangent * other.value + self.value * other.tangent
        return Dual(self.value * other.value, tangent)

    def __matmul__(self, other):
        other = dual(other)
        tangent = self.tangent @ other.value + self.value @ other.tangent
        return Dual(self.value @ other.value, tangent)

    def __neg__(self):
        return -1 * self

    def __sub__(self, other):
        return self + -dual(other)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other):
        return other + -self


def dual(x):
    return x if isinstance(x, Dual) else Dual(x)


def where(condition, x, y):
    x, y = dual(x), dual(y)
    return Dual(
        np.where(condition, x.value, y.value),
        np.where(condition, x.tangent, y.tangent),
    )


def simulate(
    current,
    states,
    constants,
    derivative,
    reset="zero",
    detached=False,
    mask=None,
    recurrent=None,
):
    """Iterates the definition of a model.

    Args:
        current: A list of one number or `Dual` of shape (batch, units) per
            timestep.
        states: The potential, and the further state of the model.
        constants: `k`, `lam`, `theta`, and those of the model: `alpha`, or
            `rho`, `coupling` and `jump`.
        derivative: The surrogate's derivative.
        recurrent: Kernel from the spikes to the next current. With it, the
            last of the states are spikes.

    Returns:
        The spikes of every timestep and the final states, each a `Dual`.
    """
    k, lam, theta = (constants[x] for x in ("k", "lam", "theta"))
    states, outputs = list(map(dual, states)), []
    for t, i in enumerate(current):
        before = states
        if recurrent is not None:
            i = i + states[-1] @ recurrent
        v = states[0]
        if "alpha" in constants:
            c = constants["alpha"] * states[1] + i
            u = k * v + lam * c
        elif "rho" in constants:
            u = k * v + lam * (i - states[1])
        else:
            u = k * v + lam * i
        distance = dual(u - theta)
        fired = (distance.value > 0).astype("float64")
        slope = derivative(distance.value)
        o = Dual(fired, slope * distance.tangent)
        cleared = Dual(fired) if detached else o
        after = {
            "zero": u * (1 - cleared),
            "subtract": u - theta * cleared,
            "none": u,
        }[reset]
        states = [dual(after)]
        if "alpha" in constants:
            states.append(dual(c))
        elif "rho" in constants:
            w = constants["rho"] * before[1] + constants["coupling"] * u
            states.append(dual(w + constants["jump"] * o))
        if recurrent is not None:
            states.append(o)
        if mask is not None:
            runs = mask[:, t, None]
            o = where(runs, o, 0.0)
            pairs = zip(states, before, strict=True)
            states = [where(runs, new, old) for new, old in pairs]
        outputs.append(o)
    return outputs, states
