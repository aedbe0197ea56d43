"""Unpacks archives, which may be damaged or malicious."""

import gzip
import pathlib
import shutil
import stat
import tarfile
import zipfile

from keras_snn.datasets.cache import create_once
from keras_snn.files import damage

__all__ = ["unpack"]

# The published archives unpack to at most 10 GB, and at most ten times their
# size.
MOST_BYTES = 2**37
MOST_RATIO = 100
# Small archives may compress better.
FREE_BYTES = 2**20


def unpack(archive, folder):
    """Unpacks a `.zip`, `.tar.gz` or `.gz` file into a new folder.

    Args:
        archive: Path of the archive.
        folder: Path of the folder. If it exists, nothing is done.

    Raises:
        ValueError: If the archive is damaged, unpacks to far more than its own
            size, or has links, devices, encrypted members or members outside
            the folder. In this case no files are left behind.
    """

    def create(partial):
        shutil.rmtree(partial, ignore_errors=True)
        most = MOST_RATIO * archive.stat().st_size + FREE_BYTES
        name = archive.name.lower()
        suffix = next(x for x in UNPACKERS if name.endswith(x))
        try:
            with damage(f"`{archive}` cannot be unpacked: replace it."):
                partial.mkdir()
                UNPACKERS[suffix](archive, partial, min(most, MOST_BYTES))
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    create_once(folder, create)


def _unzip(path, folder, most):
    with zipfile.ZipFile(path) as archive:
        size = 0
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
            # `zipfile` writes at most the size that the member states.
            size += member.file_size
            _check(member.filename, plain, size, most)
        archive.extractall(folder)


def _untar(path, folder, most):
    with gzip.open(path) as file:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            size = 0
            for member in archive:
                plain = member.isdir() or member.isreg()
                size += member.size
                _check(member.name, plain and not member.issparse(), size, most)
                archive.extract(member, folder, filter="data")
        # gzip checks the checksum when it reaches the end of the file.
        while file.read(2**20):
            pass


def _gunzip(path, folder, most):
    with gzip.open(path) as source, open(folder / path.stem, "wb") as target:
        size = 0
        while block := source.read(2**20):
            size += len(block)
            _check(path.stem, True, size, most)
            target.write(block)


# `.gz` also ends names in `.tar.gz`, so it comes last.
UNPACKERS = {".zip": _unzip, ".tar.gz": _untar, ".gz": _gunzip}


def _check(name, plain, size, most):
    path = pathlib.PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"Member {name!r} leads outside the folder.")
    if not plain:
        raise ValueError(f"Member {name!r} is neither a file nor a folder.")
    if size > most:
        raise ValueError(f"With member {name!r}, it exceeds {most} bytes.")
