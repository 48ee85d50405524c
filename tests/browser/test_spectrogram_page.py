"""A saved SpectrogramView: select a word, a time, a head, fade, switch off; Python agrees."""

import pytest

import transformer_lab as tl
from tests.browser.fixtures import another_head_by_keys, cut_needs_a_notebook, says, without_a_head
from tests.missing import package
from tests.sounds import RATE, TARGET, WORDS, chirp, whisper
from transformer_lab.views import SpectrogramView

package("transformers")


@pytest.fixture(scope="module")
def view():
    model = whisper(sharpness=6)
    return SpectrogramView(model, chirp(), sampling_rate=RATE, target=TARGET, labels=WORDS)


@pytest.fixture
def fresh(view):
    view.layer, view.head, view.selected, view.edits = 1, 0, None, []
    view.mean, view.span, view.whole = "", None, False
    return view


def at(page, seconds, down=0.5):
    """The point on the page at a time, this far down the spectrogram."""
    canvas = page.locator("[data-part=sound]")
    box, data = canvas.bounding_box(), canvas.evaluate("c => ({...c.dataset})")
    x = float(data["left"]) + seconds / float(data["to"]) * float(data["width"])
    return box["x"] + x, box["y"] + float(data["top"]) + down * float(data["tall"])


def word(page, i):
    return page.locator(f"[data-part=words] [data-value='{i}']")


def test_words_and_times_are_chosen_by_pointer_and_keys(open_page, fresh):
    view = fresh
    page = open_page(view.to_html(), width=900)
    says(page, view)
    word(page, 3).hover()
    view.selected = (3, None)
    says(page, view)  # previewed
    page.mouse.move(2, 2)
    view.selected = None
    says(page, view)
    word(page, 2).click()
    page.keyboard.press("ArrowRight")
    page.mouse.move(2, 2)
    view.selected = (3, None)
    says(page, view)
    page.keyboard.press("Escape")
    view.selected = None
    says(page, view)
    page.mouse.move(*at(page, 0.304))  # the position of 0.30 s, from 0.29 to 0.31 s
    weight = float(view.trace.pattern(1, 0, kind="cross")[1, 15])
    told = f"0.29–0.31 s: {weight:.1%} of the weight"
    assert page.locator("[data-part=readout]").inner_text() == told
    page.mouse.down()
    page.mouse.move(*at(page, 0.396), steps=3)
    page.mouse.up()
    page.mouse.move(2, 2)
    view.span = (15, 20)
    says(page, view)
    page.locator("[data-part=sound]").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    view.span = (21, 22)
    says(page, view)
    page.keyboard.press("Escape")
    view.span = None
    says(page, view)
    another_head_by_keys(page, view)
    for mean in ("layer", "all"):
        page.locator(f"[data-part=mean] [data-value={mean}]").click()
        view.mean = mean
        says(page, view)


COLOURS = """([x, y]) => {
    const canvas = document.querySelector("[data-part=sound]");
    const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
    return [...canvas.getContext("2d").getImageData((x - box.left) * scale, (y - box.top) * scale, 1, 1).data];
}"""


def test_the_weights_lie_at_their_times(open_page, fresh):
    """Fully faded, the colour over dark parts of the spectrogram is brightest at the weight."""
    view = fresh
    view.fade, view.whole = 1.0, True
    try:
        page = open_page(view.to_html(), width=1200)
        row = view.trace.pattern(1, 0, kind="cross")[1]
        light = [
            sum(page.evaluate(COLOURS, at(page, 0.02 * i, down=0.02))[:3]) for i in range(1, 49)
        ]
        best = int(row[1:49].argmax())
        assert max(range(48), key=light.__getitem__) == best
        order = row[1:49].argsort().tolist()
        assert light[order[0]] < light[order[40]] < light[order[47]]
        # Its edges, to a pixel: 10 ms from the middle.
        middle, width = (
            0.02 * (best + 1),
            float(page.locator("[data-part=sound]").get_attribute("data-width")),
        )
        inside, outside = 0.01 - 1 / width, 0.01 + 2 / width
        peak = page.evaluate(COLOURS, at(page, middle, down=0.02))
        for side in (-1, 1):
            assert page.evaluate(COLOURS, at(page, middle + side * inside, down=0.02)) == peak
            assert page.evaluate(COLOURS, at(page, middle + side * outside, down=0.02)) != peak
        page.locator("[data-part=fade]").focus()
        page.keyboard.press("Home")
        page.wait_for_function(  # without weights, silence is black
            f"at => String(({COLOURS})(at)) === '0,0,0,255'", arg=at(page, 0.9, down=0.5)
        )
        low = page.evaluate(COLOURS, at(page, 0.4, down=1 - 0.59))
        assert low[0] > 150  # a chirp from 200 to 4000 Hz in 0.8 s is at 2.1 kHz here
    finally:
        view.fade, view.whole = 0.8, False


def test_a_head_is_switched_off_and_a_time_is_cut(open_page, accessible, fresh):
    view = fresh
    page = open_page(view.to_html(), width=900)
    without_a_head(page, view, tl.ablate(1, 0, kind="cross"))
    assert page.locator("[data-part=effect] tbody th").first.inner_text() == "“·two”"
    word(page, 3).click()
    page.mouse.move(2, 2)
    view.selected = (3, None)
    says(page, view)  # the same pass, at another word
    assert page.locator("[data-part=off]").inner_text() == "Switch this head on again"
    page.locator("[data-part=try]").click()
    page.wait_for_selector("[data-part=tried]:has-text('Under each head')")
    assert (
        "probability of “.” without it. This one: "
        in page.locator("[data-part=tried]").inner_text()
    )
    accessible(page)
    page.locator("[data-part=cut]").click()
    cut_needs_a_notebook(page, view)


def test_many_words_and_one_model_without_words(open_page, fresh):
    """Four hundred words in thirty seconds, and a model without a head; both without errors."""
    long = whisper(seconds=30.0, bins=16, max_target_positions=420)
    target = [1, *(5 + i % 20 for i in range(400))]
    view = SpectrogramView(long, chirp(length=20.0), sampling_rate=RATE, target=target)
    page = open_page(view.to_html(effects=False), width=700)
    says(page, view)
    assert word(page, 400).count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    silent = SpectrogramView(whisper(head=False), chirp(), sampling_rate=RATE, target=TARGET)
    page = open_page(silent.to_html(), width=700)
    says(page, silent)
    assert not page.locator("[data-part=matter]").is_visible()
    assert not page.locator("[data-part=try]").is_visible()
