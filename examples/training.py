"""Training a network and telling how it went, shared by the examples."""

import json
import math
import statistics
import time

import keras
import numpy as np

import keras_snn
from keras_snn import callbacks
from keras_snn.files import replacing

THRESHOLD = 0.6  # training accuracy that counts as "it learns"
PROBE = 100  # test samples on which firing rates are measured


def train(build, data, epochs, batch_size, seed):
    """Trains one network with Table A4's optimizer.

    Args:
        build: Function without arguments that returns the network; `seed` is
            set before, so that all networks see equal batches.
        data: `(x_train, y_train), (x_test, y_test)`.
        epochs: Number of epochs.
        batch_size: Samples per iteration.
        seed: Of the order of the samples, and of all that `build` draws.

    Returns:
        The trained network, and its numbers as a dictionary.
    """
    (x_train, y_train), (x_test, y_test) = data
    keras.utils.set_random_seed(seed)
    model = build()
    model.compile(
        keras.optimizers.Adam(1e-3, beta_1=0.9, beta_2=0.99),  # Table A4
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    iterations = epochs * math.ceil(len(x_train) / batch_size)
    curves = callbacks.IterationHistory()
    monitor = callbacks.FiringRateMonitor(
        x_test[:PROBE], every=max(1, iterations // 20)
    )
    start = time.perf_counter()
    model.fit(
        x_train,
        y_train,
        batch_size=batch_size,
        epochs=epochs,
        callbacks=[curves, monitor],
    )
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
        "test_interval": wilson(accuracy, len(x_test)),
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


def wilson(fraction, trials, confidence=0.95):
    """The interval of a probability that the fraction of some trials tells.

    Args:
        fraction: Of the trials that succeeded, in [0, 1].
        trials: Their number, at least 1.
        confidence: How often such intervals hold the probability, in (0, 1).

    Returns:
        `(low, high)`.

    Reference:
        Wilson, "Probable inference, the law of succession, and statistical
        inference", Journal of the American Statistical Association 22, 1927.
    """
    z2 = statistics.NormalDist().inv_cdf((1 + confidence) / 2) ** 2 / trials
    middle = fraction + z2 / 2
    spread = math.sqrt(z2 * (fraction * (1 - fraction) + z2 / 4))
    return tuple(
        min(max((middle + side * spread) / (1 + z2), 0.0), 1.0)
        for side in (-1, 1)
    )


def percent(accuracy, interval):
    """An accuracy and its interval as text."""
    low, high = interval
    return f"{accuracy:.2%} ({low:.2%} to {high:.2%})"


def table(rows):
    """Rows of strings as lines of text, the columns under each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) for cell, width in zip(row, widths, strict=True)
        )
        for row in rows
    )


def store(path, args, runs, **more):
    """Writes the runs, and all that they were made with, as JSON.

    Args:
        path: The file to write or replace.
        args: The parsed flags.
        runs: Anything that JSON knows.
        **more: Further settings.
    """
    settings = vars(args) | more
    settings |= {
        "backend": keras.config.backend(),
        "keras": keras.__version__,
        "keras_snn": keras_snn.__version__,
    }
    # Paths are what JSON does not know.
    text = json.dumps({"args": settings, "runs": runs}, default=str)
    with replacing(path) as partial:
        partial.write_text(text)
