"""Spyx on JAX: `spyx.nn.run`, a scan over time around the whole network.

Spyx's own `LIF` fires one timestep late and subtracts the threshold, so that
it can never emit the same spikes. What runs here is a neuron of Eq. 2 written
to Spyx's contract for neurons, with a surrogate from `spyx.axn`.
"""

import importlib.metadata
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import spyx.axn
import spyx.nn
from flax import nnx

from benchmarks.workloads import traced


class _LIF(nnx.Module):
    """Eq. 2 in Spyx's `(x, state) -> (spikes, state)`."""

    def __init__(self, shape, neuron):
        def derivative(x):
            return neuron.a / (1 + (math.pi * neuron.a * x) ** 2)

        self.shape, self.neuron = tuple(shape), neuron
        self.spike = spyx.axn.custom(derivative)

    def __call__(self, x, potential):
        potential = self.neuron.k * potential + self.neuron.lam * x
        spikes = self.spike(potential - self.neuron.theta)
        return spikes, potential * (1 - spikes)

    def initial_state(self, batch_size):
        return jnp.zeros((batch_size, *self.shape))


class Contender:
    """A network of Flax layers and neurons, scanned by Spyx.

    Args:
        kind: `"spyx"`.
        backend: `"jax"`.
        framework: `frameworks.Jax`, made.
    """

    def __init__(self, kind, backend, framework):
        del kind, backend
        self.framework = framework

    def versions(self):
        """Versions of the libraries that matter."""
        names = ("spyx", "flax", "jax")
        return {name: importlib.metadata.version(name) for name in names}

    def check(self, case, weights, x, cotangent, neuron):
        """Spikes of every layer, and norms of the gradients."""
        layers = _layers(case, weights, neuron)
        sequence = jnp.swapaxes(jnp.asarray(x), 0, 1)
        spikes = []
        for n, layer in enumerate(layers):
            if isinstance(layer, _LIF):
                network = spyx.nn.Sequential(*layers[: n + 1])
                fired, _ = spyx.nn.run(network, sequence)
                spikes.append(np.swapaxes(np.asarray(fired), 0, 1))
        gradients = _gradients(case, layers, x, cotangent)()[1]
        norms = [_norm(array) for array in _in_order(gradients)]
        return spikes, norms

    def prepare(self, case, weights, x, y, neuron):
        """One step of the work to be timed."""
        layers = _layers(case, weights, neuron)
        if case.trains:
            return self._training_step(case, layers, x, y)
        run = _gradients(case, layers, x, y)

        def step():
            outputs = run()
            self.framework.wait(outputs)

        return step

    def _training_step(self, case, layers, x, y):
        forward, weights = _network(case, layers)
        optimizer = optax.adam(1e-3, 0.9, 0.99)
        x, y = jnp.asarray(x), jnp.asarray(y)

        @jax.jit
        def train(weights, state, key):
            key, now = jax.random.split(key)
            # Poisson coding.
            uniform = jax.random.uniform(now, (case.timesteps, *x.shape))
            spikes = (uniform < x).astype("float32")

            def loss_of(weights):
                logits = forward(weights, spikes)
                losses = optax.softmax_cross_entropy_with_integer_labels(
                    logits, y
                )
                return losses.mean()

            loss, gradients = jax.value_and_grad(loss_of)(weights)
            updates, state = optimizer.update(gradients, state)
            return loss, optax.apply_updates(weights, updates), state, key

        now = [weights, optimizer.init(weights), jax.random.key(0)]

        def step():
            loss, *now[:] = train(*now)
            self.framework.wait(now)
            return float(loss)

        return step


def _layers(case, weights, neuron):
    if case.dtype != "float32":
        raise NotImplementedError(
            f"Spyx is measured in float32, not {case.dtype}"
        )
    pairs = zip(traced(case.layers, case.input_shape), weights, strict=True)
    return [_layer(*pair, arrays, neuron) for pair, arrays in pairs]


def _layer(layer, shape, arrays, neuron):
    if layer.kind == "lif":
        return _LIF(shape, neuron)
    if layer.kind == "pool":
        return lambda x: nnx.avg_pool(x, (2, 2), strides=(2, 2))
    if layer.kind == "flatten":
        return spyx.nn.Flatten()
    if layer.kind == "mean":
        return lambda x: x.mean(0)
    rngs = nnx.Rngs(0)
    if layer.kind == "conv":
        made = nnx.Conv(shape[-1], layer.size, (3, 3), rngs=rngs)
    elif layer.kind == "dense":
        made = nnx.Linear(shape[-1], layer.size, rngs=rngs)
    else:
        raise NotImplementedError(
            f"no {layer.kind} layer: its state cannot advance inside the scan "
            "in which Spyx runs a network"
        )
    made.kernel[...], made.bias[...] = map(jnp.asarray, arrays)
    return made


def _network(case, layers):
    """A pure function of weights and a time-major sequence, and the weights."""
    kinds = [layer.kind for layer in case.layers]
    end = kinds.index("mean") if "mean" in kinds else len(kinds)
    timed = spyx.nn.Sequential(*layers[:end])
    graph, weights = nnx.split((timed, nnx.List(layers[end + 1 :])))

    def forward(weights, sequence):
        timed, behind = nnx.merge(graph, weights)
        outputs, _ = spyx.nn.run(timed, sequence)
        if end == len(kinds):
            return outputs
        output = outputs.mean(0)
        for layer in behind:
            output = layer(output)
        return output

    return forward, weights


def _gradients(case, layers, x, cotangent):
    forward, weights = _network(case, layers)
    sequence = jnp.swapaxes(jnp.asarray(x), 0, 1)
    cotangent = jnp.asarray(cotangent)
    if cotangent.ndim > 2:
        cotangent = jnp.swapaxes(cotangent, 0, 1)

    @jax.jit
    def run(weights, sequence, cotangent):
        if case.learns:
            output, pull = jax.vjp(lambda w: forward(w, sequence), weights)
        else:
            output, pull = jax.vjp(lambda x: forward(weights, x), sequence)
        return output, pull(cotangent)[0]

    return lambda: run(weights, sequence, cotangent)


def _in_order(gradients):
    """Kernel, then bias, of layer after layer, as everywhere else."""
    leaves = jax.tree_util.tree_leaves_with_path(gradients)
    ordered = sorted(leaves, key=lambda pair: _position(pair[0]))
    return [leaf for _, leaf in ordered]


def _position(path):
    names = [getattr(key, "key", getattr(key, "name", None)) for key in path]
    numbers = [name for name in names if isinstance(name, int)]
    return numbers, "bias" in names


def _norm(array):
    return float(np.linalg.norm(np.asarray(array, "float64")))
