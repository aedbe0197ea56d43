"""Spiking neurons as Keras layers, and what stands around them.

Axes are `(batch, timesteps, ...)`. Synapses are ordinary Keras layers; neurons
own no weights.
"""

from keras_snn.layers.neurons import LIF, LIFRNNCell
from keras_snn.layers.normalization import BNTT, TDBN
from keras_snn.layers.per_timestep import PerTimestep
from keras_snn.layers.recompute import Recompute

__all__ = ["BNTT", "LIF", "TDBN", "LIFRNNCell", "PerTimestep", "Recompute"]
