"""Losses of classifiers, for outputs with and without a time axis.

Outputs are logits or firing rates, `(batch, classes)`, or logits of every
timestep, `(batch, timesteps, classes)`, as the builders' `readout` says.
"""

import keras
from keras import ops

from keras_snn.validation import check_choice

__all__ = ["LOSSES", "get"]


@keras.saving.register_keras_serializable(package="experiments")
def crossentropy(labels, outputs):
    """Computes the cross-entropy, averaged over timesteps if there are any."""
    labels = _spread(labels, outputs)
    loss = keras.losses.sparse_categorical_crossentropy(
        labels, outputs, from_logits=True
    )
    return loss if len(outputs.shape) == 2 else ops.mean(loss, axis=1)


@keras.saving.register_keras_serializable(package="experiments")
def mse(labels, outputs):
    """Computes the mean squared error between outputs and one-hot labels."""
    labels = ops.one_hot(_spread(labels, outputs), outputs.shape[-1])
    axes = tuple(range(1, len(outputs.shape)))
    return ops.mean(ops.square(outputs - labels), axis=axes)


@keras.saving.register_keras_serializable(package="experiments")
def mse_softmax(labels, outputs):
    """Computes the mean squared error between softmax and one-hot labels."""
    return mse(labels, ops.softmax(outputs))


LOSSES = {"crossentropy": crossentropy, "mse": mse, "mse-softmax": mse_softmax}


def get(name: str):
    """Returns the loss called `name`, one of `LOSSES`."""
    return LOSSES[check_choice("training.loss", name, tuple(LOSSES))]


def _spread(labels, outputs):
    """Repeats labels for every timestep of the outputs."""
    labels = ops.reshape(labels, (-1,))
    if len(outputs.shape) == 3:
        labels = ops.repeat(labels[:, None], outputs.shape[1], axis=1)
    return labels
