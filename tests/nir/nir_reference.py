"""A plain simulation of NIR graphs in NumPy and float64, channels first.

Imports nothing of the package. It iterates NIR's equations with the forward
Euler method, node by node. An edge that closes a cycle carries the spikes of
the timestep before.
"""

import graphlib
import itertools

import numpy as np

NEURONS = ("IF", "LIF", "CubaLIF", "I", "LI", "CubaLI")


def simulate(graph, inputs, dt, fires=np.greater, subtract=False):
    """Returns a dictionary of the outputs of every node.

    Args:
        graph: An `nir.NIRGraph` without subgraphs.
        inputs: `(batch, timesteps, ...)`.
        dt: Length of a timestep.
        fires: Compares the potential with the threshold.
        subtract: Whether a spike lowers the potential by the threshold.
    """
    nodes = graph.nodes
    after = {name: {b for a, b in graph.edges if a == name} for name in nodes}

    def reaches(start, goal, seen=()):
        return start == goal or any(
            reaches(x, goal, (*seen, x)) for x in after[start] if x not in seen
        )

    late = {
        (a, b)
        for a, b in graph.edges
        if type(nodes[a]).__name__ in NEURONS and reaches(b, a)
    }
    before = {name: set() for name in nodes}
    for a, b in set(graph.edges) - late:
        before[b].add(a)
    order = list(graphlib.TopologicalSorter(before).static_order())
    found, states, last = {name: [] for name in nodes}, {}, {}
    for t in range(inputs.shape[1]):
        now = {}
        for name in order:
            arriving = [now[a] for a in before[name]]
            for a, b in late:
                if b == name:
                    size = np.size(nodes[a].r)
                    arriving.append(last.get(a, np.zeros((len(inputs), size))))
            x = sum(arriving) if arriving else inputs[:, t].astype("float64")
            options = {"dt": dt, "fires": fires, "subtract": subtract}
            now[name] = _step(
                nodes[name], x, states.setdefault(name, {}), options
            )
            found[name].append(now[name])
        last = now
    return {name: np.stack(x, 1) for name, x in found.items()}


def _step(node, x, state, options):
    kind = type(node).__name__
    if kind in NEURONS:
        return _neuron(node, kind, x, state, **options)
    if kind in ("Affine", "Linear"):
        return x @ np.asarray(node.weight, "float64").T + getattr(
            node, "bias", 0.0
        )
    if kind == "Conv1d":
        bias = np.asarray(node.bias)[:, None, None]
        weight = np.asarray(node.weight, "float64")[:, :, None]
        return (
            _conv(
                *(x[:, :, None], weight),
                (1, node.stride),
                node.padding
                if isinstance(node.padding, str)
                else (0, node.padding),
                (1, node.dilation),
                node.groups,
            )[:, :, 0]
            + bias[:, 0]
        )
    if kind == "Conv2d":
        weight = np.asarray(node.weight, "float64")
        window = node.stride, node.padding, node.dilation, node.groups
        return _conv(x, weight, *window) + np.asarray(node.bias)[:, None, None]
    if kind in ("SumPool2d", "AvgPool2d"):
        channels, size = x.shape[1], tuple(node.kernel_size)
        weight = np.ones((channels, 1, *size))
        if kind == "AvgPool2d":
            weight /= weight[0].size
        return _conv(x, weight, node.stride, node.padding, (1, 1), channels)
    if kind == "Flatten":
        shape = list(x.shape[1:])
        first, last = node.start_dim % len(shape), node.end_dim % len(shape)
        return x.reshape(len(x), *shape[:first], -1, *shape[last + 1 :])
    if kind == "Scale":
        return x * node.scale
    if kind == "Threshold":
        return (x > node.threshold).astype("float64")
    assert kind in ("Input", "Output"), kind
    return x


def _neuron(node, kind, x, state, dt, fires, subtract):
    spiking = kind.endswith("IF")
    rest = node.v_reset if spiking else 0.0
    if kind.startswith("Cuba"):
        current = state.get("current", 0.0)
        current = current + dt / node.tau_syn * (-current + node.w_in * x)
        state["current"] = x = current
    v = state.get("v", rest + np.zeros_like(x))
    if kind in ("I", "IF"):
        v = v + dt * node.r * x
    else:
        tau = node.tau_mem if kind.startswith("Cuba") else node.tau
        v = v + dt / tau * (node.v_leak - v + node.r * x)
    state["v"] = v
    if not spiking:
        return v
    spikes = fires(v, node.v_threshold).astype("float64")
    reset = v - node.v_threshold if subtract else rest
    state["before"], state["v"] = v, np.where(spikes > 0, reset, v)
    return spikes


def _conv(x, weight, stride, padding, dilation, groups):
    """Correlates images with kernels, one position of the kernel at a time."""
    filters, inputs, *size = weight.shape
    spans = [d * (n - 1) for d, n in zip(dilation, size, strict=True)]
    if isinstance(padding, str):
        total = spans if padding == "same" else [0, 0]
        pads = [(n // 2, n - n // 2) for n in total]
    else:
        pads = [(n, n) for n in padding]
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    sides = [
        (n - span - 1) // s + 1
        for n, span, s in zip(x.shape[2:], spans, stride, strict=True)
    ]
    y = np.zeros((len(x), groups, filters // groups, *sides))
    for i, j in itertools.product(*map(range, size)):
        rows, columns = (
            slice(n * d, n * d + (side - 1) * s + 1, s)
            for n, d, side, s in zip(
                (i, j), dilation, sides, stride, strict=True
            )
        )
        part = x[:, :, rows, columns]
        part = part.reshape(len(x), groups, inputs, *sides)
        kernel = weight[:, :, i, j].reshape(groups, filters // groups, inputs)
        y += np.einsum("bgihw,gfi->bgfhw", part, kernel)
    return y.reshape(len(x), filters, *sides)
