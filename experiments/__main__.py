"""The command line: list, run, report, train, stability, rates."""

import argparse
import ast
import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import shlex
import shutil
import sys
import time
import traceback

import keras

from experiments import (
    catalogue,
    environment,
    rates,
    recipes,
    results,
    stability,
)
from experiments.records import FOLDER, Damaged, Record, Store, find
from experiments.training import Trainer
from experiments.workers import Workers
from keras_snn import initializers
from keras_snn.files import locked, replacing

__all__ = ["main"]

OUT = pathlib.Path("results")  # git ignores it


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments", description=__doc__, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    listed = commands.add_parser("list", help="show experiments and recipes")
    run = commands.add_parser("run", help="train the missing runs")
    reported = commands.add_parser("report", help="write tables and figures")
    trained = commands.add_parser("train", help="train a single recipe")
    stable = commands.add_parser("stability", help="gradients under SGD")
    deep = commands.add_parser("rates", help="rates of deep plain networks")
    for command in (listed, run, reported, stable, deep):
        add = command.add_argument
        add("--results", type=pathlib.Path, default=FOLDER, metavar="FOLDER")
    for command in (listed, run):
        add = command.add_argument
        add("--seeds", type=positive_integer, default=1, help="number of seeds")
        add("--full", action="store_true", help="as long as in the paper")
    for command in (run, trained):
        add = command.add_argument
        text = "stop after this many, or after the last epoch"
        add("--iterations", type=positive_integer, help=text)
    for command in (run, trained, stable):
        add = command.add_argument
        add("--data-dir", metavar="FOLDER", help="folder of the data")

    add = run.add_argument
    add("names", nargs="+", metavar="NAME", help="as `list` shows, or all")
    add("--initializers", nargs="+", choices=initializers.NAMES)
    text = "also train stored runs again, such as those on part of the data"
    add("--again", action="store_true", help=text)
    add("--ray", metavar="ADDRESS", help='a Ray cluster, or "local"')
    add("--cpus", type=float, default=1, help="cores per Ray task")
    add("--gpus", type=float, help="GPUs per Ray task, may be 0.25")
    add("--checkpoints", type=pathlib.Path, default=OUT / "experiments")

    add = trained.add_argument
    add("recipe", metavar="RECIPE", help="as `list` shows")
    text = "change the recipe, such as network.k=0.5 training.epochs=3"
    fields = {"default": [], "metavar": "FIELD=VALUE", "help": text}
    add("--set", nargs="+", action="extend", type=assignment, **fields)
    add("--out", type=pathlib.Path, help=f"folder (default: {OUT}/RECIPE)")
    add("--resume", action="store_true", help="resume the run in --out")
    return parser.parse_args(argv)


def positive_integer(text):
    """Converts a flag."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be an integer of at least 1. Received: {text}"
        )
    return int(text)


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


class Stop(Exception):
    """Raised to end a command with a message for the user."""


def main(argv: list[str] | None = None) -> None:
    """Runs a command."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    command = {
        "list": show,
        "run": run,
        "report": report,
        "train": train,
        "stability": measure_stability,
        "rates": measure_rates,
    }
    try:
        folder = getattr(args, "results", None)
        if folder and folder.exists() and not folder.is_dir():
            raise Stop(f"--results must be a folder. Received: {folder}")
        command[args.command](args)
    except (Damaged, OSError, recipes.Refused, Stop) as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        if args.command == "train" and not args.resume:
            argv = [*argv, "--resume"]
        command = f"python -m experiments {shlex.join(argv)}"
        print(f"\nStopped. To resume, run\n{command}")
        raise SystemExit(130) from None


def show(args):
    """Prints the experiments and the recipes."""
    records = Store(args.results).read()
    for name, experiment in catalogue.EXPERIMENTS.items():
        runs = experiment.runs(args.seeds, args.full).values()
        stored = sum(find(records, x) is not None for x in runs)
        state = f"{stored} of {len(runs)}" if runs else "needs none"
        curves = f" (with {experiment.curves})" if experiment.curves else ""
        print(f"{name:24}{state:12}{experiment.title}{curves}")
    print()
    for name, recipe in recipes.RECIPES.items():
        x = recipe.training
        print(
            f"{name:24}{recipe.network['name']:16}{x.epochs} epochs, batches "
            f"of {x.batch_size}, {x.optimizer}, {x.schedule}"
        )
    print("\nThe paper leaves these open. Change them with `train --set`:")
    for field, ours, others in recipes.CHOICES:
        print(f"{field:24}{ours!s:30}or {others}")
    print("\nThese as well:")
    for place, ours in recipes.FURTHER:
        print(f"{place:24}{ours}")


