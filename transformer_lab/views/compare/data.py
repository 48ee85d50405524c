"""Two traces on one pair of axes: tokens aligned, maps side by side, how much attention moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch
from torch import Tensor

from ...graphs import analyses
from ...tracing.trace import Trace
from ..shared.codecs import shown_token
from ..shared.map_sentences import TO_NOTHING

LONGEST = 256  # tokens of the aligned texts


@dataclass(frozen=True)
class Aligned:
    """Tokens of two texts side by side: for each place the index in either, or -1 for a gap."""

    names: list[str]
    first: list[int]
    second: list[int]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def both(self) -> Tensor:
        """Bool [place]: a token of either text stands there."""
        return (torch.tensor(self.first) >= 0) & (torch.tensor(self.second) >= 0)


def align(first: Sequence[str], second: Sequence[str]) -> Aligned:
    """Tokens that are equal, in order, stand together (difflib's longest matching blocks); so do as
    many tokens in the place of as many others, named "tired/wide". All others stand alone."""
    names, left, right = [], [], []
    matcher = SequenceMatcher(None, list(first), list(second), autojunk=False)
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag in ("equal", "replace") and a_end - a == b_end - b:
            for i, j in zip(range(a, a_end), range(b, b_end), strict=True):
                same = first[i] == second[j]
                names.append(
                    shown_token(first[i])
                    if same
                    else f"{shown_token(first[i])}/{shown_token(second[j])}"
                )
                left.append(i)
                right.append(j)
            continue
        for i in range(a, a_end):
            names.append(shown_token(first[i]))
            left.append(i)
            right.append(-1)
        for j in range(b, b_end):
            names.append(shown_token(second[j]))
            left.append(-1)
            right.append(j)
    return Aligned(names, left, right)


def spread(weights: Tensor, queries: Sequence[int], keys: Sequence[int]) -> Tensor:
    """Maps [..., query, key] on aligned axes: NaN where a token is missing."""
    q, k = torch.tensor(queries), torch.tensor(keys)
    found = weights[..., q.clamp(min=0), :][..., k.clamp(min=0)]
    missing = (q < 0)[:, None] | (k < 0)[None]
    return found.masked_fill(missing, float("nan"))


class CompareData:
    """Two traces, aligned.

    Raises:
        ValueError: when their kinds, layers or heads differ, or the texts are too long.
    """

    def __init__(self, first: Trace, second: Trace, batches: tuple[int, int] = (0, 0)):
        self.traces, self.batches = (first, second), batches
        self.kinds = [kind for kind in first.kinds if kind in second.kinds]
        if not self.kinds:
            raise ValueError(
                f"a has {', '.join(first.kinds)} attention and b has {', '.join(second.kinds)}: "
                "there is nothing to compare"
            )
        self.queries: dict[str, Aligned] = {}
        self.keys: dict[str, Aligned] = {}
        for kind in self.kinds:
            shapes = [(t.n_layers(kind), t.n_heads(kind)) for t in self.traces]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    f"a has {shapes[0][0]} layers × {shapes[0][1]} heads and b has {shapes[1][0]} × "
                    f"{shapes[1][1]}; compare models of one shape, head by head"
                )
            for axis, tokens in (("queries", "query_tokens"), ("keys", "key_tokens")):
                labels = [
                    getattr(trace, tokens)(kind, batch)
                    for trace, batch in zip(self.traces, batches, strict=True)
                ]
                found = align(*labels)
                if len(found) > LONGEST:
                    raise ValueError(
                        f"the aligned texts have {len(found)} tokens; up to {LONGEST} can be shown "
                        "side by side: compare parts of them, or give each its tl.views.HeadView"
                    )
                getattr(self, axis)[kind] = found
        self._moved: dict[str, Tensor] = {}
        self.counts = {kind: self._counts(kind) for kind in self.kinds}
        """kind -> how many heads each layer has; 0 for one without attention."""
        self.sinks = {
            kind: any(t.has_sinks(i, kind=kind) for t in self.traces for i in t.attending(kind))
            for kind in self.kinds
        }

    def _counts(self, kind: str) -> list[int]:
        layers = range(self.traces[0].n_layers(kind))
        return [min(t.heads_of(i, kind) for t in self.traces) for i in layers]

    def key_names(self, kind: str) -> list[str]:
        """Of the keys of `layer`."""
        return [*self.keys[kind].names, *([TO_NOTHING] if self.sinks[kind] else [])]

    def nothing(self, kind: str, layer: int) -> Tensor:
        """[2, head, query] on aligned axes: what goes to no key; 0 where heads may not look there."""
        sides = []
        for trace, batch, axis in zip(self.traces, self.batches, ("first", "second"), strict=True):
            there = trace.heads_of(layer, kind) if trace.has_sinks(layer, kind=kind) else 0
            found = torch.zeros(trace.n_heads(kind), trace.shape(kind)[0])
            for head in range(there):
                found[head] = trace.to_nothing(layer, head, kind=kind, batch=batch).cpu()
            places = getattr(self.queries[kind], axis)
            sides.append(spread(found[..., None], places, [0])[..., 0])
        return torch.stack(sides)

    def layer(self, kind: str, layer: int) -> Tensor:
        """[2, head, query, key] on aligned axes; what goes to nothing is one key more, the last, where
        heads of the kind may look there."""
        queries, keys = self.queries[kind], self.keys[kind]
        axes = ((queries.first, keys.first), (queries.second, keys.second))
        maps = [
            spread(trace.all_heads(layer, kind=kind, batch=batch).cpu(), rows, columns)
            for trace, batch, (rows, columns) in zip(self.traces, self.batches, axes, strict=True)
        ]
        found = torch.stack(maps)
        if not self.sinks[kind]:
            return found
        return torch.cat((found, self.nothing(kind, layer)[..., None].to(found)), -1)

    def moved(self, kind: str) -> Tensor:
        """[layer, head], NaN where there is no such head; computed once."""
        if kind not in self._moved:
            both = self.queries[kind].both
            if not both.any():
                raise ValueError(
                    "the two texts have no token in common; there is nothing to compare"
                )
            layers = (self.layer(kind, i) for i in range(self.traces[0].n_layers(kind)))
            found = torch.stack(
                [analyses.moved(maps[0], maps[1], both)["moved"] for maps in layers]
            )
            missing = torch.arange(found.shape[1]) >= torch.tensor(self.counts[kind])[:, None]
            self._moved[kind] = found.masked_fill(missing, float("nan"))
        return self._moved[kind]

    def foremost(self, kind: str) -> tuple[int, int]:
        """(layer, head) of which most attention moved."""
        moved = self.moved(kind)
        layer, head = divmod(int(moved.nan_to_num(-1).argmax()), moved.shape[1])
        return layer, head
