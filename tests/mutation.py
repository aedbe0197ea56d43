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
import copy
import functools
import gc
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# The tests of each file or folder of the package, cheap and specific ones
# first. The doctests of the file itself run before them.
TESTS = {
    "theory.py": "tests/test_theory.py",
    "surrogates.py": "tests/test_surrogates.py tests/dynamics",
    "initializers.py": "tests/test_initializers.py",
    "validation.py": "tests/test_validation.py",
    "encoders.py": "tests/test_encoders.py tests/models/test_images.py",
    "optimizers.py": "tests/test_optimizers.py",
    "dynamics": "tests/dynamics tests/layers/test_layers.py",
    "layers": "tests/layers tests/dynamics",
    "layers/normalization.py": """
        tests/layers/test_normalization.py
        tests/layers/test_normalization_masks.py
    """,
    "events": "tests/events",
}

# Each operator and what replaces it, by their names in `ast`.
OPERATORS = """
    Lt LtE GtE, LtE Lt Gt, Gt GtE LtE, GtE Gt Lt, Eq NotEq, NotEq Eq,
    Is IsNot, IsNot Is, In NotIn, NotIn In, And Or, Or And,
    Add Sub, Sub Add, Mult Div, Div Mult, FloorDiv Div, Mod Mult, Pow Mult,
    LShift RShift, RShift LShift, BitAnd BitOr
"""
OPERATORS = {
    old: [getattr(ast, new)() for new in news]
    for old, *news in map(str.split, OPERATORS.split(","))
}

# `place` counts the mutable nodes of a file, and `kind` the variants of a node.
Mutant = collections.namedtuple(
    "Mutant", "file source place kind line before after", defaults=[None] * 5
)
say = functools.partial(print, flush=True)


def is_exempt(node):
    """Whether no test needs to notice a change in this node."""
    match node:
        case ast.Expr(value=ast.Constant()):  # a docstring
            return True
        case ast.If():
            return "TYPE_CHECKING" in ast.unparse(node.test)
        case ast.Assign():
            return ast.unparse(node.targets[0]) == "__all__"
        case ast.Raise():  # an abstract method
            return "NotImplementedError" in ast.unparse(node)
        case ast.keyword():
            return node.arg == "stacklevel"
    return isinstance(node, ast.JoinedStr)  # a message


def variants(node):
    """Returns the faulty versions of a node, not of the nodes inside it."""

    def changed(**fields):
        new = copy.copy(node)
        vars(new).update(fields)
        return new

    def operators(old):
        return OPERATORS.get(type(old).__name__, [])

    match node:
        case ast.AugAssign():
            return [ast.Pass(), *(changed(op=op) for op in operators(node.op))]
        case ast.Assign() | ast.Expr() | ast.Return() | ast.Raise():
            return [ast.Pass()]
        case ast.Delete() | ast.Assert() | ast.Break() | ast.Continue():
            return [ast.Pass()]
        case ast.Constant(value=bool() as value):
            return [ast.Constant(not value)]
        case ast.Constant(value=int() | float() as value):
            others = {value + 1, value * 2, -value, 0} - {value}
            return [ast.Constant(other) for other in sorted(others)]
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            return [node.operand]
        case ast.If(orelse=[]) | ast.While():
            return [changed(test=ast.UnaryOp(ast.Not(), node.test))]
        case ast.If() | ast.IfExp():
            return [changed(body=node.orelse, orelse=node.body)]
        case ast.Call(args=[condition, x, y]):
            is_where = ast.unparse(node.func).endswith("where")
            return [changed(args=[condition, y, x])] if is_where else []
        case ast.BinOp() | ast.BoolOp():
            return [changed(op=op) for op in operators(node.op)]
        case ast.Compare():
            return [
                changed(ops=[*node.ops[:i], op, *node.ops[i + 1 :]])
                for i, old in enumerate(node.ops)
                for op in operators(old)
            ]
    return []


def mutable_nodes(node, scope=""):
    """Yields `(scope, parent, field, index, variants)` for each mutable node.

    `scope` names the class and the outermost function around the node.
    """
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or is_exempt(child):
                continue
            inner = scope
            if isinstance(child, ast.ClassDef) and "()" not in scope:
                inner = f"{scope}{child.name}."
            elif isinstance(child, ast.FunctionDef) and "()" not in scope:
                inner = f"{scope}{child.name}()"
            if found := variants(child):
                yield inner, node, field, index, found
            if not isinstance(child, ast.Raise):  # its message
                yield from mutable_nodes(child, inner)


def mutate(file, text, place, kind):
    """Returns the mutant of a node, given the text of its file."""
    tree = ast.parse(text)
    old = ast.unparse(tree).splitlines()
    _, parent, field, index, found = list(mutable_nodes(tree))[place]
    value = getattr(parent, field)
    if isinstance(value, list):
        line, value[index] = value[index].lineno, found[kind]
    else:
        line = value.lineno
        setattr(parent, field, found[kind])
    source = ast.unparse(ast.fix_missing_locations(tree))
    # The lines that differ, without the equal ones before and behind them.
    new = source.splitlines()
    start = len(os.path.commonprefix([old, new]))
    old, new = old[start:], new[start:]
    stop = len(os.path.commonprefix([old[::-1], new[::-1]]))
    before, after = (
        " / ".join(map(str.strip, lines[: len(lines) - stop]))
        for lines in (old, new)
    )
    return Mutant(file, source, place, kind, line, before, after)


