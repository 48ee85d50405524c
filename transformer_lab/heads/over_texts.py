"""Average a head over several texts, with the spread over texts and shuffled keys as a control.

Positions count from a text's first token that is not padding, so that texts are aligned; only
positions that all texts have are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..tracing.trace import Trace

FORBIDDEN = -3e4  # scores below it are masked: the smallest number of fp16 is −65504
EVEN_ROWS = 1e-9  # variance within rows below which every key of a row has the same weight


@dataclass(frozen=True)
class Aligned:
    """The texts of a trace, aligned at their first real token.

    texts: their indices. queries, keys: of each text the positions of its real tokens.
    n_query, n_key: how many positions all of them have.
    """

    texts: list[int]
    queries: list[Tensor]
    keys: list[Tensor]
    n_query: int
    n_key: int

    @property
    def same_length(self) -> bool:
        """Whether no text has a key that another lacks."""
        return all(len(keys) == self.n_key for keys in self.keys)

    @property
    def sentence(self) -> str:
        """What is averaged, such as "12 texts, positions 0–8, which all texts have"."""
        if self.n_query == self.n_key:
            where = f"positions 0–{self.n_key - 1}"
        else:
            where = f"queries 0–{self.n_query - 1} and keys 0–{self.n_key - 1}"
        return f"{len(self.texts)} texts, {where}, which all texts have"


@dataclass(frozen=True)
class AverageMap:
    """One head's attention pattern, averaged over several texts.

    mean: [query, key], the mean weight. Rows sum to 1, less what goes `to_nothing` and, if a query
        may attend to later keys, less what goes to those that not all texts have.
    spread: [query, key], the standard deviation over the texts (of all of them: divided by their
        number).
    shuffled: [query, key], the spread expected if the keys of each row are shuffled within the
        query's reach, in each text independently: that of a head with the same weights, to which
        position means nothing.
    to_nothing: [query], the mean fraction that goes to no key.
    consistency: 1 − Σ spread² / Σ shuffled². 1: the pattern is the same in all texts, so position
        decides; 0: texts differ as much as with shuffled keys, so something else decides, such as
        content. Below 0: they differ even more. NaN if all rows are uniform.
    """

    mean: Tensor
    spread: Tensor
    shuffled: Tensor
    to_nothing: Tensor
    consistency: float
    aligned: Aligned

    @property
    def sentence(self) -> str:
        start = f"Mean over {self.aligned.sentence}."
        if self.consistency != self.consistency:
            return f"{start} Its weights are uniform in every row, so there is nothing to shuffle."
        return (
            f"{start} Consistency is {_short(self.consistency)}: at 1 the map is the same in "
            "every text; 0 is what you get by shuffling each row’s keys within reach."
        )


@dataclass(frozen=True)
class ByDistance:
    """How much one head attends to keys at each distance.

    distances: int64 [distance], query − key; below 0 for later keys. Those that all texts have.
    mean: [distance], of a text the mean over its queries that have such a key, then over texts.
    spread: [distance], the standard deviation over texts.
    shuffled: [distance], the control: the mean if the keys of each row are shuffled within reach.
    """

    distances: Tensor
    mean: Tensor
    spread: Tensor
    shuffled: Tensor
    texts: list[int]

    @property
    def sentence(self) -> str:
        first, last = int(self.distances[0]), int(self.distances[-1])
        first_said = str(first).replace("-", "−")
        return (
            f"Mean over {len(self.texts)} texts, at distances {first_said} to {last}, which all "
            "texts have; the band is one standard deviation over texts to each side."
        )


def aligned_texts(
    trace: Trace, *, kind: str | None = None, texts: Sequence[int] | None = None
) -> Aligned:
    """Align the texts of a batch at each one's first token that is not padding.

    Args:
        texts: their indices; all of them by default.

    Raises:
        ValueError: for fewer than two texts, one that does not exist, and texts that share fewer
            than two positions.
    """
    kind = trace.kind(kind)
    chosen = [trace.text(b) for b in (range(trace.batch_size) if texts is None else texts)]
    if len(chosen) < 2:
        raise ValueError(
            f"an average needs at least two texts, got {len(chosen)} of the {trace.batch_size} "
            "texts of this trace; give tl.trace a batch of two or more"
        )
    source, target = trace.mask, trace.mask if trace.target is None else trace.target_mask
    masks = {"encoder": (source, source), "decoder": (target, target), "cross": (target, source)}
    sides = [
        [_places(mask, b, n) for b in chosen]
        for mask, n in zip(masks[kind], trace.shape(kind), strict=True)
    ]
    for side in sides:
        lengths = [len(places) for places in side]
        if (least := min(lengths)) < 2:
            count = "1 token" if least == 1 else "no token"
            raise ValueError(
                f"text {chosen[lengths.index(least)]} has {count}, so the texts do not share two "
                "positions, and an average would mean nothing; leave it out"
            )
    queries, keys = sides
    return Aligned(chosen, queries, keys, min(map(len, queries)), min(map(len, keys)))


def average_map(
    trace: Trace,
    layer: int,
    head: int,
    *,
    kind: str | None = None,
    texts: Sequence[int] | None = None,
) -> AverageMap:
    """Return a head's mean pattern over the texts of a batch, by position from each text's start,
    with its spread and that of shuffled keys; see `AverageMap`.

    Args:
        texts: indices of those to average; all of them by default.

    Raises:
        ValueError: if texts share no positions, as `aligned_texts`; for a layer, head or kind that
            does not exist, as `Trace.pattern`.
    """
    at = aligned_texts(trace, kind=kind, texts=texts)
    n_query, n_key, count = at.n_query, at.n_key, len(at.texts)
    total, squares, expected, expected_squares, within = torch.zeros(
        5, n_query, n_key, dtype=torch.float64
    )
    nothing = torch.zeros(n_query, dtype=torch.float64)
    for text, queries, keys in zip(at.texts, at.queries, at.keys, strict=True):
        rows, reach = _rows(trace, layer, head, kind, text, queries[:n_query], keys)
        mean, variance = _of_rows(rows, reach)
        reach = reach[:, :n_key].double()
        total += rows[:, :n_key]
        squares += rows[:, :n_key] ** 2
        expected += reach * mean
        expected_squares += reach * (variance + mean**2)
        within += reach * variance
        gone = trace.to_nothing(layer, head, kind=kind, batch=text)
        nothing += gone.cpu()[queries[:n_query]]
    mean = total / count
    spread = (squares / count - mean**2).clamp(min=0)
    # E[mean of squares − squared mean] over independent shuffles; the mean varies by Σ v / count².
    shuffled = (expected_squares / count - within / count**2 - (expected / count) ** 2).clamp(min=0)
    least = float(shuffled.sum())
    return AverageMap(
        mean.float(),
        spread.sqrt().float(),
        shuffled.sqrt().float(),
        (nothing / count).float(),
        1 - float(spread.sum()) / least if least > EVEN_ROWS else float("nan"),
        at,
    )


def by_distance(
    trace: Trace,
    layer: int,
    head: int,
    *,
    kind: str | None = None,
    texts: Sequence[int] | None = None,
) -> ByDistance:
    """Return how much a head attends to keys at each distance, over the texts of a batch; see
    `ByDistance`.

    Raises:
        ValueError: as `average_map`; for cross-attention, whose queries and keys are of two texts,
            and for images, whose patches do not lie in a line; see `has_distance`.
    """
    kind = trace.kind(kind)
    if kind != "cross" and not has_distance(trace, kind):
        raise ValueError(
            "the patches of an image lie in a grid, not in a line; tl.heads.patch_distance "
            "measures how far heads attend in an image"
        )
    if kind == "cross":
        raise ValueError("kind='cross' has no distance: its queries and keys belong to two texts")
    at = aligned_texts(trace, kind=kind, texts=texts)
    last = at.n_query - 1
    distances = torch.arange(0 if trace.causal(kind) else -last, last + 1)
    found = []
    for text, queries, keys in zip(at.texts, at.queries, at.keys, strict=True):
        rows, reach = _rows(trace, layer, head, kind, text, queries, keys)
        even = reach * _of_rows(rows, reach)[0]
        # The distance d lies on the diagonal −d.
        found.append([[float(x.diagonal(-int(d)).mean()) for d in distances] for x in (rows, even)])
    both = torch.tensor(found, dtype=torch.float64)  # [text, (given, shuffled), distance]
    return ByDistance(
        distances,
        both[:, 0].mean(0).float(),
        both[:, 0].std(0, correction=0).float(),
        both[:, 1].mean(0).float(),
        at.texts,
    )


def has_distance(trace: Trace, kind: str) -> bool:
    """Whether queries and keys lie in one line."""
    return kind != "cross" and (trace.tokens is not None or trace.patches is None)


def _places(mask: Tensor | None, text: int, n: int) -> Tensor:
    """Positions of a text's real tokens among all n."""
    return torch.arange(n) if mask is None else mask[text].bool().cpu().nonzero().flatten()


def _rows(
    trace: Trace, layer: int, head: int, kind: str | None, text: int, queries: Tensor, keys: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the weights, fp64, and whether a query can attend there, both [query, key]."""
    weights = trace.pattern(layer, head, kind=kind, batch=text).cpu()
    scores = trace.scores(layer, head, kind=kind, batch=text).cpu()
    pick = (queries[:, None], keys[None])
    return weights[pick].double(), scores[pick] > FORBIDDEN


def _of_rows(rows: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, variance) over the keys within reach, both [query, 1]."""
    n = reach.sum(-1, keepdim=True).clamp(min=1)
    mean = rows.sum(-1, keepdim=True) / n
    return mean, (rows**2).sum(-1, keepdim=True) / n - mean**2


def _short(x: float) -> str:
    """To two decimals, as "0.83" or "−0.05"."""
    text = f"{abs(x) + 1e-5:.2f}"
    return f"−{text}" if x < 0 and text != "0.00" else text
