"""A saved Explorer without a model: what it shows without a kernel, with Python's numbers."""

from dataclasses import dataclass

import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import choose_head
from transformer_lab.edits import constructors
from transformer_lab.edits.kinds import Edit
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import Explorer, View
from transformer_lab.views.pages import carrying, export
from transformer_lab.views.shared.messages import fixed, percent

part = "[data-part={}]".format
CODE = "for key in self.keys:\n    if key not in self."
WORDS = "The animal did not cross the street because it was too tired ."
FRENCH = "l animal n a pas traversé la rue"


@pytest.fixture(scope="module")
def shipped():
    return tl.shipped()


def small(kind, n_layers=2, n_heads=4, **options):
    torch.manual_seed(4)
    tokenizer = WordTokenizer.train(f"{WORDS} {FRENCH}")
    config = tl.ModelConfig(
        kind=kind,
        vocab_size=tokenizer.vocab_size,
        n_layers=n_layers,
        n_heads=n_heads,
        d_model=32 if 32 % n_heads == 0 else 4 * n_heads,
        n_ctx=32,
        **options,
    )
    model = tl.Transformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return tl.TextModel(model, tokenizer, f"small {kind}")


def rows(page):
    found = page.locator("[data-part=predictions] tbody tr")
    return found.evaluate_all(
        "all => all.map(r => [r.querySelector('th').innerText,"
        " ...[...r.querySelectorAll('[data-side]')].map(e => e.innerText)])"
    )


def python_rows(effect):
    return [
        [r.token, percent(r.before)] + ([] if r.after is None else [percent(r.after)])
        for r in effect.rows
    ]


def text(page, name):
    return page.locator(part(name)).inner_text()


def effect_alone(page):
    """The sentence on the selected head's effect, with the change of the whole prediction."""
    return page.locator(part("head-effect")).get_attribute("title")


def at_token(page, index, side="text"):
    """Select a token of the text, or of the target."""
    page.locator(f"[data-part=strip-{side}] [data-index='{index}']").click()


def settled(page, edits):
    page.wait_for_selector(f"[data-edits='{edits}'][data-settled=true]")


def test_any_head_can_be_switched_off_and_on(open_page, shipped, screenshot):
    view = Explorer(shipped, CODE, layer=2, head=2)
    view._facts.name_heads()
    page = open_page(view.to_html(model=False))
    assert rows(page) == python_rows(view.session.outcome)
    assert text(page, "lead").startswith("None yet. Switch a head off to see if it matters.")
    assert text(page, "where") == "after “.”"
    ghosts = page.locator("[data-part=strip-text] [data-next]").all_inner_texts()
    assert ghosts == [f"{row.token} {percent(row.before)}" for row in view.predictions[:3]]
    assert text(page, "head-title") == "Layer 2, head 2 · induction"
    assert text(page, "head-label") == view._labels["decoder"][2][2]["sentence"]
    subject = "With layer 2, head 2 switched off"
    if_off = "If layer 2, head 2 is switched off"  # it is still on
    assert effect_alone(page) == view.effect_of(2, 2).sentence(if_off)
    assert text(page, "head-effect") == effect_alone(page).partition(" Overall")[0]
    assert (
        text(page, "effect")
        == "After “.”, the model guesses “key” (31%). Does it need layer 2, head 2?"
    )
    assert text(page, "sweep-note").startswith("Dots: how P(“key”) changes without each head.")
    page.locator(part("head-off")).click()
    settled(page, 1)
    view.edits = [tl.ablate(2, 2)]
    assert rows(page) == python_rows(view.effect)
    assert text(page, "effect") == view.effect.sentence(subject)
    assert text(page, "kl") == f"Overall change: very large (KL {view.effect.kl:.2f})"
    heads = page.locator("[data-part=predictions] thead th").all_text_contents()
    assert heads == ["token", "before → after"]
    assert text(page, "sweep-note").endswith("Measured in the unedited model.")
    assert not page.locator(part("head-effect")).is_visible()  # the edits say more
    assert page.locator("[data-part=edits] bdi").all_inner_texts() == ["layer 2, head 2 off"]
    assert "seeing the others needs a live kernel" in text(page, "flag")
    screenshot(page, "explorer-light-1300", full_page=True)
    page.locator(part("remove-edit")).click()
    settled(page, 0)
    page.locator(part("undo")).click()
    settled(page, 1)
    page.locator(part("redo")).click()
    settled(page, 0)
    # With only the keyboard, at another token.
    page.locator("[data-part=strip-text] [data-index='14']").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-selected='13,']")
    settled(page, 0)
    assert text(page, "where") == f"after “{view._about['tokens'][13]}”"
    assert (
        page.locator("[data-part=strip-text] [data-next]").count() == 0
    )  # the text has a next token
    page.locator("[data-part=queries] [data-index='14']").click()
    assert text(page, "predict-here") == "after “.”"
    page.keyboard.press("Escape")
    grid = page.locator(part("thumbnails"))
    grid.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("x")
    settled(page, 1)
    view.edits = []
    view.position = 13
    assert rows(page) == python_rows(
        view.session.runs.effect(view.session.reading, "decoder", 1, 2, [13])[13]
    )
    assert "switched off" in grid.get_attribute("aria-label")
    page.locator(part("copy-edits")).click()
    page.wait_for_selector("[data-copied-edits]")
    view.edits = [tl.ablate(1, 2)]
    assert page.locator("#tl-root").get_attribute("data-copied-edits") == view.code


