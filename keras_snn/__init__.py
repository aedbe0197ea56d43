"""Deep spiking neural networks that train in plain Keras 3."""

from keras_snn import (
    callbacks,
    datasets,
    encoders,
    events,
    initializers,
    layers,
    models,
    optimizers,
    surrogates,
    theory,
)
from keras_snn.version import __version__

__all__ = [
    "__version__",
    "callbacks",
    "datasets",
    "encoders",
    "events",
    "initializers",
    "layers",
    "models",
    "optimizers",
    "surrogates",
    "theory",
]
