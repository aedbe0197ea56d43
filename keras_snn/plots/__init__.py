"""Figures of codings, spikes, potentials, responses and training.

- `codes`: an image under several codings;
- `spikes`, `recordings`, `series`: spikes of a network, and its input;
- `neurons`: potentials, and the response of a neuron;
- `training`: curves and firing rates over the iterations.

These functions need matplotlib and import it when they are called. Each returns
a `matplotlib.figure.Figure` that pyplot does not manage. Save it with
`figure.savefig(path)`.
"""

from keras_snn.plots.codes import codings
from keras_snn.plots.neurons import potentials, response
from keras_snn.plots.recordings import recording
from keras_snn.plots.series import time_series
from keras_snn.plots.spikes import raster
from keras_snn.plots.style import STYLES
from keras_snn.plots.training import firing_rates, learning_curves

__all__ = [
    "STYLES",
    "codings",
    "firing_rates",
    "learning_curves",
    "potentials",
    "raster",
    "recording",
    "response",
    "time_series",
]
