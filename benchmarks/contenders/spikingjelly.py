"""SpikingJelly, multi-step: time folded into the batch, one call per layer."""

from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

from benchmarks import material
from benchmarks.contenders.torch_peers import Peer, channels


class _Network(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.records, self.fired = False, []

    def forward(self, x):
        self.fired = []
        for made in self.layers:
            x = made(x)
            if self.records and isinstance(made, neuron.LIFNode):
                self.fired.append(x)
        return x


class _Mean(nn.Module):
    def forward(self, x):
        return x.mean(0)


class Contender(Peer):
    """A network of SpikingJelly's multi-step layers."""

    def module(self, case, neuron):
        """Builds the network."""
        timed, layers = True, []
        for described, features in channels(case):
            layers.append(_layer(described, features, timed, neuron))
            timed = timed and described.kind != "mean"
        return _Network(layers)

    def reset(self, module):
        """SpikingJelly's neurons keep the potential until they are reset."""
        functional.reset_net(module)


def _layer(described, features, timed, constants):
    kind, size, mode = described.kind, described.size, {"step_mode": "m"}
    if kind == "lif":
        return _neurons(constants)
    if kind == "mean":
        return _Mean()
    if kind == "conv":
        return layer.Conv2d(features, size, 3, padding=1, **mode)
    if kind == "norm":
        return layer.BatchNorm2d(features, eps=material.EPSILON, **mode)
    if kind == "pool":
        return layer.AvgPool2d(2, **mode)
    if kind == "flatten":
        return layer.Flatten(**mode)
    if kind == "dropout":
        return layer.Dropout(size, **mode)
    if not timed:
        return nn.Linear(features, size)
    return layer.Linear(features, size, **mode)


def _neurons(constants):
    """`h = v + (x - v) / tau` is Eq. 2 where the gain is `1 - k`."""
    if abs(constants.lam - (1 - constants.k)) > 1e-9:
        raise ValueError(
            "SpikingJelly's LIFNode needs lam = 1 - k. "
            f"Received: k={constants.k}, lam={constants.lam}"
        )
    return neuron.LIFNode(
        tau=1 / (1 - constants.k),
        decay_input=True,
        v_threshold=constants.theta,
        v_reset=0.0,
        # Its derivative is alpha / 2 / (1 + (pi alpha x / 2)^2).
        surrogate_function=surrogate.ATan(2 * constants.a),
        detach_reset=False,
        step_mode="m",
    )
