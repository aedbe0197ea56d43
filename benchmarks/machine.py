"""What the numbers were measured on."""

import datetime
import os
import pathlib
import platform
import subprocess

CPUINFO = pathlib.Path("/proc/cpuinfo")
PRESSURE = pathlib.Path("/proc/pressure")


def describe():
    """Machine, load, system, commit and time, for the results file."""
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "load_average": list(os.getloadavg()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": commit(),
        "time": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
    }


def cores():
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def has_gpu():
    """Whether an NVIDIA GPU is there and not hidden.

    Asked by the parent, which imports no framework, to choose default sizes;
    every worker reports the device that it really runs on.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return pathlib.Path("/dev/nvidiactl").exists() and not hidden


def stalls():
    """Seconds since start-up in which something waited for memory or disk.

    By Linux's pressure stall information; empty where there is none.
    """
    seconds = {}
    for resource in ("memory", "io"):
        path = PRESSURE / resource
        if path.exists():
            some = path.read_text().splitlines()[0]
            seconds[resource] = int(some.split("total=")[1]) / 1e6
    return seconds


def _cpu():
    if CPUINFO.exists():
        for line in CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit(besides=None):
    """The commit of the checkout, with "+" if files have changed since.

    Args:
        besides: A folder, from the top of the checkout, that does not count.

    Returns:
        Text, or `None` where there is no checkout or no git.
    """
    top = pathlib.Path(__file__).parents[1]

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", str(top), *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        left_out = [f":!{besides}"] if besides else []
        changed = git(
            *("status", "--porcelain", "--untracked-files=no"),
            *("--", ".", *left_out),
        )
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
