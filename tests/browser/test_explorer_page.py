"""A saved Explorer without a model: what it shows without a kernel, with Python's numbers."""

import re
from dataclasses import dataclass

import pytest
import torch

import transformer_lab as tl
from tests.browser.fixtures import choose_head
from transformer_lab.edits import constructors
from transformer_lab.edits.kinds import Edit
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import Explorer, View
from transformer_lab.views.explorer import standby
from transformer_lab.views.pages import carrying, export
from transformer_lab.views.shared.messages import fixed, percent

part = "[data-part={}]".format
CODE = "for key in self.keys:\n    if key not in self."
WORDS = "The animal did not cross the street because it was too tired ."
FRENCH = "l animal n a pas traversé la rue"


@pytest.fixture(scope="module")
def shipped():
    return tl.shipped("manual")


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


def is_disabled(page, control, why):
    """Whether a control cannot be used, and says why."""
    control = control if hasattr(control, "click") else page.locator(part(control))
    return control.is_disabled() and why in control.get_attribute("title")


def test_groups_and_cuts_need_the_model(open_page, shipped, map_of):
    view = Explorer(shipped, CODE, layer=3, head=1)
    page = open_page(view.to_html(model=False))
    assert page.locator(part("text")).get_attribute("readonly") is not None
    assert "cannot read another text" in page.locator(part("text")).get_attribute("title")
    assert not page.locator(part("run")).is_visible()
    grid = page.locator(part("thumbnails"))
    box = grid.bounding_box()
    grid.click(position={"x": box["width"] * 0.1, "y": box["height"] * 0.1}, modifiers=["Shift"])
    assert text(page, "head-off") == "Switch 2 heads off"
    why = "This page does not hold its model, so it cannot {}. Its author can add it: save_html(path, model=True)."
    together = why.format("switch heads off together")
    assert is_disabled(page, "head-off", together) and text(page, "cannot") == together
    page.keyboard.press("x")
    assert text(page, "status") == together and page.locator("[data-part=edits] li").count() == 0
    page.locator("[data-part=tool] [data-value=off]").click()
    grid.click(position={"x": box["width"] * 0.9, "y": box["height"] * 0.1})
    settled(page, 1)
    assert page.locator("[data-part=edits] bdi").all_inner_texts() == ["layer 0, head 3 off"]
    assert not page.locator(part("status")).is_visible()
    map_of(page).click(14, 2)  # one tool for grid, lines and map: this is the head's map
    settled(page, 0)
    page.locator("[data-part=queries] [data-index='14']").click()
    settled(page, 1)
    choose_head(page, 1, 1)  # a second one
    assert text(page, "status") == together
    settled(page, 1)
    page.locator(part("remove-all")).click()
    settled(page, 0)
    # An edge, with the tool and by a key.
    cut = page.locator("[data-part=tool] [data-value=cut]")
    assert is_disabled(page, cut, why.format("cut an edge"))
    page.locator("[data-part=tool] [data-value=look]").focus()
    page.keyboard.press("ArrowLeft")  # past the tool that is disabled
    assert page.evaluate("document.activeElement.dataset.value") == "off"
    page.keyboard.press("ArrowLeft")
    map_of(page).click(14, 2)
    page.keyboard.press("x")
    assert text(page, "status") == why.format("cut an edge")
    assert page.locator("#tl-root").get_attribute("data-edits") == "0"


