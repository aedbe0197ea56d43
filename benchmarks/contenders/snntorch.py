"""snnTorch: a loop over time around the network, as in its tutorials."""

import snntorch
import torch

from benchmarks.contenders.torch_peers import Peer

__all__ = ["Contender"]


class Contender(Peer):
    """A network of PyTorch's layers and snnTorch's neurons."""

    libraries = (snntorch, torch)
    model = "Leaky"

    def neurons(self, constants, features):
        """Makes neurons. `Leaky` is Eq. 2 without the gain."""
        options = {
            "Synaptic": {"alpha": 0.5},
            "RLeaky": {"linear_features": features},
        }
        return getattr(snntorch, self.model)(
            beta=constants.k,
            threshold=constants.theta,
            # Its derivative is alpha / 2 / (1 + (pi alpha x / 2)^2).
            spike_grad=snntorch.surrogate.atan(alpha=2 * constants.a),
            reset_mechanism="zero",
            reset_delay=False,
            **options.get(self.model, {}),
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
        states = {
            module: _tuple(module.reset_mem())
            for module in modules
            if isinstance(module, snntorch.SpikingNeuron)
        }
        outputs = []
        for x in sequence:
            for module in modules[: self.timed]:
                if module in states:
                    results = module(self.lam * x, *states[module])
                    # The spikes are a state of recurrent neurons.
                    recurrent = isinstance(module, snntorch.RLeaky)
                    states[module] = results if recurrent else results[1:]
                    x = results[0]
                else:
                    x = module(x)
            outputs.append(x)
        output = torch.stack(outputs)
        for module in modules[self.timed :]:
            output = module(output)
        return output


def _tuple(states):
    return states if isinstance(states, tuple) else (states,)
