"""Checks of lesson 04, The block: a stack of blocks, its stream, and parts that are left out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader
from transformer_lab.lessons.graders.slips import Slip, suspects_of
from transformer_lab.lessons.solutions import lesson_04 as solutions


def _random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Four functions a layer that do not commute, no two alike, so that any order but the right one shows.
def _layer(i: int) -> tuple[Any, ...]:
    return (
        lambda x: x.flip(-2) * (0.5 + 0.25 * i) + 1.0 - i,
        lambda x: torch.relu(x + 0.125 * i) * 1.5 - 0.25,
        lambda x: torch.tanh(x * (1 + 0.5 * i)),
        lambda x: x / (1.0 + i + x.abs()),
    )


def _layers(n: int) -> list[tuple[Any, ...]]:
    return [_layer(i) for i in range(n)]


def _cases() -> list[Case]:
    late = [(1, "mlp")]
    two = [(0, "attention"), (2, "mlp")]
    return [
        Case("two pre-norm blocks", (_random(1, 2, 3, 4), _layers(2), True, [])),
        Case("three post-norm blocks", (_random(2, 1, 4, 3), _layers(3), False, [])),
        Case("pre-norm, block 1 without its mlp", (_random(3, 2, 3, 4), _layers(3), True, late)),
        Case("post-norm, two parts left out", (_random(4, 1, 3, 5), _layers(3), False, two)),
    ]


def _norms(slips: frozenset[str], norm1: Any, norm2: Any) -> tuple[Any, Any]:
    if "one norm twice" in slips:
        return norm1, norm1
    return (norm2, norm1) if "norms exchanged" in slips else (norm1, norm2)


def _left_out(slips: frozenset[str], skipped: Sequence[Any], i: int, name: str) -> bool:
    if "skipped not used" in slips:
        return False
    i += "layers counted from 1" in slips
    if "both parts left out" in slips:
        return any(layer == i for layer, _ in skipped)
    if "in every block" in slips:
        return any(part == name for _, part in skipped)
    return (i, name) in skipped


def _with(slips: frozenset[str]):
    def wrong(x: Tensor, layers: Any, norm_first: bool, skipped: Any = ()) -> Tensor:
        first = x
        pre = (norm_first or "always pre-norm" in slips) and "always post-norm" not in slips
        stream = [] if "the start left out" in slips else [x]
        for i, (attention, feed_forward, norm1, norm2) in enumerate(layers):
            parts = [("attention", attention), ("mlp", feed_forward)]
            if "feed-forward first" in slips:
                parts.reverse()
            norms = _norms(slips, norm1, norm2)
            if "each block from the start" in slips:
                x = first
            entered = x
            for (name, part), norm in zip(parts, norms, strict=True):
                read = entered if "in parallel" in slips else x
                added = part(norm(read) if pre else read)
                if _left_out(slips, skipped, i, name):
                    if "not normalised where left out" in slips:
                        continue
                    if "the stream left out" in slips:
                        x = torch.zeros_like(x)
                    added = torch.zeros_like(added)
                if "no residual" in slips:
                    x = added if pre else norm(added)
                else:
                    x = x + added if pre else norm(x + added)
                if "after every part" in slips and name == parts[0][0]:
                    stream.append(x)
            stream.append(x)
        if "added in place" in slips and pre:  # all rows are then one tensor
            stream = [x] * len(stream)
        if "what each block adds" in slips:
            stream = stream[:1] + [b - a for a, b in pairwise(stream)]
        if "the end alone" in slips:
            return x
        return torch.cat(stream) if "joined, not stacked" in slips else torch.stack(stream)

    return wrong


_SLIPS = [
    Slip(
        "kept", "the start left out",
        "The stream before the first block is missing: it is row 0, so there is one more row than there "
        "are blocks.",
    ),
    Slip(
        "kept", "after every part",
        "You stored the stream after every *part*. Store it once a block, after both parts.",
    ),
    Slip("end", "the end alone", "This is the stream after the last block. Store it after every block."),
    Slip(
        "end", "what each block adds",
        "These are the *changes* from row to row. Return the stream itself.",
    ),
    Slip(
        "end", "joined, not stacked",
        "You joined the streams along their first axis. `torch.stack` makes a new axis for the layers.",
    ),
    Slip(
        "end", "added in place",
        "All rows are the same: `+=` writes into the tensor that you have already stored. Write "
        "`x = x + …`, which makes a new one.",
    ),
    Slip(
        "switch", "always pre-norm",
        "With `norm_first=False` you computed pre-norm. It should be `norm(x + f(x))`: is the switch "
        "the wrong way round, or not used?",
    ),
    Slip(
        "switch", "always post-norm",
        "With `norm_first=True` you computed post-norm. It should be `x + f(norm(x))`: is the switch "
        "the wrong way round, or not used?",
    ),
    Slip("norms", "one norm twice", "`norm2` is not used: it belongs to the feed-forward part."),
    Slip("norms", "norms exchanged", "`norm1` belongs to attention, `norm2` to the feed-forward part."),
    Slip("order", "feed-forward first", "Attention comes first, then the feed-forward part."),
    Slip(
        "order", "in parallel",
        "Both parts read the block's input. The feed-forward part should read the stream *after* "
        "attention.",
    ),
    Slip(
        "order", "each block from the start",
        "Every block starts again from the first stream. It should continue from the result of the "
        "block before it.",
    ),
    Slip(
        "sum", "no residual",
        "Nothing is added to the stream: each part should add its result to it.",
    ),
    Slip("skip", "skipped not used", "`skipped` is not used: nothing is left out."),
    Slip(
        "skip", "both parts left out",
        "You left both parts of the block out. `(1, \"mlp\")` names only one of them.",
    ),
    Slip(
        "skip", "in every block",
        "You left the part out of every block. `(1, \"mlp\")` means block 1 alone.",
    ),
    Slip("skip", "layers counted from 1", "You count blocks from 1 in `skipped`. The first one is 0."),
    Slip(
        "how", "not normalised where left out",
        "Where you leave out a part in post-norm, you also leave out the norm after it. The part adds "
        "nothing, but the sum, which is then just the stream, is still normalised.",
    ),
    Slip(
        "how", "the stream left out",
        "Where you leave out a part, you lose the stream as well. Only what the part *adds* should be 0.",
    ),
]  # fmt: skip

_STREAM = Grader(
    name="04/residual_stream",
    cases=_cases,
    reference=solutions.residual_stream,
    shape_hint="`[layer + 1, …]`: the shape of `x`, once before the first block and once after each",
    suspects=suspects_of(_with, _SLIPS),
)

GRADERS = (_STREAM,)
