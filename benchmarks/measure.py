"""Measures the contenders of a case: check, rounds, memory."""

import contextlib
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from benchmarks import check, contenders, data, machine
from benchmarks.cases import Case
from benchmarks.workers import Failed, Process, Worker

__all__ = ["Race", "import_times", "measure", "ratios", "summary", "verify"]

# The threads of the previous contender keep spinning for a moment.
PAUSE = 0.05
# The caches hold the data of the previous contender: a turn's first step is
# not timed.
UNTIMED = 1
# Run in a fresh process.
IMPORTS = """
from time import perf_counter

start = perf_counter()
import keras

between = perf_counter()
import keras_snn

print(between - start, perf_counter() - between)
"""
IMPORT_RUNS = 3
# Fields of a case to store.
FIELDS = ("name", "title", "input_shape", "batch", "timesteps", "dtype")


def measure(
    case: Case,
    names: Iterable[str],
    backend: str,
    rounds: int = 10,
    steps: int = 3,
    against: str | None = None,
    verified: Callable | None = None,
) -> dict[str, Any]:
    """Measures contenders in turns.

    Args:
        case: The `Case`.
        names: Names of the contenders.
        backend: Keras backend.
        rounds: Number of turns of every contender.
        steps: Timed steps per turn.
        against: Checkout from which `"against"` takes `keras_snn`.
        verified: What to call instead of `verify`.

    Returns:
        The result as plain JSON values, times in seconds.

    Raises:
        check.Different: If contenders do not compute the same.
    """
    described = machine.describe()
    checked, failed = (verified or verify)(
        data.checked_case(case), tuple(names), backend, against
    )
    names = [name for name in names if name not in failed]
    imports = {"import_s": import_times(backend)} if case.imports else {}
    # New processes, because the first step must run in a fresh one.
    with Race.of_steps(names, backend, against) as race:
        rows = race.hellos
        for name, answer in race.ask("prepare", case):
            rows[name] |= answer
        times = race.rounds(rounds, steps)
        for name, peak in race.ask("memory"):
            rows[name]["peak_bytes"] = peak
    rows = {name: rows[name] for name in names if name in race.processes}
    for name, row in rows.items():
        row["step_s"] = summary(sum(times[name], []))
        references = contenders.references(name)
        if rows.keys() >= set(references):
            row["of"] = list(references)
            others = [times[reference] for reference in references]
            row["ratio"] = ratios(times[name], *others)
    return {
        "case": {x: getattr(case, x) for x in FIELDS},
        "backend": backend,
        "machine": described,
        "rounds": rounds,
        "steps": steps,
        "check": checked,
        "contenders": rows,
        "failed": failed | race.failed,
        **imports,
    }


