"""An image in a model: what a patch, [CLS] or a register attends to, and whether it matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...pictures.image_model import ImageModel
from ...tracing.trace import Trace
from ..pages.pictures import PictureModel
from ..shared.base import css, esm
from ..shared.codecs import png_of_bytes, shown_text
from ..shared.embedded_model import EmbeddedPictureModel
from ..shared.overlay import OverlayView, plain
from ..shared.passes import Effect
from ..shared.selection import link_of
from .data import Rows, Seen, distances, look
from .effects import Effects


class PatchView(OverlayView):
    """An image and the heads that attend to it, from a chosen patch, [CLS] or a register.

    The chosen head's weights are drawn over the image, and those of every head over thumbnails. The
    view also shows what changes when the head is ablated or an edge is cut: the classes, or the
    embedding if the model has no classes.

    `layer`, `head` and `selected` (a pair (query, key) of positions) can be read and set from
    Python, as can `fade` (0: the image alone, 1: the weights alone) and `edits`.

    Args:
        model: an `ImageModel`; or another model that reads pixels, alone or with text.
        picture: what `ImageModel.prepare` takes; for another model its `pixel_values`.
        tokens, labels: for a model that also reads text: token ids, with the image's placeholder
            tokens, and a label for each. Then each token's weights are drawn over the image, at
            first the last one's, and effects are those on the next token.
        given: further inputs of the model, by name, such as token_type_ids.
        layer, head: chosen at first; by default the last layer's first head.
        title: the model's name by default.
        link: as in `HeadView`.

    Raises:
        ValueError: for an invalid image, or a model whose patch positions are not known.
    """

    _esm: ClassVar[str] = esm("patches/view.js")
    _css: ClassVar[str] = css("patches")
    _folder: ClassVar[str] = "patches"

    def __init__(
        self,
        model: Any,
        picture: Any,
        *,
        tokens: Any = None,
        labels: Sequence[str] | None = None,
        given: Mapping[str, Any] | None = None,
        layer: int | None = None,
        head: int = 0,
        title: str | None = None,
        link: str | None = None,
    ):
        seen = look(model, picture, tokens, labels, given)
        self.model, self.trace, self._seen = model, seen.trace, seen
        trace, patches = seen.trace, seen.trace.patches
        assert patches is not None
        self._network, self._data, self._effects = seen.network, Rows(trace), Effects(seen)
        kind, n = trace.kinds[0], len(patches.labels)
        self._grid: dict[str, Any] = dict(
            rows=patches.rows,
            columns=patches.columns,
            start=patches.start,
            labels=[shown_text(x) for x in patches.labels],
            heads=[trace.heads_of(i) for i in range(trace.n_layers())],
            even=round(float(patches.distances.mean()), 1),
            first=_first(trace),
            others=_others(trace),
            padded=[i for i in trace.attending() if _reaches_beyond(trace.call(i))],
        )
        # Mean distances [layer][head]; none with a causal mask, where a patch cannot attend to all.
        nowhere = [[None] * trace.n_heads()] * trace.n_layers()
        self._far = distances(trace) if kind == "encoder" else nowhere
        super().__init__(
            title=title or trace.model_name,
            of=(trace,),
            link=link_of(trace) if link is None else link,
            _kinds={kind: dict(layers=trace.n_layers(), heads=trace.n_heads(), queries=n, keys=n)},
            _grid=self._grid,
            _picture=png_of_bytes(seen.picture),
            _far=self._far,
            _unit=self._effects.unit,
            _note=shown_text(seen.note),
        )
        self.kind = kind
        self.layer = trace.attending()[-1] if layer is None else layer
        self.head = head
        self._embedded = EmbeddedPictureModel(
            picture_model(model, seen), self._stale, self._for_page
        )
        self._hold()

    # -- for people -----------------------------------------------------------------------------

    @property
    def query(self) -> int:
        """The position that attends: the selected one, else the default."""
        chosen = self.selected[0] if self.selected else None
        return self._grid["first"] if chosen is None else chosen

    @property
    def effect(self) -> Effect | None:
        """The effect of the edits; None without edits."""
        return self._effects.of(self.edits) if self._edits else None

    def every_head(self) -> Tensor:
        """Ablate each head alone, and measure the effect, fp32 [layer, head] (see `Effect`).

        The view then shows it for every head.
        """
        sizes = self._effects.every()
        self._publish(_every=plain(sizes))
        return sizes

    def _stale(self) -> bool:
        """Whether the model's answer to this image has changed."""
        return not torch.allclose(self._effects.answer(), self._effects.before, 1e-4, 1e-4)

    def _for_page(self) -> dict[str, Any]:
        """What a page needs, besides the model's graph, to answer by name."""
        effects = self._effects
        about = dict(names=effects.names, what=effects.what, pool=effects.pool)
        return dict(about=about, shape=list(self._seen.trace.given["pixel_values"].shape))

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        if name == "picture":
            height, width, _ = self._seen.picture.shape
            return {"height": height, "width": width}, [self._seen.picture.numpy().tobytes()]
        if name == "far":
            return {"values": self._far}, []
        return super()._part_named(name)

    def _heads(self) -> list[int]:
        return self._grid["heads"]


def picture_model(model: Any, seen: Seen) -> PictureModel:
    """The model in the form in which a page embeds it, or why it cannot."""
    given, whole = seen.trace.given, model if isinstance(model, ImageModel) else None
    why = ""
    if seen.trace.tokens is not None:
        why = "it reads a text beside the image, and a page runs models of one of them"
    elif set(given) != {"pixel_values"}:
        why = "it was given more than pixel_values, which a page does not pass on"
    pixels = given["pixel_values"].detach().cpu() if not why else torch.zeros(0)
    return PictureModel(seen.network.module, seen.trace.model_name, pixels, whole, why)


def _first(trace: Trace) -> int:
    """The default position: the text's last token, [CLS], or a patch in the middle."""
    patches = trace.patches
    assert patches is not None
    if trace.tokens is not None:
        return len(patches.labels) - 1
    return 0 if patches.before else patches.position(patches.rows // 2, patches.columns // 2)


def _reaches_beyond(call: Any) -> bool:
    """Whether attention windows extend beyond the image."""
    return getattr(call, "windows", None) is not None and call.has_rest


def _others(trace: Trace) -> str | None:
    """The name of the positions that are not patches; None if there are none."""
    patches = trace.patches
    assert patches is not None
    labels = [shown_text(x) for x in patches.labels]
    return others_name(labels, patches.start, patches.n) if trace.tokens is None else "the text"


def others_name(labels: Sequence[str], start: int, n: int) -> str | None:
    """The name of the positions that are not patches; None if there are none."""
    others = [*labels[:start], *labels[start + n :]]
    kinds = dict.fromkeys(label.rstrip(" 0123456789") for label in others)
    names = [kind if kind in others else f"{kind}s" for kind in kinds]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or None
