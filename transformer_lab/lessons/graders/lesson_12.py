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
    """A small decoder of random weights that look at something."""
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
        "You read the first row of the logits. What is said after the question stands in the last.",
    ),
    Slip(
        "start", "from place 0",
        "You count from place 0, where `<s>` stands: each sentence is taken one place too early.",
    ),
    Slip(
        "start", "always the first",
        "You never move on: every cut begins at the first sentence. Add its length each time.",
    ),
    Slip(
        "keys", "one word too few",
        "You leave out a sentence's last word. `range(a, b)` ends before b.",
    ),
    Slip(
        "keys", "one word too many",
        "You hide one word too many, the first of what comes after the sentence.",
    ),
    Slip("keys", "its first word alone", "You hide one word of each sentence. Hide all of them."),
    Slip("keys", "its last word alone", "You hide one word of each sentence. Hide all of them."),
    Slip(
        "keys", "hidden for good",
        "What was hidden before stays hidden. Begin each sentence with no cuts, and close the "
        "`with` before the next.",
    ),
    Slip(
        "keys", "all but the sentence",
        "You hide everything but the sentence. It is the sentence that has to be hidden.",
    ),
    Slip(
        "query", "for every word",
        "You forbid **every** word to look at the sentence. Forbid it to the last word of the row: "
        "`query=len(tokens) - 1`.",
    ),
    Slip(
        "query", "the word before the last",
        "You forbid the look to the last word but one. The word asked about is the last: "
        "`len(tokens) - 1`.",
    ),
    Slip(
        "layer", "layer 0 alone",
        "You cut in one layer. Leave out `layer`, and the look is cut in all.",
    ),
    Slip(
        "layer", "the last layer alone",
        "You cut in one layer. Leave out `layer`, and the look is cut in all.",
    ),
    Slip(
        "measure", "logits in place of chances",
        "You compare logits. Turn them into probabilities first: `softmax`.",
    ),
    Slip(
        "measure", "logarithms",
        "You compare logarithms of chances. Divide the chances themselves.",
    ),
    Slip(
        "measure", "not divided",
        "These are chances. Divide each by the chance with nothing hidden.",
    ),
    Slip("measure", "upside down", "The fraction stands upside down: what is left comes on top."),
    Slip(
        "measure", "what is lost",
        "You return the share that is lost. What is left is asked for: 1 minus that.",
    ),
    Slip(
        "measure", "a difference",
        "You return a difference of chances. Divide the one by the other.",
    ),
    Slip(
        "measure", "minus a difference",
        "You return a difference of chances. Divide the one by the other.",
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
    """What the model says at every place when a query may not look at these keys: [place, word]."""
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
        place = 0 if "read from the first row" in wrong else -1

        def value(keys: list[int]) -> Tensor:
            last = end if query is None else query + 1  # nobody looks at what comes later
            seen = tuple(key for key in keys if key < last)
            logits = _logits(model, tuple(tokens.tolist()), seen, query, layer)[place]
            if "logits in place of chances" in wrong:
                return logits[answer]
            if "logarithms" in wrong:
                return logits.log_softmax(-1)[answer]
            return logits.softmax(-1)[answer]

        begin, left, hidden = int("from place 0" not in wrong), [], []
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
        found, whole = torch.stack(left), value([])
        if "not divided" in wrong:
            return found
        if "a difference" in wrong:
            return whole - found
        if "minus a difference" in wrong:
            return found - whole
        shares = whole / found if "upside down" in wrong else found / whole
        return 1 - shares if "what is lost" in wrong else shares

    return left_without


_LEFT = Grader(
    name="12/left_without",
    cases=_cases,
    reference=solutions.left_without,
    shape_hint="[sentence]: one number for each length",
    suspects=suspects_of(_making, _SLIPS),
)

GRADERS = (_LEFT,)
