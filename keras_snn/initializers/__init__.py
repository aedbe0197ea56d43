"""The asymptote initialization, and the initializers it is compared with."""

from keras_snn.initializers.deep import (
    CopyInitializer,
    StationaryBias,
    StationaryInitializer,
)
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
    "CopyInitializer",
    "LeeInitializer",
    "StationaryBias",
    "StationaryInitializer",
    "WuInitializer",
    "for_layer",
]
