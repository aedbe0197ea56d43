"""Functional builders of spiking networks."""

from keras_snn.models.sequential import (
    five_layer_snn,
    sequential_snn,
    vgg9_dvs_snn,
    vgg9_snn,
    vgg11_snn,
)

__all__ = [
    "five_layer_snn",
    "sequential_snn",
    "vgg9_dvs_snn",
    "vgg9_snn",
    "vgg11_snn",
]
