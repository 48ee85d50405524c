import numpy as np
import pytest
import torch
import traitlets
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import OwnNetwork, maps_only, small
from tests.missing import package
from transformer_lab.analysis.circuits import row_scores, score_by_dimension, score_by_source
from transformer_lab.views import WhyView
from transformer_lab.views.shared.messages import messages
from transformer_lab.views.why.view import numbers_of


def test_what_travels_is_what_python_computes(translation):
    for kind, query, key in (("decoder", 6, 2), ("cross", 4, 9), ("encoder", 1, 11)):
        view = WhyView(translation, 1, 2, query, key, kind=kind)
        numbers, info = numbers_of(view.cell), view.cell.info
        where = dict(kind=kind, batch=0)
        found = score_by_dimension(translation, 1, 2, query, key, **where)
        scores, weights = row_scores(translation, 1, 2, query, **where)
        for name, wanted in (
            ("products", found.products),
            ("q", found.q),
            ("k", found.k),
            ("scores", scores),
            ("weights", weights),
        ):
            assert torch.equal(torch.tensor(numbers[name]), wanted)
        assert (info["score"], info["weight"]) == (found.score, found.weight)
        for name, above in (("score", False), ("above", True)):
            parts = score_by_source(translation, 1, 2, query, key, **where, above_mean=above)
            split = numbers["splits"][name]
            for side, wanted in (("key", parts.by_key()), ("query", parts.by_query())):
                assert_close(torch.tensor(split[side]), wanted, rtol=0, atol=1e-5)
            assert [s.name for s in parts.key_sources] == info["sources"]["key"]["names"]
            kept = info["splits"][name]
            rows, columns = kept["rows"], kept["columns"]
            table = parts.parts[rows][:, columns]
            assert np.allclose(split["table"][: len(rows), : len(columns)], table, atol=1e-5)
            assert split["table"].sum() == pytest.approx(parts.total, abs=1e-4)
            assert info["splits"][name]["total"] == pytest.approx(parts.total, abs=1e-5)


def test_what_is_left_out_is_the_strongest(trace):
    view = WhyView(trace, 1, 2)
    pattern = trace.pattern(1, 2)
    assert view.shown == ("decoder", 1, 2, 12, int(pattern[12].argmax()))
    view.selected = (8, None)
    assert view.shown[3:] == (8, int(pattern[8].argmax()))
    view.selected = (None, 3)
    assert view.shown[3:] == (int(pattern[:, 3].argmax()), 3)
    names = view._names(view.cell)
    query = view.shown[3]
    assert names[0] == f"cell/decoder/1/2/{query}/3"
    assert "cell/decoder/1/2/-/3" in names
    view.layer, view.head = 0, 3
    assert view.cell.info["layer"] == 0


def test_sentences_follow_the_selection(trace):
    view = WhyView(trace, 1, 2, 8, 1)
    found = score_by_source(trace, 1, 2, 8, 1)
    name, value = found.ranked(n=1)[0]
    assert view.sentence.startswith("Layer 1, head 2: “it” gives ")
    assert f"Their score is {found.score:.2f}".replace("-", "−") in view.sentence
    assert (
        f"by the key’s sources, the largest part of it is {name} ({value:+.2f})".replace("-", "−")
        in view.sentence
    )
    view._options = {"above": True}
    above = score_by_source(trace, 1, 2, 8, 1, above_mean=True)
    name, value = above.ranked(n=1)[0]
    assert (
        f"the largest part of that difference is {name} ({value:+.2f})".replace("-", "−")
        in view.sentence
    )
    apart = abs(above.total)
    assert f"{apart:.2f} {'above' if above.total > 0 else 'below'} the row’s mean" in view.sentence
    view.selected = (1, 8)
    assert "may not attend to “it”" in view.sentence
    assert view.cell.info["score"] is None


def test_words_of_a_model_whose_sources_are_not_known():
    values = dict(
        several=False,
        kind="",
        layer=0,
        head=1,
        query="a",
        key="b",
        weight=0.25,
        scaled=1.5,
        score=1.0,
        apart=-0.5,
        above=False,
        dimension=7,
        product=-0.5,
        key_part=None,
    )
    assert messages("why")("sentence", **values) == (
        "Layer 0, head 1: “a” gives 25% of its attention to “b”. Their score is 1.00; before any bias "
        "it is 0.50 below the row’s mean. Dimension 7 adds −0.50 to it, more than any other."
    )


