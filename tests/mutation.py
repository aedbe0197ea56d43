"""Breaks the library on purpose and lists the faults that no test notices.

    python tests/mutation.py --count 150 --seed 0 --out mutants.json

Each mutant has one small fault, such as `<` for `<=` or a missing statement.
The script writes it into a copy of the checkout and runs the tests of the
module. A mutant that survives needs a new test, or a reason why it cannot
matter. `--again mutants.json` repeats the survivors of an earlier run.

No library does this here. mutmut changes no function with a decorator, so no
gradient, and nothing outside functions. Cosmic Ray imports the backend anew for
every mutant, and has one test command for all modules. Neither draws a sample.
mutatest does, but needs a coverage of 2021 and is no longer maintained.

Every run is a fork of a process that has imported Keras. It forks before the
backend has run an operation, so none of its threads are lost. Needs Linux or
macOS.
"""

import argparse
import ast
import collections
import contextlib
import functools
import gc
import json
import math
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback

import pytest
from mutants import Mutant, draw, mutate

ROOT = pathlib.Path(__file__).parents[1]

# The tests of each file or folder of the package, cheap and specific ones
# first. The doctests of that file or folder run before them.
TESTS = {
    "theory": "tests/test_theory.py tests/test_theory_peers.py",
    "surrogates": "tests/test_surrogates.py",
    "initializers": """
        tests/test_initializers.py tests/test_initializers_peers.py
    """,
    "validation.py": "tests/test_validation.py",
    "encoders": "tests/encoders tests/models/test_images.py",
    "losses": "tests/losses",
    "optimizers.py": """
        tests/test_optimizer_arguments.py tests/test_optimizers.py
    """,
    "dynamics": "tests/dynamics tests/layers/test_layers.py",
    "layers": "tests/layers tests/dynamics",
    "layers/normalization.py": """
        tests/layers/test_normalization.py
        tests/layers/test_normalization_masks.py
    """,
    "events": "tests/events",
}

say = functools.partial(print, flush=True)


def survivors(path, texts):
    """Returns the mutants that survived an earlier run."""
    mutants = []
    for each in json.loads(pathlib.Path(path).read_text()):
        if each["outcome"] == "survived":
            file = each["file"]
            mutant = mutate(file, texts[file], each["place"], each["kind"])
            if mutant.before != each["before"]:
                sys.exit(f"{file} has changed since the earlier run.")
            mutants.append(mutant)
    return mutants


def key_of(file):
    """Returns the longest key of `TESTS` that fits a file."""
    keys = [key for key in TESTS if file == key or file.startswith(key + "/")]
    return max(keys, key=len)


def start(where, key):
    """Forks, runs tests in the folder `where`, and returns the process id."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        os.setsid()  # so that the processes it starts end with it
        os.chdir(where)
        log = os.open("pytest.log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["PYTHONPATH"] = str(where)
        os.environ["TMPDIR"] = tempfile.tempdir = str(where.parent)
        sys.path[0] = str(where)  # was the folder of this script
        # Hypothesis is imported already, so pytest cannot rewrite it.
        quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        options = ["-x", "-q", "-p", "no:cacheprovider", *quiet]
        tests = [f"keras_snn/{key}", *TESTS[key].split()]
        code = pytest.main([*options, *tests])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def end(pid):
    """Ends a run that `start` began, and the processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def run(tasks, copies, texts):
    """Runs the tests of mutants, one at a time in each copy.

    Takes `(mutant, limit)` and yields `(mutant, outcome, seconds, log)`.
    """
    waiting, free, running = collections.deque(tasks), list(copies), {}
    try:
        while waiting or running:
            while waiting and free:
                (mutant, limit), where = waiting.popleft(), free.pop()
                (where / "keras_snn" / mutant.file).write_text(mutant.source)
                pid = start(where, key_of(mutant.file))
                running[pid] = mutant, where, time.monotonic(), limit
            time.sleep(0.05)
            for pid, (mutant, where, begin, limit) in list(running.items()):
                seconds = time.monotonic() - begin
                done, status = os.waitpid(pid, os.WNOHANG)
                if not done and seconds < limit:
                    continue
                if not done:
                    end(pid)
                del running[pid]
                outcome = "survived" if status == 0 else "killed"
                outcome = outcome if done else "timed out"
                log = (where / "pytest.log").read_text(errors="replace")
                file = where / "keras_snn" / mutant.file
                file.write_text(texts[mutant.file])
                free.append(where)
                yield mutant, outcome, seconds, log
    finally:
        for pid in running:
            end(pid)


