"""Firing rates of deep plain networks before training.

Builds networks of 100 dense layers, or of 30 convolutions, from inputs that
fire at the target rate, and stores the rate of every layer, the mean over
seeds. No training, no data.
"""

import pathlib

import keras
import numpy as np
from keras import ops

from experiments.catalogue import NEURONS
from experiments.recipes import neuron
from experiments.records import Measurements
from keras_snn import initializers
from keras_snn.layers import LIF, PerTimestep

__all__ = ["FILE", "LAWS", "TARGETS", "rates", "run", "table"]

FILE = "rates.json"  # in the folder of the results
# SpikeInit's own target is 0.1.
TARGETS = {"stationary": 0.15, "shi": 0.1, "asymptote": 0.15}
LAWS = tuple(TARGETS)
TIMESTEPS = (4, 10, 20, 100)
SEEDS = 5
DENSE, UNITS = 100, 512
CONVOLUTIONS, FILTERS, SIDE = 30, 48, 16
SAMPLES = 2
# Drawn once: k in (0.1, 1), lam and theta in (0.1, 4).
RANDOM_NEURONS = tuple(
    tuple(round(float(x), 2) for x in row)
    for row in np.random.default_rng(20).uniform(
        (0.1, 0.1, 0.1), (1, 4, 4), (20, 3)
    )
)


def rates(law, constants, timesteps, seed, convolutions=False):
    """Returns the firing rate of every layer of a random network.

    Args:
        law: A name in `initializers.NAMES`.
        constants: Tuple `(k, lam, theta)`.
        timesteps: Number of timesteps.
        seed: Fixes weights and inputs.
        convolutions: Whether the layers are convolutions instead of dense.
    """
    rng = np.random.default_rng(seed)
    features = (SIDE, SIDE, FILTERS) if convolutions else (UNITS,)
    spikes = rng.random((SAMPLES, timesteps, *features)) < TARGETS[law]
    x = ops.convert_to_tensor(spikes.astype("float32"))
    constants = dict(zip(("k", "lam", "theta"), constants, strict=True))
    fire, found = LIF(**constants), []
    fan_in = initializers.padded_fan_in(features, 3) if convolutions else None
    for number in range(CONVOLUTIONS if convolutions else DENSE):
        weights = initializers.for_layer(
            law,
            **constants,
            seed=1000 * seed + number,
            timesteps=timesteps,
            fan_in=fan_in,
        )
        if convolutions:
            layer = keras.layers.Conv2D(FILTERS, 3, padding="same", **weights)
        else:
            layer = keras.layers.Dense(UNITS, **weights)
        x = fire(PerTimestep(layer)(x))
        found.append(float(ops.convert_to_numpy(ops.mean(x))))
    return found


def run(path: pathlib.Path, neurons=(*NEURONS, *RANDOM_NEURONS)):
    """Measures all networks and stores their rates as JSON.

    Networks that are stored already are skipped.

    Args:
        path: The file.
        neurons: Tuples `(k, lam, theta)`.
    """
    stored = Measurements(path)
    # Convolutions are slow. The neurons of Table A6 stand for all.
    networks = [
        *(("dense", x, timesteps) for x in neurons for timesteps in TIMESTEPS),
        *(("convolutions", x, 20) for x in neurons if x in NEURONS),
    ]
    for network, constants, timesteps in networks:
        for law in LAWS:
            key = {"law": law, "network": network, "neuron": list(constants)}
            key |= {"timesteps": timesteps}
            if stored.has(key):
                continue
            convolutions = network == "convolutions"
            try:
                found = [
                    rates(law, constants, timesteps, seed, convolutions)
                    for seed in range(SEEDS)
                ]
            except ValueError as error:
                if law != "shi":  # It has no solution for some neurons.
                    raise
                print(f"{law}, {neuron(*constants)}, T={timesteps}: {error}")
                continue
            mean = [round(float(x), 4) for x in np.mean(found, axis=0)]
            stored.add(key, {"seeds": SEEDS, "rates": mean})
            print(
                f"{law}, {network}, {neuron(*constants)}, T={timesteps}: "
                f"layer 1 {mean[0]:.3f}, last {mean[-1]:.3f}",
                flush=True,
            )


def table(rows: list[dict]) -> list[list[str]]:
    """Tables how far the rates are from the target.

    Args:
        rows: What `run` stores.

    Returns:
        Rows of texts, with a head: for each kind of network and number of
        timesteps, and each law, in how many networks all layers are within 25 %
        of the target, and the median over networks of the last layer's rate.
    """
    groups = {}
    for row in rows:
        key = row["network"], row["timesteps"]
        groups.setdefault(key, {}).setdefault(row["law"], []).append(row)
    lines = [["network", *LAWS]]
    for (network, timesteps), laws in groups.items():
        texts = []
        for law in LAWS:
            found = [np.array(row["rates"]) for row in laws.get(law, [])]
            if not found:
                texts.append("")
                continue
            target = TARGETS[law]
            inside = sum(
                bool((abs(x / target - 1) <= 0.25).all()) for x in found
            )
            last = np.median([x[-1] for x in found])
            texts.append(f"{inside} of {len(found)}, {last:.3f}")
        (row, *_), *_ = laws.values()
        layers = len(row["rates"])
        lines.append([f"{layers} layers, {network}, T={timesteps}", *texts])
    return lines
