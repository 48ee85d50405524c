"""A pointer resting over a view does not undo what keys have selected."""

import pytest

from tests.browser.rest import REST
from tests.every_view import VIEWS, made  # noqa: F401

KEPT = "addEventListener('pointermove', ({ screenX, screenY }) => (window.last = { screenX, screenY }), true)"
# The browser sends events for a resting pointer when the page moves under it; so does this.
TOLD = f"""async ([clientX, clientY]) => {{
    {REST}
    const said = () => document.querySelector("[data-part=sentence]").textContent;
    await rest(said);
    const before = said();
    for (const name of ["pointerover", "pointermove"]) {{
        const at = document.elementFromPoint(clientX, clientY);
        at.dispatchEvent(new PointerEvent(name, {{ ...window.last, clientX, clientY, bubbles: true, composed: true }}));
    }}
    await rest(said);
    return [before, said()];
}}"""


MAPS = [name for name in VIEWS if name not in ("BlockView", "EmbeddingView", "MixView")]


@pytest.mark.parametrize("name", MAPS)
def test_what_keys_chose_stays_under_a_pointer_that_rests(open_page, made, name):  # noqa: F811
    page = open_page(made(name).to_html())
    page.evaluate(KEPT)
    parts = page.locator("canvas[tabindex='0']:visible").all()
    assert parts
    for part in parts:
        part.scroll_into_view_if_needed()
        box = part.bounding_box()
        at = [box["x"] + 0.5 * box["width"], box["y"] + 0.4 * box["height"]]
        page.mouse.move(*at)
        part.focus()
        for key in ("ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
        before, after = page.evaluate(TOLD, at)
        assert after == before, part.get_attribute("data-part")
        page.mouse.move(at[0] + 1, at[1])  # a moving pointer has an effect
    page.evaluate("addEventListener('pointermove', () => (window.heard = true))")
    page.mouse.move(at[0] + 3, at[1] + 3)
    page.wait_for_function("() => window.heard")