def read_files(package, modules, backend):
    """Returns the texts of the files to mutate, by name."""
    # A backend runs its own loop only. Triton's needs a GPU.
    others = {"tensorflow", "jax", "torch", "torch_loop", "torch_adjoint"}
    others -= {backend, f"{backend}_loop", f"{backend}_adjoint"}
    others |= {"triton", "torch_gpu", "jax_gpu"}
    texts = {}
    for path in sorted(package.rglob("*.py")):
        name = str(path.relative_to(package))
        bare = path.relative_to(package).with_suffix("")
        wanted = any(bare.is_relative_to(module) for module in modules)
        if wanted and path.stem not in others:
            texts[name] = path.read_text()
    return texts


def check(texts, copies):
    """Runs the tests without a fault, and with a fatal one in each file.

    Returns the time limit of the tests, in seconds, by their keys.
    """
    files = {key_of(file): file for file in texts}
    sound = [
        (Mutant(file, ast.unparse(ast.parse(texts[file]))), math.inf)
        for file in files.values()
    ]
    limits = {}
    for mutant, outcome, seconds, log in run(sound, copies, texts):
        key = key_of(mutant.file)
        say(f"{key}: {seconds:.0f} s without a fault")
        if outcome != "survived":
            sys.exit(f"{log}\nThe tests must pass before a fault is planted.")
        limits[key] = 120 + 5 * seconds  # since machines are busier at times

    fatal = [
        (Mutant(file, f"{text}\nraise AssertionError"), math.inf)
        for file, text in texts.items()
    ]
    for mutant, outcome, _, log in run(fatal, copies, texts):
        if outcome != "killed":
            sys.exit(f"{log}\nNo test of {mutant.file} noticed a fatal fault.")
    return limits


def report(mutants, limits, copies, texts, out):
    """Runs the mutants, prints each outcome and stores it."""
    tasks = [(mutant, limits[key_of(mutant.file)]) for mutant in mutants]
    results = []
    for mutant, outcome, seconds, log in run(tasks, copies, texts):
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", log, re.M)
        result = mutant._asdict() | {"outcome": outcome}
        result |= {"by": failed and failed[1], "seconds": round(seconds, 1)}
        del result["source"]
        results.append(result)
        change = f"{mutant.before}  ->  {mutant.after}"
        where = f"keras_snn/{mutant.file}:{mutant.line}"
        say(f"{len(results):4} {outcome:9} {where}  {change}")
        if out:
            pathlib.Path(out).write_text(json.dumps(results, indent=1) + "\n")
    say(dict(collections.Counter(each["outcome"] for each in results)))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--modules",
        nargs="+",
        default=[key.removesuffix(".py") for key in TESTS],
        help="files or folders of the package, such as layers/normalization",
    )
    parser.add_argument("--backend", help="the default is Keras's own")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--out", help="JSON file for the results")
    parser.add_argument("--again", help="results whose survivors run again")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.backend:
        os.environ["KERAS_BACKEND"] = arguments.backend
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # Compiled files of equal age and size would hide a mutant.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    # Shared by all runs. Frozen, so that none collects the garbage in it.
    import hypothesis.strategies  # noqa: F401
    import keras

    gc.freeze()

    with tempfile.TemporaryDirectory() as folder:
        copies = [pathlib.Path(folder, str(i)) for i in range(arguments.jobs)]
        hidden = shutil.ignore_patterns(".*", "__pycache__")
        for source, target in zip([ROOT, *copies[:-1]], copies, strict=True):
            shutil.copytree(source, target, ignore=hidden)
        package = copies[0] / "keras_snn"
        backend = keras.config.backend()
        texts = read_files(package, arguments.modules, backend)
        if arguments.again:
            mutants = survivors(arguments.again, texts)
        else:
            mutants = draw(texts, arguments.count, arguments.seed)
        texts = {mutant.file: texts[mutant.file] for mutant in mutants}
        limits = check(texts, copies)
        report(mutants, limits, copies, texts, arguments.out)


if __name__ == "__main__":
    main()
