"""Deep spiking neural networks that train in plain Keras 3."""

from keras_snn import (
    callbacks,
    datasets,
    encoders,
    events,
    initializers,
    layers,
    losses,
    models,
    nir,
    optimizers,
    plots,
    presets,
    surrogates,
    theory,
)
from keras_snn.models import (
    calibrate,
    diagnose,
    profile,
    step_model,
    unit_neurons,
)
from keras_snn.version import __version__

__all__ = [
    "__version__",
    "calibrate",
    "callbacks",
    "datasets",
    "diagnose",
    "encoders",
    "events",
    "initializers",
    "layers",
    "losses",
    "models",
    "nir",
    "optimizers",
    "plots",
    "presets",
    "profile",
    "step_model",
    "surrogates",
    "theory",
    "unit_neurons",
]
