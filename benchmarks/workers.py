"""One process per contender: both ends of the pipe to it."""

import contextlib
import gc
import importlib
import importlib.metadata
import multiprocessing
import operator
import os
import re
import signal
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import contenders, data, frameworks
from benchmarks.cases import Case

__all__ = ["TIMEOUT", "Failed", "Process", "Worker", "version"]

TIMEOUT = 1800.0
# The first step compiles, the second may still allocate or tune itself.
WARM_UP = 2


class Failed(Exception):
    """Raised if a worker fails. The message says why."""


class Process:
    """The process of a contender, as seen by the parent.

    The process makes a worker and sends the result of its `hello`. Then it
    answers the calls of `ask`.

    Args:
        make: Makes the worker, in the new process, so it must be picklable.
        backend: Keras backend.
        timeout: Seconds within which every answer must arrive.
        threads: Number of cores, or `None` for all.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        backend: str,
        timeout: float = TIMEOUT,
        threads: int | None = None,
    ):
        self.timeout = timeout
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, make, backend, threads), daemon=True
        )
        self.process.start()
        theirs.close()

    def ask(self, do: str, *arguments: Any) -> Any:
        """Calls a method of the worker and returns its result.

        Raises:
            Failed: If the worker reports an error, dies or takes too long.
        """
        with contextlib.suppress(OSError):  # `hear` says what is wrong
            self.pipe.send((do, *arguments))
        return self.hear()

    def hear(self) -> Any:
        """Waits for the next answer. Raises like `ask`."""
        if not self.pipe.poll(self.timeout):
            self.process.kill()
            raise Failed(f"no answer within {self.timeout:g} s")
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            raise Failed(f"the process ended with code {code}") from None
        if isinstance(answer, Failed):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.pipe.close()


class Worker:
    """Measures steps of a contender.

    Args:
        name: Name of the contender.
        backend: Keras backend.
        against: Checkout from which the contender `"against"` takes
            `keras_snn`.
    """

    def __init__(self, name: str, backend: str, against: str | None = None):
        if name == "against":
            sys.path.insert(0, against)
            importlib.import_module("keras_snn")
            sys.path.remove(against)
        self.framework = frameworks.load(contenders.framework(name, backend))
        self.contender = contenders.make(name, self.framework)
        self.step = self.before = None

    def hello(self) -> dict[str, Any]:
        """Returns the device and the versions of the libraries."""
        versions = map(version, self.contender.libraries)
        return {"device": self.framework.device(), "versions": dict(versions)}

    def check(self, case: Case) -> tuple[list[np.ndarray], list[float]]:
        """Returns the spikes of every layer and the norms of the gradients."""
        return self.contender.check(case, data.make(case, exact=True))

    def prepare(self, case: Case) -> dict[str, Any]:
        """Builds the network and runs the first steps."""
        arrays = data.make(case, exact=False)
        start = time.perf_counter()
        self.step = self.contender.prepare(case, arrays)
        built = time.perf_counter() - start
        # The NumPy arrays must not count as memory of a step.
        del arrays
        gc.collect()
        self.before = self.framework.in_use()
        start = time.perf_counter()
        first_loss = self.step()
        first = built + time.perf_counter() - start
        self.steps(WARM_UP)
        return {"first_step_s": first, "first_loss": first_loss}

    def steps(self, count: int) -> list[float]:
        """Returns the times of `count` steps in seconds."""
        times = []
        for _ in range(count):
            start = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - start)
        return times

    def memory(self) -> int | None:
        """Returns the peak memory of a step, above that before the first."""
        self.step()
        peak = self.framework.peak_of(self.step)
        return None if None in (peak, self.before) else peak - self.before


def version(module: types.ModuleType) -> tuple[str, str]:
    """Returns the name and version of an imported library."""
    name = module.__name__
    if hasattr(module, "__version__"):
        return name, module.__version__
    # SpikingJelly does not state its version.
    distribution, *_ = importlib.metadata.packages_distributions()[name]
    return name, importlib.metadata.version(distribution)


def _serve(pipe, make, backend, threads):
    """Makes the worker and answers until the pipe closes. Runs in the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    os.dup2(2, 1)  # libraries must not print into the parent's table
    os.environ |= {
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # Several processes share one GPU.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        if hasattr(os, "sched_setaffinity"):
            # TensorFlow and JAX have as many threads as cores.
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, cores[:threads])

    def answer(function, *arguments):
        try:
            return function(*arguments)
        except Exception as error:
            text = " ".join(str(error).split())
            # Removes folder names, because results are published.
            text = re.sub(r"(/[\w.+-]+)+/", "", text)
            return Failed(f"{type(error).__name__}: {text[:300]}")

    worker = answer(make)
    pipe.send(worker if isinstance(worker, Failed) else answer(worker.hello))
    while True:
        try:
            do, *arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(answer(operator.methodcaller(do, *arguments), worker))
