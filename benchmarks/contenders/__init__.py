"""The contenders. Each builds a network from the description in `cases`.

A contender has:

- `libraries`: the imported modules whose versions are stored;
- `check(case, data)`: returns the spikes of every layer, `(batch, timesteps,
  ...)`, and the norms of the gradients at all weights, or at the input if there
  are no weights;
- `prepare(case, data)`: returns a function without arguments that runs one
  timed step and returns when the device has finished. A training step returns
  its loss.

snnax 0.0.1 is missing because it cannot be imported.
"""

import importlib
import importlib.util
from typing import Any

__all__ = ["BACKENDS", "OWN", "PEERS", "framework", "make", "missing", "names"]

BACKENDS = ("tensorflow", "jax", "torch")
# - relu: the same network with ReLU in place of the neurons.
# - rnn: Keras's own RNN of the cell.
# - copy: copies as many bytes as neurons must move, for W2.
OWN = ("keras_snn", "relu", "rnn", "copy")
PEERS = {
    "spikingjelly": "torch",
    "snntorch": "torch",
    "spyx": "jax",
}
# These have no neurons, so there are no spikes to compare.
SILENT = ("relu", "copy")


def names(case: str) -> list[str]:
    """Returns the names of the contenders for a case."""
    own = [name for name in OWN if name != "copy" or case == "W2"]
    return [*own, *PEERS]


def framework(name: str, backend: str) -> str:
    """Returns the framework of a contender: its own, or the Keras backend."""
    return PEERS.get(name, backend)


def missing(name: str, backend: str) -> str | None:
    """Returns the package that a contender lacks here, or `None`."""
    library = name if name in PEERS else "keras"
    for package in (framework(name, backend), library):
        if importlib.util.find_spec(package) is None:
            return package
    return None


def make(name: str, loaded: Any) -> Any:
    """Imports the library of a contender and makes the contender.

    Args:
        name: One of `OWN` or `PEERS`, or `"against"`: `keras_snn` as imported
            from another checkout.
        loaded: The contender's framework, from `frameworks.load`.
    """
    if name in PEERS:
        module = importlib.import_module(f"benchmarks.contenders.{name}")
        return module.Contender(loaded)
    from benchmarks.contenders import with_keras

    return with_keras.Contender(name, loaded)
