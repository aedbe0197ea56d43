"""Where the user keeps a dataset: folders, or the archives of them."""

import os
import pathlib
import zlib

from keras_snn.datasets.archives import unpack
from keras_snn.datasets.cache import cache_dir, digest

# Bytes that hold the directory of the largest published `.zip`.
END = 2**24


def place(name, data_dir, part, suffix, marks=()):
    """Finds one part of a dataset, unpacked or packed.

    Args:
        name: Name of the dataset.
        data_dir: The folder that the user names.
        part: Name of the part: of its folder, and of its archive before the
            suffix. Capital and small letters are one.
        suffix: `".zip"` or `".tar.gz"`.
        marks: Files or folders by any of which `data_dir` is seen to be that
            part itself.

    Returns:
        The path of a folder or of an archive; the folder goes first.
    """
    if data_dir is None:
        raise ValueError(
            f"{name!r} needs `data_dir`, the folder that holds it: {part} or "
            f"{part}{suffix}. Received: data_dir=None"
        )
    data_dir = pathlib.Path(data_dir)
    if not data_dir.is_dir():
        raise ValueError(
            f"`data_dir` must be a folder. Received: data_dir={str(data_dir)!r}"
        )
    if any((data_dir / mark).exists() for mark in marks):
        return data_dir
    there = {path.name.lower(): path for path in sorted(data_dir.iterdir())}
    folder = there.get(part.lower())
    if folder and folder.is_dir():
        return folder
    archive = there.get(f"{part}{suffix}".lower())
    if archive and archive.is_file():
        return archive
    raise ValueError(
        f"`data_dir` must hold {part} or {part}{suffix} for {name!r}. "
        f"Received: data_dir={str(data_dir)!r}"
    )


def opened(found, part):
    """The folder of a part, unpacked into the cache if it is an archive."""
    if found.is_dir():
        return found
    folder = cache_dir() / f"{part}-{digest(fingerprint([found]))}"
    unpack(found, folder)
    inner = folder / part
    return inner if inner.is_dir() else folder


def files(folder, suffix=""):
    """The files anywhere below a folder, in the order of their names.

    Hidden ones, and what a Mac adds to archives, are none.
    """
    return sorted(
        where / each
        for where, _, names in walk(folder)
        for each in names
        if not each.startswith(".") and each.lower().endswith(suffix)
    )


def walk(folder):
    """`os.walk` without the folders that `files` leaves out; yields paths."""
    for where, folders, names in os.walk(folder):
        folders[:] = [
            each for each in folders if not each.startswith((".", "__MACOSX"))
        ]
        yield pathlib.Path(where), folders, names


def text(path):
    """What a list or table of a dataset says.

    Bytes that are no text become signs that nothing is called by, so that
    whoever reads on finds the line and can name it.
    """
    return path.read_text("utf-8", "replace")


def fingerprint(found):
    """Names and sizes of the files of some parts; of texts also what they say.

    Of archives also the end, where the checksums are: one that has been mended
    is another, even if it is as long.

    Args:
        found: Folders and archives.
    """
    listed = []
    for number, part in enumerate(found):
        for path in files(part) if part.is_dir() else [part]:
            # An archive goes by its name, a folder may have any.
            below = part.parent if path == part else part
            name = path.relative_to(below).as_posix()
            row = [number, name, path.stat().st_size]
            if path.suffix in (".txt", ".csv"):
                row.append(zlib.crc32(path.read_bytes()))
            elif path == part:
                row.append(_end(path))
            listed.append(row)
    return listed


def _end(archive):
    with open(archive, "rb") as file:
        file.seek(max(0, archive.stat().st_size - END))
        return zlib.crc32(file.read())
