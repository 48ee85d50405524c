"""What the teacher's guide points at is there."""

import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "teaching.md").read_text("utf-8")
LESSONS = {
    path.stem[:2]: {cell.id for cell in nbformat.read(path, as_version=4).cells}
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
}


def test_every_cell_that_the_guide_names_exists():
    named = re.findall(r"`(\d\d)#([a-z0-9-]+)`", GUIDE)
    assert len(named) >= 20
    missing = [f"{lesson}#{cell}" for lesson, cell in named if cell not in LESSONS.get(lesson, ())]
    assert missing == []


def test_both_plans_hold_every_lesson():
    six, twelve = GUIDE.split("## Twelve weeks")
    for plan in (six.split("## Six weeks")[1], twelve.split("## Misconceptions")[0]):
        for lesson in LESSONS:
            assert re.search(rf"\b{lesson}\b", plan), lesson


def test_the_links_of_the_guide_lead_somewhere():
    anchors = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in GUIDE.splitlines()
        if line.startswith("#")
    }
    links = re.findall(r"\]\(#([^)]+)\)", GUIDE)
    assert links
    assert set(links) <= anchors
