"""Recipes: the paper's experiments as data (Tables A4, A5 and A8).

A recipe consists of a dataset, a network and its training. Each part holds the
keywords of the function that uses it, and this function checks them.

    recipe = recipes.get("cifar10-poisson").vary({"training.epochs": 3})
    (x_train, y_train), (x_test, y_test) = recipe.load()
    model = recipe.build(x_train.shape[-3:], steps_per_epoch=1563)
"""

import dataclasses
import functools
import hashlib
import json
import math
from typing import Any

import keras
import numpy as np

from experiments import losses
from keras_snn import datasets, layers, models, surrogates
from keras_snn.losses import RateAccuracy
from keras_snn.optimizers import ASGD
from keras_snn.validation import check_choice, check_count, check_number

__all__ = [
    "CHOICES",
    "FURTHER",
    "OPTIMIZERS",
    "RECIPES",
    "Recipe",
    "Refused",
    "Training",
    "get",
    "neuron",
]

# Table A5: class, learning rate and settings. For Adagrad the table gives only
# the rate. We take the other settings from PyTorch, because the table uses
# PyTorch's names for averaged SGD. With Keras's defaults (an accumulator that
# starts at 0.1, and 1e-7 inside the root), gradients of 1e-3 have hardly any
# effect.
OPTIMIZERS = {
    "adam": (keras.optimizers.Adam, 1e-3, {"beta_1": 0.9, "beta_2": 0.99}),
    "sgd": (keras.optimizers.SGD, 0.5, {"momentum": 0.9}),
    "asgd": (ASGD, 2.0, {"lambd": 1e-6, "alpha": 0.75}),
    "adagrad": (
        keras.optimizers.Adagrad,
        1e-2,
        {"initial_accumulator_value": 0.0, "epsilon": 1e-20},
    ),
}
SCHEDULES = ("constant", "cosine", "cosine-epochs", "multistep")
DROPS = (50, 90, 130)  # "multistep" divides the rate by 10 at these epochs

# Normalization as its authors publish it, which starts at a scale of 1 and a
# shift of 0, whatever the neuron.
PUBLISHED = {
    "batch": lambda _, axis: keras.layers.BatchNormalization(axis=axis),
    "bntt": lambda x, axis: layers.BNTT(x["timesteps"], axis=axis),
    "tdbn": lambda x, axis: layers.TDBN(x["theta"], axis=axis),
}
STARTS = ("published", "neuron")

# What the paper leaves open, our choice, and what else a recipe can say. The
# defaults of the builders and of `Training` hold these choices.
CHOICES = (
    ("network.readout", "mean", "rate, sequence, potential"),
    ("network.detach_reset", False, "True"),
    ("network.pooling", "average", "max"),
    ("network.a", "Table A3's", "any number above 0"),
    ("network.dropout", 0.5, "any number in [0, 1), for VGG9 and VGG11"),
    ("network.encoder", "poisson in the analysis runs", "constant, retina"),
    ("training.loss", "crossentropy", "mse, mse-softmax"),
    ("training.schedule", "cosine, over iterations", "cosine-epochs"),
)
# Our choices without a field of their own.
FURTHER = (
    ("Fig. 5", "the neurons"),
    ("Figs. A8, A9", "the values of k and lam, up to 4 (text: 8)"),
    ("Adagrad", "an accumulator that starts at 0, 1e-20 inside the root"),
    ("Table A8", "theta = 1, Poisson coding, training as on CIFAR-10"),
    ("CIFAR10-DVS", "frames of 128x128"),
)


@dataclasses.dataclass(frozen=True)
class Training:
    """How a network is trained. The defaults are Table A4's column of MNIST.

    Args:
        epochs: Number of epochs.
        batch_size: Samples per iteration.
        drop_remainder: Whether to leave out the last, smaller batch.
        optimizer: A name in `OPTIMIZERS`.
        learning_rate: Rate of the first iteration. `None` takes Table A5's.
        schedule: `"cosine"` decays to 0 over all epochs, iteration by
            iteration, and `"cosine-epochs"` epoch by epoch. `"multistep"`
            divides by 10 at epochs 50, 90 and 130, `"constant"` keeps the rate.
        loss: A name in `losses.LOSSES`.
    """

    epochs: int = 50
    batch_size: int = 32
    drop_remainder: bool = False
    optimizer: str = "adam"
    learning_rate: float | None = None
    schedule: str = "cosine"
    loss: str = "crossentropy"

    def __post_init__(self):
        """Checks the fields."""
        check_count("training.epochs", self.epochs)
        check_count("training.batch_size", self.batch_size)
        check_choice(
            "training.drop_remainder", self.drop_remainder, (False, True)
        )
        check_choice("training.optimizer", self.optimizer, tuple(OPTIMIZERS))
        check_choice("training.schedule", self.schedule, SCHEDULES)
        check_choice("training.loss", self.loss, tuple(losses.LOSSES))
        if self.learning_rate is not None:
            check_number("training.learning_rate", self.learning_rate)

    def build_optimizer(self, steps_per_epoch: int) -> keras.Optimizer:
        """Builds the optimizer with its schedule."""
        optimizer, rate, settings = OPTIMIZERS[self.optimizer]
        rate = rate if self.learning_rate is None else self.learning_rate
        schedules = keras.optimizers.schedules
        if self.schedule == "cosine":
            rate = schedules.CosineDecay(rate, self.epochs * steps_per_epoch)
        elif self.schedule == "cosine-epochs" and self.epochs > 1:
            starts = range(self.epochs)
            rate = schedules.PiecewiseConstantDecay(
                [epoch * steps_per_epoch - 1 for epoch in starts[1:]],
                [
                    rate * (1 + math.cos(math.pi * x / self.epochs)) / 2
                    for x in starts
                ],
            )
        elif self.schedule == "multistep":
            # Keras switches to the next value after a boundary, not at it.
            rate = schedules.PiecewiseConstantDecay(
                [epoch * steps_per_epoch - 1 for epoch in DROPS],
                [rate / 10**drops for drops in range(len(DROPS) + 1)],
            )
        return optimizer(rate, **settings)


