"""What newcomers see first is short, true and runs: README, documents, links, the small example."""

import os
import re
import runpy
from pathlib import Path

import pytest

import transformer_lab as tl

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "notebooks/*.md", "data/**/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"(?<!`)\[[^\]\[]*\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def test_the_readme_is_short():
    assert len(README.encode()) <= 7000


def test_the_readme_has_no_placeholder():
    assert not re.search(r"URL-OF|YOUR-|<your|example\.com", README, re.IGNORECASE)


def anchors(text):
    """The anchors of a Markdown page: explicit ones, and GitHub's for its headings."""
    plain = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", found) for found in HEADING.findall(text))
    made = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}
    return made | {*re.findall(r'id="([^"]+)"', text)}


def dead_links(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    images = re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in [*LINK.findall(text), *images]:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        there = path.exists()
        if there and anchor and path.suffix == ".md":
            there = anchor in anchors(path.read_text("utf-8"))
        if not there:
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert list(dead_links(page)) == []


def test_a_dead_link_would_be_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One two\n[a](#one-two) [b](#three) [c](gone.md) [d](https://x.org) `[e](f)`")
    assert list(dead_links(page)) == ["#three", "gone.md"]


def test_the_python_of_the_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 6
    names = {}
    exec(code.replace("tl.explore", "view = tl.explore"), names)
    model, text = names["model"], names["text"]
    assert model.predict(text)[0][0] == "key"
    with tl.edit(model, tl.ablate(layer=2, head=2)):
        assert model.predict(text)[0][0] != "key"
    assert isinstance(names["view"], tl.views.Explorer)
    names["view"].close()


def test_every_view_is_in_the_readme():
    section = README.split("## Views")[1].split("\n## ")[0]
    views = [name for name in tl.views.__all__ if name.endswith("View")]
    assert [name for name in views if name not in section] == []


def test_every_public_name_has_its_place():
    """In docs/api.md below its verb, and in help(tl)."""
    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    sections = {part.partition("\n")[0].lower(): part for part in text.split("\n## ")[1:]}
    for verb, names in tl._API.items():
        rows = [line for line in sections[verb].splitlines() if line.startswith("| `")]
        named = re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in rows))
        assert sorted(named) == sorted(names), verb
        assert all(re.search(rf"\b{name}\b", tl.__doc__) for name in names)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("TextModle", "TextModel"),
        ("abalte", "ablate"),
        ("Explore", "explore"),
        ("sweephead", "sweep_heads"),
    ],
)
def test_a_misspelled_name_suggests_at_most_three(name, nearest):
    with pytest.raises(AttributeError, match=f"no '{name}'; did you mean {nearest}") as error:
        getattr(tl, name)
    assert str(error.value).count(" or ") <= 2


def test_a_name_like_no_other_points_to_the_list():
    with pytest.raises(AttributeError, match=r"no 'zzzz'; help\(tl\) lists its names"):
        tl.zzzz  # noqa: B018


def test_the_small_example_learns_and_is_edited(capsys):
    path = ROOT / "examples" / "minimal.py"
    assert len(path.read_text("utf-8").splitlines()) <= 165
    found = runpy.run_path(os.fspath(path))["main"](steps=200)
    assert found["loss"] < 0.5 < found["without"]
    sums = found["patterns"].sum(-1)
    assert sums.allclose(sums.new_ones(()).expand_as(sums))
    assert "what the last position attends to" in capsys.readouterr().out
