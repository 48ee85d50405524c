"""Copy, reverse, sort and induction: correct answers, and the positions to attend to."""

import numpy as np
import pytest
import torch

from transformer_lab.datasets import IGNORE, copy_task, induction, reverse, sort


@pytest.mark.parametrize(
    ("make", "answer"),
    [
        (copy_task, lambda words: words),
        (reverse, lambda words: words[::-1]),
        (sort, lambda words: sorted(words, key=int)),
    ],
)
def test_targets_are_right_and_come_from_their_sources(make, answer):
    data = make(size=2000, held_out=200)
    for pair in data.train + data.held_out:
        source, target = pair.source.split(), pair.target.split()
        assert target == answer(source)
        assert [source[i] for (i,) in pair.alignment] == target
        assert sorted(i for (i,) in pair.alignment) == list(range(len(source)))


def test_lengths_and_symbols_are_as_asked():
    data = reverse(length=(2, 5), vocab=40, size=500, held_out=50)
    assert {len(pair.source.split()) for pair in data.train} == {2, 3, 4, 5}
    assert {word for pair in data.train for word in pair.source.split()} == set(map(str, range(40)))
    assert data.vocab_size == 45
    numbers = sort(length=6, vocab=9, size=500, held_out=50)
    assert all(len(set(pair.source.split())) == 6 for pair in numbers.train)


@pytest.mark.parametrize("kind", ["encoder-decoder", "decoder", "encoder"])
def test_truth_looks_at_the_token_that_is_predicted(kind):
    """For every kind, the token to attend to is the target of that row."""
    data = reverse(size=100, held_out=10)
    batch = data.collate(data.train[:20], kind=kind)
    truth = data.truth(batch, kind=kind)
    rows, queries, keys = truth.nonzero(as_tuple=True)
    assert torch.equal(batch.tokens[rows, keys], batch.targets[rows, queries])
    # every target has one such position, except </s>
    answered = (batch.targets != IGNORE) & (batch.targets != data.tokenizer.eos_id)
    assert torch.equal(truth.sum(-1), answered.long())


@pytest.fixture(scope="module")
def repeats():
    return induction(size=3000, held_out=300)


def test_a_segment_comes_again_and_nothing_else_does(repeats):
    for example in repeats.train[:500] + repeats.held_out:
        tokens = np.array(example.tokens)
        first = slice(example.start, example.start + example.length)
        second = slice(first.start + example.lag, first.stop + example.lag)
        assert (tokens[first] == tokens[second]).all()
        assert len(set(example.tokens)) == len(tokens) - example.length
        assert first.stop <= second.start
        assert second.stop <= len(tokens)


def test_held_out_lags_are_never_trained_on(repeats):
    trained = {example.lag for example in repeats.train}
    assert {example.lag for example in repeats.held_out} == {20, 28, 36}
    assert not trained & {20, 28, 36}
    assert len(trained) > 40


def test_start_length_and_lag_vary(repeats):
    for name in ("start", "length", "lag"):
        assert len({getattr(example, name) for example in repeats.train}) > 20


def test_targets_are_what_an_induction_head_can_know(repeats):
    """Looking up the token after the last occurrence of the current one gives every target."""
    batch = repeats.batches(50).batch(0)
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        for t, target in enumerate(targets):
            earlier = [k for k in range(t) if tokens[k] == tokens[t]]
            if target == IGNORE:
                continue
            assert tokens[earlier[-1] + 1] == target == tokens[t + 1]


def test_truth_is_the_induction_pattern(repeats):
    batch = repeats.batches(20).batch(3)
    truth = repeats.truth(batch)
    expected = torch.zeros_like(truth)
    for i, tokens in enumerate(batch.tokens.tolist()):
        for t in range(len(tokens)):
            if batch.targets[i, t] != IGNORE:
                expected[i, t, tokens.index(tokens[t]) + 1] = True
    assert torch.equal(truth, expected)
    assert not truth.triu(1).any()  # no attention to later tokens


@pytest.mark.badinput
def test_bad_arguments():
    with pytest.raises(ValueError, match="length=8 needs 8 different symbols, but vocab=5"):
        sort(vocab=5)
    with pytest.raises(ValueError, match=r"length must be .* got \(5, 2\)"):
        reverse(length=(5, 2))
    with pytest.raises(ValueError, match="gave only 4; request fewer or longer"):
        copy_task(length=2, vocab=2, size=10, held_out=1)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        copy_task(size=0)
    with pytest.raises(ValueError, match="vocab=20 is too small: length=65 needs 57"):
        induction(vocab=20)
    with pytest.raises(ValueError, match="does not fit twice into length=10"):
        induction(length=10)
    with pytest.raises(
        ValueError, match=r"held_out_lags must be some, but not all, .* got \(99,\)"
    ):
        induction(held_out_lags=[99])
    with pytest.raises(ValueError, match="must be some, but not all"):
        induction(held_out_lags=range(8, 58))
    with pytest.raises(ValueError, match="kind='encoder' does not suit induction"):
        induction(size=10, held_out=10).batches(4, kind="encoder")
