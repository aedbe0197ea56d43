"""The table of experiments, with what each needs on this machine."""

import concurrent.futures
import json
import multiprocessing
import os
import time

import numpy as np

from examples import training
from experiments import experiments
from experiments.store import found
from experiments.workers import SHARING
from keras_snn.files import replacing

# Of an image or frame, as the recipes read them.
SHAPES = {
    "mnist": (28, 28, 1),
    "nmnist": (32, 32, 2),
    "cifar10": (32, 32, 3),
    "cifar10_dvs": (128, 128, 2),
    "cifar100": (32, 32, 3),
    "tiny_imagenet": (64, 64, 3),
}
STEPS = 3  # timed, behind one that compiles


def table(args, store):
    """The experiments as lines of text.

    Args:
        args: The parsed flags of `list`.
        store: The `Store`.

    Returns:
        Text; a step's time and memory are those that `--measure` found on this
        machine and backend, or missing.
    """
    # To look at a GPU is not to take all of its memory.
    for name, value in SHARING.items():
        os.environ.setdefault(name, value)
    records = store.read()
    steps = _steps(args)
    rows = [("name", "stored", "data", "step", "memory", "to do", "shows")]
    for name, experiment in experiments.EXPERIMENTS.items():
        cells = experiment.cells(args.seeds, args.budget)
        there = [found(records, x) for x in cells.values()]
        todo = [
            x for x, y in zip(cells.values(), there, strict=True) if y is None
        ]
        recipes = experiment.panels.values()
        measured = [steps.get(step_name(x)) for x in recipes]
        rows.append(
            (
                name,
                _state(there),
                ", ".join(sorted({x.dataset for x in recipes})) or "none",
                *_cost(measured),
                _duration(todo, steps),
                experiment.title
                + (f" (with {experiment.curves})" * bool(experiment.curves)),
            )
        )
    told = f"budget {args.budget}, seeds {args.seeds}; memory without a GPU's"
    if not all(
        step_name(x) in steps
        for each in experiments.EXPERIMENTS.values()
        for x in each.panels.values()
    ):
        told += "; ? : not measured here yet, see --measure"
    return f"{training.table(rows, str.ljust)}\n{told}"


def _state(there):
    if not there:
        return "drawn"
    stored = sum(x is not None for x in there)
    return f"{stored} of {len(there)}"


def _cost(measured):
    """Time of a step and peak memory of the costliest of some."""
    if not measured:
        return "", ""
    if None in measured:
        return "?", "?"
    seconds = max(x["seconds"] for x in measured)
    memory = max(x["memory"] or 0 for x in measured)
    return f"{seconds:.2g} s", f"{memory / 2**30:.1f} GiB" if memory else "?"


def _duration(todo, steps):
    """Time of some runs, from steps measured on this machine."""
    if not todo:
        return ""
    seconds = 0.0
    for run in todo:
        step = steps.get(step_name(run.recipe))
        if step is None:
            return "?"
        seconds += run.iterations * step["seconds"] + step["start"]
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"


def step_name(recipe):
    """Those recipes have one name of which a step costs the same."""
    parts = (
        recipe.network,
        recipe.dataset,
        recipe.encoder,
        recipe.batch_size,
        recipe.normalization,
    )
    return " ".join(map(str, parts))


def _steps(args):
    """Measured steps of this machine and backend, measured now if asked to."""
    import keras

    from experiments import runs

    place = f"{runs.where()['device']}, {keras.config.backend()}"
    path = args.checkpoints / "steps.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    steps = kept.setdefault(place, {})
    if not args.measure:
        return steps
    todo = {
        step_name(recipe): recipe
        for each in experiments.EXPERIMENTS.values()
        for recipe in each.panels.values()
    }
    for name, recipe in todo.items():
        if name in steps:
            continue
        print(f"measuring {name}", flush=True)
        # In a process of its own, whose peak is that of this network.
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
            try:
                steps[name] = pool.submit(measure, recipe).result()
            # Each backend has an error of its own for too little memory.
            except Exception as error:
                told = str(error).splitlines() or [""]
                print(f"{name} failed: {type(error).__name__}: {told[0]}")
                continue
        with replacing(path) as partial:
            partial.write_text(json.dumps(kept, indent=1))
    return steps


def measure(recipe):
    """Times training steps of a recipe on random data.

    Args:
        recipe: A `Recipe`.

    Returns:
        Dictionary: `seconds` per step, the median of a few, `start`, those
        until the first is done, and `memory`, the process's peak in bytes, or
        `None` where the system does not say (and without that of a GPU).
    """
    from benchmarks import memory

    begin = time.perf_counter()
    shape = SHAPES[recipe.dataset]
    rng = np.random.default_rng(0)
    if recipe.encoder is None:
        x = rng.poisson(0.1, (recipe.batch_size, recipe.timesteps, *shape))
        x = x.astype("uint8")
    else:
        x = rng.integers(0, 256, (recipe.batch_size, *shape), dtype="uint8")
    y = rng.integers(0, recipe.classes, recipe.batch_size)
    model = recipe.build(shape, 100)
    model.train_on_batch(x, y)
    start, seconds = time.perf_counter() - begin, []
    for _ in range(STEPS):
        begin = time.perf_counter()
        model.train_on_batch(x, y)
        seconds.append(time.perf_counter() - begin)
    return {
        "seconds": float(np.median(seconds)),
        "start": start,
        "memory": memory.peak(),
    }
