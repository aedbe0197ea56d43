"""Makes Jupyter notebooks of the guides."""

import json
import re

__all__ = ["GUIDES", "notebook"]

# Pages whose code runs as it stands. The suite runs them all.
GUIDES = (
    "building.md",
    "caveats.md",
    "choosing.md",
    "deep.md",
    "deployment.md",
    "examples.md",
    "exchange.md",
    "index.md",
    "moving.md",
    "time_series.md",
)
BLOCK = re.compile(
    r'^```python(?: title="([\w-]+).*?")?\n(.*?)^```\n', re.M | re.S
)
# Links and pictures lead to pages of the site, which a notebook does not have.
PICTURE = re.compile(r"^!\[.*?\]\(.*?\)\n", re.M)
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")


def notebook(markdown):
    """Returns a notebook of a page, as JSON.

    Blocks in Python become cells of code. Those of another library, which have
    its name as their title, stay part of the text.
    """
    cells, end = [], 0
    for block in BLOCK.finditer(markdown):
        if block[1] in (None, "keras_snn"):
            _add_text(cells, markdown[end : block.start()])
            _add(cells, "code", block[2], execution_count=None, outputs=[])
            end = block.end()
    _add_text(cells, markdown[end:])
    python = {"name": "python3", "display_name": "Python 3"}
    return json.dumps(
        {
            "cells": cells,
            "metadata": {"kernelspec": python | {"language": "python"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        },
        indent=1,
    )


def _add_text(cells, text):
    text = LINK.sub(r"\1", PICTURE.sub("", text)).strip("\n")
    if text:
        _add(cells, "markdown", text)


def _add(cells, kind, text, **more):
    lines = text.rstrip("\n").splitlines(keepends=True)
    cells.append(
        {
            "cell_type": kind,
            "id": f"cell-{len(cells)}",
            "metadata": {},
            "source": lines,
        }
        | more
    )
