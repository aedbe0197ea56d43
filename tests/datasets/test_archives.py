"""Archives that are damaged or mean harm leave nothing, and are named."""

import io
import os
import stat
import tarfile
import zipfile

import pytest

from keras_snn.datasets import archives
from keras_snn.datasets.archives import unpack

FILES = {"Train/0/a.bin": b"abcde", "Train/1/b.bin": b"12345" * 999}
PLAIN = {"a.bin": b"abcde"}


def zipped(path, files, mode=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", mode) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def packed(kind, folder, files):
    if kind == "zip":
        return zipped(folder / "a.zip", files)
    return tarred(folder / "a.tar.gz", files)


def added(folder, **fields):
    """An archive with a first good member, and one of other kind."""
    path = folder / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("a.bin")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"abcde"))
        info = tarfile.TarInfo("bad")
        for name, value in fields.items():
            setattr(info, name, value)
        archive.addfile(info)
    return path


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(archive, where, why):
    """Unpacks into an empty folder, which has to stay empty."""
    before = contents(archive.parent)
    inside = archive.parent / "cache"
    with pytest.raises(ValueError, match=why) as caught:
        unpack(archive, inside / "out")
    member = f", member {where!r}" if where else ""
    assert str(caught.value).startswith(f"`{archive}`{member}: ")
    assert list(inside.iterdir()) == []
    assert contents(archive.parent) == before
    # Neither beside nor above it.
    assert {path.name for path in archive.parent.iterdir()} == {
        archive.name,
        "cache",
    }


@pytest.fixture(params=["zip", "tar"])
def kind(request):
    return request.param


@pytest.fixture
def folder(tmp_path):
    inner = tmp_path / "below" / "data"
    inner.mkdir(parents=True)
    yield inner
    assert list(tmp_path.iterdir()) == [tmp_path / "below"]
    assert list(inner.parent.iterdir()) == [inner]


def test_what_is_in_comes_out(kind, folder):
    archive = packed(kind, folder, FILES)
    unpack(archive, folder / "cache" / "out")
    assert contents(folder / "cache") == {
        f"out/{name}": content for name, content in FILES.items()
    }


def test_folders_are_members_too(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.mkdir("Train")
        archive.writestr("Train/a.bin", b"abcde")
    unpack(folder / "a.zip", folder / "one")
    with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("./Train/")
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
        info = tarfile.TarInfo("./Train/a.bin")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"abcde"))
    unpack(folder / "a.tar.gz", folder / "two")
    for each in ("one", "two"):
        assert contents(folder / each) == {"Train/a.bin": b"abcde"}


def test_what_is_unpacked_stays(kind, folder):
    archive = packed(kind, folder, FILES)
    unpack(archive, folder / "out")
    archive.write_bytes(b"")
    unpack(archive, folder / "out")
    assert contents(folder / "out") == FILES


def test_what_a_killed_run_left_is_cleared(kind, folder):
    archive = packed(kind, folder, FILES)
    (folder / "out.partial").mkdir()
    (folder / "out.partial" / "old.bin").write_bytes(b"half")
    unpack(archive, folder / "out")
    assert contents(folder / "out") == FILES
    assert not (folder / "out.partial").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "../../evil",
        "a/../../../evil",
        "/tmp/evil",
        "//evil",
        "..",
        "C:/evil",
        "C:evil",
        "..\\evil",
        "a\\b",
        "a//b",
    ],
)
def test_no_name_leads_outside(kind, folder, name):
    archive = packed(kind, folder, PLAIN | {name: b"x"})
    refused(archive, name, "leads outside")


def test_no_name_is_cut_at_a_zero(folder):
    # `zipfile` would write such a name as what precedes the zero.
    archive = zipped(folder / "a.zip", PLAIN | {"b.binX../evil": b"x"})
    archive.write_bytes(
        archive.read_bytes().replace(b"b.binX../evil", b"b.bin\0../evil")
    )
    refused(archive, "b.bin\0../evil", "leads outside")


def test_zip_members_are_files(folder):
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK):
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            archive.writestr("a.bin", b"abcde")
            info = zipfile.ZipInfo("bad")
            info.create_system = 3
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, "/etc/passwd")
        refused(folder / "a.zip", "bad", "neither a file nor a folder")


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
    ],
)
def test_tar_members_are_files(folder, kind):
    archive = added(folder, type=kind, linkname="a.bin", devmajor=1, devminor=5)
    refused(archive, "bad", "neither a file nor a folder")


def test_nothing_is_written_through_a_link(folder):
    path = folder / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, ".."
        archive.addfile(info)
        info = tarfile.TarInfo("link/evil")
        archive.addfile(info, io.BytesIO(b""))
    refused(path, "link", "neither a file nor a folder")


def test_nothing_is_there_twice(kind, folder):
    # As a file below a file, or as the same file.
    archive = packed(kind, folder, {"a": b"x", "a/b": b"y"})
    refused(archive, "a/b", "there twice")
    os.remove(archive)
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("a", b"x")
            with pytest.warns(UserWarning, match="Duplicate"):
                file.writestr("a", b"y")
    else:
        with tarfile.open(archive, "w:gz") as file:
            file.addfile(tarfile.TarInfo("a"))
            file.addfile(tarfile.TarInfo("a"))
    refused(archive, "a", "there twice")


