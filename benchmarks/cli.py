"""The command line of `python -m benchmarks`."""

import argparse
import pathlib
import sys

from benchmarks import contenders, equality, machine, report, scaling, workloads
from benchmarks.measure import Plan, run_case

# "float16" is half precision throughout, "mixed_float16" has float32 weights.
TRAINED = ("float32", "mixed_float16", "mixed_bfloat16")
DTYPES = (*TRAINED, "float16", "bfloat16")


def _positive(text):
    """An integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(
            f"must be an integer of at least 1. Received: {text}"
        )
    return value


def _one_of(*choices):
    """A type that names what is allowed."""

    def check(text):
        if text not in choices:
            raise argparse.ArgumentTypeError(
                f"must be one of {', '.join(choices)}. Received: {text}"
            )
        return text

    return check


def _checkout(text):
    """A folder that holds another `keras_snn`."""
    path = pathlib.Path(text).resolve()
    if not (path / "keras_snn" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(
            f"must be a folder that contains keras_snn. Received: {text}"
        )
    return str(path)


def _json_file(text):
    """A `.json` file in a folder that exists."""
    path = pathlib.Path(text)
    if path.suffix != ".json" or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"must be a .json file in an existing folder. Received: {text}"
        )
    return path


def parser():
    """The parser of the command line."""
    result = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Speed and memory of keras_snn beside its peers.\n\n"
        + "\n".join(f"{n}: {w.title}" for n, w in workloads.WORKLOADS.items()),
        epilog="Other defaults depend on the workload and on whether there is "
        "a GPU.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument

    def choose(flag, choices, **kwargs):
        kind, names = _one_of(*choices), "{" + ",".join(choices) + "}"
        add(flag, type=kind, metavar=names, **kwargs)

    choose("--workload", workloads.WORKLOADS, default="W0", help="default: W0")
    choose(
        "--backend",
        contenders.BACKENDS,
        nargs="+",
        default=list(contenders.BACKENDS),
        help="Keras backends; default: all",
    )
    choose(
        "--peers",
        (*contenders.PEERS, "none"),
        nargs="+",
        default=list(contenders.PEERS),
        help="other libraries, or none; default: all",
    )
    choose(
        "--contenders",
        workloads.KINDS,
        nargs="+",
        help="what to run on every backend: keras_snn; relu, the same network "
        "with ReLU for neurons; rnn, Keras's own RNN of the cell; copy (W2), a "
        "copy of the same bytes; default: all that the workload has",
    )
    add("--timesteps", type=_positive, nargs="+", help="one run each")
    add("--batch", type=_positive, help="batch size")
    add("--size", type=_positive, help="number of neurons of W1 and W2")
    choose("--dtype", DTYPES, default="float32", help="default: float32")
    add("--rounds", type=_positive, default=10, help="default: 10")
    add("--steps", type=_positive, default=3, help="per round; default: 3")
    add("--tf32", action="store_true", help="let GPUs round to TF32 inside")
    add(
        "--keep-memory",
        action="store_true",
        help="let processes keep the memory that they free (glibc), where "
        "fresh pages are slow",
    )
    add(
        "--scaling",
        action="store_true",
        help="how keras_snn's step and its first step grow with the timesteps "
        "(W0 alone)",
    )
    add(
        "--timeout",
        type=_positive,
        default=1800,
        help="seconds for every answer of a contender; default: 1800",
    )
    add(
        "--against",
        type=_checkout,
        help="another checkout of this project, "
        "whose keras_snn runs beside this one's",
    )
    add("--out", type=_json_file, help="JSON file for all results")
    return result


def parse(argv=None):
    """Parsed flags, with every default filled in.

    Args:
        argv: Arguments; those of the process by default.

    Returns:
        An `argparse.Namespace`.
    """
    command = parser()
    args = command.parse_args(argv)
    workload = workloads.WORKLOADS[args.workload]

    def refuse(flag, allowed, received):
        command.error(f"argument {flag}: {allowed}. Received: {received}")

    allowed = workloads.kinds(args.workload)
    args.contenders = args.contenders or list(allowed)
    for kind in args.contenders:
        if kind not in allowed:
            names = ", ".join(allowed)
            refuse("--contenders", f"must be one of {names}", kind)
    if "none" in args.peers:
        if len(args.peers) > 1:
            received = " ".join(args.peers)
            refuse("--peers", "none must stand alone", received)
        args.peers = []
    if args.size is not None and workload.size is None:
        refuse("--size", "must be left out except for W1, W2", args.size)
    if workload.trains and args.dtype not in TRAINED:
        names = ", ".join(TRAINED)
        refuse("--dtype", f"must be one of {names}", args.dtype)
    if args.scaling and args.workload != "W0":
        refuse("--scaling", "must go with W0", args.workload)

    defaults = {} if machine.has_gpu() else workload.cpu
    for name in ("batch", "timesteps", "size"):
        if getattr(args, name) is None:
            value = defaults.get(name, getattr(workload, name))
            setattr(args, name, value)
    return args


def names(args):
    """The contenders' names that the flags ask for."""
    own = [
        f"{kind}/{backend}"
        for kind in (*args.contenders, *(["against"] if args.against else []))
        for backend in args.backend
    ]
    return own + args.peers


def main(argv=None):
    """Runs the command line; returns the exit status."""
    args = parse(argv)
    plan = Plan(
        args.rounds, args.steps, args.timeout, args.keep_memory, args.against
    )
    results = {
        "flags": vars(args),
        "machine": machine.describe(),
        "results": [],
    }
    print(report.machine_line(results["machine"]))
    try:
        for result in _runs(args, plan, results["results"]):
            print(f"\n{result}", flush=True)
            if args.out:
                report.write_json(args.out, results)
    except equality.Different as different:
        print(f"not timed: {different}", file=sys.stderr)
        return 1
    measured = all(result["contenders"] for result in results["results"])
    return 0 if measured else 1


def _runs(args, plan, results):
    """Appends the result of every run and yields its table."""

    def say(text):
        print(f"... {text}", file=sys.stderr, flush=True)

    choices = {
        "size": args.size,
        "batch": args.batch,
        "dtype": args.dtype,
        "tf32": args.tf32,
    }
    if args.scaling:
        case = workloads.make_case("W0", timesteps=500, **choices)
        results.append(scaling.run(case, args.backend, plan, say))
        yield scaling.table(results[-1])
        return
    for timesteps in args.timesteps:
        case = workloads.make_case(
            args.workload, timesteps=timesteps, **choices
        )
        results.append(run_case(case, names(args), plan, say))
        yield title(case) + "\n" + report.case_table(results[-1])


def title(case):
    """One line that says what was run."""
    text = workloads.WORKLOADS[case.workload].title
    shape = (case.batch, case.timesteps, *case.input_shape)
    return f"{case.workload}: {text}, {shape}, {case.dtype}"
