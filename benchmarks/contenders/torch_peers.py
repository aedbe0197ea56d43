"""Common parts of the PyTorch libraries: layers, weights, steps, precision.

These libraries put time first, and channels before height and width. Inputs and
weights are reordered once, outside the timed step.
"""

import contextlib

import numpy as np
import torch

from benchmarks.data import EPSILON, channels_first

__all__ = ["Peer"]


class Peer:
    """Base class of the PyTorch contenders.

    A subclass states its `libraries`, makes `neurons`, and may replace the
    other attributes and methods.

    Args:
        framework: From `frameworks.load`.
        model: Name of the library's class for neurons, by default the one of
            Eq. 2.
    """

    libraries = ()
    # The module with the layers that run at every timestep, and their options.
    layers, options = torch.nn, {}
    model = None

    def __init__(self, framework, model=None):
        self.framework = framework
        self.model = model or self.model
        self.device = "cpu" if framework.device() == "cpu" else "cuda"

    def neurons(self, neuron, features):
        """Makes the module for neurons from a `data.Neuron`.

        Its output is the spikes, or a tuple that starts with them.
        """
        raise NotImplementedError

    def network(self, modules, case, neuron):
        """Combines one module per layer of the case.

        The result maps a sequence `(timesteps, batch, ...)` to the output and
        iterates over the modules.
        """
        del case, neuron
        return torch.nn.Sequential(*modules)

    def reset(self, network):
        """Clears the state that the library keeps between batches."""

    def check(self, case, data):
        """Returns spikes and gradient norms; see `contenders`."""
        network = self._build(case, data).eval()
        fired = []
        for layer, module in zip(case.layers, network, strict=True):
            if layer.kind == "lif":
                fired.append(spikes := [])
                module.register_forward_hook(_keeping(spikes))
        _, gradients = self._both_passes(network, case, data)()
        spikes = [_batch_first(torch.stack(x)) for x in fired]
        norms = [float(gradient.double().norm()) for gradient in gradients]
        return spikes, norms

    def prepare(self, case, data):
        """Returns the step to be timed."""
        torch.manual_seed(0)
        network = self._build(case, data).train()
        if case.trains:
            return self._training_step(network, case, data)
        run = self._both_passes(network, case, data)
        return lambda: self.framework.wait(run())

    def _build(self, case, data):
        modules = []
        for position, (layer, shape) in enumerate(case.trace()):
            once = position >= case.timed
            source = (torch.nn, {}) if once else (self.layers, self.options)
            modules.append(
                self.neurons(data.neuron, shape[-1])
                if layer.kind == "lif"
                else _synapses(layer, shape[-1], *source)
            )
        network = self.network(modules, case, data.neuron)
        weights = data.weights
        if case.image:
            weights = channels_first(case, weights)
        _set_weights(case.layers, modules, weights)
        return network.to(self.device)

    def _both_passes(self, network, case, data):
        dtype = getattr(torch, case.dtype.removeprefix("mixed_"))
        x = torch.tensor(data.x).to(self.device, dtype).swapaxes(0, 1)
        if case.image:
            x = x.permute(0, 1, 4, 2, 3)
        x = x.contiguous()
        cotangent = torch.tensor(data.y).to(self.device, dtype)
        if cotangent.ndim > 2:
            cotangent = cotangent.swapaxes(0, 1).contiguous()
        at = list(network.parameters())
        if not case.learns:
            at.append(x.requires_grad_())

        def run():
            with self._autocast(case):
                output = network(x)
            gradients = torch.autograd.grad(output, at, cotangent)
            self.reset(network)
            return output, gradients

        return run

    def _training_step(self, network, case, data):
        x = torch.tensor(data.x).permute(0, 3, 1, 2).contiguous()
        x, y = x.to(self.device), torch.tensor(data.y).long().to(self.device)
        optimizer = torch.optim.Adam(network.parameters(), 1e-3, (0.9, 0.99))
        half = case.dtype == "mixed_float16"
        scaler = torch.amp.GradScaler(self.device, enabled=half)

        def step():
            optimizer.zero_grad()
            with self._autocast(case):
                # Poisson coding.
                shape = (case.timesteps, *x.shape)
                uniform = torch.rand(shape, device=self.device)
                logits = network((uniform < x).to(x.dtype))
                loss = torch.nn.functional.cross_entropy(logits, y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            self.reset(network)
            value = loss.item()
            # The loss is known before the weights are updated.
            self.framework.wait()
            return value

        return step

    def _autocast(self, case):
        if case.dtype == "float32":
            return contextlib.nullcontext()
        dtype = getattr(torch, case.dtype.removeprefix("mixed_"))
        return torch.autocast(self.device, dtype)


class _Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean(0)


def _synapses(layer, features, library, options):
    """Returns a library's module for any layer but neurons."""
    size = layer.size
    make = {
        "conv": lambda: library.Conv2d(features, size, 3, padding=1, **options),
        "norm": lambda: library.BatchNorm2d(features, eps=EPSILON, **options),
        "pool": lambda: library.AvgPool2d(2, **options),
        "flatten": lambda: library.Flatten(**options),
        "dropout": lambda: library.Dropout(size, **options),
        "dense": lambda: library.Linear(features, size, **options),
        "mean": _Mean,
    }
    return make[layer.kind]()


def _set_weights(layers, modules, weights):
    names = ("weight", "bias", "running_mean", "running_var")
    with torch.no_grad():
        for layer, module, arrays in zip(layers, modules, weights, strict=True):
            if layer.kind in ("conv", "dense"):
                # From (height, width, in, out) to (out, in, height, width).
                kernel = np.moveaxis(arrays[0], (-1, -2), (0, 1))
                arrays = (kernel, arrays[1])
            for name, array in zip(names, arrays, strict=False):
                getattr(module, name).copy_(torch.tensor(array))


def _keeping(spikes):
    """Returns a hook that appends the spikes of each timestep to a list."""

    def hook(module, inputs, output):
        del module, inputs
        spikes.extend([output[0]] if isinstance(output, tuple) else output)

    return hook


def _batch_first(spikes):
    array = np.swapaxes(spikes.detach().float().cpu().numpy(), 0, 1)
    return array.transpose(0, 1, 3, 4, 2) if array.ndim == 5 else array
