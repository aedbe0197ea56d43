"""Adds the pages of the site that lie outside this folder."""

import pathlib

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "experiments/results"


def on_files(files, config):
    """Adds the changelog and the report with its figures."""
    pages = {"CHANGELOG.md": ROOT / "CHANGELOG.md"}
    for path in (RESULTS / "REPORT.md", *RESULTS.glob("figures/*.png")):
        pages[f"report/{path.relative_to(RESULTS).as_posix()}"] = path
    for name, path in pages.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, **_):
    """Leads links to the report to its place in the site."""
    return markdown.replace("../experiments/results/", "report/")
