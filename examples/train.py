"""Trains a spiking network by recipe, with every field of it a flag.

`--list` names the recipes: the paper's experiments, and some of ours. The
default takes seconds on two CPU cores and ends at about 85 % of the digits;
`--recipe mnist-poisson --epochs 1` takes some 4 minutes and ends at 98 %.

Leaves in `--out`: after every epoch the network with its optimizer as
`checkpoint.keras` and a line of `log.jsonl` (loss, accuracy, firing rates), the
recipe as `run.json`, and in the end `result.json`. The same command with
`--resume` goes on with the epoch that was cut short and ends where an
uninterrupted run would: on CPUs to the last bit.
"""

import argparse
import dataclasses
import json
import shlex
import sys
import time
import typing

import flags
import keras
import training

from keras_snn import callbacks, datasets, recipes


def kinds(annotation):
    """The types that a field may have."""
    return typing.get_args(annotation) or (annotation,)


def converter(annotation):
    """A function from the text of a flag to a value of a field's type."""
    kind, *none = kinds(annotation)

    def convert(text):
        if none and text.lower() == "none":
            return None
        try:
            return kind(text)
        except ValueError as error:
            words = {int: "an integer", float: "a number"}[kind]
            words += " or none" if none else ""
            raise argparse.ArgumentTypeError(
                f"must be {words}. Received: {text}"
            ) from error

    return convert


