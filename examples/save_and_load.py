"""Saves a spiking network and predicts the same in a fresh process.

Trains on the digits for a moment, saves to a `.keras` file, and starts a second
Python that knows nothing but that file: `import keras_snn` registers the
layers, `keras.models.load_model` does the rest, in its safe mode. Ends with the
largest difference between the two predictions, which is 0.

Constant coding is deterministic; Poisson coding would draw new spikes. Give
`--backend` to load in another backend than the one that trained; rounding
differs there, so that a potential at the very threshold may tip over.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import flags
import keras
import numpy as np

from keras_snn import datasets, models

FRESH_PROCESS = """
import sys
import keras, keras_snn
import numpy as np
folder = sys.argv[1]
model = keras.models.load_model(folder + "/model.keras")
x = np.load(folder + "/x.npy")
np.save(folder + "/logits.npy", model.predict(x, verbose=0))
"""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=flags.positive, default=2)
    parser.add_argument("--timesteps", type=flags.positive, default=10)
    parser.add_argument("--samples", type=flags.positive)
    parser.add_argument("--seed", type=int, default=0)
    choices = ("tensorflow", "jax", "torch")
    backend = keras.config.backend()
    parser.add_argument("--backend", choices=choices, default=backend)
    args = parser.parse_args(argv)

    keras.utils.set_random_seed(args.seed)
    (x_train, y_train), (x_test, _) = datasets.load("digits")
    model = models.five_layer_snn(
        x_train.shape[1:],
        timesteps=args.timesteps,
        encoder="constant",
        seed=args.seed,
    )
    model.compile(
        keras.optimizers.Adam(1e-3, beta_2=0.99),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    samples = slice(args.samples)
    model.fit(x_train[samples], y_train[samples], epochs=args.epochs)
    here = model.predict(x_test, verbose=0)

    with tempfile.TemporaryDirectory() as folder:
        model.save(pathlib.Path(folder) / "model.keras")
        np.save(pathlib.Path(folder) / "x.npy", x_test)
        subprocess.run(
            [sys.executable, "-c", FRESH_PROCESS, folder],
            check=True,
            env=os.environ | {"KERAS_BACKEND": args.backend},
        )
        there = np.load(pathlib.Path(folder) / "logits.npy")
    difference = float(np.abs(here - there).max())
    print(f"{backend} -> {args.backend}: largest difference {difference:g}")
    return difference


if __name__ == "__main__":
    main()
