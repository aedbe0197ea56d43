"""What the package promises about itself."""

import ast
import pathlib
import re
import tomllib

import pytest

import keras_snn

ROOT = pathlib.Path(__file__).parents[1]
# Each module and what it may import of ours: every arrow points down.
ARROWS = {
    "validation": set(),
    "version": set(),
    "files": set(),
    "theory": {"validation"},
    "surrogates": {"validation"},
    "dynamics": {"dynamics", "surrogates", "validation"},
    "initializers": {"theory", "validation"},
    "encoders": {"validation"},
    "events": {"events", "files", "validation"},
    "recompute": {"dynamics", "validation"},
    "normalization": {"validation"},
    "layers": {
        "dynamics",
        "normalization",
        "recompute",
        "surrogates",
        "validation",
    },
    "models": {"encoders", "initializers", "layers", "validation"},
    "optimizers": {"validation"},
    "datasets": {"datasets", "events", "files", "validation"},
    "callbacks": {"files", "layers", "validation"},
    "recipes": {
        "datasets",
        "initializers",
        "models",
        "optimizers",
        "surrogates",
        "validation",
    },
    "plots": {"validation"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def sources():
    for path in sorted((ROOT / "keras_snn").rglob("*.py")):
        module = path.relative_to(ROOT / "keras_snn").parts[0]
        yield module.removesuffix(".py"), path


@pytest.mark.parametrize(
    ("module", "path"),
    [pytest.param(m, p, id=p.stem) for m, p in sources() if m != "__init__"],
)
def test_imports_point_down(module, path):
    ours = {
        name.split(".")[1]
        for name in imports(path)
        if name.startswith("keras_snn.")
    }
    assert ours <= ARROWS[module]


def test_private_keras_is_not_imported():
    for _, path in sources():
        assert not [n for n in imports(path) if n.startswith("keras.src")]


def test_base_install_is_keras_and_numpy():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"\w+", each).group() for each in project["dependencies"]}
    assert names == {"keras", "numpy"}


def test_public_names():
    assert keras_snn.__all__ == sorted(keras_snn.__all__)
    assert all(hasattr(keras_snn, name) for name in keras_snn.__all__)


def test_the_changelog_knows_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {keras_snn.__version__}" in changelog
