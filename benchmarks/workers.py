"""The parent's end of the pipes: start a worker, ask it, end it."""

import contextlib
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile

from benchmarks import contenders

ROOT = pathlib.Path(__file__).parents[1]


class Failed(Exception):
    """A worker could not do what it was asked; the message says why."""


class Handle:
    """A worker process.

    Args:
        name: The contender's name.
        timeout: Seconds within which every answer must come.
        keep_memory: Whether it keeps the memory that it frees.
        against: The checkout that `"against/..."` takes `keras_snn` from.
    """

    def __init__(self, name, timeout, keep_memory=False, against=None):
        self.name, self.timeout = name, timeout
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        checkout = [against] if name.startswith("against/") else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, *checkout],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment(name, keep_memory),
        )

    def ask(self, do, **arguments):
        """Sends a command and waits for its answer.

        Raises:
            Failed: If the worker reports an error, ends, or takes too long.
        """
        self.tell(do, **arguments)
        return self.hear(do)

    def tell(self, do, **arguments):
        """Sends a command, whose answer `hear` will return."""
        line = json.dumps({"do": do, **arguments}) + "\n"
        try:
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
        except OSError as error:
            raise Failed(self._ended()) from error

    def hear(self, do):
        """Waits for the answer to a command that was sent."""
        # A worker answers one line at a time, so that none waits in a buffer.
        ready, _, _ = select.select([self.process.stdout], [], [], self.timeout)
        if not ready:
            self.process.kill()
            raise Failed(f"no answer to {do!r} within {self.timeout:g} s")
        reply = self.process.stdout.readline()
        if not reply:
            raise Failed(self._ended())
        reply = json.loads(reply)
        if "error" in reply:
            raise Failed(reply["error"])
        return reply

    def _ended(self):
        code = self.process.wait()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"the worker ended with code {code}: {last.strip()[:200]}"

    def close(self):
        """Ends the process."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


# For glibc: nothing is given back to the system, all comes from one heap.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_ARENA_MAX": "1",
}


def environment(name, keep_memory):
    """The environment variables of a worker."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "KERAS_BACKEND": contenders.parse(name)[1],
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # Several processes share one GPU.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        **(KEEP_MEMORY if keep_memory else {}),
    }


@contextlib.contextmanager
def started(labels, plan, tf32, failures):
    """Starts workers, and ends them in any event.

    Args:
        labels: Contenders' names by label.
        plan: The `measure.Plan`.
        tf32: Whether float32 products may be rounded to TF32.
        failures: Dictionary to which the reasons of those that fail are added.

    Yields:
        `(handles, hellos)`: the `Handle` and the first answer, by label.
    """
    handles, hellos = {}, {}
    with contextlib.ExitStack() as stack:
        for label, name in labels.items():
            package = contenders.missing(name)
            if package is not None:
                failures[label] = f"{package} is not installed"
                continue
            handles[label] = Handle(
                name, plan.timeout, plan.keep_memory, plan.against
            )
            stack.callback(handles[label].close)
        # Imports take seconds, and are not timed: all at once.
        for do in (_say_hello, _hear_hello):
            for label, handle in list(handles.items()):
                try:
                    hellos[label] = do(handle, tf32)
                except Failed as failure:
                    failures[label] = str(failure)
                    del handles[label]
        yield handles, hellos


def _say_hello(handle, tf32):
    handle.tell("hello", tf32=tf32)


def _hear_hello(handle, tf32):
    del tf32
    return handle.hear("hello")
