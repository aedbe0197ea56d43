"""The machine on which the numbers were measured."""

import datetime
import hashlib
import os
import pathlib
import platform
import subprocess
from collections.abc import Sequence
from typing import Any

__all__ = ["commit", "cores", "cpu", "describe", "has_gpu"]

CHECKOUT = pathlib.Path(__file__).parents[1]
# What a commit must change to make results out of date.
ACCURACY = ("keras_snn", "benchmarks", ":!benchmarks/results")
CODE = (*ACCURACY, ":!benchmarks/accuracy.py")
CPUINFO = pathlib.Path("/proc/cpuinfo")
# Variables with these prefixes change what memory and threads cost, and which
# kernels TensorFlow takes.
TUNING = ("MALLOC_", "THP_", "OMP_", "MKL_", "TF_ENABLE_ONEDNN")


def describe(code: Sequence[str] = CODE) -> dict[str, Any]:
    """Returns machine, system, checkout and time as plain JSON values.

    Args:
        code: As in `commit`.
    """
    return {
        "cpu": cpu(),
        "cores": cores(),
        "gpu": _gpu(),
        "load_average": list(os.getloadavg()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(TUNING)
        },
        "commit": commit(code),
        "time": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
    }


def cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu() -> str:
    """Returns the name of the CPU."""
    if CPUINFO.exists():
        for line in CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def has_gpu() -> bool:
    """Says whether an NVIDIA GPU is present and visible.

    The parent uses this to choose default sizes, because it imports no
    framework. Every contender reports the device that it actually uses.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return pathlib.Path("/dev/nvidiactl").exists() and not hidden


def _gpu():
    """Returns the name of the first GPU, or `None`."""
    if not has_gpu():
        return None
    query = "nvidia-smi --query-gpu=name --format=csv,noheader"
    names = _output(query.split()) or "unknown"
    return names.splitlines()[0].strip()


def commit(code: Sequence[str] = CODE) -> str | None:
    """Returns the commit that last changed the code that is measured.

    "+" and a digest follow if tracked files of this code have changed since.

    Args:
        code: Its paths, as `git` takes them.

    Returns:
        The commit, or `None` without git or a repository.
    """
    found = _output(["git", "log", "-1", "--format=%H", "--", *code])
    changes = _output(["git", "diff", "HEAD", "--", *code])
    if not found or changes is None:
        return None
    digest = hashlib.sha1(changes.encode()).hexdigest()[:8]
    return found.strip() + (f"+{digest}" if changes else "")


def _output(command):
    """Returns the output of a command, or `None` if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout
