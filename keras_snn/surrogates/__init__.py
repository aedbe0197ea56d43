"""The spike, and the surrogate derivatives that train through it.

A spike is the step `H(x)` of the distance `x = u - theta` between potential and
threshold, with `H(0) = 0`. Its derivative is zero almost everywhere, so the
backward pass uses the derivative `h'` of a smooth step `h` instead. The forward
pass always uses `H`.

`Sigmoid`, `Tanh`, `HardTanh` and `Arctan` are the paper's. `FastSigmoid`,
`Triangular`, `Exponential` and `Gaussian` come from other simulators. Every
`h` rises from 0 to 1, except for those of `FastSigmoid` and `SpikeGated`. The
same derivatives in two simulators:

| here | `h'(0)` | SpikingJelly | snnTorch |
| --- | --- | --- | --- |
| `Sigmoid(a)` | `a / 4` | `Sigmoid(a)`, 4 | `sigmoid(a)`, 25 |
| `Arctan(a)` | `a` | `ATan(2 a)`, 2 | `atan(2 a)`, 2 |
| `FastSigmoid(a)` | 1 | `SoftSign(2)`, 2, for `a = 2` | `fast_sigmoid(a)`, 25 |
| `Triangular(a)` | `a` | `PiecewiseQuadratic(a)`, 1 | |
| `Exponential(a)` | `a` | `PiecewiseExp(2 a)`, 1 | |
| `Gaussian(a)` | `a` | `Erf(sqrt(pi) a)`, 2 | |

The number after each is that simulator's default argument.

Reference:
    "Accelerating Training of Deep Spiking Neural Networks with Parameter
    Initialization" (ICLR 2022 submission), Table A3 and Fig. A7.
"""

from keras_snn.surrogates.base import Surrogate, fire
from keras_snn.surrogates.paper import Arctan, HardTanh, Sigmoid, Tanh
from keras_snn.surrogates.peers import (
    Exponential,
    FastSigmoid,
    Gaussian,
    Triangular,
)
from keras_snn.surrogates.registry import NAMES, SpikeGated, get, serialize

__all__ = [
    "NAMES",
    "Arctan",
    "Exponential",
    "FastSigmoid",
    "Gaussian",
    "HardTanh",
    "Sigmoid",
    "SpikeGated",
    "Surrogate",
    "Tanh",
    "Triangular",
    "fire",
    "get",
    "serialize",
]