def draw(texts, count, seed):
    """Draws mutants, in turns from every function."""
    rng = random.Random(seed)
    functions = collections.defaultdict(list)
    for file, text in texts.items():
        nodes = enumerate(mutable_nodes(ast.parse(text)))
        for place, (scope, *_, found) in nodes:
            kind = rng.randrange(len(found))
            functions[file, scope].append((file, text, place, kind))
    turns = list(functions.values())
    for queue in (turns, *turns):
        rng.shuffle(queue)
    longest = max(map(len, turns))
    drawn = [q[i] for i in range(longest) for q in turns if i < len(q)]
    return [mutate(*each) for each in drawn[:count]]


def start(where, tests):
    """Forks, runs pytest in the folder `where`, and returns the process id."""
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
        sys.path[0] = str(where)  # was the folder of this script
        # Hypothesis is imported already, so pytest cannot rewrite it.
        quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        options = ["-x", "-q", "-p", "no:cacheprovider", *quiet]
        code = pytest.main([*options, *tests])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def run(tasks, copies, texts):
    """Runs tests on mutants, one at a time in each copy.

    Takes `(mutant, tests, limit)` and yields `(mutant, outcome, seconds, log)`.
    """
    waiting, free, running = collections.deque(tasks), list(copies), {}
    while waiting or running:
        while waiting and free:
            (mutant, tests, limit), where = waiting.popleft(), free.pop()
            (where / "keras_snn" / mutant.file).write_text(mutant.source)
            begin = time.monotonic()
            running[start(where, tests)] = mutant, where, begin, limit
        time.sleep(0.05)
        for pid, (mutant, where, begin, limit) in list(running.items()):
            seconds = time.monotonic() - begin
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done and seconds < limit:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            if not done:
                os.waitpid(pid, 0)
            outcome = "survived" if status == 0 else "killed"
            log = (where / "pytest.log").read_text(errors="replace")
            yield mutant, outcome if done else "timed out", seconds, log
            (where / "keras_snn" / mutant.file).write_text(texts[mutant.file])
            free.append(where)
            del running[pid]


def read_files(package, modules, backend):
    """Returns the texts of the files to mutate, by name."""
    # A backend runs its own loop only. Triton's needs a GPU.
    others = {"tensorflow", "jax", "torch", "triton"} - {backend}
    texts = {}
    for path in sorted(package.rglob("*.py")):
        name = str(path.relative_to(package))
        wanted = any(
            pathlib.PurePath(name).with_suffix("").is_relative_to(m)
            for m in modules
        )
        if wanted and path.stem not in others:
            texts[name] = path.read_text()
    return texts


def tests_of(file):
    """Returns the tests of a file, of the longest key that fits."""
    keys = [key for key in TESTS if file == key or file.startswith(key + "/")]
    return [f"keras_snn/{file}", *TESTS[max(keys, key=len)].split()]


def check(texts, copies):
    """Runs the tests without a fault, and with a fatal one in each file.

    Returns the seconds that the tests of each file take without a fault.
    """
    sound = [
        (Mutant(file, ast.unparse(ast.parse(text))), tests_of(file), 3600)
        for file, text in texts.items()
    ]
    fatal = [
        (Mutant(file, f"{text}\nraise AssertionError"), tests_of(file), 3600)
        for file, text in texts.items()
    ]
    durations = {}
    for mutant, outcome, seconds, log in run(sound, copies, texts):
        say(f"{mutant.file}: {seconds:.0f} s without a fault")
        durations[mutant.file] = seconds
        if outcome != "survived":
            sys.exit(f"{log}\nThe tests must pass before a fault is planted.")
    for mutant, outcome, _, log in run(fatal, copies, texts):
        if outcome != "killed":
            sys.exit(f"{log}\nNo test of {mutant.file} noticed a fatal fault.")
    return durations


def report(mutants, durations, copies, texts, out):
    """Runs the mutants, prints each outcome and stores it."""
    tasks = [
        (mutant, tests_of(mutant.file), 60 + 3 * durations[mutant.file])
        for mutant in mutants
    ]
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
        mutants = draw(texts, arguments.count, arguments.seed)
        if arguments.again:
            earlier = json.loads(pathlib.Path(arguments.again).read_text())
            mutants = [
                mutate(m["file"], texts[m["file"]], m["place"], m["kind"])
                for m in earlier
                if m["outcome"] == "survived"
            ]
        texts = {mutant.file: texts[mutant.file] for mutant in mutants}
        durations = check(texts, copies)
        report(mutants, durations, copies, texts, arguments.out)


if __name__ == "__main__":
    main()
