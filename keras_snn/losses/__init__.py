"""Losses, a metric and a regularizer for spiking classifiers.

Labels are integer classes, `(batch,)` or `(batch, 1)`. The loss of a label
outside the classes is NaN, even with a weight of 0.

Outputs are `(batch, timesteps, classes)`. Outputs without a time axis,
`(batch, classes)`, are treated as one timestep.

If the outputs have a mask `(batch, timesteps)`, masked timesteps do not count.
Each sample has the same weight, however many of its timesteps count. Keras's
own losses weight every timestep alike, so long samples weigh more there.
"""

from keras_snn.losses.classifiers import (
    CountCrossentropy,
    CountMeanSquaredError,
    MembraneMeanSquaredError,
    RateAccuracy,
    TemporalCrossentropy,
)
from keras_snn.losses.firing_rate import FiringRateRegularizer

__all__ = [
    "CountCrossentropy",
    "CountMeanSquaredError",
    "FiringRateRegularizer",
    "MembraneMeanSquaredError",
    "RateAccuracy",
    "TemporalCrossentropy",
]
