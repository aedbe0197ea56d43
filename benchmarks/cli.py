"""The command line of `python -m benchmarks`."""

import argparse
import functools
import os
import pathlib
import sys
import time
from collections.abc import Sequence

from benchmarks import cases, contenders, machine, plan, results
from benchmarks.check import Different
from benchmarks.measure import measure, verify

__all__ = ["main", "parse"]

DTYPES = ("float32", "mixed_float16", "mixed_bfloat16")
PAGE = machine.CHECKOUT / "docs" / "speed.md"
# For `--smoke`.
SMOKE = {"batch": 2, "timesteps": [3], "rounds": 2, "steps": 1}


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be an integer of at least 1. Received: {text}"
        )
    return int(text)


def _checkout(text):
    path = pathlib.Path(text).resolve()
    if not (path / "keras_snn" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(
            f"must be a folder that contains keras_snn. Received: {text}"
        )
    return str(path)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compares keras_snn with other libraries.\n\n"
        + "\n".join(f"{x.name}: {x.title}" for x in cases.CASES.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "command",
        nargs="?",
        choices=("measure", "plan", "table", "docs"),
        default="measure",
        help="plan: list the runs for docs/speed.md that are not stored yet; "
        "table: print all stored results as Markdown; docs: write them into "
        "docs/speed.md",
    )
    add("--workload", choices=cases.CASES, default="W0", help="default: W0")
    add(
        "--backend",
        type=contenders.backend,
        default=os.environ.get("KERAS_BACKEND", "tensorflow"),
        help="tensorflow, jax or torch; default: KERAS_BACKEND, or tensorflow",
    )
    add(
        "--contenders",
        choices=(*contenders.OWN, *contenders.PEERS, *contenders.NEURONS),
        nargs="+",
        metavar="NAME",
        help="compared with keras_snn: %(choices)s; default: all",
    )
    add("--timesteps", type=_positive, nargs="+", help="one run each")
    add("--batch", type=_positive, help="batch size")
    add("--dtype", choices=DTYPES, help="default: float32")
    add("--rounds", type=_positive, default=10, help="default: 10")
    add("--steps", type=_positive, default=3, help="per round; default: 3")
    add(
        "--against",
        type=_checkout,
        metavar="FOLDER",
        help="another checkout of this project, to compare its keras_snn; "
        "stored only with --out",
    )
    tiny = "a tiny run to check that all works; stored only with --out"
    add("--smoke", action="store_true", help=tiny)
    add(
        "--out",
        type=pathlib.Path,
        metavar="FOLDER",
        help="folder of the stored results; default: benchmarks/results",
    )
    add("--run", action="store_true", help="run what plan lists")
    add(
        "--minutes",
        type=_positive,
        default=25,
        help="plan starts no further run after this time; default: 25",
    )
    return parser


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line.

    Args:
        argv: Arguments, by default those of the process.

    Returns:
        The flags. `contenders` holds the names of all contenders, `keras_snn`
        first.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    if args.out and args.out.exists() and not args.out.is_dir():
        parser.error(f"--out must be a folder. Received: {args.out}")
    allowed = contenders.names(args.workload)
    chosen = args.contenders or allowed
    for name in chosen:
        if name not in allowed:
            parser.error(
                f"--contenders of {args.workload} must be among "
                f"{', '.join(allowed)}. Received: {name}"
            )
    against = ["against"] if args.against else []
    args.contenders = list(dict.fromkeys(["keras_snn", *against, *chosen]))
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status."""
    args = parse(argv)
    try:
        return _command(args)
    except results.Damaged as error:
        print(error, file=sys.stderr)
        return 1


def _command(args):
    folder = args.out or results.FOLDER
    stored = results.load(folder)
    if args.command in ("table", "docs") and not stored:
        print(f"no results in the folder {folder}", file=sys.stderr)
        return 1
    if args.command == "table":
        print(results.tables(stored))
    elif args.command == "docs":
        page = results.fill(PAGE.read_text("utf-8"), stored)
        PAGE.write_text(page, "utf-8")
    elif args.command == "plan":
        return _plan(args)
    else:
        measured = [_run(args, x, verify) for x in args.timesteps or [None]]
        return 0 if all(measured) else 1
    return 0


def _plan(args):
    """Lists what is not stored yet, and runs it until the time is over.

    Returns the exit status: 1 if a run failed.
    """
    end = time.monotonic() + 60 * args.minutes
    # W2 has the same check for all dtypes and numbers of timesteps.
    once = functools.cache(verify)
    shared = ["--smoke"] if args.smoke else []
    shared += ["--out", str(args.out)] if args.out else []
    status = 0
    for command in plan.commands(machine.has_gpu()):
        one = parse([*command.split(), *shared])
        timesteps = one.timesteps[0] if one.timesteps else None
        stored = results.load(args.out or results.FOLDER)
        key, here = _case(one, timesteps).key, machine.describe()
        if plan.stored(stored, key, one.backend, here):
            continue
        if args.run and time.monotonic() > end:
            print("no time left; call again to go on", file=sys.stderr)
            break
        print(f"python -m benchmarks {command}", flush=True)
        if args.run and not _run(one, timesteps, once):
            status = 1
    return status


def _case(args, timesteps):
    changes = {"timesteps": timesteps, "batch": args.batch, "dtype": args.dtype}
    return cases.make(args.workload, machine.has_gpu(), **changes)


def _run(args, timesteps, verified):
    """Measures, prints and stores. Returns whether it measured `keras_snn`."""
    # `results.store` imports Keras in this process.
    os.environ["KERAS_BACKEND"] = args.backend
    case = _case(args, timesteps)
    settings = (args.backend, args.rounds, args.steps, args.against)
    try:
        result = measure(case, args.contenders, *settings, verified)
    except Different as different:
        print(f"not timed: {different}", file=sys.stderr)
        return False
    print(results.tables([{case.key: result}]))
    print(f"\n{results.notes(result)}\n", flush=True)
    measured = "keras_snn" in result["contenders"]
    published = not (args.smoke or args.against)
    if measured and (published or args.out):
        path = results.path_of(result, args.out or results.FOLDER)
        results.store(path, case.key, result)
        print(f"stored in {path}", file=sys.stderr)
    return measured
