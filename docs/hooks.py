"""Adds files from elsewhere, and notebooks of the guides."""

import logging
import pathlib
import sys

from mkdocs.structure.files import File

sys.path.append(str(pathlib.Path(__file__).parent))
from notebooks import GUIDES, notebook  # noqa: E402
from runtime import FILES, runtime  # noqa: E402

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "experiments/results"


def on_files(files, config):
    """Adds the changelog, the report with its figures, and the runtime."""
    pages = {"CHANGELOG.md": ROOT / "CHANGELOG.md"}
    folder = runtime()
    if folder is None:
        logging.getLogger("mkdocs").info("`live.md` does not run: no npm")
    else:
        pages |= {f"live/{name}": folder / name for name in FILES}
    for path in (RESULTS / "REPORT.md", *RESULTS.glob("figures/*.png")):
        pages[f"report/{path.relative_to(RESULTS).as_posix()}"] = path
    for name, path in pages.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    for page in GUIDES:
        content = notebook(files.get_file_from_path(page).content_string)
        files.append(File.generated(config, _file(page), content=content))
    return files


def on_page_markdown(markdown, page, **_):
    """Rewrites links to the report, and adds one to the notebook."""
    markdown = markdown.replace("../experiments/results/", "report/")
    if page.file.src_uri in GUIDES:
        title, text = markdown.split("\n", 1)
        name = _file(page.file.src_uri)
        return f"{title}\n\n[As a notebook]({name})\n{text}"
    return markdown


def _file(page):
    """Returns the name of the notebook of a page."""
    return page.replace(".md", ".ipynb")
