"""Embeddings, or the residual stream of texts, as a cloud that can be rotated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t

from ...text_model import TextModel
from ..pages.export import Block
from ..pages.script import plotly_script
from ..shared.base import css, esm
from ..shared.scripted import ScriptedView
from ..shared.selection import SelectionView, link_of, sizes_of
from ..shared.traits import Int
from .data import Cloud, Points, of_table, of_traces, text_names

VECTORS = "vectors"  # the name of the row in `of_vectors`

if TYPE_CHECKING:
    from torch import Tensor

    from ...tracing.trace import Trace

MOST = 1000  # points


class EmbeddingView(ScriptedView, SelectionView):
    """The residual stream of one or several texts as points, one per token, in the first three
    principal components: after a chosen layer, or as paths through all layers. For a model's token
    embeddings see `EmbeddingView.of_vocabulary`.

    The control for the variance that three components hold is as many vectors of the same lengths
    in random directions; that cloud can be shown too. Near in the picture is not near in the model:
    the sentence says how much of a token's distance the picture shows.

    `row` (0: before the first block, layer + 1: after a layer), `shows` ("layer", "paths" or
    "random"), `colour` ("token", "position", "length", "text" or "label", whichever exist) and
    `selected` (the chosen token is the query) can be read and set from Python.

    Args:
        trace: what `tl.trace` returned with keep="all", or several, for texts of one model.
        kind: "decoder" or "encoder"; by default the trace's first choice.
        batch: which text of the trace; every text by default.
        labels: a word for each point, to colour by.
        without: positions of tokens to leave out. In many models the first token's vector is so
            long that it hides all others.
        row: shown at first; by default after the last layer.
        most: most points that are shown; the sentence says what was left out.
        title: the model's name by default.
        link: as in `HeadView`, for one text; views of several texts are not linked.

    Raises:
        ValueError: if `trace` is not a trace, or arguments do not fit it.
        TraceError: if the stream was not kept, or is not known.
    """

    _esm: ClassVar[str] = esm("embeddings/view.js")
    _css: ClassVar[str] = css("embeddings")
    _folder: ClassVar[str] = "embeddings"
    absent: ClassVar[str] = "plotly’s script, which turns the cloud, is not in this page"

    row = Int(0, below=lambda self: len(self._points.get("where", [])) or 1).tag(sync=True)
    shows = t.Unicode("layer").tag(sync=True)
    colour = t.Unicode("token").tag(sync=True)

    _camera = t.List().tag(sync=True)  # position of the reader's camera, x, y, z

    def __init__(
        self,
        trace: Trace | Sequence[Trace] | Points,
        *,
        kind: str | None = None,
        batch: int | None = None,
        labels: Sequence[str] | None = None,
        without: Sequence[int] = (),
        row: int | None = None,
        most: int = MOST,
        title: str | None = None,
        link: str | None = None,
    ):
        points, shared = trace, None
        if not isinstance(points, Points):
            traces: Any = [trace] if hasattr(trace, "residual_norms") else trace
            if not isinstance(traces, (list, tuple)) or not traces:
                raise ValueError(f"trace is a {type(trace).__name__}; {_WANTED}")
            for one in traces:
                if not hasattr(one, "residual_norms"):
                    raise ValueError(f"trace holds a {type(one).__name__}; {_WANTED}")
            first = traces[0]
            kind = kind or ("decoder" if "decoder" in first.kinds else first.kinds[0])
            if any(kind not in one.kinds for one in traces) or kind == "cross":
                known = ", ".join(k for k in first.kinds if k != "cross")
                raise ValueError(
                    f"kind={kind!r} has no stream in every trace; the first has {known}"
                )
            batches = [
                range(one.batch_size) if batch is None else [one.text(batch)] for one in traces
            ]
            points = of_traces(traces, kind, batches, _count(most), without, labels)
            if len(set(points.texts)) == 1 and len(traces) == 1:
                shared = kind, sizes_of(first), link_of(first) if link is None else link
            title = title or first.model_name or "Residual stream"
        rows, n = points.vectors.shape[:2]
        own = {"points": dict(layers=max(1, rows - 1), heads=1, queries=n, keys=n)}
        self._cloud = Cloud(points)
        self._points, self._choices = _described(points)
        kind, sizes, link = shared or ("points", own, "")
        super().__init__(
            title=title or "Vectors",
            of=points.of,
            link=link,
            _kinds=sizes,
            _points=self._points,
            _choices=self._choices,
            _needs=["plotly"],
        )
        self.kind = kind
        self.colour = "label" if points.labels else "token"
        self.row = rows - 1 if row is None else row
        if self.row and kind != "points":
            self.layer = self.row - 1
        self.observe(self._follow_layer, "layer")
        self._hold()

    @classmethod
    def of_vocabulary(
        cls,
        model: Any,
        *,
        kind: str | None = None,
        labels: Sequence[str] | None = None,
        most: int = MOST,
        title: str | None = None,
    ) -> EmbeddingView:
        """The learned token embeddings of a `TextModel`.

        Shows every token of the vocabulary, or of a larger one `most` tokens, evenly spaced.

        Args:
            kind: "encoder" or "decoder", if they differ.
            labels: a word for each token of the vocabulary; by default its kind, such as "number".

        Raises:
            ValueError: if `model` is not a TextModel.
            PartsError: for a model whose embeddings are not found.
        """
        if not isinstance(model, TextModel):
            raise ValueError(
                f"model is a {type(model).__name__}; give a TextModel: tl.TextModel(model, tokenizer)"
            )
        kinds = model.network.kinds
        side = kind or ("encoder" if "encoder" in kinds else "decoder")
        if side not in kinds or side == "cross":
            raise ValueError(f"kind={kind!r} is not in this model; it has {', '.join(kinds)}")
        table = model.network.alone().table(side)
        coder = model.target_tokenizer if side == "decoder" else model.tokenizer
        names = [_name(coder, i) for i in range(len(table))]
        points = of_table(table, names, _count(most), labels)
        points = replace(points, of=[model])
        return cls(points, title=title or f"{model.name or 'Model'} · vocabulary")

    @classmethod
    def of_vectors(
        cls,
        vectors: Tensor,
        names: Sequence[str],
        *,
        labels: Sequence[str] | None = None,
        most: int = MOST,
        title: str = "Vectors",
    ) -> EmbeddingView:
        """Any vectors [vector, d], with a name for each.

        Raises:
            ValueError: if there are not as many names or labels as vectors.
        """
        if len(names) != len(vectors):
            raise ValueError(f"names has {len(names)} entries; there are {len(vectors)} vectors")
        return cls(of_table(vectors, list(names), _count(most), labels, VECTORS), title=title)

    # -- choices --------------------------------------------------------------------------------

    @property
    def colours(self) -> list[str]:
        """What points can be coloured by."""
        return self._choices["colour"]

    @t.validate("shows", "colour")
    def _check_choice(self, proposal: Any) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        known = self._choices[name]
        if value not in known:
            raise t.TraitError(f"{name}={value!r} is not here; choose one of {', '.join(known)}")
        return value

    def _follow_layer(self, change: Any) -> None:
        if self.kind != "points" and self.row != change["new"] + 1:
            self.row = min(change["new"] + 1, self._cloud.rows - 1)

    # -- for people -----------------------------------------------------------------------------

    @property
    def point(self) -> int | None:
        """The number of the chosen point."""
        return self._shown("point")["point"]

    def coordinates(self) -> Tensor:
        """Coordinates of the points as shown, fp64 [point, 3]."""
        return self._cloud.coordinates(self.shows, self.row)

    def explained(self) -> tuple[list[float], list[float]]:
        """The fraction of variance in each of three components, of the tokens and the control."""
        own, chance = self._cloud.part(self.shows, self.row)[0]["shares"]
        return own, chance

    # -- for the browser ------------------------------------------------------------------------

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        if name == "plotly":
            return {}, [plotly_script()]
        shows, row = name.split("/")
        return self._cloud.part(shows, int(row))

    def _held(self) -> Iterable[str]:
        for shows in self._choices["shows"]:
            for row in range(1 if shows == "paths" else self._cloud.rows):
                yield f"{shows}/{row}"

    def _blocks(self) -> Iterable[Block]:
        yield Block("plotly", {}, [plotly_script()])


_WANTED = (
    "give what transformer_lab.trace(..., keep='all') returned, or a list of those; for the "
    "embeddings of a model EmbeddingView.of_vocabulary(model)"
)


def _described(points: Points) -> tuple[dict[str, Any], dict[str, Any]]:
    """The points in words, and the values that each choice may have."""
    found = {name: list(getattr(points, name)) for name in ("tokens", "positions", "where")}
    names = text_names(points.tokens, points.texts)
    texts = [names[i] for i in points.texts] if len({*points.texts}) > 1 else []
    colours = {"text": texts, "label": [*points.labels]}
    further = [name for name, values in colours.items() if values]
    rows = len(points.where)
    return {**found, **colours, "sample": points.sample}, {
        "shows": ["layer", "paths", "random"] if rows > 1 else ["layer", "random"],
        "colour": ["token", "position", "length", *further],
        "row": list(range(rows)),
    }


def _count(most: Any) -> int:
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"most={most!r} must be a whole number of at least 1")
    return most


def _name(coder: Any, i: int) -> str:
    """A token's name, or its id where the vocabulary has a gap."""
    try:
        return coder.tokens([i])[0]
    except (IndexError, KeyError, ValueError):
        return str(i)
