"""What is known of a tensor of a model, and of the nodes that compute it."""

import collections
import dataclasses

import numpy as np

from keras_snn.nir.graph import package

__all__ = ["Recipes", "Value", "channels_last"]


def channels_last(shape):
    """Returns the indices of NIR's elements in a model's order of axes."""
    indices = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    return np.moveaxis(indices, 0, -1)


@dataclasses.dataclass(frozen=True)
class Value:
    """A tensor of the model: which nodes compute it, and in which order.

    Layers that only move or reshape axes change `where`, and add no node.

    Args:
        sources: Names of the nodes whose outputs add up to the tensor.
        where: Integers in the shape of the features of the tensor: the index
            of each among the flattened outputs of the node.
        shape: Shape of the outputs of the node.
        padding: Zeros around the image that the next window has to add.
        averaged: Whether the tensor is a mean over time.
    """

    sources: tuple
    where: np.ndarray
    shape: tuple
    padding: tuple = ()
    averaged: bool = False

    def but(self, **changes):
        """Returns the value with some changes."""
        return dataclasses.replace(self, **changes)

    def is_image(self, first):
        """Returns whether the axes are those of an image.

        Args:
            first: Whether the channels of the tensor come first.
        """
        expected = channels_last(self.shape)
        if first:
            expected = np.moveaxis(expected, -1, 0)
        return len(self.shape) > 1 and np.array_equal(self.where, expected)

    def in_order(self, array):
        """Returns an array of the model's features in the node's order."""
        array = np.broadcast_to(array, self.where.shape)
        ordered = np.empty(self.where.size, "float64")
        ordered[self.where.ravel()] = array.ravel()
        return ordered.reshape(self.shape)


class Recipes:
    """The nodes of a graph, as names of kinds and their parameters."""

    def __init__(self):
        self.nodes, self.edges = {}, []
        self._names = collections.Counter()

    def add(self, name, kind, sources, **parameters):
        """Adds a node behind others, and returns its name."""
        name = self._unique(name)
        self.nodes[name] = kind, parameters
        self.edges += [(source, name) for source in sources]
        return name

    def before(self, name):
        """Returns the names of the nodes before a node."""
        return tuple(start for start, end in self.edges if end == name)

    def after(self, name):
        """Returns the names of the nodes after a node, as a list."""
        return [end for start, end in self.edges if start == name]

    def of_kind(self, *kinds):
        """Returns the names of the nodes of some kinds."""
        return [name for name, (kind, _) in self.nodes.items() if kind in kinds]

    def _unique(self, name):
        self._names[name] += 1
        count = self._names[name]
        return name if count == 1 else self._unique(f"{name}_{count}")

    def prune(self):
        """Removes the nodes that the outputs do not need, except inputs."""
        needed = set(self.of_kind("Output"))
        waiting = list(needed)
        while waiting:
            for start in self.before(waiting.pop()):
                if start not in needed:
                    needed.add(start)
                    waiting.append(start)
        needed.update(self.of_kind("Input"))
        self.nodes = {x: self.nodes[x] for x in self.nodes if x in needed}
        self.edges = [edge for edge in self.edges if set(edge) <= needed]

    def graph(self):
        """Returns the `nir.NIRGraph`."""
        nir = package()
        for name, (_, parameters) in self.nodes.items():
            arrays = map(np.asarray, parameters.values())
            numbers = [x for x in arrays if x.dtype.kind == "f"]
            if not all(np.isfinite(x).all() for x in numbers):
                raise ValueError(
                    "`model` must have finite weights and constants. "
                    f"Received: others at node {name!r}"
                )
        nodes = {
            name: getattr(nir, kind)(**parameters)
            for name, (kind, parameters) in self.nodes.items()
        }
        return nir.NIRGraph(nodes, self.edges)
