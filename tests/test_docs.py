"""The code of the guides runs."""

import pathlib
import re

import pytest

DOCS = pathlib.Path(__file__).parents[1] / "docs"
PAGES = ("deep.md", "exchange.md", "time_series.md")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_code_runs_and_prints_what_its_comments_say(
    page, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)  # for the files that it writes
    text = (DOCS / page).read_text("utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S))
    exec(code, {})  # noqa: S102
    printed = capsys.readouterr().out.splitlines()
    assert printed == re.findall(r"^\s*print\(.*\)  # (.*)$", code, re.M)