def test_groups_and_cuts_say_that_they_need_a_kernel(open_page, shipped, map_of):
    view = Explorer(shipped, CODE, layer=3, head=1)
    page = open_page(view.to_html(model=False))
    assert page.locator(part("text")).get_attribute("readonly") is not None
    assert not page.locator(part("run")).is_visible()
    grid = page.locator(part("thumbnails"))
    box = grid.bounding_box()
    grid.click(position={"x": box["width"] * 0.1, "y": box["height"] * 0.1}, modifiers=["Shift"])
    assert text(page, "head-off") == "Switch 2 heads off"
    page.locator(part("head-off")).click()
    settled(page, 2)
    assert text(page, "invite").startswith("The prediction with several edits needs a live kernel")
    page.locator(part("remove-all")).click()
    settled(page, 0)
    page.locator("[data-part=tool] [data-value=off]").click()
    grid.click(position={"x": box["width"] * 0.9, "y": box["height"] * 0.1})
    settled(page, 1)
    assert page.locator("[data-part=edits] bdi").all_inner_texts() == ["layer 0, head 3 off"]
    map_of(page).click(14, 2)  # one tool for grid, lines and map: this is the head's map
    settled(page, 0)
    page.locator("[data-part=queries] [data-index='14']").click()
    settled(page, 1)
    page.locator(part("remove-all")).click()
    settled(page, 0)
    # A cut edge: the page computes its row exactly.
    page.locator("[data-part=tool] [data-value=cut]").click()
    choose_head(page, 3, 3)
    page.wait_for_selector("[data-shown='decoder/3/3']")
    key = int(view.trace.pattern(3, 3)[14].argmax())
    map_of(page).click(14, key)
    settled(page, 1)
    edit = tl.knock_out(3, 3, query=14, key=key)
    with tl.edit(shipped, edit):
        after = shipped.trace(CODE).pattern(3, 3)
    for at in (key, key - 1, 14):
        assert float(map_of(page).hover(14, at)) == pytest.approx(float(after[14, at]), abs=1.5e-4)
    assert text(page, "invite").startswith("The prediction with a cut edge needs a live kernel")
    page.locator("[data-part=map-mode] [data-value=difference]").click()
    shown = map_of(page).hover(14, key).replace("−", "-")
    before = float(view.trace.pattern(3, 3)[14, key])
    assert float(shown) == pytest.approx(-before, abs=1.5e-4)
    map_of(page).click(2, 9)
    assert "cannot attend to" in text(page, "status")


