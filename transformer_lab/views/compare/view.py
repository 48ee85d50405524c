"""Two prompts, two models or two checkpoints side by side, and where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ...tracing.running import trace
from ...tracing.trace import Trace
from ..pages.export import Block
from ..shared.base import css, esm
from ..shared.codecs import pack_floats, shown_text
from ..shared.embedded_model import EmbeddedModel
from ..shared.scripted import ScriptedView
from ..shared.selection import SelectionView, link_of
from .data import CompareData

if TYPE_CHECKING:
    from ...text_model import TextModel
    from ...training.run import Run

ALL_MAPS_BYTES = 4 * 2**20


class CompareView(ScriptedView, SelectionView):
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
    _folder: ClassVar[str] = "compare"
    shown = SelectionView.chosen_head

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
        )
        self._hold()

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
        """kind -> its sizes and axes; and the number of bytes of all maps."""
        kinds, maps = {}, 0
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
                "nothing": sinks,
            }
            maps += layers * heads * 2 * len(queries) * (len(keys) + sinks)
        return kinds, 4 * maps

    # -- what is shown ------------------------------------------------------------------------------

    def maps(self) -> tuple[Tensor, Tensor]:
        """Weights [query, key] of a and b on the aligned axes; NaN where a token is missing."""
        n_key = len(self._data.keys[self.chosen_head[0]])
        first, second = self._whole_maps()
        return first[:, :n_key], second[:, :n_key]

    def to_nothing(self) -> tuple[Tensor, Tensor] | None:
        """Attention to no key of a and b, [query], NaN where a token is missing.

        None if no head of this kind has sinks.
        """
        kind, layer, head = self.chosen_head
        if not self._data.sinks[kind]:
            return None
        first, second = self._data.nothing(kind, layer)[:, head]
        return first, second

    def _whole_maps(self) -> tuple[Tensor, Tensor]:
        """The maps, with attention to no key as a further key."""
        kind, layer, head = self.chosen_head
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

    # -- for the browser ----------------------------------------------------------------------------

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        kind, *place = name.split("/")
        if kind == "moved":
            return {}, [pack_floats(self._data.moved(place[0]))]
        layer, head = map(int, place)
        return {}, [pack_floats(self._data.layer(kind, layer)[:, head])]

    def _held(self) -> Iterable[str]:
        return self._every_head() if self._holds_all else ()

    def _every_head(self) -> Iterable[str]:
        """The names of all heads' maps."""
        for kind, sizes in self.kinds.items():
            for layer, count in enumerate(sizes["counts"]):
                yield from (f"{kind}/{layer}/{head}" for head in range(count))

    def _blocks(self, **options: Any) -> Iterable[Block]:
        if not self._holds_all:
            yield from (Block(name, *self._part_named(name)) for name in self._every_head())
