"""Draw the architecture diagram of every lesson, and write its alt text into the lesson.

    python -m docs.make_diagrams

transformer_lab/lessons/diagram.py draws them; PARTS has the part that each lesson is about. Run
`python -m docs.translations de 01 --done` afterwards for lessons that have been translated.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

from transformer_lab.lessons.diagram import Diagram, architecture, catalogue
from transformer_lab.lessons.listing import lesson_paths, number_of, translated_paths

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
CELL = "architecture"  # the id of the cell that shows it
PARTS: dict[str, tuple[str, str | None]] = {
    "00": ("decoder", None),
    "00b": ("decoder", None),
    "01": ("decoder", "scores"),
    "02": ("encoder", "positions"),
    "03": ("encoder", "heads"),
    "04": ("encoder", "block"),
    "05": ("decoder", None),
    "05b": ("decoder", None),
    "06": ("decoder", "embeddings"),
    "07": ("encoder-decoder", "attention"),
    "08": ("encoder-decoder", "cross-attention"),
    "09": ("encoder", "loss"),
    "10": ("decoder", "mask"),
    "11": ("decoder", "generation"),
    "12": ("decoder", "attention"),
    "13": ("decoder", "residual"),
    "14": ("encoder-decoder", "cross-attention"),
    "15": ("decoder", "block"),
    "16": ("encoder-decoder", "generation"),
    "17": ("encoder", "embeddings"),
    "18": ("decoder", "block"),
    "19": ("decoder", "heads"),
    "20": ("decoder", "heads"),
    "21": ("decoder", "residual"),
    "22": ("decoder", None),
    "23": ("decoder", None),
    "24": ("decoder", "block"),
    "25": ("decoder", "heads"),
    "26": ("decoder", "scores"),
    "27": ("decoder", "block"),
    "28": ("encoder", "embeddings"),
}


def name_of(lesson: str, language: str = "en") -> str:
    """The file of a lesson's diagram; lessons about the same part share it."""
    kind, part = PARTS[lesson]
    words = ["architecture", kind, *([part] if part else []), *([language] * (language != "en"))]
    return "-".join(words) + ".svg"


def lessons() -> list[tuple[Path, str, Diagram]]:
    """Every lesson in every language: its notebook, and its diagram's file name and drawing."""
    rows = []
    for path in [*lesson_paths(NOTEBOOKS), *translated_paths(NOTEBOOKS)]:
        number, folder = number_of(path), path.parent.name
        language = folder if folder in catalogue() else "en"
        kind, part = PARTS[number]
        drawing = architecture(part, kind=kind, language=language)
        rows.append((path, name_of(number, language), drawing))
    return rows


def image(path: Path, name: str, drawing: Diagram) -> str:
    """The line of Markdown that shows a diagram."""
    folder = "images" if path.parent == NOTEBOOKS else "../images"
    return f"![{drawing.alt}]({folder}/{name})"


def main() -> None:
    for path, name, drawing in lessons():
        (NOTEBOOKS / "images" / name).write_text(drawing.svg(), "utf-8")
        lesson = nbformat.read(path, as_version=4)
        cell = next(cell for cell in lesson.cells if cell.id == CELL)
        line = image(path, name, drawing)
        cell.source = re.sub(r"!\[[^\n]*\]\([^)\n]*\)", lambda _: line, cell.source)  # noqa: B023
        nbformat.write(lesson, path)


if __name__ == "__main__":
    main()
