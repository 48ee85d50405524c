"""Lessons in other languages: the code of the English lesson with translated text.

    python -m docs.translations                list the cells that need a translation, by lesson
    python -m docs.translations de 02          start notebooks/de/02_….ipynb, or bring its code up to date
    python -m docs.translations de 02 --done   mark all of its cells as up to date with the English ones

What a prediction's card says about the result is text, although it is in a code cell. The metadata of
a translated cell says which English text it translates, so that later changes of that
text are noticed. Cells that are not translated yet have the English text.
"""

from __future__ import annotations

import argparse
import re
from copy import deepcopy
from hashlib import sha256
from pathlib import Path

import nbformat

from docs.measure_lessons import TIME
from transformer_lab.lessons.listing import lesson_paths, number_of, translated_paths

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
TRANSLATES = "translates"  # in a cell's metadata: the digest of the English text


def digest(text: str) -> str:
    """Digest of a cell's text, without the time in a header, which is measured repeatedly."""
    return sha256(TIME.sub("", text).encode()).hexdigest()[:16]


def is_text(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell needs a translation: prose, or the sentence about a prediction's result."""
    return cell.cell_type == "markdown" or bool(
        re.match(r"predict\(\s*\"[^\"]+\",\s*lesson,", cell.source)
    )


def waiting(english: nbformat.NotebookNode, translated: nbformat.NotebookNode) -> list[str]:
    """The ids of cells whose English text has changed since it was translated, or never was."""
    known = {cell.id: cell.metadata.get(TRANSLATES) for cell in translated.cells}
    return [
        cell.id
        for cell in english.cells
        if is_text(cell) and known.get(cell.id) != digest(cell.source)
    ]


def renewed(
    english: nbformat.NotebookNode, translated: nbformat.NotebookNode | None, language: str
) -> nbformat.NotebookNode:
    """The English lesson with translated text, where there is any."""
    words = {cell.id: cell for cell in (translated.cells if translated else []) if is_text(cell)}
    lesson = deepcopy(english)
    if translated is not None and "title" in translated.metadata:
        lesson.metadata.title = translated.metadata.title
    lesson.cells = [words.get(cell.id, cell) if is_text(cell) else cell for cell in lesson.cells]
    for cell in lesson.cells:
        if cell.id == "setup":
            cell.source = cell.source.replace(
                "answers=answers)", f'answers=answers, language="{language}")'
            )
    return lesson


def translations() -> list[Path]:
    """Every lesson whose translation is finished or begun."""
    return translated_paths(NOTEBOOKS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("language", nargs="?", help="two letters, such as de")
    parser.add_argument("lesson", nargs="?", help="a number such as 02 or 00b")
    parser.add_argument("--done", action="store_true")
    options = parser.parse_args()
    if options.language:
        if not re.fullmatch("[a-z]{2}", options.language):
            parser.error(
                f"language must be two small letters, such as de, got {options.language!r}"
            )
        source = next(NOTEBOOKS.glob(f"{options.lesson}_*.ipynb"), None)
        if source is None:
            known = " ".join(map(number_of, lesson_paths(NOTEBOOKS)))
            parser.error(f"there is no lesson {options.lesson!r}; give one of {known}")
        path = NOTEBOOKS / options.language / source.name
        english = nbformat.read(source, as_version=4)
        lesson = renewed(
            english, nbformat.read(path, as_version=4) if path.is_file() else None, options.language
        )
        if options.done:
            texts = {cell.id: cell.source for cell in english.cells}
            for cell in lesson.cells:
                if is_text(cell):
                    cell.metadata[TRANSLATES] = digest(texts[cell.id])
        path.parent.mkdir(exist_ok=True)
        nbformat.write(lesson, path)
    for path in translations():
        pair = (nbformat.read(p, as_version=4) for p in (NOTEBOOKS / path.name, path))
        ids = waiting(*pair)
        print(f"{path.relative_to(NOTEBOOKS)}:", ", ".join(ids) or "up to date")


if __name__ == "__main__":
    main()
