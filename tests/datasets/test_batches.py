"""Batches depend on (seed, step) alone; padding and masking match references."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from tests.missing import package
from transformer_lab.datasets import IGNORE, Batch, Corpus, Stream, mask_tokens
from transformer_lab.datasets.batches import Ragged, Shuffle
from transformer_lab.tokenizers import WordTokenizer


def test_ragged_pads_as_torch_does():
    rng = np.random.default_rng(0)
    rows = [rng.integers(5, 50, size=n).tolist() for n in (3, 0, 7, 1, 0, 5)]
    chosen = np.array([2, 0, 1, 2, 5])
    ids, real = Ragged.of(rows).pad(chosen, -1)
    expected = [torch.tensor(rows[i], dtype=torch.int64) for i in chosen]
    assert torch.equal(ids, pad_sequence(expected, batch_first=True, padding_value=-1))
    assert torch.equal(real, ids != -1)


@pytest.mark.parametrize(("n", "size"), [(10, 3), (10, 10), (3, 8), (1, 4), (64, 64)])
def test_every_row_comes_once_an_epoch(n, size):
    shuffle = Shuffle(n, size, seed=1)
    rows = np.concatenate([shuffle.rows(step) for step in range(3 * n)])
    epochs = rows[: len(rows) // n * n].reshape(-1, n)
    assert (np.sort(epochs, axis=1) == np.arange(n)).all()
    if n > 5:
        assert not (epochs[0] == epochs[1]).all()


def test_rows_do_not_depend_on_what_was_read_before():
    forward, jumping = Shuffle(10, 4, 7), Shuffle(10, 4, 7)
    expected = {step: forward.rows(step) for step in range(50)}
    for step in (49, 3, 17, 3, 0, 48):
        assert (jumping.rows(step) == expected[step]).all()


def test_streams_count_from_zero():
    stream = Stream(lambda step: Batch(torch.tensor([[step]]), torch.tensor([[step]])), 0)
    assert [b.tokens.item() for b in itertools.islice(stream, 3)] == [0, 1, 2]
    assert [b.tokens.item() for b in itertools.islice(stream, 2)] == [0, 1]
    with pytest.raises(ValueError, match="step must be 0 or more, got -1"):
        stream.batch(-1)


def test_a_batch_moves_with_its_examples():
    batch = Batch(torch.ones(2, 3), torch.ones(2, 3), examples=("a", "b")).to("meta")
    assert batch.tokens.device.type == batch.targets.device.type == "meta"
    assert batch.mask is None
    assert batch.examples == ("a", "b")
    assert len(batch) == 2


@pytest.fixture(scope="module")
def words():
    return WordTokenizer.train(" ".join(f"w{i}" for i in range(200)))


def _batch(tokenizer, shape=(200, 100)):
    tokens = torch.from_numpy(np.random.default_rng(3).integers(5, tokenizer.vocab_size, shape))
    tokens[:, 0], tokens[:, 50], tokens[:, -1] = 1, 3, 2
    mask = torch.ones(shape, dtype=torch.bool)
    mask[::2, 80:] = False
    tokens[~mask] = 0
    return Batch(tokens, tokens.clone(), mask=mask)


def test_masking_rates_are_berts(words):
    batch = _batch(words)
    hidden = mask_tokens(batch, words, seed=5)
    eligible = (batch.tokens >= 5) & batch.mask
    chosen = hidden.targets != IGNORE
    assert torch.equal(hidden.targets[chosen], batch.tokens[chosen])
    assert torch.equal(hidden.tokens[~chosen], batch.tokens[~chosen])
    assert not (chosen & ~eligible).any()

    n, v = int(eligible.sum()), words.vocab_size - 5
    shown = hidden.tokens[chosen]
    masked = int((shown == words.mask_id).sum())
    kept = int((shown == batch.tokens[chosen]).sum())
    counts = [n - int(chosen.sum()), masked, len(shown) - masked - kept, kept]
    # One random word in v is the word itself.
    shares = [0.85, 0.15 * 0.8, 0.15 * 0.1 * (1 - 1 / v), 0.15 * (0.1 + 0.1 / v)]
    chi_square = sum((c - n * p) ** 2 / (n * p) for c, p in zip(counts, shares, strict=True))
    assert chi_square < 11.34  # 3 degrees of freedom, p = .01

    # The swapped words are uniform over the ordinary ones.
    swapped = shown[(shown != words.mask_id) & (shown != batch.tokens[chosen])]
    spread = torch.bincount(swapped, minlength=words.vocab_size)[5:].double()
    expected = spread.sum() / v
    assert ((spread - expected) ** 2 / expected).sum() < 254  # 199 degrees of freedom, p = .005
    assert (swapped >= 5).all()


def test_masking_matches_transformers_collator_in_distribution(words):
    """The same fractions as `DataCollatorForLanguageModeling`, within sampling error."""
    transformers = package("transformers")
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    vocabulary = {word: i for i, word in enumerate(words.vocabulary)}
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(vocabulary, "<unk>")),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
    )
    batch = _batch(words)
    torch.manual_seed(0)
    collate = transformers.DataCollatorForLanguageModeling(theirs)
    reference = collate([{"input_ids": row} for row in batch.tokens])
    ours = mask_tokens(batch, words, seed=0)
    for tokens, targets in (
        (ours.tokens, ours.targets),
        (reference["input_ids"], reference["labels"]),
    ):
        chosen = targets != IGNORE
        eligible = (batch.tokens >= 5) & batch.mask
        assert chosen.sum() / eligible.sum() == pytest.approx(0.15, abs=0.01)
        assert (tokens[chosen] == 4).double().mean() == pytest.approx(0.8, abs=0.03)
        assert (tokens[chosen] == targets[chosen]).double().mean() == pytest.approx(0.1, abs=0.02)


def test_masking_is_a_pure_function_of_seed_and_step():
    corpus = Corpus.of("the quick brown fox jumps over the lazy dog. " * 200)
    one = corpus.batches(4, 32, seed=3).masked(corpus.tokenizer)
    two = corpus.batches(4, 32, seed=3).masked(corpus.tokenizer)
    later = two.batch(9)
    assert torch.equal(one.batch(9).tokens, later.tokens)
    assert torch.equal(one.batch(9).targets, later.targets)
    assert not torch.equal(one.batch(8).targets, later.targets)
    plain = corpus.batches(4, 32, seed=3).batch(9)
    chosen = later.targets != IGNORE
    assert torch.equal(later.targets[chosen], plain.tokens[chosen])


def test_some_token_is_always_masked(words):
    tokens = torch.tensor([[1, 17, 2]])
    for seed in range(20):
        assert (mask_tokens(Batch(tokens, tokens), words, seed=seed).targets != IGNORE).sum() == 1


@pytest.mark.badinput
def test_masking_refuses_what_it_cannot_do(words):
    batch = _batch(words, (2, 60))
    with pytest.raises(ValueError, match=r"rate must be in \(0, 1\], got 15; BERT"):
        mask_tokens(batch, words, rate=15)
    special = torch.tensor([[1, 2, 0]])
    with pytest.raises(ValueError, match="only special tokens, none of which can be masked"):
        mask_tokens(Batch(special, special), words)
    blind = WordTokenizer(words.vocabulary)
    blind.mask_id = None
    with pytest.raises(ValueError, match="has no mask token"):
        mask_tokens(batch, blind)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Shuffle(10, 0, 0)
