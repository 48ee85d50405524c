"""A HeadView of several texts: which one is shown, and results over all of them."""

import pytest
import torch
import traitlets

import transformer_lab as tl
from tests.factories import WORDS, small
from transformer_lab.views import HeadView
from transformer_lab.views.shared.messages import percent


@pytest.fixture(scope="module")
def texts():
    """Three texts of 13, 9 and 11 words."""
    tokens = torch.stack([torch.arange(13), torch.arange(13) + 9, torch.arange(13) * 3])
    mask = torch.arange(13)[None] < torch.tensor([13, 9, 11])[:, None]
    labels = [WORDS, WORDS[4:] + WORDS[:4], WORDS[::-1]]
    return tl.trace(small(sharpness=3.0), tokens, mask=mask, labels=labels)


def test_the_text_that_is_chosen_is_on_view(texts):
    view = HeadView(texts, layer=1, head=2)
    assert view._texts["names"][0].startswith("0: The animal did n't") and not view._texts["why"]
    for text in (1, 2, 0):
        view.text = text
        alone = HeadView(texts, layer=1, head=2, batch=text)
        assert view._maps == alone._maps and view._thumbs == alone._thumbs
        assert view.sentence == alone.sentence and view._batch == view._held_text == text
    for wrong in (3, -1, "median"):
        with pytest.raises(traitlets.TraitError, match=r"choose 0 … 2, 'mean' or 'spread'"):
            view.text = wrong
    assert view.text == 0


def test_results_come_in_one_message_and_a_page_cannot_set_them(texts, monkeypatch):
    view, sent = HeadView(texts, layer=1, head=2), []

    def send_state(key):
        sent.append({key} if isinstance(key, str) else {*key})

    monkeypatch.setattr(view, "send_state", send_state)
    view.text = 1
    assert sent == [{"text"}, {"_kinds", "_maps", "_norms", "_thumbs", "_held_text", "_batch"}]
    maps = view._maps
    view.set_state({"head": 3, "_maps": b"", "_note": "written by a page"})
    assert (view.head, view._maps, view._note) == (3, maps, "")
    view.layer = 0
    assert sent[2:] == [{"layer"}], "large results are not sent again"


def test_mean_and_spread_say_over_what(texts):
    view = HeadView(texts, layer=1, head=2)
    view.selected = (12, 3)
    average = tl.heads.average_map(texts, 1, 2)
    view.text = "mean"
    assert view.selected is None  # the average has nine positions
    assert view.sentence.startswith(
        "Layer 1, head 2, mean over 3 texts, positions 0–8, which all texts have: "
        "after the first token, the strongest link is “"
    )
    torch.testing.assert_close(view.row(7), average.mean[7])
    assert (
        view._kinds["decoder"]["caption"] == "Mean of the weights over 3 texts; each row sums to 1."
    )
    view.text = "spread"
    view._options = {"hide_first": True}  # rescaled rows of it would mean nothing
    torch.testing.assert_close(view.row(7), average.spread[7])
    query, key = divmod(int(average.spread.argmax()), 9)
    size = percent(float(average.spread.max()))
    assert view.sentence == (
        "Layer 1, head 2, spread over 3 texts, positions 0–8, which all texts have: what "
        f"“{query}” gives to “{key}” differs most, by {size} (standard deviation)."
    )
    assert view.png()[:4] == b"\x89PNG"
    view.selected = (1, 5)
    assert view.sentence.endswith("the texts hardly differ here.")


def test_a_page_holds_every_text_of_a_small_batch_or_says_which(texts, monkeypatch):
    view = HeadView(texts)
    names = {block.name for block in view._blocks()}
    every = {f"text/{text}" for text in (0, 1, 2, "mean", "spread")}
    profiles = {f"profile/decoder/{layer}/{head}" for layer in range(2) for head in range(4)}
    assert names == every | profiles
    one = view._page_state(layers=[1])
    assert "This page holds text 0 alone, of 3 texts." in one["_note"]
    assert one["_texts"]["held"] == [0]
    monkeypatch.setattr("transformer_lab.views.heads.texts.PAGE_BYTES", 100)
    assert view._page_state()["_texts"]["held"] == [0]


def test_without_shared_positions_there_is_a_reason_and_no_average():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    view = HeadView(tl.trace(small(), torch.arange(6).view(2, 3), mask=mask))
    assert "text 1 has 1 token" in view._texts["why"]
    with pytest.raises(traitlets.TraitError, match="text='mean' cannot be shown: text 1 has 1"):
        view.text = "mean"
    view.text = 1


def test_one_text_is_as_it_was(trace):
    view = HeadView(trace)
    assert view._texts == {} and not list(view._blocks())
    with pytest.raises(traitlets.TraitError, match="it is of one text"):
        view.text = "mean"


@pytest.mark.parametrize("model", ["encoder", "encoder-decoder"])
def test_rows_that_reach_beyond_the_shared_keys_are_not_said_to_sum_to_1(model):
    mask = torch.arange(6)[None] < torch.tensor([6, 4])[:, None]
    target = torch.arange(8).view(2, 4) if model != "encoder" else None
    found = tl.trace(small(model), torch.arange(12).view(2, 6), target, mask=mask)
    kind = "encoder" if model == "encoder" else "cross"
    view = HeadView(found, kind=kind)
    view.text = "mean"
    assert "left out of the rows" in view._kinds[kind]["caption"]
    assert "sinks" not in view._kinds[kind]
    sent = []
    view.send = lambda message, buffers: sent.append((message, buffers))
    view._on_question(view, {"type": "block", "name": f"profile/{kind}/0/1", "request": 1}, [])
    assert sent[0][0]["info"]["said"].startswith("Mean over 2 texts")
    assert len(sent[0][1]) == (4 if model == "encoder" else 0)
