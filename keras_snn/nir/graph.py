"""Graphs of NIR: how they are read, and put in order."""

import graphlib
import os

from keras_snn.files import damage

__all__ = ["Graph", "kind", "package"]

SPIKING = ("IF", "LIF", "CubaLIF")
RECURRENT = ("Affine", "Linear")
ENDS = ("Input", "Output")


def package():
    """Imports and returns the package `nir`."""
    try:
        import nir
    except ImportError:
        raise ImportError(
            "NIR needs the package `nir`: pip install nir"
        ) from None
    return nir


def kind(node):
    """Returns the name of the class of a node."""
    return type(node).__name__


class Graph:
    """A graph without subgraphs, whose recurrent connections are set apart.

    Args:
        source: A path, or an `nir.NIRGraph`.

    Attributes:
        nodes: Maps names to nodes, in NIR's order.
        before: Maps names to the names of the nodes before, without recurrent
            connections.
        recurrent: Maps the names of neurons to the weights of their recurrent
            connections: an `Affine`, a `Linear`, or `None` for the identity.

    Raises:
        ValueError: If the graph has a cycle other than neurons with weights
            from their outputs to their inputs.
    """

    def __init__(self, source):
        nir = package()
        if isinstance(source, (str, os.PathLike)):
            os.stat(source)  # A missing file is not a damaged one.
            with damage(f"`{source}` must be a NIR file."):
                source = nir.read(source)
        if not isinstance(source, nir.NIRGraph):
            raise TypeError(
                "`graph` must be a path or an `nir.NIRGraph`. "
                f"Received: graph={source!r}"
            )
        self.nodes, edges = _without_subgraphs(source)
        for name, node in list(self.nodes.items()):
            if kind(node) in ENDS and name not in source.nodes:
                edges = self._bypass(name, edges)
        self.recurrent = {}
        for name in self.of_kind(*SPIKING):
            edges = self._take_recurrent(name, edges)
        self.before = {name: [] for name in self.nodes}
        for start, end in edges:
            self.before[end].append(start)
        self._edges = edges

    def _bypass(self, name, edges):
        """Removes a node that does nothing: an end of a subgraph."""
        del self.nodes[name]
        starts = [start for start, end in edges if end == name]
        ends = [end for start, end in edges if start == name]
        edges = [edge for edge in edges if name not in edge]
        return edges + [(start, end) for start in starts for end in ends]

    def _take_recurrent(self, name, edges):
        """Moves the recurrent connections of neurons out of the edges."""
        found = self.recurrent.setdefault(name, [])
        if (name, name) in edges:
            found.append(None)
            edges = [edge for edge in edges if edge != (name, name)]
        for _, weights in [edge for edge in edges if edge[0] == name]:
            around = [edge for edge in edges if weights in edge]
            loop = {(name, weights), (weights, name)}
            if set(around) == loop and kind(self.nodes[weights]) in RECURRENT:
                found.append(self.nodes.pop(weights))
                edges = [edge for edge in edges if edge not in loop]
        return edges

    def of_kind(self, *kinds):
        """Returns the names of the nodes of some kinds."""
        return [name for name, x in self.nodes.items() if kind(x) in kinds]

    def after(self, name):
        """Returns the names of the nodes after a node."""
        return [end for start, end in self._edges if start == name]

    def in_order(self):
        """Returns the names of all nodes, each after those before it."""
        try:
            return list(graphlib.TopologicalSorter(self.before).static_order())
        except graphlib.CycleError as error:
            nodes = " -> ".join(error.args[1])
            raise ValueError(
                "`graph` must have no cycle except neurons with an Affine or "
                "a Linear from their outputs to their inputs. Received the "
                f"cycle {nodes}"
            ) from None


def _without_subgraphs(graph):
    """Returns the nodes and edges of a graph, and of the graphs inside it.

    The node `b` of the graph `a` is called `a.b`.
    """
    nodes, starts, ends = {}, {}, {}
    edges = []
    for name, node in graph.nodes.items():
        if kind(node) != "NIRGraph":
            nodes[name] = node
            continue
        inside, between = _without_subgraphs(node)
        for old in inside:
            if f"{name}.{old}" in graph.nodes:
                raise ValueError(
                    "`graph` must have unique names. Received two nodes "
                    f"called {name}.{old}"
                )
        nodes |= {f"{name}.{old}": x for old, x in inside.items()}
        edges += [(f"{name}.{a}", f"{name}.{b}") for a, b in between]
        starts[name] = f"{name}.{_only(name, node, 'Input')}"
        ends[name] = f"{name}.{_only(name, node, 'Output')}"
    edges += [(ends.get(a, a), starts.get(b, b)) for a, b in graph.edges]
    return nodes, list(dict.fromkeys(edges))


def _only(name, graph, which):
    found = [x for x, node in graph.nodes.items() if kind(node) == which]
    if len(found) != 1:
        raise ValueError(
            f"A subgraph must have one {which}. Received: subgraph {name!r} "
            f"with {len(found)}"
        )
    return found[0]
