"""The command line: list, run, report, train."""

import argparse
import ast
import dataclasses
import importlib.util
import json
import math
import os
import pathlib
import shlex
import sys
import time

import keras

from experiments import catalogue, environment, recipes, results
from experiments.records import FOLDER, Damaged, Record, Store, find
from experiments.training import Trainer
from experiments.workers import Refused, Workers
from keras_snn.files import replacing

__all__ = ["main"]

OUT = pathlib.Path("results")  # git ignores it
CHECKPOINTS = OUT / "experiments"


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description="The paper's experiments: figures, tables and recipes.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show experiments, state and recipes")
    commands.add_parser("run", help="train the missing runs of experiments")
    commands.add_parser("report", help="write figures, tables and REPORT.md")
    commands.add_parser("train", help="train a single recipe")
    for name in ("list", "run"):
        _add_budget(commands.choices[name])
    for name in ("list", "run", "report"):
        commands.choices[name].add_argument(
            "--results",
            type=writable if name == "run" else pathlib.Path,
            help="folder of the stored runs (default: experiments/results; "
            f"{CHECKPOINTS}/smoke for the budget smoke)",
        )
    for name in ("run", "train"):
        add = commands.choices[name].add_argument
        add("--iterations", type=at_least(1), metavar="N", help="stop after N")
        add("--data-dir", metavar="FOLDER", help="folder of the data")
    _add_run(commands.choices["run"].add_argument)
    _add_train(commands.choices["train"].add_argument)
    args = parser.parse_args(argv)
    if args.command != "train" and args.results is None:
        # Ten iterations are not a result.
        smoke = getattr(args, "budget", None) == "smoke"
        args.results = CHECKPOINTS / "smoke" if smoke else FOLDER
    try:
        if args.command == "run":
            args.names = catalogue.select(args.names)
        if args.command == "train":
            args.recipe_name = args.recipe
            args.recipe = recipes.get(args.recipe).vary(dict(args.set))
    except ValueError as error:
        parser.error(str(error))
    if (
        args.command == "run"
        and args.ray
        and not importlib.util.find_spec("ray")
    ):
        parser.error('--ray needs Ray: pip install "keras-snn[ray]"')
    return args


def _add_budget(command):
    add = command.add_argument
    add(
        "--budget",
        choices=catalogue.BUDGETS,
        default="quick",
        help="smoke: ten iterations; quick: the beginning of the curves; full: "
        "as long as in the paper (default: quick)",
    )
    add(
        "--seeds",
        type=at_least(1),
        default=1,
        metavar="N",
        help="number of seeds, from 0 (default: 1)",
    )


def _add_run(add):
    add("names", nargs="+", metavar="NAME", help="as `list` shows, or all")
    add(
        "--initializers",
        nargs="+",
        choices=catalogue.METHODS,
        help="train these instead of the budget's",
    )
    add("--again", action="store_true", help="train what is stored as well")
    add(
        "--ray",
        metavar="ADDRESS",
        help='train on a Ray cluster; "local" starts one on this machine',
    )
    add(
        "--cpus",
        type=at_least(0, float),
        default=1,
        help="cores per Ray task (default: 1)",
    )
    add(
        "--gpus",
        type=at_least(0, float),
        help="GPUs per Ray task; 0.25 lets four share one (default: 1 if there "
        "are any)",
    )
    add(
        "--checkpoints",
        type=pathlib.Path,
        default=CHECKPOINTS,
        help="folder for killed runs (default: %(default)s)",
    )


def _add_train(add):
    add("recipe", metavar="RECIPE", help="as `list` shows")
    add(
        "--set",
        nargs="+",
        type=assignment,
        default=[],
        metavar="FIELD=VALUE",
        help="change the recipe, such as network.k=0.5 training.epochs=3",
    )
    add(
        "--out",
        type=writable,
        help=f"folder for the results (default: {OUT}/RECIPE)",
    )
    add("--resume", action="store_true", help="go on from --out")


def at_least(low, kind=int):
    """Returns a function that converts a flag to a number from `low` on."""

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value < math.inf:
            word = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(
                f"must be {word} of at least {low}. Received: {text}"
            )
        return value

    return convert


def writable(text):
    """Converts a flag to a folder, which it creates."""
    path = pathlib.Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"must be a folder that can be written to. Received: {error}"
        ) from error
    return path


def assignment(text):
    """Converts `network.k=0.5` to a path and a Python value or string."""
    path, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(
            f"must be FIELD=VALUE, such as network.k=0.5. Received: {text}"
        )
    try:
        return path, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return path, value


def main(argv: list[str] | None = None) -> None:
    """Runs a command."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    command = {"list": show, "run": run, "report": report, "train": train}
    try:
        command[args.command](args)
    except Damaged as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        if args.command == "train" and not args.resume:
            argv = [*argv, "--resume"]
        print(
            "\nStopped. To go on, run\n"
            f"python -m experiments {shlex.join(argv)}"
        )
        raise SystemExit(130) from None


def show(args):
    """Prints the experiments and the recipes."""
    records = Store(args.results).read()
    rows = [("experiment", "stored", "data", "shows")]
    for name, experiment in catalogue.EXPERIMENTS.items():
        runs = experiment.runs(args.seeds, args.budget).values()
        stored = sum(find(records, x) is not None for x in runs)
        data = {x.recipe.data.name for x in runs}
        title = experiment.title
        if experiment.curves:
            title += f" (with {experiment.curves})"
        state = f"{stored} of {len(runs)}" if runs else "no training"
        rows.append((name, state, ", ".join(data), title))
    print(columns(rows))
    rows = [("recipe", "network", "neuron", "training")]
    for name, recipe in recipes.RECIPES.items():
        options, training = recipe.network.options, recipe.training
        rows.append(
            (
                name,
                f"{recipe.network.name}, {options['timesteps']} timesteps",
                catalogue.neuron(*(options[x] for x in ("k", "lam", "theta"))),
                f"{training.epochs} epochs of batches of {training.batch_size}, "
                f"{training.optimizer}, {training.schedule}",
            )
        )
    print(f"\n{columns(rows)}")


def columns(rows: list[tuple[str, ...]]) -> str:
    """Returns rows of text with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows
    )


def run(args):
    """Trains the missing runs of some experiments."""
    longest = {}
    for name in args.names:
        runs = catalogue.EXPERIMENTS[name].runs(
            args.seeds, args.budget, args.iterations, args.initializers
        )
        for each in runs.values():
            known = longest.setdefault(each.recipe.key, each)
            if known.iterations < each.iterations:
                longest[each.recipe.key] = each
    if not longest:
        return print("There is nothing to train. `report` draws it.")
    store = Store(args.results)
    records = store.read()
    stored = [x for x in longest.values() if find(records, x)]
    print(f"{len(longest)} runs, {len(stored)} stored")
    data_dir = args.data_dir and os.path.abspath(args.data_dir)
    checkpoints = args.checkpoints.resolve()
    workers = Workers(store, checkpoints, data_dir, args.again)
    todo = list(longest.values())
    if not args.again:
        workers.clear(stored)
        todo = [x for x in todo if not find(records, x)]
    if not todo:
        return None
    try:
        if args.ray:
            done = workers.on_ray(todo, args.ray, args.cpus, args.gpus)
        else:
            done = workers.here(todo)
        failed = tell(done, len(todo))
    except (ConnectionError, Refused) as error:
        raise SystemExit(str(error)) from error
    if failed:
        raise SystemExit(f"{failed} of {len(todo)} runs failed")
    return None


def tell(done, total: int) -> int:
    """Prints each run as it ends. Returns the number of failures."""
    failed, start = 0, time.perf_counter()
    for number, (each, record) in enumerate(done, 1):
        minutes = (time.perf_counter() - start) / 60
        if isinstance(record, Record):
            text = outcome(record)
        else:
            failed += 1
            text = f"FAILED {type(record).__name__}: {record}"
        print(
            f"[{number}/{total}, {minutes:.1f} min] {each}: {text}", flush=True
        )
    return failed


def outcome(record: Record) -> str:
    """Returns the outcome of a run in a few words."""
    if record.lost:
        return f"the loss became NaN at iteration {record.lost}"
    if not record.loss:
        return "firing rates only"
    words = f"60 % at {record.to_60 or 'no'} iteration"
    accuracy = record.test_accuracy()
    if accuracy is not None:
        words += f", test {accuracy:.1%}"
    return f"{words}, {record.seconds:.0f} s"


def report(args):
    """Writes the report."""
    from experiments import report as pages

    store = Store(args.results)
    if not store.path.exists():
        raise SystemExit(f"`{store.path}` is missing. Use `run` first.")
    print(pages.write(store.read(), args.results))


def train(args):
    """Trains one recipe."""
    folder = args.out or writable(OUT / args.recipe_name)
    settings = {
        "recipe": dataclasses.asdict(args.recipe),
        "backend": keras.config.backend(),
        "versions": environment.versions(),
    }
    check_folder(folder, args.recipe, args.resume)
    try:
        trainer = Trainer(
            args.recipe,
            args.recipe.load(args.data_dir),
            args.iterations,
            folder,
        )
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        raise SystemExit(str(error)) from error
    write_json(folder / "run.json", settings)
    record = trainer.run(verbose="auto")
    result = {"test_accuracy": record.test_accuracy()}
    text = outcome(record)
    if record.tested:
        _, low, high = results.mean_and_interval(
            [record.test_accuracy()], record.test_samples
        )
        result["interval"] = [low, high]
        text += (
            f"\nTest accuracy {record.test_accuracy():.2%} ({low:.2%} to "
            f"{high:.2%}, 95 % interval of {record.test_samples:,} samples)"
        )
    print(f"{text}\nSaved in {folder}")
    write_json(folder / "result.json", result | json.loads(record.to_json()))


def check_folder(folder, recipe, resume):
    """Stops unless the folder is free, or holds a run that can go on."""
    path = folder / "run.json"
    if not resume:
        if (folder / "checkpoint.keras").exists():
            raise SystemExit(
                f"`{folder}` holds a run. Give --resume to go on, or another "
                "--out."
            )
        return
    try:
        found = json.loads(path.read_text())
        before = recipes.Recipe.from_dict(found["recipe"])
        backend = found["backend"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(
            f"--resume needs a run, but `{path}` is missing or damaged. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    # The key ignores the number of epochs where more may follow.
    if (before.key, backend) != (recipe.key, keras.config.backend()):
        old = before.flat() | {"backend": backend}
        new = recipe.flat() | {"backend": keras.config.backend()}
        names = [x for x in old | new if old.get(x) != new.get(x)]
        then, now = (
            ", ".join(f"{name}={x.get(name)!r}" for name in names)
            for x in (old, new)
        )
        raise SystemExit(
            f"--resume needs what `{path}` says: {then}. Received: {now}"
        )


def write_json(path, content):
    """Writes a JSON file."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
