"""Probes repeat at their lag and nowhere else, for any model's vocabulary."""

from functools import partial

import pytest
import torch

import transformer_lab as tl
from tests.factories import small
from tests.missing import package
from transformer_lab import inputs

model_of = partial(small, vocab_size=100, n_layers=1, n_heads=2, d_model=16, n_ctx=128)


@pytest.mark.parametrize("lag", [5, 24, 37])
def test_repeats_stand_lag_tokens_apart_and_nothing_else_does(lag):
    probe = inputs.repeated(model_of(), lag=lag, n_texts=8, slack=12)
    tokens = probe.tokens
    assert tokens.shape == (8, 2 * lag + 12)
    for row, known in zip(tokens, probe.repeated, strict=True):
        same = (row[:, None] == row[None]).tril(-1).nonzero()
        assert set((same[:, 0] - same[:, 1]).tolist()) == {lag}
        assert len(same) == lag
        # At the known positions, the next token has come before, after the same token.
        queries = known.nonzero()[:, 0]
        assert len(queries) == lag - 1
        assert torch.equal(row[queries + 1], row[queries - lag + 1])
        assert torch.equal(row[queries], row[queries - lag])
    starts = probe.repeated.int().argmax(-1)
    assert len(set(starts.tolist())) > 2, "repeats start at different places"


def test_the_known_places_are_those_that_induction_counts():
    model = model_of()
    probe = inputs.repeated(model)
    pairs = tl.heads.pairs(probe.trace(model, keep="all"), "induction")
    # The repeat's last token has an earlier occurrence too, but the token after it is new.
    assert (pairs.any(-1) & probe.repeated[0]).sum() == probe.repeated[0].sum()
    assert pairs.any(-1).sum() == probe.repeated[0].sum() + 1


def test_probes_are_seeded():
    a, b, c = (inputs.repeated(model_of(), seed=seed).tokens for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_special_tokens_are_left_out_of_the_middle_and_put_around():
    shipped = tl.shipped("manual")
    tokens = inputs.repeated(shipped, n_texts=16).tokens
    assert tokens.min() > 4, "our tokenizers' special tokens are 0 to 4"
    assert tokens.max() < shipped.tokenizer.vocab_size
    transformers = package("transformers")
    tokenizers = package("tokenizers")
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    words |= {w: i + 5 for i, w in enumerate("abcdefghijklmnopqrst")}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    model = tl.TextModel(model_of(kind="encoder", vocab_size=30), tokenizer)
    probe = inputs.repeated(model, lag=8, slack=4)
    assert (probe.tokens[:, 0] == 2).all() and (probe.tokens[:, -1] == 3).all()
    body = probe.tokens[:, 1:-1]
    assert body.min() >= 5 and body.max() < 25, "ids that the tokenizer lacks are left out"
    assert torch.equal(probe.plain, probe.tokens >= 5)
    trace = probe.trace(model)
    assert trace.key_tokens()[0] == "[CLS]"


def test_short_contexts_and_small_vocabularies_get_what_fits():
    first, second = inputs.lags(model_of())
    assert (first, second) == (24, 37)
    small = model_of(n_ctx=20, vocab_size=6)
    first, second = inputs.lags(small)
    assert first < second
    for lag in (first, second):
        probe = inputs.repeated(small, lag=lag)
        assert probe.tokens.shape[1] <= 20
        assert torch.equal(*[probe.tokens[probe.repeated.roll(by, 1)] for by in (0, -lag)]), (
            "tokens come twice by chance, too, but the repeat is there"
        )


def test_an_encoder_decoders_decoder_reads_a_repeat_of_its_own():
    model = model_of(kind="encoder-decoder", target_vocab_size=50)
    probe = inputs.repeated(model)
    assert probe.target is not None and probe.target.max() < 50
    trace = probe.trace(model)
    assert set(trace.kinds) == {"encoder", "decoder", "cross"}
    assert tl.heads.pairs(trace, "induction", kind="decoder").sum() >= probe.lag - 1


def test_minimal_pairs_differ_in_the_earlier_occurrence_alone():
    model = tl.circuits.induction_by_hand()
    pair = inputs.minimal_pairs(model, lag=15)
    differ = pair.clean != pair.changed
    assert torch.equal(differ.sum(-1), torch.ones(4, dtype=torch.long))
    assert torch.equal(differ.int().argmax(-1), pair.place)
    rows = torch.arange(4)
    assert torch.equal(pair.clean[rows, pair.place], pair.clean[rows, pair.query])
    before, after = tl.trace(model, pair.clean), tl.trace(model, pair.changed)
    for text in range(4):
        moved = tl.heads.moved(before, after, int(pair.query[text]), batch=text)
        assert moved[1].min() > 0.9, "heads that go by the token notice"
        assert moved[0, 0] == 0, "a head that goes by position does not"


def test_a_pair_of_words():
    shipped = tl.shipped("manual")
    text = "def f(x): return x"
    pair = inputs.word_pair(shipped, text, "x", "y", "return")
    assert shipped.decode(pair.clean[0]) == text
    assert shipped.decode(pair.changed[0]) == "def f(y): return x", "whole words, the first"
    shown = shipped.tokenizer.tokens(pair.clean[0].tolist())
    assert "return".endswith(shown[int(pair.query)].strip("·"))
    assert pair.clean[0, pair.place] != pair.changed[0, pair.place]


@pytest.mark.badinput
def test_bad_input():
    with pytest.raises(ValueError, match=r"lag=60 makes texts of 132 tokens.*at most 128"):
        inputs.repeated(model_of(), lag=60)
    with pytest.raises(ValueError, match=r"lag must be at least 2, .* got 1"):
        inputs.repeated(model_of(), lag=1)
    with pytest.raises(ValueError, match="context of 8 tokens is too short"):
        inputs.repeated(model_of(n_ctx=8))
    with pytest.raises(ValueError, match="at least 2 tokens to draw from, got 1"):
        inputs.repeated(model_of(vocab_size=1))
    with pytest.raises(ValueError, match="all 6 tokens are already in the text"):
        inputs.minimal_pairs(model_of(vocab_size=6), lag=10)
    shipped = tl.shipped("manual")
    with pytest.raises(ValueError, match=r"old must be a word of the text .* got 'zebra'"):
        inputs.word_pair(shipped, "def f", "zebra", "a", "f")
    with pytest.raises(ValueError, match="the same number of tokens"):
        inputs.word_pair(shipped, "def f", "f", "unbelievably", "def")
    with pytest.raises(ValueError, match="must be different tokens"):
        inputs.word_pair(shipped, "def f", "f", "f", "def")


def test_the_old_name_still_works_for_one_release_and_warns():
    with pytest.warns(FutureWarning, match=r"tl\.probes is now tl\.inputs"):
        assert tl.probes is tl.inputs
    assert "probes" not in dir(tl) and "inputs" in dir(tl)
