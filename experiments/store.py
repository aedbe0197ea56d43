"""Where finished runs are kept: a file of one JSON object a line."""

import dataclasses
import json
import pathlib

from experiments.runs import Run
from keras_snn.files import replacing
from keras_snn.recipes import Recipe

FOLDER = pathlib.Path(__file__).parent / "results"
# What a record is not read without.
FIELDS = {
    *("recipe", "iterations", "lost", "to_60", "train_samples"),
    *("test_samples", "tested", "rates", "loss", "accuracy", "later"),
    *("seconds", "backend", "versions", "device", "commit"),
}


class Damaged(ValueError):
    """A line of the file is no record."""


class Store:
    """Finished runs, the longest of every path.

    The file is replaced as a whole, so that it is never half-written, and by
    one process at a time: several may add to it.

    Args:
        folder: Where `runs.jsonl` is, or will be.
    """

    def __init__(self, folder=FOLDER):
        self.path = pathlib.Path(folder) / "runs.jsonl"

    def read(self):
        """All records, as a dictionary from their keys.

        Returns:
            Dictionary from the key of a run to its record.

        Raises:
            Damaged: If a line is no record.
        """
        if not self.path.exists():
            return {}
        records = {}
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise Damaged(
                f"{self.path} must be a file of JSON lines. Received: "
                f"{type(error).__name__}: {error}"
            ) from error
        for number, line in enumerate(lines, 1):
            try:
                found = json.loads(line)
                # Named anew: a later version may have more fields, which by
                # default mean what was done without them.
                run = Run(Recipe(**found["recipe"]), found["iterations"])
                if missing := FIELDS - found.keys():
                    raise ValueError(f"{', '.join(sorted(missing))} missing")
            except (ValueError, KeyError, TypeError) as error:
                raise Damaged(
                    f"Line {number} of {self.path} must be the record of a "
                    "run: delete the line, and the run is trained again. "
                    f"Received: {type(error).__name__}: {error}"
                ) from error
            recipe = dataclasses.asdict(run.recipe)
            records[run.key] = found | {"key": run.key, "recipe": recipe}
        return records

    def add(self, record, again=False):
        """Adds a record, unless one as long of the same path is there.

        Args:
            record: What `runs.train` returns.
            again: Whether it may take the place of one as long.
        """
        # One process at a time, from reading to writing.
        with replacing(self.path) as partial:
            records = self.read()
            before = records.get(record["key"], {"iterations": -1})
            if before["iterations"] < record["iterations"] + again:
                records[record["key"]] = record
            lines = [
                json.dumps(x, separators=(",", ":")) for x in records.values()
            ]
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def found(records, run):
    """The record that has a run in it, or `None`.

    Args:
        records: What `Store.read` returns.
        run: A `Run`.

    Returns:
        A record of the same path, as long as the run or longer.
    """
    record = records.get(run.key)
    if record and record["iterations"] >= run.iterations:
        return record
    return None
