"""Keras contenders: `keras_snn`, and the same networks with ReLU or RNN."""

import importlib.metadata

import keras
import numpy as np
from keras import ops

from benchmarks.contenders import keras_gradients, keras_models


class Contender:
    """A network described in `workloads`, in Keras.

    Args:
        kind: `"keras_snn"`, `"relu"` or `"rnn"`.
        backend: The Keras backend, which is already chosen.
        framework: The backend's entry of `frameworks.FRAMEWORKS`, made.
    """

    def __init__(self, kind, backend, framework):
        self.kind = "keras_snn" if kind == "against" else kind
        self.backend, self.framework = backend, framework

    def versions(self):
        """Versions of the libraries that matter."""
        from keras_snn import __version__

        return {
            "keras_snn": __version__,
            "keras": keras.__version__,
            self.backend: importlib.metadata.version(self.backend),
        }

    def check(self, case, weights, x, cotangent, neuron):
        """Spikes of every layer, and norms of the gradients."""
        keras.config.set_dtype_policy(case.dtype)
        model, fired, layers = keras_models.build(
            self.kind, case, neuron, encoded=False
        )
        keras_models.set_weights(case, layers, weights)
        spikes = keras.Model(model.input, fired).predict_on_batch(x)
        spikes = spikes if isinstance(spikes, list) else [spikes]
        at_weights = case.learns
        gradients = keras_gradients.step(
            model, x, cotangent, at_weights, training=False
        )()[1]
        norms = [_norm(gradient) for gradient in gradients]
        return [self._channels_last(array) for array in spikes], norms

    def prepare(self, case, weights, x, y, neuron):
        """One step of the work to be timed."""
        keras.config.set_dtype_policy(case.dtype)
        keras.utils.set_random_seed(0)
        model, _, layers = keras_models.build(
            self.kind, case, neuron, encoded=case.trains
        )
        keras_models.set_weights(case, layers, weights)
        if case.trains:
            return self._training_step(model, x, y)
        run = keras_gradients.step(model, x, y, case.learns, training=True)

        def step():
            outputs = run()
            self.framework.wait(outputs)

        return step

    def _training_step(self, model, x, y):
        model.compile(
            keras.optimizers.Adam(1e-3, beta_1=0.9, beta_2=0.99),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        x, y = ops.convert_to_tensor(x), ops.convert_to_tensor(y)

        def step():
            loss = float(model.train_on_batch(x, y))
            # The loss is known before the weights are updated.
            variables = model.trainable_variables
            self.framework.wait([variable.value for variable in variables])
            return loss

        return step

    def _channels_last(self, spikes):
        if spikes.ndim == 5 and keras_models.channels_first():
            spikes = spikes.transpose(0, 1, 3, 4, 2)
        return np.asarray(spikes)


def _norm(gradient):
    array = ops.convert_to_numpy(ops.cast(gradient, "float32"))
    return float(np.linalg.norm(array.astype("float64")))
