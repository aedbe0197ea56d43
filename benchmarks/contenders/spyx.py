"""Spyx on JAX: `spyx.nn.run`, a scan over time around the whole network.

Spyx's own `LIF` fires one timestep later and subtracts the threshold, so it
cannot emit the same spikes. This contender uses a neuron of Eq. 2 that follows
Spyx's contract for neurons and takes its surrogate from `spyx.axn`.
"""

import math

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import spyx
import spyx.axn
import spyx.nn
from flax import nnx

__all__ = ["Contender"]


class _LIF(nnx.Module):
    """Eq. 2 as Spyx's `(x, state) -> (spikes, state)`."""

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
        framework: From `frameworks.load`.
    """

    libraries = (spyx, flax, jax)

    def __init__(self, framework):
        self.framework = framework

    def check(self, case, data):
        """Returns spikes and gradient norms; see `contenders`."""
        layers = _layers(case, data)
        sequence = jnp.swapaxes(jnp.asarray(data.x), 0, 1)
        spikes = []
        for n, layer in enumerate(layers):
            if isinstance(layer, _LIF):
                network = spyx.nn.Sequential(*layers[: n + 1])
                fired, _ = spyx.nn.run(network, sequence)
                spikes.append(np.swapaxes(np.asarray(fired), 0, 1))
        _, gradients = _both_passes(case, layers, data)()
        return spikes, [_norm(array) for array in _in_order(gradients)]

    def prepare(self, case, data):
        """Returns the step to be timed."""
        layers = _layers(case, data)
        if case.trains:
            return self._training_step(case, layers, data)
        run = _both_passes(case, layers, data)
        return lambda: self.framework.wait(run())

    def _training_step(self, case, layers, data):
        forward, weights = _network(case, layers)
        optimizer = optax.adam(1e-3, 0.9, 0.99)
        x, y = jnp.asarray(data.x), jnp.asarray(data.y)

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


def _layers(case, data):
    if case.dtype != "float32":
        raise NotImplementedError(
            f"Spyx is measured in float32, not in {case.dtype}"
        )
    pairs = zip(case.trace(), data.weights, strict=True)
    return [
        _layer(layer, shape, arrays, data.neuron)
        for (layer, shape), arrays in pairs
    ]


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
            f"Spyx runs networks inside a scan, where the state of a "
            f"{layer.kind} layer cannot change"
        )
    made.kernel[...], made.bias[...] = map(jnp.asarray, arrays)
    return made


def _network(case, layers):
    """Returns a pure function of weights and sequence, and the weights."""
    timed = spyx.nn.Sequential(*layers[: case.timed])
    after = nnx.List(layers[case.timed + 1 :])
    graph, weights = nnx.split((timed, after))

    def forward(weights, sequence):
        timed, after = nnx.merge(graph, weights)
        outputs, _ = spyx.nn.run(timed, sequence)
        if case.timed == len(case.layers):
            return outputs
        output = outputs.mean(0)
        for layer in after:
            output = layer(output)
        return output

    return forward, weights


def _both_passes(case, layers, data):
    forward, weights = _network(case, layers)
    sequence = jnp.swapaxes(jnp.asarray(data.x), 0, 1)
    cotangent = jnp.asarray(data.y)
    if cotangent.ndim > 2:
        cotangent = jnp.swapaxes(cotangent, 0, 1)

    @jax.jit
    def run(weights, sequence, cotangent):
        output, pull = jax.vjp(forward, weights, sequence)
        # XLA drops the gradient that is not returned.
        return output, pull(cotangent)[0 if case.learns else 1]

    return lambda: run(weights, sequence, cotangent)


def _in_order(gradients):
    """Returns kernel and bias layer by layer, like the other contenders."""
    leaves = jax.tree_util.tree_leaves_with_path(gradients)
    ordered = sorted(leaves, key=lambda pair: _position(pair[0]))
    return [leaf for _, leaf in ordered]


def _position(path):
    names = [getattr(key, "key", getattr(key, "name", None)) for key in path]
    numbers = [name for name in names if isinstance(name, int)]
    return numbers, "bias" in names


def _norm(array):
    return float(np.linalg.norm(np.asarray(array, "float64")))