class Refused(ValueError):
    """A run cannot start, for want of its data or of a large enough machine."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """An experiment.

    Args:
        data: `"name"` of the dataset, and keywords of `datasets.load`. For
            recordings, the `timesteps` of the network are added. With
            `"split"`, an integer, training and test samples are exchanged at
            random.
        network: `"name"` of a builder in `keras_snn.models`, and its keywords.
            `"a"` is the steepness of the surrogate. A `"normalization"` starts
            as published, after kernels of `initializer`. With
            `"start": "neuron"`, both start as in the builder.
        training: How the network is trained.
        seed: Fixes weights, coding, dropout and the order of the batches.
    """

    data: dict[str, Any]
    network: dict[str, Any]
    training: Training
    seed: int = 0

    def __post_init__(self):
        """Checks the seed. The functions that use the rest check it."""
        check_count("seed", self.seed, low=0)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Recipe":
        """Rebuilds a recipe from `dataclasses.asdict`."""
        return cls(**fields | {"training": Training(**fields["training"])})

    def vary(self, changes: dict[str, Any]) -> "Recipe":
        """Returns the recipe with some fields changed.

        Args:
            changes: New values by path, such as `"network.k"`,
                `"training.epochs"` or `"seed"`.

        Raises:
            TypeError: If a value of `training` has the wrong type.
            ValueError: If the recipe has no such field, or a value of
                `training` is out of range.
        """
        recipe = self
        fields = ["seed", "data.KEYWORD", "network.KEYWORD"]
        fields += [f"training.{x.name}" for x in dataclasses.fields(Training)]
        for path, value in changes.items():
            name, _, field = path.partition(".")
            if not (field and name in ("data", "network")):
                check_choice("field", path, fields)
            part = getattr(recipe, name)
            if isinstance(part, dict):
                value = part | {field: value}
            elif isinstance(part, Training):
                value = dataclasses.replace(part, **{field: value})
            recipe = dataclasses.replace(recipe, **{name: value})
        return recipe

    def flat(self) -> dict[str, Any]:
        """Returns all fields by their paths, as `vary` takes them."""
        fields = {"seed": self.seed}
        for name in ("data", "network", "training"):
            part = dataclasses.asdict(self)[name]
            fields |= {f"{name}.{x}": value for x, value in part.items()}
        return fields

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that identify the course of training.

        On the same backend, a short run is the beginning of a longer one. The
        number of epochs is therefore part of the key only if the schedule
        depends on it.
        """
        fields = dataclasses.asdict(self)
        if not self.training.schedule.startswith("cosine"):
            del fields["training"]["epochs"]
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def load(self, data_dir: str | None = None):
        """Loads the data.

        Args:
            data_dir: Folder of the data, or `None` for the default.

        Returns:
            `(x_train, y_train), (x_test, y_test)`.

        Raises:
            Refused: If they cannot be loaded.
        """
        try:
            return self._load(data_dir)
        except (ImportError, RuntimeError, TypeError, ValueError) as error:
            raise Refused(str(error)) from error

    def _load(self, data_dir):
        options = dict(self.data)
        name = check_choice("data.name", options.pop("name"), datasets.NAMES)
        split = options.pop("split", None)
        if split is not None:
            split = check_count("data.split", split, low=0)
        if datasets.INFO[name].events:
            options["timesteps"] = self.network["timesteps"]
        data = datasets.load(name, data_dir, **options)
        return data if split is None else _exchange(data, split)

    def batches(self, x, y, first_epoch: int = 0):
        """Returns the training data in batches, shuffled by seed and epoch."""
        return datasets.batches(
            x,
            y,
            self.training.batch_size,
            seed=self.seed,
            first_epoch=first_epoch,
            drop_remainder=self.training.drop_remainder,
        )

    def build(self, input_shape, steps_per_epoch: int) -> keras.Model:
        """Builds and compiles the network.

        Args:
            input_shape: `(height, width, channels)` of an image or frame.
            steps_per_epoch: Iterations per epoch.
        """
        options = {"input_shape": input_shape, "seed": self.seed}
        options |= {"classes": datasets.INFO[self.data["name"]].classes}
        options |= self.network
        builders = [x for x in models.__all__ if x.endswith("_snn")]
        name = check_choice("network.name", options.pop("name"), builders)
        if "a" in options:
            if options["surrogate"] == "auto":
                raise ValueError(
                    "`network.a` must be left out with surrogate='auto'. "
                    f"Received: network.a={options['a']!r}"
                )
            surrogate: Any = surrogates.get(options["surrogate"])
            surrogate = dataclasses.replace(surrogate, a=options.pop("a"))
            options["surrogate"] = surrogate
        start = check_choice(
            "network.start", options.pop("start", "published"), STARTS
        )
        normalization = options.get("normalization")
        if start == "published" and normalization in tuple(PUBLISHED):
            options["normalization"] = functools.partial(
                PUBLISHED[normalization], self.network
            )
        model = getattr(models, name)(**options)
        model.compile(
            self.training.build_optimizer(steps_per_epoch),
            losses.get(self.training.loss),
            metrics=[RateAccuracy(name="accuracy")],
        )
        return model


