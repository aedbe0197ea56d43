"""Trains the network of the page `live.md` and exports it to `digit.onnx`.

    python docs/live/train.py

It learns MNIST under Poisson coding. The exported network is one timestep: its
inputs are the spikes of the pixels and the states, its outputs the logits so
far, the spikes of three layers, and the states. Prints the test accuracy. Takes
about six minutes on two CPU cores. Export needs the
extra `export`.
"""

import pathlib

import keras

from keras_snn import datasets, step_model
from keras_snn.layers import LIF
from keras_snn.models import PortableModel, sequential_snn

TIMESTEPS, EPOCHS, BATCH = 16, 3, 32
LAYOUT = "C8 P C16 P FC64"
FILE = pathlib.Path(__file__).parent / "digit.onnx"


def network(encoder):
    return sequential_snn(
        LAYOUT,
        (28, 28, 1),
        10,
        TIMESTEPS,
        k=0.8,
        lam=1.0,
        encoder=encoder,
        seed=0,
        data_format="channels_last",
    )


def main():
    keras.utils.set_random_seed(0)
    (x, y), test = datasets.load("mnist")
    model = network("poisson")
    steps = EPOCHS * len(x) // BATCH
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=2)
    print(f"test accuracy {model.evaluate(*test, verbose=0)[1]:.4f}")

    # The page draws the spikes of the pixels.
    inference = network(None)
    inference.set_weights(model.get_weights())
    spikes = [x.output for x in inference.layers if isinstance(x, LIF)]
    watched = PortableModel(inference.input, [inference.output, *spikes])
    step_model(watched).export(str(FILE), format="onnx", verbose=False)


if __name__ == "__main__":
    main()
