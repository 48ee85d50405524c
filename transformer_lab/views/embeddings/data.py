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
        self.rows = len(points.vectors)
        self._layers = [_with_chance(row, seed=i) for i, row in enumerate(points.vectors)]

    @cached_property
    def _paths(self) -> tuple[Components, Components]:
        return _with_chance(self.points.vectors.flatten(0, 1))

    def components(self, shows: str, row: int) -> tuple[Components, Components]:
        """Of the points and of the control; of "paths" for all rows together, [row · point]."""
        return self._paths if shows == "paths" else self._layers[row]

    def coordinates(self, shows: str, row: int) -> Tensor:
        """Coordinates of the points, fp64 [point, 3]; shows: "layer", "paths" or "random"."""
        found = self.components(shows, row)[shows == "random"].coordinates
        return found.unflatten(0, (self.rows, -1))[row] if shows == "paths" else found

    def part(self, shows: str, row: int) -> tuple[dict[str, Any], list[bytes]]:
        """Fractions of the variance that components hold, and the point that makes up more than
        half of a row's variance, with its fraction; and of each point, or [row · point] for
        "paths", x, y, z, the visible fraction of its squared distance from the mean, and its norm."""
        both = self.components(shows, row)
        shares = [[round(x, 6) for x in each.shares.tolist()] for each in both]
        found, vectors = both[shows == "random"], self.points.vectors
        norms = (vectors if shows == "paths" else vectors[row]).norm(dim=-1).flatten()
        numbers = torch.cat([found.coordinates, found.kept[:, None], norms[:, None]], -1)
        spread = both[0].distances.pow(2)
        share, point = (spread / spread.sum().clamp(min=1e-300)).max(0)
        alone = shows != "paths" and share > LONE and len(spread) > 2
        lone = (int(point), float(share)) if alone else None
        return {"shares": shares, "lone": lone}, [pack_floats(numbers)]


def _with_chance(vectors: Tensor, seed: int = 0) -> tuple[Components, Components]:
    return (principal_components(vectors), principal_components(random_cloud(vectors, seed=seed)))


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
    if not tokens:
        raise ValueError(f"without={list(without)} leaves no token; name fewer")
    together = torch.cat(vectors, 1)
    rows = ["before the first layer", *(f"after layer {i}" for i in range(len(together) - 1))]
    left = [f"without {listed(sorted(set(without)))}"] if without else []
    together = together[:, :most]  # several texts may have more
    tokens, positions, texts = (x[:most] for x in (tokens, positions, texts))
    if len(tokens) < whole - sum(len(set(without)) for _ in vectors):
        left.append(f"the first {len(tokens)} of {whole}")
    given = _labels(labels, len(tokens))
    return Points(together, tokens, positions, texts, given, rows, ", ".join(left), traces)


def of_table(
    table: Tensor,
    names: Sequence[str],
    most: int,
    labels: Sequence[str] | None,
    where: str = "token embeddings",
) -> Points:
    """Rows of a table [token, d]: all, or `most` of them, evenly spaced."""
    count = len(table)
    n = min(count, most)
    ids = [i * count // n for i in range(n)]
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
