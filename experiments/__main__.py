"""The command line: list, run, report."""

import argparse
import importlib.util
import pathlib
import sys
import time

from examples import flags
from experiments import experiments
from experiments.store import FOLDER, Damaged, Store, found

CHECKPOINTS = pathlib.Path("results/reproduction")  # ignored by git


def parse_args(argv):
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Every table and figure of the paper, from stored runs.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    listed = commands.add_parser("list", help="the experiments and their state")
    run = commands.add_parser("run", help="train what is not stored yet")
    commands.add_parser("report", help="draw all that is stored")
    for command in (listed, run):
        command.add_argument(
            "--budget",
            choices=experiments.BUDGETS,
            default="quick",
            help="smoke: ten iterations; quick: the early curves; full: as in "
            "the paper (default: quick)",
        )
        command.add_argument(
            "--seeds", type=flags.positive, default=1, help="how many, from 0"
        )
    listed.add_argument(
        "--measure",
        action="store_true",
        help="time a training step of every network on this machine",
    )
    add = run.add_argument
    add("names", nargs="+", metavar="NAME", help="as in list, or all")
    add(
        "--iterations",
        type=flags.positive,
        metavar="N",
        help="train so far, in place of the budget",
    )
    add(
        "--initializers",
        nargs="+",
        choices=experiments.METHODS,
        help="in place of the budget's",
    )
    add("--again", action="store_true", help="train what is stored, too")
    add(
        "--data-dir",
        type=flags.existing,
        help="folder of the data of these experiments, where not cached",
    )
    add(
        "--ray",
        metavar="ADDRESS",
        help='run as Ray tasks, on a cluster or, with "local", here',
    )
    add(
        "--cpus",
        type=flags.amount,
        default=1,
        help="cores per Ray task (default: 1)",
    )
    add(
        "--gpus",
        type=flags.amount,
        help="GPUs per Ray task; 0.25 lets four share one (default: 1, if "
        "there are any)",
    )
    for command in (listed, run):
        command.add_argument(
            "--checkpoints",
            type=pathlib.Path,
            default=CHECKPOINTS,
            help="what killed runs go on from, and measured steps (default: "
            "%(default)s)",
        )
    for command in commands.choices.values():
        # Only `run` makes it.
        command.add_argument(
            "--results",
            type=flags.folder if command is run else flags.existing,
            help="folder of the stored runs (default: beside the program; for "
            "the budget smoke a folder of its own)",
        )
    args = parser.parse_args(argv)
    if args.results is None:
        # Ten iterations are no result, and would shorten every figure.
        smoke = getattr(args, "budget", None) == "smoke"
        args.results = args.checkpoints / "smoke" if smoke else FOLDER
    if args.command == "run":
        try:
            args.names = experiments.select(args.names)
        except ValueError as error:
            parser.error(str(error))
        if args.ray and not importlib.util.find_spec("ray"):
            parser.error('--ray needs Ray: pip install ".[ray]"')
    return args


def main(argv=None):
    args = parse_args(sys.argv[1:] if argv is None else argv)
    store = Store(args.results)
    try:
        {"list": show, "run": run, "report": report}[args.command](args, store)
    except Damaged as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on.")
        raise SystemExit(130) from None


def run(args, store):
    """Trains what is missing of some experiments."""
    cells = {}
    for name in args.names:
        runs = experiments.EXPERIMENTS[name].cells(
            args.seeds, args.budget, args.iterations, args.initializers
        )
        # Of one path the longest has the others in it.
        for each in runs.values():
            known = cells.get(each.key)
            if known is None or known.iterations < each.iterations:
                cells[each.key] = each
    records = store.read()
    todo = [x for x in cells.values() if found(records, x) is None]
    if not cells:
        return print("Nothing to train: `report` draws it.")
    print(f"{len(cells)} runs, {len(cells) - len(todo)} of them stored")
    partial = sum(
        x["train_samples"] < experiments.TRAINING[x["recipe"]["dataset"]]
        for x in map(records.get, cells)
        if x
    )
    if partial and not args.again:
        print(f"{partial} of part of the data only: see --again")
    from experiments import workers

    checkpoints = args.checkpoints.resolve()
    if args.again:
        todo = list(cells.values())
    else:
        stored = [x for x in cells.values() if x not in todo]
        workers.clear(stored, checkpoints)
    if not todo:
        return
    data_dir = args.data_dir and str(args.data_dir.resolve())
    places = todo, store, data_dir, checkpoints, args.again
    if args.ray:
        done = workers.on_ray(*places, args.ray, args.cpus, args.gpus)
    else:
        done = workers.here(*places)
    try:
        failed = tell(done, len(todo))
    except (ConnectionError, workers.Refused) as error:
        raise SystemExit(str(error)) from error
    if failed:
        raise SystemExit(f"{failed} of {len(todo)} runs failed")


def tell(done, number_of_runs):
    """Prints what ended, as it ends; returns how many failed."""
    failed, start = 0, time.perf_counter()
    for number, (each, record) in enumerate(done, 1):
        minutes = (time.perf_counter() - start) / 60
        if isinstance(record, Exception):
            failed += 1
            told = f"FAILED {type(record).__name__}: {record}"
        else:
            told = outcome(record)
        print(
            f"[{number}/{number_of_runs}, {minutes:.1f} min] {each}: {told}",
            flush=True,
        )
    return failed


def outcome(record):
    """What became of a run, in a few words."""
    if record["lost"]:
        return f"loss lost at iteration {record['lost']}"
    if not record["loss"]:
        return "firing rates only"
    reached = record["to_60"] or "not reached"
    words = f"60 % at {reached}"
    if record["tested"]:
        _, hits = record["tested"][-1]
        words += f", test {hits / record['test_samples']:.1%}"
    return f"{words}, {record['seconds']:.0f} s"


def show(args, store):
    """Prints the experiments."""
    from experiments import listing

    print(listing.table(args, store))


def report(args, store):
    """Draws and writes."""
    if not store.path.exists():
        raise SystemExit(f"{store.path} is missing: nothing was run yet")
    from experiments import report as pages

    print(pages.write(store.read(), args.results))


if __name__ == "__main__":
    main()
