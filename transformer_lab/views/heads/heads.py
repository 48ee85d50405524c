"""The heads of one text of a trace: data for the browser, maps and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...tracing.weights import as_shown
from ..pages.export import Block
from ..shared.codecs import shown_text
from ..shared.map_sentences import (
    Seen,
    cell_sentence,
    head_sentence,
    key_sentence,
    query_sentence,
    spread_sentence,
)
from ..shared.selection import check_traced
from .data import HeadBytes, HeadData
from .scene import Part, PinnedMap, ShownHead

if TYPE_CHECKING:
    from ...tracing.trace import Trace

ROWS_FOR_A_SENTENCE = 256
WITHOUT_BLOCKS = 2**18  # below this many bytes of maps, a page reads all of them at once

Place = tuple[str, int, int]  # kind, layer, head
Spot = tuple["int | None", "int | None"]  # query, key
Span = tuple[int, int]


@dataclass(frozen=True)
class Shows:
    """How maps are shown: hidden keys, and whether weights are multiplied by value length."""

    hidden: Sequence[int] = ()
    value_weighted: bool = False
    letters: str = ""  # the same in the browser's letters: see `LongHeads.answer`

    @classmethod
    def of(cls, options: Mapping[str, Any], kind: Mapping[str, Any]) -> Shows:
        """The browser's options applied to a kind of attention, described as in `Heads.kinds`."""
        if kind.get("spread"):
            return cls()  # rows of a spread have no fixed sum to be rescaled to
        first = [0] if options.get("hide_first") else []
        special = kind["special"] if options.get("hide_special") else []
        weighted = options.get("weights") == "value" and kind["has_norms"]
        letters = "f" * bool(first) + "s" * bool(special) + "v" * weighted
        return cls(sorted({*first, *special}), weighted, letters)


