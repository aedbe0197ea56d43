"""A whole recipe: a deep spiking network on CIFAR-10, with augmentation.

Trains MS-ResNet-18, or a VGG, of spiking neurons at four timesteps. Keras's own
layers mix, flip, shift, distort and erase the images, batch by batch.

    python examples/cifar10.py --minutes 60 --dtype mixed_bfloat16

Prints the test accuracy after every epoch and saves it, with the minutes of
training, in `cifar10.json`, and the network in the end in `cifar10.keras`. The
same command resumes a run that was killed.
Takes about as long as `--minutes` says, plus the tests. It is made for a GPU.
On a CPU, add `--network vgg --width 0.25`.
"""

import argparse
import json
import math
import pathlib
import time

import keras
import numpy as np

from keras_snn import datasets, models
from keras_snn.files import replacing

VGG = "C64*2 P C128*2 P C256*3 P C512*3 P C512*3 G"
BYTES = {"value_range": (0, 255)}


def network(name, width=1.0, seed=None):
    """Builds the network of the recipe, for constant coding."""
    options = {
        "timesteps": 4,
        "encoder": "constant",
        "k": 0.5,
        "lam": 1.0,
        "surrogate": "auto",
        "initializer": "stationary",
        "normalization": "batch",
        "width": width,
        "seed": seed,
    }
    if name == "vgg":
        return models.sequential_snn(VGG, (32, 32, 3), 10, **options)
    return models.residual_snn(18, (32, 32, 3), 10, **options)


class Augmentation(keras.Model):
    """Changes bytes to augmented images in [0, 1].

    `predict_on_batch` compiles it and runs it on the GPU.
    """

    def __init__(self):
        super().__init__()
        self.steps = [
            keras.layers.RandomFlip("horizontal"),
            # Up to four whole pixels, so that images are not blurred.
            keras.layers.RandomTranslation(
                1 / 8, 1 / 8, "constant", interpolation="nearest"
            ),
            # One operation per batch. The factor of 0.5 that Keras has by
            # default would turn images upside down.
            keras.layers.RandAugment(num_ops=1, factor=0.25, **BYTES),
            keras.layers.RandomErasing(0.5, **BYTES),
        ]

    def call(self, images):
        """Augments, whether training or not."""
        for step in self.steps:
            images = step(images, training=True)
        # Some operations leave the range, which encoders turn into NaN.
        return keras.ops.clip(images, 0, 255) / 255


class Augmented(keras.utils.PyDataset):
    """Augmented images and their labels, a mixture of two classes."""

    def __init__(self, batches, seed):
        super().__init__()
        self.batches, self.rng = batches, np.random.default_rng(seed)
        self.mixers = keras.layers.MixUp(0.2), keras.layers.CutMix(1.0)
        self.augmentation = Augmentation()

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        images, labels = self.batches[index]
        batch = {"images": images.astype("float32"), "labels": one_hot(labels)}
        mixed = self.mixers[self.rng.integers(2)](batch, training=True)
        images = self.augmentation.predict_on_batch(mixed["images"])
        return images, keras.ops.convert_to_numpy(mixed["labels"])

    def on_epoch_begin(self):
        """Tells the batches."""
        self.batches.on_epoch_begin()

    def on_epoch_end(self):
        """Tells the batches."""
        self.batches.on_epoch_end()


def one_hot(labels):
    return np.eye(10, dtype="float32")[labels]


