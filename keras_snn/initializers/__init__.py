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
from keras_snn.initializers.peers import (
    Lee2020Initializer,
    MicheliInitializer,
    RossbroichInitializer,
    ShiInitializer,
)
from keras_snn.initializers.registry import (
    NAMES,
    for_gradient,
    for_layer,
    for_normalization,
    padded_fan_in,
)
from keras_snn.initializers.scaled import ScaledInitializer

__all__ = [
    "NAMES",
    "AsymptoteBias",
    "AsymptoteInitializer",
    "CopyInitializer",
    "Lee2020Initializer",
    "LeeInitializer",
    "MicheliInitializer",
    "RossbroichInitializer",
    "ScaledInitializer",
    "ShiInitializer",
    "StationaryBias",
    "StationaryInitializer",
    "WuInitializer",
    "for_gradient",
    "for_layer",
    "for_normalization",
    "padded_fan_in",
]
