"""The scene of a ResidualView."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from ...analysis.circuits import BlockShare, LogitLens
from ..marks.scene import Axis, Bars, Mark, Matrix, Note, Panel, Scene
from ..shared.codecs import shown_token
from ..shared.exports import Array, Numbers
from ..shared.messages import Messages, percent

LENS_TOKENS = 12


def of_token(x: Tensor, token: int | None) -> Tensor:
    """The entry of one token on the last axis; None: the median (with an even number, the
    lower of the two in the middle)."""
    return x.median(-1).values if token is None else x[..., token]


def residual_scene(
    say: Messages,
    title: str,
    sentence: str,
    tokens: Sequence[str],
    norms: Tensor,
    shares: BlockShare | None,
    token: int | None,
    lens: Callable[[int, int], LogitLens] | None,
    notes: Mapping[str, str],
) -> Scene:
    """Draw lengths as a map, what each block adds as bars, and the logit lens as a table.

    Args:
        norms: [layer + 1, position].
        token: the position shown; None for the median.
        lens: (first, count) -> the logit lens of these positions.
        notes: part -> why it is missing.
    """
    rows = Axis(say("after"), [say("start"), *range(len(norms) - 1)])
    # In many models a few tokens are a hundred times as long as the rest and would hide it.
    end = min(float(norms.max()), 2.5 * float(norms.amax(0).median()))
    lengths = Matrix(
        norms,
        rows,
        Axis(say("token"), tokens, tokens=True),
        say("size"),
        end,
        chosen=None if token is None else (None, token),
    )
    after = ["start", *(f"layer {i}" for i in range(len(norms) - 1))]
    axes: dict[str, Sequence] = {"after": after, "position": list(tokens)}
    arrays = [Array("length", norms, ("after", "position"), say("is_length"))]
    added: Mark = Note(notes["parts"])
    if shares is not None:
        added = Bars(
            of_token(shares.share, token),
            Axis(say("layers")),
            shares.parts,
            say("shares"),
            shades=of_token(shares.cosine, token),
            shade=say("cosine"),
        )
        axes["part"] = list(shares.parts)
        where = ("part", "layer", "position")
        arrays += [
            Array("share", shares.share, where, say("is_share")),
            Array("cosine", shares.cosine, where, say("is_cosine")),
        ]
    table: Mark = Note(say("no_lens", why=notes["lens"]))
    if lens is not None:
        table, found = _lens(say, lens, rows, tokens, token)
        axes["read"] = found.pop()
        arrays += found
    return Scene(
        say("title", title=title),
        sentence,
        [
            [Panel(say("sizes"), lengths, 0.55), Panel(say("blocks"), added, 0.45)],
            [Panel(say("likeliest"), table)],
        ],
        Numbers(arrays, axes),
    )


def _lens(
    say: Messages,
    lens: Callable[[int, int], LogitLens],
    rows: Axis,
    tokens: Sequence[str],
    token: int | None,
) -> tuple[Matrix, list]:
    """The logit lens of the last tokens, or around the selected one; its arrays and positions."""
    count = min(LENS_TOKENS, len(tokens))
    first = len(tokens) - count
    if token is not None:
        first = max(0, min(first, token - count // 2))
    found = lens(first, count)
    best = [[found.top(row, at)[0] for at in range(count)] for row in range(len(found.tokens))]
    names = [[shown_token(name) for name, _ in line] for line in best]
    cells = [
        [
            f"{name if len(name) <= 9 else name[:8] + '…'} {percent(p)}"
            for name, (_, p) in zip(*line, strict=True)
        ]
        for line in zip(names, best, strict=True)
    ]
    hovers = [
        [f"{name} ({p:.4f})" for name, (_, p) in zip(*line, strict=True)]
        for line in zip(names, best, strict=True)
    ]
    columns = Axis(say("token"), [tokens[p] for p in found.positions], tokens=True)
    chosen = None if token is None else (None, found.positions.index(token))
    matrix = Matrix(
        found.answer_probability,
        rows,
        columns,
        say("own_answer"),
        1.0,
        text=cells,
        bold=(found.answer_rank == 0).tolist(),
        chosen=chosen,
        says=hovers,
    )
    where = ("after", "read")
    words = np.array([[name for name, _ in line] for line in best], dtype=object)
    odds = np.array([[p for _, p in line] for line in best])
    arrays = [
        Array("answer", found.answer_probability, where, say("is_answer")),
        Array("likeliest", words, where, say("is_likeliest")),
        Array("likeliest_probability", odds, where, say("is_likeliest_probability")),
    ]
    return matrix, [*arrays, list(found.positions)]
