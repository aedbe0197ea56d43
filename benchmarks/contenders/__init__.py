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

import argparse
import importlib
import importlib.util
from typing import Any

__all__ = [
    "BACKENDS",
    "NEURONS",
    "OWN",
    "PEERS",
    "backend",
    "framework",
    "has_spikes_of_lif",
    "make",
    "missing",
    "names",
    "references",
]

BACKENDS = ("tensorflow", "jax", "torch")


def backend(text: str) -> str:
    """Checks the flag `--backend`, and its default from the environment."""
    if text not in BACKENDS:
        raise argparse.ArgumentTypeError(
            f"must be one of {', '.join(BACKENDS)}. Received: {text}"
        )
    return text


# The contenders in Keras, and for which cases:
# - relu: the same network with ReLU in place of the neurons.
# - rnn: Keras's own RNN of the cell.
# - copy: copies as many bytes as neurons must move.
OWN = {
    "keras_snn": ("W0", "W1", "W2", "W3", "W4", "W5"),
    "relu": ("W0", "W1", "W2", "W3", "W4"),
    "rnn": ("W0", "W1"),
    "copy": ("W2",),
}
PEERS = {
    "spikingjelly": "torch",
    "snntorch": "torch",
    "spyx": "jax",
}
# Other neurons than `LIF`, for W5, and the contenders whose times together are
# the reference of their ratio. "products" are those of a recurrent kernel.
NEURONS = {
    "LIF, k learnt": ("keras_snn",),
    "LIF, k per channel": ("keras_snn",),
    "CubaLIF": ("keras_snn",),
    "AdaptiveLIF": ("keras_snn",),
    "LeakyIntegrator": ("keras_snn",),
    "products": ("keras_snn",),
    "RecurrentLIF": ("keras_snn", "products"),
    "RecurrentCubaLIF": ("keras_snn", "products"),
    "RecurrentAdaptiveLIF": ("keras_snn", "products"),
    "spikingjelly.ParametricLIFNode": ("LIF, k learnt",),
    "snntorch.Synaptic": ("CubaLIF",),
    "snntorch.RLeaky": ("RecurrentLIF",),
}


def names(case: str) -> list[str]:
    """Returns the names of the contenders for a case."""
    own = [name for name, measured in OWN.items() if case in measured]
    return [*own, *(NEURONS if case == "W5" else ()), *PEERS]


def has_spikes_of_lif(name: str) -> bool:
    """Says whether a contender must emit the spikes of `LIF`."""
    return name not in ("relu", "copy", *NEURONS)


def references(name: str) -> tuple[str, ...]:
    """Returns the contenders to whose times the ratio of one refers."""
    return NEURONS.get(name, ("keras_snn",))


def _library(name):
    return name.split(".")[0]


def framework(name: str, backend: str) -> str:
    """Returns the framework of a contender: its own, or the Keras backend."""
    return PEERS.get(_library(name), backend)


def missing(name: str, backend: str) -> str | None:
    """Returns the package that a contender lacks here, or `None`."""
    library = _library(name) if _library(name) in PEERS else "keras"
    for package in (framework(name, backend), library):
        if importlib.util.find_spec(package) is None:
            return package
    return None


def make(name: str, loaded: Any) -> Any:
    """Imports the library of a contender and makes the contender.

    Args:
        name: One of `OWN`, `PEERS` or `NEURONS`, or `"against"`: `keras_snn` as
            imported from another checkout.
        loaded: The contender's framework, from `frameworks.load`.
    """
    library, _, model = name.partition(".")
    if library in PEERS:
        module = importlib.import_module(f"benchmarks.contenders.{library}")
        return module.Contender(loaded, **({"model": model} if model else {}))
    from benchmarks.contenders import with_keras

    return with_keras.Contender(name, loaded)
