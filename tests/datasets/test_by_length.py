"""Batches by length: every row once an epoch, a pure function of the step, and little padding."""

import warnings

import numpy as np
import pytest
import torch

import transformer_lab as tl
from tests.factories import learner
from transformer_lab.datasets.batches import ByLength, Shuffle
from transformer_lab.training.objective import n_padding, n_tokens

SIZES = [(10, 3), (10, 10), (3, 8), (1, 4), (64, 64), (1000, 7), (2048, 1)]


def lengths(n, seed=0):
    """Correlated lengths of sources and targets, as of sentences and their translations."""
    rng = np.random.default_rng(seed)
    source = rng.integers(3, 40, n)
    return source, np.maximum(1, source + rng.integers(-3, 4, n))


def padded(sides, shuffle, n_batches):
    """The fraction of padding in the first batches."""
    rows = [shuffle.rows(step) for step in range(n_batches)]
    read = sum(len(r) * int(side[r].max()) for side in sides for r in rows)
    return 1 - sum(int(side[r].sum()) for side in sides for r in rows) / read


@pytest.mark.parametrize(("n", "size"), SIZES)
def test_every_row_comes_once_an_epoch_and_every_batch_is_whole(n, size):
    shuffle = ByLength(lengths(n), size, seed=1)
    rows = [shuffle.rows(step) for step in range(5 * n // size + 5)]
    assert {len(r) for r in rows} == {size}
    flat = np.concatenate(rows)
    epochs = flat[: len(flat) // n * n].reshape(-1, n)
    assert (np.sort(epochs, axis=1) == np.arange(n)).all()
    if n > size > 1:
        assert not (epochs[0] == epochs[1]).all()


@pytest.mark.parametrize(("n", "size"), SIZES)
def test_rows_do_not_depend_on_what_was_read_before(n, size):
    forward, jumping = (ByLength(lengths(n), size, seed=7) for _ in range(2))
    expected = {step: forward.rows(step) for step in range(50)}
    for step in (49, 3, 17, 3, 0, 48):
        assert (jumping.rows(step) == expected[step]).all()


@pytest.mark.parametrize("seed", range(4))
def test_little_of_what_is_read_is_padding(seed):
    sides = lengths(4096, seed)
    n_batches = 4096 // 32
    shuffled = padded(sides, Shuffle(4096, 32, seed), n_batches)
    assert shuffled > 0.4  # the control
    assert padded(sides, ByLength(sides, 32, seed), n_batches) < shuffled / 4


def test_lengths_do_not_come_in_order():
    (_, target) = sides = lengths(2000)
    shuffle = ByLength(sides, 20, seed=0)
    means = [target[shuffle.rows(step)].mean() for step in range(100)]
    assert abs(np.corrcoef(means, np.arange(100))[0, 1]) < 0.3
    assert np.std(means) > 5  # but they differ between batches


@pytest.fixture
def uneven():
    rng = np.random.default_rng(0)
    words = [" ".join("abcdefgh"[i] for i in rng.integers(8, size=n)) for n in range(1, 25)]
    pairs = [tl.datasets.pairs.Pair(w + f" {i}", w) for i in range(8) for w in words]
    return tl.datasets.pairs.pair_data("uneven", pairs, "word", held_out=0.2, seed=0)


@pytest.mark.parametrize("kind", ["encoder-decoder", "decoder"])
def test_a_dataset_gives_the_same_examples_with_less_padding(uneven, kind):
    n = len(uneven.train)
    parts = {}
    for by_length in (False, True):
        stream = uneven.batches(8, kind=kind, by_length=by_length)
        batches = [stream.batch(step) for step in range(n)]
        seen = [example for batch in batches for example in batch.examples]
        assert sorted(map(repr, seen[:n])) == sorted(map(repr, uneven.train))
        parts[by_length] = sum(map(n_padding, batches)) / sum(map(n_tokens, batches))
    assert parts[True] < parts[False] / 2


def test_steps_tell_what_was_padding(uneven, capsys):
    config = tl.ModelConfig(
        kind="encoder-decoder",
        vocab_size=uneven.vocab_size,
        n_layers=1,
        n_heads=2,
        d_model=16,
        n_ctx=64,
    )
    stream = uneven.batches(8)
    steps = list(tl.train(tl.Transformer(config), stream, steps=3, progress=True))
    for i, step in enumerate(steps):
        batch = stream.batch(i)
        lists = [(batch.tokens, batch.mask), (batch.target_in, batch.target_mask)]
        real = sum(ids.numel() if mask is None else int(mask.sum()) for ids, mask in lists)
        assert step.tokens == sum(ids.numel() for ids, _ in lists)
        assert step.tokens - step.padding == real
        assert step.padding_share == pytest.approx(1 - real / step.tokens)
    assert f"{steps[-1].padding_share:.0%} padding" in capsys.readouterr().err
    (plain,) = tl.train(learner(), [(torch.ones(2, 5).long(), torch.ones(2, 5).long())], steps=1)
    assert (plain.tokens, plain.padding, plain.padding_share) == (10, 0, 0.0)


def test_a_stopped_run_goes_on_with_the_same_batches(uneven, tmp_path):
    def run(folder, resume=False, most=10):
        torch.manual_seed(0)
        config = tl.ModelConfig(
            kind="decoder",
            vocab_size=uneven.vocab_size,
            n_layers=1,
            n_heads=2,
            d_model=16,
            n_ctx=128,
            dropout=0.1,
        )
        model = tl.Transformer(config)
        batches = uneven.batches(8, kind="decoder", by_length=True)
        for step in tl.train(model, batches, steps=10, run=tmp_path / folder, resume=resume):
            if step.index == most:
                break
        return model

    whole = run("whole")
    run("parts", most=4)
    model = run("parts", resume=True)
    for a, b in zip(whole.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.badinput
def test_one_text_far_longer_than_all_others_is_told_and_trained_on(uneven):
    long = tl.datasets.pairs.Pair("a " * 1300, "b")
    pairs = [*uneven.train, long]
    data = tl.datasets.pairs.PairData("mine", uneven.tokenizer, pairs, uneven.held_out)
    with pytest.warns(
        UserWarning, match=r"mine: one text has 1,300 tokens, but half of .* have 1\d"
    ):
        stream = data.batches(8, by_length=True)
    widths = [stream.batch(step).tokens.shape[1] for step in range(len(pairs) // 8)]
    assert sum(width > 100 for width in widths) <= 1  # all others stay as narrow as before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uneven.batches(8)
        data.batches(1)  # a batch of one has no padding


@pytest.mark.badinput
def test_running_text_has_no_length_to_sort_by(tmp_path):
    from transformer_lab.training.toml import ConfigError, run_from_config

    file = tmp_path / "run.toml"
    (tmp_path / "text.txt").write_text("to be or not to be " * 200)
    file.write_text(
        f'[data]\nname = "text_file"\npath = "{tmp_path / "text.txt"}"\nby_length = true\n'
        f'[train]\nsteps = 1\n[run]\nfolder = "{tmp_path / "run"}"\n'
        "[model]\nn_layers = 1\nn_heads = 1\nd_model = 8\nn_ctx = 8\n"
    )
    with pytest.raises(ConfigError, match=r"run.toml:4: \[data\] by_length=true is for separate"):
        run_from_config(file, progress=False)
