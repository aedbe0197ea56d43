"""snnTorch: a loop over time around the whole network, as its tutorials do."""

import snntorch
import torch
from torch import nn

from benchmarks import material
from benchmarks.contenders.torch_peers import Peer, channels


class _Network(nn.Module):
    def __init__(self, case, layers, lam):
        super().__init__()
        kinds = [described.kind for described in case.layers]
        self.layers = nn.ModuleList(layers)
        self.lam = lam
        # Linear layers behind the mean over time run once.
        self.timed = kinds.index("mean") if "mean" in kinds else len(kinds)
        self.records, self.fired = False, []

    def forward(self, sequence):
        potentials = {
            index: made.reset_mem()
            for index, made in enumerate(self.layers)
            if isinstance(made, snntorch.Leaky)
        }
        fired = {index: [] for index in potentials}
        outputs = []
        for x in sequence:
            for index, made in enumerate(self.layers[: self.timed]):
                if index in potentials:
                    # `beta v + x`: the input's gain comes from outside.
                    x, potentials[index] = made(self.lam * x, potentials[index])
                    if self.records:
                        fired[index].append(x)
                else:
                    x = made(x)
            outputs.append(x)
        self.fired = [torch.stack(x) for x in fired.values() if x]
        output = torch.stack(outputs)
        if self.timed == len(self.layers):
            return output
        output = output.mean(0)
        for made in self.layers[self.timed + 1 :]:
            output = made(output)
        return output


class Contender(Peer):
    """A network of PyTorch's layers and snnTorch's `Leaky`."""

    def module(self, case, neuron):
        """Builds the network."""
        layers = [_layer(*pair, neuron) for pair in channels(case)]
        return _Network(case, layers, neuron.lam)


def _layer(described, features, constants):
    kind, size = described.kind, described.size
    if kind == "lif":
        return snntorch.Leaky(
            beta=constants.k,
            threshold=constants.theta,
            # Its derivative is alpha / 2 / (1 + (pi alpha x / 2)^2).
            spike_grad=snntorch.surrogate.atan(alpha=2 * constants.a),
            reset_mechanism="zero",
            reset_delay=False,
        )
    if kind == "conv":
        return nn.Conv2d(features, size, 3, padding=1)
    if kind == "norm":
        return nn.BatchNorm2d(features, eps=material.EPSILON)
    if kind == "pool":
        return nn.AvgPool2d(2)
    if kind == "flatten":
        return nn.Flatten()
    if kind == "dropout":
        return nn.Dropout(size)
    if kind == "dense":
        return nn.Linear(features, size)
    return nn.Identity()
