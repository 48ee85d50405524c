"""Attention from one part of a text to another: against sums by hand, and uniform attention."""

import pytest
import torch
import transformers

import transformer_lab as tl
from tests.adapters.families import ours, text, tiny
from tests.factories import FRENCH, WORDS, maps_only, small
from transformer_lab.heads.spans import follow_segments


@pytest.fixture(scope="module")
def trace():
    return tl.trace(small(sharpness=3.0), torch.arange(len(WORDS)), labels=WORDS)


def test_the_share_is_the_mean_over_rows_of_their_sum(trace):
    a, b = (5, 9), (0, 3)
    found = tl.heads.share_between(trace, a, b)
    assert found.shape == (2, 4)
    for layer in range(2):
        for head in range(4):
            rows = trace.pattern(layer, head)[5:9]
            assert float(found[layer, head]) == pytest.approx(float(rows[:, :3].sum(-1).mean()))
    # Spans that cover everything visible sum to 1.
    parts = [tl.heads.share_between(trace, a, span) for span in ((0, 5), (5, 9))]
    torch.testing.assert_close(sum(parts), torch.ones(2, 4))


def test_even_attention_counts_the_keys_that_a_query_can_see(trace):
    even = tl.heads.even_between(trace, (5, 9), (0, 3), 1, 2)
    assert even == pytest.approx(sum(3 / (query + 1) for query in range(5, 9)) / 4)
    within = tl.heads.even_between(trace, (5, 9), (5, 9), 1, 2)
    assert within == pytest.approx(sum((query - 4) / (query + 1) for query in range(5, 9)) / 4)
    hidden = tl.heads.even_between(trace, (5, 9), (0, 3), 1, 2, hidden=[0, 7])
    seen = [query - (query >= 7) for query in range(5, 9)]  # of query + 1
    assert hidden == pytest.approx(sum(2 / count for count in seen) / 4)


def test_a_head_that_looks_evenly_gives_what_its_control_says(trace):
    model = small(sharpness=0.0)
    even = tl.trace(model, torch.arange(12))
    share = tl.heads.share_between(even, (4, 12), (1, 4))
    control = tl.heads.even_between(even, (4, 12), (1, 4), 1, 3)
    assert float(share[1, 3]) == pytest.approx(control, abs=1e-6)


def test_padding_is_out_of_sight():
    ids, target = torch.arange(len(WORDS)), torch.arange(len(FRENCH))
    mask = torch.ones(1, len(WORDS), dtype=torch.bool)
    mask[0, -3:] = False
    trace = tl.trace(small("encoder-decoder"), ids, target, mask=mask)
    assert tl.heads.even_between(trace, (5, 7), (0, 5), 0, 0, kind="encoder") == pytest.approx(0.5)
    # Query and key positions of two texts may overlap.
    assert tl.heads.even_between(trace, (2, 4), (3, 5), 0, 0, kind="cross") == pytest.approx(0.2)
    padded = tl.heads.share_between(trace, (0, 4), (10, 13), kind="cross")
    assert float(padded.abs().max()) == 0


def test_windows_and_nothing_are_part_of_it():
    model = tiny("mimo_v2_flash")
    trace = tl.trace(model, **ours(text(model)))
    share = tl.heads.share_between(trace, (6, 9), (0, 6)) + tl.heads.share_between(
        trace, (6, 9), (6, 9)
    )
    gone = trace.to_nothing(0, 1)[6:9].mean()
    assert float(share[0, 1]) == pytest.approx(1 - float(gone), abs=1e-5)
    for layer in trace.attending():
        seen = torch.isfinite(trace.scores(layer, 1)[6:9]) & (trace.scores(layer, 1)[6:9] > -1e4)
        even = (seen[:, :6].sum(-1) / seen.sum(-1)).mean()
        found = tl.heads.even_between(trace, (6, 9), (0, 6), layer, 1)
        assert found == pytest.approx(float(even))


def test_maps_alone_are_enough():
    trace = maps_only()
    share = tl.heads.share_between(trace, (0, 2), (3, 6))
    assert float(share[1, 2]) == pytest.approx(float(trace.pattern(1, 2)[:2, 3:].sum(-1).mean()))
    assert tl.heads.even_between(trace, (0, 2), (3, 6), 1, 2) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (5, (0, 2), r"a must be \(start, end\) as in a slice, got 5"),
        ((0, 2, 4), (0, 2), r"a must be \(start, end\) .* got \(0, 2, 4\)"),
        ((0, 1.5), (0, 2), r"a must be \(start, end\) .* got \(0, 1\.5\)"),
        ((4, 2), (0, 2), r"a=\(4, 2\) ends before it starts; did you mean \(2, 4\)\?"),
        (
            (4, 6),
            (3, 3),
            r"b=\(3, 3\) holds no token, because its end is not included; \(3, 4\) is token 3",
        ),
        ((4, 14), (0, 2), r"a=\(4, 14\) is outside the 13 tokens; keep it within \(0, 13\)"),
        ((4, 6), (-2, 2), r"b=\(-2, 2\) is outside the 13 tokens"),
        ((2, 6), (1, 3), r"a=\(2, 6\) and b=\(1, 3\) share tokens; end one where the other starts"),
        (
            (2, 4),
            (4, 6),
            r"b=\(4, 6\) comes after a=\(2, 4\), and no token here attends to a later one",
        ),
    ],
)
def test_spans_that_say_nothing_are_refused(trace, a, b, message):
    for measure in (tl.heads.share_between, lambda *spans: tl.heads.even_between(*spans, 0, 0)):
        with pytest.raises(ValueError, match=message):
            measure(trace, a, b)


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        ("abcdefgh", {"a": (0, 3), "b": (3, 8)}),  # the text grows
        ("abXcdef", {"a": (0, 4), "b": (4, 7)}),
        ("abcdYYf", {"a": (0, 3), "b": (3, 7)}),
        ("abef", {}),  # both contain the change
        ("xyz", {}),
        ("ab", {}),
        ("abc", {"a": (0, 3), "b": (3, 3)}),
        ("abcdef", {"a": (0, 3), "b": (3, 6)}),
    ],
)
def test_segments_follow_a_text_of_which_one_part_changes(after, wanted):
    assert follow_segments({"a": (0, 3), "b": (3, 6)}, "abcdef", after) == wanted


def test_segments_are_those_that_the_model_was_told():
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32)
    model = transformers.BertModel(transformers.BertConfig(vocab_size=20, **sizes)).eval()
    ids = torch.arange(3, 17).reshape(2, 7)
    types = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 0, 0]])
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2]).bool()
    trace = tl.trace(model, ids, mask=mask, token_type_ids=types)
    assert tl.heads.segments(trace) == [(0, 3), (3, 7)]
    assert tl.heads.segments(trace, batch=1) == [(0, 2), (2, 5)]
    one = tl.trace(model, ids[0], token_type_ids=torch.zeros(1, 7).long())
    assert tl.heads.segments(one) == [] == tl.heads.segments(tl.trace(model, ids[0]))
