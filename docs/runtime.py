"""Fetches what runs the network of the page `live.md` in browsers."""

import contextlib
import functools
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

__all__ = ["FILES", "runtime"]

BUILD = pathlib.Path(__file__).parents[1] / "build"
PACKAGE = "onnxruntime-web@1.30.0"  # MIT licence
FILES = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"


@functools.cache
def runtime():
    """Returns the folder of the runtime, or `None` if npm cannot get it."""
    folder, npm = BUILD / PACKAGE, shutil.which("npm")
    if folder.exists() or npm is None:
        return folder if folder.exists() else None
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        scratch = pathlib.Path(name)
        command = [npm, "pack", PACKAGE, "--pack-destination", name]
        options = {"capture_output": True, "check": True, "timeout": 120}
        try:
            subprocess.run(command, **options)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None
        (archive,) = scratch.glob("*.tgz")
        files = scratch / "files"
        files.mkdir()
        with tarfile.open(archive) as package:
            for file in FILES:
                member = package.extractfile(f"package/dist/{file}")
                (files / file).write_bytes(member.read())
        with contextlib.suppress(OSError):  # Another process was faster.
            files.rename(folder)
    return folder
