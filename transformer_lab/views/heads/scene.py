"""The scene of a HeadView: thumbnails of all heads, the map of the chosen one, pinned maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from ..marks.scene import Axis, Matrix, Panel, Scene, Thumbnails, causal_gaps
from ..shared.exports import Array, Numbers
from ..shared.map_sentences import TO_NOTHING, say
from ..shared.messages import short

NUMBERED = 12  # up to this many tokens, every weight is written into its cell
COLUMNS = 4  # maps of a layer in a row
LONGEST = 1024  # most tokens of a map that are drawn
MAP = ("query", "key")
Part = tuple[str, int, int]


@dataclass(frozen=True)
class PinnedMap:
    """A head pinned beside the chosen one.

    weights [query, key] as shown; nothing [query], as in ShownHead; known: its label and its
    effect, if they are known.
    """

    layer: int
    head: int
    weights: Tensor
    nothing: Tensor | None = None
    known: str = ""


@dataclass(frozen=True)
class ShownHead:
    """The chosen head, and those pinned beside it.

    thumbnails [layer, head, small, small]; weights [query, key] as shown.
    """

    title: str
    sentence: str
    thumbnails: Tensor
    weights: Tensor
    queries: Sequence[str]
    keys: Sequence[str]
    layer: int
    head: int
    causal: bool
    hidden: Sequence[int] = ()
    selected: tuple[int | None, int | None] | None = None
    value_weighted: bool = False
    nothing: Tensor | None = None  # [query]: attention to no key, for heads with sinks
    measure: str = "attention weight"  # label of the colours
    block: tuple[tuple[int, int], tuple[int, int]] | None = None  # the part of the map this is
    ahead: int | None = (
        None  # keys beyond its own index that a causal query attends to; None: keys − queries
    )
    known: str = ""  # as in PinnedMap
    pins: Sequence[PinnedMap] = ()
    end: float | None = None  # the largest value over several maps on one scale
    size: int = 1  # tokens per side of a cell; in a long text a cell is the largest of its weights
    tokens: tuple[int, int] | None = (
        None  # (queries, keys) of the text, if a cell covers several tokens
    )
    # (name, start, end) of named parts of the queries and of the keys
    parts: tuple[Sequence[Part], Sequence[Part]] = ((), ())

    @property
    def whole(self) -> tuple[int, int]:
        """(queries, keys) of the text."""
        return self.tokens or (len(self.queries), len(self.keys))

    def part(self, a: tuple[int, int], b: tuple[int, int]) -> ShownHead:
        """The block of the map with the queries of a and the keys of b, (start, end) each.

        Cells of several tokens are included if they overlap it.
        """
        a, b = ((start // self.size, -(-end // self.size)) for start, end in (a, b))
        inside = [
            at is None or start <= at < end
            for at, (start, end) in zip(self.selected or (None, None), (a, b), strict=True)
        ]
        moved = [
            at if at is None else at - start
            for at, (start, _) in zip(self.selected or (None, None), (a, b), strict=True)
        ]
        n_query, n_key = self.weights.shape
        return replace(
            self,
            weights=self.weights[slice(*a), slice(*b)],
            queries=self.queries[slice(*a)],
            keys=self.keys[slice(*b)],
            hidden=[i - b[0] for i in self.hidden if b[0] <= i < b[1]],
            selected=(moved[0], moved[1]) if self.selected and all(inside) else None,
            nothing=None,
            block=(a, b),
            ahead=n_key - n_query + a[0] - b[0],
            pins=[
                replace(pin, weights=pin.weights[slice(*a), slice(*b)], nothing=None)
                for pin in self.pins
            ],
            parts=(parts_within(self.parts[0], *a), parts_within(self.parts[1], *b)),
        )

    def side_by_side(self) -> Sequence[ShownHead]:
        """The chosen map and the pinned ones as separate maps on one scale."""
        alone = replace(self, pins=(), end=self.largest)
        return [alone] + [
            replace(
                alone,
                layer=pin.layer,
                head=pin.head,
                weights=pin.weights,
                nothing=pin.nothing,
                known=pin.known,
            )
            for pin in self.pins
        ]

    @property
    def largest(self) -> float:
        """The largest absolute value that is drawn; 1 if all are 0."""
        if self.end is not None:
            return self.end
        maps = [self.weights, self.nothing]
        maps += [one for pin in self.pins for one in (pin.weights, pin.nothing)]
        return max(float(x.abs().max()) for x in maps if x is not None) or 1.0

    @property
    def means(self) -> str:
        """Label of the colours."""
        return "weight × value length" if self.value_weighted else self.measure

    @property
    def named(self) -> str:
        known = f" · {self.known}" if self.known else ""
        return f"layer {self.layer}, head {self.head}{known}"


def parts_within(parts: Sequence[Part], start: int, end: int) -> list[Part]:
    """Named parts cut to the range start … end of an axis, counted from its start."""
    inside = [(name, max(a, start), min(b, end)) for name, a, b in parts]
    return [(name, a - start, b - start) for name, a, b in inside if a < b]


def shown_map(shown: ShownHead, weights: Tensor | None = None) -> np.ndarray:
    """Weights [query, key], NaN where the causal mask blocks attention or the reader hides a key.

    By default those of the chosen head.
    """
    weights = shown.weights if weights is None else weights
    n_query, n_key = weights.shape
    ahead = n_key - n_query if shown.ahead is None else shown.ahead
    cells = causal_gaps(weights, ahead) if shown.causal else weights.float().cpu().numpy().copy()
    cells[:, [key for key in shown.hidden if key < n_key]] = np.nan
    return cells


def map_of(
    shown: ShownHead, *, means: str = "", signed: bool = False, square: bool = True
) -> Matrix:
    """A head's map. `means`: label of the colour scale; "" draws no scale."""
    cells = shown_map(shown)
    n_query, n_key = cells.shape
    tokens = shown.size == 1
    of_rows, of_columns = shown.parts
    rows = Axis("query" if tokens else "queries", shown.queries[:n_query], tokens, of_rows)
    columns = Axis("key" if tokens else "keys", shown.keys[:n_key], tokens, of_columns)
    largest = shown.largest
    text = None
    if max(n_query, n_key) <= NUMBERED and shown.end is None and not signed:
        text = [[short(float(x)) if x >= 0.005 else "" for x in line] for line in cells]
    return Matrix(
        cells,
        rows,
        columns,
        means,
        largest if signed or not 0.5 < largest <= 1.001 else 1.0,
        signed=signed,
        power=0.5,
        text=text,
        chosen=shown.selected,
        square=square,
        name=f"layer {shown.layer}, head {shown.head}",
        beside=None if shown.nothing is None else shown.nothing.float().cpu().numpy(),
        beside_name=TO_NOTHING,
    )


