"""The measurements of `docs/speed.md`, as command lines."""

from collections.abc import Iterable
from typing import Any

from benchmarks import contenders

__all__ = ["commands", "stored"]

# What must be the same for a result to be up to date.
SAME = ("cpu", "cores", "gpu", "commit")


def commands(on_gpu: bool) -> list[str]:
    """Returns the flags of all runs, the most important ones first.

    They should take about 25 minutes on two cores, or on a GPU.

    Args:
        on_gpu: Whether to list the runs for a GPU.
    """
    if not on_gpu:
        return [
            f"--workload {name} --backend {backend} --rounds 5 --steps 3"
            for name in ("W0", "W4", "W2", "W5", "W3", "W1")
            for backend in contenders.BACKENDS
        ]
    backends = ("torch", "jax")
    neurons = [
        f"--workload W2 --backend {backend} --dtype {dtype} "
        # Arrays of half a gigabyte in float32, so that memory is the limit.
        f"--timesteps {timesteps} --batch {2048 // timesteps}"
        for dtype in ("float32", "mixed_float16", "mixed_bfloat16")
        for timesteps in (4, 8, 16, 32)
        for backend in backends
    ]
    return neurons + [
        f"--workload {name} --backend {backend}"
        for name in ("W0", "W4", "W5", "W3", "W1")
        for backend in backends
    ]


def stored(
    files: Iterable[dict[str, dict[str, Any]]],
    key: str,
    backend: str,
    described: dict[str, Any],
) -> bool:
    """Says whether a case was measured here, with this code.

    Args:
        files: From `results.load`.
        key: `Case.key`.
        backend: Keras backend.
        described: From `machine.describe`.
    """
    now = [described[name] for name in SAME]
    return described["commit"] is not None and any(
        key in file
        and file[key]["backend"] == backend
        and [file[key]["machine"].get(name) for name in SAME] == now
        for file in files
    )