def test_bad_places_are_refused_in_one_sentence(trace):
    for options, message in (
        (dict(layer=2), r"layer=2 is outside 0 … 1"),
        (dict(query=13), r"query=13 is outside 0 … 12"),
        (dict(kind="cross"), r"kind='cross' is not in this trace"),
        (dict(batch=1), r"batch=1 is outside the 1 texts"),
    ):
        with pytest.raises(ValueError, match=message):
            WhyView(trace, **options)
    with pytest.raises(traitlets.TraitError, match="head=4"):
        WhyView(trace).head = 4
    with pytest.raises(ValueError, match=r"give what transformer_lab\.trace"):
        WhyView("a text")


def test_questions_get_answers_and_errors_are_told(trace):
    view, sent = WhyView(trace), []
    view.send = lambda message, buffers: sent.append((message, buffers))
    for request, name in enumerate(
        ("cell/decoder/1/3/9/-", "cell/decoder/9/3/9/-", "cell/cross/0/0/1/1", "nonsense")
    ):
        view._on_question(view, {"type": "block", "name": name, "request": request}, [])
    best = int(trace.pattern(1, 3)[9].argmax())
    assert [m["request"] for m, _ in sent] == [0, 1, 2, 3]
    assert (sent[0][0]["info"]["query"], sent[0][0]["info"]["key"]) == (9, best)
    assert [m["type"] for m, _ in sent[1:]] == ["error"] * 3
    assert "layer=9 is outside" in sent[1][0]["message"]


def test_a_page_holds_the_chosen_row(trace):
    view = WhyView(trace, 1, 2, 5, 2)
    names = {block.name for block in view._blocks()}
    assert names == {f"cell/decoder/1/2/5/{key}" for key in (0, 1, 3, 4, 5)}
    assert view._page_state()["_held"] == "the row of “the” (5) of layer 1, head 2"


def test_of_a_hugging_face_model_the_sources_are_shown():
    transformers = package("transformers")
    config = transformers.GPT2Config(n_layer=2, n_head=4, n_embd=32, vocab_size=100)
    trace = tl.trace(transformers.GPT2LMHeadModel(config).eval(), torch.arange(7))
    view = WhyView(trace, 1, 2, 5, 3)
    assert set(view.cell.info["splits"]) == {"score", "above"}
    found = score_by_source(trace, 1, 2, 5, 3)
    assert view.cell.info["splits"]["score"]["total"] == pytest.approx(found.total, abs=1e-6)
    assert "Split by the key’s sources, " in view.sentence


class Bare(OwnNetwork):
    """A network without access to its blocks."""

    def heads(self, kind):
        return [4, 4]

    def tapped(self):
        return self.module.tapped()


def test_models_whose_sources_are_not_known_say_so(trace):
    view = WhyView(tl.trace(Bare(trace.model), torch.arange(7)), 1, 2)
    assert not view.cell.info["splits"]
    assert "were not found" in view.cell.info["why_no_sources"]
    assert "Dimension " in view.sentence
    assert view.png()[:4] == b"\x89PNG"


def test_a_model_that_gives_its_maps_only_has_no_scores_to_split():
    with pytest.raises(ValueError, match="gives attention maps only"):
        WhyView(maps_only())


def test_of_an_edited_trace_what_still_adds_up_is_shown(trace):
    model = trace.model
    with tl.edit(model, tl.ablate(layer=0, head=1)):
        view = WhyView(tl.trace(model, torch.arange(13)), 0, 2)
    assert set(view.cell.info["splits"]) == {"score", "above"}  # nothing was edited below layer 0
    view.layer = 1
    assert not view.cell.info["splits"]
    assert "traced under edits" in view.cell.info["why_no_sources"]
    assert "Dimension " in view.sentence


def test_long_rows_leave_the_mean_key_unsplit(long_trace, monkeypatch):
    monkeypatch.setattr("transformer_lab.views.why.data.ABOVE_MEAN", 1e3)
    info = WhyView(long_trace, 3, 1, 599, 20).cell.info
    assert set(info["splits"]) == {"score"}
    assert "too long" in info["why_no_above"]


@pytest.mark.parametrize("above", [False, True])
def test_a_picture(trace, above):
    view = WhyView(trace, 1, 2, 8, 1)
    view._options = {"above": above}
    assert view.png()[:4] == b"\x89PNG"


def test_a_page_reads_the_map_of_a_head_once(monkeypatch):
    """It has a row of 64 cells, each of which may be requested by its key alone."""
    trace = tl.trace(small(n_ctx=80), torch.arange(80) % 40)
    view = WhyView(trace)
    read = []
    pattern = trace.pattern
    monkeypatch.setattr(
        type(trace), "pattern", lambda _, *place, **k: read.append(place) or pattern(*place, **k)
    )
    list(view._blocks())
    assert len(read) <= 1
