"""Damaged and malicious archives are refused by name and leave nothing."""

import gzip
import io
import shutil
import stat
import tarfile
import zipfile

import pytest
from small_disk import small_disk

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


def gzipped(folder, content):
    """Packs a single file, without the name of a member."""
    path = folder / "a.h5.gz"
    path.write_bytes(gzip.compress(content))
    return path


def added(folder, **fields):
    """Packs a good member and one with these fields."""
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


def refused(archive, why):
    """Asserts that an archive is refused and that nothing is left."""
    before = contents(archive.parent)
    inside = archive.parent / "cache"
    with pytest.raises(ValueError, match=why) as caught:
        unpack(archive, inside / "out")
    assert str(caught.value).startswith(f"`{archive}` cannot be unpacked: ")
    assert list(inside.iterdir()) == []
    assert contents(archive.parent) == before
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


def test_members_are_unpacked(kind, folder):
    archive = packed(kind, folder, FILES)
    unpack(archive, folder / "cache" / "out")
    assert contents(folder / "cache") == {
        f"out/{name}": content for name, content in FILES.items()
    }


def test_folders_may_be_members(folder):
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


def test_an_existing_folder_is_kept(kind, folder):
    archive = packed(kind, folder, FILES)
    unpack(archive, folder / "out")
    archive.write_bytes(b"")
    unpack(archive, folder / "out")
    assert contents(folder / "out") == FILES


def test_files_of_a_killed_process_are_deleted(kind, folder):
    archive = packed(kind, folder, FILES)
    (folder / "out.partial").mkdir()
    (folder / "out.partial" / "old.bin").write_bytes(b"half")
    unpack(archive, folder / "out")
    assert contents(folder / "out") == FILES
    assert not (folder / "out.partial").exists()


@pytest.mark.parametrize(
    "name",
    ["../evil", "../../evil", "a/../../../evil", "/tmp/evil", "//evil", ".."],
)
def test_paths_outside_the_folder_are_refused(kind, folder, name):
    archive = packed(kind, folder, PLAIN | {name: b"x"})
    refused(archive, f"Member '{name}' leads outside")


@pytest.mark.parametrize(
    "name", ["C:/evil", "C:evil", "..\\evil", "a\\b", "a//b", "a/./b"]
)
def test_odd_names_stay_inside_the_folder(kind, folder, name):
    archive = packed(kind, folder, PLAIN | {name: b"x"})
    unpack(archive, folder / "cache" / "out")
    found = contents(folder / "cache")
    assert sorted(found.values()) == [b"abcde", b"x"]
    assert all(path.startswith("out/") for path in found)


def test_a_zero_in_a_name_ends_it(folder):
    archive = zipped(folder / "a.zip", PLAIN | {"b.binX../evil": b"x"})
    archive.write_bytes(
        archive.read_bytes().replace(b"b.binX../evil", b"b.bin\0../evil")
    )
    unpack(archive, folder / "cache" / "out")
    assert contents(folder / "cache") == {
        "out/a.bin": b"abcde",
        "out/b.bin": b"x",
    }


def test_zip_members_are_files(folder):
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK):
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            archive.writestr("a.bin", b"abcde")
            info = zipfile.ZipInfo("bad")
            info.create_system = 3
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, "/etc/passwd")
        refused(folder / "a.zip", "Member 'bad' is neither a file")


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
    refused(archive, "Member 'bad' is neither a file")


def test_nothing_is_written_through_a_link(folder):
    path = folder / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, ".."
        archive.addfile(info)
        info = tarfile.TarInfo("link/evil")
        archive.addfile(info, io.BytesIO(b""))
    refused(path, "Member 'link' is neither a file")


def test_bombs_are_refused_by_their_ratio(kind, folder):
    # A thousand to one, and more than the free megabyte.
    archive = packed(kind, folder, {"a": b"x", "bomb": bytes(2**22)})
    assert archive.stat().st_size < 2**14
    refused(archive, "member 'bomb', it exceeds")


def test_many_small_bombs_are_refused(kind, folder):
    files = {f"bomb{i}": bytes(2**18) for i in range(20)}
    archive = packed(kind, folder, files)
    refused(archive, "it exceeds")


def test_a_name_of_many_bytes_is_refused(folder):
    path = folder / "a.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("n" * 2**23))
    refused(path, "(?i)too long")


def test_more_bytes_than_any_dataset_has_are_refused(kind, folder, monkeypatch):
    archive = packed(kind, folder, {"a": b"12", "b": b"3", "c": b"4"})
    monkeypatch.setattr(archives, "MOST_BYTES", 2)
    refused(archive, "member 'b', it exceeds 2 bytes")