class Clock(keras.callbacks.Callback):
    """Keeps the accuracy over the minutes, and stops in time.

    The learning rate of each epoch lies on a cosine. It ends with the epochs or
    the minutes, whichever end first. Tests do not count as minutes.
    """

    def __init__(self, rate, epochs, minutes, path, settings):
        super().__init__()
        self.rate, self.epochs, self.minutes = rate, epochs, minutes
        self.path, self.settings, self.rows = path, settings, []
        if path.exists():
            before = json.loads(path.read_text())
            if before["settings"] != settings:
                raise SystemExit(
                    f"{path.parent} holds a run with {before['settings']}. "
                    f"Choose another --out. Received: {settings}"
                )
            self.rows = before["rows"]
        if len(self.rows) > epochs:
            raise SystemExit(
                f"--epochs must be at least {len(self.rows)}, the number in "
                f"{path.parent}. Received: {epochs}"
            )
        # A run killed before the final save may have finished all its epochs.
        over = self.earlier_minutes() >= minutes
        self.final_epoch = len(self.rows) if over else epochs

    def earlier_minutes(self):
        """Returns the minutes of training before this epoch."""
        return self.rows[-1]["minutes"] if self.rows else 0.0

    def passed(self):
        """Returns the minutes of training so far."""
        now = time.perf_counter()
        return self.earlier_minutes() + (now - self.start) / 60

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        """Starts the clock and sets the learning rate."""
        del self.rows[epoch:]  # of an earlier run
        self.start = time.perf_counter()
        done = max(epoch / self.epochs, self.passed() / self.minutes)
        rate = self.rate * (1 + math.cos(math.pi * min(done, 1))) / 2
        self.model.optimizer.learning_rate = rate

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        """Ends the training if the time is over."""
        self.model.stop_training = self.passed() >= self.minutes

    def on_test_begin(self, logs=None):  # noqa: ARG002
        """Stops the clock."""
        self.end = self.passed()

    def on_epoch_end(self, epoch, logs=None):
        """Saves and prints the accuracy."""
        row = {"epoch": epoch + 1, "minutes": self.end}
        row |= {"loss": logs["loss"], "test_accuracy": logs["val_accuracy"]}
        self.rows.append(row)
        record = {"settings": self.settings, "rows": self.rows}
        with replacing(self.path) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n")
        about = f"Epoch {epoch + 1}, {self.end:.1f} minutes"
        print(f"{about}: test accuracy {logs['val_accuracy']:.2%}")

    def on_train_end(self, logs=None):  # noqa: ARG002
        """Saves the network, before the backup is deleted."""
        with replacing(self.path.with_suffix(".keras")) as partial:
            self.model.save(partial)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--network", choices=["resnet18", "vgg"], default="resnet18")
    add("--width", type=float, default=1.0, help="factor for all channels")
    add("--epochs", type=int, default=150)
    add("--minutes", type=float, default=math.inf, help="of training")
    add("--dtype", default="float32", help="such as mixed_bfloat16")
    add("--batch-size", type=int, default=128)
    add("--data-dir", help="folder of tensorflow_datasets")
    add("--seed", type=int, default=0)
    add("--out", type=pathlib.Path, default="results")
    args = parser.parse_args()
    trained = args.out / "cifar10.keras"
    if args.out.is_file() or trained.exists():
        parser.error(f"--out must be a new folder. Received: {args.out}")
    if args.epochs < 1:
        parser.error(f"--epochs must be at least 1. Received: {args.epochs}")
    if not args.minutes > 0:
        parser.error(f"--minutes must be above 0. Received: {args.minutes}")
    args.out.mkdir(parents=True, exist_ok=True)

    keras.utils.set_random_seed(args.seed)
    (x, y), (x_test, y_test) = datasets.load("cifar10", args.data_dir)
    settings = ("network", "width", "dtype", "batch_size", "seed")
    settings = {name: getattr(args, name) for name in settings}
    path = args.out / "cifar10.json"
    clock = Clock(2e-3, args.epochs, args.minutes, path, settings)
    order = {"seed": args.seed, "first_epoch": len(clock.rows)}
    batches = datasets.batches(
        x, y, args.batch_size, drop_remainder=True, **order
    )
    train = Augmented(batches, args.seed)
    keras.config.set_dtype_policy(args.dtype)  # images stay in float32
    model = network(args.network, args.width, args.seed)
    adam = keras.optimizers.AdamW(weight_decay=0.05)
    # Decay would shrink scale and shift until the neurons fall silent.
    adam.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(adam, loss, metrics=["accuracy"])
    backup = keras.callbacks.BackupAndRestore(
        args.out / "cifar10_backup", double_checkpoint=True
    )
    model.fit(
        train,
        epochs=clock.final_epoch,
        shuffle=False,  # `batches` shuffles
        validation_data=(x_test, one_hot(y_test)),
        validation_batch_size=args.batch_size,
        callbacks=[clock, backup],  # in this order
    )


if __name__ == "__main__":
    main()
