"""Checks of lesson 17, Pictures are tokens too: patches."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_17 as solutions


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# -- into patches and back ------------------------------------------------------------------------------


def _cut_cases() -> list[Case]:
    return [
        Case(
            "two pictures of 4 × 6 pixels in 3 colours, patches of 2", (_random(1, 2, 3, 4, 6), 2)
        ),
        Case("one picture of 8 × 8 in one shade, patches of 4", (_random(2, 1, 1, 8, 8), 4)),
        Case("patches of one pixel", (_random(3, 1, 2, 2, 3), 1)),
    ]


def _split(pictures, size):
    """[picture, channel, row, inner row, column, inner column]"""
    n, channels, height, width = pictures.shape
    return pictures.reshape(n, channels, height // size, size, width // size, size)


def _cut(order):
    def made(pictures, size):
        n, channels, height, width = pictures.shape
        count = height // size * (width // size)
        return _split(pictures, size).permute(*order).reshape(n, count, channels * size * size)

    return made


_RIGHT = (0, 2, 4, 1, 3, 5)

_CUT = Grader(
    name="17/to_patches",
    cases=_cut_cases,
    reference=solutions.to_patches,
    shape_hint="`[picture, patch, channel · size · size]`",
    suspects=(
        Suspect(
            "reshaped alone",
            lambda x, size: x.reshape(len(x), -1, x.shape[1] * size * size),
            "You reshaped but did not swap axes, so each patch is a piece of one line of pixels. Give "
            "the rows and the columns of patches an axis each, move these to the front (`permute`), "
            "and only then reshape.",
        ),
        Suspect(
            "column by column",
            _cut((0, 4, 2, 1, 3, 5)),
            "Your patches are ordered column by column. As in a text, the first row comes first.",
        ),
        Suspect(
            "inner rows and columns exchanged",
            _cut((0, 2, 4, 1, 5, 3)),
            "Each patch lies on its side. Inside a patch, go through the pixels row by row.",
        ),
        Suspect(
            "both exchanged",
            _cut((0, 4, 2, 1, 5, 3)),
            "Two things: the patches are ordered column by column, and each lies on its side. Go row "
            "by row, both between patches and inside them.",
        ),
        Suspect(
            "colours last",
            _cut((0, 2, 4, 3, 5, 1)),
            "Inside a patch your colours come last. Put all pixels of the first channel first.",
        ),
        Suspect(
            "column by column, colours last",
            _cut((0, 4, 2, 3, 5, 1)),
            "Two things: the patches are ordered column by column, and inside a patch the colours come "
            "last.",
        ),
        Suspect(
            "spread patches",
            _cut((0, 3, 5, 1, 2, 4)),
            "You took every size-th pixel, so each patch is a coarse copy of the whole picture. When "
            "you split the height, put the rows of patches first and the rows inside a patch second: "
            "`(height // size, size)`.",
        ),
        Suspect(
            "patches in the last axis",
            lambda x, size: solutions.to_patches(x, size).transpose(1, 2),
            "Two axes are exchanged (`unfold` returns them this way): patches belong in the second axis.",
        ),
        Suspect(
            "numbers of a patch not in one row",
            lambda x, size: solutions.to_patches(x, size).unflatten(-1, (x.shape[1], size, size)),
            "The patches are right. The last step is missing: put all numbers of a patch in one row.",
        ),
        Suspect(
            "backwards",
            lambda x, size: solutions.to_patches(x, size).flip(1),
            "The patches are in reverse order. The top left one comes first.",
        ),
        Suspect(
            "means",
            lambda x, size: solutions.to_patches(x, size).mean(-1),
            "You took the mean of each patch. A token keeps all the numbers of its patch.",
        ),
    ),
)


def _paste_cases() -> list[Case]:
    return [
        Case("two pictures of 4 × 6 in 3 colours", (_random(11, 2, 6, 12), 2, (3, 4, 6))),
        Case("one picture of 8 × 8", (_random(12, 1, 4, 16), 4, (1, 8, 8))),
        Case("three pictures of 6 × 4", (_random(13, 3, 6, 8), 2, (2, 6, 4))),
    ]


def _pasted(order, inner=(3, 4, 5)):
    """From [picture, row, column, …] with the patch's axes named by `inner`, permuted."""

    def made(patches, size, shape):
        channels, height, width = shape
        rows, columns = height // size, width // size
        sizes = {1: rows, 2: columns, 3: channels, 4: size, 5: size}
        cut = patches.reshape(len(patches), rows, columns, *(sizes[i] for i in inner))
        return cut.permute(*order).reshape(len(patches), channels, height, width)

    return made


def _columns_first(patches, size, shape):
    channels, height, width = shape
    rows, columns = height // size, width // size
    cut = patches.reshape(len(patches), columns, rows, channels, size, size)
    return cut.permute(0, 3, 2, 4, 1, 5).reshape(len(patches), channels, height, width)


_PASTE = Grader(
    name="17/to_pictures",
    cases=_paste_cases,
    reference=solutions.to_pictures,
    shape_hint="`[picture, channel, height, width]`",
    suspects=(
        Suspect(
            "reshaped alone",
            lambda p, size, shape: p.reshape(len(p), *shape),
            "You reshaped but did not swap axes, so each patch is laid out as a piece of one line. "
            "First split the patches into six axes.",
        ),
        Suspect(
            "order of cutting",
            _pasted((0, 2, 4, 1, 3, 5)),
            "You permuted as for cutting. Pasting is the opposite: the row of patches must be next to "
            "the row inside a patch, and the column of patches next to the column inside a patch.",
        ),
        Suspect(
            "column by column",
            _columns_first,
            "You placed the patches column by column. The first row comes first.",
        ),
        Suspect(
            "spread",
            _pasted((0, 3, 4, 1, 5, 2)),
            "Pixels that are neighbours inside a patch end up far apart in your picture. A line of "
            "pixels is (row of patches, row inside a patch), in this order.",
        ),
        Suspect(
            "on its side",
            _pasted((0, 3, 1, 5, 2, 4)),
            "Each patch lies on its side: the rows of a patch belong to the rows of the picture.",
        ),
        Suspect(
            "colours last",
            _pasted((0, 5, 1, 3, 2, 4), inner=(4, 5, 3)),
            "You read the colours as the last axis of a patch. All pixels of the first channel come "
            "first.",
        ),
        Suspect(
            "colours not in front",
            lambda *a: solutions.to_pictures(*a).permute(0, 2, 3, 1),
            "The pictures are right, but with the colours last. Return [picture, channel, height, width].",
        ),
        Suspect(
            "backwards",
            lambda p, size, shape: solutions.to_pictures(p.flip(1), size, shape),
            "The patches are placed in reverse order. The first one goes to the top left.",
        ),
        Suspect(
            "column by column, on its side",
            lambda p, size, shape: _columns_first(
                p.unflatten(-1, (shape[0], size, size)).transpose(-1, -2).flatten(2), size, shape
            ),
            "Two things: the patches are placed column by column, and each lies on its side.",
        ),
    ),
)

GRADERS = (_CUT, _PASTE)
