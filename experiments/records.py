"""Runs, their records, and the files that store them."""

import dataclasses
import json
import math
import os
import pathlib
from typing import Any

import numpy as np

from experiments import environment
from experiments.recipes import Recipe
from keras_snn import datasets
from keras_snn.files import locked, replacing

__all__ = [
    "FOLDER",
    "LAST",
    "TRAINS",
    "Damaged",
    "Measurements",
    "Record",
    "Run",
    "Store",
    "find",
    "trains",
]

FOLDER = pathlib.Path(__file__).parent / "results"
LAST = 20  # iterations averaged at the end of a curve
# A network trains if its training accuracy is this many times that of chance.
# Always predicting the most frequent digit gives 1.1, with a standard deviation
# of 0.1 over 20 batches of 64.
TRAINS = 1.5


@dataclasses.dataclass(frozen=True)
class Run:
    """A recipe and how far to train it.

    Args:
        recipe: What to train. Its epochs set the schedule, not the end.
        iterations: Where to stop. 0 only measures the untrained network.
    """

    recipe: Recipe
    iterations: int

    def __str__(self):
        """Describes the run in one line."""
        recipe = self.recipe
        options = " ".join(str(x) for x in recipe.network.values())
        return (
            f"{recipe.key} {recipe.data['name']} {options} "
            f"{recipe.training.optimizer} seed {recipe.seed}, "
            f"{self.iterations} iterations"
        )


@dataclasses.dataclass(frozen=True)
class Record:
    """The results of a run.

    Args:
        recipe: The recipe.
        iterations: Number of iterations.
        lost: Iteration at which the loss became NaN or infinite, or `None`.
        to_60: First iteration with a training accuracy of 60 %, or `None`.
        train_samples: Number of training samples.
        test_samples: Number of test samples.
        tested: Pairs of an iteration and the number of correct test samples.
        rates: Iterations of the measurements under `"iteration"`, and firing
            rates of each layer under its name.
        loss: Loss of each of the first 3000 iterations.
        accuracy: Training accuracy of the same iterations.
        later: Means of loss and accuracy of the following iterations, each over
            `"every"` iterations.
        seconds: Duration.
        backend: Keras backend.
        versions: Version of each package.
        device: Accelerator or CPU.
        cores: Number of cores.
        commit: Commit of the checkout.
        time: Time when the run ended.
    """

    recipe: Recipe
    iterations: int
    lost: int | None
    to_60: int | None
    train_samples: int
    test_samples: int
    tested: list
    rates: dict[str, list]
    loss: list
    accuracy: list
    later: dict[str, Any]
    seconds: float
    backend: str
    versions: dict[str, str]
    device: str
    cores: int
    commit: str | None
    time: str

    @classmethod
    def from_json(cls, line: str) -> "Record":
        """Reads a record from a line of JSON."""
        fields = json.loads(line)
        return cls(**fields | {"recipe": Recipe.from_dict(fields["recipe"])})

    def to_json(self) -> str:
        """Writes the record as a line of JSON."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @property
    def key(self) -> str:
        """The recipe's key."""
        return self.recipe.key

    @property
    def published_samples(self) -> int:
        """Number of training samples of the published dataset."""
        return datasets.INFO[self.recipe.data["name"]].train_samples

    @property
    def partial(self) -> bool:
        """Whether training samples were missing."""
        return self.train_samples < self.published_samples

    def curve(self, name: str, limit: float = math.inf):
        """Returns loss or accuracy over the iterations.

        Args:
            name: `"loss"` or `"accuracy"`.
            limit: Iteration at which to stop.

        Returns:
            Two arrays, iterations and values. They hold every iteration first
            and the means after that, each mean at its last iteration.
        """
        first, later = getattr(self, name), self.later[name]
        end = self.lost - 1 if self.lost else self.iterations
        means = len(first) + self.later["every"] * np.arange(1, len(later) + 1)
        at = np.concatenate(
            [np.arange(1, len(first) + 1), np.minimum(means, end)]
        )
        return at[at <= limit], np.concatenate([first, later])[at <= limit]

    def accuracy_at(self, iteration: float) -> float:
        """Returns the mean training accuracy of the 20 iterations up to one.

        It is 0 once the loss is NaN or infinite. Where only means are stored,
        it is the last mean.
        """
        if self.lost and self.lost <= iteration:
            return 0.0
        at, values = self.curve("accuracy", iteration)
        return float(values[at > at[-1] - LAST].mean())

    def test_accuracy(self, iteration: int | None = None) -> float | None:
        """Returns the test accuracy at an iteration, by default the last.

        It is 0 once the loss is NaN or infinite, and `None` without a test.
        """
        if self.lost and self.lost <= (iteration or math.inf):
            return 0.0
        for at, hits in reversed(self.tested):
            if iteration in (None, at):
                return hits / self.test_samples
        return None

    def reached(self, limit: float) -> int | None:
        """Returns `to_60` if it is within a limit, or `None`."""
        return self.to_60 if self.to_60 and self.to_60 <= limit else None


