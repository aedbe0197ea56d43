"""The code of the guides runs, and the reference is complete."""

import importlib
import importlib.util
import json
import pathlib
import re

import keras
import notebooks
import pytest
from peers import library

import keras_snn

DOCS = pathlib.Path(__file__).parents[1] / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
# Blocks whose title begins with another library: its module, and its backend.
LIBRARIES = {
    "snnTorch": ("snntorch", "torch"),
    "SpikingJelly": ("spikingjelly.activation_based.neuron", "torch"),
    "keras-spiking": ("keras_spiking", "tensorflow"),
}

# What Keras needs for ONNX.
CONVERTERS = {"tensorflow": "tf2onnx", "torch": "onnx"}


def code_of(page, title=None):
    """Returns our blocks, and those of another library."""
    text = (DOCS / page).read_text("utf-8")
    blocks = re.findall(
        r'^```python(?: title="([\w-]+).*?")?\n(.*?)^```', text, re.M | re.S
    )
    ours = ("", "keras_snn", title)
    return "\n".join(block for name, block in blocks if name in ours)


def run(page, capsys, title=None):
    """Runs the code of a page."""
    code = code_of(page, title)
    exec(code, {})  # noqa: S102
    printed = capsys.readouterr().out.splitlines()
    assert printed == re.findall(r"^\s*print\(.*\)  # (.*)$", code, re.M)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [x for x in notebooks.GUIDES if x != "deployment.md"]
)
def test_the_code_runs_and_prints_what_its_comments_say(
    page, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)  # for the files that it writes
    run(page, capsys)


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() not in CONVERTERS, reason="no converter to ONNX"
)
# The converters warn about the packages that they use.
@pytest.mark.filterwarnings("ignore")
def test_the_guide_to_deployment_runs(capsys, monkeypatch, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip(CONVERTERS[keras.config.backend()])
    monkeypatch.chdir(tmp_path)
    run("deployment.md", capsys)


@pytest.mark.slow
@pytest.mark.parametrize("title", LIBRARIES)
def test_the_code_beside_another_library_gives_the_same_spikes(title, capsys):
    module, backend = LIBRARIES[title]
    if keras.config.backend() != backend:
        pytest.skip(f"{title} uses {backend}")
    library(module)
    run("moving.md", capsys, title)


@pytest.mark.parametrize("page", notebooks.GUIDES)
def test_the_notebook_of_a_page_has_its_code(page):
    text = (DOCS / page).read_text("utf-8")
    cells = json.loads(notebooks.notebook(text))["cells"]
    sources = {"code": [], "markdown": []}
    for cell in cells:
        sources[cell["cell_type"]].append("".join(cell["source"]) + "\n")
    assert "\n".join(sources["code"]) == code_of(page)
    text = "".join(sources["markdown"])
    assert text.startswith("# ")
    assert not re.findall(r"\]\((?!https?:)", text)


def test_every_example_is_on_its_page():
    text = (DOCS / "examples.md").read_text("utf-8")
    scripts = {path.name for path in DOCS.parent.glob("examples/*.py")}
    assert set(re.findall(r"^python examples/(\w+\.py)", text, re.M)) == scripts
    for picture in re.findall(r"^!\[.+\]\((.+)\)$", text, re.M):
        assert (DOCS / picture).exists()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_of_the_site(page):
    page = DOCS / page
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        target = (page.parent / link).resolve()
        assert target.exists(), link
        # The hooks add the report.
        report = DOCS.parent / "experiments/results/REPORT.md"
        assert target.is_relative_to(DOCS) or target == report, link


def test_every_title_is_that_of_a_library():
    text = (DOCS / "moving.md").read_text("utf-8")
    titles = re.findall(r'^```python title="([\w-]+)', text, re.M)
    assert set(titles) == {"keras_snn", *LIBRARIES}


def test_the_reference_has_every_module():
    pages = [path.read_text("utf-8") for path in DOCS.glob("reference/*.md")]
    shown = set(re.findall(r"^::: (\S+)$", "\n".join(pages), re.M))
    modules = {
        f"keras_snn.{name}"
        for name in keras_snn.__all__
        if importlib.util.find_spec(f"keras_snn.{name}")
    }
    assert modules <= shown
    # `::: module` leaves out a function in a file of the same name.
    for module in modules:
        for name in importlib.import_module(module).__all__:
            path = f"{module}.{name}"
            if hasattr(importlib.import_module(module), "__path__") and (
                importlib.util.find_spec(path)
            ):
                assert f"{path}.{name}" in shown
