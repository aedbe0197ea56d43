"""Trains one five-layer spiking network, with every choice a flag.

The defaults are Table A4's: Poisson coding, 20 timesteps, Adam(1e-3, 0.9,
0.99), batches of 32, a cosine schedule over the epochs, the neuron (0.8, 0.2,
1.0) and the arctan surrogate. Expect about 98 % test accuracy after one epoch,
which takes some 6 minutes on two CPU cores. Try `--dataset digits` for seconds.

The network is saved after every epoch; `--resume` goes on from there, with the
network as it was saved and the schedule of the `--epochs` now given.
"""

import argparse
import math

import flags
import keras

from keras_snn import callbacks, datasets, initializers, models, surrogates

# Images of ten classes, which is what the network is built for.
DATASETS = [x for x in datasets.IMAGES if datasets.CLASSES[x] == 10]


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--dataset", choices=DATASETS, default="mnist")
    encoders = [name for name in models.ENCODERS if name]
    add("--encoder", choices=encoders, default="poisson")
    add("--initializer", choices=initializers.NAMES, default="asymptote")
    add("--surrogate", choices=list(surrogates.NAMES), default="arctan")
    add("--k", type=float, default=0.8)
    add("--lam", type=float, default=0.2)
    add("--theta", type=float, default=1.0)
    add("--pooling", choices=list(models.POOLING), default="average")
    add("--timesteps", type=flags.positive, default=20)
    add("--epochs", type=flags.positive, default=1)
    add("--batch-size", type=flags.positive, default=32)
    add("--learning-rate", type=float, default=1e-3)
    add("--samples", type=flags.positive, help="training images to use")
    add("--seed", type=int, default=0)
    path = "results/train_mnist.keras"
    add("--checkpoint", type=flags.checkpoint, default=path)
    add("--resume", action="store_true", help="go on from the checkpoint")
    return parser.parse_args(argv)


def build(args, input_shape, schedule):
    model = models.five_layer_snn(
        input_shape,
        timesteps=args.timesteps,
        k=args.k,
        lam=args.lam,
        theta=args.theta,
        surrogate=args.surrogate,
        initializer=args.initializer,
        encoder=args.encoder,
        pooling=args.pooling,
        seed=args.seed,
    )
    model.compile(
        keras.optimizers.Adam(schedule, beta_1=0.9, beta_2=0.99),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def main(argv=None):
    args = parse_args(argv)
    keras.utils.set_random_seed(args.seed)
    (x_train, y_train), (x_test, y_test) = datasets.load(args.dataset)
    x_train, y_train = x_train[: args.samples], y_train[: args.samples]
    steps_per_epoch = math.ceil(len(x_train) / args.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(
        args.learning_rate, args.epochs * steps_per_epoch
    )
    done = 0
    if args.resume:
        if not args.checkpoint.exists():
            raise SystemExit(f"--resume needs a checkpoint: {args.checkpoint}")
        model = keras.models.load_model(args.checkpoint)
        done = int(model.optimizer.iterations) // steps_per_epoch
        # Other batches than in the epochs that are over.
        keras.utils.set_random_seed(args.seed + done)
        # `--epochs` may be larger than it was.
        model.optimizer.learning_rate = schedule
    else:
        model = build(args, x_train.shape[1:], schedule)
    model.fit(
        x_train,
        y_train,
        batch_size=args.batch_size,
        epochs=args.epochs,
        initial_epoch=done,
        callbacks=[
            callbacks.FiringRateMonitor(x_test[:64]),
            callbacks.Checkpoint(args.checkpoint),
        ],
    )
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"test accuracy {accuracy:.2%}, saved as {args.checkpoint}")
    return accuracy


if __name__ == "__main__":
    main()
