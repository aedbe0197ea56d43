"""Training a network and telling how it went, shared by the examples."""

import json
import math
import time

import keras
import numpy as np

import keras_snn
from keras_snn import callbacks, datasets, recipes
from keras_snn.files import replacing

THRESHOLD = 0.6  # training accuracy that counts as "it learns"
PROBE = 100  # test samples on which firing rates are measured


def train(build, data, epochs, batch_size, seed, reshuffle=False):
    """Trains one network with Table A4's optimizer.

    Args:
        build: Function without arguments that returns the network; `seed` is
            set before, so that all networks see equal batches.
        data: `(x_train, y_train), (x_test, y_test)`.
        epochs: Number of epochs.
        batch_size: Samples per iteration.
        seed: Of the order of the samples, and of all that `build` draws.
        reshuffle: Whether every epoch has an order of its own. `fit` alone
            repeats that of the first on TensorFlow where there is a seed.

    Returns:
        The trained network, and its numbers as a dictionary.
    """
    (x_train, y_train), (x_test, y_test) = data
    keras.utils.set_random_seed(seed)
    model = build()
    model.compile(
        recipes.get("mnist-analysis").build_optimizer(1),  # Table A4
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    iterations = epochs * math.ceil(len(x_train) / batch_size)
    probe = x_test[:PROBE]
    if probe.ndim == 5:  # counts, of any integer dtype
        probe = probe.astype("float32")
    curves = callbacks.IterationHistory()
    monitor = callbacks.FiringRateMonitor(probe, every=max(1, iterations // 20))
    samples = {"x": x_train, "y": y_train, "batch_size": batch_size}
    if reshuffle:
        drawn = datasets.batches(x_train, y_train, batch_size, seed=seed)
        samples = {"x": drawn}
    start = time.perf_counter()
    model.fit(**samples, epochs=epochs, callbacks=[curves, monitor])
    seconds = time.perf_counter() - start
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    layers = {
        key.removesuffix("_firing_rate"): values
        for key, values in monitor.history.items()
        if key.endswith("_firing_rate")
    }
    return model, {
        "iterations_to_60": iterations_to(curves.history["accuracy"]),
        "iterations": len(curves.history["loss"]),
        "final_loss": float(np.mean(curves.history["loss"][-10:])),
        "test_accuracy": float(accuracy),
        "test_interval": wilson(float(accuracy) * len(x_test), len(x_test)),
        "seconds": seconds,
        "initial_firing_rate": {key: x[0] for key, x in layers.items()},
        "loss": curves.history["loss"],
        "accuracy": curves.history["accuracy"],
        "iteration": monitor.history["iteration"],
        "firing_rate": np.mean(list(layers.values()), axis=0).tolist(),
    }


def iterations_to(accuracy, threshold=THRESHOLD):
    """Number of the first iteration of that accuracy, or `None`."""
    reached = np.flatnonzero(np.asarray(accuracy) >= threshold)
    return int(reached[0]) + 1 if len(reached) else None


def wilson(hits, samples, z=1.959964):
    """Wilson's interval of a rate, of 95 % by default (Wilson 1927).

    Args:
        hits: How many samples are right; the mean of several counts will do.
        samples: Out of how many, at least 1.
        z: Quantile of the normal distribution.

    Returns:
        `(low, high)`, in [0, 1].
    """
    rate, square = hits / samples, z * z / samples
    half = z * math.sqrt(rate * (1 - rate) / samples + square / samples / 4)
    middle = rate + square / 2
    return (middle - half) / (1 + square), (middle + half) / (1 + square)


def percent(accuracy, interval):
    """An accuracy and its interval as text."""
    low, high = interval
    return f"{accuracy:.2%} ({low:.2%} to {high:.2%})"


def table(rows, justify=str.rjust):
    """Rows of strings as lines of text, the columns under each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(map(justify, row, widths)).rstrip() for row in rows
    )


def versions():
    """What numbers depend on beside settings."""
    return {
        "backend": keras.config.backend(),
        "keras": keras.__version__,
        "keras_snn": keras_snn.__version__,
    }


def write(path, content, indent=None):
    """Writes JSON, whole or not at all."""
    # Paths are what JSON does not know.
    text = json.dumps(content, indent=indent, default=str)
    with replacing(path) as partial:
        partial.write_text(text + "\n")


def store(path, args, runs, **more):
    """Writes the runs, and all that they were made with, as JSON.

    Args:
        path: The file to write or replace.
        args: The parsed flags.
        runs: Anything that JSON knows.
        **more: Further settings.
    """
    write(path, {"args": vars(args) | more | versions(), "runs": runs})
