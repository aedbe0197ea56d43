"""From the recordings of an event camera to a trained network and its spikes.

An event camera reports each change of brightness as an event. The script moves
digits past a simulated camera, or reads N-MNIST from the folders `Train` and
`Test`. It counts the events in frames and trains a network on the frames.

    python examples/event_camera.py
    python examples/event_camera.py --data-dir N-MNIST

Prints the test accuracy and saves `recording.png`: the events of one recording,
its frames, and the spikes of every layer. Takes about 40 seconds.
"""

import argparse
import pathlib

import keras
import numpy as np

from keras_snn import datasets, events, models, plots

SENSOR, CROP = (34, 34), (32, 32)  # N-MNIST's camera, and Table A4

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--data-dir", type=pathlib.Path, help="folder of N-MNIST")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--timesteps", type=int, default=20)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--shown", type=int, default=0, help="which recording")
parser.add_argument("--out", type=pathlib.Path, default="results")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)


def record(image):
    """Moves an enlarged digit, dark on light, past a simulated camera."""
    digit = np.pad(image[..., 0], 1).repeat(3, axis=0).repeat(3, axis=1)
    return events.saccade(255 - digit, SENSOR)


def count(recording):
    return events.to_frames(recording, args.timesteps, SENSOR, crop=CROP)


if args.data_dir:
    (x_train, y_train), (x_test, y_test) = datasets.load(
        "nmnist", args.data_dir, timesteps=args.timesteps, crop=CROP
    )
    paths = sorted(args.data_dir.glob("Test/*/*.bin"))
    recording = events.read(paths[args.shown], sensor_size=SENSOR)
else:
    (x_train, y_train), (x_test, y_test) = datasets.load("digits")
    recording = record(x_test[args.shown])
    x_train, y_train = x_train[:600], y_train[:600]
    x_train = np.stack([count(record(image)) for image in x_train])
    x_test = np.stack([count(record(image)) for image in x_test])

keras.utils.set_random_seed(args.seed)
model = models.five_layer_snn(
    (*CROP, 2), 10, args.timesteps, encoder=None, seed=args.seed
)
model.compile(
    keras.optimizers.Adam(1e-3, beta_2=0.99),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
batches = datasets.batches(x_train, y_train, 32, seed=args.seed)
model.fit(batches, epochs=args.epochs, shuffle=False)  # `batches` shuffles
_, accuracy = model.evaluate(x_test, y_test, verbose=0)

frames, label = x_test[args.shown], y_test[args.shown]
guess = model.predict(frames[None], verbose=0).argmax()
spikes = models.probe(model).predict(frames[None], verbose=0)
spikes = {name: x[0] for name, x in spikes.items()}
title = f"A {label} that the network takes for a {guess}"
figure = plots.recording(recording, frames, spikes, title)
figure.savefig(args.out / "recording.png", dpi=100)
print(f"Test accuracy {accuracy:.1%} of {len(y_test)} recordings")
