"""Checks of lesson 17, Pictures are tokens too."""

from __future__ import annotations

import torch
from torch import Tensor

from transformer_lab.lessons.graders.base import Case, Grader, random
from transformer_lab.lessons.solutions import lesson_17 as solutions

CUT = Grader(
    reference=solutions.to_patches,
    cases=lambda: [
        Case("two pictures of 4 × 6 pixels in 3 colours, patches of 2", (random(1, 2, 3, 4, 6), 2)),
        Case("one picture of 8 × 8 in one shade, patches of 4", (random(2, 1, 1, 8, 8), 4)),
        Case("patches of one pixel", (random(3, 1, 2, 2, 3), 1)),
    ],
    shape_hint="`[picture, patch, channel · size · size]`",
    mistakes="""
= pictures.reshape(len(pictures), -1, pictures.shape[1] * size * size)
  You reshaped but did not swap axes, so each patch is a piece of one line of pixels. Give the
  rows and the columns of patches an axis each, move these to the front (`permute`), and only then
  reshape.

- 0, 2, 4, 1, 3, 5
+ 0, 4, 2, 1, 3, 5
  Your patches are ordered column by column. As in a text, the first row comes first.

- 0, 2, 4, 1, 3, 5
+ 0, 2, 4, 1, 5, 3
  Each patch lies on its side. Inside a patch, go through the pixels row by row.

- 0, 2, 4, 1, 3, 5
+ 0, 4, 2, 1, 5, 3
  Two things: the patches are ordered column by column, and each lies on its side. Go row by row,
  both between patches and inside them.

- 0, 2, 4, 1, 3, 5
+ 0, 2, 4, 3, 5, 1
  Inside a patch your colours come last. Put all pixels of the first channel first.

- 0, 2, 4, 1, 3, 5
+ 0, 4, 2, 3, 5, 1
  Two things: the patches are ordered column by column, and inside a patch the colours come last.

- 0, 2, 4, 1, 3, 5
+ 0, 3, 5, 1, 2, 4
  You took every size-th pixel, so each patch is a coarse copy of the whole picture. When you
  split the height, put the rows of patches first and the rows inside a patch second: `(height //
  size, size)`.

= right(pictures, size).transpose(1, 2)
  Two axes are exchanged (`unfold` returns them this way): patches belong in the second axis.

- channels * size * size
+ channels, size, size
  The patches are right. The last step is missing: put all numbers of a patch in one row.

= right(pictures, size).flip(1)
  The patches are in reverse order. The top left one comes first.

= right(pictures, size).mean(-1)
  You took the mean of each patch. A token keeps all the numbers of its patch.
""",
)


PASTE = Grader(
    reference=solutions.to_pictures,
    cases=lambda: [
        Case("two pictures of 4 × 6 in 3 colours", (random(11, 2, 6, 12), 2, (3, 4, 6))),
        Case("one picture of 8 × 8", (random(12, 1, 4, 16), 4, (1, 8, 8))),
        Case("three pictures of 6 × 4", (random(13, 3, 6, 8), 2, (2, 6, 4))),
    ],
    shape_hint="`[picture, channel, height, width]`",
    mistakes="""
= patches.reshape(len(patches), *shape)
  You reshaped but did not swap axes, so each patch is laid out as a piece of one line. First
  split the patches into six axes.

- 0, 3, 1, 4, 2, 5
+ 0, 2, 4, 1, 3, 5
  You permuted as for cutting. Pasting is the opposite: the row of patches must be next to the row
  inside a patch, and the column of patches next to the column inside a patch.

- rows, columns, channels
+ columns, rows, channels
- 0, 3, 1, 4, 2, 5
+ 0, 3, 2, 4, 1, 5
  You placed the patches column by column. The first row comes first.

- 0, 3, 1, 4, 2, 5
+ 0, 3, 4, 1, 5, 2
  Pixels that are neighbours inside a patch end up far apart in your picture. Of the two axes that
  become the height, the first is the row of patches, the second the row inside a patch.

- 0, 3, 1, 4, 2, 5
+ 0, 3, 1, 5, 2, 4
  Each patch lies on its side: the rows of a patch belong to the rows of the picture.

- channels, size, size
+ size, size, channels
- 0, 3, 1, 4, 2, 5
+ 0, 5, 1, 3, 2, 4
  You read the colours as the last axis of a patch. All pixels of the first channel come first.

= right(patches, size, shape).permute(0, 2, 3, 1)
  The pictures are right, but with the colours last. Return [picture, channel, height, width].

= right(patches.flip(1), size, shape)
  The patches are placed in reverse order. The first one goes to the top left.

- rows, columns, channels
+ columns, rows, channels
- 0, 3, 1, 4, 2, 5
+ 0, 3, 2, 5, 1, 4
  Two things: the patches are placed column by column, and each lies on its side.
""",
)


