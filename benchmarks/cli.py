"""The command line of `python -m benchmarks`."""

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence

from benchmarks import cases, contenders, machine, results
from benchmarks.check import Different
from benchmarks.measure import measure

__all__ = ["main", "parse"]

DTYPES = ("float32", "mixed_float16", "mixed_bfloat16")
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
        choices=("measure", "table"),
        default="measure",
        help="table: print all stored results as Markdown",
    )
    add("--workload", choices=cases.CASES, default="W0", help="default: W0")
    add(
        "--backend",
        choices=contenders.BACKENDS,
        default=os.environ.get("KERAS_BACKEND", "tensorflow"),
        help="default: KERAS_BACKEND, or tensorflow",
    )
    add(
        "--contenders",
        choices=(*contenders.OWN, *contenders.PEERS),
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
        metavar="FILE",
        help="add the results to this JSON file; default: "
        "benchmarks/results/<machine>-<backend>.json",
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
    allowed = contenders.names(args.workload)
    chosen = args.contenders or allowed
    for name in chosen:
        if name not in allowed:
            parser.error(f"{args.workload} has no contender {name}")
    against = ["against"] if args.against else []
    args.contenders = list(dict.fromkeys(["keras_snn", *against, *chosen]))
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status."""
    args = parse(argv)
    if args.command == "table":
        print(results.tables(results.load()))
        return 0
    # `results.store` imports Keras in this process.
    os.environ["KERAS_BACKEND"] = args.backend
    try:
        measured = [_run(args, length) for length in args.timesteps or [None]]
    except Different as different:
        print(f"not timed: {different}", file=sys.stderr)
        return 1
    return 0 if all(measured) else 1


def _run(args, timesteps):
    """Measures, prints and stores. Returns whether it measured `keras_snn`."""
    changes = {"timesteps": timesteps, "batch": args.batch, "dtype": args.dtype}
    case = cases.make(args.workload, machine.has_gpu(), **changes)
    plan = (args.backend, args.rounds, args.steps, args.against)
    result = measure(case, args.contenders, *plan)
    print(results.tables([{case.key: result}]))
    print(f"\n{results.notes(result)}\n", flush=True)
    measured = "keras_snn" in result["contenders"]
    published = measured and not (args.smoke or args.against)
    path = args.out or (results.path_of(result) if published else None)
    if path:
        results.store(path, case.key, result)
        print(f"stored in {path}", file=sys.stderr)
    return measured
