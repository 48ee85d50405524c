"""Checks of lesson 03, Many heads."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_03 as solutions


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Sizes of all axes differ wherever they can, so that swapped axes cannot pass unseen.
def _split_cases() -> list[Case]:
    return [
        Case("one text of 5 words, 12 numbers each, 3 heads", (_random(1, 1, 5, 12), 3)),
        Case("2 texts of 4 words, 8 numbers each, 2 heads", (_random(2, 2, 4, 8), 2)),
        Case("a single head", (_random(3, 2, 3, 6), 1)),
        Case("as many heads as numbers", (_random(4, 2, 3, 4), 4)),
    ]


def _d_head(x: torch.Tensor, n_heads: int) -> int:
    return x.shape[-1] // n_heads


def _reshaped(x, n_heads):
    return x.reshape(x.shape[0], n_heads, x.shape[1], _d_head(x, n_heads))


def _in_place(x, n_heads):
    return x.unflatten(-1, (n_heads, _d_head(x, n_heads)))


def _interleaved(x, n_heads):
    return x.unflatten(-1, (_d_head(x, n_heads), n_heads)).permute(0, 3, 1, 2)


def _turned(x, n_heads):
    return solutions.split_heads(x, n_heads).transpose(-2, -1)


def _sizes_swapped(x, n_heads):
    return x.unflatten(-1, (_d_head(x, n_heads), n_heads)).transpose(1, 2)


def _copied(x, n_heads):
    return x[:, None].expand(-1, n_heads, -1, -1)


def _words_split(x, n_heads):
    return x.unflatten(1, (n_heads, -1)) if x.shape[1] % n_heads == 0 else x


_SPLIT = Grader(
    name="03/split_heads",
    cases=_split_cases,
    reference=solutions.split_heads,
    shape_hint="`[batch, head, position, d_head]`, where d_head is d_model / n_heads",
    suspects=(
        Suspect(
            "reshaped without a transpose",
            _reshaped,
            "The shape is right, but a plain `view` or `reshape` to it reads the numbers in a row, "
            "so that pieces of one word end up at several positions. First split the last axis in "
            "two, then swap two axes.",
        ),
        Suspect(
            "axes not swapped",
            _in_place,
            "The split is right, but the axes are not in order yet. Yours are "
            "`[batch, position, head, d_head]`: swap the two in the middle.",
        ),
        Suspect(
            "interleaved",
            _interleaved,
            "Each head got every n-th number. A head takes d_head numbers that are side by side: "
            "the first head takes the first ones.",
        ),
        Suspect(
            "position and d_head swapped",
            _turned,
            "Position and d_head are swapped: swap axes 1 and 2 of "
            "`[batch, position, head, d_head]`, and no others.",
        ),
        Suspect(
            "sizes swapped",
            _sizes_swapped,
            "You split the last axis into d_head pieces of n_heads numbers. It should be n_heads "
            "pieces of d_head numbers.",
        ),
        Suspect(
            "not split",
            _copied,
            "Every head got all of the numbers. Divide them among the heads: each gets d_model / n_heads.",
        ),
        Suspect(
            "words split",
            _words_split,
            "You divided the words among the heads. Every head gets every word, but only d_head "
            "of its numbers: split the last axis.",
        ),
    ),
)


def _merge_cases() -> list[Case]:
    return [
        Case("one text of 5 words with 3 heads of 4 numbers", (_random(11, 1, 3, 5, 4),)),
        Case("2 texts of 4 words with 2 heads of 3 numbers", (_random(12, 2, 2, 4, 3),)),
        Case("a single head", (_random(13, 2, 1, 3, 6),)),
    ]


def _flattened(z):
    return z.reshape(z.shape[0], z.shape[2], -1)


def _woven(z):
    return z.permute(0, 2, 3, 1).flatten(2)


def _not_joined(z):
    return z.transpose(1, 2)


_MERGE = Grader(
    name="03/merge_heads",
    cases=_merge_cases,
    reference=solutions.merge_heads,
    shape_hint="`[batch, position, head · d_head]`",
    suspects=(
        Suspect(
            "reshaped without a transpose",
            _flattened,
            "The shape is right, but the numbers of different words are mixed: a plain `view` or "
            "`reshape` reads them in a row. Swap head and position first, then join.",
        ),
        Suspect(
            "interleaved",
            _woven,
            "The heads' numbers alternate. They should follow one another: all of head 0, then all "
            "of head 1.",
        ),
        Suspect(
            "mean of the heads",
            lambda z: z.mean(1),
            "You averaged the heads, so what they found can no longer be told apart. "
            "Put them side by side.",
        ),
        Suspect(
            "sum of the heads",
            lambda z: z.sum(1),
            "You added the heads up, so what they found can no longer be told apart. "
            "Put them side by side.",
        ),
        Suspect(
            "not joined",
            _not_joined,
            "Head and position are in the right order, but the last two axes still have to be "
            "joined into one.",
        ),
    ),
)

GRADERS = (_SPLIT, _MERGE)
