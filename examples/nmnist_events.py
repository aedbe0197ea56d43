"""From an event camera's recordings to a trained network, and its spikes.

Trains the five-layer network on frames of event counts, as the paper does for
N-MNIST, and draws one recording: its events in space and time, their frames,
and the spikes that every layer of the trained network answers with. Give the
folder of N-MNIST, or of the part of it that you have:

    python examples/nmnist_events.py --data-dir N-MNIST --seeds 3

In it `Train` and `Test` hold a folder per digit, `0` to `9`, of recordings.
Without one the example makes its own: the digits (or MNIST), moved before a
simulated camera.

Prints a table and leaves in `--out`: the picture as `recording.png`, the
curves of the first seed as `curves.png`, the numbers of every seed as
`results.json`, the networks of the first seed as `<initializer>.keras`.

Expect, on two CPU cores: 2 minutes on the digits, of which half a minute makes
the recordings.
"""

import argparse
import functools
import statistics

import flags
import keras
import numpy as np
import training

from keras_snn import datasets, events, initializers, models, plots
from keras_snn.files import replacing
from keras_snn.layers import LIF

SENSOR = (34, 34)
CROP = (32, 32)  # Table A4


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data-dir", type=flags.existing, help="holds Train and Test")
    own = "images to make recordings of, without --data-dir"
    add("--dataset", choices=("digits", "mnist"), default="digits", help=own)
    add("--samples", type=flags.positive, help="recordings to make, at most")
    add(
        "--initializers",
        nargs="+",
        choices=initializers.NAMES,
        default=["asymptote"],
    )
    add("--epochs", type=flags.positive, default=10)
    add("--batch-size", type=flags.positive, default=32)
    add("--timesteps", type=flags.positive, default=20)
    # The neuron of Table 2.
    add("--k", type=float, default=0.8)
    add("--lam", type=float, default=0.2)
    add("--theta", type=float, default=1.0)
    add("--seeds", type=flags.positive, default=1, help="0, 1, ... of as many")
    add("--shown", type=flags.index, default=0, help="test recording to draw")
    add("--out", type=flags.folder, default="results/nmnist_events")
    return parser.parse_args(argv)


def make(name, samples):
    """The same of images, moved before a simulated camera."""
    for images, labels in datasets.load(name):
        images, labels = images[:samples, ..., 0], labels[:samples]
        # The digits are 8 pixels high, the camera 34.
        times = SENSOR[0] // (images.shape[1] + 1)
        images = images.repeat(times, axis=1).repeat(times, axis=2)
        # Dark on light, which is what N-MNIST looks like.
        yield (events.saccade(255 - image) for image in images), labels


def frames_of(recording, timesteps):
    """Frames of equal numbers of events, as in the paper."""
    counts = events.to_frames(recording, timesteps, SENSOR, crop=CROP)
    return np.minimum(counts, 255).astype("uint8")


def simulated(args):
    """Frames of recordings of our own, and the one to draw with its label."""
    data, shown = [], None
    for recordings, labels in make(args.dataset, args.samples):
        x = np.empty((len(labels), args.timesteps, *CROP, 2), "uint8")
        shown = None
        for i, recording in enumerate(recordings):
            x[i] = frames_of(recording, args.timesteps)
            if i == args.shown:
                shown = recording, labels[i]
        data.append((x, labels))
    return data, shown


def real(args):
    """Frames of N-MNIST's recordings, and the one to draw with its label."""
    paths = sorted((args.data_dir / "Test").glob("[0-9]/*.bin"))
    if not paths:
        raise SystemExit(
            "--data-dir must hold Train/<digit>/*.bin and Test/<digit>/*.bin. "
            f"Received: {args.data_dir}"
        )
    shown = None
    if args.shown < len(paths):
        path = paths[args.shown]
        shown = events.read(path, sensor_size=SENSOR), int(path.parent.name)
    options = {"timesteps": args.timesteps, "crop": CROP}
    return datasets.load("nmnist", args.data_dir, **options), shown


def build(name, seed, args):
    """The network under one initialization."""
    return models.five_layer_snn(
        (*CROP, 2),
        timesteps=args.timesteps,
        k=args.k,
        lam=args.lam,
        theta=args.theta,
        initializer=name,
        encoder=None,
        seed=seed,
    )


def spikes_of(model, frames):
    """The spikes of every layer for the frames of one recording."""
    layers = [layer for layer in model.layers if isinstance(layer, LIF)]
    inside = keras.Model(model.inputs, [layer.output for layer in layers])
    outputs = inside.predict(frames[None], verbose=0)
    return {
        layer.name: spikes[0]
        for layer, spikes in zip(layers, outputs, strict=True)
    }


def draw(path, model, shown, args):
    """Draws a recording and the spikes that the network answers with."""
    recording, label = shown
    frames = frames_of(recording, args.timesteps).astype("float32")
    guess = int(model.predict(frames[None], verbose=0).argmax())
    source = f"A {label} of N-MNIST"
    if args.data_dir is None:
        source = f"A {label} of {args.dataset}, by a simulated camera"
    title = f"{source}, and the spikes of a network that takes it for a {guess}"
    figure = plots.recording(recording, frames, spikes_of(model, frames), title)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=100)


def table(runs, trials):
    """The numbers as lines of text, an initialization each.

    The interval is that of one network of the mean accuracy: all seeds are
    tested on the same recordings, so that more seeds tell no more about those.
    """
    rows = [
        [
            "initializer",
            "iterations to 60 %",
            "test accuracy, mean",
            "of the seeds",
        ]
    ]
    for name, seeds in runs.items():
        reached = [str(x["iterations_to_60"] or "never") for x in seeds]
        found = [run["test_accuracy"] for run in seeds]
        mean = statistics.mean(found)
        rows.append(
            [
                name,
                ", ".join(reached),
                training.percent(mean, training.wilson(mean * trials, trials)),
                ", ".join(f"{x:.2%}" for x in found),
            ]
        )
    return training.table(rows)


def main(argv=None):
    args = parse_args(argv)
    data, shown = (real if args.data_dir else simulated)(args)
    (_, y_train), (_, y_test) = data
    if shown is None:
        raise SystemExit(
            f"--shown must be in [0, {len(y_test)}). Received: {args.shown}"
        )
    print(f"{len(y_train)} recordings to train, {len(y_test)} to test")
    runs = {name: [] for name in args.initializers}
    for seed in range(args.seeds):
        for name in args.initializers:
            print(f"\n{name}, seed {seed}")
            model, run = training.train(
                functools.partial(build, name, seed, args),
                *(data, args.epochs, args.batch_size, seed),
                reshuffle=True,
            )
            runs[name].append(run)
            training.store(args.out / "results.json", args, runs)
            if seed:
                continue
            with replacing(args.out / f"{name}.keras") as partial:
                model.save(partial)
            if name == args.initializers[0]:
                draw(args.out / "recording.png", model, shown, args)
            first = {key: x[0] for key, x in runs.items() if x}
            with replacing(args.out / "curves.png") as partial:
                plots.learning_curves(first).savefig(partial, dpi=130)
    print(f"\n{table(runs, len(y_test))}")
    print(f"\nPicture, curves, numbers and networks: {args.out}")
    return runs


if __name__ == "__main__":
    main()