def test_what_heads_do_follows_the_token_that_is_predicted(open_page):
    view = Explorer(small("encoder-decoder"), WORDS, FRENCH, layer=0)
    page = open_page(view.to_html(model=False))
    for position in (1, 2):
        at_token(page, position, "target")
        view.position = position
        token = view.predictions[0].token
        page.wait_for_function(
            "t => document.querySelector('[data-part=sweep-note]').textContent.includes(t)",
            arg=f"P(“{token}”)",
        )
        told = view.effect_of(0, 0).sentence("If cross layer 0, head 0 is switched off")
        assert effect_alone(page) == told
        effects = [view.effect_of(*at, kind).likeliest for kind, *at in view.heads.every(view.kind)]
        here = effects[: 2 * 4]
        most = max(abs(row.change) for row in here)
        note = text(page, "sweep-note")
        assert (
            f"the largest is {fixed(most)}." in note if most >= 0.01 else "less than 0.01" in note
        )
    told = effect_alone(page)
    page.locator(part("head-off")).click()
    settled(page, 1)
    done = told.replace(
        "If cross layer 0, head 0 is switched off", "With cross layer 0, head 0 switched off"
    )
    assert text(page, "effect") == done != told


def test_dots_are_small_where_no_head_does_much(open_page):
    model = small("decoder")
    with torch.no_grad():
        for name, parameter in model.model.named_parameters():
            if "attention.out" in name:
                parameter.mul_(1e-4)
    view = Explorer(model, WORDS)
    page = open_page(view.to_html(model=False))
    token = view.predictions[0].token
    assert max(abs(view.effect_of(0, h).likeliest.change) for h in range(4)) < 0.01
    assert text(page, "sweep-note") == (
        f"Switching off one head changes P(“{token}”) by less than 0.01, whichever it is."
    )


def test_a_group_ends_where_another_head_is_chosen(open_page, shipped):
    page = open_page(Explorer(shipped, CODE, layer=3, head=1).to_html(model=False))
    grid = page.locator(part("thumbnails"))
    box = grid.bounding_box()
    at = {"x": box["width"] * 0.1, "y": box["height"] * 0.1}
    grid.click(position=at, modifiers=["Shift"])
    assert text(page, "head-off") == "Switch 2 heads off"
    page.locator(part("head-on")).click()
    page.locator(part("head-on")).click()
    page.wait_for_selector("[data-shown='decoder/0/2']")
    assert text(page, "head-off") == "Switch this head off"


def test_edits_that_were_saved_are_there_with_their_maps(open_page, shipped, map_of, tmp_path):
    edits = [tl.ablate(0, 1), tl.knock_out(2, 2, query=14, key=5)]
    view = Explorer(shipped, CODE, layer=2, head=2, edits=edits)
    page = open_page(view.to_html(model=False))
    assert rows(page) == python_rows(view.effect)
    assert text(page, "effect") == view._outcome["sentence"]
    assert text(page, "sentence") == view.head_sentence
    for mode in ("after", "before", "difference"):
        page.locator(f"[data-part=map-mode] [data-value={mode}]").click()
        view._options = {"map": mode}
        shown = float(map_of(page).hover(14, 7).replace("−", "-"))
        assert shown == pytest.approx(float(view.row(14)[7]), abs=1.5e-4)
        page.mouse.move(5, 5)
        page.wait_for_function(
            "s => document.querySelector('[data-part=sentence]').textContent === s",
            arg=view.head_sentence,
        )
    page.locator(part("save")).click()
    with page.expect_download() as download:
        page.locator(part("html")).click()
    download.value.save_as(tmp_path / "again.html")
    again = open_page(tmp_path / "again.html")
    assert rows(again) == python_rows(view.effect)
    again.locator(part("remove-all")).click()
    settled(again, 0)
    view.edits = []
    assert rows(again) == python_rows(view.session.outcome)


