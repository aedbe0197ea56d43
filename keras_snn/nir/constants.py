"""The constants of neurons: NIR's in continuous time, ours per timestep."""

import numpy as np

__all__ = ["from_node", "to_node"]


def from_node(name, node, shape, dt, firing):
    """Returns the constants of a layer for a node of neurons.

    Args:
        name: Name of the node.
        node: `IF`, `LIF`, `CubaLIF`, `I`, `LI` or `CubaLI`.
        shape: Shape of its features in the model, channels last.
        dt: Length of a timestep.
        firing: `">"`, or `">="` to lower the threshold by one rounding error.

    Returns:
        `(constants, offset)`: a dictionary of numbers and arrays, and the
        current that stands for `v_leak`, an array or 0. If there is a synapse,
        it is a current behind it.
    """

    def get(parameter, default=None):
        value = getattr(node, parameter, default)
        return _channels_last(name, parameter, value, shape)

    _check(name, "r", get("r"), get("r") > 0, "above 0")
    found, offset = {"k": np.ones(shape), "lam": get("r") * dt}, 0.0
    v_reset = get("v_reset", 0.0)
    if hasattr(node, "v_leak"):
        rate = _rate(name, node, get, dt)
        found = {"k": 1 - rate, "lam": get("r") * rate}
        offset = (get("v_leak") - v_reset) / get("r")
    if hasattr(node, "tau_syn"):
        tau = get("tau_syn")
        _check(name, "tau_syn", tau, tau >= dt, f"at least `dt`, {dt:g}")
        _check(name, "w_in", get("w_in"), get("w_in") > 0, "above 0")
        found["alpha"] = 1 - dt / tau
        gain = get("w_in") * dt / tau
        found["lam"], offset = found["lam"] * gain, offset / gain
    if hasattr(node, "v_threshold"):
        theta = get("v_threshold") - v_reset
        _check(name, "v_threshold", theta, theta > 0, "above `v_reset`")
        if firing == ">=":
            theta = theta.astype("float32")
            theta = np.nextafter(theta, np.float32(0)).astype("float64")
        found["theta"] = theta
    constants = {key: _compact(value) for key, value in found.items()}
    return constants, offset if np.any(offset) else 0.0


def to_node(layer, value, dt):
    """Returns the kind and the parameters of a node for a layer of neurons.

    Args:
        layer: A layer or a cell with the constants of neurons.
        value: The `Value` of its current.
        dt: Length of a timestep.
    """

    def get(name):
        return value.in_order(getattr(layer, name))

    k, lam = get("k"), get("lam")
    kind = "IF" if np.all(k == 1) else "LIF"
    zeros = np.zeros(value.shape)
    if kind == "IF" and not hasattr(layer, "alpha"):
        parameters = {"r": lam / dt}
    else:
        _check_decay(layer, "k", k)
        # `dt / (1 - k)`, and the gain that makes up for `dt / tau`.
        parameters = {"tau": dt / (1 - k), "r": lam / (1 - k), "v_leak": zeros}
    if hasattr(layer, "alpha"):
        alpha = get("alpha")
        _check_decay(layer, "alpha", alpha)
        kind = "CubaLIF"
        parameters["tau_mem"] = parameters.pop("tau")
        # The synaptic current has no gain.
        further = {"tau_syn": dt / (1 - alpha), "w_in": 1 / (1 - alpha)}
        parameters |= further
    if not hasattr(layer, "theta"):
        return kind.replace("F", ""), parameters
    return kind, parameters | {"v_threshold": get("theta"), "v_reset": zeros}


def _check_decay(layer, name, values):
    if np.any(values == 1):
        alone = ", or 1 for all neurons of a layer without synaptic currents"
        raise ValueError(
            f"`{name}` of layer {layer.name!r} must be below 1"
            f"{alone * (name == 'k')}. Received: {name}=1"
        )


def _rate(name, node, get, dt):
    """Returns what the potential loses per timestep, a fraction."""
    parameter = "tau_mem" if hasattr(node, "tau_mem") else "tau"
    tau = get(parameter)
    _check(name, parameter, tau, tau > dt, f"above `dt`, which is {dt:g}")
    return dt / tau


def _check(name, parameter, values, valid, what):
    if not np.all(valid):
        wrong = np.asarray(values)[~np.broadcast_to(valid, np.shape(values))]
        raise ValueError(
            f"`{parameter}` of node {name!r} must be {what}. "
            f"Received: {parameter}={wrong.flat[0]:g}"
        )


def _channels_last(name, parameter, value, shape):
    """Returns a parameter in the axes of the model, and in float64."""
    value = np.asarray(value, "float64")
    if value.size == 1:
        return np.full(shape, value.item())
    expected = shape[-1:] + shape[:-1]
    if value.shape != expected:
        raise ValueError(
            f"`{parameter}` of node {name!r} must have the shape of its "
            f"inputs, {expected}. Received: shape={value.shape}"
        )
    return np.moveaxis(value, 0, -1)


def _compact(value):
    """Returns a number if all are equal, or one per channel if they allow."""
    first = value[(0,) * (value.ndim - 1)]
    if np.all(value == first.flat[0]):
        return float(first.flat[0])
    return first if np.all(value == first) else value
