"""snnTorch: a loop over time around the network, as in its tutorials."""

import snntorch
import torch

from benchmarks.contenders.torch_peers import Peer

__all__ = ["Contender"]


class Contender(Peer):
    """A network of PyTorch's layers and snnTorch's `Leaky`."""

    libraries = (snntorch, torch)

    def neurons(self, constants):
        """Makes a `Leaky`, which is Eq. 2 without the gain."""
        return snntorch.Leaky(
            beta=constants.k,
            threshold=constants.theta,
            # Its derivative is alpha / 2 / (1 + (pi alpha x / 2)^2).
            spike_grad=snntorch.surrogate.atan(alpha=2 * constants.a),
            reset_mechanism="zero",
            reset_delay=False,
        )

    def network(self, modules, case, neuron):
        """Puts the layers that run at every timestep into a loop."""
        return _Loop(modules, case.timed, neuron.lam)


class _Loop(torch.nn.Sequential):
    def __init__(self, modules, timed, lam):
        super().__init__(*modules)
        self.timed, self.lam = timed, lam

    def forward(self, sequence):
        modules = list(self)
        potentials = {
            module: module.reset_mem()
            for module in modules
            if isinstance(module, snntorch.Leaky)
        }
        outputs = []
        for x in sequence:
            for module in modules[: self.timed]:
                if module in potentials:
                    state = potentials[module]
                    x, potentials[module] = module(self.lam * x, state)
                else:
                    x = module(x)
            outputs.append(x)
        output = torch.stack(outputs)
        for module in modules[self.timed :]:
            output = module(output)
        return output
