"""States that a layer carries from batch to batch.

As in `keras.layers.RNN`, they are variables of the layer but not among its
`weights`.
"""

import keras
from keras import ops

from keras_snn.layers.walk import walk
from keras_snn.validation import check_shape

__all__ = ["Stateful", "reset_states"]

# A plain function, because `torch.compile` cannot follow `super().weights`.
_all_weights = keras.layers.Layer.weights.fget


class Stateful:
    """Keeps the states of a layer apart from its weights.

    Keras updates the states in `fit` and `predict` as it updates all variables.
    It does not count, save or load them, and `get_weights` and `set_weights`
    leave them out. So weights fit networks of any batch size, stateful or not.

    Inherit from it before `keras.layers.Layer`. The subclass has the properties
    `states`, a list of variables, or `None` if it is not stateful, and
    `state_names`.
    """

    @property
    def weights(self):
        """The variables of the layer without its states."""
        states = {id(state) for state in self.states or []}
        return [each for each in _all_weights(self) if id(each) not in states]

    def save_own_variables(self, store):
        """Saves the weights."""
        for i, weight in enumerate(self.weights):
            store[f"{i}"] = weight

    def load_own_variables(self, store):
        """Loads the weights. Files of early versions also hold states.

        Raises:
            ValueError: If the file holds another number of weights, or the
                layer was not built.
        """
        expected, found = len(self.weights), len(store.keys())
        early = expected + len(self.state_names) if self.built else expected
        if found not in (expected, early):
            raise ValueError(
                f"The file must hold {expected} weights for the layer "
                f"`{self.name}`, which is {'' if self.built else 'not '}built. "
                f"Received: {found}"
            )
        for i, weight in enumerate(self.weights):
            weight.assign(store[f"{i}"])

    def reset_state(self):
        """Sets the states to zero."""
        for state in self.states or []:
            state.assign(ops.zeros_like(state.value))

    def reset_states(self):
        """Sets the states to zero. An alias, as in `keras.layers.RNN`."""
        self.reset_state()

    def _check_batch(self, sequences):
        """Returns `sequences` if they fit the states, else raises."""
        expected, *features = self.states[0].shape
        message = (
            "`sequences` must have the batch size of the states, "
            f"{expected}, because `{self.name}` is stateful."
        )
        batch = sequences.shape[0]
        if batch is None and keras.config.backend() == "tensorflow":
            # Only the running graph knows the batch size.
            import tensorflow as tf

            check = tf.debugging.assert_equal(
                tf.shape(sequences)[0], expected, message
            )
            with tf.control_dependencies([check]):
                sequences = tf.identity(sequences)
        elif batch != expected:
            raise ValueError(f"{message} Received: batch size {batch}")
        check_shape("sequences", sequences, (None, None, *features))
        return sequences


def reset_states(model: keras.layers.Layer) -> None:
    """Sets the states of all stateful layers in a model to zero.

    Args:
        model: Any model or layer. Layers of neurons and Keras's recurrent
            layers inside it are reset, at any depth.
    """
    for layer in walk(model):
        if getattr(layer, "stateful", False) and hasattr(layer, "reset_state"):
            layer.reset_state()
