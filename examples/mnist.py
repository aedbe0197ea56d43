"""A spiking network on MNIST with plain Keras: build, compile, fit, evaluate.

The network itself turns images into Poisson spikes, so `fit` takes the images
as they are. It learns within one epoch, because the asymptote initialization
makes every layer spike from the start.

    python examples/mnist.py

Prints the test accuracy, about 97 %. Takes about a minute on two CPU cores.
More timesteps take longer and give a higher accuracy.
"""

import argparse

import keras

from keras_snn import datasets, models

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--timesteps", type=int, default=5)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

keras.utils.set_random_seed(args.seed)
(x_train, y_train), (x_test, y_test) = datasets.load("mnist")

model = models.five_layer_snn((28, 28, 1), timesteps=args.timesteps)
model.compile(
    keras.optimizers.Adam(1e-3, beta_2=0.99),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(x_train, y_train, batch_size=64, epochs=args.epochs)
_, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"Test accuracy {accuracy:.2%}")
