"""A recipe for recordings of event cameras: DVS Gesture or CIFAR10-DVS.

Keras's own layers augment the frames: all timesteps of a recording are the
channels of one picture, so they move together. Pictures are shifted by up to
five pixels, and rectangles are emptied. Those of CIFAR10-DVS are also flipped.
A flip would turn a gesture of the left hand into one of the right.

    python examples/dvs.py --dataset dvs_gesture --data-dir FOLDER

Prints the test accuracy after every epoch. Takes about a minute per epoch on a
CPU with `--width 0.25`, and is made for a GPU.
"""

import argparse
import pathlib

import keras

from keras_snn import datasets, models

LAYOUT = "C64 P C128 P C128 P C256 P FC512 D0.5"
SIDE, SHIFT = 64, 5


def augmentation(timesteps, flip):
    """Augments frames of shape (timesteps, height, width, 2) in training."""
    picture = SIDE, SIDE, timesteps * 2
    return [
        keras.layers.Permute((2, 3, 1, 4)),
        keras.layers.Reshape(picture),
        *([keras.layers.RandomFlip("horizontal")] if flip else []),
        keras.layers.RandomTranslation(
            SHIFT / SIDE, SHIFT / SIDE, "constant", interpolation="nearest"
        ),
        keras.layers.RandomErasing(0.5, scale=(0.02, 0.2), fill_value=0.0),
        keras.layers.Reshape((SIDE, SIDE, timesteps, 2)),
        keras.layers.Permute((3, 1, 2, 4)),
    ]


def network(classes, timesteps=16, width=1.0, seed=None):
    """Builds the network of the recipe, without the augmentation."""
    return models.sequential_snn(
        LAYOUT,
        (SIDE, SIDE, 2),
        classes,
        timesteps,
        k=0.5,
        lam=1.0,
        surrogate="auto",
        initializer="stationary",
        encoder=None,
        normalization="batch",
        pooling="max",
        width=width,
        seed=seed,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    names = ["dvs_gesture", "cifar10_dvs"]
    add("--dataset", choices=names, default=names[0])
    add("--data-dir", type=pathlib.Path, required=True)
    add("--timesteps", type=int, default=16)
    add("--width", type=float, default=1.0, help="factor for all channels")
    add("--epochs", type=int, default=100)
    add("--batch-size", type=int, default=16)
    add("--seed", type=int, default=0)
    args = parser.parse_args()

    keras.utils.set_random_seed(args.seed)
    frames = {"timesteps": args.timesteps, "downsample": 128 // SIDE}
    (x, y), test = datasets.load(args.dataset, args.data_dir, **frames)
    batches = datasets.batches(x, y, args.batch_size, seed=args.seed)
    classes = datasets.INFO[args.dataset].classes
    flip = args.dataset == "cifar10_dvs"
    model = keras.Sequential(
        [
            keras.Input((args.timesteps, SIDE, SIDE, 2)),
            *augmentation(args.timesteps, flip),
            network(classes, args.timesteps, args.width, args.seed),
        ]
    )
    steps = args.epochs * len(batches)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    adam = keras.optimizers.Adam(rate)
    model.compile(adam, loss, metrics=["accuracy"])
    options = {"validation_data": test, "shuffle": False, "verbose": 2}
    model.fit(batches, epochs=args.epochs, **options)


if __name__ == "__main__":
    main()
