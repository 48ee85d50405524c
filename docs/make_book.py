"""Build the course as one static site: every lesson executed, every view live, no network needed.

    python -m docs.make_book [--preset quick] [--out book] [LESSON …]

Sphinx with MyST-NB builds the pages, with the theme Furo: search, previous and next, light and dark
work from local files. Our own export replaces each view by a live page, because the standard widget
export draws nothing without a network.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from docs import reference, site_pages
from transformer_lab.lessons import run_notebook
from transformer_lab.lessons.listing import lesson_paths, number_of
from transformer_lab.views.pages.export import live_views, shared_script

ROOT = Path(__file__).parent.parent
BOOK = Path(__file__).parent / "book"
NOTEBOOKS = ROOT / "notebooks"
BESIDE = ("glossary.md", "teaching.md")
PLOTLY = "transformer-lab-plotly.js"  # once per site, loaded only by clouds and figures

INDEX = """---
hide-toc: true
---

# {title}

{words}

{front}

```{{toctree}}
:maxdepth: 1
:caption: Lessons

{lessons}
```

```{{toctree}}
:maxdepth: 1
:caption: Also here

playground
{others}
reference
```
"""
WORDS = """A course on transformers in which every figure is interactive, every claim is checked by the
lesson that makes it, and every model was trained on the page that shows it. Hover, click and lock
tokens in the views of the lessons. For the exercises you need the notebooks: see the repository.

This book was built with the `{preset}` preset{version}."""


def lessons_in(names: list[str]) -> list[Path]:
    """The notebooks of these lesson numbers, or all."""
    found = lesson_paths(NOTEBOOKS)
    unknown = set(names) - {number_of(path) for path in found}
    if unknown:
        known = ", ".join(number_of(path) for path in found)
        raise SystemExit(f"there is no lesson {', '.join(sorted(unknown))}; choose from {known}")
    return [path for path in found if not names or number_of(path) in names]


# The views of a lesson write their pages in its kernel, while it runs: the code of save_views.py is
# executed there, and then a call of it.
SAVE = (Path(__file__).parent / "save_views.py").read_text("utf-8")


def executed(path: Path, preset: str, scratch: Path) -> nbformat.NotebookNode:
    """A lesson run to its end, with a live page where each view was."""
    pages = scratch / f"{path.stem}_pages"
    pages.mkdir()
    asked = nbformat.read(path, as_version=4)
    saving = nbformat.v4.new_code_cell(f"{SAVE}\n\nsave_views({str(pages)!r}, globals())")
    saving.metadata.tags = ["saves-pages"]
    finish = max(i for i, cell in enumerate(asked.cells) if cell.cell_type == "code")
    asked.cells.insert(finish, saving)
    nbformat.write(asked, pages / path.name)
    out = run_notebook(
        pages / path.name,
        scratch / path.name,
        preset=preset,
        answers="solutions",
        cell_seconds=1800,
        keep_views=True,
        cwd=path.parent,
    )
    notebook = nbformat.read(out, as_version=4)
    saved = {page.stem: page.read_text("utf-8") for page in pages.glob("*.html")}
    live_views(notebook, theme=None, plotly=f"_static/{PLOTLY}", pages=saved)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.pop("papermill", None)
    ours = {"injected-parameters", "saves-pages"}
    notebook.cells = [c for c in notebook.cells if not ours & set(c.metadata.get("tags", []))]
    for cell in notebook.cells:
        if cell.cell_type != "code":
            cell.source = _for_the_book(cell.source)
            continue
        if "parameters" in cell.metadata.get(
            "tags", []
        ):  # show the values that were used, not the notebook's defaults
            for name, value in (("preset", preset), ("answers", "solutions")):
                cell.source = re.sub(
                    rf'^{name} = "\w+"', f'{name} = "{value}"', cell.source, flags=re.M
                )
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            asks = cell.source.startswith(
                "predict("
            )  # its code says nothing that its card does not
            cell.metadata.setdefault("tags", []).append("remove-input" if asks else "hide-input")
    return notebook


def _for_the_book(text: str) -> str:
    """Replace links to what is not in the book by plain text."""

    def words(link: re.Match[str]) -> str:
        path = link[2].partition("#")[0]
        known = not path.endswith(".md") or path in BESIDE
        return link[0] if known and not path.startswith("../") else link[1]

    return re.sub(r"\[([^\]]+)\]\(((?!https?:)[^)]*)\)", words, text)


def build(names: list[str], preset: str, out: Path) -> Path:
    """Run the lessons and write the site; returns its first page."""
    paths = lessons_in(names)
    _refuse_another(out)  # before hours of lessons, not after them
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        shutil.copytree(BOOK, source)
        if (NOTEBOOKS / "images").is_dir():
            shutil.copytree(NOTEBOOKS / "images", source / "images")
        for path in paths:
            print(f"{path.stem}: running", flush=True)
            notebook = executed(path, preset, Path(folder))
            links = reference.links("\n".join(cell.source for cell in notebook.cells))
            notebook.cells.append(nbformat.v4.new_markdown_cell(links))
            nbformat.write(notebook, source / path.name)
        (source / "static" / PLOTLY).write_text(shared_script(), "utf-8")
        others = []
        for text in (folder / name for name in BESIDE for folder in (NOTEBOOKS, ROOT / "docs")):
            if text.is_file():
                (source / text.name).write_text(_for_the_book(text.read_text("utf-8")), "utf-8")
                others.append(text.stem)
        words = WORDS.format(preset=preset, version=_version())
        lessons = "\n".join(path.stem for path in paths)
        index = INDEX.format(
            title="Transformer Lab",
            words=words,
            front=site_pages.front(),
            lessons=lessons,
            others="\n".join(others),
        )
        own = {"index.md": index, "playground.md": site_pages.playground(), **reference.pages()}
        for name, text in own.items():
            (source / name).write_text(text, "utf-8")
        command = [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-b",
            "html",
            str(source),
            str(Path(folder) / "html"),
        ]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit("sphinx could not build the book; its message is above")
        _refuse_another(out)
        if out.exists():
            shutil.rmtree(out)
        shutil.copytree(
            Path(folder) / "html", out, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo")
        )
        site_pages.write_pages(out)
    return out / "index.html"


def _refuse_another(out: Path) -> None:
    """Exit unless the folder to be replaced holds a book, or nothing."""
    if out.exists() and not (out / "index.html").is_file() and any(out.iterdir()):
        raise SystemExit(f"--out {out} has files that are not part of a book; name another folder")


def _version() -> str:
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return f", from revision {run.stdout.strip()}" if run.returncode == 0 else ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "lessons", nargs="*", metavar="LESSON", help="numbers such as 01 (default: all)"
    )
    parser.add_argument("--preset", choices=("full", "quick"), default="full")
    parser.add_argument("--out", type=Path, default=ROOT / "book")
    options = parser.parse_args()
    print(f"Open {build(options.lessons, options.preset, options.out)}")


if __name__ == "__main__":
    main()
