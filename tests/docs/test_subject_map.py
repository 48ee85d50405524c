"""Where each subject is taught: the map names existing cells, and every subject of the course."""

import re
from pathlib import Path

import nbformat
import pytest

from transformer_lab.lessons.listing import lesson_paths, number_of

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
README = (NOTEBOOKS / "README.md").read_text("utf-8")
MAP = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in README.partition("## Where each subject is taught")[2].splitlines()
    if line.startswith("| ") and not line.startswith("| subject")
]
HEADINGS = {
    number_of(path): [
        line.lstrip("# ").strip()
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("#")
    ]
    for path in lesson_paths(NOTEBOOKS)
}


@pytest.mark.parametrize("row", MAP, ids=lambda row: row[0])
def test_the_sections_are_there(row):
    subject, lesson, where = row
    assert subject
    assert lesson in HEADINGS
    for named in re.findall(r"\*([^*]+)\*", where):
        assert any(heading.startswith(named) for heading in HEADINGS[lesson]), named


def test_every_lesson_is_in_the_map():
    assert {row[1] for row in MAP} == set(HEADINGS)


@pytest.mark.parametrize(
    "subject",
    [
        "encoder-decoder",
        "BERT",
        "GPT",
        "scaling",
        "softmax",
        "multi-head attention",
        "positions",
        "feed-forward",
        "layer norm",
        "residual",
        "unsupervised",
        "semi-supervised",
        "translation",
        "summarization",
        "question answering",
        "parallel",
        "attention maps",
    ],
)
def test_every_subject_of_the_course_is_taught_somewhere(subject):
    assert any(subject in row[0] for row in MAP)
