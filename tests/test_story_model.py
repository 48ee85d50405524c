"""The model that tells little stories: its files, and the names that it copies."""

import json
import re

import pytest

import transformer_lab as tl
from transformer_lab.files.resources import resource

SAYING = re.compile(r"\b(said|asked|cried|called|whispered|answered|Thank you,)$")


@pytest.fixture(scope="module")
def model() -> tl.TextModel:
    return tl.shipped("stories")


@pytest.fixture(scope="module")
def stories(model):
    data = tl.datasets.little_stories(size=1, held_out=60, tokenizer=model.tokenizer)
    return [story for story in data.held_out if len(story.people) == 2]


@pytest.fixture(scope="module")
def places(stories) -> list[tuple[str, str]]:
    """(text, the name that follows): the last name of a story that a word of saying calls for."""
    found = []
    for story in stories:
        names = [m for m in story.mentions if m.kind == "name"]
        texts = [(story.text[: m.start].rstrip(), story.text[m.start : m.end]) for m in names]
        known = [
            (text, name)
            for text, name in texts
            if SAYING.search(text) and all(p.name in text for p in story.people)
        ]
        found += known[-1:]
    return found


def says(model, text: str, name: str) -> bool:
    length = len(model.tokenizer.encode(" " + name)) + 1
    said = model.generate(text, max_new_tokens=length, temperature=0)
    return re.match(rf" {name}\b", said) is not None


def test_it_is_small_and_is_the_one_on_the_card(model):
    folder = resource("data", "models", "stories")
    assert sum(f.stat().st_size for f in folder.iterdir() if f.suffix != ".py") < 5 * 2**20
    card = (folder / "README.md").read_text("utf-8")
    measured = json.loads((folder / "measured.json").read_text("utf-8"))
    assert f"{model.model.n_parameters():,}" in card
    assert f"| {measured['names']['right']} |" in card
    assert all(text in card for text in measured["continuations"])
    assert model.model.loaded_from == "stories"


def test_a_story_survives_its_tokens(model, stories):
    for story in stories:
        assert model.decode(model.encode(story.text)) == story.text


def test_it_copies_names_that_it_has_never_seen(model, places):
    assert len(places) > 25
    right = sum(says(model, text, name) for text, name in places)
    assert right / len(places) > 0.75
    hidden = [(re.sub(rf"\b{name}\b", "Pelmo", text), name) for text, name in places]
    assert sum(says(model, text, name) for text, name in hidden) / len(places) < 0.1
    assert sum(says(model, text, "Pelmo") for text, name in hidden) / len(places) > 0.6


def test_it_opens_in_the_explorer(model):
    page = tl.explore("stories").to_html(model=False)
    assert "Tilda" in page
