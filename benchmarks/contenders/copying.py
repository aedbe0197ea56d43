"""The floor of W2: copies of the bytes that neurons cannot avoid to move.

The forward pass reads the current and writes spikes and potential, the
backward reads gradient and potential and writes one array: six passes, as
three copies of an array make, each into fresh memory as a backend's outputs
are.
"""

import importlib.metadata

from benchmarks import material


class Contender:
    """Three copies per step.

    Args:
        kind: `"copy"`.
        backend: `"tensorflow"`, `"jax"` or `"torch"`.
        framework: The backend's entry of `frameworks.FRAMEWORKS`, made.
    """

    def __init__(self, kind, backend, framework):
        del kind
        self.backend, self.framework = backend, framework

    def versions(self):
        """Version of the backend."""
        return {self.backend: importlib.metadata.version(self.backend)}

    def prepare(self, case, weights, x, y, neuron):
        """One step of the work to be timed."""
        del weights, neuron
        make = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
        to_tensor, copy = make[self.backend]()
        dtype = case.dtype.removeprefix("mixed_")
        potential = material.cotangent(x.shape, seed=4)
        arrays = [to_tensor(array, dtype) for array in (x, y, potential)]

        def step():
            # All three live until the end, as a step's own results do.
            self.framework.wait([copy(array) for array in arrays])

        return step


# A copy proper might be optimized away: 1 is added.
def _tensorflow():
    import tensorflow as tf

    copy = tf.function(lambda array: array + 1, jit_compile=True)
    return lambda array, dtype: tf.cast(tf.constant(array), dtype), copy


def _jax():
    import jax

    copy = jax.jit(lambda array: array + 1)
    return lambda array, dtype: jax.numpy.asarray(array, dtype), copy


def _torch():
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"

    def to_tensor(array, dtype):
        return torch.tensor(array, dtype=getattr(torch, dtype), device=device)

    return to_tensor, lambda array: array + 1
