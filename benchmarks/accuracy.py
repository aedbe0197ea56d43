"""Test accuracy on CIFAR-10 over the minutes of training.

    python -m benchmarks.accuracy --minutes 120

The contenders train the same layers on the same batches with the same
optimizer. Each has a process of its own, and they take turns of a few minutes,
so that other work on the machine slows all of them.

- `keras_snn`: `sequential_snn` with batch normalization.
- `relu`: ReLU in place of the neurons, in Keras. It sees each image once. More
  timesteps would cost more and change nothing, because ReLU has no state.
- `spikingjelly`: SpikingJelly's layers and neurons in multi-step mode, with its
  defaults. The first convolution runs once for all timesteps, as in keras_snn.

The neurons are those that SpikingJelly has by default: k = lam = 1/2. Its
weights, surrogate and normalization are its defaults, too. `keras_snn` has
Keras's kernels, with the normalization and surrogate of `"stationary"`.
Images are flipped and shifted. The learning rate falls along a cosine over the
given minutes. Compilation counts as training, evaluation does not.
"""

import argparse
import functools
import importlib
import json
import math
import os
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import contenders, machine
from benchmarks.measure import Race
from benchmarks.workers import TIMEOUT, version

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CONTENDERS", "augmented", "compare", "draw", "main"]

CONTENDERS = ("keras_snn", "relu", "spikingjelly")
LAYOUT = "C32 C32 P C64 C64 P C128 C128 G"
SHAPE, CLASSES = (32, 32, 3), 10
RATE, SHIFT = 1e-3, 4
TESTED = 200  # images per call
SIGNED = ("seed", "draw")  # flags that may be 0
OUT = pathlib.Path("results", "accuracy.json")  # git ignores it