def test_in_a_rendered_notebook_it_says_what_is_missing(open_page, shipped):
    """nbconvert keeps only the state of a live view."""
    view = Explorer(shipped, CODE, layer=2, head=2)
    state = View._page_state(view)
    assert state["_live"]
    buffers = {k: bytes(v) for k, v in state.items() if isinstance(v, (bytes, memoryview))}
    page = open_page("".join(export.page(state, buffers, title="Explorer")))
    assert not page.locator(part("run")).is_visible()
    assert rows(page) == python_rows(view.session.outcome)
    at_token(page, 13)  # selecting needs no kernel; another prediction does
    page.wait_for_selector("[data-selected='13,']")
    assert not page.locator(part("status")).is_visible()
    page.locator(part("predict-here")).click()
    page.wait_for_selector("[data-state=error]")
    assert text(page, "status").startswith("The prediction after another token needs a live kernel")
    page.locator(part("head-off")).click()
    settled(page, 1)
    assert text(page, "invite").startswith("The prediction without this head needs a live kernel")


def test_a_thousand_clicks_leave_the_last_state(open_page, shipped):
    page = open_page(Explorer(shipped, CODE, layer=0).to_html(model=False))
    page.evaluate(
        """() => { const b = document.querySelector('[data-part=head-off]');
                   for (let i = 0; i < 1001; i++) b.click(); }"""
    )
    settled(page, 1)
    assert page.locator("[data-part=edits] bdi").all_inner_texts() == ["layer 0, head 0 off"]


def test_an_encoder_decoder_and_masks(open_page):
    view = Explorer(small("encoder-decoder"), WORDS, FRENCH, layer=0)
    page = open_page(view.to_html(model=False))
    assert page.locator(part("target")).input_value() == FRENCH
    page.evaluate(
        """() => { for (let i = 1; i < 4; i++)
                     document.querySelector(`[data-part=strip-target] [data-index='${i}']`).click(); }"""
    )
    page.locator(part("head-off")).click()
    settled(page, 1)
    assert text(page, "where") == f"after “{view._about['tokens'][3]}”"
    # In a cross-attention map the text's tokens are columns, the target's are rows.
    at_token(page, 5)
    page.wait_for_selector("[data-selected=',5']")
    at_token(page, 2, "target")
    page.wait_for_selector("[data-selected='2,']")
    settled(page, 1)
    at_token(page, 3, "target")
    settled(page, 1)
    found = view.session.runs.effect(view.session.reading, "cross", 0, 0, [3])[3]
    assert rows(page) == python_rows(found)
    model = small("encoder")
    view = Explorer(model, WORDS)
    page = open_page(view.to_html(model=False))
    assert text(page, "prediction-note").endswith(
        "the text has none. Masking one needs a live kernel (transformer-lab explore, or a notebook)."
    )
    view.masked = [3, 7]
    page = open_page(view.to_html(model=False))
    assert rows(page) == python_rows(view.session.outcome)
    assert text(page, "where") == "token 3"
    assert text(page, "edits").startswith("token 3 behind")
    at_token(page, 7)
    page.wait_for_selector("[data-selected='7,']")
    settled(page, 0)
    view.position = 7
    assert rows(page) == python_rows(view.session.outcome)
    at_token(page, 5)  # not a mask: it is selected, and the prediction stays
    page.wait_for_selector("[data-selected='5,']")
    assert text(page, "where") == "token 7"


