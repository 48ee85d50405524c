"""The pages of the three rooms: one screen each, links that lead somewhere, and a short core."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = [ROOT / "transformer_lab" / name / "README.md" for name in ("", "views", "lessons")]
TO_READ = 1800  # lines of the core that are not blank


@pytest.mark.parametrize("page", ROOMS, ids=lambda page: page.parent.name)
def test_a_rooms_page_is_one_screen_and_its_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    assert len(text.splitlines()) <= 50
    for part in (
        "## Read in this order",
        "## What may be changed where",
        "## One change, step by step",
    ):
        assert text.count(part) == 1, part
    links = re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", text)
    assert len(links) >= 8
    lost = [link for link in links if not (page.parent / link).exists()]
    assert lost == []


def test_architecture_begins_with_the_rooms():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    first = text.partition("## ")[0]
    for page in ROOMS:
        assert f"(../{page.relative_to(ROOT).as_posix()})" in first


def test_the_core_is_read_in_one_sitting():
    text = ROOMS[0].read_text("utf-8").partition("## Read in this order")[2].partition("Then ")[0]
    files = re.findall(r"\]\(([\w/]+\.py)\)", text)
    assert len(files) >= 5
    lines = [x for f in files for x in (ROOMS[0].parent / f).read_text("utf-8").splitlines()]
    assert len([x for x in lines if x.strip()]) <= TO_READ