def map_panels(shown: ShownHead, means: str, *, signed: bool = False) -> list[Panel]:
    """The chosen map, and the pinned ones beside it on one scale."""
    if not shown.pins:
        return [Panel("", map_of(shown, means=means, signed=signed), 0.64)]
    return [
        Panel(one.named, map_of(one, means="" if i else means, signed=signed))
        for i, one in enumerate(shown.side_by_side())
    ]


def heads_panel(shown: ShownHead, off: Sequence[tuple[int, int]] = ()) -> Panel:
    """Thumbnails of all heads."""
    small = Thumbnails(shown.thumbnails, [(shown.layer, shown.head)], off)
    return Panel("every head: layer ↓ head →", small, 0.36)


def in_rows(panels: Sequence[Panel], columns: int) -> list[list[Panel]]:
    return [list(panels[i : i + columns]) for i in range(0, len(panels), columns)]


def head_scene(shown: ShownHead) -> Scene:
    maps = map_panels(shown, shown.means)
    rows = [[heads_panel(shown), *maps]] if len(maps) == 1 else [[heads_panel(shown)]]
    rows += [] if len(maps) == 1 else in_rows(maps, 2)
    title = f"{shown.title} · layer {shown.layer}, head {shown.head}"
    return Scene(title, shown.sentence + left_out(shown), rows, head_numbers(shown))


