"""Five initializations of one spiking network: which ones learn?

Trains one network under five initializations, all else equal. Under the
asymptote initialization, every layer spikes before the first iteration, and the
loss falls at once. Under the others, the deep layers are silent. The loss stays
at chance level until the biases have grown to the threshold.

    python examples/compare_initializers.py

Prints the number of iterations to 60 % training accuracy, the final loss, the
test accuracy with its 95 % interval, and the firing rate of each layer before
training. Saves `curves.png`. Takes about two to four minutes on two CPU cores.
Other initializations, such as SpikeInit: `--initializers asymptote shi`.

Reference: "Accelerating Training of Deep Spiking Neural Networks with Parameter
Initialization" (ICLR 2022 submission), Figs. 1, 3 and 4.
"""

import argparse
import pathlib

import keras
import numpy as np
from scipy.stats import binomtest

from keras_snn import callbacks, datasets, initializers, models, plots

FIVE = ("asymptote", "glorot", "he", "wu", "lee")
parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
add = parser.add_argument
add("--dataset", choices=["digits", "mnist"], default="digits")
add("--initializers", nargs="+", choices=initializers.NAMES, default=FIVE)
add("--epochs", type=int, help="default: 10, or 1 for mnist")
add("--samples", type=int, help="training images, default: all")
add("--timesteps", type=int, default=20)
add("--seed", type=int, default=0)
add("--out", type=pathlib.Path, default="results")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)

(x_train, y_train), (x_test, y_test) = datasets.load(args.dataset)
steps = len(x_train[: args.samples]) // 32  # whole batches only
epochs = args.epochs or (10 if args.dataset == "digits" else 1)

print("initializer  60 % after   loss  test accuracy           firing rates")
runs = {}
for name in args.initializers:
    keras.utils.set_random_seed(args.seed)
    model = models.five_layer_snn(
        x_train.shape[1:], 10, args.timesteps, initializer=name, seed=args.seed
    )
    model.compile(
        keras.optimizers.Adam(1e-3, beta_2=0.99),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    curves = callbacks.IterationHistory()
    rates = callbacks.FiringRateMonitor(
        x_test[:100], every=max(1, epochs * steps // 20)
    )
    data = {"x": x_train[: steps * 32], "y": y_train[: steps * 32]}
    options = {"batch_size": 32, "epochs": epochs, "verbose": 0}
    model.fit(**data, **options, callbacks=[curves, rates])
    runs[name] = run = curves.history | rates.history

    reached = [i for i, x in enumerate(run["accuracy"], 1) if x >= 0.6]
    loss = np.mean(run["loss"][-10:])
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    hits = binomtest(round(accuracy * len(x_test)), len(x_test))
    low, high = hits.proportion_ci(method="wilson")
    before = [run[key][0] for key in run if key.endswith("firing_rate")]
    print(
        f"{name:11}  {reached[0] if reached else 'never':>10}  {loss:5.3f}  "
        f"{accuracy:5.1%} ({low:5.1%} to {high:5.1%})  "
        + " ".join(f"{rate:.3f}" for rate in before)
    )

plots.learning_curves(runs).savefig(args.out / "curves.png", dpi=130)
print(f"Saved the curves to {args.out / 'curves.png'}")
