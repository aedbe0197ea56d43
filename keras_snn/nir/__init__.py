"""Networks of other simulators and chips, in the format NIR.

NIR (Neuromorphic Intermediate Representation) describes a network as a graph
of nodes in continuous time. `from_nir` makes a Keras model of it, and `to_nir`
a graph of a model. Both need the package `nir`
(`pip install nir`).

**Time.** A node has time constants, and a model has timesteps. `dt` is the
length of a timestep in the unit of the time constants. Both functions use the
forward Euler method:

| node | constants of the layer |
| --- | --- |
| `LIF`, `LI` | `k = 1 - dt / tau`, `lam = r dt / tau` |
| `IF`, `I` | `k = 1`, `lam = r dt` |
| `CubaLIF`, `CubaLI` | as `LIF`; `alpha = 1 - dt / tau_syn`; see below |

The synaptic current of `CubaLIF` has a gain of its own, `w_in dt / tau_syn`.
It becomes a factor of `lam`.

Simulators differ in `dt`: snnTorch has 1e-4, Norse 1e-3 unless told otherwise,
and sinabs counts time in timesteps, so its `dt` is 1.

**Potential.** The potential of a layer is that of the node minus `v_reset`, so
it starts at `v_reset`.

**Axes.** NIR's images are `(channels, height, width)`, and those of a model
`(height, width, channels)`. Vectors keep NIR's order.

Reference:
    Pedersen et al., "Neuromorphic intermediate representation: A unified
    instruction set for interoperable brain-inspired computing", Nature
    Communications 15:8122, 2024.
"""

from keras_snn.nir.compare import Difference, first_difference, record
from keras_snn.nir.read import from_nir
from keras_snn.nir.write import compatibility, to_nir

__all__ = [
    "Difference",
    "compatibility",
    "first_difference",
    "from_nir",
    "record",
    "to_nir",
]
