"""A saved spiking network predicts the same in a fresh process.

Trains on the digits for two epochs and saves the network to a `.keras` file. A
second Python process loads the file, on another backend if you like:

    python examples/save_and_load.py --backend jax

Prints the largest difference between the predictions of the two processes. It
is 0 if both use the same backend. Backends round differently, and a rounding
error may move a potential across the threshold. The example uses constant
coding, because Poisson coding would draw new spikes. Takes about 20 seconds.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np

from keras_snn import datasets, models

FRESH_PROCESS = """
import sys
import keras, keras_snn, numpy as np  # keras_snn registers its layers
folder = sys.argv[1]
model = keras.models.load_model(folder + "/model.keras")
x = np.load(folder + "/x.npy")
np.save(folder + "/logits.npy", model.predict(x, verbose=0))
"""

backend = keras.config.backend()
parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--timesteps", type=int, default=10)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument(
    "--backend", choices=["tensorflow", "jax", "torch"], default=backend
)
args = parser.parse_args()

keras.utils.set_random_seed(args.seed)
(x_train, y_train), (x_test, _) = datasets.load("digits")
model = models.five_layer_snn(
    (8, 8, 1), timesteps=args.timesteps, encoder="constant", seed=args.seed
)
model.compile(
    keras.optimizers.Adam(1e-3, beta_2=0.99),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(x_train, y_train, epochs=args.epochs)
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

difference = np.abs(here - there).max()
print(f"{backend} to {args.backend}: largest difference {difference:g}")
