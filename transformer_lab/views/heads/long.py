"""Heads of texts too long for whole maps: a pyramid of tiles each, and single rows on request.

A browser gets the overview of the head shown, and tiles, rows and sums on request. A saved page
holds what `LongHeads.page_blocks` gives.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...heads.sentences import paragraphs, sentences
from ...heads.spans import segments
from ...tracing.maps import rows_told
from ...tracing.pyramid import SIDE, Pyramid, Span
from ..pages.export import Block
from ..shared.codecs import pack_weights
from ..shared.map_sentences import (
    EVEN,
    Seen,
    cell_sentence,
    key_sentence,
    query_sentence,
    standing_out,
)
from .data import THUMBNAIL, HeadBytes, HeadData
from .heads import ROWS_FOR_A_SENTENCE, Heads, Place, Shows, Spot, name_of, place_of
from .scene import PinnedMap, ShownHead

if TYPE_CHECKING:
    from ...tracing.trace import Trace

TILE = 256  # cells along each side of a tile
KEPT = 4  # pyramids that are cached
STRONGEST = 64  # edges listed for a head
GROUPED = {"sentences": sentences, "paragraphs": paragraphs}
GROUPS = (*GROUPED, "segments")
MOST_GROUPS = 2048


def heads_of(trace: Trace, batch: int = 0) -> Heads:
    """The heads of a text; as pyramids, if its maps would be cut to their first tokens.

    Raises:
        ValueError: for a text that the trace does not have.
    """
    heads = Heads(trace, batch)
    return LongHeads(trace, batch) if heads.data.is_cut else heads


class LongData(HeadData):
    """Data of a long text for the browser: every token, and no map."""

    def __init__(self, trace: Trace, batch: int = 0):
        super().__init__(trace, batch)
        self.by_scores = dict.fromkeys(trace.kinds, False)
        self.all_maps = False

    def shown(self, kind: str) -> Span:
        return len(self.queries[kind]), len(self.keys[kind])

    def groups(self, kind: str, name: str) -> tuple[list[Span], list[Span]] | None:
        """The sentences (or paragraphs, or segments) of queries and of keys.

        None if there is only one, or too many for a map.
        """
        of = GROUPED.get(name, lambda _: segments(self.trace, kind=kind, batch=self.batch))
        both = of(self.queries[kind]), of(self.keys[kind])
        return both if all(1 < len(spans) <= MOST_GROUPS for spans in both) else None

    def kinds(self) -> dict[str, dict[str, Any]]:
        described = super().kinds()
        for kind, facts in described.items():
            found = {name: self.groups(kind, name) for name in GROUPS}
            starts = {
                name: [[start for start, _ in spans] for spans in both]
                for name, both in found.items()
                if both is not None
            }
            rows = rows_told(*self.shown(kind), THUMBNAIL)
            facts["long"] = {"tile": TILE, "groups": starts, "small_rows": rows}
        return described


class LongHeads(Heads):
    """The heads of one long text of a trace."""

    data: LongData

    def __init__(self, trace: Trace, batch: int = 0):
        super().__init__(trace, batch)
        self.data = LongData(trace, batch)
        self._known: OrderedDict[tuple, Pyramid] = OrderedDict()

    def pyramid(self, place: Place, shows: Shows) -> Pyramid:
        """A head's map as it is shown; the last few are cached.

        Raises:
            ValueError: if there is no such head.
        """
        at = (place, tuple(shows.hidden), shows.value_weighted)
        if at not in self._known:
            kind, layer, head = place
            call, norms = self.trace.call(layer, head, kind=kind), self.norms(place, shows)
            while len(self._known) >= KEPT:
                self._known.popitem(last=False)
            self._known[at] = Pyramid(
                call, head, self.batch, SIDE, hidden=shows.hidden, norms=norms
            )
        self._known.move_to_end(at)
        return self._known[at]

    def level(self, pyramid: Pyramid) -> int:
        """The level of the overview, at which the map fits into one tile."""
        return max(0, (-(-max(pyramid.n_query, pyramid.n_key) // TILE) - 1).bit_length())

    def on_page(self, place: Place, layers: Sequence[int] | None) -> Iterable[Place]:
        return [place] if layers is None else self.every(place[0], layers)

    # -- data for the browser -------------------------------------------------------------------

    def head(self, place: Place, shows: Shows) -> HeadBytes:
        """The overview of a head: its strongest edges, its sentence and one tile."""
        pyramid = self.pyramid(place, shows)
        level = self.level(pyramid)
        most, _ = pyramid.tile(level, *((0, count) for count in pyramid.shape(level)))
        info = {
            "level": level,
            "base": pyramid.base,
            "scale": self._scale(place, shows),
            "most": float(most.max()),
            "median": float(most.amax(1).median()),
            "strongest": [[q, k, round(w, 6)] for q, k, w in self._strongest(place, pyramid)],
            "sentence": self.said(place, shows, None),
        }
        return HeadBytes(info, *self._tile(place, shows, level, 0, 0))

    def block(self, place: Place, prefix: str = "") -> Block:
        found = self.head(place, Shows())
        return Block(f"{prefix}{name_of(place)}", found.info, found.buffers)

    def page_blocks(
        self,
        place: Place,
        layers: Sequence[int] | None,
        shows: Shows = Shows(),  # noqa: B008
        selected: Spot | None = None,
    ) -> Iterable[Block]:
        """What a page holds.

        For the head shown: all levels it keeps, the rows of its strongest edges, and sums over
        sentences, paragraphs and segments; for other heads of these layers, the overview.
        """
        kind = place[0]
        if layers is not None:
            for other in self.every(kind, layers):
                if other != place and other[2] < self.trace.heads_of(other[1], other[0]):
                    yield self.block(other)
        for code in sorted({"", shows.letters}):
            pyramid = self.pyramid(place, self._shows(kind, code))
            rows = {query for query, _, _ in self._strongest(place, pyramid)}
            if selected is not None and selected[0] is not None:
                rows.add(selected[0])
            wanted = [""] if code else []  # without options, the first screen has it
            wanted += [f"row/{query}" for query in sorted(rows)]
            if selected is not None and selected[1] is not None:
                wanted.append(f"column/{selected[1]}")
            wanted += [f"groups/{name}" for name in GROUPS if self.data.groups(kind, name)]
            for level in range(self.level(pyramid) - 1, pyramid.base - 1, -1):
                tall, wide = (-(-count // TILE) for count in pyramid.shape(level))
                wanted += [f"tile/{level}/{i}/{j}" for i in range(tall) for j in range(wide)]
            for what in wanted:
                name = f"{name_of(place)}|{code}|{what}"
                yield Block(name, *self.answer(name))

    def limits(self, layers: Sequence[int]) -> str:
        said = super().limits(layers)
        return said.replace("; the small maps show all", ", from their overviews on")

    def page_note(self, place: Place, layers: Sequence[int] | None) -> str:
        """A note on the levels that a page holds."""
        pyramid = self.pyramid(place, Shows())
        cell = 1 << pyramid.base
        others = 1 << self.level(pyramid)
        kept = f"This page holds layer {place[1]}, head {place[2]} down to {_cells(cell)}"
        if layers is None:
            return f"{kept}, and no other head; save_html(layers=[…]) keeps the overviews of more."
        return f"{kept}, the others down to {_cells(others)}."

    def answer(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        """Answer a browser's request.

        "kind/layer/head" gives the overview, "kind/layer/head|shows|what" what is requested of it.
        `shows` are letters: f hides the first token, s special tokens, v weights by value length.
        """
        at, letters, what = (*name.split("|"), "", "")[:3]
        place = place_of(at)
        shows = self._shows(place[0], letters)
        word, *rest = what.split("/")
        if not word:
            found = self.head(place, shows)
            return found.info, found.buffers
        pyramid, scale = self.pyramid(place, shows), self._scale(place, shows)
        if word == "tile":
            return {}, self._tile(place, shows, *map(int, rest))
        if word == "row":
            query = int(rest[0])
            row = pyramid.rows([query])
            return {"nothing": float(pyramid.nothing[query])}, [pack_weights(row / scale)]
        if word == "column":
            return {}, [pack_weights(pyramid.column(int(rest[0])) / scale)]
        if word == "peak":
            query, key, weight = pyramid.peak(*map(int, rest))
            return {"query": query, "key": key, "weight": weight}, []
        if word == "strongest":
            q0, q1, k0, k1 = map(int, rest)
            edges = _edges(pyramid, (q0, q1), (k0, k1))
            return {"strongest": [[q, k, round(w, 6)] for q, k, w in edges]}, []
        if word == "groups" and (groups := self.data.groups(place[0], rest[0])) is not None:
            counts = torch.tensor([[end - start] for start, end in groups[0]])
            sums = pyramid.sums(*groups).cpu() / counts
            return {}, [pack_weights(sums / scale)]
        raise ValueError(f"a long text has no {what!r}")

    def _tile(self, place: Place, shows: Shows, level: int, row: int, column: int) -> list[bytes]:
        """[largest, share] of a tile, as 16-bit weights.

        share: the attention of a cell's queries, on average, to all of the cell's keys.
        """
        pyramid = self.pyramid(place, shows)
        rows, columns = (
            (TILE * at, min(TILE * (at + 1), count))
            for at, count in zip((row, column), pyramid.shape(level), strict=True)
        )
        most, mean = pyramid.tile(level, rows, columns)
        edges = torch.arange(columns[0], columns[1] + 1, device=mean.device) << level
        share = mean * edges.clamp(max=pyramid.n_key).diff()
        scale = self._scale(place, shows)
        return [pack_weights(most / scale), pack_weights(share / scale)]

    def _strongest(self, place: Place, pyramid: Pyramid) -> list[tuple[int, int, float]]:
        """The strongest edges; without a causal text's first query, which has only one key."""
        facts = self.kinds[place[0]]
        first = int(facts["causal"] and facts["same"] and pyramid.n_query > 1)
        return _edges(pyramid, (first, pyramid.n_query), (0, pyramid.n_key))

    def _scale(self, place: Place, shows: Shows) -> float:
        """The weight that a packed 1 stands for."""
        norms = self.norms(place, shows)
        return 1.0 if norms is None else max(1e-12, float(norms.max()))

    def _shows(self, kind: str, letters: str) -> Shows:
        names = dict(f="hide_first", s="hide_special", v="weights")
        options = {names[letter]: "value" if letter == "v" else True for letter in letters}
        return Shows.of(options, self.kinds[kind])

    # -- maps and sentences ---------------------------------------------------------------------

    def map(self, place: Place, shows: Shows, query: int | None = None) -> Tensor:
        """One row [key]; or the overview [cell, cell], with the largest weight of each cell."""
        pyramid = self.pyramid(place, shows)
        if query is not None:
            return pyramid.rows([query])[0].cpu()
        level = self.level(pyramid)
        return pyramid.tile(level, *((0, count) for count in pyramid.shape(level)))[0].cpu()

    def nothing(self, place: Place, shows: Shows) -> Tensor | None:
        kind, layer, _ = place
        if shows.value_weighted or layer not in self.data.sinks[kind]:
            return None
        return self.pyramid(place, shows).nothing.cpu()

    def goes_between(self, place: Place, a: Span, b: Span, hidden: Sequence[int]) -> float:
        found = self.pyramid(place, Shows(hidden)).sums([a], [b])
        return float(found) / (a[1] - a[0])

    def said(self, place: Place, shows: Shows, selected: Spot | None) -> str:
        seen, pyramid = self.seen(place, shows), self.pyramid(place, shows)
        query, key = selected or (None, None)
        if query is not None:
            row = pyramid.rows([query])[0].cpu()
            if key is None:
                return query_sentence(seen, query, row)
            return cell_sentence(seen, query, key, row)
        if key is not None:
            return key_sentence(seen, key, pyramid.column(key).cpu())
        return _overall(seen, pyramid, self._strongest(place, pyramid))

    def scene(
        self,
        place: Place,
        shows: Shows,
        selected: Spot | None,
        title: str,
        sentence: str,
        weights: Tensor | None = None,
        thumbnails: Tensor | None = None,
        nothing: Tensor | None = None,
        known: str = "",
        pins: Sequence[PinnedMap] = (),
    ) -> ShownHead:
        kind, layer, head = place
        cells = self.map(place, shows)
        level = self.level(self.pyramid(place, shows))
        queries, keys = (
            [_range(at, level, count) for at in range(n)]
            for n, count in zip(cells.shape, self.data.shown(kind), strict=True)
        )
        cell = None
        if selected is not None:
            query, key = selected
            cell = query if query is None else query >> level, key if key is None else key >> level
        size = 1 << level
        return ShownHead(
            title,
            sentence,
            self.data.thumbnail(kind),
            cells,
            queries,
            keys,
            layer,
            head,
            self.kinds[kind]["causal"],
            (),
            cell,
            shows.value_weighted,
            measure=f"largest weight of {size} × {size}",
            size=size,
            known=known,
            pins=pins,
            tokens=self.data.shown(kind),
            parts=self.parts(kind, size),
        )

    def pinned(self, place: Place, shows: Shows) -> PinnedMap:
        return PinnedMap(*place[1:], self.map(place, shows), None)