def parse_args(argv):
    parser = argparse.ArgumentParser(
        usage="%(prog)s [--list] [--recipe NAME] [--FIELD VALUE ...] [options]",
        description=__doc__.split("\n")[0],
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--list", action="store_true", help="print the recipes and stop")
    add("--recipe", default="digits-poisson", metavar="NAME")
    add("--data-dir", help="folder of the data, where they are not cached")
    add("--out", help="folder of what is left (default: results/NAME)")
    add("--samples", type=flags.positive, help="use no more, in train and test")
    add("--validate", action="store_true", help="test after every epoch, too")
    add("--resume", action="store_true", help="go on with what is in --out")
    group = parser.add_argument_group("fields of the recipe")
    for field in dataclasses.fields(recipes.Recipe):
        options = {"default": argparse.SUPPRESS, "help": field.metadata["help"]}
        if field.type is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["type"] = converter(field.type)
            options["metavar"] = "N" if int in kinds(field.type) else "X"
        if choices := field.metadata["choices"]:
            options["metavar"] = f"{{{','.join(map(str, choices))}}}"
        flag = "--" + field.name.replace("_", "-")
        group.add_argument(flag, dest=f"field_{field.name}", **options)
    args = parser.parse_args(argv)
    if args.recipe not in recipes.RECIPES:
        parser.error(
            "argument --recipe: must be one that --list names. "
            f"Received: {args.recipe}"
        )
    changes = {
        name.removeprefix("field_"): value
        for name, value in vars(args).items()
        if name.startswith("field_")
    }
    try:
        recipe = recipes.get(args.recipe, **changes)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    if not args.list:
        try:
            args.out = flags.folder(args.out or f"results/{args.recipe}")
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument --out: {error}")
    return args, recipe


def table():
    """The recipes as lines of text."""
    rows = [
        (
            name,
            f"{x.network}, {x.timesteps} timesteps",
            f"({x.k:g}, {x.lam:g}, {x.theta:g})",
            f"{x.normalization or 'no'} normalization",
            f"{x.epochs} epochs of {x.batch_size}",
            f"{x.optimizer} {x.rate:g}, {x.schedule}",
        )
        for name, x in recipes.RECIPES.items()
    ]
    return training.table(rows, str.ljust)


def check_resumable(path, settings):
    """Stops unless a run of these settings was begun and may go on."""
    try:
        begun = json.loads(path.read_text())
        before = {name: begun[name] for name in settings}
    except OSError as error:
        raise SystemExit(f"--resume needs a run: {path} is missing") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(
            f"--resume needs a run of this version: {path} is damaged or of "
            f"another one. Received: {type(error).__name__}: {error}"
        ) from error
    changed = [name for name in settings if settings[name] != before[name]]
    if changed == ["epochs"]:
        # Where the schedule does not look at their number, more may follow.
        free = settings["schedule"] != "cosine"
        if free and settings["epochs"] > before["epochs"]:
            return
    if changed:
        then, now = (
            ", ".join(f"{name}={x[name]!r}" for name in changed)
            for x in (before, settings)
        )
        raise SystemExit(
            f"--resume goes on with {then}, as {path} says. Received: {now}"
        )


def load(checkpoint):
    """The network of a checkpoint, or a stop that says which is damaged."""
    try:
        return keras.models.load_model(checkpoint)
    # Keras has several errors for damage, some of which name no file.
    except Exception as error:
        raise SystemExit(
            f"{checkpoint} is damaged: give another --out to begin anew. "
            f"Received: {type(error).__name__}: {error}"
        ) from error


def train(args, recipe):
    """Trains, or goes on training; returns the result."""
    checkpoint, run = args.out / "checkpoint.keras", args.out / "run.json"
    settings = dataclasses.asdict(recipe)
    settings |= {"samples": args.samples, "backend": keras.config.backend()}
    if args.resume:
        check_resumable(run, settings)
    elif checkpoint.exists():
        raise SystemExit(
            f"{checkpoint} is there: give --resume to go on, or another --out"
        )
    try:
        (x_train, y_train), (x_test, y_test) = recipe.load(args.data_dir)
    except (ImportError, RuntimeError, ValueError) as error:
        raise SystemExit(str(error)) from error
    some = slice(args.samples)
    x_train, y_train = x_train[some], y_train[some]
    x_test, y_test = x_test[some], y_test[some]
    test = datasets.batches(x_test, y_test, recipe.batch_size, shuffle=False)
    if recipe.drop_remainder and len(x_train) < recipe.batch_size:
        raise SystemExit(
            "--samples must be at least --batch-size. "
            f"Received: {len(x_train)}, {recipe.batch_size}"
        )
    steps = len(recipe.batches(x_train, y_train))
    about = {"name": args.recipe} | settings | training.versions()
    training.write(run, about, indent=1)
    done = 0
    if args.resume and checkpoint.exists():
        model = load(checkpoint)
        done = int(model.optimizer.iterations) // steps
    else:
        model = recipe.build(x_train.shape[-3:], steps)
    watchers = [callbacks.EpochSeeds(recipe.seed)]
    if not recipe.recompute:  # which hides the neurons
        probe = x_test[: training.PROBE]
        if recipe.dataset in datasets.EVENTS:  # counts, of any integer dtype
            probe = probe.astype("float32")
        watchers += [
            callbacks.FiringRateMonitor(probe, batch_size=recipe.batch_size)
        ]
    watchers += [
        callbacks.EpochLog(args.out / "log.jsonl"),
        callbacks.Checkpoint(checkpoint),
    ]
    start = time.perf_counter()
    model.fit(
        recipe.batches(x_train, y_train, first_epoch=done),
        epochs=recipe.epochs,
        initial_epoch=done,
        shuffle=False,  # the order of the batches is the recipe's
        validation_data=test if args.validate else None,
        callbacks=watchers,
    )
    seconds = time.perf_counter() - start
    # The same spikes, however training went on.
    callbacks.reseed(model, recipe.seed, recipe.epochs)
    loss, accuracy = model.evaluate(test, verbose=0)
    hits = round(float(accuracy) * len(x_test))
    low, high = training.wilson(hits, len(x_test))
    print(
        f"test accuracy {hits / len(x_test):.2%} ({low:.2%} to {high:.2%}, "
        f"95 % of {len(x_test)} samples), saved in {args.out}"
    )
    result = {
        "test_accuracy": hits / len(x_test),
        "interval": [low, high],
        "test_loss": float(loss),
        "test_samples": len(x_test),
        "epochs": recipe.epochs,
        "seconds": seconds,  # since the last resumption
    }
    training.write(args.out / "result.json", result, indent=1)
    return result


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    args, recipe = parse_args(argv)
    if args.list:
        return print(table())
    try:
        return train(args, recipe)
    except KeyboardInterrupt:
        again = shlex.join([*argv, *["--resume"] * (not args.resume)])
        print(
            "\nStopped; epochs that were finished are saved. Go on with:\n"
            f"python examples/train.py {again}"
        )
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
