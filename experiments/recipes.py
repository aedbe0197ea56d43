"""Recipes: the paper's experiments as data (Tables A4, A5 and A8).

A recipe names a dataset, a network and its training. Its parts hold the
keywords of the function that uses them, and that function checks them.

    recipe = recipes.get("cifar10-poisson").vary({"training.epochs": 3})
    (x_train, y_train), (x_test, y_test) = recipe.load()
    model = recipe.build(x_train.shape[-3:], steps_per_epoch=1563)
"""

import dataclasses
import hashlib
import json
from typing import Any

import keras

from keras_snn import datasets, models, surrogates
from keras_snn.optimizers import ASGD
from keras_snn.validation import check_choice

__all__ = [
    "OPTIMIZERS",
    "RECIPES",
    "Data",
    "Network",
    "Recipe",
    "Training",
    "get",
]

# Table A5: class, learning rate and settings. For Adagrad the table gives only
# the rate. We take the other settings from PyTorch: the table's names for
# averaged SGD are PyTorch's. Keras's defaults (an accumulator that starts at
# 0.1, and 1e-7 inside the root) would drown gradients of 1e-3.
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
SCHEDULES = ("constant", "cosine", "multistep")
DROPS = (50, 90, 130)  # "multistep" divides the rate by 10 at these epochs


@dataclasses.dataclass(frozen=True)
class Data:
    """A dataset.

    Args:
        name: Name of a dataset of `keras_snn.datasets`.
        options: Keywords of `datasets.load`. Recordings also get the
            `timesteps` of the network.
    """

    name: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Network:
    """A network.

    Args:
        name: Name of a builder in `keras_snn.models`.
        options: Keywords of the builder. `"a"` is the steepness of the
            surrogate.
    """

    name: str
    options: dict[str, Any]

    def build(self, input_shape, classes: int, seed: int) -> keras.Model:
        """Calls the builder."""
        check_choice("network.name", self.name, models.__all__)
        options = dict(self.options)
        if "a" in options:
            surrogate: Any = surrogates.get(options["surrogate"])
            options["surrogate"] = dataclasses.replace(
                surrogate, a=options.pop("a")
            )
        builder = getattr(models, self.name)
        return builder(input_shape, classes, seed=seed, **options)


