"""Properties of every generated dataset."""

import time

import pytest
import torch

import transformer_lab.datasets as datasets

SMALL = {"size": 400, "held_out": 60}
DATASETS = {
    "number_words_de": lambda **k: datasets.number_words("de", **k),
    "number_words_fr": lambda **k: datasets.number_words("fr", **k),
    "number_words_es": lambda **k: datasets.number_words("es", **k),
    "dates": lambda **k: datasets.dates(**k),
    "copy_task": datasets.copy_task,
    "reverse": datasets.reverse,
    "sort": datasets.sort,
    "induction": datasets.induction,
    "unlabelled": lambda **k: datasets.agreement(**k).unlabelled,
    "labelled": lambda **k: datasets.agreement(**k).labelled,
    "stories_1": lambda **k: datasets.stories(1, **k),
    "stories_2": lambda **k: datasets.stories(2, **k),
    "little_stories": lambda **k: datasets.little_stories(tokenizer="char", **k),
    "reports": datasets.reports,
}
EVERY = pytest.mark.parametrize("name", DATASETS)


def _inputs(example):
    """An example's model input, which must not be on both sides of the split."""
    for name in ("source", "tokens", "sentences", "text"):
        if hasattr(example, name):
            return getattr(example, name)
    raise AssertionError(example)


@EVERY
def test_nothing_held_out_is_trained_on(name):
    data = DATASETS[name](**SMALL)
    train = {_inputs(example) for example in data.train}
    assert not train & {_inputs(example) for example in data.held_out}
    assert len(data.held_out) == SMALL["held_out"]
    assert len(train) == len(data.train) == (64 if name == "labelled" else SMALL["size"])


@EVERY
def test_a_seed_makes_the_same_data_and_another_seed_other_data(name):
    one, same, other = (DATASETS[name](seed=seed, **SMALL) for seed in (1, 1, 2))
    assert one.train == same.train
    assert one.held_out == same.held_out
    assert one.tokenizer == same.tokenizer == other.tokenizer
    assert one.train != other.train


@EVERY
def test_streams_are_a_pure_function_of_seed_and_step(name):
    data, again = DATASETS[name](**SMALL), DATASETS[name](**SMALL)
    stream = data.batches(16, seed=3)
    for step in (40, 0, 7):
        one, two = stream.batch(step), again.batches(16, seed=3).batch(step)
        assert one.examples == two.examples
        for part in ("tokens", "targets", "target_in", "mask", "target_mask"):
            a, b = getattr(one, part), getattr(two, part)
            assert (a is None and b is None) or torch.equal(a, b)
    assert stream.batch(0).examples != stream.batch(1).examples
    assert stream.batch(0).examples != data.batches(16, seed=4).batch(0).examples


@EVERY
def test_ids_are_in_the_vocabulary_and_truth_is_within_real_tokens(name):
    data = DATASETS[name](**SMALL)
    for kind in data.kinds:
        if kind == "encoder" and name.startswith(("number", "dates", "reports")):
            continue  # sources and targets differ in length
        for batch in data.epoch(25, kind=kind):
            assert batch.tokens.dtype == batch.targets.dtype == torch.int64
            assert batch.tokens.min() >= 0
            assert batch.tokens.max() < data.vocab_size
            assert batch.targets.max() < max(data.vocab_size, batch.tokens.shape[1])
            truth = data.truth(batch, kind=kind)
            assert truth.any()
            if batch.mask is not None:
                assert not (truth & ~batch.mask[:, None]).any()
            if kind == "decoder":
                assert not truth.triu(1).any()


@EVERY
def test_batches_cost_far_less_than_a_training_step(name):
    """Under 1 ms for 64 examples, by a fast step of 100, since the machine may be busy."""
    stream = DATASETS[name](size=2000, held_out=60).batches(64)
    stream.batch(0)
    times = []
    for step in range(100):
        start = time.perf_counter()
        stream.batch(step)
        times.append(time.perf_counter() - start)
    assert sorted(times)[10] < 0.001


def test_generation_is_fast():
    start = time.process_time()
    datasets.number_words("de")
    datasets.sort()
    assert time.process_time() - start < 4


def test_datasets_say_what_they_hold():
    data = datasets.reverse(**SMALL)
    assert repr(data) == "PairData('reverse', train=400, held_out=60, vocab_size=31)"


@pytest.mark.badinput
def test_an_empty_part_is_named():
    data = datasets.reverse(**SMALL)
    empty = type(data)("mine", data.tokenizer, data.train, [])
    with pytest.raises(ValueError, match="the held_out part of mine is empty"):
        empty.epoch(4)
