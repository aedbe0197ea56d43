"""Archives, unpacked as if whoever packed them meant harm."""

import contextlib
import errno
import gzip
import lzma
import os
import pathlib
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib

from keras_snn.files import locked

# The largest of the published archives unpack to some 10 GB and 120,000 files,
# and none to more than ten times its size.
MOST_FILES = 1_000_000
MOST_BYTES = 2**37
MOST_RATIO = 100
# Small archives of nearly nothing compress better than that.
FREE_BYTES = 2**20

BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    gzip.BadGzipFile,
    struct.error,
    EOFError,
    # What `zipfile` and `tarfile` raise on unknown or encrypted members, and on
    # headers of nonsense.
    NotImplementedError,
    RuntimeError,
    UnicodeError,
    ValueError,
    OverflowError,
)
# Of an `OSError`: names that no file can have, places before the beginning of
# the archive, and what a decompressor finds. All else is the disk's fault.
BROKEN_ERRNO = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, None)


def unpack(archive, folder):
    """Unpacks a `.zip` or `.tar.gz` into a folder that is whole or not there.

    Members are files and folders below that folder, or the archive is refused:
    no absolute paths, no `..`, no links, no devices, nothing encrypted or
    compressed but by deflate, no name twice, and neither more files nor more
    bytes than any dataset has.

    Args:
        archive: Path of the archive.
        folder: Folder to make. If it exists, nothing is done.

    Raises:
        ValueError: If the archive is damaged or refused. It names the archive
            and the member, and leaves nothing behind.
    """
    archive, folder = pathlib.Path(archive), pathlib.Path(folder)
    if folder.exists():
        return
    with locked(folder):
        if folder.exists():
            return
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        unpacking = _Unpacking(archive, partial)
        try:
            if archive.suffix.lower() == ".zip":
                _unpack_zip(unpacking)
            else:
                _unpack_tar(unpacking)
            os.replace(partial, folder)
        except (*BROKEN, OSError) as error:
            if isinstance(error, OSError) and error.errno not in BROKEN_ERRNO:
                raise
            where = f", member {unpacking.member!r}" if unpacking.member else ""
            raise ValueError(f"`{archive}`{where}: {error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


class _Unpacking:
    """What of an archive is out, and what has been checked."""

    def __init__(self, archive, folder):
        self.archive, self.folder = archive, folder
        self.member = ""
        self.files = self.bytes = 0
        size = archive.stat().st_size
        self.most = min(MOST_BYTES, MOST_RATIO * size + FREE_BYTES)

    def account(self, size):
        """Counts bytes, and refuses an archive larger than any dataset."""
        self.allow(size)
        self.bytes += size

    def allow(self, size):
        if self.bytes + size > self.most:
            raise ValueError(
                f"the archive unpacks to more than {self.most} bytes, "
                "which is refused."
            )

    def target(self, name):
        """The path of a member, which must lie below the folder."""
        self.member = name
        self.files += 1
        if self.files > MOST_FILES:
            raise ValueError(
                f"the archive has more than {MOST_FILES} members, which is "
                "refused."
            )
        parts = name.removesuffix("/").split("/")
        # A colon is a drive or a stream on Windows; a backslash divides there.
        if {"", ".."} & set(parts) or set(name) & set("\\:\0"):
            raise ValueError(
                "its name leads outside the folder, or is none on every system."
            )
        return self.folder.joinpath(*parts)

    def mkdir(self, target):
        with _once():
            target.mkdir(parents=True, exist_ok=True)

    def write(self, target, source, size):
        with _once():
            target.parent.mkdir(parents=True, exist_ok=True)
            file = open(target, "xb")  # noqa: SIM115
        with file:
            shutil.copyfileobj(source, file, 2**20)
            if file.tell() != size:
                raise ValueError(
                    f"it ends after {file.tell()} of {size} bytes."
                )


@contextlib.contextmanager
def _once():
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ValueError("its name is there twice.") from error


def _unpack_zip(unpacking):
    with zipfile.ZipFile(unpacking.archive) as archive:
        members = archive.infolist()
        # All are looked at before any is written.
        targets = []
        for member in members:
            # `filename` has been changed for this system's sake.
            targets.append(unpacking.target(member.orig_filename))
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError("it is neither a file nor a folder.")
            if member.compress_type not in (
                zipfile.ZIP_STORED,
                zipfile.ZIP_DEFLATED,
            ):
                raise ValueError(
                    "it must be stored or deflated. "
                    f"Received: compression {member.compress_type}"
                )
            if member.flag_bits & 1:
                raise ValueError("it is encrypted.")
            unpacking.account(member.file_size)
        for member, target in zip(members, targets, strict=True):
            unpacking.member = member.orig_filename
            if member.is_dir():
                unpacking.mkdir(target)
                continue
            with archive.open(member) as source:
                unpacking.write(target, source, member.file_size)


class _Counted:
    """A stream that ends the unpacking when too much has come out of it."""

    def __init__(self, file, unpacking):
        self.file, self.unpacking = file, unpacking

    def read(self, size):
        data = self.file.read(size)
        self.unpacking.account(len(data))
        return data


def _unpack_tar(unpacking):
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(gzip.open(unpacking.archive))
        counted = _Counted(plain, unpacking)
        archive = stack.enter_context(
            tarfile.open(fileobj=counted, mode="r|", bufsize=2**16)
        )
        for member in archive:
            target = unpacking.target(member.name)
            if member.isdir():
                unpacking.mkdir(target)
                continue
            if not member.isreg() or member.issparse():
                raise ValueError("it is neither a file nor a folder.")
            unpacking.allow(member.size)
            source = archive.extractfile(member)
            unpacking.write(target, source, member.size)
        # `tarfile` stops at the first block that it does not understand, and
        # never sees the checksum at the end.
        while block := counted.read(2**20):
            if block.strip(b"\0"):
                raise ValueError("behind it the archive is damaged.")