@dataclasses.dataclass(frozen=True)
class Training:
    """How a network is trained. The defaults are Table A4's column of MNIST.

    Args:
        epochs: Number of epochs.
        batch_size: Samples per iteration.
        drop_remainder: Whether to leave out the last, smaller batch.
        optimizer: A name in `OPTIMIZERS`.
        learning_rate: Rate of the first iteration, or `None` for Table A5's.
        schedule: `"cosine"` decays to 0 over all epochs, `"multistep"` divides
            by 10 at epochs 50, 90 and 130, `"constant"` keeps the rate.
    """

    epochs: int = 50
    batch_size: int = 32
    drop_remainder: bool = False
    optimizer: str = "adam"
    learning_rate: float | None = None
    schedule: str = "cosine"

    def build_optimizer(self, steps_per_epoch: int) -> keras.Optimizer:
        """Builds the optimizer with its schedule."""
        check_choice("training.optimizer", self.optimizer, tuple(OPTIMIZERS))
        check_choice("training.schedule", self.schedule, SCHEDULES)
        optimizer, rate, settings = OPTIMIZERS[self.optimizer]
        if self.learning_rate is not None:
            rate = self.learning_rate
        schedules = keras.optimizers.schedules
        if self.schedule == "cosine":
            rate = schedules.CosineDecay(rate, self.epochs * steps_per_epoch)
        elif self.schedule == "multistep":
            # Keras applies the next value after a boundary, not at it.
            rate = schedules.PiecewiseConstantDecay(
                [epoch * steps_per_epoch - 1 for epoch in DROPS],
                [rate / 10**drops for drops in range(len(DROPS) + 1)],
            )
        return optimizer(rate, **settings)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """An experiment: data, network, training and seed.

    Args:
        data: The dataset.
        network: The network.
        training: How it is trained.
        seed: Fixes weights, coding, dropout and the order of the batches.
    """

    data: Data
    network: Network
    training: Training = Training()
    seed: int = 0

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Recipe":
        """Rebuilds a recipe from `dataclasses.asdict`."""
        return cls(
            Data(**fields["data"]),
            Network(**fields["network"]),
            Training(**fields["training"]),
            fields["seed"],
        )

    def vary(self, changes: dict[str, Any]) -> "Recipe":
        """Returns the recipe with some fields changed.

        Args:
            changes: New values by path: `"seed"`, a field such as
                `"training.epochs"`, or an option such as `"network.k"` or
                `"data.crop"`.

        Raises:
            ValueError: If there is no such field.
        """
        recipe = self
        for path, value in changes.items():
            name, _, field = path.partition(".")
            part = getattr(recipe, name, None)
            if path == "seed":
                recipe = dataclasses.replace(recipe, seed=value)
                continue
            if field in getattr(part, "__dataclass_fields__", ()):
                change = {field: value}
            elif field and isinstance(part, (Data, Network)):
                change = {"options": part.options | {field: value}}
            else:
                raise ValueError(
                    "A recipe has the fields seed, data.*, network.*, "
                    f"{', '.join(f'training.{x}' for x in vars(Training()))}. "
                    f"Received: {path}"
                )
            part = dataclasses.replace(part, **change)
            recipe = dataclasses.replace(recipe, **{name: part})
        return recipe

    def flat(self) -> dict[str, Any]:
        """Returns all fields by the paths that `vary` takes."""
        fields = {
            "data.name": self.data.name,
            "network.name": self.network.name,
        }
        fields |= {f"data.{x}": y for x, y in self.data.options.items()}
        fields |= {f"network.{x}": y for x, y in self.network.options.items()}
        fields |= {f"training.{x}": y for x, y in vars(self.training).items()}
        return fields | {"seed": self.seed}

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that identify the course of training.

        A short run is the beginning of a longer one. The number of epochs
        therefore only counts if the schedule depends on it.
        """
        fields = dataclasses.asdict(self)
        if self.training.schedule != "cosine":
            del fields["training"]["epochs"]
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def load(self, data_dir: str | None = None):
        """Loads the data.

        Args:
            data_dir: Folder of the data, or `None` for the default.

        Returns:
            `(x_train, y_train), (x_test, y_test)`.
        """
        name, options = self.data.name, dict(self.data.options)
        if name in datasets.INFO and datasets.INFO[name].events:
            options["timesteps"] = self.network.options["timesteps"]
        return datasets.load(name, data_dir, **options)

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
        """Builds and compiles the network: cross-entropy and accuracy.

        Args:
            input_shape: `(height, width, channels)` of an image or frame.
            steps_per_epoch: Iterations per epoch.
        """
        classes = datasets.INFO[self.data.name].classes
        model = self.network.build(input_shape, classes, self.seed)
        model.compile(
            self.training.build_optimizer(steps_per_epoch),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return model


# Table 2 uses one neuron (Section 4.2) and one surrogate, arctan with a = 2,
# which is its default, for all datasets. The paper does not name the pooling.
NETWORK = {
    "timesteps": 20,
    "k": 0.8,
    "lam": 0.2,
    "theta": 1.0,
    "surrogate": "arctan",
    "initializer": "asymptote",
    "pooling": "average",
}
CODINGS = ("constant", "poisson", "retina")


def _images(dataset, builder, training, **options):
    """The recipes of an image dataset, one per coding."""
    return {
        f"{dataset.replace('_', '-')}-{coding}": Recipe(
            Data(dataset),
            Network(builder, NETWORK | {"encoder": coding} | options),
            training,
        )
        for coding in CODINGS
    }


def _events(dataset, builder, training, crop=None, **options):
    """The recipe of recordings, which arrive as frames of events."""
    return Recipe(
        Data(dataset, {"crop": crop} if crop else {}),
        Network(builder, NETWORK | {"encoder": None} | options),
        training,
    )


LONG = Training(epochs=150, schedule="multistep")  # Table A4, VGG9
LONG_DVS = dataclasses.replace(LONG, batch_size=16)
# Table A4 has dropout in VGG9; the rate is our choice.
DROPOUT = 0.5
# Table A8 trains the VGG11 of Kim & Panda (2020) and gives k, lam, and dropout
# or normalization. Theta, codings, dropout rate and training are our choices.
VGG11 = {"k": 0.5, "lam": 0.5}
BNTT = {
    "network.k": 0.99,
    "network.lam": 1.0,
    "network.dropout": 0.0,
    "network.normalization": "bntt",
}

RECIPES = {
    # Not in the paper: trains in seconds.
    "digits-poisson": Recipe(
        Data("digits"),
        Network(
            "five_layer_snn", NETWORK | {"encoder": "poisson", "timesteps": 10}
        ),
        Training(epochs=10, schedule="constant"),
    ),
    **_images("mnist", "five_layer_snn", Training()),
    # Table A4, column of the analysis (Figs. 5, 6, A8 to A11, Tables A6, A7):
    # 2811 iterations. The coding is our choice.
    "mnist-analysis": Recipe(
        Data("mnist"),
        Network("five_layer_snn", NETWORK | {"encoder": "poisson"}),
        Training(
            epochs=3, batch_size=64, drop_remainder=True, schedule="constant"
        ),
    ),
    # The central 32x32 of the sensor's 34x34 pixels (Table A4).
    "nmnist": _events("nmnist", "five_layer_snn", Training(), crop=[32, 32]),
    **_images("cifar10", "vgg9_snn", LONG, dropout=DROPOUT),
    # Table A4 gives no frame size. Five poolings turn the sensor's 128x128
    # pixels into 4x4, as VGG9's three do for 32x32, so we keep all pixels.
    "cifar10-dvs": _events(
        "cifar10_dvs", "vgg9_dvs_snn", LONG_DVS, dropout=DROPOUT
    ),
    **_images("cifar100", "vgg11_snn", LONG, **VGG11, dropout=DROPOUT),
    **_images("tiny_imagenet", "vgg11_snn", LONG, **VGG11, dropout=0.0),
    # Not in the paper: trained like the other 128x128 camera.
    "dvs-gesture": _events(
        "dvs_gesture", "vgg9_dvs_snn", LONG_DVS, dropout=DROPOUT
    ),
}
for _name in ("cifar100", "tiny-imagenet"):
    RECIPES[f"{_name}-bntt"] = RECIPES[f"{_name}-poisson"].vary(BNTT)


def get(name: str) -> Recipe:
    """Returns the recipe called `name`, one of `RECIPES`."""
    check_choice("recipe", name, tuple(RECIPES))
    return RECIPES[name]
