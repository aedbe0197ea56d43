"""A recurrent spiking network on time series, beside a GRU.

Nine speakers say two vowels. The values enter the neurons as currents, leaky
integrators sum up the spikes, and a dense layer reads their last potentials.

    python examples/time_series.py

Prints the test accuracy of both networks, and saves `time_series.png`: a series
with the spikes and outputs that it causes. Takes about 40 seconds.
"""

import argparse
import importlib.util
import pathlib

import keras
import numpy as np

from keras_snn import initializers, layers, models, plots

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--dataset", default="JapaneseVowels")
parser.add_argument("--timesteps", type=int, default=29, help="after padding")
parser.add_argument("--flatten", action="store_true", help="read all spikes")
parser.add_argument("--noise", type=float, default=1.0, help="for training")
parser.add_argument("--epochs", type=int, default=80)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=pathlib.Path, default="results")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
if not (aeon := importlib.util.find_spec("aeon")):
    raise SystemExit("For the data, run `pip install --no-deps aeon`.")


def load(split):
    path = f"datasets/data/{args.dataset}/{args.dataset}_{split}.ts"
    text = (pathlib.Path(aeon.origin).parent / path).read_text("utf-8")
    rows = [row.split(":") for row in text.partition("@data\n")[2].split()]
    x = [np.array([y.split(",") for y in row[:-1]], float).T for row in rows]
    size = args.timesteps
    x = keras.utils.pad_sequences(x, size, "float32", "post", value=np.nan)
    return x, np.array([int(row[-1]) - 1 for row in rows])


def spiking(units=128):
    neuron, tau = (0.5, 1.0, 1.0), np.geomspace(2, 30, units)
    law = initializers.AsymptoteInitializer
    weak = law(*neuron, fan_in=20 * units)  # generalizes better
    leaky = layers.LeakyIntegrator(1 - 1 / tau, 1 / tau, False, learn="k")
    return [
        keras.layers.Dense(units, kernel_initializer=law(*neuron)),
        layers.RecurrentLIF(units, *neuron, weak, learn="k"),
        keras.layers.Flatten() if args.flatten else leaky,
    ]


(x_train, y_train), (x_test, y_test) = load("TRAIN"), load("TEST")
mean, std = (f(x_train, (0, 1)) for f in (np.nanmean, np.nanstd))
x_train, x_test = (np.nan_to_num((x - mean) / std) for x in (x_train, x_test))
mask = [] if args.flatten else [keras.layers.Masking()]  # rows of zeros
for name, hidden in ("GRU", lambda: [keras.layers.GRU(72)]), ("SNN", spiking):
    keras.utils.set_random_seed(args.seed)
    noise = keras.layers.GaussianNoise(args.noise)
    readout = keras.layers.Dense(len({*y_train}), "softmax")
    model = keras.Sequential([*mask, noise, *hidden(), readout])
    steps = args.epochs * (len(x_train) // 16 + 1)
    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    adam, loss = keras.optimizers.Adam(rate), "sparse_categorical_crossentropy"
    model.compile(adam, loss, metrics=["accuracy"])
    model.fit(x_train, y_train, 16, args.epochs, verbose=0)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"{name}: test accuracy {accuracy:.1%}")
real = x_test[0].any(-1)
(spikes,) = models.probe(model).predict(x_test[:1], verbose=0).values()
# The network sees one timestep, then two, and so on.
seen = x_test[0] * np.tri(args.timesteps)[..., None]
shown = {"RecurrentLIF": spikes[0][real]}, model.predict(seen, verbose=0)[real]
figure = plots.time_series(x_test[0][real], *shown, y_test[0], args.dataset)
figure.savefig(args.out / "time_series.png")