def trains(records: list[Record], iteration: float) -> bool:
    """Says whether a network trains, on average over its seeds."""
    chance = 1 / datasets.INFO[records[0].recipe.data["name"]].classes
    mean = np.mean([record.accuracy_at(iteration) for record in records])
    return bool(mean >= TRAINS * chance)


class Damaged(ValueError):
    """Raised if a stored line or file cannot be read."""


class Store:
    """The file of finished runs: one JSON object per line.

    Of each recipe, it keeps the run on the most training samples, and the
    longest of these. Several processes may add to it.

    Args:
        folder: Folder of `runs.jsonl`.
    """

    def __init__(self, folder: str | os.PathLike[str] = FOLDER):
        self.path = pathlib.Path(folder) / "runs.jsonl"

    def read(self) -> dict[str, Record]:
        """Returns all records, by the keys of their recipes.

        Raises:
            Damaged: If a line is not a record.
        """
        if not self.path.exists():
            return {}
        records = {}
        for number, line in enumerate(self.path.read_bytes().splitlines(), 1):
            try:
                record = Record.from_json(line.decode())
            except (ValueError, KeyError, TypeError) as error:
                raise Damaged(
                    f"Line {number} of `{self.path}` must be the record of a "
                    "run. Delete the line to train the run again. Received: "
                    f"{type(error).__name__}: {error}"
                ) from error
            records[record.key] = record
        return records

    def add(self, record: Record, again: bool = False) -> None:
        """Adds a record, unless the stored one of its recipe is kept.

        Args:
            record: The record.
            again: Whether to replace a stored record of the same length.
        """
        # A lock of its own: without one, `replacing` would not notice that
        # another process has added a record since `read`.
        with locked(self.path.with_name(f"{self.path.name}.add")):
            records = self.read()
            known = records.get(record.key)
            if known is not None:
                old, new = (
                    (x.train_samples, x.iterations) for x in (known, record)
                )
                if old > new or (old == new and not again):
                    return
            records[record.key] = record
            lines = [x.to_json() + "\n" for x in records.values()]
            with replacing(self.path) as partial:
                partial.write_text("".join(lines), encoding="utf-8")


class Measurements:
    """A file of measurements that are not runs: a list of JSON objects.

    Several processes may add to it. It keeps the first of equal measurements.

    Args:
        path: The file.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)

    def read(self) -> list[dict[str, Any]]:
        """Returns all measurements, none if there is no file.

        Raises:
            Damaged: If the file is not a list of objects.
        """
        if not self.path.exists():
            return []
        try:
            rows = json.loads(self.path.read_bytes())
        except ValueError as error:
            rows = error
        if not (
            isinstance(rows, list)
            and rows
            and all(isinstance(row, dict) for row in rows)
        ):
            raise Damaged(
                f"`{self.path}` must be a list of JSON objects, not empty. "
                f"Delete it to measure again. Received: {str(rows)[:80]}"
            )
        return rows

    def has(self, key: dict[str, Any]) -> bool:
        """Says whether a measurement is stored.

        Args:
            key: The fields that say what is measured.
        """
        return any(key.items() <= row.items() for row in self.read())

    def add(self, key: dict[str, Any], values: dict[str, Any]) -> None:
        """Adds a measurement and where it was made, unless it is stored.

        Args:
            key: The fields that say what is measured.
            values: What was measured.
        """
        with locked(self.path.with_name(f"{self.path.name}.add")):
            if self.has(key):  # another process was faster
                return
            rows = [*self.read(), key | values | environment.describe()]
            with replacing(self.path) as partial:
                lines = ",\n".join(json.dumps(each) for each in rows)
                partial.write_text(f"[\n{lines}\n]\n")


def find(records: dict[str, Record], run: Run) -> Record | None:
    """Returns the record that contains a run, or `None`."""
    record = records.get(run.recipe.key)
    if record and record.iterations >= run.iterations:
        return record
    return None
