"""Checks of lesson 12, Question answering."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, lru_cache

import torch
from torch import Tensor, nn

from transformer_lab.config import ModelConfig
from transformer_lab.edits.hanging import edit
from transformer_lab.edits.makers import knock_out
from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.graders.slips import Slip, suspects_of
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


def _cases() -> list[Case]:
    return [
        Case("three sentences of 3, 2 and 4 tokens", (_reader(29), _row(1, 13), [3, 2, 4], 2)),
        Case("two sentences and a long question", (_reader(38), _row(2, 14), [3, 4], 10)),
        Case("a single sentence", (_reader(38), _row(3, 8), [4], 0)),
    ]


_SLIPS = (
    Slip(
        "read", "read from the first row",
        "You read the first row of the logits. The answer is predicted in the last row.",
    ),
    Slip(
        "start", "from position 0",
        "You count from position 0, but `<s>` is there: each of your sentences begins one position "
        "too early.",
    ),
    Slip(
        "start", "always the first",
        "You never move on: every cut begins at the first sentence. Add the sentence's length each "
        "time.",
    ),
    Slip(
        "keys", "one word too few",
        "You leave out a sentence's last word. `range(a, b)` ends before b.",
    ),
    Slip(
        "keys", "one word too many",
        "You hide one word too many: the first word after the sentence.",
    ),
    Slip(
        "keys", "its first word alone",
        "You hide only one word of each sentence. Hide all its words.",
    ),
    Slip(
        "keys", "its last word alone",
        "You hide only one word of each sentence. Hide all its words.",
    ),
    Slip(
        "keys", "hidden for good",
        "Each sentence stays hidden while you test the next. Start each sentence with no cuts, and "
        "leave the `with` block before the next one.",
    ),
    Slip(
        "keys", "all but the sentence",
        "You hide everything but the sentence. Hide the sentence itself.",
    ),
    Slip(
        "query", "for every word",
        "You stop **every** word from attending to the sentence. Stop only the last word: "
        "`query=len(tokens) - 1`.",
    ),
    Slip(
        "query", "the word before the last",
        "You block attention from the last word but one. The word asked about is the last: "
        "`len(tokens) - 1`.",
    ),
    Slip(
        "layer", "layer 0 alone",
        "You cut in one layer only. Leave out `layer`, and the cut applies to every layer.",
    ),
    Slip(
        "layer", "the last layer alone",
        "You cut in one layer only. Leave out `layer`, and the cut applies to every layer.",
    ),
    Slip(
        "measure", "logits, not probabilities",
        "You compare logits. Turn them into probabilities first: `softmax`.",
    ),
    Slip(
        "measure", "logarithms",
        "You compare logarithms of probabilities. Divide the probabilities themselves.",
    ),
    Slip(
        "measure", "not divided",
        "These are probabilities. Divide each by the probability with nothing hidden.",
    ),
    Slip(
        "measure", "upside down",
        "Your fraction is upside down: the probability with the sentence hidden goes on top.",
    ),
    Slip(
        "measure", "what is lost",
        "You return the fraction that is lost. Return what is left: 1 minus that.",
    ),
    Slip(
        "measure", "a difference",
        "You return a difference of probabilities. Divide one by the other.",
    ),
    Slip(
        "measure", "minus a difference",
        "You return a difference of probabilities. Divide one by the other.",
    ),
)  # fmt: skip


@lru_cache(maxsize=1024)  # a hundred slips cut in a few dozen ways
def _logits(
    model: nn.Module,
    tokens: tuple[int, ...],
    keys: tuple[int, ...],
    query: int | None,
    layer: int | None,
) -> Tensor:
    """Logits with attention from a query to these keys blocked: [position, word]."""
    cuts = [knock_out(layer, query=query, key=key) for key in keys]
    with torch.no_grad(), edit(model, *cuts) if cuts else nullcontext():
        return model(torch.tensor([tokens]))[0]


def _making(wrong: frozenset[str]) -> Callable[..., Tensor]:
    """`left_without` with these slips."""

    def left_without(model: nn.Module, tokens: Tensor, lengths: list[int], answer: int) -> Tensor:
        end = len(tokens)
        query = None if "for every word" in wrong else end - 1
        query = end - 2 if "the word before the last" in wrong else query
        layer = 0 if "layer 0 alone" in wrong else None
        layer = 1 if "the last layer alone" in wrong else layer
        position = 0 if "read from the first row" in wrong else -1

        def value(keys: list[int]) -> Tensor:
            last = end if query is None else query + 1  # later positions are masked anyway
            seen = tuple(key for key in keys if key < last)
            logits = _logits(model, tuple(tokens.tolist()), seen, query, layer)[position]
            if "logits, not probabilities" in wrong:
                return logits[answer]
            if "logarithms" in wrong:
                return logits.log_softmax(-1)[answer]
            return logits.softmax(-1)[answer]

        begin, left, hidden = int("from position 0" not in wrong), [], []
        for length in lengths:
            shorter, longer = "one word too few" in wrong, "one word too many" in wrong
            n = 1 if "its first word alone" in wrong else length + longer - shorter
            keys = list(range(begin, min(begin + n, end)))
            if "its last word alone" in wrong:
                keys = [begin + length - 1]
            if "all but the sentence" in wrong:
                keys = [k for k in range(end) if k not in keys]
            hidden = hidden + keys if "hidden for good" in wrong else keys
            left.append(value(hidden))
            begin += 0 if "always the first" in wrong else length
        after, whole = torch.stack(left), value([])
        if "not divided" in wrong:
            return after
        if "a difference" in wrong:
            return whole - after
        if "minus a difference" in wrong:
            return after - whole
        fractions = whole / after if "upside down" in wrong else after / whole
        return 1 - fractions if "what is lost" in wrong else fractions

    return left_without


_LEFT = Grader(
    name="12/left_without",
    cases=_cases,
    reference=solutions.left_without,
    shape_hint="[sentence]: one number for each length",
    suspects=suspects_of(_making, _SLIPS),
)

GRADERS = (_LEFT,)
