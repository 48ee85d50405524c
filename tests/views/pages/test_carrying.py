"""Which pages of an Explorer embed their model, and what the others say."""

import json
import re
from contextlib import ExitStack
from itertools import product

import pytest
import torch

import transformer_lab as tl
from tests.adapters.families import tiny
from tests.factories import picture, small, vision
from transformer_lab.graphs import process
from transformer_lab.tokenizers import CharTokenizer
from transformer_lab.views import Explorer, HeadView
from transformer_lab.views.pages import carrying


def explorer(model=None):
    tokenizer = CharTokenizer.train("abc")
    model = model or small("decoder", vocab_size=tokenizer.vocab_size)
    return Explorer(tl.TextModel(model, tokenizer, "own"), "abc", layer=0, head=0)


def state_of(text):
    return json.loads(re.search(r'id="tl-state">(.*?)</script>', text, re.S)[1])["state"]


def blocks_of(text):
    return re.findall(r'<template data-block="([^"]+)"', text)


def test_a_small_model_travels_unless_it_is_left_out():
    view = explorer()
    text = view.to_html()
    assert blocks_of(text)[:2] == ["engine", "model"] and view.stays == ""
    assert not [name for name in blocks_of(text) if name.startswith("effect/")]
    assert [name for name in blocks_of(view.to_html(effects=True)) if name.startswith("effect/")]
    state = state_of(text)
    assert state["_carried"]["travels"] and state["_note"] == ""
    text = view.to_html(model=False)
    assert "model" not in blocks_of(text) and view.carried is None
    assert not state_of(text)["_carried"]["travels"] and state_of(text)["_note"] == ""


def test_a_larger_one_travels_when_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(carrying, "UNASKED", 100)
    view = explorer()
    text = view.to_html()
    assert "model" not in blocks_of(text)
    assert state_of(text)["_note"] == view.stays.replace(
        "; save_html(path, model=True) includes it (0 MB)", ""
    )
    assert state_of(text)["_note"].endswith("needs a live kernel.")
    assert "model" in blocks_of(view.to_html(model=True))
    monkeypatch.setattr(carrying, "MOST", 200)
    with pytest.raises(
        ValueError, match=r"own cannot travel in a page: it has 0 MB .* at most 0 MB"
    ):
        view.to_html(model=True)
    assert "model" not in blocks_of(view.to_html())


def with_hook(model):
    name, module = next((n, m) for n, m in model.named_modules() if n.endswith(".0"))
    module.register_forward_hook(late)
    return f"{re.escape(name)} has hooks"


def late(_module, _given, found):
    """Acts in texts of more than 12 tokens only, as a user's steering may."""
    if isinstance(found, torch.Tensor) and found.shape[1] > 12:
        return 2 * found


def hook_everywhere(model):
    return "torch has hooks on every module"


def patched(model):
    name, module = next((n, m) for n, m in model.named_modules() if n.endswith(".0"))
    forward = module.forward
    module.forward = lambda *a, **k: forward(*a, **k)
    return rf"{re.escape(name)} was changed by other code"


def subclass(model):
    model.__class__ = type("Own", (tl.Transformer,), {})
    return "a Own does not run in a page"


def edited(model):
    return "it is being edited, and would travel without the edit"


MODELS = {
    "ours": lambda: small("decoder", vocab_size=8),
    "llama": lambda: tiny("llama", vocab_size=8),
    "bart": lambda: tiny("bart", vocab_size=8),
}


@pytest.mark.parametrize(
    ("name", "change"),
    [*product(MODELS, (with_hook, hook_everywhere, patched, edited)), ("ours", subclass)],
)
def test_what_cannot_travel_says_why(name, change):
    model = MODELS[name]()
    why = change(model)
    with ExitStack() as opened:
        if change is edited:
            opened.enter_context(tl.edit(model, tl.ablate(0, 1)))
        if change is hook_everywhere:
            handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
            opened.callback(handle.remove)
        is_refused(explorer(model), why)


def test_a_model_that_selects_among_equal_scores_is_refused_at_its_export():
    why = "own cannot travel in a page: it selects 3 of several equal scores"
    with pytest.raises(ValueError, match=why):
        explorer(tiny("deepseek_v32", vocab_size=8)).to_html(model=True)


def is_refused(view, why):
    text = view.to_html()
    assert "model" not in blocks_of(text) and re.search(why, state_of(text)["_note"])
    assert re.match(
        "This page is a snapshot without its model, so (switching heads off, )?cutting edges, "
        "continuing the text, or another text needs a live kernel: ",
        state_of(text)["_note"],
    )
    heads = HeadView(view.trace)  # its page can only read
    note = state_of(heads.to_html())["_note"]
    assert note.startswith("This page is a snapshot without its model, so it reads no other text: ")
    with pytest.raises(ValueError, match=why):
        view.to_html(model=True)


def test_a_view_of_an_image_says_that_the_model_read_one():
    pytest.importorskip("transformers")
    view = HeadView(tl.ImageModel(vision(), name="small").trace(picture()))
    view.to_html()
    assert view.stays.endswith("so it reads no other text: the model was given an image.")


def test_weights_that_have_changed_since_do_not_travel():
    """Else one model would have read the text and another would continue it."""
    view = explorer()
    with torch.no_grad():
        view.text_model.model.decoder.blocks[0].attention.query.weight.add_(0.1)
    assert "model" not in blocks_of(view.to_html())
    assert (
        "its weights have changed since this text was read, or it was edited then; read it again"
        in view.stays
    )
    view.text = "ab"
    assert "model" in blocks_of(view.to_html())


def test_a_large_page_says_what_it_takes_before_it_is_written(monkeypatch, capfd):
    view = explorer()
    view.to_html()
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(carrying, "UNASKED", 100)
    view.to_html()  # without its model
    assert capfd.readouterr().err == ""
    view.to_html(model=True)
    said = capfd.readouterr().err
    assert re.fullmatch(
        r"Writing own into the page: 0 MB in 16 bits, about 0 s and 0\.0 GB of memory\.\n", said
    )


def test_an_export_that_fails_leaves_a_snapshot_and_says_why(monkeypatch):
    """A requested page is saved whatever happens to the export process."""
    view = explorer()

    def fails(*_):
        raise process.ExportFailed("its export failed: there is not enough memory")

    monkeypatch.setattr(carrying, "carried", fails)
    with pytest.warns(UserWarning, match="its export failed: there is not enough memory"):
        text = view.to_html(model=True)
    assert "model" not in blocks_of(text)
    assert state_of(text)["_note"].endswith("its export failed: there is not enough memory.")
    assert "its export failed" in view.stays
