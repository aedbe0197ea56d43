"""What other simulators read, and how a graph is made to suit them.

The unit of the potential is free: `r` and `v_threshold` may be multiplied by
the same number. So every simulator gets the `r` that it knows.

The functions that read graphs are `snntorch.import_nir.import_from_nir` of
snnTorch 1.0, `spikingjelly.activation_based.nir_exchange.import_from_nir` of
SpikingJelly 2.0, `norse.torch.from_nir` of Norse 1.1 and `sinabs.nir.from_nir`
of sinabs 3.1.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

__all__ = ["TARGETS", "adapt"]


def _without_gain(kind, parameters, dt):
    """Returns the `r` under which currents have no gain."""
    if kind == "IF":
        return 1 / dt
    return parameters["tau_mem" if kind == "CubaLIF" else "tau"] / dt


def _of_norse(kind, parameters, dt):
    """Returns the `r` that Norse assumes."""
    return {"CubaLIF": parameters["r"], "IF": 1 / dt, "LIF": 1.0}[kind]


@dataclasses.dataclass(frozen=True)
class Target:
    """A simulator that reads graphs.

    Args:
        kinds: The nodes that it reads.
        pooling: The pooling that it reads.
        r: Function of a kind, its parameters and `dt`. Returns the `r` that
            the simulator expects.
        uniform: Whether all neurons of a node must be alike.
        at_threshold: Whether it fires at the threshold, too.
        dt: The only length of a timestep that it knows, or `None`.
        reset: Its reset.
        exponential: Whether a potential decays by `exp(-dt / tau)`.
        unlike: How its spikes differ, or an empty string.
        padding: Whether it reads the padding of pooling.
        why_not: Reasons why it does not read a kind.
    """

    kinds: tuple
    pooling: str
    r: Callable
    uniform: bool = True
    at_threshold: bool = False
    dt: float | None = None
    reset: str = "zero"
    exponential: bool = False
    unlike: str = ""
    padding: bool = True
    why_not: dict = dataclasses.field(default_factory=dict)


COMMON = ("Affine", "Conv2d", "CubaLIF", "Flatten", "Input", "LIF", "Output")
TARGETS = {
    "snntorch": Target(
        COMMON,
        "AvgPool2d",
        _without_gain,
        dt=1e-4,
        why_not={
            "IF": "it gives these neurons a leak",
            "Linear": "it resets recurrent neurons one timestep late",
        },
    ),
    "spikingjelly": Target(
        (*COMMON, "Conv1d", "IF", "Linear"),
        "AvgPool2d",
        _without_gain,
        at_threshold=True,
    ),
    "norse": Target((*COMMON, "IF"), "SumPool2d", _of_norse, uniform=False),
    "sinabs": Target(
        ("Affine", "Conv2d", "Flatten", "IF", "Input", "LIF", "Output"),
        "SumPool2d",
        _without_gain,
        at_threshold=True,
        dt=1.0,
        reset="subtract",
        exponential=True,
        unlike="a potential of twice the threshold gives two spikes at once, "
        "and the potential of an IF node is clipped at minus the threshold",
        padding=False,
    ),
}


def adapt(recipes, name, dt, reset):
    """Changes nodes so that a simulator reads them.

    Args:
        recipes: The nodes of a graph.
        name: A key of `TARGETS`.
        dt: Length of a timestep.
        reset: The reset of all neurons.

    Raises:
        ValueError: If the simulator cannot read the graph.
    """
    target = TARGETS[name]
    if target.reset != reset:
        raise ValueError(
            f"`reset` must be {target.reset!r} for {name}. "
            f"Received: reset={reset!r}"
        )
    if target.dt not in (None, dt):
        raise ValueError(
            f"`dt` must be {target.dt:g} for {name}. Received: dt={dt:g}"
        )
    for which in ("Input", "Output"):
        ends = recipes.of_kind(which)
        if len(ends) != 1:
            raise ValueError(
                f"{name} reads graphs of one {which}. Received: {ends}"
            )
    for node in recipes.of_kind("AvgPool2d", "SumPool2d"):
        if not target.padding and np.any(recipes.nodes[node][1]["padding"]):
            raise ValueError(
                f"{name} ignores padding in pooling. Received: node {node!r}"
            )
        _change_pooling(recipes, node, target, name)
    for node, (kind, parameters) in list(recipes.nodes.items()):
        if kind not in (*target.kinds, target.pooling):
            why = target.why_not.get(kind, "it does not know them")
            raise ValueError(
                f"{name} cannot read {kind} nodes: {why}. "
                f"Received: node {node!r}"
            )
        if "v_threshold" in parameters:
            parameters = _neurons(node, kind, parameters, target, name, dt)
            recipes.nodes[node] = kind, parameters


def _neurons(node, kind, parameters, target, name, dt):
    """Returns the parameters with another unit of the potential."""
    if target.uniform and any(np.ptp(x) for x in parameters.values()):
        raise ValueError(
            f"{name} cannot read neurons that differ. Received: node {node!r}"
        )
    r = target.r(kind, parameters, dt) + 0 * parameters["r"]
    theta = parameters["v_threshold"] * (r / parameters["r"])
    if target.at_threshold:
        theta = np.nextafter(theta.astype("float32"), np.float32(np.inf))
    if target.exponential and kind == "LIF":
        # Decays by `k = 1 - dt / tau`, as the layer does.
        tau = -dt / np.log1p(-dt / parameters["tau"])
        parameters = parameters | {"tau": tau}
    return parameters | {"r": r, "v_threshold": theta.astype("float64")}


def _change_pooling(recipes, node, target, name):
    """Adds instead of averaging, or the reverse, and scales weights behind."""
    kind, parameters = recipes.nodes[node]
    if kind == target.pooling:
        return
    recipes.nodes[node] = target.pooling, parameters
    factor = float(np.prod(parameters["kernel_size"]))
    factor = factor if kind == "SumPool2d" else 1 / factor
    waiting = recipes.after(node)
    while waiting:
        behind = waiting.pop()
        kind, parameters = recipes.nodes[behind]
        if len(recipes.before(behind)) > 1 or (
            kind not in ("Affine", "Conv2d", "Flatten")
        ):
            raise ValueError(
                f"{name} has no pooling like that of node {node!r}, and only "
                f"weights can make up for it. Received: {behind!r} behind it"
            )
        if kind == "Flatten":
            waiting += recipes.after(behind)
        else:
            weight = (parameters["weight"] * factor).astype("float32")
            recipes.nodes[behind] = kind, parameters | {"weight": weight}
