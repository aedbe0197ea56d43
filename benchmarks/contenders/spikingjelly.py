"""SpikingJelly in its multi-step mode: time is folded into the batch."""

import inspect

import spikingjelly
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate

from benchmarks.contenders.torch_peers import Peer

__all__ = ["Contender"]


class Contender(Peer):
    """A network of SpikingJelly's layers and neurons."""

    libraries = (spikingjelly, torch)
    layers, options = layer, {"step_mode": "m"}
    model = "LIFNode"

    def neurons(self, constants, features):
        """Makes neurons. `LIFNode` is Eq. 2 if the gain is `1 - k`."""
        del features
        if abs(constants.lam - (1 - constants.k)) > 1e-9:
            raise ValueError(
                "SpikingJelly's LIFNode needs lam = 1 - k. "
                f"Received: k={constants.k}, lam={constants.lam}"
            )
        # Version 2.0 selects its fastest kernel. Older ones have to be told.
        make = getattr(neuron, self.model)
        parameters = inspect.signature(make).parameters
        asks = "backend" in parameters and self.device != "cpu"
        options = {"backend": "cupy"} if asks else {}
        return make(
            1 / (1 - constants.k),
            decay_input=True,
            v_threshold=constants.theta,
            v_reset=0.0,
            # Its derivative is alpha / 2 / (1 + (pi alpha x / 2)^2).
            surrogate_function=surrogate.ATan(2 * constants.a),
            detach_reset=False,
            step_mode="m",
            **options,
        )

    def reset(self, network):
        """Resets the potentials, which SpikingJelly keeps between batches."""
        functional.reset_net(network)
