"""Data of one score for the browser: its parts, and the row that it competes in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...analysis.circuits import ScoreBySource, row_scores, score_by_dimension
from ...analysis.circuits.score_parts import score_by_source, split_score
from ..shared.codecs import pack_floats, shown_text, shown_token

if TYPE_CHECKING:
    from ...tracing.trace import Trace

KEPT_SOURCES = 8  # largest sources of each side in the table; the rest are summed
ABOVE_MEAN = 2e9  # most multiplications spent on splitting a row's mean key by source
PAGE_KEYS = 64  # keys of the chosen row in a saved page


@dataclass(frozen=True)
class CellBytes:
    """One score: its description and its numbers."""

    info: dict[str, Any]
    data: bytes


class WhyData:
    """The scores of one text of a trace.

    Raises:
        ValueError: if the model gives only attention patterns.
    """

    def __init__(self, trace: Trace, batch: int = 0):
        self.trace, self.batch = trace, batch
        self.queries = {
            k: [shown_token(x) for x in trace.query_tokens(k, batch)] for k in trace.kinds
        }
        self.keys = {k: [shown_token(x) for x in trace.key_tokens(k, batch)] for k in trace.kinds}
        first = trace.attending(trace.kinds[0])[0]
        score_by_dimension(trace, first, 0, 0, 0, kind=trace.kinds[0], batch=batch)
        self.why_no_sources = ""
        try:
            score_by_source(trace, first, 0, 0, 0, kind=trace.kinds[0], batch=batch)
        except ValueError as error:  # a TraceError is one
            self.why_no_sources = shown_text(str(error))
        # On each view, not on the class: it must not keep traces alive.
        self.cell = lru_cache(64)(self._cell)
        self._attending_most = lru_cache(1)(self._query_of_each_key)
        self._attended_most = lru_cache(64)(self._key_of)

    def place(
        self, kind: str, layer: int, head: int, query: int | None, key: int | None
    ) -> tuple[int, int]:
        """Fill in a missing query or key.

        Without a query: the one with most weight on the key, or the last one if there is no key
        either. Without a key: the one to which the query attends most.
        """
        n_query, n_key = self.trace.shape(kind)
        query = None if query is None else min(query, n_query - 1)
        key = None if key is None else min(key, n_key - 1)
        if query is None and key is None:
            query = n_query - 1
        if query is None:
            assert key is not None
            query = self._attending_most(kind, layer, head)[key]
        if key is None:
            key = self._attended_most(kind, layer, head, query)
        return query, key

    def _query_of_each_key(self, kind: str, layer: int, head: int) -> list[int]:
        return self.trace.pattern(layer, head, kind=kind, batch=self.batch).argmax(0).tolist()

    def _key_of(self, kind: str, layer: int, head: int, query: int) -> int:
        _, weights = row_scores(self.trace, layer, head, query, kind=kind, batch=self.batch)
        return int(weights.argmax())

    def _cell(self, kind: str, layer: int, head: int, query: int, key: int) -> CellBytes:
        where: dict[str, Any] = dict(kind=kind, batch=self.batch)
        found = score_by_dimension(self.trace, layer, head, query, key, **where)
        scores, weights = row_scores(self.trace, layer, head, query, **where)
        reachable = torch.isfinite(scores)
        above = None
        if int(reachable.sum()) > 1:
            above = score_by_dimension(
                self.trace, layer, head, query, key, **where, above_mean=True
            )
        info: dict[str, Any] = {
            "kind": kind,
            "layer": layer,
            "head": head,
            "query": query,
            "key": key,
            "dot": found.dot,
            "scale": found.scale,
            "scaled": found.scaled,
            "softcap": found.softcap,
            "capped": found.capped,
            "bias": _finite(found.bias),
            "score": _finite(found.score),
            "weight": found.weight,
            "mean": None if above is None else found.scaled - float(above.products.double().sum()),
            "d": len(found.q),
            "keys": len(scores),
            "pairs": None if found.pairs is None else found.pairs.tolist(),
            "splits": {},
            "why_no_sources": self.why_no_sources,
            "why_no_above": "",
        }
        parts = [found.q, found.k, found.products, scores, weights]
        if above is not None:
            parts += [above.k, above.products]
        if not self.why_no_sources:
            try:
                parts += self._sources(info, where, int(reachable.sum()))
            except ValueError as error:  # not a sum here, an earlier edit, changed weights
                info["why_no_sources"] = shown_text(str(error))
        return CellBytes(info, b"".join(pack_floats(part) for part in parts))

    def _sources(self, info: dict[str, Any], where: dict[str, Any], reachable: int) -> list[Tensor]:
        """Describe the splits by source in `info`, and return their numbers."""
        place = tuple(info[name] for name in ("layer", "head", "query", "key"))
        above = info["mean"] is not None
        if above and not self._affordable(info["kind"], info["layer"], reachable):
            above, info["why_no_above"] = (
                False,
                "the text is too long to split its mean key by source",
            )
        plain, lifted = split_score(self.trace, *place, **where, above_mean=above)
        splits = {"score": plain} if lifted is None else {"score": plain, "above": lifted}
        parts: list[Tensor] = []
        info["sources"] = {
            side: {"names": [s.name for s in sources], "short": [s.short for s in sources]}
            for side, sources in (("query", plain.query_sources), ("key", plain.key_sources))
        }
        info["splits"] = {name: _split(found, parts) for name, found in splits.items()}
        return parts

    def _affordable(self, kind: str, layer: int, keys: int) -> bool:
        _, n_key = self.trace.shape(kind)
        heads, d_head = self.trace.n_heads(kind), self.trace.d_head(kind) or 1
        return (layer + 1) * heads * keys * d_head * (n_key + d_head * heads) < ABOVE_MEAN

    def row(self, kind: str, layer: int, head: int, query: int) -> list[int]:
        """The keys of a row that a page holds: those with most weight."""
        scores, weights = row_scores(self.trace, layer, head, query, kind=kind, batch=self.batch)
        order = weights.argsort(descending=True, stable=True).tolist()
        return sorted(k for k in order[:PAGE_KEYS] if bool(torch.isfinite(scores[k])))


def cell_name(kind: str, layer: int, head: int, query: int | None, key: int | None) -> str:
    """The name by which the browser requests a score; "-" is for what `place` fills in."""
    places = ["-" if x is None else str(x) for x in (query, key)]
    return "/".join(["cell", kind, str(layer), str(head), *places])


def read_name(name: str) -> tuple[str, int, int, int | None, int | None]:
    """Kind, layer, head, query and key of the score with this name.

    Raises:
        ValueError: if the name is not that of a score.
    """
    parts = name.split("/")
    if len(parts) != 6 or parts[0] != "cell":
        raise ValueError(f"{name!r} names no score")
    query, key = (None if x == "-" else int(x) for x in parts[4:])
    return parts[1], int(parts[2]), int(parts[3]), query, key


def _split(found: ScoreBySource, parts: list[Tensor]) -> dict[str, Any]:
    """Append the sums of both sides and a small table to `parts`; describe which sources it has."""
    rows, columns = _kept(found.by_query()), _kept(found.by_key())
    table = _gathered(_gathered(found.parts, rows).T, columns).T
    parts += [found.by_query(), found.by_key(), table]
    return {"rows": rows, "columns": columns, "shape": list(table.shape), "total": found.total}


def _kept(values: Tensor) -> list[int]:
    """Indices of the largest parts by absolute value, largest first; all if they are few."""
    n = len(values) if len(values) <= KEPT_SOURCES + 1 else KEPT_SOURCES
    return values.abs().argsort(descending=True, stable=True)[:n].tolist()


def _gathered(x: Tensor, kept: list[int]) -> Tensor:
    """The kept rows, and if there are others, their sum as a last row."""
    found = x[kept]
    if len(kept) == len(x):
        return found
    rest = [i for i in range(len(x)) if i not in set(kept)]
    return torch.cat((found, x[rest].sum(0, keepdim=True)))


def _finite(x: float) -> float | None:
    return x if abs(x) != float("inf") else None
