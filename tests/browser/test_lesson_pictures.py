"""Lesson figures in files take the colours of the page that shows them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.lessons.test_pictures import NAMES, every_picture
from transformer_lab.config import MODEL_KINDS
from transformer_lab.lessons.cards import Card
from transformer_lab.lessons.diagram import architecture
from transformer_lab.lessons.pictures import DARK, LIGHT

HEROES = sorted((Path(__file__).parents[2] / "notebooks" / "images").glob("*.svg"))


@pytest.fixture
def seen(open_page):
    """The pixels of an SVG file on a light or a dark page."""

    page = None

    def shot(path, scheme):
        nonlocal page
        page = open_page(path, scheme=scheme, ready="svg", instead=page)
        return np.asarray(
            Image.open(io.BytesIO(page.locator("svg").first.screenshot())).convert("RGB"), dtype=int
        )

    return shot


@pytest.mark.parametrize("name", NAMES)
def test_one_file_is_the_picture_of_the_theme_of_its_page(seen, name, tmp_path):
    picture = every_picture()[name]
    texts = {"both": picture.svg_of_both(), "light": picture.svg(LIGHT), "dark": picture.svg(DARK)}
    for file, text in texts.items():
        (tmp_path / f"{file}.svg").write_text(text, "utf-8")
    for scheme in ("light", "dark"):
        both, own = (seen(tmp_path / f"{file}.svg", scheme) for file in ("both", scheme))
        assert (both == own).all(), scheme


@pytest.mark.parametrize("path", HEROES, ids=lambda path: path.stem)
def test_no_picture_at_the_head_of_a_lesson_is_a_white_slab_in_the_dark(seen, path):
    for theme, other in ((LIGHT, DARK), (DARK, LIGHT)):
        pixels = seen(path, theme.name)
        paper, wrong = ([int(t.page[i : i + 2], 16) for i in (1, 3, 5)] for t in (theme, other))
        assert (pixels[1, 1] == paper).all()
        assert (abs(pixels - wrong) < 24).all(-1).mean() < 0.1  # except text on it


def test_no_two_names_of_curves_at_the_head_of_a_lesson_lie_on_one_another(open_page):
    page = None
    for path in HEROES:
        page = open_page(path, ready="svg", instead=page)
        boxes = page.evaluate(
            """() => [...document.querySelectorAll("text[transform*='rotate(-0']")].map((text) => text.getBoundingClientRect())
            .filter(({ width }) => width).map(({ x, y, width, height }) => [x, y + height / 4, x + width, y + height * 3 / 4])"""
        )
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                apart = a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]
                assert apart, (path.name, a, b)


@pytest.mark.parametrize("language", ["en", "de"])
def test_no_words_of_the_architecture_lie_on_one_another_or_leave_their_box(open_page, language):
    drawings = [
        architecture(part, kind=kind, language=language)
        for kind in MODEL_KINDS
        for part in ("heads", "residual", "block", "generation")
        if part in architecture(kind=kind).parts
    ]
    page = open_page("".join(drawing.svg(LIGHT) for drawing in drawings), ready="svg", width=460)
    pictures = page.evaluate(
        """() => [...document.querySelectorAll("svg")].map((svg) => {
        const box = (part) => { const { x, y, right, bottom } = part.getBoundingClientRect(); return [x, y, right, bottom]; };
        return { all: box(svg), words: [...svg.querySelectorAll("text")].map((text) => [text.textContent, box(text)]),
        boxes: [...svg.querySelectorAll("rect.box, rect.row")].map(box) }; })"""
    )
    assert len(pictures) == len(drawings)
    for picture in pictures:
        left, top, right, bottom = picture["all"]
        for i, (name, (x, y, x1, y1)) in enumerate(picture["words"]):
            assert left <= x and x1 <= right and top <= y and y1 <= bottom, name
            for other, (a, b, a1, b1) in picture["words"][:i]:
                apart = x >= a1 or a >= x1 or y + 3 >= b1 - 3 or b + 3 >= y1 - 3
                assert apart, (name, other)
            middle = (y + y1) / 2
            for a, b, a1, b1 in picture["boxes"]:
                if a <= x <= a1 and b <= middle <= b1:
                    assert x1 <= a1, name


@pytest.mark.parametrize("words", [3, 14, 40])
def test_the_mark_of_a_card_precedes_its_first_line_and_the_fields_follow_it(open_page, words):
    card = Card(
        "good", " ".join(["claimed"] * words), fields={"measured": "1", "bound": "at least 0.5"}
    )
    page = open_page(f"<meta charset='utf-8'>{card.html()}", ready=".tl-card", width=1200)
    mark, title, fields, box = page.evaluate(
        """() => [...[...document.querySelectorAll(".tl-card span")].slice(0, 2),
        [...document.querySelectorAll(".tl-card > div")].at(-1), document.querySelector(".tl-card")]
        .map((part) => part.getBoundingClientRect()).map(({ x, y, right, bottom }) => ({ x, y, right, bottom }))"""
    )
    assert abs(mark["y"] - title["y"]) < 4  # two fonts on one line
    assert mark["right"] <= title["x"] < mark["right"] + 4
    assert fields["right"] <= box["right"] and title["right"] <= box["right"]
    assert fields["y"] >= title["bottom"] - 4 and abs(fields["x"] - title["x"]) < 4