def layer_scene(shown: ShownHead, heads: Sequence[ShownHead]) -> Scene:
    """Draw all heads of a layer side by side, on one scale."""
    end = max(one.largest for one in heads)
    panels = [
        Panel(f"head {head}", map_of(replace(one, end=end), means="" if head else shown.means))
        for head, one in enumerate(heads)
    ]
    title = f"{shown.title} · layer {shown.layer}, every head"
    return Scene(title, left_out(shown).strip(), in_rows(panels, COLUMNS), head_numbers(shown))


def every_head_scene(shown: ShownHead, *, sinks: bool = False) -> Scene:
    """Draw thumbnails of all heads; with long texts each cell is the largest weight of its part.

    sinks: whether some heads can attend to no key, which thumbnails do not show.
    """
    layers, heads, height, width = shown.thumbnails.shape
    pooled = (height, width) != shown.whole
    rows, columns = (
        Axis(
            "queries" if pooled else "query",
            [_part(i, n, whole) for i in range(n)] if pooled else names,
        )
        for n, whole, names in zip(
            (height, width), shown.whole, (shown.queries, shown.keys), strict=True
        )
    )
    largest = float(shown.thumbnails.max()) or 1.0
    end = 1.0 if 0.5 < largest <= 1.001 else largest
    panels = [
        [
            Panel(
                f"L{layer}H{head}",
                Matrix(
                    shown.thumbnails[layer, head],
                    rows,
                    columns,
                    end=end,
                    power=0.5,
                    bare=True,
                    name=f"layer {layer}, head {head}",
                ),
            )
            for head in range(heads)
        ]
        for layer in range(layers)
    ]
    said = "Row: layer; column: head."
    if pooled:
        said += (
            f" Each map is {height} × {width} cells of {shown.whole[0]} × {shown.whole[1]} weights; "
            "a cell shows its largest."
        )
    if sinks:
        said += " What goes to nothing is in none of them."
    return Scene(f"{shown.title} · every head", said, panels, head_numbers(shown))


def left_out(shown: ShownHead) -> str:
    """A sentence about the part of a long text that is not drawn; "" for shorter texts."""
    n = max(shown.weights.shape)
    return f" The first {LONGEST} of {n} tokens are drawn." if n > LONGEST else ""


def _part(at: int, parts: int, n: int) -> str:
    """The positions in one of `parts` parts of n, divided as in adaptive pooling."""
    first, last = at * n // parts, -(-(at + 1) * n // parts) - 1
    return str(first) if first == last else f"{first}–{last}"


# -- for files ----------------------------------------------------------------------------------


def head_numbers(shown: ShownHead, change: bool = False) -> Numbers:
    """The chosen head, [query, key]; change: whether weights are the difference that edits make."""
    return Numbers(head_arrays(shown, change), head_axes(shown))


def head_axes(shown: ShownHead) -> dict[str, Sequence[str]]:
    n_query, n_key = shown.weights.shape
    return {"query": shown.queries[:n_query], "key": shown.keys[:n_key]}


def head_arrays(shown: ShownHead, change: bool = False) -> list[Array]:
    (q, q_end), (k, k_end) = shown.block or ((0, 1), (0, 1))
    hidden = ", ".join(map(str, shown.hidden)) or None
    ends = dict(q=q, q_end=q_end - 1, k=k, k_end=k_end - 1, block=shown.block is not None)
    what = dict(value=shown.value_weighted, measure=shown.measure, hidden=hidden, error=None)
    means = say("is_map", change=change, **ends, **what)
    name = "spread" if shown.measure == "standard deviation" else "change" if change else "weight"
    found = [Array(name, shown_map(shown), MAP, means)]
    found += [
        Array(
            f"{name}_layer_{pin.layer}_head_{pin.head}", shown_map(shown, pin.weights), MAP, means
        )
        for pin in shown.pins
    ]
    if shown.nothing is not None:
        found.append(Array("nothing", shown.nothing, ("query",), say("is_nothing")))
    return found
