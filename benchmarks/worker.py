"""The process of one contender: `python -m benchmarks.worker NAME`.

Reads commands as JSON lines from its standard input, on which it sleeps while
others are measured, and answers each with one JSON line. What libraries print
goes to standard error.
"""

import gc
import importlib
import json
import os
import sys
import time

import numpy as np

from benchmarks import contenders, material
from benchmarks.frameworks import FRAMEWORKS
from benchmarks.workloads import Case

# The first step compiles, the second may still allocate or autotune.
WARM_UP = 2


class Worker:
    """Answers the parent's commands for one contender."""

    def __init__(self, name):
        self.name = name
        self.framework = self.contender = self.step = self.before = None

    def hello(self, tf32):
        """Imports the library."""
        backend = contenders.parse(self.name)[1]
        self.framework = FRAMEWORKS[backend](tf32)
        self.contender = contenders.make(self.name, self.framework)
        return {
            "device": self.framework.device(),
            "versions": self.contender.versions(),
        }

    def check(self, case, data, weights, neuron, out):
        """Writes the spikes of every layer; answers with gradient norms."""
        inputs = _inputs(case, data, weights, neuron)
        spikes, norms = self.contender.check(*inputs)
        np.savez(out, *spikes)
        return {"gradient_norms": norms}

    def prepare(self, case, data, weights, neuron):
        """Builds the network and runs the first steps."""
        inputs = _inputs(case, data, weights, neuron)
        start = time.perf_counter()
        self.step = self.contender.prepare(*inputs)
        built = time.perf_counter() - start
        # The arrays in NumPy would be counted, and then go.
        del inputs
        gc.collect()
        self.before = self.framework.in_use()
        start = time.perf_counter()
        first_loss = self.step()
        first = built + time.perf_counter() - start
        return {
            "first_step_s": first,
            "warm_up_s": self.steps(WARM_UP)["times"],
            "first_loss": first_loss,
        }

    def steps(self, count):
        """Times `count` steps, each until the device is done."""
        times = []
        for _ in range(count):
            start = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - start)
        return {"times": times}

    def memory(self):
        """Peak memory of a step above what was there before the first one."""
        self.step()
        if self.before is None or not self.framework.reset_peak():
            return {"peak_bytes": None}
        self.step()
        peak = self.framework.peak()
        extra = None if peak is None else peak - self.before
        return {"peak_bytes": extra, "before_bytes": self.before}


def _inputs(case, data, weights, neuron):
    """What a contender's methods take, read from what the parent wrote."""
    with np.load(data) as file:
        x, y = file["x"], file["y"]
    arrays = material.load(weights)
    return Case.from_json(case), arrays, x, y, material.Neuron(**neuron)


def answer(worker, line):
    """The answer to one command, an error included."""
    command = json.loads(line)
    try:
        return getattr(worker, command.pop("do"))(**command)
    except Exception as error:  # whatever a library does, the parent hears it
        text = " ".join(str(error).split())
        return {"error": f"{type(error).__name__}: {text}"}


def use_checkout(path=None):
    """Imports `keras_snn`, and nothing else, from another checkout."""
    if path is not None:
        sys.path.insert(0, path)
        importlib.import_module("keras_snn")
        sys.path.remove(path)


def main():
    """Serves until the parent closes the pipe."""
    # The pipe is ours alone; prints of libraries must not garble it.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    use_checkout(*sys.argv[2:])
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(answer(worker, line)), file=replies, flush=True)


if __name__ == "__main__":
    main()
