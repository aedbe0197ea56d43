"""Laws of the neuron, of random layers, and initializations that follow.

- `paper`: the response of one neuron, its asymptote, and Eq. 11;
- `mean_field`: rates, overlaps and gradients in wide random layers;
- `stationary`: the law under which a rate stays the same at any depth;
- `peers`: laws of other authors.

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

from keras_snn.theory.mean_field import (
    bernoulli_moments,
    cross_moments_after,
    gradient_squares,
    mean_rate,
    moments_after,
    rate_slope,
    reset_growth,
)
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
from keras_snn.theory.stationary import (
    HIGHEST_RATE,
    LOWEST_RATE,
    stationary_bias,
    stationary_moments,
    stationary_stddev,
    stationary_steepness,
)

__all__ = [
    "HIGHEST_RATE",
    "LOWEST_RATE",
    "asymptote",
    "bernoulli_moments",
    "cross_moments_after",
    "firing_rate",
    "gradient_squares",
    "mean_rate",
    "micheli_stddev",
    "moments_after",
    "rate_slope",
    "reset_growth",
    "rossbroich_stddev",
    "shi_limit",
    "shi_stddev",
    "shi_steepness",
    "simulate",
    "stationary_bias",
    "stationary_moments",
    "stationary_stddev",
    "stationary_steepness",
    "transition_current",
    "weight_stddev",
]
