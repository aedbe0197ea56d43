"""The asymptote initialization, and the initializers it is compared with."""

from keras_snn.initializers.paper import (
    AsymptoteBias,
    AsymptoteInitializer,
    LeeInitializer,
    WuInitializer,
)
from keras_snn.initializers.registry import NAMES, for_layer

__all__ = [
    "NAMES",
    "AsymptoteBias",
    "AsymptoteInitializer",
    "LeeInitializer",
    "WuInitializer",
    "for_layer",
]
