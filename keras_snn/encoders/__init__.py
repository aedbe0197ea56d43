"""Keras layers that turn images and time series into spike trains.

They work inside the model. Images are bytes (whole numbers in [0, 255], of any
dtype) or intensities (floats in [0, 1]), and their encoders insert a time axis
after the batch axis. Series are floats of any range that have a time axis.
"""

from keras_snn.encoders.images import (
    ConstantEncoder,
    LatencyEncoder,
    PoissonEncoder,
    RetinaEncoder,
)
from keras_snn.encoders.intensity import as_intensity
from keras_snn.encoders.series import DeltaEncoder

__all__ = [
    "ConstantEncoder",
    "DeltaEncoder",
    "LatencyEncoder",
    "PoissonEncoder",
    "RetinaEncoder",
    "as_intensity",
]