def test_a_model_without_a_head(open_page):
    view = Explorer(small("encoder", head=False), WORDS)
    page = open_page(view.to_html(model=False))
    assert "no head that predicts tokens" in text(page, "invite")
    page.locator(part("head-off")).click()
    settled(page, 1)
    view.edits = [tl.ablate(0, 0)]
    assert [[r[0], r[1]] for r in rows(page)] == [
        [s.token, f"{100 * s.change:.1f}%"] for s in view.effect.states
    ]
    assert text(page, "effect") == view._outcome["sentence"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_and_nothing_is_cut_off(open_page, accessible, shipped, scheme, screenshot):
    edits = [tl.ablate(2, 2), tl.knock_out(3, 1, query=14, key=5)]
    view = Explorer(shipped, CODE, layer=3, head=1, edits=edits)
    view._facts.name_heads()
    source = view.to_html(model=False)
    for width in (400, 650, 1000):
        page = open_page(source, width=width, scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        screenshot(page, f"explorer-{scheme}-{width}", full_page=True)
    page.locator("[data-part=tool] [data-value=cut]").click()
    accessible(page)
    accessible(open_page(Explorer(shipped, CODE).to_html(model=False), scheme=scheme))


def test_a_page_says_at_once_whether_heads_can_be_switched_off(open_page, shipped, tmp_path):
    view = Explorer(shipped, CODE)
    kept = open_page(view.save_html(tmp_path / "kept.html", model=False))
    assert "Switch a head off to see if it matters" in text(kept, "lead")
    without = open_page(view.save_html(tmp_path / "without.html", effects=False, model=False))
    assert "Switching heads off, cutting edges, continuing the text, or another text needs" in text(
        without, "lead"
    )
    without.locator(part("head-off")).click()
    without.wait_for_selector("#tl-root[data-edits='1']")
    assert "without this head needs a live kernel" in without.locator("#tl-root").inner_text()


def test_a_page_says_once_what_needs_a_kernel_and_why(open_page, shipped, monkeypatch):
    monkeypatch.setattr(carrying, "UNASKED", 100)
    note = "This page is a snapshot without its model, so {} edges, continuing the text, or another text needs a live kernel."
    for effects, heads, lead in (
        (True, "cutting", "None yet. Switch a head off to see if it matters."),
        (False, "switching heads off, cutting", "None yet."),
    ):
        page = open_page(Explorer(shipped, CODE).to_html(effects=effects))
        shown = page.locator("#tl-root").inner_text()
        assert note.format(heads) in shown and shown.count("live kernel") == 1
        assert text(page, "lead") == lead
    page = open_page(Explorer(shipped, CODE, edits=[tl.ablate(2, 2)]).to_html(effects=False))
    assert page.locator("#tl-root").inner_text().count("live kernel") == 1


@dataclass(frozen=True, repr=False)
class Toy(Edit):
    """A kind of edit unknown to the scripts."""

    strength: float = 1.0
    name = "toy"

    def change_heads(self, call, z, start, real):
        z = z.clone()
        z[:, self.heads(call)] *= self.strength
        return z

    def _what(self) -> str:
        return f"toyed with by {self.strength:g}"


def test_an_edit_of_a_kind_that_no_script_has_heard_of(open_page, shipped, monkeypatch):
    """It was shown as "every token → everywhere cut", and its Python code had no arguments."""
    known = ("layer", "head", "kind", "strength")
    monkeypatch.setitem(constructors._PLAIN, "toy", (lambda **v: Toy(**v), known))
    view = Explorer(shipped, CODE, layer=2, head=1)
    view.edits = [Toy(1, 2, strength=2.0), Toy(1, 2, strength=3.0)]
    page = open_page(view.to_html(effects=False, model=False))
    chips = page.locator(f"{part('edits')} bdi").all_inner_texts()
    assert chips == ["layer 1, head 2: toyed with by 2", "layer 1, head 2: toyed with by 3"]
    page.locator(part("copy-edits")).click()
    page.wait_for_selector("#tl-root[data-copied-edits]")
    code = page.get_attribute("#tl-root", "data-copied-edits")
    assert code == view.code
    assert "    tl.toy(layer=1, head=2, strength=3.0),\n" in code
    page.locator(part("remove-edit")).first.click()  # they differ in one argument only
    settled(page, 1)
    assert page.locator(f"{part('edits')} bdi").all_inner_texts() == chips[1:]
