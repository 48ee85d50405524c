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
from ..shared.codecs import pack_floats
from ..shared.messages import messages
from ..shared.selection import SelectionView, link_of, sizes_of
from ..shared.traits import Int
from .data import Cloud, Points, of_table, of_traces, text_names
from .scene import cloud_scene

say = messages("embeddings")
VECTORS = "vectors"  # the name of the row in `of_vectors`

if TYPE_CHECKING:
    from torch import Tensor

    from ...tracing.trace import Trace
    from ..marks.scene import Scene

MOST = 1000  # points


class EmbeddingView(SelectionView):
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
        if isinstance(trace, Points):
            own = _own_sizes(trace)
            self._begin(trace, title or "Vectors", trace.of, "", own, "points", row or 0)
            return
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
            raise ValueError(f"kind={kind!r} has no stream in every trace; the first has {known}")
        batches = [range(one.batch_size) if batch is None else [one.text(batch)] for one in traces]
        points = of_traces(traces, kind, batches, _count(most), without, labels)
        alone = len(set(points.texts)) == 1 and len(traces) == 1
        given = link_of(first) if link is None else link
        sizes = sizes_of(first) if alone else _own_sizes(points)
        self._begin(
            points,
            title or first.model_name or "Residual stream",
            traces,
            given if alone else "",
            sizes,
            kind if alone else "points",
            row,
        )

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

    def _begin(
        self,
        points: Points,
        title: str,
        of: Sequence[Any],
        link: str,
        sizes: dict[str, Any],
        kind: str,
        row: int | None,
    ) -> None:
        self._cloud = cloud = Cloud(points)
        self._shares: dict[str, Any] = cloud.shares()
        self._points: dict[str, Any] = {
            name: list(getattr(points, name))
            for name in ("tokens", "positions", "texts", "labels", "where")
        }
        self._points |= {"sample": points.sample, "stream": kind, "own": kind == "points"}
        self._points["text_names"] = text_names(points.tokens, points.texts)
        super().__init__(
            title=title,
            of=of,
            link=link,
            _kinds=sizes,
            _points=self._points,
            _shares=self._shares,
            _coordinates=cloud.packed(),
            _norms=pack_floats(cloud.norms),
            _needs=["plotly"],
        )
        self.kind = kind
        self.colour = "label" if points.labels else "token"
        self.row = cloud.rows - 1 if row is None else row
        if self.row and not self._points["own"]:
            self.layer = self.row - 1
        self.observe(self._follow_layer, "layer")

    # -- choices --------------------------------------------------------------------------------

    @property
    def colours(self) -> list[str]:
        """What points can be coloured by."""
        several = {
            "text": len(set(self._points["texts"])) > 1,
            "label": bool(self._points["labels"]),
        }
        return ["token", "position", "length", *(name for name, there in several.items() if there)]

    @t.validate("shows", "colour")
    def _check_choice(self, proposal: Any) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        paths = ["paths"] if len(self._points["where"]) > 1 else []
        known = self.colours if name == "colour" else ["layer", *paths, "random"]
        if value not in known:
            raise t.TraitError(f"{name}={value!r} is not here; choose one of {', '.join(known)}")
        return value

    def _follow_layer(self, change: Any) -> None:
        if not self._points["own"] and self.row != change["new"] + 1:
            self.row = min(change["new"] + 1, self._cloud.rows - 1)

    # -- for people -----------------------------------------------------------------------------

    @property
    def point(self) -> int | None:
        """The number of the chosen point."""
        query, key = self.selected or (None, None)
        token = query if query is not None or self.kind == "cross" else key
        if self._points["own"]:
            return token
        positions = self._points["positions"]
        return positions.index(token) if token in positions else None

    def coordinates(self) -> Tensor:
        """Coordinates of the points as shown, fp64 [point, 3]."""
        return self._cloud.coordinates(self.shows, self.row)

    def explained(self) -> tuple[list[float], list[float]]:
        """The fraction of variance in each of three components, of the tokens and the control."""
        if self.shows == "paths":
            return self._shares["paths"][0], self._shares["paths"][1]
        return self._shares["layer"][self.row], self._shares["random"][self.row]

    @property
    def sentence(self) -> str:
        points, point = self._points, self.point
        shares, chance = self.explained()
        lone = self._shares["lone"][self.row]
        tokens, positions = points["tokens"], points["positions"]
        values: dict[str, Any] = dict(shows=self.shows, where=points["where"][self.row])
        values |= dict(layers=len(points["where"]) - 1, points=len(tokens))
        values |= dict(sample=points["sample"] or None, whole=sum(shares), chance=sum(chance))
        values |= dict(lone=None, token=None)
        values |= dict(**dict(zip(("first", "second", "third"), shares, strict=True)))
        if lone is not None and self.shows != "paths":
            at, share = lone
            values |= dict(lone=tokens[at], lone_at=positions[at], lone_share=share)
        if point is not None:
            kept = self._cloud.kept(self.shows, self.row)[point]
            values |= dict(token=tokens[point], position=positions[point], kept=float(kept))
            values["norm"] = float(self._cloud.norms[self.row, point])
        return say("sentence", **values)

    def _scene(self) -> Scene:
        points, cloud, shows = self._points, self._cloud, self.shows
        shares, chance = self.explained()
        paths = cloud.paths.coordinates if shows == "paths" and cloud.paths is not None else None
        colours = {
            "token": points["tokens"],
            "position": points["positions"],
            "label": points["labels"],
            "length": cloud.norms[self.row].tolist(),
            "text": [points["text_names"][i] for i in points["texts"]],
        }
        return cloud_scene(
            self._title,
            self.sentence,
            cloud.coordinates(shows, self.row),
            None if paths is None else paths.unflatten(0, (cloud.rows, -1)),
            chance if shows == "random" else shares,
            cloud.norms[self.row],
            cloud.kept(shows, self.row),
            points,
            self.colour,
            colours[self.colour],
            self.point,
        )

    # -- for the browser ------------------------------------------------------------------------

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        return ({}, [plotly_script()]) if name == "plotly" else super()._part_named(name)

    def _blocks(self) -> Iterable[Block]:
        yield Block("plotly", {}, [plotly_script()])


_WANTED = (
    "give what transformer_lab.trace(..., keep='all') returned, or a list of those; for the "
    "embeddings of a model EmbeddingView.of_vocabulary(model)"
)


def _own_sizes(points: Points) -> dict[str, Any]:
    """Sizes of a cloud that shares its selection with no other view."""
    rows, n = points.vectors.shape[:2]
    return {"points": dict(layers=max(1, rows - 1), heads=1, queries=n, keys=n)}


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