def augmented(
    x: np.ndarray, y: np.ndarray, batch: int, seed: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields batches of flipped and shifted images in [0, 1], forever.

    Args:
        x: Images, bytes of shape `(samples, height, width, channels)`.
        y: Their labels.
        batch: Images per batch. An epoch leaves out those that do not fill one.
        seed: Integer that fixes order, flips and shifts.
    """
    if len(x) < batch:
        raise ValueError(
            "`batch` must not exceed the number of images. "
            f"Received: batch={batch}, {len(x)} images"
        )
    rng = np.random.default_rng(seed)
    height, width = x.shape[1:3]
    border = (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)
    while True:
        order = rng.permutation(len(x))
        for start in range(0, len(x) - batch + 1, batch):
            rows = order[start : start + batch]
            top, left = rng.integers(2 * SHIFT + 1, size=(2, batch, 1, 1))
            across = np.arange(width)
            across = np.where(
                rng.integers(2, size=(batch, 1, 1)), across, across[::-1]
            )
            images = np.pad(x[rows], border)[
                np.arange(batch)[:, None, None],
                top + np.arange(height)[:, None],
                left + across,
            ]
            yield images.astype("float32") / 255, y[rows].astype("int32")


class _KerasNetwork:
    """The network of `keras_snn`, or with ReLU in place of the neurons."""

    def __init__(self, name, timesteps, width, seed):
        import keras

        import keras_snn

        backend = importlib.import_module(keras.config.backend())
        self.libraries = keras, keras_snn, backend
        keras.utils.set_random_seed(seed)
        if name == "relu":
            self.model = _relu(width)
        else:
            neuron = {"k": 0.5, "lam": 0.5, "theta": 1.0}
            start = {"initializer": "stationary", "surrogate": "auto"}
            others = {"encoder": "constant", "normalization": "batch"}
            others |= {"width": width, "seed": seed} | neuron | start
            fields = LAYOUT, SHAPE, CLASSES, timesteps
            self.model = keras_snn.models.sequential_snn(*fields, **others)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        adam = keras.optimizers.Adam(RATE, epsilon=1e-8)
        self.model.compile(adam, loss)
        self.parameters = sum(
            math.prod(x.shape) for x in self.model.trainable_weights
        )

    def step(self, x, y, rate):
        """Trains on a batch and returns the loss."""
        self.model.optimizer.learning_rate = rate
        return float(np.ravel(self.model.train_on_batch(x, y))[0])

    def logits(self, x):
        """Returns the logits of a batch."""
        return np.asarray(self.model.predict_on_batch(x))


def _relu(width):
    """Builds the network with ReLU in place of the neurons."""
    import keras

    layers, first = keras.layers, keras.config.backend() == "torch"
    # Keras transposes `channels_last` data on PyTorch.
    order = {"data_format": "channels_first" if first else "channels_last"}
    steps = [keras.Input(SHAPE)]
    steps += [layers.Permute((3, 1, 2))] if first else []
    for word in LAYOUT.split():
        if word == "P":
            steps.append(layers.AveragePooling2D(2, **order))
        elif word == "G":
            steps.append(layers.GlobalAveragePooling2D(**order))
        else:
            convolution = layers.Conv2D(
                _filters(word, width),
                3,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                **order,
            )
            norm = layers.BatchNormalization(1 if first else -1, momentum=0.9)
            steps += [convolution, norm, layers.ReLU()]
    return keras.Sequential([*steps, layers.Dense(CLASSES)])


class _SpikingJelly:
    """The same layers of SpikingJelly."""

    def __init__(self, timesteps, width, seed):
        import spikingjelly
        import torch
        from spikingjelly.activation_based import functional, layer, neuron

        torch.manual_seed(seed)
        self.libraries = torch, spikingjelly
        self.torch, self.reset = torch, functional.reset_net
        self.timesteps = timesteps
        modules, channels = [], SHAPE[-1]
        for word in LAYOUT.split():
            if word == "P":
                modules.append(layer.AvgPool2d(2))
            elif word == "G":
                modules += [layer.AdaptiveAvgPool2d(1), layer.Flatten()]
            else:
                filters = _filters(word, width)
                options = {"padding": 1, "bias": False}
                modules += [
                    layer.Conv2d(channels, filters, 3, **options),
                    layer.BatchNorm2d(filters),
                    neuron.LIFNode(),
                ]
                channels = filters
        # Constant coding: the image is the same at every timestep.
        self.once = torch.nn.Sequential(*modules[:2])
        self.always = torch.nn.Sequential(*modules[2:])
        functional.set_step_mode(self.always, "m")
        self.last = torch.nn.Linear(channels, CLASSES)
        self.modules = torch.nn.ModuleList([self.once, self.always, self.last])
        parameters = list(self.modules.parameters())
        self.adam = torch.optim.Adam(parameters, RATE)
        self.parameters = sum(x.numel() for x in parameters)

    def _run(self, x):
        images = self.torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
        currents = self.once(images).unsqueeze(0)
        spikes = self.always(currents.repeat(self.timesteps, 1, 1, 1, 1))
        self.reset(self.always)
        return self.last(spikes.mean(0))

    def step(self, x, y, rate):
        """Trains on a batch and returns the loss."""
        self.modules.train()
        self.adam.param_groups[0]["lr"] = rate
        self.adam.zero_grad()
        labels = self.torch.from_numpy(y).long()
        loss = self.torch.nn.functional.cross_entropy(self._run(x), labels)
        loss.backward()
        self.adam.step()
        return loss.item()

    def logits(self, x):
        """Returns the logits of a batch."""
        self.modules.eval()
        with self.torch.no_grad():
            return self._run(x).numpy()


def _filters(word, width):
    return max(1, round(int(word.removeprefix("C")) * width))


class _Worker:
    """Trains a contender.

    Args:
        name: Its name.
        args: The flags.
        data: What `datasets.load` returns. It cannot be loaded here: Triton,
            which SpikingJelly imports, aborts a process with TensorFlow.
    """

    def __init__(self, name, args, data):
        (x, y), (x_test, y_test) = data
        fields = args.timesteps, args.width, args.seed
        if name == "spikingjelly":
            self.network = _SpikingJelly(*fields)
        else:
            self.network = _KerasNetwork(name, *fields)
        self.batches = augmented(x, y, args.batch, args.seed)
        self.batch, self.minutes = args.batch, args.minutes
        self.tested = x_test[: args.test_images], y_test[: args.test_images]
        self.passed, self.iterations = 0.0, 0

    def hello(self):
        """Returns the number of trained weights, and the versions."""
        versions = dict(map(version, self.network.libraries))
        return {"parameters": self.network.parameters, "versions": versions}

    def train(self, until):
        """Trains up to a time in minutes and evaluates. Returns a row."""
        before, start, losses = self.passed, time.perf_counter(), []
        while self.passed < until:
            done = min(self.passed / self.minutes, 1)
            rate = RATE * (1 + math.cos(math.pi * done)) / 2
            losses.append(self.network.step(*next(self.batches), rate))
            self.passed = before + (time.perf_counter() - start) / 60
        self.iterations += len(losses)
        return {
            "minutes": self.passed,
            "iterations": self.iterations,
            "images": self.iterations * self.batch,
            "loss": float(np.mean(losses)) if losses else None,
            "accuracy": self._accuracy(),
        }

    def _accuracy(self):
        (x, y), hits = self.tested, 0
        for start in range(0, len(x), TESTED):
            part = slice(start, start + TESTED)
            logits = self.network.logits(x[part].astype("float32") / 255)
            hits += int((logits.argmax(1) == y[part]).sum())
        return hits / len(x)


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Trains the contenders in turns and returns the rows of each.

    After a turn in which one has trained, `args.out` has all results so far.

    Args:
        args: The flags of the command line.
    """
    os.environ["KERAS_BACKEND"] = args.backend  # before Keras is imported

    from keras_snn import datasets
    from keras_snn.files import locked, replacing

    try:
        data = datasets.load("cifar10", progress=False)
    except (ImportError, RuntimeError, ValueError) as error:
        raise SystemExit(str(error)) from error
    settings = {"layout": LAYOUT, "rate": RATE} | vars(args)
    del settings["out"], settings["draw"]
    makes = {
        name: functools.partial(_Worker, name, args, data)
        for name in args.contenders
    }
    options = {"timeout": TIMEOUT + 60 * args.every, "threads": args.threads}
    here = machine.describe(machine.ACCURACY)
    results = {"settings": settings, "machine": here}
    # Not the lock of the file itself, which every write takes.
    alone = locked(args.out.with_suffix(""), wait=False)
    with alone, Race(makes, args.backend, **options) as race:
        results |= {"about": race.hellos, "failed": race.failed}
        results["contenders"] = rows = {name: [] for name in makes}
        for turn in range(math.ceil(args.minutes / args.every)):
            until = min((turn + 1) * args.every, args.minutes)
            for name, row in race.ask("train", until):
                rows[name].append(row)
                about = f"{name}, {row['minutes']:.1f} minutes"
                print(f"{about}: {row['accuracy']:.2%}", flush=True)
            if any(rows.values()):
                with replacing(args.out) as partial:
                    partial.write_text(json.dumps(results, indent=1) + "\n")
    return results


def draw(results: dict[str, Any]) -> "Figure":
    """Draws the test accuracy over the minutes of training.

    Args:
        results: What `compare` returns.
    """
    from matplotlib.figure import Figure

    from keras_snn.plots.style import BLUE, STYLES, VERMILION, tidy

    colors = VERMILION, STYLES["he"]["color"], BLUE
    colors = dict(zip(CONTENDERS, colors, strict=True))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for name, rows in results["contenders"].items():
        minutes = [float(row["minutes"]) for row in rows]
        accuracy = [float(row["accuracy"]) for row in rows]
        axis.plot(minutes, accuracy, "o-", ms=3, label=name, color=colors[name])
    settings = results["settings"]
    title = f"CIFAR-10, {settings['layout']}, width {settings['width']:g}"
    tidy(axis, title=title, xlabel="minutes of training", ylim=(0, 1))
    axis.set_ylabel("test accuracy")
    axis.legend(frameon=False, loc="lower right")
    return figure


def _flags(argv):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    add("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    text = "tensorflow, jax or torch; default: KERAS_BACKEND, or tensorflow"
    add("--backend", type=contenders.backend, default=backend, help=text)
    add("--minutes", type=float, default=120, help="of training, each")
    add("--every", type=float, default=5, help="minutes between evaluations")
    add("--threads", type=int, default=1, help="cores of a contender")
    add("--timesteps", type=int, default=4)
    add("--width", type=float, default=0.5, help="factor for the filters")
    add("--batch", type=int, default=64)
    add("--test-images", type=int, default=10_000)
    add("--seed", type=int, default=0)
    add("--out", type=pathlib.Path, default=OUT)
    add("--draw", action="store_true", help="only draw the results in --out")
    args = parser.parse_args(argv)
    for name, value in vars(args).items():
        if isinstance(value, int | float):
            fits = value >= 0 if name in SIGNED else value > 0
            if not (fits and math.isfinite(value)):
                least = "at least 0" if name in SIGNED else "above 0"
                least = f"finite and {least}" if math.isinf(value) else least
                flag = "--" + name.replace("_", "-")
                parser.error(f"{flag} must be {least}. Received: {value}")
    kind = "a file of results" if args.draw else "a new file"
    fits = args.out.is_file() if args.draw else not args.out.exists()
    if not (fits and args.out.suffix == ".json"):
        parser.error(f"--out must be {kind}, *.json. Received: {args.out}")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line, and saves a picture beside the results."""
    args = _flags(argv)
    try:
        results = None if args.draw else compare(args)
    except BlockingIOError as error:
        raise SystemExit(f"another run writes to `{args.out}`") from error
    except OSError as error:
        raise SystemExit(str(error)) from error
    try:
        results = results or json.loads(args.out.read_text())
        if not any(results["contenders"].values()):
            reasons = "; ".join(map(": ".join, results["failed"].items()))
            raise SystemExit(f"no contender could be trained: {reasons}")
        figure = draw(results)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SystemExit(f"`{args.out}` is damaged: {error!r}") from error
    figure.savefig(args.out.with_suffix(".png"), dpi=130)


if __name__ == "__main__":
    main()