def test_bombs_are_refused_by_their_ratio(kind, folder):
    # A thousand to one, and more than the megabyte that is free.
    archive = packed(kind, folder, {"a": b"x", "bomb": bytes(2**22)})
    assert archive.stat().st_size < 2**14
    refused(archive, "bomb", "unpacks to more than")


def test_many_small_bombs_are_one(kind, folder):
    files = {f"bomb{i}": bytes(2**18) for i in range(20)}
    archive = packed(kind, folder, files)
    with pytest.raises(ValueError, match="unpacks to more than"):
        unpack(archive, folder / "cache" / "out")
    assert list((folder / "cache").iterdir()) == []


def test_a_bomb_in_a_header_is_refused(folder):
    # A name of 8 MB, which `tarfile` would hold in memory.
    path = folder / "a.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("n" * 2**23))
    refused(path, "", "unpacks to more than")


def test_more_than_any_dataset_has_is_refused(kind, folder, monkeypatch):
    archive = packed(kind, folder, {"a": b"12", "b": b"3", "c": b"4"})
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    refused(archive, "c", "more than 2 members")
    monkeypatch.undo()
    monkeypatch.setattr(archives, "MOST_BYTES", 2)
    with pytest.raises(ValueError, match="unpacks to more than 2 bytes"):
        unpack(archive, folder / "cache" / "out")


def test_every_truncation_is_noticed(kind, folder):
    content = packed(kind, folder, FILES).read_bytes()
    archive = next(folder.iterdir())
    step = max(1, len(content) // 60)
    for size in [*range(0, len(content), step), len(content) - 1]:
        archive.write_bytes(content[:size])
        with pytest.raises(ValueError, match=f"`{archive}`"):
            unpack(archive, folder / "cache" / "out")
        assert list((folder / "cache").iterdir()) == []


def test_flipped_bits_are_noticed(kind, folder):
    packed(kind, folder, FILES)
    archive = next(folder.iterdir())
    content = archive.read_bytes()
    # In the compressed content of the first member, or of all.
    place = 60 if kind == "zip" else len(content) // 2
    if kind == "zip":
        archive = zipped(archive, FILES, zipfile.ZIP_STORED)
        content = archive.read_bytes()
        place = content.index(b"abcde")
    flipped = bytearray(content)
    flipped[place] ^= 255
    archive.write_bytes(flipped)
    with pytest.raises(ValueError, match=f"`{archive}`"):
        unpack(archive, folder / "cache" / "out")
    assert list((folder / "cache").iterdir()) == []


def test_an_archive_that_is_none_is_named(folder):
    for name in ("a.zip", "a.tar.gz"):
        archive = folder / name
        archive.write_text("<html>404 Not Found</html>")
        refused(archive, "", "not a (zip|gzipped) file|Not a gzipped file")
        archive.unlink()
        (folder / "cache").rmdir()


def test_encrypted_members_are_refused(folder):
    archive = zipped(folder / "a.zip", PLAIN | {"secret": b"x"})
    content = bytearray(archive.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 8] |= 1
    archive.write_bytes(content)
    refused(archive, "secret", "encrypted")


@pytest.mark.parametrize("last", ["a/", "a/b/", "a/b/c"])
def test_no_folder_is_where_a_file_is(kind, folder, last):
    if kind == "zip":
        zipped(folder / "a.zip", {"a": b"x", last: b""})
    else:
        with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
            archive.addfile(tarfile.TarInfo("a"))
            info = tarfile.TarInfo(last)
            if last.endswith("/"):
                info.type, last = tarfile.DIRTYPE, last[:-1]
            archive.addfile(info)
    refused(next(folder.iterdir()), last, "there twice")


@pytest.mark.parametrize("name", ["n" * 300, "n" * 300 + "/b"])
def test_names_longer_than_the_system_takes_are_refused(kind, folder, name):
    refused(packed(kind, folder, PLAIN | {name: b"x"}), name, "(?i)too long")


def test_folders_of_long_names_are_refused(folder):
    name = "n" * 300 + "/"
    archive = zipped(folder / "a.zip", PLAIN | {name: b""})
    refused(archive, name, "(?i)too long")


@pytest.mark.parametrize("mode", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(folder, mode):
    archive = zipped(folder / "a.zip", PLAIN, mode)
    refused(archive, "a.bin", "must be stored or deflated. Received: compressi")


@pytest.mark.parametrize("mode", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_whatever_byte_is_wrong_the_archive_is_named(folder, mode, rng):
    plain = zipped(folder / "a.zip", FILES, mode)
    content = bytearray(plain.read_bytes())
    # Where the headers are, and not what they enclose.
    places = [*range(120), *range(len(content) - 300, len(content))]
    named = []
    for place in places:
        changed = content.copy()
        changed[place] ^= int(rng.integers(1, 256))
        plain.write_bytes(changed)
        try:
            unpack(plain, folder / "cache" / str(place))
        except ValueError as error:
            named.append(f"`{plain}`" in str(error))
    # Some bytes tell nothing that matters here, as the time does.
    assert len(named) > len(places) / 4
    assert all(named)
    assert list((folder / "cache").glob("*.partial")) == []


def test_a_full_disk_leaves_nothing(kind, folder, monkeypatch):
    archive = packed(kind, folder, FILES)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(archive, folder / "cache" / "out")
    assert list((folder / "cache").iterdir()) == []