LOOK = Grader(
    reference=solutions.class_attention,
    cases=lambda: [
        Case("2 layers of 3 heads, 6 patches", (random(21, 2, 3, 7, 7).mul(2).softmax(-1),)),
        Case("3 layers of 2 heads, 4 patches", (random(22, 3, 2, 5, 5).mul(2).softmax(-1),)),
        Case("one layer", (random(23, 1, 2, 5, 5).mul(2).softmax(-1),)),
    ],
    shape_hint="one number for each patch, without [CLS]",
    mistakes="""
- mixed @ through
+ through @ mixed
  The layers are multiplied in the wrong order. The *last* layer goes on the left: it attends to
  states that earlier layers mixed.

- 0.5 * pattern.mean(dim=0) + 0.5 * kept
+ pattern.mean(dim=0)
  You left the residual stream out. Half of every state is carried over unchanged: mix each map
  with the identity.

- through[0, 1:]
+ patterns[-1].mean(dim=0)[0, 1:]
  This is what [CLS] attends to in the last layer alone. The states it attends to there are
  already mixtures: multiply the maps of all layers.

- through[0, 1:]
+ patterns.mean(dim=(0, 1))[0, 1:]
  You took the mean over layers. When a state attends to one that has already attended elsewhere,
  the result is a *product* of maps.

- through[0, 1:]
+ through[1:, 0]
  You took the column, which says what attends to [CLS]. What [CLS] attends to is its row.

- / looks.sum()
  The numbers are right up to one factor: without [CLS] itself they no longer sum to 1. Divide by
  their sum.

- through[0, 1:]
+ through[0]
- / looks.sum()
  [CLS] itself is still there. Remove it, and divide so that the patches sum to 1.

- through[0, 1:]
+ through[-1, :-1]
  You took the last position. [CLS] is the first.

- pattern.mean(
+ pattern.amax(
  You took the largest head at each position. Take the mean over heads.

- pattern.mean(
+ pattern.sum(
  You added up the heads, so rows sum to more than 1 and the residual stream counts for too
  little. Take the mean.

- through[0, 1:]
+ through[:, 1:].mean(dim=0)
  You took the mean over all rows. Return only the row of [CLS].

- mixed @ through
+ through @ mixed
- / looks.sum()
  Two things: the last layer goes on the left of the product, and the patches must sum to 1.

- 0.5 * pattern.mean(dim=0) + 0.5 * kept
+ pattern.mean(dim=0)
- / looks.sum()
  Two things: half of every state is carried over unchanged, and the patches must sum to 1.
""",
)


class _Reader:
    """A small fixed image classifier, which raises an error for input of the wrong shape."""

    def __init__(self, seed: int, pixels: int, classes: int):
        self.first, self.second = random(seed, 12, pixels), random(seed + 1, classes, 12)

    def __call__(self, pictures: Tensor) -> Tensor:
        if pictures.ndim != 4:
            raise ValueError(
                f"predict takes [picture, channel, height, width], not {list(pictures.shape)}"
            )
        flat = pictures.flatten(1)
        hidden = torch.tanh(flat @ self.first.to(flat).T / flat.shape[1] ** 0.5)
        return 2 * hidden @ self.second.to(flat).T


OCCLUSION = Grader(
    reference=solutions.occlusion_map,
    cases=lambda: [
        Case(
            "a picture of 4 × 6 pixels in 2 colours",
            (_Reader(40, 48, 4), random(31, 2, 4, 6), 2, 0.0),
        ),
        Case(
            "a picture of 6 × 3, covered with 0.5",
            (_Reader(50, 18, 3), random(32, 1, 6, 3), 3, 0.5),
        ),
        Case("a picture of 4 × 4", (_Reader(60, 16, 5), random(33, 1, 4, 4), 1, -1.0)),
    ],
    shape_hint="a number for each patch, `[rows, columns]` of patches",
    mistakes="""
- whole[best] - without
+ without - whole[best]
  The sign is the other way round. Covering a patch that matters makes the log-probability *fall*,
  and that counts as positive.

- predict(picture[None]).log_softmax(dim=-1)
+ predict(picture[None])
- predict(covered).log_softmax(dim=-1)
+ predict(covered)
  You compared logits. If they all fall equally, nothing is lost: compare log-probabilities,
  `log_softmax`.

- predict(picture[None]).log_softmax
+ predict(picture[None]).softmax
- predict(covered).log_softmax
+ predict(covered).softmax
  You compared probabilities. Take their logarithms, `log_softmax`: from 0.999 to 0.99 is a fall
  too.

- [:, best]
+ .amax(dim=-1)
  You took the most likely class of each covered picture. Follow *one* class: that of the whole
  picture.

- picture.repeat
+ torch.full_like(picture, fill).repeat
- ] = fill
+ ] = picture[:, top : top + size, left : left + size]
  You kept one patch and covered all others. Cover one and keep the others.

- covered[i, :,
+ covered[i:, :,
  Your covers pile up: each is added to a picture that is already covered. Start from a fresh copy
  every time.

- whole[best] - without
+ without
  These are the log-probabilities of the covered pictures. Subtract them from that of the whole
  picture.

- (whole[best] - without)
+ (whole[best] - without).abs()
  You took absolute values. Where covering a patch makes the model *more certain*, the number
  should be below 0.

- [:, best]
+
- (whole[best] - without)
+ (whole - without).abs().amax(dim=-1)
  You took the largest change of any class. Follow one class: that of the whole picture.

- .reshape(rows, columns)
+ .reshape(rows, columns).T.reshape(rows, columns)
  The rows and columns of the map are exchanged.

- top : top + size, left : left + size
+ top, left
  You covered one pixel of each patch. Cover all `size` × `size` pixels.

- = fill
+ = 0.0
  You covered patches with 0. Use `fill`.

- covered[i, :,
+ covered[i, 0,
  You covered only the first channel. Cover all channels.

- whole[best] - without
+ 1 - without / whole[best]
  You divided by the log-probability of the whole picture. Return the fall itself.

- predict(picture[None]).log_softmax(dim=-1)
+ predict(picture[None])
- predict(covered).log_softmax(dim=-1)
+ predict(covered)
- whole[best] - without
+ without - whole[best]
  Two things: take log-probabilities instead of logits, and count a *fall* as positive.

- predict(picture[None]).log_softmax
+ predict(picture[None]).softmax
- predict(covered).log_softmax
+ predict(covered).softmax
- whole[best] - without
+ without - whole[best]
  Two things: take logarithms of the probabilities, and count a *fall* as positive.
""",
)
