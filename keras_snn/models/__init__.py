"""Functions that build spiking networks, and functions that examine them."""

from keras_snn.models.calibrate import calibrate
from keras_snn.models.diagnose import Diagnosis, Finding, diagnose
from keras_snn.models.network import (
    DATA_FORMATS,
    ENCODERS,
    NORMALIZATIONS,
    POOLING,
    READOUTS,
)
from keras_snn.models.one_timestep import StepModel
from keras_snn.models.paper import (
    five_layer_snn,
    vgg9_dvs_snn,
    vgg9_snn,
    vgg11_snn,
)
from keras_snn.models.portable import ImageModel, PortableModel
from keras_snn.models.probe import probe
from keras_snn.models.profile import ENERGY, Costs, Energy, Profile, profile
from keras_snn.models.residual import BLOCKS, STEMS, residual_snn
from keras_snn.models.sequential import sequential_snn
from keras_snn.models.step import step_model
from keras_snn.models.units import unit_neurons

__all__ = [
    "BLOCKS",
    "DATA_FORMATS",
    "ENCODERS",
    "ENERGY",
    "NORMALIZATIONS",
    "POOLING",
    "READOUTS",
    "STEMS",
    "Costs",
    "Diagnosis",
    "Energy",
    "Finding",
    "ImageModel",
    "PortableModel",
    "Profile",
    "StepModel",
    "calibrate",
    "diagnose",
    "five_layer_snn",
    "probe",
    "profile",
    "residual_snn",
    "sequential_snn",
    "step_model",
    "unit_neurons",
    "vgg9_dvs_snn",
    "vgg9_snn",
    "vgg11_snn",
]