def run(args):
    """Trains the missing runs of some experiments."""
    try:
        names = catalogue.select(args.names)
    except ValueError as error:
        raise Stop(str(error)) from error
    if args.ray and not importlib.util.find_spec("ray"):
        raise Stop("--ray needs Ray: pip install ray")
    args.results.mkdir(parents=True, exist_ok=True)
    longest = {}
    for name in names:
        runs = catalogue.EXPERIMENTS[name].runs(
            args.seeds, args.full, args.iterations, args.initializers
        )
        for each in runs.values():
            known = longest.setdefault(each.recipe.key, each)
            if known.iterations < each.iterations:
                longest[each.recipe.key] = each
    store = Store(args.results)
    records = store.read()
    missing = [x for x in longest.values() if not find(records, x)]
    print(f"{len(longest)} runs, {len(longest) - len(missing)} stored")
    workers = Workers(
        store,
        args.checkpoints.resolve(),
        args.data_dir and os.path.abspath(args.data_dir),
        args.again,
    )
    todo = again(longest, records) if args.again else missing
    kept = {x.recipe.key for x in todo}
    clear([workers.folder(x) for key, x in longest.items() if key not in kept])
    if not todo:
        return
    done = workers.here(todo)
    if args.ray:
        done = workers.on_ray(todo, args.ray, args.cpus, args.gpus)
    failed, start = 0, time.perf_counter()
    for number, (each, record) in enumerate(done, 1):
        minutes = (time.perf_counter() - start) / 60
        if isinstance(record, Record):
            text = outcome(record)
        else:
            failed += 1
            text = f"FAILED: {record}"
            if not isinstance(record, recipes.Refused):
                traceback.print_exception(record)
                text = f"FAILED {type(record).__name__}: {record}"
        head = f"[{number}/{len(todo)}, {minutes:.1f} min]"
        print(f"{head} {each}: {text}", flush=True)
    if failed:
        raise Stop(f"{failed} of {len(todo)} runs failed")


def again(runs, records):
    """Returns the runs that may replace stored ones, and names the others."""
    todo = []
    for key, run in runs.items():
        if key in records and records[key].iterations > run.iterations:
            print(f"{run} stays: it is stored at more iterations")
        else:
            todo.append(run)
    return todo


def clear(folders):
    """Removes the checkpoints of runs that were killed just after storing."""
    for folder in filter(pathlib.Path.exists, folders):
        # Unless another process trains the run again.
        with contextlib.suppress(BlockingIOError), locked(folder, wait=False):
            shutil.rmtree(folder, ignore_errors=True)


def outcome(record: Record) -> str:
    """Returns the outcome of a run in a few words."""
    if record.lost:
        return f"the loss became NaN at iteration {record.lost}"
    if not record.tested:
        return "firing rates only"
    accuracy, low, high = results.accuracy_interval([record])
    reached = "not reached"
    if record.to_60:
        reached = f"after {record.to_60} iterations"
    return (
        f"60 % {reached}, test accuracy {accuracy:.2%} (95 % interval "
        f"{low:.2%} to {high:.2%}, {record.test_samples:,} samples), "
        f"{record.seconds:.0f} s"
    )


def report(args):
    """Writes the report."""
    from experiments import report as pages

    store = Store(args.results)
    if not store.path.exists():
        raise Stop(f"`{store.path}` is missing. Use `run` first.")
    print(pages.write(store.read(), args.results))


def measure_stability(args):
    """Measures gradients in the first iterations of SGD and averaged SGD."""
    stability.run(args.results / stability.FILE, args.data_dir)


def measure_rates(args):
    """Measures deep networks before training."""
    rates.run(args.results / rates.FILE)


def train(args):
    """Trains one recipe."""
    folder = args.out or OUT / args.recipe
    try:
        recipe = recipes.get(args.recipe).vary(dict(args.set))
    except (TypeError, ValueError) as error:
        raise Stop(str(error)) from error
    # Two runs in one folder would mix their files.
    with locked(folder / "run", wait=False):
        train_in(folder, recipe, args)


def train_in(folder, recipe, args):
    """Trains a recipe in a folder."""
    try:
        check_folder(folder, recipe, args.resume)
        data = recipe.load(args.data_dir)
        trainer = Trainer(recipe, data, args.iterations, folder)
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        raise Stop(str(error)) from error
    settings = {"backend": keras.config.backend(), **environment.versions()}
    settings |= {"recipe": dataclasses.asdict(recipe)}
    write_json(folder / "run.json", settings)
    record = trainer.run(verbose="auto")
    write_json(folder / "result.json", dataclasses.asdict(record))
    print(f"{outcome(record)}. Saved in {folder}")


def check_folder(folder, recipe, resume):
    """Stops unless the folder is free, or holds a run that can resume."""
    path = folder / "run.json"
    if not resume:
        if (folder / "checkpoint.keras").exists():
            raise Stop(f"`{folder}` holds a run. Add --resume or --out.")
        return
    try:
        settings = json.loads(path.read_text())
        before = recipes.Recipe.from_dict(settings["recipe"])
        old = before.flat() | {"backend": settings["backend"]}
    except (
        *(OSError, ValueError, KeyError, TypeError, AttributeError),
    ) as error:
        raise Stop(
            f"--resume needs a run. `{path}` is missing or damaged. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    new = recipe.flat() | {"backend": keras.config.backend()}
    # The key ignores the epochs if the schedule does.
    if before.key != recipe.key or old["backend"] != new["backend"]:
        names = [x for x in old | new if old.get(x) != new.get(x)]
        then, now = (
            ", ".join(f"{name}={x.get(name)!r}" for name in names)
            for x in (old, new)
        )
        raise Stop(f"--resume needs {then}, as in `{path}`. Received: {now}")


def write_json(path, content):
    """Writes a JSON file."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