class Heads:
    """The heads of one text of a trace.

    Args:
        like: other heads of the same text, which are sent in the same form.
        beside: further heads of the same text, which may share layers with these.

    Raises:
        ValueError: for a text that the trace does not have.
    """

    def __init__(
        self, trace: Trace, batch: int = 0, like: Heads | None = None, beside: Heads | None = None
    ):
        check_traced(trace, batch, "thumbnails")  # an average of several texts has them
        self.trace, self.batch = trace, batch
        others = (None if heads is None else heads.data for heads in (like, beside))
        self.data = HeadData(trace, batch, *others)

    @cached_property
    def kinds(self) -> dict[str, dict[str, Any]]:
        return self.data.kinds()

    def usual_kind(self, kind: str | None = None) -> str:
        """The kind of attention, or its default if None.

        Raises:
            ValueError: for a kind that the trace does not have.
        """
        kinds = self.trace.kinds
        kind = kind or ("decoder" if "decoder" in kinds else kinds[0])
        if kind not in kinds:
            raise ValueError(f"kind={kind!r} is not in this trace; it has {', '.join(kinds)}")
        return kind

    def every(self, first: str, layers: Sequence[int] | None = None) -> Iterable[Place]:
        """Every head of these layers; those of kind `first` come first."""
        for kind in sorted(self.kinds, key=lambda name: name != first):
            for layer in range(self.kinds[kind]["layers"]):
                if layers is None or layer in layers:
                    for head in range(self.kinds[kind]["heads"]):
                        yield kind, layer, head

    def on_page(self, place: Place, layers: Sequence[int] | None) -> Iterable[Place]:
        """The heads that a page holds, if this one is shown."""
        return self.every(place[0], layers)

    # -- data for the browser -------------------------------------------------------------------

    def traits(self, place: Place) -> dict[str, Any]:
        """Everything that the first screen needs to show this head.

        Raises:
            ValueError: if there is no such head.
        """
        kind, layer, head = place
        for name, value in (("layer", layer), ("head", head)):
            count = self.kinds[kind][f"{name}s"]
            if not 0 <= value < count:
                raise ValueError(f"{name}={value} is outside 0 … {count - 1}")
        return {
            "_kinds": self.kinds,
            "_note": shown_text(self.trace.note or ""),
            **self.weights(place),
            "_thumbs": self.data.thumbnails(),
        }

    def weights(self, place: Place) -> dict[str, Any]:
        """All maps and value norms, or if these are too large, those of this head."""
        return self.maps(place) | ({"_norms": self.data.norms()} if self.data.all_maps else {})

    def maps(self, place: Place) -> dict[str, Any]:
        """The same without all value norms, which the browser requests head by head."""
        if not self.data.all_maps:
            return self.first(place)
        return {"_maps": self.data.maps(), "_norms": b"", "_first": {}}

    def first(self, place: Place) -> dict[str, Any]:
        """This head alone; `_first` names it."""
        head = self.head(place, Shows())
        first = {**head.info, "name": name_of(place)}
        return {"_maps": head.data, "_norms": head.norms, "_first": first}

    def answer(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        """The head that a browser requests."""
        found = self.head(place_of(name), Shows())
        return found.info, found.buffers

    def head(self, place: Place, shows: Shows) -> HeadBytes:
        """What a browser gets of a head before it requests more."""
        return self.data.head(*place)

    def block(self, place: Place, prefix: str = "") -> Block:
        found = self.head(place, Shows())
        return Block(f"{prefix}{name_of(place)}", found.info, found.buffers)

    def is_in_blocks(self, layers: Sequence[int] | None) -> bool:
        """Whether a page holds heads separately, so that it shows the first before it reads all."""
        small = self.data.all_maps and len(self.data.maps()) < WITHOUT_BLOCKS
        return not small or layers is not None

    def page_traits(self, place: Place, layers: Sequence[int] | None, note: str) -> dict[str, Any]:
        """What differs in the state of a page that shows this head.

        These are the head alone, if heads are in blocks, and a note about the layers it keeps.

        Args:
            note: the state's note so far.
        """
        changed = {} if layers is None else {"_note": f"{note} {self.limits(layers)}".strip()}
        return changed | self.first(place) if self.is_in_blocks(layers) else changed

    def page_blocks(
        self,
        place: Place,
        layers: Sequence[int] | None,
        shows: Shows = Shows(),
        selected: Spot | None = None,
    ) -> Iterable[Block]:
        """Every head of these layers; those of the kind shown come first."""
        if self.is_in_blocks(layers):
            yield from (self.block(other) for other in self.every(place[0], layers))

    def page_note(self, place: Place, layers: Sequence[int] | None) -> str:
        """A page's note on what it holds."""
        return ""

    def limits(self, layers: Sequence[int]) -> str:
        """The note of a page that keeps only these layers.

        Raises:
            ValueError: for a layer that the trace does not have.
        """
        most = max(kind["layers"] for kind in self.kinds.values())
        wrong = [layer for layer in layers if not 0 <= layer < most]
        if wrong or not layers:
            raise ValueError(f"layers={list(layers)} must name some of the layers 0 … {most - 1}")
        kept = ", ".join(str(layer) for layer in sorted(set(layers)))
        word = "layer" if len(set(layers)) == 1 else "layers"
        return f"This page keeps the heads of {word} {kept}, of {most}; the small maps show all."

    # -- maps and sentences ---------------------------------------------------------------------

    def map(self, place: Place, shows: Shows, query: int | None = None) -> Tensor:
        """The map [query, key], or one row of it, as the browser shows it."""
        kind, layer, head = place
        n_query, n_key = self.data.shown(kind)
        weights = self.data.pattern(kind, layer, head)[:n_query, :n_key]
        weights = weights.cpu() if query is None else weights[query].cpu()
        return as_shown(weights, shows.hidden, self.norms(place, shows))

    def norms(self, place: Place, shows: Shows) -> Tensor | None:
        """Value norms [key] that weights are multiplied by; None if they are not."""
        if not shows.value_weighted:
            return None
        kind, layer, head = place
        norms = self.data.value_norms(kind, layer)
        assert norms is not None
        return norms[head, : self.data.shown(kind)[1]].cpu()

    def goes_between(self, place: Place, a: Span, b: Span, hidden: Sequence[int]) -> float:
        """The attention of a query in a to all keys of b, averaged over queries."""
        rows = self.map(place, Shows(hidden))[slice(*a), slice(*b)].double()
        return float(rows.sum(-1).mean())

    def said(self, place: Place, shows: Shows, selected: Spot | None) -> str:
        """A sentence about a head, or about the selected part of its map."""
        return map_sentence(self.seen(place, shows), self.map(place, shows), selected)

    def seen(self, place: Place, shows: Shows, *, edited: bool = False) -> Seen:
        """The facts that a sentence is made from."""
        kind, layer, head = place
        n_query, n_key = self.data.shown(kind)
        nothing = self.nothing(place, shows)
        return Seen(
            kind,
            layer,
            head,
            len(self.kinds) > 1,
            self.data.queries[kind][:n_query],
            self.data.keys[kind][:n_key],
            causal=self.kinds[kind]["causal"],
            same=self.kinds[kind]["same"],
            value_weighted=shows.value_weighted,
            edited=edited,
            nothing=None if nothing is None else nothing.tolist(),
        )

    def nothing(self, place: Place, shows: Shows) -> Tensor | None:
        """Attention to no key, [query], if the head has sinks.

        None if weights are multiplied by value length, since there is no value then.
        """
        kind, layer, head = place
        if shows.value_weighted or layer not in self.data.sinks[kind]:
            return None
        return self.data.nothing(kind, layer, head)

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
        """What a picture is drawn from.

        `weights` (with `nothing`) and `thumbnails` replace those of these heads.
        """
        kind, layer, head = place
        return ShownHead(
            title,
            sentence,
            self.data.thumbnail(kind) if thumbnails is None else thumbnails,
            self.map(place, shows) if weights is None else weights,
            self.data.queries[kind],
            self.data.keys[kind],
            layer,
            head,
            self.kinds[kind]["causal"],
            shows.hidden,
            selected,
            shows.value_weighted,
            self.nothing(place, shows) if weights is None else nothing,
            measure=self.kinds[kind].get("measure", "attention weight"),
            known=known,
            pins=pins,
            parts=self.parts(kind),
        )

    def parts(self, kind: str, size: int = 1) -> tuple[list[Part], list[Part]]:
        """(name, start, end) of the named parts of queries and keys, in cells of `size` tokens."""
        facts = self.kinds[kind]
        spans = zip(facts.get("segment_names", ()), facts.get("segments", ()), strict=True)
        named = [(name, start // size, -(-end // size)) for name, (start, end) in spans]
        return named, named

    def pinned(self, place: Place, shows: Shows) -> PinnedMap:
        """A head that is pinned beside the chosen one."""
        return PinnedMap(*place[1:], self.map(place, shows), self.nothing(place, shows))


def map_sentence(seen: Seen, weights: Tensor, selected: Spot | None) -> str:
    """A sentence about a map, or about the selected part of it."""
    if seen.spread:
        return spread_sentence(seen, weights, selected)
    query, key = selected or (None, None)
    if query is not None and key is not None:
        return cell_sentence(seen, query, key, weights[query])
    if query is not None:
        return query_sentence(seen, query, weights[query])
    if key is not None:
        return key_sentence(seen, key, weights[:, key])
    if len(seen.queries) <= 1024:
        return head_sentence(seen, weights.__getitem__, len(seen.queries))
    text = head_sentence(seen, weights.__getitem__, ROWS_FOR_A_SENTENCE)
    return f"{text} ({ROWS_FOR_A_SENTENCE} of its rows were read.)"


def name_of(place: Place) -> str:
    return "/".join(map(str, place))


def place_of(name: str) -> Place:
    kind, layer, head = name.split("/")
    return kind, int(layer), int(head)