def _exchange(data, seed):
    """Exchanges training and test samples at random, by a seed."""
    train, test = data
    x, y = (np.concatenate(pair) for pair in zip(train, test, strict=True))
    order = np.random.default_rng(seed).permutation(len(x))
    first, second = order[: len(train[0])], order[len(train[0]) :]
    return (x[first], y[first]), (x[second], y[second])


# All of Table 2 uses one neuron (Section 4.2) and arctan with a = 2, which is
# its default. The paper does not name the pooling.
NETWORK = {
    "timesteps": 20,
    "encoder": None,
    "k": 0.8,
    "lam": 0.2,
    "theta": 1.0,
    "surrogate": "arctan",
    "initializer": "asymptote",
    "pooling": "average",
}
FIVE = NETWORK | {"name": "five_layer_snn"}
# Table A4 has dropout in its VGG9; the rate is our choice.
VGG9 = NETWORK | {"name": "vgg9_snn", "dropout": 0.5}
VGG9_DVS = VGG9 | {"name": "vgg9_dvs_snn"}
# Table A8 trains the VGG11 of Kim & Panda (2020) and gives k, lam, and dropout
# or normalization. Theta, codings, dropout rate and training are our choices.
VGG11 = NETWORK | {"name": "vgg11_snn", "dropout": 0.5, "k": 0.5, "lam": 0.5}
TINY = VGG11 | {"dropout": 0.0}

LONG = Training(epochs=150, schedule="multistep")  # Table A4, VGG9
LONG_DVS = dataclasses.replace(LONG, batch_size=16)
# Table A4, column of the analysis (Figs. 5, 6, A8 to A11, Tables A6, A7): 2811
# iterations.
ANALYSIS = Training(3, 64, drop_remainder=True, schedule="constant")
CODINGS = ("constant", "poisson", "retina")
IMAGES = {
    "mnist": (FIVE, Training()),
    "cifar10": (VGG9, LONG),
    "cifar100": (VGG11, LONG),
    "tiny-imagenet": (TINY, LONG),
}


def _recipe(dataset, coding, network, training, **options):
    data = {"name": dataset} | options
    return Recipe(data, network | {"encoder": coding}, training)


RECIPES = {
    **{
        f"{name}-{coding}": _recipe(name.replace("-", "_"), coding, *columns)
        for name, columns in IMAGES.items()
        for coding in CODINGS
    },
    # The coding is our choice.
    "mnist-analysis": _recipe("mnist", "poisson", FIVE, ANALYSIS),
    # The central 32x32 of the sensor's 34x34 pixels (Table A4).
    "nmnist": _recipe("nmnist", None, FIVE, Training(), crop=[32, 32]),
    # Table A4 gives no frame size. We keep all 128x128 pixels of the sensor:
    # five poolings reduce them to 4x4, as VGG9's three poolings reduce 32x32.
    "cifar10-dvs": _recipe("cifar10_dvs", None, VGG9_DVS, LONG_DVS),
    # Not in the paper: trained like the other dataset with 128x128 pixels.
    "dvs-gesture": _recipe("dvs_gesture", None, VGG9_DVS, LONG_DVS),
    # Not in the paper: trains in seconds.
    "digits-poisson": _recipe(
        *("digits", "poisson", FIVE | {"timesteps": 10}),
        Training(epochs=10, schedule="constant"),
    ),
}


def get(name: str) -> Recipe:
    """Returns the recipe called `name`, one of `RECIPES`."""
    return RECIPES[check_choice("recipe", name, tuple(RECIPES))]


def neuron(k: float, lam: float, theta: float) -> str:
    """Returns the constants of a neuron as text."""
    return f"k={k:g}, λ={lam:g}, θ={theta:g}"
