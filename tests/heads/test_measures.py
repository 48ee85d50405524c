"""Head scores against TransformerLens' detection patterns, and on maps whose score is known."""

import pytest
import torch

import transformer_lab as tl
from transformer_lab import heads


@pytest.fixture(scope="module")
def trace() -> tl.Trace:
    torch.manual_seed(0)
    config = tl.ModelConfig(vocab_size=20, n_layers=3, n_heads=4, d_model=32)
    model = tl.Transformer(config).eval()
    for p in model.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return tl.trace(model, torch.randint(5, 20, (24,)).repeat(2))


@pytest.mark.parametrize(
    ("score", "name", "first_row"),
    [
        (heads.previous_token, "previous_token_head", 1),
        (heads.duplicate_token, "duplicate_token_head", None),
        (heads.induction, "induction_head", None),
    ],
)
def test_scores_use_the_pairs_of_transformer_lens(trace, score, name, first_row):
    detector = pytest.importorskip("transformer_lens.head_detector")
    pairs = getattr(detector, f"get_{name}_detection_pattern")(trace.tokens)
    rows = pairs.sum(-1) > 0
    if first_row is not None:
        rows[:first_row] = False
    expected = torch.stack(
        [(trace.pattern(i)[:, rows] * pairs[rows]).sum(-1).mean(-1) for i in range(3)]
    )
    torch.testing.assert_close(score(trace), expected, atol=1e-8, rtol=1e-6)


def test_every_query_spreads_one_unit(trace):
    everything = torch.ones(trace.shape(), dtype=torch.bool)
    torch.testing.assert_close(heads.mass_on(trace, everything), torch.ones(3, 4))


def test_offsets_add_up_to_all_attention_of_two_tokens(trace):
    pair = tl.trace(trace._model, trace.tokens[0, :2])
    total = heads.previous_token(pair) + heads.self_token(pair) * 2 - 1
    torch.testing.assert_close(total, torch.ones(3, 4), atol=1e-6, rtol=0)


def test_a_decoder_never_looks_ahead(trace):
    assert heads.next_token(trace).abs().max() == 0


def test_entropy_and_distance_of_uniform_attention():
    config = tl.ModelConfig(
        vocab_size=5, n_layers=1, n_heads=1, d_model=8, kind="encoder", positions="none"
    )
    model = tl.Transformer(config).eval()
    torch.nn.init.zeros_(model.encoder.blocks[0].attention.query.weight)
    uniform = tl.trace(model, torch.arange(4))
    assert heads.entropy(uniform).item() == pytest.approx(2.0)  # log2 of 4 tokens
    assert heads.distance(uniform).item() == pytest.approx(1.25)
    assert heads.first_token(uniform).item() == pytest.approx(0.25)


def test_two_hops_find_what_one_layer_alone_does_not(trace):
    """Against the product of the maps, pair by pair."""
    wanted = heads.induction_pairs(trace)
    rows = wanted.any(-1)
    products = [
        (trace.pattern(2, h) @ trace.pattern(e, g))
        for h in [1] for e in (0, 1) for g in range(4)
    ]  # fmt: skip
    best = max(((p * wanted)[rows].sum(-1).mean()).item() for p in products)
    assert heads.two_hop_induction(trace)[2, 1].item() == pytest.approx(best, abs=1e-6)
    assert heads.two_hop_induction(trace)[0].abs().max() == 0


def test_punctuation_and_special_tokens_are_found():
    model = tl.shipped()
    trace = model.trace("def f ( x ) : return")
    marks = ["(" in t or ")" in t or ":" in t for t in trace.key_tokens()]
    expected = heads.mass_on(trace, torch.tensor(marks).expand(trace.shape()))
    torch.testing.assert_close(heads.punctuation(trace), expected)


def test_words_are_put_together_by_how_their_pieces_are_shown():
    assert heads.words(["[CLS]", "photo", "##graph", "##er", "##s", ".", "a"]) == [
        0, 1, 1, 1, 1, 2, 3,
    ]  # fmt: skip
    assert heads.words(["Photo", "graph", "·of", "·a", "·", "cat", ".", "x", "↵", "y"]) == [
        0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
    ]  # fmt: skip
    assert heads.words(["cat", "sat", "cat"]) == [0, 1, 2], "no marks: every token is a word"


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_same_word_counts_other_pieces_and_the_word_again(kind):
    torch.manual_seed(0)
    config = tl.ModelConfig(vocab_size=20, n_layers=2, n_heads=2, d_model=16, kind=kind)
    model = tl.Transformer(config).eval()
    labels = ["run", "##ner", "and", "run", "##ner", "."]
    trace = tl.trace(model, torch.arange(6), labels=labels)
    expected = torch.zeros(6, 6, dtype=torch.bool)
    for query in (0, 1, 3, 4):
        for key in {0, 1, 3, 4} - {query}:
            expected[query, key] = kind == "encoder" or key < query
    assert torch.equal(heads.pairs(trace, "same_word"), expected)
    torch.testing.assert_close(heads.same_word(trace), heads.mass_on(trace, expected))


def test_what_a_pair_of_texts_moved():
    torch.manual_seed(0)
    config = tl.ModelConfig(vocab_size=20, n_layers=2, n_heads=2, d_model=16)
    model = tl.Transformer(config).eval()
    before, after = (
        tl.trace(model, torch.tensor([1, 2, 3, 4])),
        tl.trace(model, torch.tensor([1, 9, 3, 4])),
    )
    rows = [t.patterns()[:, :, 3] for t in (before, after)]
    kept = torch.minimum(*rows).sum(-1)  # what stayed where it was
    torch.testing.assert_close(heads.moved(before, after, 3), 1 - kept)
    assert heads.moved(before, after, 0).abs().max() == 0, "it sees nothing of the change"
    assert heads.moved(before, after, 3).min() > 0


def test_a_measure_is_the_mass_on_its_pairs(trace):
    for name in ("previous_token", "self_token", "first_token", "duplicate_token", "induction"):
        wanted = heads.pairs(trace, name)
        torch.testing.assert_close(getattr(heads, name)(trace), heads.mass_on(trace, wanted))


@pytest.mark.badinput
def test_bad_input(trace):
    with pytest.raises(ValueError, match=r"measure='love' is not known.*induction"):
        heads.pairs(trace, "love")
    with pytest.raises(ValueError, match=r"\[48, 48\] and \[2, 2\]"):
        heads.moved(trace, tl.trace(trace._model, trace.tokens[0, :2]), 0)
    with pytest.raises(ValueError, match="query=48 is outside the 48 tokens"):
        heads.moved(trace, trace, 48)
    with pytest.raises(ValueError, match=r"wanted has shape \[2, 2\]; the maps have \[48, 48\]"):
        heads.mass_on(trace, torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="marks no pair"):
        heads.special_tokens(trace)
