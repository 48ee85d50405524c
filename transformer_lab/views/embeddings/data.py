"""The points of a cloud: their vectors, names and coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...analysis.circuits.principal_components import Components, principal_components, random_cloud
from ..shared.codecs import pack_floats, shown_text, shown_token

if TYPE_CHECKING:
    from ...tracing.trace import Trace

DIMENSIONS = 3
LONE = 0.5  # a single point is named if it makes up more of the variance than this


@dataclass(frozen=True, eq=False)
class Points:
    """The points of a cloud.

    vectors: fp32 [row, point, d]: one row, or the stream before the first block and after each;
    tokens, positions, texts, labels: of each point; where: each row in words, as part of a
    sentence; sample: what was left out, in words.
    """

    vectors: Tensor = field(repr=False)
    tokens: Sequence[str]
    positions: Sequence[int]
    texts: Sequence[int]
    labels: Sequence[str]
    where: Sequence[str]
    sample: str = ""
    of: Sequence[Any] = ()  # the models they come from


class Cloud:
    """Principal components of each row of points, of all rows together, and of random controls."""

    def __init__(self, points: Points):
        self.points = points
        self.own = [principal_components(row, DIMENSIONS) for row in points.vectors]
        self.chance = [
            principal_components(random_cloud(row, seed=i), DIMENSIONS)
            for i, row in enumerate(points.vectors)
        ]

    @property
    def rows(self) -> int:
        return len(self.points.vectors)

    @cached_property
    def paths(self) -> Components | None:
        """Components of all rows together, [row · point, 3]; None if there is only one row."""
        if self.rows == 1:
            return None
        return principal_components(self.points.vectors.flatten(0, 1), DIMENSIONS)

    @cached_property
    def chance_paths(self) -> Components | None:
        if self.rows == 1:
            return None
        return principal_components(random_cloud(self.points.vectors.flatten(0, 1)), DIMENSIONS)

    @cached_property
    def norms(self) -> Tensor:
        """Lengths of the vectors, fp32 [row, point]."""
        return self.points.vectors.norm(dim=-1)

    def coordinates(self, shows: str, row: int) -> Tensor:
        """Coordinates of the points, fp64 [point, 3]; shows: "layer", "paths" or "random"."""
        if shows == "paths" and self.paths is not None:
            return self.paths.coordinates.unflatten(0, (self.rows, -1))[row]
        return (self.chance if shows == "random" else self.own)[row].coordinates

    def kept(self, shows: str, row: int) -> Tensor:
        """The fraction of each point's squared distance from the mean that is visible, [point]."""
        if shows == "paths" and self.paths is not None:
            return self.paths.kept.unflatten(0, (self.rows, -1))[row]
        return (self.chance if shows == "random" else self.own)[row].kept

    def lone(self, row: int) -> tuple[int, float] | None:
        """The point that makes up more than half of a row's variance, and its fraction; or None."""
        spread = self.own[row].distances.pow(2)
        total = float(spread.sum())
        point = int(spread.argmax())
        share = float(spread[point]) / total if total > 0 else 0.0
        return (point, share) if share > LONE and len(spread) > 2 else None

    def packed(self) -> bytes:
        """fp32 [row, point, (x, y, z, kept)] of layer, random and, with several rows, paths."""
        shown = ("layer", "random", *(("paths",) if self.rows > 1 else ()))
        rows = [
            torch.cat([self.coordinates(s, row), self.kept(s, row)[:, None]], -1)
            for s in shown
            for row in range(self.rows)
        ]
        return b"".join(map(pack_floats, rows))

    def shares(self) -> dict[str, list[Any]]:
        """Fractions of the variance that components hold, to six decimals, for the browser."""

        def shares(found: Components) -> list[float]:
            return [round(x, 6) for x in found.shares.tolist()]

        several = self.paths is not None and self.chance_paths is not None
        return {
            "layer": [shares(found) for found in self.own],
            "random": [shares(found) for found in self.chance],
            "paths": [shares(self.paths), shares(self.chance_paths)] if several else [],  # type: ignore[arg-type]
            "lone": [self.lone(row) for row in range(self.rows)],
        }


