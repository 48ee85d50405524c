"""What a page's engine sends a view: patterns and thumbnails as Python packs them, and labels."""

import numpy as np
import pytest

import transformer_lab as tl
from tests.views.engine.node import answers, carried_files
from tests.views.engine.test_desk import text_models
from transformer_lab.views.explorer.exact import words_of
from transformer_lab.views.explorer.runs import Runs
from transformer_lab.views.heads.heads import Heads
from transformer_lab.views.pages.carried import carried

pytestmark = pytest.mark.needs("node")
TEXT = "the dog sat on the mat and the cat sat on the log"


def answered(tmp_path, questions):
    """The engine's answers, model by model."""
    models = []
    for model, asked in questions:
        block = next(b for b in carried(model).blocks if b.name == "model")
        models.append(
            carried_files(tmp_path, model.name, *block.buffers, block.info, questions=asked)
        )
    found = answers("run_desk.mjs", tmp_path, dict(models=models))
    return [one["found"] for one in found["answers"]]


def near(found, data, dtype, atol):
    found = np.array(found, "u1").tobytes()
    assert len(found) == len(data)
    a, b = (np.frombuffer(one, dtype).astype(float) for one in (found, data))
    np.testing.assert_allclose(a, b, atol=atol, rtol=1e-4)


def test_pictures_are_python_s(tmp_path):
    models, edit = list(text_models()), {"edit": "ablate", "layer": 0, "head": 1}
    questions, wanted = [], []
    for model in models:
        text = TEXT[:20] if model.kind != "encoder" else "the cat sat on the mat"
        runs = Runs(model)
        reading = runs.read(text)
        traces = [reading.trace, runs.edited(reading, [tl.ablate(0, 1)], "off")]
        asked = [dict(ask="read", text=text)]
        for edits, trace in zip(([], [edit]), traces, strict=True):
            heads = Heads(trace)
            shown = [
                dict(kind=kind, queries=x["queries"] - 1, keys=x["keys"] - 1)
                for kind, x in heads.kinds.items()
            ]
            whole = [
                {**one, "queries": one["queries"] + 1, "keys": one["keys"] + 1} for one in shown
            ]
            asked += [
                dict(ask="pictures", edits=edits, shown=whole, whole=True),
                dict(ask="picture", edits=edits, shown={**shown[-1], "layer": 1, "head": 2}),
            ]
            kind = shown[-1]["kind"]
            map_, norms = trace.pattern(1, 2, kind=kind), trace.value_norms(1, kind=kind)[2]
            wanted.append((heads, map_[:-1, :-1], norms[:-1]))
        questions.append((model, asked))
    found = [answer for model in answered(tmp_path, questions) for answer in model[1:]]
    for all_, one, (heads, map_, norms) in zip(found[::2], found[1::2], wanted, strict=True):
        data = heads.data
        near(all_["thumbs"], data.thumbnails(), "u1", 1)
        # Within 2.5e-4: both sum in fp32, in different orders.
        near(all_["maps"], data.maps(), "<u2", 15)
        codes = np.frombuffer(np.array(one["map"], "u1").tobytes(), "<u2") / 60_000
        np.testing.assert_allclose(codes, map_.flatten().numpy(), atol=2.5e-4)
        near(one["norms"], norms.numpy().astype("<f4").tobytes(), "<f4", 1e-4)


def test_words_for_tokens_are_python_s(tmp_path):
    questions, wanted = [], []
    for model in text_models():
        asked = [dict(ask="read", text="the cat sat")]
        runs = Runs(model)
        old = "the <mask> sat" if model.kind == "encoder" else "the cat "
        reading = runs.read(old, *(["the dog"] if model.kind == "encoder-decoder" else []))
        plain = list(reading.plain)
        hint = "the dog" if model.kind == "encoder-decoder" else old
        for ids in (
            plain,
            [*plain, 9],
            [*plain, 12, 7],
            plain[:-1],
            [9, *plain[1:]],
            [*plain[:1], 8, *plain[2:]],
            [5],
        ):
            asked.append(dict(ask="words", ids=ids, old=hint, oldIds=plain))
            words, exact = words_of(model, ids, hint, plain)
            wanted.append(dict(words=words, exact=exact))
        asked.append(dict(ask="read", text="the cat sat"))
        trace = runs.read("the cat sat").trace
        wanted.append([trace.special(kind) for kind in trace.kinds if kind != "cross"])
        questions.append((model, asked))
    found = [answer for model in answered(tmp_path, questions) for answer in model[1:]]
    for one, told in zip(found, wanted, strict=True):
        if isinstance(told, dict):
            assert one == told
            continue
        sides = [side for side in (one["text"], one["target"]) if side]
        for side, special in zip(sides, told, strict=True):
            assert side["special"] == [i for i, flag in enumerate(special) if flag]
