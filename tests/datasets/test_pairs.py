"""Pairs in their three layouts, and from users' files."""

import pytest
import torch

from transformer_lab.datasets import IGNORE, number_words, pairs_file
from transformer_lab.tokenizers import BPETokenizer


@pytest.fixture(scope="module")
def data():
    return number_words("de", size=500, held_out=50)


def test_an_encoder_decoder_is_taught_by_its_own_answer(data):
    batch = data.batches(64, seed=2).batch(4)
    tokenizer = data.tokenizer
    for i, pair in enumerate(batch.examples):
        source = batch.tokens[i][batch.mask[i]].tolist()
        given = batch.target_in[i][batch.target_mask[i]].tolist()
        wanted = batch.targets[i][batch.targets[i] != IGNORE].tolist()
        assert source == tokenizer.encode(pair.source)
        assert given == [tokenizer.bos_id, *tokenizer.encode(pair.target)]
        assert wanted == [*tokenizer.encode(pair.target), tokenizer.eos_id]
        assert given[1:] == wanted[:-1]
    assert (batch.tokens[~batch.mask] == tokenizer.pad_id).all()
    assert torch.equal(batch.targets == IGNORE, ~batch.target_mask)


def test_a_decoder_reads_on_from_source_to_target(data):
    batch = data.batches(32).batch(0)
    again = data.batches(32, kind="decoder").batch(0)
    assert again.examples == batch.examples
    assert again.target_in is None
    for i, pair in enumerate(batch.examples):
        row = again.tokens[i][again.mask[i]].tolist()
        n = len(pair.source.split())
        target = data.tokenizer.encode(pair.target)
        assert row == [*data.tokenizer.encode(pair.source), data.tokenizer.bos_id, *target]
        assert (again.targets[i, :n] == IGNORE).all()
        assert again.targets[i, n : len(row)].tolist() == [*target, data.tokenizer.eos_id]


def test_no_mask_where_nothing_is_padding(data):
    pairs = [p for p in data.train if len(p.source.split()) == 7]
    batch = data.collate(pairs)
    assert batch.mask is None
    assert len(batch) == len(pairs) > 1


def test_truth_is_the_alignment(data):
    batch = data.epoch(50)[0]
    truth = data.truth(batch)
    assert truth.shape == (50, batch.target_in.shape[1], batch.tokens.shape[1])
    for i, pair in enumerate(batch.examples):
        for t, places in enumerate(pair.alignment):
            assert truth[i, t].nonzero().flatten().tolist() == sorted(places)
        assert not truth[i, len(pair.alignment) :].any()
    assert not (truth & ~batch.mask[:, None]).any()


LINES = [("a small house", "ein kleines Haus"), ("the dog", "der Hund"), ("the dog", "der Hund")]
LINES += [(f"house {i}", f"Haus {i}") for i in range(30)] + [("house 3", "das Haus 3")]


@pytest.fixture
def files(tmp_path):
    table, source, target = tmp_path / "x.tsv", tmp_path / "x.en", tmp_path / "x.de"
    table.write_text("".join(f"{s}\t{t}\n" for s, t in LINES))
    source.write_text("\n".join(s for s, _ in LINES))
    target.write_bytes("\r\n".join(t for _, t in LINES).encode())
    return table, source, target


def test_one_file_and_two_give_the_same(files):
    table, source, target = files
    one, two = pairs_file(table), pairs_file(source, target)
    assert one.train == two.train
    assert one.held_out == two.held_out
    assert one.tokenizer == two.tokenizer
    assert len(one.train) + len(one.held_out) == len(set(LINES))


def test_no_source_is_on_both_sides(files):
    for seed in range(30):
        data = pairs_file(files[0], held_out=0.3, seed=seed)
        assert not {p.source for p in data.train} & {p.source for p in data.held_out}
    assert len(pairs_file(files[0], held_out=5).held_out) in (5, 6)
    assert pairs_file(files[0], seed=1).held_out != pairs_file(files[0], seed=2).held_out


@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe"])
def test_any_tokenizer(files, tokenizer):
    if tokenizer == "bpe":
        tokenizer = BPETokenizer.train([t for line in LINES for t in line], 280)
    data = pairs_file(files[0], tokenizer=tokenizer)
    batch = data.epoch(8)[0]
    told = [data.tokenizer.decode(row[row != IGNORE]) for row in batch.targets]
    assert told == [pair.target for pair in batch.examples]
    assert not data.truth(batch).any()


@pytest.mark.badinput
def test_unequal_lengths_do_not_suit_an_encoder(data):
    with pytest.raises(ValueError, match="kind='encoder' needs targets as long as their sources"):
        data.batches(4, kind="encoder")
    with pytest.raises(ValueError, match=r"kind='rnn' does not suit .*'encoder-decoder' or"):
        data.batches(4, kind="rnn")
    with pytest.raises(ValueError, match=r"split must be one of .*, got 'test'"):
        data.batches(4, split="test")
