"""Spiking neurons as Keras layers, and layers for use around them.

Axes are `(batch, timesteps, ...)`. Synapses are ordinary Keras layers. Neurons
have no weights except learnt constants and recurrent kernels.
"""

from keras_snn.layers.cells import (
    AdaptiveLIFCell,
    CubaLIFCell,
    LeakyIntegratorCell,
    LIFRNNCell,
)
from keras_snn.layers.convolution import Conv2D
from keras_snn.layers.neurons import LIF, AdaptiveLIF, CubaLIF, LeakyIntegrator
from keras_snn.layers.normalization import BNTT, TDBN
from keras_snn.layers.per_timestep import FoldTime, PerTimestep, UnfoldTime
from keras_snn.layers.pooling import SumPooling2D
from keras_snn.layers.recompute import Recompute
from keras_snn.layers.recurrent import (
    RecurrentAdaptiveLIF,
    RecurrentCell,
    RecurrentCubaLIF,
    RecurrentLIF,
)
from keras_snn.layers.states import reset_states
from keras_snn.layers.unroll import unrolled

__all__ = [
    "BNTT",
    "LIF",
    "TDBN",
    "AdaptiveLIF",
    "AdaptiveLIFCell",
    "Conv2D",
    "CubaLIF",
    "CubaLIFCell",
    "FoldTime",
    "LIFRNNCell",
    "LeakyIntegrator",
    "LeakyIntegratorCell",
    "PerTimestep",
    "Recompute",
    "RecurrentAdaptiveLIF",
    "RecurrentCell",
    "RecurrentCubaLIF",
    "RecurrentLIF",
    "SumPooling2D",
    "UnfoldTime",
    "reset_states",
    "unrolled",
]
