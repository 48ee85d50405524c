"""The models that train on the book's front page: three with fewer than 50,000 weights."""

from __future__ import annotations

import torch

import transformer_lab as tl
from benchmarks.training import config_for
from docs.make_playground import sorting
from transformer_lab.tokenizers import SPECIAL, CharTokenizer
from transformer_lab.training.objective import IGNORED
from transformer_lab.views.learning.page import Course

OFFSETS = {"two left": -2, "one left": -1, "one right": 1, "two right": 2}
LETTERS, LENGTH = "abcdefghijkl", 12


def neighbours() -> Course:
    """Lesson 03's task: a letter's four neighbours, by four heads."""
    tokenizer = CharTokenizer(SPECIAL + tuple(LETTERS))
    chance = torch.Generator().manual_seed(0)
    letters = torch.randint(len(LETTERS), (4000, LENGTH), generator=chance)
    place = torch.arange(LENGTH)
    targets = torch.full((*letters.shape, len(OFFSETS)), IGNORED)
    for i, offset in enumerate(OFFSETS.values()):
        exists = (place + offset >= 0) & (place + offset < LENGTH)
        targets[:, exists, i] = letters.roll(-offset, dims=1)[:, exists]
    config = tl.ModelConfig(
        kind="encoder",
        vocab_size=len(OFFSETS) * len(LETTERS),
        n_layers=1,
        n_heads=4,
        d_model=32,
        d_ff=64,
        n_ctx=LENGTH,
        positions="learned",
        tie_head=False,
    )
    return Course(
        name="neighbours",
        title="Neighbours (lesson 03)",
        words="At each letter the model must name the two letters on its left and the two on its right. "
        "At step 0 the four heads attend at random; watch each of them settle on one neighbour. Then "
        "switch one off, and see which neighbours are lost.",
        config=config,
        tokenizer=tokenizer,
        text="badgefickhlj",
        tokens=letters + len(SPECIAL),
        targets=targets,
        answers=tuple(OFFSETS),
        names=tuple(LETTERS),
        steps=300,
    )


def sort() -> Course:
    """The benchmark's task, trained with AdamW."""
    data = sorting(size=8000, held_out=200)
    batch = data.of(data.data.collate([*data.data.train, *data.data.held_out], kind="decoder"))
    config = config_for(data, "decoder", n_heads=2, attention_only=True, n_ctx=32)
    tokens = data.tokenizer.tokens(range(data.vocab_size))
    return Course(
        name="sort",
        title="Sorting",
        words="Eight numbers, then → and the same numbers in order. To predict the next number, a head "
        "must find the smallest one that is larger than the last.",
        config=config,
        tokenizer=data.tokenizer,
        text="17 3 42 8 25 11 49 30 → 3 8 11 17 25 30 42 49",
        tokens=batch.tokens,
        targets=batch.targets,
        answers=("predicts next",),
        names=tokens,
        steps=400,
    )


def induction() -> Course:
    """A short version of the benchmark's task: a segment occurs twice in 17 tokens; two layers."""
    data = tl.datasets.induction(
        length=17, vocab=16, segment=(4, 8), held_out_lags=(5, 7), size=6000, held_out=200
    )
    batch = data.collate([*data.train, *data.held_out])
    config = config_for(
        data,
        "decoder",
        n_layers=2,
        attention_only=True,
        n_ctx=17,
        positions="rotary",
        zero_init=False,
    )
    text = " ".join(data.tokenizer.tokens(data.held_out[0].tokens))
    return Course(
        name="induction",
        title="Induction",
        words="A run of numbers occurs twice. To predict how it continues, a head of layer 1 must attend "
        "to what followed the same number before. It cannot until a head of layer 0 has learned to attend "
        "one position back. Watch which comes first.",
        config=config,
        tokenizer=data.tokenizer,
        text=text,
        tokens=batch.tokens,
        targets=batch.targets,
        answers=("predicts next",),
        names=data.tokenizer.tokens(range(data.vocab_size)),
        steps=300,
    )


COURSES = (neighbours, sort, induction)
