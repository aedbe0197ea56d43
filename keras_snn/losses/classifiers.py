"""Losses and a metric of classifiers whose outputs have a time axis."""

import math

import keras
from keras import ops

from keras_snn.losses.over_time import (
    LossOverTime,
    Timesteps,
    count_spikes,
    labels_of,
    number_of,
    per_sample_mean,
)
from keras_snn.validation import check_choice, check_number

__all__ = [
    "CountCrossentropy",
    "CountMeanSquaredError",
    "MembraneMeanSquaredError",
    "RateAccuracy",
    "TemporalCrossentropy",
]


@keras.saving.register_keras_serializable(package="keras_snn")
class TemporalCrossentropy(LossOverTime):
    """Temporal efficient training (TET): cross-entropy at every timestep.

    The loss of a sample with outputs `O(t)` and label `y` is the mean over the
    timesteps `t` that count of

        (1 - lamb) * crossentropy(O(t), y) + lamb * mean((O(t) - phi)^2)

    The inner mean is over classes. The second term keeps single outputs from
    growing too large.

    Args:
        phi: Value that the second term pulls all outputs to, such as the firing
            threshold.
        lamb: Weight of the second term, in [0, 1].
        from_logits: Whether the outputs are logits. Otherwise, they must be
            probabilities.
        **kwargs: Keywords of `keras.losses.Loss`.

    Reference:
        Deng et al., "Temporal Efficient Training of Spiking Neural Network via
        Gradient Re-weighting", ICLR 2022.

    Example:
    >>> loss = TemporalCrossentropy()
    >>> logits = ops.zeros((2, 5, 4))  # ln 4 at every timestep
    >>> print(f"{float(loss(ops.ones(2), logits)):.3f}")
    1.386
    """

    def __init__(self, phi=1.0, lamb=0.0, from_logits=True, **kwargs):
        super().__init__(**kwargs)
        self.phi = check_number("phi", phi, low=-math.inf)
        self.lamb = check_number("lamb", lamb, high=1.0, included="both")
        self.from_logits = check_choice(
            "from_logits", from_logits, (False, True)
        )

    def per_sample(self, labels, outputs, counts):
        """Returns the loss of each sample."""
        labels = ops.expand_dims(labels, 1)
        loss = keras.losses.sparse_categorical_crossentropy(
            ops.broadcast_to(labels, ops.shape(counts)),
            outputs,
            from_logits=self.from_logits,
        )
        if self.lamb > 0:
            distance = ops.mean(ops.square(outputs - self.phi), axis=-1)
            loss = (1 - self.lamb) * loss + self.lamb * distance
        return per_sample_mean(loss, counts)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "phi": self.phi,
            "lamb": self.lamb,
            "from_logits": self.from_logits,
        }


@keras.saving.register_keras_serializable(package="keras_snn")
class CountCrossentropy(LossOverTime):
    """Cross-entropy of the spike counts, which serve as logits.

    The output neuron of the right class learns to fire most.

    Args:
        **kwargs: Keywords of `keras.losses.Loss`.

    Reference:
        `functional.ce_count_loss` in snnTorch.

    Example:
    >>> spikes = ops.convert_to_tensor([[[1.0, 0.0], [1.0, 1.0]]])
    >>> print(f"{float(CountCrossentropy()([0], spikes)):.3f}")  # 2 against 1
    0.313
    """

    def per_sample(self, labels, outputs, counts):
        """Returns the loss of each sample."""
        return keras.losses.sparse_categorical_crossentropy(
            labels, count_spikes(outputs, counts), from_logits=True
        )


