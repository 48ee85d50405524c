"""The glossary's links resolve, and so do the lessons' links to its entries."""

import re
from pathlib import Path

import nbformat
import pytest

from transformer_lab.lessons.listing import lesson_paths

FOLDER = Path(__file__).parents[2] / "notebooks"
TEXT = (FOLDER / "glossary.md").read_text(encoding="utf-8")
ANCHORS = re.findall(r'<a id="([a-z0-9-]+)"></a>', TEXT)
ENTRIES = re.split(r'<a id="[a-z0-9-]+"></a>', TEXT)[1:]


def test_anchors_are_unique_and_in_order():
    assert len(ANCHORS) == len(set(ANCHORS)) >= 60
    assert sorted(ANCHORS) == ANCHORS


def test_its_own_links_lead_somewhere():
    assert set(re.findall(r"\]\(#([a-z0-9-]+)\)", TEXT)) == set(ANCHORS)
    for link in re.findall(r"\]\((\w+\.ipynb)\)", TEXT):
        assert (FOLDER / link).is_file(), link


def test_an_entry_has_a_name_two_sentences_and_a_lesson():
    for name, entry in zip(ANCHORS, ENTRIES, strict=True):
        heading, meaning, lessons = (part for part in entry.strip().split("\n\n") if part)
        assert heading.startswith("### "), name
        assert len(re.findall(r"[.:;](?:\s|$|\*)", meaning)) >= 2, name
        assert re.fullmatch(r"\*(Lessons? .*\d\d.*|In no lesson: .+)\*", lessons), name


WORDS = {  # entries that lessons mention by another word
    "beam-search": "beam",
    "context-length": "n_ctx",
    "logit-lens": "logit lens",
    "rollout": "rollout",
    "bleu": "bleu",
    "dropout": "dropout",
    "value-weighted": "value length",
    "duplicate-token-head": "duplicate token",
    "padding": "padd",
    "adapter": "namednetwork",
    "learning-rate-schedule": "learning rate",
}


@pytest.mark.parametrize("name", WORDS)
def test_a_lesson_that_an_entry_names_has_the_word(name):
    entry = ENTRIES[ANCHORS.index(name)]
    named = set(re.findall(r"\]\((\d\d\w+\.ipynb)\)", entry))
    having = set()
    for path in lesson_paths(FOLDER):
        cells = nbformat.read(path, as_version=4).cells
        if any(WORDS[name] in cell.source.lower() for cell in cells):
            having.add(path.name)
    assert named <= having
    assert named or not having


@pytest.mark.parametrize("path", lesson_paths(FOLDER), ids=lambda p: p.stem)
def test_lessons_link_to_words_that_are_there(path):
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    missing = set(re.findall(r"glossary\.md#([\w-]+)", prose)) - set(ANCHORS)
    assert not missing, f"{path.name} links to {missing}, which the glossary has not"
