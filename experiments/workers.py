"""Trains runs one after another, or as tasks of a Ray cluster."""

import dataclasses
import os
import pathlib
import shutil

import keras

from experiments import environment
from experiments.recipes import Refused
from experiments.records import Record, Run, Store, find
from experiments.training import Trainer
from keras_snn.files import locked

__all__ = ["Workers"]

RETRIES = 3  # of a Ray task that died
# Settings of Keras and TensorFlow that Ray tasks need as well.
VARIABLES = ("KERAS_HOME", "TFDS_DATA_DIR", "TF_CPP_MIN_LOG_LEVEL")
# Tasks that share a GPU must not reserve all of its memory.
SHARING = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


@dataclasses.dataclass(frozen=True)
class Workers:
    """Trains runs and stores their records.

    Args:
        store: Where the records go.
        checkpoints: Folder for the checkpoints of unfinished runs. For Ray, all
            machines must share it.
        data_dir: Folder of the data, or `None` for the default.
        again: Whether to train and replace what is stored.
    """

    store: Store
    checkpoints: pathlib.Path
    data_dir: str | None = None
    again: bool = False

    def folder(self, run: Run) -> pathlib.Path:
        """Returns the checkpoint folder of a run.

        Its name includes the length, because short runs use fewer test samples.
        """
        name = f"{run.recipe.key}-{run.iterations}-{keras.config.backend()}"
        return self.checkpoints / name

    def train(self, run: Run) -> Record:
        """Trains one run, in this process or in a Ray task."""
        data = run.recipe.load(self.data_dir)
        folder = self.folder(run)
        try:
            return Trainer(run.recipe, data, run.iterations, folder).run()
        finally:
            # One process trains hundreds of networks.
            keras.backend.clear_session()

    def here(self, runs: list[Run]):
        """Trains runs in this process.

        Several processes can share the same runs. Each process leaves the runs
        that others are training for last. By then, they are usually stored.

        Args:
            runs: The runs.

        Yields:
            A run and its record, or the error that ended it.
        """
        busy = []
        for run in runs:
            try:
                yield run, self._once(run, wait=False)
            except BlockingIOError:
                busy.append(run)
        for run in busy:
            yield run, self._once(run)

    def _once(self, run, wait=True):
        folder = self.folder(run)
        with locked(folder, wait):
            record = None if self.again else find(self.store.read(), run)
            if record is None:
                try:
                    record = self.train(run)
                except Exception as error:  # the other runs may succeed
                    return error
                self.store.add(record, self.again)
            shutil.rmtree(folder, ignore_errors=True)
        return record

    def on_ray(self, runs: list[Run], address: str, cpus=1.0, gpus=None):
        """Trains runs as Ray tasks.

        If the process or machine of a task dies, Ray retries the task, which
        resumes from its checkpoint.

        Args:
            runs: The runs.
            address: Address of the cluster, or `"local"` for this machine.
            cpus: Cores per run.
            gpus: GPUs per run. With a fraction, runs share a GPU. `None` means
                one if the cluster has any.

        Yields:
            A run and its record, or the error that ended it.

        Raises:
            Refused: If no machine of the cluster has that many cores or GPUs.
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
            options = {"num_cpus": cpus, "num_gpus": gpus, "max_calls": 8}
            task = ray.remote(max_retries=RETRIES, **options)(_task)
            pending = {task.remote(self, run): run for run in runs}
            while pending:
                (ready,), _ = ray.wait(list(pending), num_returns=1)
                run = pending.pop(ready)
                try:
                    record = ray.get(ready)
                except ray.exceptions.RayError as error:
                    # The task's own error, without Ray's traceback.
                    yield run, getattr(error, "cause", None) or error
                    continue
                # The code on a cluster has no git history.
                commit = environment.COMMIT
                record = dataclasses.replace(record, commit=commit)
                self.store.add(record, self.again)
                shutil.rmtree(self.folder(run), ignore_errors=True)
                yield run, record
        finally:
            ray.shutdown()


def _task(workers, run):
    """Trains a run in a Ray task."""
    # A retry may start while the first attempt still runs.
    with locked(workers.folder(run)):
        return workers.train(run)


def _check_resources(machines, **wanted):
    """Raises if no machine has enough, because tasks would wait forever."""
    for name, number in wanted.items():
        most = max(x.get(name, 0) for x in machines)
        if number > most:
            raise Refused(
                f"`--{name.lower()}s` must be at most {most:g}, which is the "
                f"largest machine of the cluster. Received: {number:g}"
            )


def _environment(address):
    """Returns what tasks need to import this package and find the data."""
    variables = {x: os.environ[x] for x in VARIABLES if x in os.environ}
    variables |= SHARING | {"KERAS_BACKEND": keras.config.backend()}
    if "TFDS_DATA_DIR" in variables:  # tasks start in another folder
        folder = os.path.abspath(variables["TFDS_DATA_DIR"])
        variables["TFDS_DATA_DIR"] = folder
    root = str(environment.ROOT)
    if address == "local":
        paths = [root, os.environ.get("PYTHONPATH")]
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        return {"env_vars": variables}
    return {
        "working_dir": root,
        "excludes": [".git", "results", "docs", "*.png", "*.jsonl"],
        "env_vars": variables,
    }
