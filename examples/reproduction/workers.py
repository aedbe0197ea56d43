"""Runs, one after another here, or as tasks of a Ray cluster."""

import os
import pathlib
import shutil

from examples.reproduction import runs
from examples.reproduction.store import found
from keras_snn.files import locked

ROOT = pathlib.Path(__file__).parents[2]  # the checkout
RETRIES = 3
# Of what the workers' Keras and TensorFlow have to be told.
VARIABLES = ("KERAS_BACKEND", "TFDS_DATA_DIR", "TF_CPP_MIN_LOG_LEVEL")


def here(todo, store, data_dir, checkpoints):
    """Trains runs one after another, those that are not stored yet.

    Args:
        todo: List of `Run`.
        store: The `Store` that they go to.
        data_dir: Folder of the data, or `None`.
        checkpoints: Folder of what killed runs go on from.

    Yields:
        `(run, record)`, or `(run, error)` where it failed; of a run that
        another process stored meanwhile its record.
    """
    for run in todo:
        folder = pathlib.Path(checkpoints) / run.key
        # A second process with the same runs waits, and then has it.
        with locked(folder):
            record = found(store.read(), run)
            if record is None:
                try:
                    record = _train(run, data_dir, checkpoints)
                except Exception as error:  # the others may do
                    yield run, error
                    continue
                store.add(record)
            shutil.rmtree(folder, ignore_errors=True)
        yield run, record


def _train(run, data_dir, checkpoints):
    import keras

    try:
        return runs.train(run, data_dir, checkpoints)
    finally:
        # Hundreds of networks in one process.
        keras.backend.clear_session()


def on_ray(todo, store, data_dir, checkpoints, address, cpus, gpus):
    """Trains runs as Ray tasks, those that are not stored yet.

    What a task returns is what `here` would store. A task whose machine or
    process died is tried again, `RETRIES` times, and goes on from its
    checkpoint if `checkpoints` is a folder that all machines share.

    Args:
        todo: List of `Run`.
        store: The `Store` that they go to.
        data_dir: Folder of the data on the machines, or `None`.
        checkpoints: Folder of what killed runs go on from.
        address: Of the cluster, or "local" for one on this machine alone.
        cpus: Cores per run.
        gpus: GPUs per run; a fraction lets runs share one.

    Yields:
        `(run, record)`, or `(run, error)` where it failed, as they end.
    """
    import ray

    ray.init(
        address=None if address == "local" else address,
        runtime_env=_environment(address, gpus),
        include_dashboard=False if address == "local" else None,
        log_to_driver=False,
    )
    try:
        _check_resources(ray.cluster_resources(), CPU=cpus, GPU=gpus)
        task = ray.remote(
            num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, max_calls=8
        )(_train)
        records = store.read()
        pending = {
            task.remote(run, data_dir, checkpoints): run
            for run in todo
            if found(records, run) is None
        }
        while pending:
            (ready,), _ = ray.wait(list(pending), num_returns=1)
            run = pending.pop(ready)
            try:
                record = ray.get(ready)
            except ray.exceptions.RayError as error:
                yield run, error
                continue
            store.add(record)
            shutil.rmtree(
                pathlib.Path(checkpoints) / run.key, ignore_errors=True
            )
            yield run, record
    finally:
        ray.shutdown()


def _check_resources(there, **wanted):
    """Refuses what no task would ever get, and so wait for without an end."""
    for name, number in wanted.items():
        if number > there.get(name, 0):
            raise ValueError(
                f"`--{name.lower()}s` must be at most what the cluster has, "
                f"{there.get(name, 0):g}. Received: {number:g}"
            )


def _environment(address, gpus):
    """What the workers need to import this package and find the data."""
    told = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    if gpus < 1:  # shared: nobody may take all of its memory in advance
        told |= {
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        }
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
