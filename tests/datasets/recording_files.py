"""Small recordings, archives and folders for the tests of datasets."""

import shutil
import struct
import zipfile

import numpy as np

from keras_snn import datasets

AEDAT2 = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n"
AEDAT3 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"


def bin_events(*found):
    """Packs events `(t, x, y, p)` in N-MNIST's format."""
    return b"".join(
        struct.pack(">BBI", x, y, p << 31 | t << 8)[:5] for t, x, y, p in found
    )


def aedat2(*found):
    return AEDAT2 + b"".join(
        struct.pack(">II", (127 - y) << 8 | (127 - x) << 1 | 1 - p, t)
        for t, x, y, p in found
    )


def aedat3(*found):
    header = struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, *[len(found)] * 3)
    return (
        AEDAT3
        + header
        + b"".join(
            struct.pack("<Ii", x << 17 | y << 2 | p << 1 | 1, t)
            for t, x, y, p in found
        )
    )


def some(number, side=34):
    """Returns a different recording of `8 + number` events per number."""
    return [
        (100 * i, (number + i) % side, (3 * number) % side, i % 2)
        for i in range(8 + number)
    ]


def counted(found, timesteps, height, width):
    """Counts frames of equal numbers of events as their definition says."""
    frames = np.zeros((timesteps, height, width, 2), int)
    for i, (_, x, y, p) in enumerate(found):
        frame = min(i // (len(found) // timesteps), timesteps - 1)
        frames[frame, y, x, p] += 1
    return frames


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def load(folder, name="nmnist", **options):
    return datasets.load(name, folder, progress=False, **options)


def zipped(folder):
    """Packs each folder below into a `.zip` beside it, and removes it."""
    for part in sorted(folder.iterdir()):
        with zipfile.ZipFile(folder / f"{part.name}.zip", "w") as archive:
            for path in sorted(part.rglob("*")):
                archive.write(path, path.relative_to(folder).as_posix())
            archive.writestr(f"__MACOSX/{part.name}/0/._1.bin", b"x")
            archive.writestr(f"{part.name}/.DS_Store", b"x")
        shutil.rmtree(part)


def all_files(folder):
    """Lists the files below a folder by their relative paths."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def web_page(path):
    path.write_text("<html>404 Not Found</html>")