def test_every_truncation_is_noticed(kind, folder):
    content = packed(kind, folder, FILES).read_bytes()
    archive = next(folder.iterdir())
    step = max(1, len(content) // 60)
    for size in [*range(0, len(content), step), len(content) - 1]:
        archive.write_bytes(content[:size])
        with pytest.raises(ValueError, match=f"`{archive}`"):
            unpack(archive, folder / "cache" / "out")
        assert list((folder / "cache").iterdir()) == []


def test_a_single_file_is_unpacked_under_its_own_name(folder, rng):
    content = rng.bytes(3 * 2**20)
    unpack(gzipped(folder, content + b"6"), folder / "out")
    assert contents(folder / "out") == {"a.h5": content + b"6"}


def test_a_single_file_that_is_damaged_is_refused(folder, rng):
    archive = gzipped(folder, rng.bytes(5000))
    content = archive.read_bytes()
    flipped = bytearray(content)
    flipped[2500] ^= 255
    for changed in (content[:2500], content[:-1], flipped, content + b"more"):
        archive.write_bytes(changed)
        refused(archive, "ended before|CRC|Not a gzipped file|decompressing")
        (folder / "cache").rmdir()


def test_a_single_file_that_is_a_bomb_is_refused(folder):
    archive = gzipped(folder, bytes(2**22))
    assert archive.stat().st_size < 2**14
    refused(archive, "member 'a.h5', it exceeds")


def test_flipped_bits_are_noticed(kind, folder):
    packed(kind, folder, FILES)
    archive = next(folder.iterdir())
    content = archive.read_bytes()
    # In the content of the first member, or of all.
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


def test_other_files_are_refused(folder):
    for name in ("a.zip", "a.tar.gz", "a.h5.gz"):
        archive = folder / name
        archive.write_text("<html>404 Not Found</html>")
        refused(archive, "not a zip file|Not a gzipped file")
        archive.unlink()
        (folder / "cache").rmdir()


def test_encrypted_members_are_refused(folder):
    archive = zipped(folder / "a.zip", PLAIN | {"secret": b"x"})
    content = bytearray(archive.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 8] |= 1
    archive.write_bytes(content)
    refused(archive, "File .*secret.* is encrypted")


@pytest.mark.parametrize("last", ["a/b/", "a/b/c"])
def test_a_folder_in_place_of_a_file_is_refused(kind, folder, last):
    if kind == "zip":
        zipped(folder / "a.zip", {"a": b"x", last: b""})
    else:
        with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
            archive.addfile(tarfile.TarInfo("a"))
            info = tarfile.TarInfo(last)
            if last.endswith("/"):
                info.type = tarfile.DIRTYPE
            archive.addfile(info)
    refused(next(folder.iterdir()), "File exists|Not a directory")


@pytest.mark.parametrize("name", ["n" * 300, "n" * 300 + "/b"])
def test_names_too_long_for_the_system_are_refused(kind, folder, name):
    refused(packed(kind, folder, PLAIN | {name: b"x"}), "(?i)too long")


def test_folders_of_long_names_are_refused(folder):
    name = "n" * 300 + "/"
    archive = zipped(folder / "a.zip", PLAIN | {name: b""})
    refused(archive, "(?i)too long")


@pytest.mark.parametrize("mode", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_unpacked(folder, mode):
    unpack(zipped(folder / "a.zip", FILES, mode), folder / "out")
    assert contents(folder / "out") == FILES


@pytest.mark.parametrize("mode", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_with_any_wrong_byte_is_named(folder, mode, rng):
    plain = zipped(folder / "a.zip", FILES, mode)
    content = bytearray(plain.read_bytes())
    # In the headers, not in the content.
    places = [*range(0, 120, 2), *range(len(content) - 300, len(content), 2)]
    named = []
    for place in places:
        changed = content.copy()
        changed[place] ^= int(rng.integers(1, 256))
        plain.write_bytes(changed)
        try:
            unpack(plain, folder / "cache" / str(place))
        except ValueError as error:
            named.append(f"`{plain}`" in str(error))
    # Some bytes do not matter here, such as those of the time.
    assert len(named) > len(places) / 4
    assert all(named)
    assert list((folder / "cache").glob("*.partial")) == []


def test_a_full_disk_leaves_nothing(kind, folder, monkeypatch):
    archive = packed(kind, folder, FILES)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    monkeypatch.setattr(tarfile, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(archive, folder / "cache" / "out")
    assert list((folder / "cache").iterdir()) == []


def test_a_full_disk_during_a_single_file_leaves_nothing(folder):
    archive = gzipped(folder, bytes(5000))
    why = f"`{folder / 'new'}` cannot be written: .* too large"
    with small_disk(1000), pytest.raises(OSError, match=why):
        unpack(archive, folder / "new")
    assert list(folder.iterdir()) == [archive]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_full_disk_names_the_folder(kind, folder):
    archive = packed(kind, folder, FILES)
    why = f"`{folder / 'new'}` cannot be written: .* too large"
    with small_disk(1000), pytest.raises(OSError, match=why):
        unpack(archive, folder / "new")
    assert list(folder.iterdir()) == [archive]
    unpack(archive, folder / "new")
    assert contents(folder / "new") == FILES
