"""The contenders, each built from a network's description.

A contender offers three things:

- `versions()`: name and version of the libraries that matter;
- `check(case, weights, x, cotangent, neuron)`: the spikes of every layer, and
  the norms of the gradients at all weights (at the input if there are none),
  for input spikes `x` and the gradient `cotangent` at the output;
- `prepare(case, weights, x, y, neuron)`: a function without arguments, one step
  of the work to be timed, which returns when the device is done. `y` holds the
  labels of a training step, else the gradient at the output.

snnax 0.0.1 is not among them: it cannot be imported, for want of a module.
"""

import importlib
import importlib.util

BACKENDS = ("tensorflow", "jax", "torch")
PEERS = {
    "spikingjelly": "torch",
    "snntorch": "torch",
    "spyx": "jax",
}


def parse(name):
    """Kind and framework of a contender's name.

    Example:
    >>> parse("rnn/jax"), parse("snntorch")
    (('rnn', 'jax'), ('snntorch', 'torch'))
    """
    kind, _, backend = name.partition("/")
    return kind, backend or PEERS[kind]


def spiking(name):
    """Whether a contender has neurons, and so spikes to compare."""
    return parse(name)[0] not in ("relu", "copy")


def missing(name):
    """The package that a contender lacks on this machine, or `None`."""
    kind, framework = parse(name)
    needed = [framework, *([kind] if kind in PEERS else ["keras"])]
    for package in needed:
        if importlib.util.find_spec(package) is None:
            return package
    return None


def make(name, framework):
    """The contender of a name; imports its library.

    Args:
        name: As in `parse`.
        framework: Its entry of `frameworks.FRAMEWORKS`, made.

    Returns:
        An object with the methods that the module's docstring lists.
    """
    kind, backend = parse(name)
    if kind == "copy":
        module = "copying"
    else:
        module = kind if kind in PEERS else "with_keras"
    module = importlib.import_module(f"benchmarks.contenders.{module}")
    return module.Contender(kind, backend, framework)
