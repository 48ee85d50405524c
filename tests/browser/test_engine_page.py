"""A page with its model computes what Python does: from disk, in a frame, without network."""

import re

import pytest

import transformer_lab as tl
from tests.factories import small
from transformer_lab.tokenizers import CharTokenizer
from transformer_lab.views.pages.carried import carried
from transformer_lab.views.pages.export import frame, page
from transformer_lab.views.shared.modules import VIEWS, module_expression

TEXT = "abba cab 😀"
VIEW = """
export default {
  async render({ model, el, signal }) {
    const text = await Engine.ofPage(new Requests(model, signal), signal).then(async ({ engine, about }) => {
      window.engine = engine;
      return about.kind;
    }, (error) => error.message);
    el.textContent = text;
    el.dataset.ready = 1;
  },
};
"""
ASK = """async ([text, edits]) => {
  const { ids, position } = await engine.ask({ ask: "read", text });
  const places = Array.from({ length: 20000 }, () => ({ kind: "decoder", layer: 0, head: 0 })); // for half a minute
  const older = engine.ask({ ask: "effects", position, places }, { lane: "predict" }).catch((error) => error.constructor.name);
  const newer = await engine.ask({ ask: "predict", position, edits }, { lane: "predict" });
  return { ids, newer, older: await older };
}"""


@pytest.fixture(scope="module")
def model():
    tokenizer = CharTokenizer.train("abc ")
    sizes = dict(vocab_size=tokenizer.vocab_size, noise=0.2, sharpness=3.0)
    return tl.TextModel(small("decoder", **sizes), tokenizer, "</script> small")


@pytest.fixture(scope="module")
def text(model):
    used = {"Engine": "engine/client.js", "Requests": "shared/requests.js"}
    own = "".join(
        f"const {{ {name} }} = {module_expression(VIEWS / path)};\n" for name, path in used.items()
    )
    state = {"_esm": own + VIEW, "_css": ""}
    return "".join(page(state, {}, title="model", blocks=carried(model).blocks))


def test_a_page_runs_its_model(open_page, model, text):
    off = {"edit": "ablate", "layer": 1, "head": 2}
    with tl.edit(model.model, tl.ablate(1, 2)):
        wanted = dict(model.trace(TEXT).predictions(k=5))
    own = open_page(text)
    framed = open_page(frame(text, "model"), ready="iframe").frames[1]
    framed.wait_for_selector("[data-ready]")
    for place in (own, framed):
        assert place.inner_text("#tl-root") == "decoder"
        found = place.evaluate(ASK, [TEXT, [off]])
        assert found["ids"] == model.encode(TEXT).tolist()
        rows = {row["token"]: row["after"] for row in found["newer"]["rows"]}
        assert {token: rows[token] for token in wanted} == pytest.approx(wanted, abs=1e-3)
        assert found["older"] == "Superseded"


def test_a_damaged_page_says_so_in_a_sentence(open_page, model, text):
    found = re.search(r'<template data-block="model"([^>]*)>([^<]*)<', text)
    assert "data-gzip" in found[1]
    at = found.end(2) - 100
    cut = text[:at] + "</template></body></html>"
    flipped = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
    other = text[:at] + "!" + text[at + 1 :]
    for damaged in (cut, flipped, other):
        says = open_page(damaged).inner_text("#tl-root")
        assert says.startswith("this page is not as it was written: a part of it is damaged")
    engine, own = carried(model).blocks
    data = own.buffers[1][:-1] + bytes([own.buffers[1][-1] ^ 1])
    blocks = [engine, own._replace(buffers=[own.buffers[0], data])]  # damaged before packing
    used = {"Engine": "engine/client.js", "Requests": "shared/requests.js"}
    own = "".join(
        f"const {{ {name} }} = {module_expression(VIEWS / path)};\n" for name, path in used.items()
    )
    state = {"_esm": own + VIEW, "_css": ""}
    says = open_page("".join(page(state, {}, title="model", blocks=blocks))).inner_text("#tl-root")
    assert says.startswith("the model in this page is not as it was written")