def of_traces(
    traces: Sequence[Trace],
    kind: str,
    batches: Sequence[Sequence[int]],
    most: int,
    without: Sequence[int],
    labels: Sequence[str] | None,
) -> Points:
    """The residual stream of texts before the first block and after each, without padding.

    Raises:
        ValueError: if no token is left, labels do not fit, or the models differ in size.
    """
    vectors, tokens, positions, texts, whole = [], [], [], [], 0
    for trace, chosen in zip(traces, batches, strict=True):
        for batch in chosen:
            stream = trace.residual(kind, batch)
            rows = torch.cat([stream["resid_pre"][:1], stream["resid_post"]]).float().cpu()
            mask = trace.mask if kind == "encoder" or trace.target is None else trace.target_mask
            real = [True] * rows.shape[1] if mask is None else mask[batch].tolist()
            names = trace.query_tokens(kind, batch)
            whole += sum(real)
            kept = [i for i, there in enumerate(real) if there and i not in without][:most]
            vectors.append(rows[:, kept])
            tokens += [shown_token(names[i]) for i in kept]
            positions += kept
            texts += [len(vectors) - 1] * len(kept)
    shapes = {tuple(x.shape[::2]) for x in vectors}
    if len(shapes) > 1:
        raise ValueError(
            f"the traces have streams of {sorted(shapes)} (rows, d_model); give texts of one model"
        )
    n = len(tokens)
    if not n:
        raise ValueError(f"without={list(without)} leaves no token; name fewer")
    together = torch.cat(vectors, 1)
    rows = ["before the first layer", *(f"after layer {i}" for i in range(len(together) - 1))]
    left = [f"without {listed(sorted(set(without)))}"] if without else []
    if n > most:  # possible with several texts
        together, tokens, positions, texts = (
            together[:, :most],
            tokens[:most],
            positions[:most],
            texts[:most],
        )
    if len(tokens) < whole - sum(len(set(without)) for _ in vectors):
        left.append(f"the first {len(tokens)} of {whole}")
    return Points(
        together, tokens, positions, texts, _labels(labels, len(tokens)), rows, ", ".join(left)
    )


def of_table(
    table: Tensor,
    names: Sequence[str],
    most: int,
    labels: Sequence[str] | None,
    where: str = "token embeddings",
) -> Points:
    """Rows of a table [token, d]: all, or `most` of them, evenly spaced."""
    count = len(table)
    ids = list(range(count)) if count <= most else [i * count // most for i in range(most)]
    sample = "" if count <= most else f"of {count}, evenly spread"
    shown = [shown_token(names[i]) for i in ids]
    given = _labels(labels, count)
    kinds = [given[i] for i in ids] if given else [kind_of(token) for token in shown]
    return Points(
        table[ids].detach().float().cpu()[None], shown, ids, [0] * len(ids), kinds, [where], sample
    )


def _labels(labels: Sequence[str] | None, n: int) -> list[str]:
    if labels is None:
        return []
    if len(labels) != n:
        raise ValueError(f"labels has {len(labels)} entries; there are {n} points")
    return [shown_text(str(label)) for label in labels]


def text_names(tokens: Sequence[str], texts: Sequence[int]) -> list[str]:
    """A name for each text: at most two tokens that only it has; or "text 0", "text 1" …"""
    every = [
        [t for t, i in zip(tokens, texts, strict=True) if i == n] for n in range(max(texts) + 1)
    ]
    own = [
        [
            t
            for t in dict.fromkeys(text)
            if all(t not in other for other in every if other is not text)
        ]
        for text in every
    ]
    names = [" ".join(some[:2]) for some in own]
    if all(names) and len(set(names)) == len(names):
        return [f"text with “{name}”" for name in names]
    return [f"text {n}" for n in range(len(every))]


def kind_of(token: str) -> str:
    """The kind of a vocabulary's token, judged by its characters."""
    if (token[:1], token[-1:]) in (("<", ">"), ("[", "]")) and len(token) > 2:
        return "special"
    bare = token.lstrip("·▁Ġ_")
    if bare.isdigit():
        return "number"
    if bare.isalpha():
        return "begins a word" if bare != token else "letters"
    if not any(c.isalnum() for c in bare):
        return "punctuation or space"
    return "mixed"


LISTED = 6  # positions in a sentence


def listed(numbers: Sequence[int]) -> str:
    """ "token 0", "tokens 0, 4 and 5", "20 tokens: 0, 1, 2, 3, 4 and 15 more" """
    names = [str(n) for n in numbers]
    if len(names) > LISTED:
        first = ", ".join(names[: LISTED - 1])
        return f"{len(names)} tokens: {first} and {len(names) - LISTED + 1} more"
    if len(names) == 1:
        return f"token {names[0]}"
    return f"tokens {', '.join(names[:-1])} and {names[-1]}"
