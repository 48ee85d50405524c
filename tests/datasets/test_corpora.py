"""Corpora: contents, windows whose targets are the next tokens, one pass over the split."""

import hashlib

import numpy as np
import pytest
import torch

import transformer_lab.datasets as datasets
from transformer_lab.datasets import IGNORE, Corpus
from transformer_lab.tokenizers import CharTokenizer


@pytest.fixture(scope="module")
def manual():
    return datasets.python_manual()


def test_the_manual_is_this_pythons(manual):
    from pydoc_data.topics import topics

    assert all(topics[name].strip("\n") in manual.text for name in list(topics)[:10])
    assert len(manual.text) > 300_000
    assert manual.sha256 == hashlib.sha256(manual.text.encode()).hexdigest()
    assert manual.decode(manual.ids) == manual.text
    assert manual.tokenizer.unk_id not in manual.ids
    assert manual.vocab_size == manual.tokenizer.vocab_size


@pytest.mark.parametrize("tokenizer", ["char", "bpe"])
def test_the_parts_make_up_the_text(tokenizer):
    corpus = datasets.python_source(tokenizer, limit=50_000)
    assert len(corpus.text) == 50_000
    assert corpus.decode(corpus.train) + corpus.decode(corpus.held_out) == corpus.text
    assert corpus.decode(corpus.train) == corpus.text[:45_000]
    assert "import " in corpus.text


def test_windows_are_pieces_of_the_train_part_and_targets_come_next(manual):
    stream = manual.batches(8, 32, seed=1)
    text = manual.decode(manual.train)
    for step in range(5):
        batch = stream.batch(step)
        assert batch.tokens.shape == batch.targets.shape == (8, 32)
        assert torch.equal(batch.tokens[:, 1:], batch.targets[:, :-1])
        for row, target in zip(batch.tokens, batch.targets, strict=True):
            assert manual.decode([*row, target[-1]]) in text


def test_streams_are_a_pure_function_of_seed_and_step(manual):
    again = manual.batches(4, 16, seed=5)
    later = again.batch(100)
    assert torch.equal(later.tokens, manual.batches(4, 16, seed=5).batch(100).tokens)
    assert not torch.equal(later.tokens, again.batch(101).tokens)
    assert not torch.equal(later.tokens, manual.batches(4, 16, seed=6).batch(100).tokens)


def test_windows_reach_both_ends_of_the_split():
    corpus = Corpus.of("abcdefghij" * 10, held_out=0.5)
    stream = corpus.batches(64, 40)
    starts = {"".join(corpus.decode(row)) for s in range(20) for row in stream.batch(s).tokens}
    assert len(starts) == 10
    assert len(corpus.train) == 50


@pytest.mark.parametrize("n_ctx", [1, 7, 64, 4999])
def test_an_epoch_has_every_held_out_target_once(n_ctx):
    corpus = datasets.python_source(limit=50_000)
    batches = corpus.epoch(16, n_ctx)
    tokens = torch.cat([b.tokens[b.mask] for b in batches])
    targets = torch.cat([b.targets[b.mask] for b in batches])
    assert torch.equal(tokens, corpus.held_out[:-1])
    assert torch.equal(targets, corpus.held_out[1:])
    assert all((b.targets[~b.mask] == IGNORE).all() for b in batches)


def test_any_tokenizer_can_be_given(manual, tmp_path):
    path = tmp_path / "own.txt"
    path.write_bytes(b"\xef\xbb\xbfone line\r\nand another\n" * 1 + b"more\n" * 50)
    corpus = datasets.text_file(path, manual.tokenizer)
    assert corpus.tokenizer is manual.tokenizer
    assert corpus.text.startswith("one line\nand another\n")
    words = datasets.text_file(path, "word")
    assert words.decode(words.encode("one line and more")) == "one line and more"
    assert isinstance(datasets.text_file(path).tokenizer, CharTokenizer)


@pytest.mark.badinput
def test_bad_arguments_are_named(manual, tmp_path):
    with pytest.raises(ValueError, match="tokenizer must be one of char, word, bpe, got 'letters'"):
        datasets.python_manual("letters")
    with pytest.raises(ValueError, match=r"split must be one of .*, got 'test'"):
        manual.batches(4, 16, split="test")
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        manual.batches(0, 16)
    with pytest.raises(ValueError, match="n_ctx must be at least 1, got 0"):
        manual.batches(4, 0)
    with pytest.raises(ValueError, match=r"held_out must be between 0 and 1, got 1"):
        datasets.python_manual(held_out=1)
    short = tmp_path / "short.txt"
    short.write_text("a few words")
    with pytest.raises(ValueError, match=r"train part has 9 tokens, too few for n_ctx=64"):
        datasets.text_file(short).batches(4, 64)


def test_nano_gpt_has_the_same_split_of_tiny_shakespeare(tmp_path, monkeypatch):
    """90 % by characters, the same boundary as nanoGPT's `data[:int(n * 0.9)]`."""
    import transformer_lab.datasets.corpora as corpora

    text = "To be, or not to be.\n" * 997
    path = tmp_path / "input.txt"
    path.write_text(text)
    monkeypatch.setattr(
        corpora, "TINY_SHAKESPEARE_SHA256", hashlib.sha256(text.encode()).hexdigest()
    )
    corpus = datasets.tiny_shakespeare(path=path)
    assert corpus.decode(corpus.train) == text[: int(len(text) * 0.9)]
    assert np.array_equal(corpus.ids, corpus.tokenizer.encode(text))
