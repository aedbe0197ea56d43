"""A recurrent spiking network that hears spoken digits as spikes (SHD).

The Spiking Heidelberg Digits are words as spikes of 700 channels, the model of
an inner ear. The network sums neighboring channels in frames of 10 ms. During
training, a layer of Keras shifts the channels, as if another voice spoke.

    python examples/spoken_digits.py --data-dir SHD

Prints the test accuracy after every epoch. The test set has two speakers that
the training set does not have. Takes about a minute per epoch on two CPU cores.
"""

import argparse
import pathlib

import keras

from keras_snn import datasets, initializers, layers

SOURCE = "https://zenkelab.org/datasets/"
NEURON = {"k": 0.9, "lam": 0.2, "theta": 1.0}


def network(units, shape):
    """Builds the network: two layers of recurrent neurons, and a readout."""
    kernel = initializers.AsymptoteInitializer
    return keras.Sequential(
        [
            keras.Input(shape),
            # A picture of time and channels, shifted along the channels.
            keras.layers.Reshape((*shape, 1)),
            keras.layers.RandomTranslation(
                0, 0.05, "constant", interpolation="nearest"
            ),
            keras.layers.Reshape(shape),
            keras.layers.Dense(units, kernel_initializer=kernel(**NEURON)),
            layers.RecurrentLIF(units, **NEURON, learn="k"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(units, kernel_initializer=kernel(**NEURON)),
            layers.RecurrentLIF(units, **NEURON, learn="k"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(20),
            layers.LeakyIntegrator(k=0.95, lam=0.05),
            keras.layers.GlobalAveragePooling1D(),  # over time
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data-dir", type=pathlib.Path, default=".", help="folder of SHD")
    add("--units", type=int, default=256, help="neurons per layer")
    add("--epochs", type=int, default=60)
    add("--batch-size", type=int, default=64)
    add("--seed", type=int, default=0)
    args = parser.parse_args()
    for part in "train", "test":
        if not any(args.data_dir.glob(f"shd_{part}.h5*")):
            raise SystemExit(
                f"Download shd_train.h5.gz and shd_test.h5.gz from {SOURCE}, "
                "and pass their folder as --data-dir."
            )

    keras.utils.set_random_seed(args.seed)
    options = {"timesteps": 100, "bin_width": 0.01, "downsample": 5}
    (x, y), test = datasets.load("shd", args.data_dir, **options)
    batches = datasets.batches(x, y, args.batch_size, seed=args.seed)
    model = network(args.units, x.shape[1:])
    steps = args.epochs * len(batches)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    adam = keras.optimizers.Adam(rate)
    model.compile(adam, loss, metrics=["accuracy"])
    options = {"validation_data": test, "shuffle": False, "verbose": 2}
    model.fit(batches, epochs=args.epochs, **options)


if __name__ == "__main__":
    main()
