"""Where finished runs are kept: a file of one JSON object a line."""

import json
import pathlib

from examples.reproduction.runs import Run
from keras_snn.files import locked, replacing
from keras_snn.recipes import Recipe

FOLDER = pathlib.Path(__file__).parent / "results"


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
        lines = self.path.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            try:
                found = json.loads(line)
                # Named anew: a later version may have more fields, which by
                # default mean what was done without them.
                run = Run(Recipe(**found["recipe"]), found["iterations"])
            except (ValueError, KeyError, TypeError) as error:
                raise Damaged(
                    f"Line {number} of {self.path} must be the record of a "
                    f"run. Received: {type(error).__name__}: {error}"
                ) from error
            records[run.key] = found | {"key": run.key}
        return records

    def add(self, record, again=False):
        """Adds a record, unless one as long of the same path is there.

        Args:
            record: What `runs.train` returns.
            again: Whether it may take the place of one as long.
        """
        with locked(self.path):
            records = self.read()
            before = records.get(record["key"])
            if before and before["iterations"] >= record["iterations"] + again:
                return
            records[record["key"]] = record
            lines = [
                json.dumps(x, separators=(",", ":")) for x in records.values()
            ]
            with replacing(self.path) as partial:
                partial.write_text("\n".join(lines) + "\n")


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
