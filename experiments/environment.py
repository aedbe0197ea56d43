"""What the numbers of a run depend on, besides the recipe."""

import datetime
import importlib
import pathlib
import subprocess
from typing import Any

import keras

from benchmarks import machine

__all__ = ["COMMIT", "describe", "versions"]

ROOT = pathlib.Path(__file__).parents[1]


def _commit() -> str | None:
    """Returns the checkout's commit, or `None` without git.

    A `+` marks uncommitted changes, except to stored results.
    """

    def git(*words):
        run = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, check=True
        )
        return run.stdout.decode().strip()

    try:
        changed = git("status", "-s", "-uno", ".", ":!experiments/results")
        return git("rev-parse", "HEAD") + "+" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return None


# Read on import, because the checkout may change while the program runs.
COMMIT = _commit()


def describe() -> dict[str, Any]:
    """Returns the fields of a `Record` that say where and when it was made."""
    return {
        "backend": keras.config.backend(),
        "versions": versions(),
        "device": _device(),
        "cores": machine.cores(),
        "commit": COMMIT,
        "time": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
    }


def _device():
    """Returns the name of the accelerator, or of the CPU."""
    backend = keras.config.backend()
    framework = importlib.import_module(backend)
    if backend == "jax" and framework.default_backend() != "cpu":
        return framework.devices()[0].device_kind
    if backend == "torch" and framework.cuda.is_available():
        return framework.cuda.get_device_name()
    if backend == "tensorflow":
        for gpu in framework.config.list_physical_devices("GPU"):
            details = framework.config.experimental.get_device_details(gpu)
            return details.get("device_name", "GPU")
    return machine.cpu()


def versions() -> dict[str, str]:
    """Returns the versions of Keras, its backend and this package."""
    import keras_snn

    backend = keras.config.backend()
    return {
        "keras": keras.__version__,
        "keras_snn": keras_snn.__version__,
        backend: importlib.import_module(backend).__version__,
    }
