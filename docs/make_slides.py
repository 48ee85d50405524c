"""Build slides of the lessons, executed, with every view live and no network needed.

    python -m docs.make_slides [--preset quick] [--out slides] [LESSON …]

A heading starts a slide, and each code cell below it, with its output, starts another one below
that slide. Parameters, checks, hints, solutions and claims are left out. A slide type set on a cell
(in JupyterLab's property inspector) overrides these rules. Press S for the speaker's view, whose
notes hold the answers to predictions and the misconceptions that a slide dispels, from answers.md
and teaching.md; add ?print-pdf to the address to print.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from nbconvert import SlidesExporter

from docs.make_book import NOTEBOOKS, ROOT, executed, lessons_in
from transformer_lab.lessons.listing import number_of

REVEAL = "reveal.js"
TEMPLATES = Path(__file__).parent
LEFT_OUT = ("check(", "claim(", "lesson.finish()", "lesson = presets(")


def slide_type(cell: nbformat.NotebookNode) -> str:
    """Where a cell goes: "slide", "subslide", "-" (on the same slide) or "skip"."""
    chosen = cell.metadata.get("slideshow", {}).get("slide_type")
    if chosen:
        return chosen
    if cell.cell_type == "markdown":
        if cell.source.lstrip().startswith("<details"):
            return "skip"
        return "slide" if re.match(r"#{1,2} ", cell.source) else "-"
    if re.match(r'predict\("[^"]+", lesson\)', cell.source):
        return "skip"  # nobody writes on a slide; the result is shown
    if "parameters" in cell.metadata.get("tags", []) or any(w in cell.source for w in LEFT_OUT):
        return "skip"
    return "-" if cell.metadata.get("jupyter", {}).get("source_hidden") else "subslide"


def with_mathml(text: str) -> str:
    """Formulas as MathML, which browsers draw themselves."""
    code = r"(```.*?```|`[^`\n]*`)"
    parts = re.split(code, text, flags=re.S)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(
            r"\$\$(.+?)\$\$", lambda m: convert(m[1], display="block"), parts[i], flags=re.S
        )
        parts[i] = re.sub(r"(?<![\\$])\$([^$\n]+?)\$", lambda m: convert(m[1]), parts[i])
    return "".join(parts)


@cache
def notes() -> dict[str, list[str]]:
    """What to say at a cell, by its name, such as "01#mask-text"."""
    found: dict[str, list[str]] = {}
    answers, guide = (
        (ROOT / "docs" / f"{name}.md").read_text("utf-8") for name in ("answers", "teaching")
    )
    for cell, text in re.findall(r"^- `(\d\w+#[\w-]+)`: (.*(?:\n  .*)*)", answers, flags=re.M):
        found.setdefault(cell, []).append(f"The prediction: {' '.join(text.split())}")
    rows = guide.partition("## Misconceptions")[2].partition("\n## ")[0]
    for says, cells, seen in re.findall(r"^\| (“.*”) \| (.*) \| (.*) \|$", rows, flags=re.M):
        for cell in re.findall(r"`(\d\w+#[\w-]+)`", cells):
            found.setdefault(cell, []).append(f"Students say: {says} They see: {seen}.")
    return found


def add_notes(notebook: nbformat.NotebookNode, number: str) -> None:
    """Add the speaker's notes below the cells they are about."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        for text in notes().get(f"{number}#{cell.id}", ()):
            note = nbformat.v4.new_markdown_cell(text)
            note.metadata["slideshow"] = {"slide_type": "notes"}
            cells.append(note)
    notebook.cells = cells


def slides_of(path: Path, preset: str, scratch: Path) -> str:
    """One lesson as a page of slides."""
    notebook = executed(path, preset, scratch)
    add_notes(notebook, number_of(path))
    for cell in notebook.cells:
        cell.metadata["slideshow"] = {"slide_type": slide_type(cell)}
        if cell.cell_type == "markdown":
            cell.source = with_mathml(cell.source)
        elif cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata["transient"] = {"remove_source": True}
    exporter = SlidesExporter(
        template_name="slides",
        extra_template_basedirs=[str(TEMPLATES)],
        reveal_url_prefix=REVEAL,
        reveal_theme="white",
    )
    text, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.stem}})
    return text


def build(names: list[str], preset: str, out: Path) -> list[Path]:
    """Run the lessons and write their slides; returns the pages."""
    found = find_spec("sphinx_revealjs")
    if found is None or not found.submodule_search_locations:
        raise SystemExit('reveal.js is not installed: pip install -e ".[book]"')
    reveal = Path(found.submodule_search_locations[0]) / "_static" / "revealjs"
    out.mkdir(parents=True, exist_ok=True)
    for part in ("dist", "plugin/notes"):
        shutil.copytree(reveal / part, out / REVEAL / part, dirs_exist_ok=True)
    shutil.copytree(NOTEBOOKS / "images", out / "images", dirs_exist_ok=True)
    pages = []
    with tempfile.TemporaryDirectory() as scratch:
        for path in lessons_in(names):
            if number_of(path) in ("00", "21") and not names:
                continue  # the first look and the research lesson are to be done, not shown
            print(f"{path.stem}: running", flush=True)
            pages.append(out / f"{path.stem}.html")
            pages[-1].write_text(slides_of(path, preset, Path(scratch)), "utf-8")
    return pages


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "lessons", nargs="*", metavar="LESSON", help="numbers (default: all but 00 and 21)"
    )
    parser.add_argument("--preset", choices=("full", "quick"), default="full")
    parser.add_argument("--out", type=Path, default=ROOT / "slides")
    options = parser.parse_args()
    for page in build(options.lessons, options.preset, options.out):
        print(f"Open {page}")


if __name__ == "__main__":
    main()
