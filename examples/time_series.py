"""A recurrent spiking network on time series, beside a GRU.

Nine speakers say two vowels. Series of unequal lengths are padded and masked.
Their values enter the neurons as currents. Leaky integrators sum up the spikes,
and a dense layer reads their final potentials.

    pip install --no-deps aeon  # its wheel holds the data
    python examples/time_series.py

Prints the test accuracy of both networks, and saves `time_series.png`: a series
with the spikes and outputs that it causes. Takes about 40 seconds per seed.
"""

import argparse
import importlib.resources
import pathlib

import keras
import numpy as np
from scipy import stats

from keras_snn import initializers, layers, models, plots

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--dataset", default="JapaneseVowels")
parser.add_argument("--noise", type=float, default=1.0, help="for training")
parser.add_argument("--epochs", type=int, default=80)
parser.add_argument("--seeds", type=int, default=1)
parser.add_argument("--out", type=pathlib.Path, default="results")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
LOSS = "sparse_categorical_crossentropy"


def load(split):
    path = f"datasets/data/{args.dataset}/{args.dataset}_{split}.ts"
    text = (importlib.resources.files("aeon") / path).read_text("utf-8")
    rows = [row.split(":") for row in text.partition("@data\n")[2].split()]
    x = [np.array([y.split(",") for y in row[:-1]], float).T for row in rows]
    x = keras.utils.pad_sequences(x, 29, "float32", "post", value=np.nan)
    return x, np.array([int(row[-1]) - 1 for row in rows])


def spiking(units=128):
    neuron, tau = (0.5, 1.0, 1.0), np.geomspace(2, 30, units)
    law = initializers.AsymptoteInitializer
    weak = law(*neuron, fan_in=20 * units)  # generalizes better
    return [
        keras.layers.Dense(units, kernel_initializer=law(*neuron)),
        layers.RecurrentLIF(units, *neuron, weak, learn="k"),
        layers.LeakyIntegrator(1 - 1 / tau, 1 / tau, False, learn="k"),
    ]


def train(hidden, seed):
    keras.utils.set_random_seed(seed)
    mask = keras.layers.Masking()  # timesteps whose features are all 0
    noise = keras.layers.GaussianNoise(args.noise)
    readout = keras.layers.Dense(len(set(y_train)), "softmax")
    model = keras.Sequential([mask, noise, *hidden(), readout])
    steps = args.epochs * (len(x_train) // 16 + 1)
    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    model.compile(keras.optimizers.Adam(rate), LOSS, metrics=["accuracy"])
    model.fit(x_train, y_train, 16, args.epochs, verbose=0)
    return model, model.evaluate(x_test, y_test, verbose=0)[1]


(x_train, y_train), (x_test, y_test) = load("TRAIN"), load("TEST")
mean, std = (f(x_train, (0, 1)) for f in (np.nanmean, np.nanstd))
x_train, x_test = (np.nan_to_num((x - mean) / std) for x in (x_train, x_test))
for name, hidden in ("GRU", lambda: [keras.layers.GRU(72)]), ("SNN", spiking):
    runs = [train(hidden, seed) for seed in range(args.seeds)]
    model, found = runs[0][0], [accuracy for _, accuracy in runs]
    print(f"{name}: test accuracy {np.mean(found):.1%}")
    if args.seeds > 1:
        error = stats.t.ppf(0.975, args.seeds - 1) * stats.sem(found)
        print(f"The 95 % interval of the mean is ± {error:.1%}")
real = x_test[0].any(-1)
(spikes,) = models.probe(model).predict(x_test[:1], verbose=0).values()
# The network sees one timestep, then two, and so on. The others are masked.
outputs = model.predict(x_test[0] * np.tri(29)[..., None], verbose=0)
shown = x_test[0][real], {"RecurrentLIF": spikes[0][real]}, outputs[real]
figure = plots.time_series(*shown, label=y_test[0])
figure.savefig(args.out / "time_series.png")