@pytest.mark.parametrize("is_notebook", [False, True])
def test_what_a_page_cannot_do_is_disabled_with_the_reason(open_page, shipped, map_of, is_notebook):
    """A page without model and effects: the button worked, and the head seemed to do nothing."""
    view = Explorer(shipped, CODE, layer=2, head=2)
    page = open_page(rendered(view) if is_notebook else view.to_html(effects=False, model=False))
    way = "Its author can add it: save_html(path, effects=True)."
    if is_notebook:
        way = "That needs a live kernel (transformer-lab explore, or a notebook)."
    assert text(page, "cannot") == (
        "This page holds neither its model nor its predictions with a head off, so it cannot "
        f"switch a head off. {way}"
    )
    assert is_disabled(page, "head-off", text(page, "cannot"))
    assert "Switch one off" not in page.locator(".tl-entrance").text_content()
    assert not page.locator(part("few-keys")).is_visible()
    assert text(page, "lead").startswith("None yet.") != text(page, "lead").startswith("Switch")
    for tool in ("off", "cut"):
        assert is_disabled(page, page.locator(f"[data-part=tool] [data-value={tool}]"), "cannot")
    for hidden in ("run", "sample", "write", "sweep", "names", "mask", "effect"):
        assert not page.locator(part(hidden)).first.is_visible(), hidden
    assert "cannot read another text" in page.locator(part("snapshot")).get_attribute("title")
    page.keyboard.press("x")
    page.locator(part("thumbnails")).focus()
    for key in ("x", "Enter", " "):
        page.keyboard.press(key)
        assert text(page, "status") == text(page, "cannot")
    map_of(page).click(14, 2)
    page.keyboard.press("x")
    assert "cannot cut an edge" in text(page, "status")
    page.locator("[data-part=heads-as] [data-value=table]").click()
    page.locator(".tl-table-tick input").first.click()
    assert is_disabled(page, "table-off", text(page, "cannot"))
    page.locator(part("tour")).dispatch_event("click")
    for _ in range(3):
        page.locator(part("tour-next")).click()
    assert text(page, "tour-step").startswith("This page holds neither")
    page.locator(part("tour-end")).click()
    if is_notebook:
        return  # it has no address of its own
    # By a link from a page that can.
    sender = open_page(view.to_html(model=False))
    sender.locator("[data-part=tool] [data-value=off]").click()
    sender.locator(part("head-off")).click()
    settled(sender, 1)
    sender.locator(part("save")).click()
    sender.locator(part("link")).click()
    sender.wait_for_selector("#tl-root[data-link]")
    hash = sender.get_attribute("#tl-root", "data-link").partition("#")[2]
    page.evaluate("hash => { location.hash = hash }", hash)
    page.locator(part("message")).wait_for()
    assert "cannot switch a head off" in text(page, "message")
    state = page.locator("#tl-root").evaluate("root => ({...root.dataset})")
    assert (state["edits"], state["tool"]) == ("0", "look")
    assert page.locator("[data-part=edits] li").count() == 0
    assert page.locator("#tl-root.tl-head-off").count() == 0


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


# Every text on a page: its own, tooltips, and what is read aloud.
SAID = """() => [...document.querySelectorAll("#tl-root *")].filter((e) => !e.closest("[hidden], option"))
    .flatMap((e) => [e.title, e.ariaLabel, e.ariaDescription, e.children.length && !e.matches("p") ? "" : e.textContent])
    .filter(Boolean)"""
