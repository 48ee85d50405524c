"""Checks of lesson 12, Question answering."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from transformer_lab.config import ModelConfig
from transformer_lab.edits.constructors import knock_out
from transformer_lab.edits.interventions import edit
from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.solutions import lesson_12 as solutions
from transformer_lab.model import Transformer


@cache
def _reader(seed: int) -> nn.Module:
    """A small decoder with random weights, large enough that its attention is far from uniform."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Transformer(
            ModelConfig(
                vocab_size=12, n_layers=2, n_heads=2, d_model=8, n_ctx=24, attention_only=True
            )
        )
        for weight in model.parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight, std=0.8)
    return model.eval()


def _row(seed: int, n: int) -> Tensor:
    return torch.randint(12, (n,), generator=torch.Generator().manual_seed(seed))


@lru_cache(maxsize=1024)
def _logits(model: nn.Module, tokens: tuple[int, ...], cuts: tuple) -> Tensor:
    edits = [knock_out(**dict(cut)) for cut in cuts]
    with torch.no_grad(), edit(model, *edits) if edits else nullcontext():
        return model(torch.tensor([tokens]))


class tl:
    """Replaces the package in the mistakes; they use a few dozen different cuts, and each runs
    once."""

    cuts: tuple = ()

    @staticmethod
    def knock_out(**where: int) -> tuple:
        return tuple(where.items())

    @classmethod
    @contextmanager
    def edit(cls, model: Any, *cuts: tuple) -> Iterator[None]:
        cls.cuts = cuts
        try:
            yield
        finally:
            cls.cuts = ()


def _use(written: Any, model: nn.Module, *rest: Any) -> Tensor:
    def remembered(tokens: Tensor) -> Tensor:
        return _logits(model, tuple(tokens[0].tolist()), tl.cuts)

    is_mistake = getattr(written, "__globals__", {}).get("tl") is tl
    return written(remembered if is_mistake else model, *rest)


LEFT = Grader(
    reference=solutions.left_without,
    cases=lambda: [
        Case("three sentences of 3, 2 and 4 tokens", (_reader(29), _row(1, 13), [3, 2, 4], 2)),
        Case("two sentences and a long question", (_reader(38), _row(2, 14), [3, 4], 10)),
        Case("a single sentence", (_reader(38), _row(3, 8), [4], 0)),
    ],
    use=_use,
    shape_hint="[sentence]: one number for each length",
    mistakes="""
# read
- [0, -1]
+ [0, 0]
  You read the first row of the logits. The answer is predicted in the last row.

# start
- , 1, []
+ , 0, []
  You count from position 0, but `<s>` is there: each of your sentences begins one position too
  early.

- begin += length
  You never move on: every cut begins at the first sentence. Add the sentence's length each time.

# keys
- begin + length)
+ begin + length - 1)
  You leave out a sentence's last word. `range(a, b)` ends before b.

- begin + length)
+ min(begin + length + 1, len(tokens)))
  You hide one word too many: the first word after the sentence.

- begin + length)
+ begin + 1)
  You hide only one word of each sentence. Hide all its words.

- range(begin, begin + length)
+ [begin + length - 1]
  You hide only one word of each sentence. Hide all its words.

- range(begin, begin + length)
+ [*(places if left else []), *range(begin, begin + length)]
  Each sentence stays hidden while you test the next. Start each sentence with no cuts, and leave
  the `with` block before the next one.

- range(begin, begin + length)
+ [i for i in range(len(tokens)) if not begin <= i < begin + length]
  You hide everything but the sentence. Hide the sentence itself.

# query
- query=query,
  You stop **every** word from attending to the sentence. Stop only the last word:
  `query=len(tokens) - 1`.

- len(tokens) - 1
+ len(tokens) - 2
  You block attention from the last word but one. The word asked about is the last: `len(tokens) -
  1`.

# layer
- key=place
+ key=place, layer=0
  You cut in one layer only. Leave out `layer`, and the cut applies to every layer.

- key=place
+ key=place, layer=1
  You cut in one layer only. Leave out `layer`, and the cut applies to every layer.

# measure
- logits.softmax(dim=-1)
+ logits
  You compare logits. Turn them into probabilities first: `softmax`.

- softmax
+ log_softmax
  You compare logarithms of probabilities. Divide the probabilities themselves.

- chance() / whole
+ chance()
  These are probabilities. Divide each by the probability with nothing hidden.

- chance() / whole
+ whole / chance()
  Your fraction is upside down: the probability with the sentence hidden goes on top.

- chance() / whole
+ 1 - chance() / whole
  You return the fraction that is lost. Return what is left: 1 minus that.

- chance() / whole
+ whole - chance()
  You return a difference of probabilities. Divide one by the other.

- chance() / whole
+ chance() - whole
  You return a difference of probabilities. Divide one by the other.
""",
)