def _overall(seen: Seen, pyramid: Pyramid, strongest: list[tuple[int, int, float]]) -> str:
    """Describe a whole map: its largest weight, and its average pattern over some rows."""
    query, key, weight = min(
        (one for one in strongest if one[2] > strongest[0][2] - EVEN), default=(0, 0, 0.0)
    )  # the first, if several are about equal
    total = pyramid.n_query
    chosen = torch.linspace(1, total - 1, min(ROWS_FOR_A_SENTENCE, total - 1)).round().long()
    rows = pyramid.rows(chosen.tolist()).cpu()
    count = torch.arange(len(rows))
    share = [float(rows[:, 0].mean()), 0.0, 0.0, 0.0]
    if seen.same:
        share[1] = float(rows[count, chosen].mean())
        share[2] = float((rows[count, chosen - 1] * (chosen > 1)).mean())
    share[3] = sum(seen.to_nothing(chosen.tolist())) / len(rows)
    text = standing_out(seen, query, key, weight, share)
    return f"{text} (Measured on {len(rows)} of its rows.)" if " On average " in text else text


def _edges(pyramid: Pyramid, queries: Span, keys: Span) -> list[tuple[int, int, float]]:
    """The strongest edges, largest first; of at most 64 queries, also each one's strongest."""
    edges = pyramid.strongest(STRONGEST, queries, keys)
    if queries[1] - queries[0] > STRONGEST:
        return edges
    known = {query for query, _, _ in edges}
    missing = [query for query in range(*queries) if query not in known]
    if not missing:
        return edges
    best = pyramid.rows(missing)[:, slice(*keys)].max(1)
    more = zip(missing, best.indices.tolist(), best.values.tolist(), strict=True)
    more = [(query, keys[0] + key, weight) for query, key, weight in more if weight > 0.001]
    return edges + sorted(more, key=lambda edge: -edge[2])


def _range(cell: int, level: int, count: int) -> str:
    return f"{cell << level}–{min((cell + 1) << level, count) - 1}"


def _cells(size: int) -> str:
    return f"tiles of {size} × {size} weights" if size > 1 else "single weights"
