"""Checks of lesson 21, Research desk: one position from another run."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_21 as solutions


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _patch_cases() -> list[Case]:
    return [
        Case("one text of 4 positions, position 2", (_random(3, 1, 4, 5), _random(4, 1, 4, 5), 2)),
        Case("2 texts of 3 positions, position 0", (_random(5, 2, 3, 4), _random(6, 2, 3, 4), 0)),
        Case("one source for 3 texts, position 1", (_random(7, 3, 5, 6), _random(8, 1, 5, 6), 1)),
    ]


def _both(change):
    def wrong(stream, source, position):
        stream, source = stream.clone(), source.expand_as(stream).clone()
        return change(stream, source, position)

    return wrong


@_both
def _everything(stream, source, position):
    return source


@_both
def _turned_round(stream, source, position):
    source[:, position] = stream[:, position]
    return source


@_both
def _added(stream, source, position):
    stream[:, position] += source[:, position]
    return stream


@_both
def _from_there_on(stream, source, position):
    stream[:, position:] = source[:, position:]
    return stream


@_both
def _up_to_there(stream, source, position):
    stream[:, : position + 1] = source[:, : position + 1]
    return stream


@_both
def _a_number(stream, source, position):
    stream[..., position] = source[..., position]
    return stream


@_both
def _a_text(stream, source, position):
    row = min(position, len(stream) - 1)
    stream[row] = source[row]
    return stream


@_both
def _next_place(stream, source, position):
    place = min(position + 1, stream.shape[1] - 1)
    stream[:, place] = source[:, place]
    return stream


_PATCH = Grader(
    name="21/patched",
    cases=_patch_cases,
    reference=solutions.patched,
    shape_hint="the shape of `stream`",
    suspects=(
        Suspect(
            "nothing patched",
            lambda stream, source, position: stream,
            "The stream is unchanged: nothing was patched.",
        ),
        Suspect(
            "everything patched",
            _everything,
            "You put in the whole source. Patch only **one position** and leave the rest.",
        ),
        Suspect(
            "source and stream swapped",
            _turned_round,
            "You put the stream's vector into the source. Do it the other way round: `stream` is the "
            "run that goes on.",
        ),
        Suspect("added", _added, "You added the source's vector. *Replace* the old one with it."),
        Suspect(
            "from there on",
            _from_there_on,
            "You patched this position and everything after it. Patch this position only.",
        ),
        Suspect(
            "up to there",
            _up_to_there,
            "You patched everything up to this position. Patch this position only.",
        ),
        Suspect(
            "a number of every vector",
            _a_number,
            "You patched one *number* of every vector: the last axis is d_model. Positions are the "
            "middle axis.",
        ),
        Suspect(
            "a text",
            _a_text,
            "You patched a whole text: the first axis counts texts. Positions are the middle axis.",
        ),
        Suspect(
            "the next position",
            _next_place,
            "You patched the position after it. Positions are counted from 0.",
        ),
    ),
)

GRADERS = (_PATCH,)
