"""What the README prints is what happens."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def test_the_example_learns(capsys):
    (code,) = blocks("python")
    exec(code, {})  # noqa: S102
    printed = capsys.readouterr().out
    # The exact figure belongs to one backend and version.
    assert float(re.search(r"test accuracy (0\.\d\d)", printed).group(1)) > 0.8


def test_the_two_commands_are_the_two_commands():
    job = "python examples/compare_initializers.py"
    assert blocks("sh") == [
        f'pip install ".[examples]" && {job}\n',
        'pip install ".[test]" && pytest -n 2\n',
    ]


def test_the_results_are_those_of_the_stored_runs():
    stored = (ROOT / "experiments/results/HEADLINE.md").read_text("utf-8")
    begin, end = stored.strip().splitlines()[0], stored.strip().splitlines()[-1]
    shown = README[README.index(begin) : README.index(end) + len(end)]
    assert shown == stored.strip(), "python -m experiments report, then copy it"


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(page):
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / link).exists(), link


def test_every_picture_and_file_is_there():
    for path in re.findall(r"!\[.*?\]\((.*?)\)|`(examples/\w+\.py)`", README):
        assert (ROOT / "".join(path)).is_file()
