"""Mean and spread of every head over a trace's texts, shown like one text of numbered positions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...heads.over_texts import AverageMap, aligned_texts, average_map, by_distance, has_distance
from ...tracing.maps import padded
from ..pages.export import Block
from ..shared.codecs import pack_floats
from ..shared.map_sentences import Seen
from .heads import Heads, Place, name_of

if TYPE_CHECKING:
    from ...tracing.trace import Trace

MEAN, SPREAD = "mean", "spread"
KEPT_WEIGHTS = 8 * 2**20  # numbers of averages that are cached


class Averages:
    """Averages over a trace's texts, with the interface of a trace that `HeadData` needs.

    Args:
        what: "mean" or "spread".

    Raises:
        ValueError: if the texts share no positions.
    """

    batch_size = 1
    value_note = ""
    given: ClassVar[dict[str, Any]] = {}
    segments: ClassVar[dict[str, tuple[int, int]]] = {}

    def __init__(self, trace: Trace, what: str, others: Averages | None = None):
        self.trace, self.what = trace, what
        self.aligned = {kind: aligned_texts(trace, kind=kind) for kind in trace.kinds}
        # Mean and spread are computed together.
        self.known: dict[Place, AverageMap] = {} if others is None else others.known
        self.kinds, self.model_name, self.note = trace.kinds, trace.model_name, trace.note
        self.layers, self.n_layers, self.n_heads = trace.layers, trace.n_layers, trace.n_heads
        self.heads_of, self.attending, self.causal = trace.heads_of, trace.attending, trace.causal

    def d_head(self, kind: str | None = None) -> None:
        return None  # so that maps are sent, not queries and keys

    def value_norms(self, layer: int, *, kind: str | None = None, batch: int = 0) -> None:
        return None

    def shape(self, kind: str) -> tuple[int, int]:
        return self.aligned[kind].n_query, self.aligned[kind].n_key

    def query_tokens(self, kind: str, batch: int = 0) -> list[str]:
        return [str(i) for i in range(self.shape(kind)[0])]

    def key_tokens(self, kind: str, batch: int = 0) -> list[str]:
        return [str(i) for i in range(self.shape(kind)[1])]

    def special(self, kind: str, batch: int = 0) -> list[bool]:
        return [False] * self.shape(kind)[1]

    def has_sinks(self, layer: int, *, kind: str) -> bool:
        return self.what == MEAN and self.trace.has_sinks(layer, kind=kind)

    def average(self, place: Place) -> AverageMap:
        kind, layer, head = place
        found = self.known.get(place)
        if found is None:
            found = average_map(self.trace, layer, head, kind=kind)
            if (len(self.known) + 1) * 3 * found.mean.numel() <= KEPT_WEIGHTS:
                self.known[place] = found
        return found

    def to_nothing(self, layer: int, head: int, *, kind: str, batch: int = 0) -> Tensor:
        return self.average((kind, layer, head)).to_nothing

    def pattern(self, layer: int, head: int, *, kind: str, batch: int = 0) -> Tensor:
        found = self.average((kind, layer, head))
        return found.mean if self.what == MEAN else found.spread

    def all_heads(self, layer: int, *, kind: str, batch: int = 0) -> Tensor:
        here = range(self.heads_of(layer, kind) if layer in self.attending(kind) else 0)
        maps = [self.pattern(layer, head, kind=kind) for head in here]
        found = torch.stack(maps) if maps else torch.zeros(0, *self.shape(kind))
        return padded(found, self.n_heads(kind), 0.0)

    def all_heads_of(self, layers: Sequence[int], *, kind: str, batch: int = 0) -> Tensor:
        return torch.stack([self.all_heads(layer, kind=kind) for layer in layers])

    def thumbnails(self, size: int, *, kind: str, batch: int = 0) -> Tensor:
        small = tuple(min(size, n) for n in self.shape(kind))
        every = self.all_heads_of(range(self.n_layers(kind)), kind=kind)
        return torch.stack([F.adaptive_max_pool2d(maps, small) for maps in every])


class AverageHeads(Heads):
    """Averages as heads, with their captions."""

    def __init__(self, trace: Trace, what: str, others: AverageHeads | None = None):
        self.averages = Averages(trace, what, None if others is None else others.averages)
        super().__init__(self.averages)  # type: ignore[arg-type]

    @cached_property
    def kinds(self) -> dict[str, dict[str, Any]]:
        return {kind: {**facts, **self._told(kind)} for kind, facts in self.data.kinds().items()}

    def _told(self, kind: str) -> dict[str, Any]:
        """`over` follows a head's name, `measure` labels colours, `caption` explains numbers."""
        at, what = self.averages.aligned[kind], self.averages.what
        facts: dict[str, Any] = {"over": f", {what} over {at.sentence}", "spread": what == SPREAD}
        if what == SPREAD:
            about = f"Standard deviation over {len(at.texts)} texts of each weight."
            return {**facts, "measure": "standard deviation", "caption": about}
        sums = "each row sums to 1"
        if any(self.averages.has_sinks(i, kind=kind) for i in self.averages.attending(kind)):
            sums = "each row, with what goes to nothing, sums to 1"
        if not at.same_length and not self.averages.trace.causal(kind):
            sums = "what goes to keys that not all texts have is left out of the rows"
        about = f"Mean of the weights over {len(at.texts)} texts; {sums}."
        return {**facts, "measure": "mean weight", "caption": about}

    def seen(self, place: Place, shows: Any, *, edited: bool = False) -> Seen:
        seen, facts = super().seen(place, shows, edited=edited), self.kinds[place[0]]
        return Seen(**{**vars(seen), "over": facts["over"], "spread": facts["spread"]})


def profile(trace: Trace, place: Place) -> Block:
    """A head by distance, for the browser: distances, mean, spread, and mean with shuffled keys."""
    kind, layer, head = place
    said, buffers = "", []
    if head < trace.heads_of(layer, kind):
        said = average_map(trace, layer, head, kind=kind).sentence
        if has_distance(trace, kind):
            found = by_distance(trace, layer, head, kind=kind)
            numbers = (found.distances.float(), found.mean, found.spread, found.shuffled)
            buffers = [pack_floats(each) for each in numbers]
            said = f"{said} By distance: {found.sentence[0].lower()}{found.sentence[1:]}"
    return Block(f"profile/{name_of(place)}", {"said": said}, buffers)


def names_of(trace: Trace, kind: str) -> list[str]:
    """The number and the first words of each text."""
    names = []
    for text in range(trace.batch_size):
        tokens = trace.key_tokens(kind, text)
        padding = _padding(trace, kind, text)
        real = [token for at, token in enumerate(tokens) if at not in padding]
        between = "" if any(token[:1].isspace() for token in real) else " "
        words = " ".join(between.join(real[:40]).split())
        names.append(f"{text}: {words if len(words) <= 36 else f'{words[:35]}…'}")
    return names


def _padding(trace: Trace, kind: str, text: int) -> Sequence[int]:
    mask = trace.target_mask if kind == "decoder" and trace.target is not None else trace.mask
    return [] if mask is None else (~mask[text].bool()).nonzero().flatten().tolist()
