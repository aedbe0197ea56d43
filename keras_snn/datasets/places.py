"""Finds the files of a dataset in the folder that the user names."""

import pathlib

from keras_snn.datasets.archives import unpack
from keras_snn.datasets.cache import cache_dir, digest
from keras_snn.files import damage

__all__ = ["child", "fingerprint", "labelled", "lines", "opened", "place"]


def place(name, data_dir, part, suffixes=(), marks=()):
    """Finds one part of a dataset, as it is or as an archive.

    Args:
        name: Name of the dataset.
        data_dir: The folder that the user names.
        part: Name of the part's folder or file, and of its archive without
            suffix.
        suffixes: Suffixes that the archive may have.
        marks: Names of files. If `data_dir` holds one of them, `data_dir` is
            the part itself.
    """
    found, names = None, [part, *(part + suffix for suffix in suffixes)]
    if data_dir is not None and pathlib.Path(data_dir).is_dir():
        folder = pathlib.Path(data_dir)
        if any(child(folder, mark) for mark in marks):
            return folder
        matches = (child(folder, each) for each in names)
        found = next(filter(None, matches), None)
    if found is None:
        raise ValueError(
            f"`data_dir` must be a folder with {' or '.join(names)} for "
            f"{name!r}. Received: data_dir={data_dir!r}"
        )
    return found


def child(folder, name):
    """Finds a file or folder by name, ignoring case, or returns `None`."""
    return {x.name.lower(): x for x in folder.iterdir()}.get(name.lower())


def opened(found, part):
    """Returns the folder or file of a part. Unpacks archives into the cache."""
    if found.is_dir() or found.name.lower() == part.lower():
        return found
    folder = cache_dir() / f"{part}-{fingerprint([found])}"
    unpack(found, folder)
    return child(folder, part) or folder


def fingerprint(found):
    """Hashes sizes and times of archives, or of files in folders by name."""
    rows = []
    for part in found:
        for path in _files(part) if part.is_dir() else [part]:
            name, stat = path.relative_to(part).as_posix(), path.stat()
            rows.append((name, stat.st_size, stat.st_mtime_ns))
    return digest(rows)


def labelled(folder, label, *suffixes):
    """Lists the files of a class as rows for `prepared`, sorted by name."""
    paths = [x for x in _files(folder) if x.suffix.lower() in suffixes]
    if not paths:
        raise ValueError(
            f"`{folder}` must hold files *{' or *'.join(suffixes)} of a class."
        )
    return [(path, (label,), None) for path in paths]


def lines(path):
    """Returns the nonempty lines of a text file, with their numbers."""
    with damage(f"`{path}` must be a nonempty text file. Copy it again."):
        text = enumerate(path.read_text("utf-8").splitlines(), 1)
        found = [(number, line) for number, line in text if line.strip()]
        if not found:
            raise ValueError("no lines")
    return found


def _files(folder):
    # Hidden files, such as `.DS_Store` and `._1.bin`, belong to the system.
    paths = (x for x in folder.rglob("*") if not x.name.startswith("."))
    return sorted(x for x in paths if not x.is_dir())
