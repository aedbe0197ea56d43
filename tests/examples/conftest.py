import pathlib
import runpy
import sys

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def run(monkeypatch):
    """Runs an example as a script and returns its variables."""

    def run(name, *flags):
        path = str(ROOT / "examples" / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *map(str, flags)])
        keras.config.set_dtype_policy("float32")  # as in a fresh process
        return runpy.run_path(path, run_name="__main__")

    yield run
    keras.config.set_dtype_policy("float32")
