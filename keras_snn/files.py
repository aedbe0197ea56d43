"""Files that are whole or not there."""

import contextlib
import os
import pathlib
import tempfile


@contextlib.contextmanager
def replacing(path):
    """Yields a path to write to, which becomes `path` if all went well.

    A run killed while writing, or an error, leaves `path` as it was.

    Args:
        path: The file to write or replace; missing folders are made.

    Yields:
        A `pathlib.Path` in the same folder, with the same suffix.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        partial = pathlib.Path(folder) / path.name
        yield partial
        os.replace(partial, path)
