"""Head scores against TransformerLens' detection patterns, and on patterns with known scores."""

import dataclasses

import pytest
import torch

import transformer_lab as tl
from tests.missing import package
from transformer_lab import heads
from transformer_lab.heads import evidence, naming
from transformer_lab.heads.measures import MEASURES, Measure
from transformer_lab.views import RunView
from transformer_lab.views.explorer.labels import labels_of


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
    detector = package("transformer_lens.head_detector")
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
    pair = tl.trace(trace.model, trace.tokens[0, :2])
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
    """Compare with products of the patterns, pair by pair."""
    wanted = heads.induction_pairs(trace)
    rows = wanted.any(-1)
    products = [
        (trace.pattern(2, h) @ trace.pattern(e, g)) for h in [1] for e in (0, 1) for g in range(4)
    ]
    best = max(((p * wanted)[rows].sum(-1).mean()).item() for p in products)
    assert heads.two_hop_induction(trace)[2, 1].item() == pytest.approx(best, abs=1e-6)
    assert heads.two_hop_induction(trace)[0].abs().max() == 0


def test_punctuation_and_special_tokens_are_found():
    model = tl.shipped("manual")
    trace = model.trace("def f ( x ) : return")
    marks = ["(" in t or ")" in t or ":" in t for t in trace.key_tokens()]
    expected = heads.mass_on(trace, torch.tensor(marks).expand(trace.shape()))
    torch.testing.assert_close(heads.punctuation(trace), expected)


def test_words_are_put_together_by_how_their_pieces_are_shown():
    assert heads.words(["[CLS]", "photo", "##graph", "##er", "##s", ".", "a"]) == [
        0,
        1,
        1,
        1,
        1,
        2,
        3,
    ]
    assert heads.words(["Photo", "graph", "·of", "·a", "·", "cat", ".", "x", "↵", "y"]) == [
        0,
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
    ]
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
    kept = torch.minimum(*rows).sum(-1)  # attention that did not move
    torch.testing.assert_close(heads.moved(before, after, 3), 1 - kept)
    assert heads.moved(before, after, 0).abs().max() == 0, "it sees nothing of the change"
    assert heads.moved(before, after, 3).min() > 0


def test_a_measure_is_the_mass_on_its_pairs(trace):
    for name in ("previous_token", "self_token", "first_token", "duplicate_token", "induction"):
        wanted = heads.pairs(trace, name)
        torch.testing.assert_close(getattr(heads, name)(trace), heads.mass_on(trace, wanted))


def test_a_measure_is_added_in_one_place(trace, monkeypatch, tmp_path):
    """A toy measure with a label: a run's view offers it, and others show its name and tag."""

    def second(trace, kind, batch):
        wanted = torch.zeros(trace.shape(kind), dtype=torch.bool)
        wanted[2:, 1] = True
        return wanted

    toy = Measure("second token", second, ("ids",), "looks at the second token", "2nd")
    monkeypatch.setitem(MEASURES, toy.name, toy)
    assert torch.equal(heads.pairs(trace, "second_token"), second(trace, None, 0))
    model = tl.shipped("manual")
    monkeypatch.setattr(evidence, "BAR", -1.0)
    for name in ("BAR", "ABOVE"):
        monkeypatch.setattr(naming, name, -1.0)
    only = [name for name in MEASURES if name != toy.name and MEASURES[name].says]
    for name in only:  # no other label is possible
        monkeypatch.setitem(MEASURES, name, dataclasses.replace(MEASURES[name], says=""))
    found = heads.labels(model, ablation=False)
    assert {one.name for row in found for one in row} == {"second token"}
    assert found[0][0].sentence.startswith("looks at the second token: ")
    shown = labels_of(model, model.trace("def f"))["decoder"][0][0]
    assert (shown["tag"], shown["short"]) == ("second token", "2nd")
    assert shown["sentence"] == found[0][0].sentence
    config = tl.ModelConfig(vocab_size=20, n_layers=2, n_heads=2, d_model=16, n_ctx=16)
    tokens = torch.arange(9).repeat(2, 1)
    batches = [tl.datasets.Batch(tokens=tokens[:, :-1], targets=tokens[:, 1:])] * 4
    options = dict(run=tmp_path / "r", probe=torch.arange(6), snapshot_every=2)
    for _ in tl.train(tl.Transformer(config), batches, steps=4, **options):
        pass
    view = RunView(tmp_path / "r", measure="second token")
    run = tl.Run(tmp_path / "r")
    assert "second token" in view._measures["decoder"]
    expected = torch.stack([toy.score(run.trace(step)) for step in run.snapshots])
    assert torch.equal(view.score(), expected)
    assert "Second token: layer" in view.run_sentence


def test_every_label_has_words_and_a_tag_of_its_own():
    given = [one for one in MEASURES.values() if one.says]
    for said in ("name", "says", "tag"):
        assert len({getattr(one, said) for one in given}) == len(given) == 10
    assert all(one.tag for one in given) and all(name == m.name for name, m in MEASURES.items())


@pytest.mark.badinput
def test_bad_input(trace):
    with pytest.raises(ValueError, match=r"measure must be one of .*induction.*, got 'love'"):
        heads.pairs(trace, "love")
    with pytest.raises(ValueError, match=r"\[48, 48\] and \[2, 2\]"):
        heads.moved(trace, tl.trace(trace.model, trace.tokens[0, :2]), 0)
    with pytest.raises(ValueError, match="query=48 is outside the 48 tokens"):
        heads.moved(trace, trace, 48)
    with pytest.raises(
        ValueError, match=r"wanted must have the shape of the maps, \[48, 48\], got \[2, 2\]"
    ):
        heads.mass_on(trace, torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"no pair \(query, key\) to count"):
        heads.special_tokens(trace)


@pytest.mark.badinput
def test_two_hops_are_not_scored_where_no_token_comes_twice():
    model = tl.Transformer(tl.ModelConfig(vocab_size=9, n_layers=2, n_heads=2, d_model=8, n_ctx=8))
    distinct = tl.trace(model, torch.arange(6))
    for measure in (heads.induction, heads.two_hop_induction):
        with pytest.raises(ValueError, match=r"no pair \(query, key\) to count"):
            measure(distinct)
