"""Two prompts, two models or two checkpoints side by side, and where they differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ...tracing.running import trace
from ...tracing.trace import Trace
from ..pages.export import Block
from ..shared.base import css, esm
from ..shared.codecs import pack_floats, shown_text
from ..shared.embedded_model import EmbeddedModel
from ..shared.messages import messages, numbered
from ..shared.selection import SelectionView, link_of
from .data import CompareData
from .scene import compare_scene

if TYPE_CHECKING:
    from ...text_model import TextModel
    from ...training.run import Run
    from ..marks.scene import Scene

ALL_MAPS_BYTES = 4 * 2**20
NO_MOVE = 5e-4  # a smaller change of a weight counts as none

say = messages("compare")


class CompareView(SelectionView):
    """The heads of two traces, a and b: both maps and their difference on aligned tokens, and how
    much of each head's attention moved between them.

    Tokens are aligned by difflib; a token that only one text has is a gap in the other's map.
    Replacements by the same number of tokens (a minimal pair) are paired, as "tired/wide". A page
    of two texts of one `TextModel` can embed the model, as an `Explorer`'s page does
    (`save_html(path, model=None)`), and then compares other texts.

    `selected` is a pair of indices on the aligned axes. `layer`, `head`, `kind` and `selected` can
    be read and set from Python.

    Args:
        a, b: traces of models with the same number of layers and heads.
        names: of the two sides.
        layer, head, kind: chosen at first; by default the head that differs most.
        title: the models' names by default.

    Raises:
        ValueError: if the two differ in shape, have no token in common, or are too long.
    """

    _esm: ClassVar[str] = esm("compare/view.js")
    _css: ClassVar[str] = css("compare")

    def __init__(
        self,
        a: Trace,
        b: Trace,
        *,
        names: Sequence[str] = ("A", "B"),
        layer: int | None = None,
        head: int | None = None,
        kind: str | None = None,
        batches: tuple[int, int] = (0, 0),
        title: str | None = None,
    ):
        for name, given in (("a", a), ("b", b)):
            if not hasattr(given, "thumbnails"):
                raise ValueError(
                    f"{name} is a {type(given).__name__}; give what transformer_lab.trace(...) "
                    "returned, or use CompareView.of_texts, of_models or of_steps"
                )
        if len(names) != 2 or names[0] == names[1]:
            raise ValueError(f"names={list(names)} must be two different names")
        data = CompareData(a, b, batches)
        kind = kind or ("decoder" if "decoder" in data.kinds else data.kinds[0])
        if kind not in data.kinds:
            raise ValueError(f"kind={kind!r} is not in both; they have {', '.join(data.kinds)}")
        grid = data.moved(kind)
        if layer is None and head is None:
            layer, head = data.foremost(kind)
        layer, head = layer or 0, head or 0
        for name, value, count in zip(("layer", "head"), (layer, head), grid.shape, strict=True):
            if not 0 <= value < count:
                raise ValueError(f"{name}={value} is outside 0 … {count - 1}")
        self.a, self.b, self._data = a, b, data
        same = all(
            aligned.first == aligned.second
            for aligned in (*data.queries.values(), *data.keys.values())
        )
        kinds, whole = self._describe(a, b)
        self._holds_all = whole <= ALL_MAPS_BYTES
        self._names = [shown_text(name) for name in names]
        place = f"{kind}/{layer}/{head}"
        found = {a.model_name, b.model_name} - {""}
        self._embedded = EmbeddedModel(self._subjects, lambda: self._names)
        super().__init__(
            title=title or " and ".join(sorted(found)) or "Compare",
            of=(a, b),
            _names=self._names,
            _kinds=kinds,
            kind=kind,
            layer=layer,
            head=head,
            link=link_of(a) if same else "",
            _maps=self._all_maps() if self._holds_all else b"",
            _first={} if self._holds_all else {"name": place},
            _first_data=b"" if self._holds_all else self._head_bytes(kind, layer, head),
            _moved=b"".join(pack_floats(data.moved(k)) for k in data.kinds),
        )

    @classmethod
    def of_texts(cls, model: TextModel, a: str, b: str, **options: Any) -> CompareView:
        """One model on two texts, such as a minimal pair."""
        return cls(model.trace(a), model.trace(b), **options)

    @classmethod
    def of_models(cls, a: Any, b: Any, text: Any, **options: Any) -> CompareView:
        """Two models (TextModels, or models for token ids) on one text."""
        names = [getattr(model, "name", "") for model in (a, b)]
        if all(names) and names[0] != names[1]:
            options = {"names": names, **options}
        return cls(trace(a, text), trace(b, text), **options)

    @classmethod
    def of_steps(
        cls, run: Run, a: int, b: int, *, labels: Sequence[str] | None = None, **options: Any
    ) -> CompareView:
        """Two snapshots of a run on its probe."""
        options = {
            "names": (f"step {a}", f"step {b}"),
            "title": run.folder.resolve().name or "Run",
            **options,
        }
        return cls(run.trace(a, labels=labels), run.trace(b, labels=labels), **options)

    def _describe(self, a: Trace, b: Trace) -> tuple[dict[str, Any], int]:
        """kind -> its sizes, axes and offsets; and the number of bytes of all maps."""
        kinds, moved, maps = {}, 0, 0
        for kind in self._data.kinds:
            queries, keys = self._data.queries[kind], self._data.keys[kind]
            layers, heads, sinks = a.n_layers(kind), a.n_heads(kind), self._data.sinks[kind]
            kinds[kind] = {
                "layers": layers,
                "heads": heads,
                "counts": self._data.counts[kind],
                "queries": len(queries),
                "keys": len(keys) + sinks,
                "query_names": queries.names,
                "key_names": self._data.key_names(kind),
                "query_parts": [queries.first, queries.second],
                "key_parts": [keys.first, keys.second],
                "causal": bool(a.causal(kind) and b.causal(kind)),
                "moved": moved,
                "maps": maps,
                "nothing": sinks,
            }
            moved += layers * heads
            maps += layers * heads * 2 * len(queries) * (len(keys) + sinks)
        return kinds, 4 * maps

    # -- what is shown ------------------------------------------------------------------------------

    @property
    def shown(self) -> tuple[str, int, int]:
        """(kind, layer, head) that is shown: the chosen one, or the nearest that exists."""
        kind, layer, head = self.chosen_head
        counts = self._data.counts[kind]
        having = [i for i, count in enumerate(counts) if count]
        layer = min(having, key=lambda one: abs(one - layer))
        return kind, layer, min(head, counts[layer] - 1)

    def maps(self) -> tuple[Tensor, Tensor]:
        """Weights [query, key] of a and b on the aligned axes; NaN where a token is missing."""
        n_key = len(self._data.keys[self.shown[0]])
        first, second = self._whole_maps()
        return first[:, :n_key], second[:, :n_key]

    def to_nothing(self) -> tuple[Tensor, Tensor] | None:
        """Attention to no key of a and b, [query], NaN where a token is missing.

        None if no head of this kind has sinks.
        """
        kind, layer, head = self.shown
        if not self._data.sinks[kind]:
            return None
        first, second = self._data.nothing(kind, layer)[:, head]
        return first, second

    def _whole_maps(self) -> tuple[Tensor, Tensor]:
        """The maps, with attention to no key as a further key."""
        kind, layer, head = self.shown
        first, second = self._data.layer(kind, layer)[:, head]
        return first, second

    def difference(self) -> Tensor:
        """b − a, [query, key]; NaN where either has a gap."""
        first, second = self.maps()
        return second.double() - first.double()

    def moved(self, kind: str | None = None) -> Tensor:
        """The fraction of each head's attention that moved from a to b, 0 … 1, [layer, head].

        The mean over queries of half the sum of |b − a| over keys; NaN if there is no such head.
        """
        return self._data.moved(kind or self.kind)

    @property
    def sentence(self) -> str:
        return say("sentence", **self._values(*(self.selected or (None, None))))

    def _values(self, query: int | None, key: int | None) -> dict[str, Any]:
        """The values in the sentence."""
        kind, layer, head = self.shown
        a, b = self._names
        values: dict[str, Any] = dict(
            several=len(self.kinds) > 1, kind=kind, layer=layer, head=head, a=a, b=b
        )
        if query is not None and key is not None:
            return values | {"focus": "pair"} | self._pair(query, key)
        first, second = self._whole_maps()
        change = (second.double() - first.double()).abs().nan_to_num(-1)
        change = change if query is None else change[query][None]
        row, column = divmod(int(change.argmax()), change.shape[1])
        if float(change[row, column]) < NO_MOVE:
            values["change"] = None
        else:
            pair = self._pair(row if query is None else query, column)
            values["change"] = say("pair", a=a, b=b, **pair)
        if query is not None:
            x, y = first[query].double(), second[query].double()
            share = float((y.nan_to_num(0) - x.nan_to_num(0)).abs().sum() / 2)
            only = b if bool(x.isnan().all()) else a if bool(y.isnan().all()) else None
            name = numbered(self._data.queries[kind].names, query)
            return values | dict(focus="query", query=name, share=share, only=only)
        moved = self.moved(kind)
        best = self._data.foremost(kind)
        both = self._data.queries[kind].both
        return values | dict(
            focus="head",
            shared=int(both.sum()),
            gaps=int((~both).sum()),
            share=float(moved[layer, head]),
            top=float(moved[best]),
            best=best == (layer, head),
            best_layer=best[0],
            best_head=best[1],
        )

    def _pair(self, query: int, key: int) -> dict[str, Any]:
        """The values in a sentence about two tokens; `nothing`: the key is attention to no key."""
        kind = self.shown[0]
        x, y = (float(weights[query, key]) for weights in self._whole_maps())
        nothing = bool(self._data.sinks[kind]) and key == len(self._data.keys[kind])
        return dict(
            query=numbered(self._data.queries[kind].names, query),
            key=numbered(self._data.key_names(kind), key),
            nothing=nothing,
            later=self.kinds[kind]["causal"] and key > query and not nothing,
            x=None if math.isnan(x) else x,
            y=None if math.isnan(y) else y,
        )

    def _scene(self) -> Scene:
        kind, layer, head = self.shown
        query, key = self.selected or (None, None)
        if key == len(self._data.keys[kind]):
            key = None  # attention to no key has no column: its row is marked
        selected = None if query is None and key is None else (query, key)
        return compare_scene(
            self._title,
            self.sentence,
            (self._names[0], self._names[1]),
            self.moved(),
            self.maps(),
            self.difference(),
            self._data.queries[kind].names,
            self._data.keys[kind].names,
            layer,
            head,
            self.kinds[kind]["causal"],
            selected,
            self.to_nothing(),
        )

    # -- for the browser ----------------------------------------------------------------------------

    def _head_bytes(self, kind: str, layer: int, head: int) -> bytes:
        return pack_floats(self._data.layer(kind, layer)[:, head])

    def _all_maps(self) -> bytes:
        return b"".join(
            pack_floats(self._data.layer(kind, layer).transpose(0, 1))
            for kind in self._data.kinds
            for layer in range(self.a.n_layers(kind))
        )

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        kind, layer, head = name.split("/")
        return {}, [self._head_bytes(kind, int(layer), int(head))]

    def _page_state(self, **options: Any) -> dict[str, Any]:
        state = super()._page_state(**options)
        if not self._holds_all:
            name = "/".join(map(str, self.shown))
            state.update(_first={"name": name}, _first_data=self._head_bytes(*self.shown))
        return state

    def _blocks(self, **options: Any) -> Iterable[Block]:
        if self._holds_all:
            return
        for kind, sizes in self.kinds.items():
            for layer in range(sizes["layers"]):
                maps = self._data.layer(kind, layer)
                for head in range(sizes["heads"]):
                    yield Block(f"{kind}/{layer}/{head}", {}, [pack_floats(maps[:, head])])
