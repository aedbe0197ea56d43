"""The neuron's response, and the initialization that follows from it.

These are pure functions of numbers and NumPy arrays, in float64. The neuron
follows Eq. 2, with potential `u`, current `i` and spikes `o`:

    u_t = k v_t + lam i_t
    o_t = H(u_t - theta), H(0) = 0
    v_{t+1} = u_t (1 - o_t), v_0 = 0

- `k`: fraction of the potential kept per timestep, in `(0, 1]`;
- `lam`: gain of the input current, above 0;
- `theta`: firing threshold, above 0, in the unit of the potential.

Reference:
    "Accelerating Training of Deep Spiking Neural Networks with Parameter
    Initialization" (ICLR 2022 submission): Eq. 2, Theorems 1 and 2, Eq. 11.
"""

from keras_snn.theory.paper import (
    asymptote,
    firing_rate,
    simulate,
    transition_current,
    weight_stddev,
)
from keras_snn.theory.peers import (
    micheli_stddev,
    rossbroich_stddev,
    shi_limit,
    shi_stddev,
    shi_steepness,
)

__all__ = [
    "asymptote",
    "firing_rate",
    "micheli_stddev",
    "rossbroich_stddev",
    "shi_limit",
    "shi_steepness",
    "shi_stddev",
    "simulate",
    "transition_current",
    "weight_stddev",
]
