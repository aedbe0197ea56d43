"""The networks step by step in NumPy: what every contender must emit."""

import numpy as np

from benchmarks import material
from benchmarks.workloads import traced


def run(case, weights, x, neuron):
    """Runs a network on input spikes.

    Args:
        case: The `Case`.
        weights: From `material.weights`, with `exact`.
        x: From `material.sequences`, `(batch, timesteps, ...)`.
        neuron: A `material.Neuron`.

    Returns:
        The spikes of every layer of neurons, `(batch, timesteps, ...)`.
    """
    fired = []
    pairs = traced(case.layers, case.input_shape)
    for (layer, _), arrays in zip(pairs, weights, strict=True):
        if layer.kind == "lif":
            x = lif(x, neuron)
            fired.append(x)
        elif layer.kind == "conv":
            x = conv(x, *arrays)
        elif layer.kind == "dense":
            x = x @ arrays[0] + arrays[1]
        elif layer.kind == "norm":
            gamma, beta, mean, variance = arrays
            scale = gamma / np.sqrt(variance + np.float32(material.EPSILON))
            x = (x - mean) * scale + beta
        elif layer.kind == "pool":
            rows, columns = (size // 2 * 2 for size in x.shape[2:4])
            x = x[:, :, :rows, :columns]
            x = sum(x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
        elif layer.kind == "flatten":
            x = x.reshape(*x.shape[:2], -1)
        elif layer.kind == "mean":
            x = x.mean(axis=1)
    return fired


def lif(current, neuron):
    """Neurons over time (Eq. 2), refusing numbers that float32 would round."""
    k, lam, theta = (
        np.float32(x) for x in (neuron.k, neuron.lam, neuron.theta)
    )
    potential = np.zeros_like(current[:, 0])
    spikes = np.empty_like(current)
    largest = 0.0
    for t in range(current.shape[1]):
        potential = k * potential + lam * current[:, t]
        largest = max(largest, float(np.abs(potential).max()))
        spikes[:, t] = potential > theta
        potential = potential * (1 - spikes[:, t])
    # Multiples of 1/64, pooled to 1/256, halved once per timestep.
    if largest * 4 * material.GRAIN * 2 ** current.shape[1] >= 2**24:
        raise ValueError(
            "the check needs potentials that float32 holds exactly. Received: "
            f"{largest:g} after up to {current.shape[1]} timesteps"
        )
    return spikes


def conv(x, kernel, bias):
    """A 3x3 "same" convolution, as nine matrix products."""
    height, width = x.shape[2:4]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    total = bias
    for i in range(3):
        for j in range(3):
            window = padded[:, :, i : i + height, j : j + width]
            total = total + window @ kernel[i, j]
    return total