OF_EFFECTS = r"[Ww]ithout (each|it|the|layer|this) ?|[Mm]easured|matters? most|P\(“|without layer|[Ss]witching off one head|changes the prediction"
QUALIFIED = r"[Ee]stimat|≈|Effect: how"  # the last is the title of a column


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_what_is_estimated_is_called_an_estimate_everywhere(open_page, scale, map_of, tmp_path):
    """It was "Switching off one head changes P by less than 0.01 … Measured in the unedited model"."""
    model = small("decoder", 12, 25)  # too many heads to be measured without being asked
    with torch.no_grad():
        for name, parameter in model.model.named_parameters():
            if "attention.out" in name:
                parameter.mul_(scale)
    view = Explorer(model, WORDS, layer=0, head=0)
    view.session.reading.effects.clear()
    assert len(view._facts.effects) == 0
    pages = []
    for edits in ([], [tl.ablate(0, 3)]):
        view.edits = edits
        page = open_page(view.to_html(model=False, effects=False))
        page.locator("[data-part=sweep-note]:not(:empty)").wait_for(state="attached")
        page.locator("[data-part=heads-as] [data-value=table]").click()
        page.locator("[data-part=heads-as] [data-value=grid]").hover()
        said = page.evaluate(SAID)
        of_effects = [one for one in said if re.search(OF_EFFECTS, one)]
        assert len(of_effects) >= 2
        assert [one for one in of_effects if not re.search(QUALIFIED, one)] == []
        note = page.locator(part("sweep-note")).text_content()
        if scale == 1:
            assert "without each head, estimated." in note and "the largest is ≈ " in note
        else:
            assert note.startswith("By an estimate, no head changes P(“")
        assert note.endswith("Estimated in the unedited model.") == bool(edits)
        assert "of one gradient pass; 0 of 300 heads measured." in text(page, "table-legend")
        effects = page.locator("td.tl-table-effect").all_inner_texts()
        assert effects and all(one.startswith("≈ ") for one in effects)
        best = page.locator(part("best")).text_content()
        if scale == 1:
            # It names the head; by how much it matters is asked before it is told.
            assert re.search(
                r"is estimated to matter most( in the unedited model)?: L\d+H\d+$", best
            )
        pages.append(page)
    page = pages[0]
    assert effect_alone(page).startswith("Estimate: without layer 0, head 0, ")
    grid = page.locator(part("thumbnails"))
    page.locator("[data-part=heads-as] [data-value=grid]").click()
    assert "Estimate: without layer 0, head 0" in grid.get_attribute("aria-label")
    page.locator("[data-part=heads-as] [data-value=table]").click()
    with page.expect_download() as download:
        page.locator(part("table-csv")).click()
    csv = download.value.path().read_text("utf-8").splitlines()
    assert sum(",an estimate," in line for line in csv) == 300 and "measured" not in "".join(csv)
    for saved in (view.sentence, str(view.to_dict())):
        assert not re.search(r"P\(|without layer", saved)


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


def rendered(view):
    """The page of a notebook that nbconvert rendered: it keeps only the state of a live view."""
    state = View._page_state(view)
    assert state["_live"]
    buffers = {k: bytes(v) for k, v in state.items() if isinstance(v, (bytes, memoryview))}
    return "".join(export.page(state, buffers, title="Explorer"))


def test_in_a_rendered_notebook_it_says_what_is_missing(open_page, shipped):
    view = Explorer(shipped, CODE, layer=2, head=2)
    page = open_page(rendered(view))
    assert not page.locator(part("run")).is_visible()
    assert rows(page) == python_rows(view.session.outcome)
    at_token(page, 13)  # selecting needs no kernel; another prediction does
    page.wait_for_selector("[data-selected='13,']")
    assert not page.locator(part("status")).is_visible()
    assert is_disabled(
        page,
        "predict-here",
        "cannot show the prediction after this token. That needs a live kernel",
    )


def test_a_thousand_clicks_leave_the_last_state(open_page, shipped):
    page = open_page(Explorer(shipped, CODE, layer=0).to_html(model=False))
    page.evaluate(
        """() => { const b = document.querySelector('[data-part=head-off]');
                   for (let i = 0; i < 1001; i++) b.click(); }"""
    )
    settled(page, 1)
    assert page.locator("[data-part=edits] bdi").all_inner_texts() == ["layer 0, head 0 off"]


def test_an_encoder_decoder_and_masks(open_page, monkeypatch):
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
    assert text(page, "cannot").endswith("can add it: save_html(path, model=True).")
    assert text(page, "prediction-note").endswith(
        "the text has none. Masking one needs a live kernel (transformer-lab explore, or a notebook)."
    )
    monkeypatch.setattr(standby, "why_not", lambda model: "it cannot travel")
    page = open_page(view.to_html(model=False), instead=page)
    assert "so it cannot switch a head off. That needs a live kernel" in text(page, "cannot")
    view.masked = [3, 7]
    page = open_page(view.to_html(model=False), instead=page)
    assert is_disabled(page, page.locator(part("remove-mask")).first, "change what is masked")
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
    assert is_disabled(without, "head-off", "save_html(path, effects=True)")


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
    first = page.locator(part("remove-edit")).first
    assert is_disabled(page, first, "cannot show these edits")  # the other one alone
    assert first.get_attribute("aria-label") == f"Remove: {chips[0]}"
    page.locator(part("remove-all")).click()
    settled(page, 0)