def verify(
    case: Case, names: Iterable[str], backend: str, against: str | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Compares the spikes and gradients of contenders on a short case.

    Args:
        case: From `data.checked_case`.
        names: Names of the contenders. Those without the spikes of `LIF` are
            left out. A single one is compared with Keras's RNN.
        backend: Keras backend.
        against: Checkout from which `"against"` takes `keras_snn`.

    Returns:
        Shape, number of spikes, firing rates and gradient norms, empty if all
        contenders failed; and why some failed.

    Raises:
        check.Different: If contenders do not compute the same.
    """
    spiking = list(filter(contenders.has_spikes_of_lif, names))
    if len(spiking) == 1:
        spiking.append("rnn")  # something to compare with
    with Race.of_steps(spiking, backend, against) as race:
        answers = dict(race.ask("check", case))
    if not answers:
        return {}, race.failed
    spikes = {name: spikes for name, (spikes, _) in answers.items()}
    norms = {name: norms for name, (_, norms) in answers.items()}
    first = next(iter(spikes.values()))
    rates = check.firing_rates(case, first)
    check.same_spikes(case, spikes)
    check.same_gradients(norms)
    checked = {
        "input_shape": (case.batch, case.timesteps, *case.input_shape),
        "spikes": sum(int(layer.sum()) for layer in first),
        "firing_rates": rates,
        "gradient_norms": norms,
    }
    return checked, race.failed


def import_times(backend: str) -> dict[str, dict[str, float]]:
    """Returns the seconds of `import keras`, and then `import keras_snn`."""
    command = [sys.executable, "-c", IMPORTS]
    options = {"capture_output": True, "check": True, "cwd": machine.CHECKOUT}
    environment = os.environ | {"KERAS_BACKEND": backend}
    # pip compiles what it installs. The first import compiles the checkout.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times = []
    for _ in range(1 + IMPORT_RUNS):
        done = subprocess.run(command, env=environment, **options)
        times.append([float(word) for word in done.stdout.split()[-2:]])
    keras, ours = zip(*times[1:], strict=True)
    return {"keras": summary(keras), "keras_snn": summary(ours)}


class Race(contextlib.ExitStack):
    """Contenders that take turns, each in a new process.

    The processes end with the context. A contender that fails leaves the race,
    and `failed` says why.

    Args:
        makes: Maps the name of each contender to what makes its worker.
        backend: Keras backend.
        **options: Others of `Process`.
    """

    def __init__(
        self, makes: dict[str, Callable], backend: str, **options: Any
    ):
        super().__init__()
        self.processes, self.failed = {}, {}
        # All start at once, because imports take seconds and are not timed.
        for name, make in makes.items():
            process = contextlib.closing(Process(make, backend, **options))
            self.processes[name] = self.enter_context(process)
        self.hellos = dict(self._each(Process.hear))

    @classmethod
    def of_steps(
        cls, names: Iterable[str], backend: str, against: str | None = None
    ) -> "Race":
        """Starts contenders that measure steps.

        Args:
            names: Names of the contenders.
            backend: Keras backend.
            against: Checkout from which `"against"` takes `keras_snn`.
        """
        makes, failed = {}, {}
        for name in names:
            package = contenders.missing(name, backend)
            if package:
                failed[name] = f"{package} is not installed"
            else:
                makes[name] = functools.partial(Worker, name, backend, against)
        race = cls(makes, backend)
        race.failed |= failed
        return race

    def _each(self, question):
        for name in list(self.processes):
            try:
                yield name, question(self.processes[name])
            except Failed as failure:
                _say(f"{name} failed: {failure}")
                self.failed[name] = str(failure)
                del self.processes[name]

    def ask(self, do: str, *arguments: Any) -> Iterator[tuple[str, Any]]:
        """Yields the name and the answer of one contender after another."""
        for name, answer in self._each(lambda x: x.ask(do, *arguments)):
            _say(f"{do}: {name}")
            yield name, answer

    def rounds(self, rounds: int, steps: int) -> dict[str, list[list[float]]]:
        """Returns the times of every round, for every contender.

        Each round starts with a different contender, so no contender always
        follows the same one.
        """
        times = {name: [] for name in self.processes}

        def turn(process):
            time.sleep(PAUSE)
            return process.ask("steps", UNTIMED + steps)[UNTIMED:]

        for number in range(rounds):
            _say(f"round {number + 1} of {rounds}")
            for name, answer in self._each(turn):
                times[name].append(answer)
            if self.processes:
                first = next(iter(self.processes))
                self.processes[first] = self.processes.pop(first)
        return times


def _say(text):
    print(f"... {text}", file=sys.stderr, flush=True)


def summary(values: Iterable[float]) -> dict[str, float]:
    """Returns the median, the quartiles and the range of numbers.

    Example:
    >>> summary([4.0, 1.0, 3.0, 2.0, 5.0])
    {'min': 1.0, 'q1': 2.0, 'median': 3.0, 'q3': 4.0, 'max': 5.0}
    """
    names = ("min", "q1", "median", "q3", "max")
    quantiles = np.quantile(list(values), (0, 0.25, 0.5, 0.75, 1))
    return dict(zip(names, quantiles.tolist(), strict=True))


def ratios(
    rounds: Iterable[list[float]], *references: Iterable[list[float]]
) -> dict[str, float]:
    """Summarizes the ratios of the times of contenders.

    All medians of a ratio come from the same round, so a slow minute of the
    machine favors none.

    Args:
        rounds: Times of the contender in every round.
        *references: Times of other contenders in every round. The ratio refers
            to the sum of their medians.

    Example:
    >>> ratios([[2.0], [6.0]], [[1.0], [2.0]])["median"]
    2.5
    """
    return summary(
        np.median(times) / sum(map(np.median, others))
        for times, *others in zip(rounds, *references, strict=True)
    )
