"""A page without Python describes results as Python does."""

import itertools
import json
import random
import subprocess
from pathlib import Path

import pytest

import transformer_lab as tl
from tests.factories import small
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import Explorer
from transformer_lab.views.explorer.edits import run_code
from transformer_lab.views.explorer.runs import Outcome, Prediction, StateChange
from transformer_lab.views.explorer.written import Written

pytestmark = pytest.mark.needs("node")
WORDS = "a b c d e f g"


def said(tmp_path, cases):
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(cases))
    script = Path(__file__).with_name("run_prose.mjs")
    run = subprocess.run(["node", script, file], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def outcomes():
    draw = random.Random(3)
    chances = [0.0, 1e-31, 1e-9, 0.004, 0.005, 0.125, 0.625, 0.9949, 1.0]
    for kl in (None, 0.0, 1e-4, 0.0005, 0.0125, 0.9996, 1.0, 12.3456):
        for before, after in itertools.product(chances, repeat=2):
            rows = [Prediction("“a”", before, after, False, 1)]
            rows += [
                Prediction(f"t{i}", draw.random(), draw.choice(chances), i > 1, i) for i in (2, 3)
            ]
            yield Outcome(0, kl, tuple(rows))
    for change in (0.0, 0.00049, 0.0005, 0.12345, 3.0):
        states = (StateChange(2, "ñ", change), StateChange(0, "x", change / 2))
        yield Outcome(0, None, (), states, change / 3)
    yield Outcome(0, None)


def test_what_edits_do_and_the_python_for_it(tmp_path):
    cases, wanted = [], []
    for outcome in outcomes():
        cases.append(dict(what="outcome", given=["Without it", outcome.to_dict()]))
        wanted.append(outcome.sentence("Without it"))
    texts = ["a b", 'say "no"\n\t\\ \x01\x7f\u2028é😀', ""]
    for text, target, masked, ids in itertools.product(
        texts, [None, 'ein "Hund"'], [[], [1, 4]], [None, [1, 22, 3]]
    ):
        for kind in ("decoder", "encoder", "encoder-decoder"):
            given = [text, target, masked, kind, ids]
            cases.append(dict(what="code", given=given))
            wanted.append(run_code(*given))
    assert len(cases) > 700
    assert said(tmp_path, cases) == wanted


def test_what_was_written_and_what_was_not_read(tmp_path):
    tokenizer = WordTokenizer.train(WORDS)
    cases, wanted = [], []
    for kind in ("decoder", "encoder", "encoder-decoder"):
        model = small(kind, vocab_size=tokenizer.vocab_size, n_ctx=16)
        view = Explorer(tl.TextModel(model, tokenizer, "m"), "a b c")
        for text in ("a b", "a x y", "zz", "a <mask> b", "a [MASK] b"):
            for target in (None, "a q") if kind == "encoder-decoder" else (None,):
                reading = view.session.runs.read(text, target)
                sides = {
                    name: dict(
                        tokens=ids.tolist(),
                        unknown=int((ids == tokenizer.unk_id).sum()),
                        sign=tokenizer.tokens([tokenizer.unk_id])[0],
                    )
                    for name, ids in (("text", reading.ids), ("target", reading.target_ids))
                    if ids is not None
                }
                cases.append(dict(what="unread", given=[text, target, kind, sides]))
                wanted.append(view.session.runs.unread(reading))
        if kind == "encoder":
            continue
        view.edits = [tl.ablate(0, 1)]
        subject = view.session.subject
        for edited in (None, [5, 6, 7, 8], [5, 6, 8], [5, 6], [5, 6, 7, 8, 9], [5, 6, 7]):
            for n, plain, temperature in itertools.product(
                (2, 3), ([5, 6, 7, 8], [5, 6, 7]), (0, 1)
            ):
                both = Written((), 2, tuple(plain), edited and tuple(edited), "")
                parts = both.parts
                rest = [] if parts is None else edited[parts:]
                names = [
                    None
                    if parts is None or parts >= len(ids)
                    else view._writing.names(ids[parts : parts + 1])[0]
                    for ids in (plain, edited or [])
                ]
                given = dict(
                    n=len(plain) - 2,
                    ended=len(plain) - 2 < n,
                    subject=subject,
                    page=False,
                    edited=edited is not None,
                    seed=3 if temperature else None,
                    parts=parts,
                    here=names[0],
                    there=names[1],
                    rest=tokenizer.decode(rest) if rest else None,
                )
                cases += [
                    dict(what="written", given=given),
                    dict(what="parts", given=[plain, edited]),
                ]
                options = dict(temperature=temperature, seed=3)
                wanted += [view._writing.sentence(both, n, options), parts]
    assert said(tmp_path, cases) == wanted


def test_the_beginning_of_a_sentence_travels_with_each_edit(tmp_path):
    tokenizer = WordTokenizer.train(WORDS)
    model = small("encoder-decoder", vocab_size=tokenizer.vocab_size, n_ctx=16)
    view = Explorer(tl.TextModel(model, tokenizer, "m"), "a b c", "d e")
    for edit in (
        tl.ablate(0, 1),
        tl.ablate(0, 1, value="mean"),
        tl.knock_out(0, query=1, key=2, kind="cross"),
        tl.scale(1, 0, by=0.5),
        tl.skip(0),
    ):
        view.edits = [edit]
        assert view._edits[0]["subject"] == view.session.subject
        assert view._outcome["sentence"].startswith(view._edits[0]["subject"])
