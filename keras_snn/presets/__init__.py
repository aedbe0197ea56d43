"""Neurons of the literature and of other simulators, as arguments of ours.

Each function returns keyword arguments of `keras_snn.layers.LIF`, or of another
layer that its docstring names: the constants of the neuron, and for a neuron of
another simulator also its reset, its default surrogate, and whether the
gradient passes through the reset. Change or add arguments with `|`:

    LIF(**(presets.spikingjelly(tau=2.0) | {"surrogate": "arctan"}))

Spikes and gradients equal those of snnTorch 1.0, SpikingJelly 2.0, Norse 1.1
and sinabs 3.1. The docstrings name the exceptions. An initializer takes the
constants alone: `AsymptoteInitializer(k=..., lam=..., theta=...)`.

SpikingJelly and sinabs fire if the potential reaches the threshold, and `LIF`
only above it. Their presets therefore set `theta` to the next smaller number of
float32. This is exact in float32, up to the rounding of a reset by subtraction.
Half precision may round the difference away.
"""

from keras_snn.presets.paper import decay, integrate_and_fire, time_constant
from keras_snn.presets.peers import (
    norse,
    norse_lif,
    sinabs,
    sinabs_iaf,
    spikingjelly,
    spikingjelly_if,
    spikingjelly_plif,
)
from keras_snn.presets.snn_torch import (
    snntorch,
    snntorch_rleaky,
    snntorch_synaptic,
)

__all__ = [
    "decay",
    "integrate_and_fire",
    "norse",
    "norse_lif",
    "sinabs",
    "sinabs_iaf",
    "snntorch",
    "snntorch_rleaky",
    "snntorch_synaptic",
    "spikingjelly",
    "spikingjelly_if",
    "spikingjelly_plif",
    "time_constant",
]
