"""Checks of lesson 17, Pictures are tokens too: what is attended to, and what is needed."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_17 as solutions


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# -- what [CLS] attends to ------------------------------------------------------------------------------


def _looking_cases() -> list[Case]:
    return [
        Case("2 layers of 3 heads, 6 patches", (_random(21, 2, 3, 7, 7).mul(2).softmax(-1),)),
        Case("3 layers of 2 heads, 4 patches", (_random(22, 3, 2, 5, 5).mul(2).softmax(-1),)),
        Case("one layer", (_random(23, 1, 2, 5, 5).mul(2).softmax(-1),)),
    ]


def _through(patterns, *, kept=0.5, backwards=False, of=None, skip=True):
    n = patterns.shape[-1]
    one = torch.eye(n, dtype=patterns.dtype)
    found = one
    for pattern in patterns:
        mean = pattern.mean(0) if of is None else of(pattern)
        mixed = (1 - kept) * mean + kept * one if skip else mean
        found = found @ mixed if backwards else mixed @ found
    return found


def _share(row):
    return row / row.sum(-1, keepdim=True)


_LOOK = Grader(
    name="17/class_attention",
    cases=_looking_cases,
    reference=solutions.class_attention,
    shape_hint="one number for each patch, without [CLS]",
    suspects=(
        Suspect(
            "the other order",
            lambda p: _share(_through(p, backwards=True)[0, 1:]),
            "The layers are multiplied in the wrong order. The *last* layer goes on the left: it "
            "attends to states that earlier layers mixed.",
        ),
        Suspect(
            "without the stream",
            lambda p: _share(_through(p, skip=False)[0, 1:]),
            "You left the residual stream out. Half of every state is carried over unchanged: mix each "
            "map with the identity.",
        ),
        Suspect(
            "the last layer alone",
            lambda p: _share(p[-1].mean(0)[0, 1:]),
            "This is what [CLS] attends to in the last layer alone. The states it attends to there are "
            "already mixtures: multiply the maps of all layers.",
        ),
        Suspect(
            "the mean over layers",
            lambda p: _share(p.mean((0, 1))[0, 1:]),
            "You took the mean over layers. When a state attends to one that has already attended "
            "elsewhere, the result is a *product* of maps.",
        ),
        Suspect(
            "the column of [CLS]",
            lambda p: _share(_through(p)[1:, 0]),
            "You took the column, which says what attends to [CLS]. What [CLS] attends to is its row.",
        ),
        Suspect(
            "not normalised",
            lambda p: _through(p)[0, 1:],
            "The numbers are right up to one factor: without [CLS] itself they no longer sum to 1. "
            "Divide by their sum.",
        ),
        Suspect(
            "[CLS] kept",
            lambda p: _through(p)[0],
            "[CLS] itself is still there. Remove it, and divide so that the patches sum to 1.",
        ),
        Suspect(
            "the last position as [CLS]",
            lambda p: _share(_through(p)[-1, :-1]),
            "You took the last position. [CLS] is the first.",
        ),
        Suspect(
            "largest head",
            lambda p: _share(_through(p, of=lambda x: x.amax(0))[0, 1:]),
            "You took the largest head at each position. Take the mean over heads.",
        ),
        Suspect(
            "sum of heads",
            lambda p: _share(_through(p, of=lambda x: x.sum(0))[0, 1:]),
            "You added up the heads, so rows sum to more than 1 and the residual stream counts for "
            "too little. Take the mean.",
        ),
        Suspect(
            "all rows",
            lambda p: _share(_through(p)[:, 1:].mean(0)),
            "You took the mean over all rows. Return only the row of [CLS].",
        ),
        Suspect(
            "the other order, not normalised",
            lambda p: _through(p, backwards=True)[0, 1:],
            "Two things: the last layer goes on the left of the product, and the patches must sum to 1.",
        ),
        Suspect(
            "without the stream, not normalised",
            lambda p: _through(p, skip=False)[0, 1:],
            "Two things: half of every state is carried over unchanged, and the patches must sum to 1.",
        ),
    ),
)


# -- occlusion ------------------------------------------------------------------------------------------


class Reader:
    """A small fixed image classifier, which raises an error for input of the wrong shape."""

    def __init__(self, seed: int, pixels: int, classes: int):
        self.first, self.second = _random(seed, 12, pixels), _random(seed + 1, classes, 12)

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        if pictures.ndim != 4:
            raise ValueError(
                f"predict takes [picture, channel, height, width], not {list(pictures.shape)}"
            )
        flat = pictures.flatten(1)
        hidden = torch.tanh(flat @ self.first.to(flat).T / flat.shape[1] ** 0.5)
        return 2 * hidden @ self.second.to(flat).T


def _occlusion_cases() -> list[Case]:
    return [
        Case(
            "a picture of 4 × 6 pixels in 2 colours",
            (Reader(40, 48, 4), _random(31, 2, 4, 6), 2, 0.0),
        ),
        Case(
            "a picture of 6 × 3, covered with 0.5",
            (Reader(50, 18, 3), _random(32, 1, 6, 3), 3, 0.5),
        ),
        Case("a picture of 4 × 4", (Reader(60, 16, 5), _random(33, 1, 4, 4), 1, -1.0)),
    ]


def _covered(picture, size, fill, keep=False):
    _, height, width = picture.shape
    found = []
    for top in range(0, height, size):
        for left in range(0, width, size):
            one = torch.full_like(picture, fill) if keep else picture.clone()
            place = (slice(None), slice(top, top + size), slice(left, left + size))
            one[place] = picture[place] if keep else fill
            found.append(one)
    return torch.stack(found), (height // size, width // size)


def _falls(said, change=lambda whole, without: whole - without, **more):
    """A map of changes, for the most likely class of the whole picture."""

    def made(predict, picture, size, fill):
        covered, shape = _covered(picture, size, fill, **more)
        whole, without = predict(picture[None])[0], predict(covered)
        best = whole.argmax()
        return change(said(whole)[best], said(without)[:, best]).reshape(shape)

    return made


def _log(x):
    return x.log_softmax(-1)


def _own_best(predict, picture, size, fill):
    covered, shape = _covered(picture, size, fill)
    whole, without = _log(predict(picture[None])[0]), _log(predict(covered))
    return (whole.max() - without.amax(-1)).reshape(shape)


def _largest(predict, picture, size, fill):
    covered, shape = _covered(picture, size, fill)
    whole, without = _log(predict(picture[None])[0]), _log(predict(covered))
    return (whole - without).abs().amax(-1).reshape(shape)


def _piled_up(predict, picture, size, fill):
    """Each cover stays while the next is added."""
    one, found, (_, height, width) = picture.clone(), [], picture.shape
    for top in range(0, height, size):
        for left in range(0, width, size):
            one[:, top : top + size, left : left + size] = fill
            found.append(one.clone())
    return _compared(predict, picture, torch.stack(found)).reshape(height // size, width // size)


def _compared(predict, picture, covered):
    whole = predict(picture[None])[0]
    return _log(whole)[whole.argmax()] - _log(predict(covered))[:, whole.argmax()]


def _by_columns(predict, picture, size, fill):
    covered, (rows, columns) = _covered(picture, size, fill)
    found = _compared(predict, picture, covered).reshape(rows, columns)
    return found.T.reshape(rows, columns)


def _one_pixel(predict, picture, size, fill):
    covered = []
    for top in range(0, picture.shape[1], size):
        for left in range(0, picture.shape[2], size):
            one = picture.clone()
            one[:, top, left] = fill
            covered.append(one)
    shape = picture.shape[1] // size, picture.shape[2] // size
    return _compared(predict, picture, torch.stack(covered)).reshape(shape)


def _black(predict, picture, size, fill):
    return solutions.occlusion_map(predict, picture, size, 0.0)


def _first_colour(predict, picture, size, fill):
    covered, shape = _covered(picture, size, fill)
    covered = torch.cat((covered[:, :1], picture[None, 1:].expand(len(covered), -1, -1, -1)), 1)
    return _compared(predict, picture, covered).reshape(shape)


_OCCLUSION = Grader(
    name="17/occlusion_map",
    cases=_occlusion_cases,
    reference=solutions.occlusion_map,
    shape_hint="a number for each patch, `[rows, columns]` of patches",
    suspects=(
        Suspect(
            "the sign",
            _falls(_log, lambda whole, without: without - whole),
            "The sign is the other way round. Covering a patch that matters makes the log-probability "
            "*fall*, and that counts as positive.",
        ),
        Suspect(
            "logits",
            _falls(lambda x: x),
            "You compared logits. If they all fall equally, nothing is lost: compare log-probabilities, "
            "`log_softmax`.",
        ),
        Suspect(
            "probabilities",
            _falls(lambda x: x.softmax(-1)),
            "You compared probabilities. Take their logarithms, `log_softmax`: from 0.999 to 0.99 is a "
            "fall too.",
        ),
        Suspect(
            "the likeliest of each",
            _own_best,
            "You took the most likely class of each covered picture. Follow *one* class: that of the "
            "whole picture.",
        ),
        Suspect(
            "kept alone",
            _falls(_log, keep=True),
            "You kept one patch and covered all others. Cover one and keep the others.",
        ),
        Suspect(
            "covers pile up",
            _piled_up,
            "Your covers pile up: each is added to a picture that is already covered. Start from a "
            "fresh copy every time.",
        ),
        Suspect(
            "without only",
            _falls(_log, lambda whole, without: without),
            "These are the log-probabilities of the covered pictures. Subtract them from that of the "
            "whole picture.",
        ),
        Suspect(
            "size of the change",
            _falls(_log, lambda whole, without: (whole - without).abs()),
            "You took absolute values. Where covering a patch makes the model *more certain*, the "
            "number should be below 0.",
        ),
        Suspect(
            "any class",
            _largest,
            "You took the largest change of any class. Follow one class: that of the whole picture.",
        ),
        Suspect(
            "by columns",
            _by_columns,
            "The rows and columns of the map are exchanged.",
        ),
        Suspect(
            "one pixel",
            _one_pixel,
            "You covered one pixel of each patch. Cover all `size` × `size` pixels.",
        ),
        Suspect(
            "black",
            _black,
            "You covered patches with 0. Use `fill`.",
        ),
        Suspect(
            "first colour",
            _first_colour,
            "You covered only the first channel. Cover all channels.",
        ),
        Suspect(
            "fraction of the fall",
            _falls(_log, lambda whole, without: (whole - without) / whole),
            "You divided by the log-probability of the whole picture. Return the fall itself.",
        ),
        Suspect(
            "logits, and the sign",
            _falls(lambda x: x, lambda whole, without: without - whole),
            "Two things: take log-probabilities instead of logits, and count a *fall* as positive.",
        ),
        Suspect(
            "probabilities, and the sign",
            _falls(lambda x: x.softmax(-1), lambda whole, without: without - whole),
            "Two things: take logarithms of the probabilities, and count a *fall* as positive.",
        ),
    ),
)

GRADERS = (_LOOK, _OCCLUSION)
