"""Runs, one after another here, or as tasks of a Ray cluster."""

import contextlib
import os
import pathlib
import shutil

import keras

from experiments import runs
from experiments.store import found
from keras_snn.files import locked

ROOT = pathlib.Path(__file__).parents[2]  # the checkout
RETRIES = 3
# Of what the workers' Keras and TensorFlow have to be told.
VARIABLES = ("KERAS_HOME", "TFDS_DATA_DIR", "TF_CPP_MIN_LOG_LEVEL")
# Nobody may take all of a GPU's memory in advance where several share it.
SHARING = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


def here(todo, store, data_dir, checkpoints, again=False):
    """Trains runs one after another, those that are not stored yet.

    Two processes with the same runs and folders share them: what one is
    training the other leaves for last, and then has (or, with `again`, trains
    once more).

    Args:
        todo: List of `Run`.
        store: The `Store` that they go to.
        data_dir: Folder of the data, or `None`.
        checkpoints: Folder of what killed runs go on from.
        again: Whether to train, and replace, what is stored, too.

    Yields:
        `(run, record)`, or `(run, error)` where it failed; of a run that
        another process stored meanwhile its record.
    """
    busy = []
    for run in todo:
        try:
            result = _once(run, store, data_dir, checkpoints, again, wait=False)
        except BlockingIOError:  # another process is at it: the next one
            busy.append(run)
        else:
            yield run, result
    for run in busy:
        yield run, _once(run, store, data_dir, checkpoints, again)


def _once(run, store, data_dir, checkpoints, again, wait=True):
    """A run's record, found or made, or the error that it ended with."""
    folder = runs.checkpoint_folder(run, checkpoints)
    with locked(folder, wait):
        record = None if again else found(store.read(), run)
        if record is None:
            try:
                record = _train(run, data_dir, checkpoints)
            except Exception as error:  # the others may do
                return error
            store.add(record, again)
        shutil.rmtree(folder, ignore_errors=True)
    return record


def clear(stored, checkpoints):
    """Removes what runs left that were killed just when they were stored."""
    for run in stored:
        folder = runs.checkpoint_folder(run, checkpoints)
        if folder.exists():
            # Unless another process trains it again.
            with (
                contextlib.suppress(BlockingIOError),
                locked(folder, wait=False),
            ):
                shutil.rmtree(folder, ignore_errors=True)


def _train(run, data_dir, checkpoints):
    try:
        return runs.train(run, data_dir, checkpoints)
    finally:
        # Hundreds of networks in one process.
        keras.backend.clear_session()


def _task(run, data_dir, checkpoints):
    """What a Ray worker does: two of one run wait for each other."""
    folder = runs.checkpoint_folder(run, checkpoints)
    with locked(folder):
        return _train(run, data_dir, checkpoints)


def on_ray(
    todo, store, data_dir, checkpoints, again, address, cpus=1, gpus=None
):
    """Trains runs as Ray tasks, those that are not stored yet.

    What a task returns is what `here` would store. A task whose machine or
    process died is tried again, `RETRIES` times, and goes on from its
    checkpoint if `checkpoints` is a folder that all machines share.

    Args:
        todo: List of `Run`.
        store: The `Store` that they go to.
        data_dir: Folder of the data on the machines, or `None`.
        checkpoints: Folder of what killed runs go on from.
        again: Whether what they bring replaces what is stored.
        address: Of the cluster, or "local" for one on this machine alone.
        cpus: Cores per run.
        gpus: GPUs per run; a fraction lets runs share one. `None` is one, if
            the cluster has any.

    Yields:
        `(run, record)`, or `(run, error)` where it failed, as they end.

    Raises:
        Refused: If no machine of the cluster has so many cores or GPUs.
    """
    import ray

    ray.init(
        address=address,
        runtime_env=_environment(address),
        include_dashboard=False if address == "local" else None,
        log_to_driver=False,
    )
    try:
        machines = [x["Resources"] for x in ray.nodes() if x["Alive"]]
        if gpus is None:
            gpus = int(any(x.get("GPU") for x in machines))
        _check_resources(machines, CPU=cpus, GPU=gpus)
        task = ray.remote(
            num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, max_calls=8
        )(_task)
        pending = {task.remote(run, data_dir, checkpoints): run for run in todo}
        while pending:
            (ready,), _ = ray.wait(list(pending), num_returns=1)
            run = pending.pop(ready)
            try:
                record = ray.get(ready)
            except ray.exceptions.RayError as error:
                # What went wrong there, without where it passed.
                yield run, getattr(error, "cause", None) or error
                continue
            # The workers have the code, but not its history.
            store.add(record | {"commit": runs.COMMIT}, again)
            folder = runs.checkpoint_folder(run, checkpoints)
            shutil.rmtree(folder, ignore_errors=True)
            yield run, record
    finally:
        ray.shutdown()


class Refused(ValueError):
    """More is asked for than a cluster has."""


def _check_resources(machines, **wanted):
    """Refuses what no task would ever get, and so wait for without an end."""
    for name, number in wanted.items():
        most = max(x.get(name, 0) for x in machines)
        if number > most:
            raise Refused(
                f"`--{name.lower()}s` must be at most what a machine of the "
                f"cluster has, {most:g}. Received: {number:g}"
            )


def _environment(address):
    """What the workers need to import this package and find the data."""
    told = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    told |= SHARING | {"KERAS_BACKEND": keras.config.backend()}
    if "TFDS_DATA_DIR" in told:  # workers start in another folder
        told["TFDS_DATA_DIR"] = os.path.abspath(told["TFDS_DATA_DIR"])
    if address == "local":
        path = os.pathsep.join(
            filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
        )
        return {"env_vars": told | {"PYTHONPATH": path}}
    return {
        "working_dir": str(ROOT),
        "excludes": [".git", "results", "docs", "*.png", "*.jsonl"],
        "env_vars": told,
    }
