"""Five initializations, one spiking network: which of them learns at once?

Trains the five-layer network under the asymptote initialization and under
those of Glorot, He, Wu and Lee, all else equal. Under the asymptote
initialization every layer spikes before the first iteration and the loss falls
from there; under the others the deep layers are silent, and the loss sits at
that of guessing until the biases have crept up to the threshold.

Prints a table and leaves in `--out`: the curves as `curves.png`, the numbers as
`results.json`, the trained networks as `<initializer>.keras`.

Expect, on two CPU cores: under 2 minutes on the digits.

Reference: "Accelerating Training of Deep Spiking Neural Networks with Parameter
Initialization" (ICLR 2022 submission), Figs. 1, 3 and 4.
"""

import argparse
import functools

import flags
import training

from keras_snn import datasets, initializers, models, plots
from keras_snn.files import replacing

# Images of ten classes, which is what the network is built for.
DATASETS = [x for x in datasets.IMAGES if datasets.CLASSES[x] == 10]


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--dataset", choices=DATASETS, default="digits")
    parser.add_argument(
        "--initializers",
        nargs="+",
        choices=initializers.NAMES,
        default=list(initializers.NAMES),
    )
    parser.add_argument(
        "--epochs", type=flags.positive, help="10 for digits, else 1"
    )
    parser.add_argument("--batch-size", type=flags.positive, default=32)
    parser.add_argument(
        "--samples", type=flags.positive, help="training images to use"
    )
    parser.add_argument("--timesteps", type=flags.positive, default=20)
    parser.add_argument(
        "--encoder",
        choices=[name for name in models.ENCODERS if name],
        default="poisson",
    )
    # The neuron of Table 2.
    parser.add_argument("--k", type=float, default=0.8)
    parser.add_argument("--lam", type=float, default=0.2)
    parser.add_argument("--theta", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out",
        type=flags.folder,
        default="results/compare_initializers",
    )
    return parser.parse_args(argv)


def build(name, input_shape, args):
    """The network under one initialization."""
    return models.five_layer_snn(
        input_shape,
        timesteps=args.timesteps,
        k=args.k,
        lam=args.lam,
        theta=args.theta,
        initializer=name,
        encoder=args.encoder,
        seed=args.seed,
    )


def table(runs):
    """The numbers as lines of text, one network each."""
    layers = list(next(iter(runs.values()))["initial_firing_rate"])
    head = ["initializer", "iterations to 60 %", "final loss", "test accuracy"]
    rows = [head + [f"rate {layer}" for layer in layers]]
    for name, run in runs.items():
        reached = run["iterations_to_60"] or f"never in {run['iterations']}"
        rates = [f"{x:.4f}" for x in run["initial_firing_rate"].values()]
        accuracy = training.percent(run["test_accuracy"], run["test_interval"])
        loss = f"{run['final_loss']:.3f}"
        rows.append([name, str(reached), loss, accuracy, *rates])
    return training.table(rows)


def main(argv=None):
    args = parse_args(argv)
    if args.epochs is None:
        args.epochs = 10 if args.dataset == "digits" else 1
    (x_train, y_train), test = datasets.load(args.dataset)
    # Whole batches only, as in the paper's analysis runs.
    samples = min(args.samples or len(x_train), len(x_train))
    samples -= samples % args.batch_size
    if not samples:
        raise SystemExit(
            f"--samples must be at least --batch-size. "
            f"Received: {args.samples}, {args.batch_size}"
        )
    data = (x_train[:samples], y_train[:samples]), test

    runs = {}
    for name in args.initializers:
        print(f"\n{name}: {args.dataset}, {args.timesteps} timesteps")
        model, runs[name] = training.train(
            functools.partial(build, name, x_train.shape[1:], args),
            *(data, args.epochs, args.batch_size, args.seed),
        )
        with replacing(args.out / f"{name}.keras") as partial:
            model.save(partial)
        # After every network, so that a run cut short leaves what it had.
        path = args.out / "results.json"
        training.store(path, args, runs, samples=samples)
        with replacing(args.out / "curves.png") as partial:
            plots.learning_curves(runs).savefig(partial, dpi=130)

    print(f"\n{table(runs)}")
    print(f"\nCurves, numbers and networks: {args.out}")
    return runs


if __name__ == "__main__":
    main()