@keras.saving.register_keras_serializable(package="keras_snn")
class CountMeanSquaredError(LossOverTime):
    """Mean squared error between spike counts and the counts of target rates.

    A sample with `n` timesteps that count has the loss

        mean((count - n * rate)^2) / n

    The mean is over classes. `rate` is `correct_rate` for the class of the
    label and `incorrect_rate` for the others.

    Args:
        correct_rate: Target firing rate of the right class, in spikes per
            timestep, in [0, 1].
        incorrect_rate: Target firing rate of the other classes, in [0, 1]. A
            value above 0 keeps their neurons from falling silent.
        **kwargs: Keywords of `keras.losses.Loss`.

    Reference:
        `functional.mse_count_loss` in snnTorch, which rounds `n * rate` down.

    Example:
    >>> spikes = ops.convert_to_tensor([[[1.0, 0.0], [1.0, 1.0]]])
    >>> float(CountMeanSquaredError()([0], spikes))  # (0^2 + 1^2) / 2 / 2
    0.25
    """

    def __init__(self, correct_rate=1.0, incorrect_rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.correct_rate = check_number(
            "correct_rate", correct_rate, high=1.0, included="both"
        )
        self.incorrect_rate = check_number(
            "incorrect_rate", incorrect_rate, high=1.0, included="both"
        )

    def per_sample(self, labels, outputs, counts):
        """Returns the loss of each sample."""
        rate = _targets(labels, outputs, self.correct_rate, self.incorrect_rate)
        number = number_of(counts)
        target = ops.expand_dims(number, -1) * rate
        error = ops.square(count_spikes(outputs, counts) - target)
        return ops.mean(error, axis=-1) / number

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "correct_rate": self.correct_rate,
            "incorrect_rate": self.incorrect_rate,
        }


@keras.saving.register_keras_serializable(package="keras_snn")
class MembraneMeanSquaredError(LossOverTime):
    """Mean squared error between potentials and targets at every timestep.

    Args:
        correct_potential: Target potential of the right class.
        incorrect_potential: Target potential of the other classes.
        **kwargs: Keywords of `keras.losses.Loss`.

    Reference:
        `functional.mse_membrane_loss` in snnTorch.

    Example:
    >>> potential = ops.convert_to_tensor([[[1.0, 0.0], [1.0, 2.0]]])
    >>> float(MembraneMeanSquaredError()([0], potential))  # 2^2 in four values
    1.0
    """

    def __init__(
        self, correct_potential=1.0, incorrect_potential=0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.correct_potential = check_number(
            "correct_potential", correct_potential, low=-math.inf
        )
        self.incorrect_potential = check_number(
            "incorrect_potential", incorrect_potential, low=-math.inf
        )

    def per_sample(self, labels, outputs, counts):
        """Returns the loss of each sample."""
        target = _targets(
            labels, outputs, self.correct_potential, self.incorrect_potential
        )
        error = ops.square(outputs - ops.expand_dims(target, 1))
        return per_sample_mean(ops.mean(error, axis=-1), counts)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "correct_potential": self.correct_potential,
            "incorrect_potential": self.incorrect_potential,
        }


@keras.saving.register_keras_serializable(package="keras_snn")
class RateAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Accuracy of the class with the largest output, averaged over time.

    For spikes, this is the class with the highest firing rate.
    `keras.metrics.SparseCategoricalAccuracy` would compare the class of every
    timestep.

    Args:
        name: Name of the metric.
        **kwargs: Keywords of `keras.metrics.Metric`.

    Example:
    >>> accuracy = RateAccuracy()
    >>> outputs = [[[0.0, 1.0], [3.0, 0.0]], [[0.0, 1.0], [3.0, 0.0]]]
    >>> float(accuracy(ops.convert_to_tensor([0, 1]), outputs))
    0.5
    """

    def __init__(self, name="rate_accuracy", **kwargs):
        super().__init__(name=name, **kwargs)
        self._timesteps = Timesteps(dtype=self.dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts the samples of a batch, and the hits among them.

        Args:
            y_true: Integer classes, `(batch,)` or `(batch, 1)`.
            y_pred: `(batch, timesteps, classes)` or `(batch, classes)`. Masked
                timesteps do not count.
            sample_weight: `None` or a weight per sample, `(batch,)`.
        """
        outputs, counts = self._timesteps(y_pred)
        # The largest sum is the largest mean.
        total = count_spikes(outputs, counts)
        super().update_state(labels_of(y_true), total, sample_weight)


def _targets(labels, outputs, correct, incorrect):
    """Returns `correct` at the label's class and `incorrect` elsewhere."""
    # TensorFlow may not know the number of classes in advance.
    classes = ops.shape(outputs)[-1]
    one_hot = ops.one_hot(labels, classes, dtype=outputs.dtype)
    return incorrect + (correct - incorrect) * one_hot
