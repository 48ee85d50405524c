"""Lesson 01 as a learner sees it: run all, do an exercise wrong and right, in light and dark."""

from pathlib import Path

import pytest

LESSON = Path(__file__).parents[2] / "notebooks" / "01_attention_by_hand.ipynb"

pytestmark = pytest.mark.browser

WRONG = """@exercise("attention", lesson)
def attention(query, key, value):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return torch.softmax(scores, dim=-2) @ value
"""
RIGHT = WRONG.replace("dim=-2", "dim=-1")

# Pairs of overlapping words in one card.
OVERLAPS = """() => [...document.querySelectorAll(".tl-card")].flatMap((card) => {
    const walker = document.createTreeWalker(card, NodeFilter.SHOW_TEXT), boxes = [];
    for (let text = walker.nextNode(); text; text = walker.nextNode()) {
        const range = document.createRange();
        range.selectNodeContents(text);
        for (const box of range.getClientRects()) boxes.push([text.textContent, box]);
    }
    return boxes.flatMap(([a, p], i) => boxes.slice(0, i).filter(([, q]) => p.x < q.right - 1 &&
        q.x < p.right - 1 && p.y < q.bottom - 4 && q.y < p.bottom - 4).map(([b]) => [a, b]));
})"""


@pytest.mark.timeout(300)
def test_an_exercise_done_wrong_and_right(open_lesson, screenshot):
    lesson = open_lesson(LESSON)
    opened = lesson.opened
    lesson.run_all()
    assert lesson.shows("attention-check", "attention is not written yet.")
    assert lesson.shows("finish", "Lesson 01 ran to its end.")
    assert opened.page.locator(".tl-card").count() > 2
    assert opened.page.evaluate(OVERLAPS) == []

    lesson.run("attention", WRONG)
    lesson.run("attention-check")
    assert lesson.shows("attention-check", "normalised over the queries")
    screenshot(opened.page, "lesson_01_wrong")

    lesson.run("attention", RIGHT)
    lesson.run("attention-check")
    assert lesson.shows("attention-check", "attention is right.")
    lesson.run("drive")
    lesson.run("drive-picture")
    [[theme, alt]] = lesson.visible_pictures("drive-picture")
    assert theme == "tl-light"
    assert "your attention" in alt
    screenshot(opened.page, "lesson_01_right")

    opened.command("apputils:change-theme", theme="JupyterLab Dark")
    opened.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    for picture in ("sentence-picture", "drive-picture", "mask-picture", "saturation-picture"):
        [[theme, alt]] = lesson.visible_pictures(picture)
        assert theme == "tl-dark"
        assert len(alt) > 20
    screenshot(opened.page, "lesson_01_dark")
    assert opened.page.errors == []


@pytest.mark.timeout(300)
def test_a_false_claim_is_one_line(notebook):
    opened = notebook(
        "from transformer_lab.lessons import claim\nclaim('the moon is cheese', 0.1, at_least=0.9)"
    )
    opened.run_all()
    opened.page.wait_for_selector(".jp-OutputArea-output")
    text = opened.page.inner_text(".jp-OutputArea")
    assert "ClaimFailed: the moon is cheese: measured 0.1, but it should be at least 0.9" in text
    assert "Traceback" not in text
    opened.command("apputils:change-theme", theme="JupyterLab Light")
