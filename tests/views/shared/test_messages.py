"""Every sentence is in one catalogue: the formatter agrees with the vectors (which
js/messages.test.mjs reads too), and catalogues, programs and translations match."""

import json
import re
from pathlib import Path

import pytest
import quickjs
import torch

import transformer_lab as tl
from tests.factories import small
from transformer_lab import views
from transformer_lab.views.shared.javascript import JavaScriptError
from transformer_lab.views.shared.messages import MESSAGES, VIEWS, Messages, messages
from transformer_lab.views.shared.modules import module_expression

VECTORS = json.loads((Path(__file__).parent.parent / "messages.json").read_text("utf-8"))
CATALOGUES = sorted(path.parent.name for path in VIEWS.glob("*/messages.json"))
TRANSLATIONS = sorted(VIEWS.glob("*/messages.*.json"))


def revived(values):
    return {name: float("nan") if value == "NaN" else value for name, value in values.items()}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["template"])
def test_what_a_template_says(vector, tmp_path):
    file = tmp_path / "messages.json"
    file.write_text(json.dumps({"m": vector["template"]}))
    say = Messages(file)
    values = revived(vector.get("values", {}))
    if "error" not in vector:
        assert say("m", **values) == vector["is"]
        return
    with pytest.raises(JavaScriptError) as error:
        say("m", **values)
    assert str(error.value) == vector["error"]


def programs(folder: Path) -> str:
    every = {path: path.read_text("utf-8") for path in sorted(VIEWS.rglob("*.[pj][ys]"))}
    asks = f'messages("{folder.name}")'  # pages may use a view's messages too
    module = folder / "view.js"
    uses_kit = module.exists() and "scene_viewer.js" in module.read_text("utf-8")
    kit = VIEWS / "shared" / "scene_viewer.js" if uses_kit else None
    own = (lambda path: True) if folder.name == "shared" else (lambda path: path.parent == folder)
    return "\n".join(
        text for path, text in every.items() if own(path) or asks in text or path == kit
    )


PARTS = """(key, text) => {
  const walk = (nodes) => nodes.flatMap((node) => {
    if (typeof node === "string" || node[0] === "#") return [];
    if (node[2] instanceof Map) return [node[0], ...[...node[2].values()].flatMap(walk)];
    return [node[0] === "@" ? `@${node[1]}` : node[1]];
  });
  return JSON.stringify([...new Set(walk(parse(key, text, { at: 0 }, false)))].sort());
}"""


@pytest.fixture(scope="module")
def parts():
    """The values and other messages in a template."""
    context = quickjs.Context()
    context.eval(f"globalThis.parse = ({module_expression(MESSAGES)}).parseMessage")
    found = context.eval(PARTS)
    return lambda key, text: json.loads(found(key, text))


@pytest.mark.parametrize("view", CATALOGUES)
def test_every_message_is_asked_for_and_none_is_missing(view):
    own = json.loads((VIEWS / view / "messages.json").read_text("utf-8"))
    text = programs(VIEWS / view)
    asked = set(re.findall(r'\b\w*[sS]ay\w*\(\s*"([a-z]\w*)"[,)]', text))
    assert asked and (view == "shared" or asked <= set(messages(view).templates)), asked
    used = set(re.findall(r'"(\w+)"', text))  # some are chosen by a variable
    used |= {name for template in own.values() for name in re.findall(r"\{@(\w+)", template)}
    dynamic = re.findall(r'[sS]ay\w*\(f?["`]([\w${}.]+)["`]', text)  # as {shows}_hint
    made = [re.sub(r"\$?\{[\w.]+\}", r"\\w+", key) for key in dynamic]
    used |= {key for key in own if any(re.fullmatch(each, key) for each in made)}
    assert set(own) - used <= {"language", "decimal", "quotes"}, set(own) - used


@pytest.mark.parametrize("path", TRANSLATIONS, ids=lambda path: path.parent.name)
def test_a_translation_has_the_keys_and_the_values_of_the_english_one(path, parts):
    english = json.loads((path.parent / "messages.json").read_text("utf-8"))
    other = json.loads(path.read_text("utf-8"))
    whole = messages(path.parent.name, path.suffixes[0][1:])
    shared = messages("shared").templates  # a translation may override these
    assert set(english) <= set(other)
    assert set(other) - set(english) <= {*shared, "language", "decimal", "quotes"}
    english |= {key: shared[key] for key in set(other) & set(shared) - set(english)}
    for key, template in english.items():
        assert parts(key, template) == parts(key, other[key]), key
        assert whole.templates[key] == other[key]


def test_no_sentence_is_written_twice():
    assert not list(VIEWS.glob("*/words.*"))


def test_tokens_of_one_name_can_be_told_apart_in_sentences():
    """Every view that names tokens without positions says which of several equal ones it means."""
    trace = tl.trace(small(sharpness=3.0), torch.arange(6), labels=["a", "b", "a", "c", "b", "a"])
    other = tl.trace(small(sharpness=2.0), torch.arange(6), labels=["a", "b", "a", "c", "b", "a"])
    compare = views.CompareView(trace, other)
    compare.selected = (5, 4)
    model = views.ModelView(trace)
    model.step = 1
    cases = {
        views.HeadView(trace): "",
        compare: "“a”₃ → “b”₂",
        views.WhyView(trace, 1, 0, 5, 4): "“a”₃ gives",
        views.BlockView(trace, 1, 0, 2): "“a”₂ enters",
        model: "“a”₃ takes",
    }
    for view, words in cases.items():
        assert words in view.sentence
        assert not re.search(r"“[ab]”(?![₁-₃])", view.sentence), view.sentence
