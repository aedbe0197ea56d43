"""What the PyTorch libraries have in common: weights, steps and precision.

Inside, images are channels first and time comes first, as these libraries have
it; both are turned round once, outside the timed step.
"""

import contextlib
import importlib.metadata

import numpy as np
import torch

from benchmarks import material
from benchmarks.workloads import traced


class Peer:
    """Base of the PyTorch contenders.

    A subclass builds a `torch.nn.Module` that maps a sequence `(timesteps,
    batch, ...)` to the output, and lists the spikes of every layer in
    `module.fired`, `(timesteps, batch, ...)`, where `module.records` is set.

    Args:
        kind: Name of the library.
        backend: `"torch"`.
        framework: `frameworks.Torch`, made.
    """

    def __init__(self, kind, backend, framework):
        del backend
        self.kind, self.framework = kind, framework
        self.device = "cuda" if framework.on_gpu else "cpu"

    def module(self, case, neuron):
        """Builds the network."""
        raise NotImplementedError

    def reset(self, module):
        """Clears what the library keeps between two batches."""

    def versions(self):
        """Versions of the libraries that matter."""
        names = (self.kind, "torch")
        return {name: importlib.metadata.version(name) for name in names}

    def _build(self, case, weights, neuron):
        module = self.module(case, neuron)
        set_weights(case, module, weights)
        # "float16" is half precision throughout, "mixed_float16" is autocast.
        pure = not case.dtype.startswith("mixed_")
        dtype = getattr(torch, case.dtype) if pure else torch.float32
        return module.to(self.device, dtype), dtype

    def check(self, case, weights, x, cotangent, neuron):
        """Spikes of every layer, and norms of the gradients."""
        module, dtype = self._build(case, weights, neuron)
        module.eval()
        module.records = True
        run = self._gradients(
            module,
            self._sequence(case, x, dtype),
            self._cotangent(cotangent, dtype),
            case,
        )
        gradients = run()[1]
        spikes = [_batch_major(spikes) for spikes in module.fired]
        norms = [float(gradient.double().norm()) for gradient in gradients]
        return spikes, norms

    def prepare(self, case, weights, x, y, neuron):
        """One step of the work to be timed."""
        torch.manual_seed(0)
        module, dtype = self._build(case, weights, neuron)
        module.train()
        if case.trains:
            return self._training_step(case, module, x, y, dtype)
        if case.dtype.startswith("mixed_"):
            dtype = getattr(torch, case.dtype.removeprefix("mixed_"))
        sequence = self._sequence(case, x, dtype)
        run = self._gradients(module, sequence, self._cotangent(y, dtype), case)

        def step():
            outputs = run()
            self.framework.wait(outputs)

        return step

    def _gradients(self, module, sequence, cotangent, case):
        if not case.learns:
            sequence.requires_grad_()
        at = list(module.parameters()) if case.learns else [sequence]

        def run():
            with self._autocast(case):
                output = module(sequence)
            gradients = torch.autograd.grad(output, at, cotangent)
            self.reset(module)
            return output, gradients

        return run

    def _training_step(self, case, module, x, y, dtype):
        x = torch.tensor(x).permute(0, 3, 1, 2).contiguous()
        x, y = x.to(self.device, dtype), torch.tensor(y).long().to(self.device)
        optimizer = torch.optim.Adam(module.parameters(), 1e-3, (0.9, 0.99))
        half = case.dtype == "mixed_float16"
        scaler = torch.amp.GradScaler(self.device, enabled=half)

        def step():
            optimizer.zero_grad()
            with self._autocast(case):
                # Poisson coding.
                uniform = torch.rand(
                    (case.timesteps, *x.shape), device=self.device
                )
                logits = module((uniform < x).to(dtype))
                loss = torch.nn.functional.cross_entropy(logits, y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            self.reset(module)
            value = loss.item()
            # The loss is known before the weights are updated.
            self.framework.wait()
            return value

        return step

    def _autocast(self, case):
        if not case.dtype.startswith("mixed_"):
            return contextlib.nullcontext()
        dtype = getattr(torch, case.dtype.removeprefix("mixed_"))
        return torch.autocast(self.device, dtype)

    def _sequence(self, case, x, dtype):
        x = torch.tensor(x).to(self.device, dtype).swapaxes(0, 1)
        if case.image:
            x = x.permute(0, 1, 4, 2, 3)
        return x.contiguous()

    def _cotangent(self, cotangent, dtype):
        cotangent = torch.tensor(cotangent).to(self.device, dtype)
        if cotangent.ndim > 2:
            cotangent = cotangent.swapaxes(0, 1).contiguous()
        return cotangent


def _batch_major(spikes):
    array = np.swapaxes(spikes.detach().float().cpu().numpy(), 0, 1)
    return array.transpose(0, 1, 3, 4, 2) if array.ndim == 5 else array


def set_weights(case, module, weights):
    """Copies weights into `module.layers`, one module per described layer."""
    if case.image:
        weights = material.channels_first(case, weights)
    pairs = zip(case.layers, module.layers, weights, strict=True)
    with torch.no_grad():
        for layer, made, arrays in pairs:
            for name, array in _named(layer, arrays):
                getattr(made, name).copy_(torch.tensor(array))


def _named(layer, arrays):
    if layer.kind == "conv":
        names = ("weight", "bias")
        arrays = (arrays[0].transpose(3, 2, 0, 1), arrays[1])
    elif layer.kind == "dense":
        names = ("weight", "bias")
        arrays = (arrays[0].T, arrays[1])
    elif layer.kind == "norm":
        names = ("weight", "bias", "running_mean", "running_var")
    else:
        return ()
    return zip(names, arrays, strict=True)


def channels(case):
    """Yields every layer with the number of its input features or channels."""
    for layer, shape in traced(case.layers, case.input_shape):
        yield layer, shape[-1]
