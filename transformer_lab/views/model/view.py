"""The whole model as one animated picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t

from ...edits.constructors import edit_from_dict
from ...edits.interventions import editable, tap_for
from ...edits.kinds import Edit, EditError
from ...tracing.trace import TraceError
from ..block.data import BlockData
from ..pages.export import Block
from ..shared.base import css, esm
from ..shared.codecs import pack_floats
from ..shared.embedded_model import EmbeddedModel
from ..shared.messages import translated
from ..shared.scripted import ScriptedView
from ..shared.selection import (
    SelectionView,
    check_places,
    check_traced,
    kind_of,
    sizes_of,
    traits_of,
)
from ..shared.traits import Int
from .data import NO_EDITS, WINDOW, ModelData, Pass, edits_name

if TYPE_CHECKING:
    from ...tracing.trace import Trace

PAGE_BYTES = 4 * 2**20  # limit on maps in a saved page without a model
PAGE_LENS = 1.5e10  # multiplications spent on the logit lens of a saved page
PAGE_WALKS = 8  # blocks that a page without a model can open; each costs a pass
MASKS = ("[MASK]", "<mask>")


class ModelView(ScriptedView, SelectionView):
    """The whole model at work on one text: an animation of the forward pass, step by step.

    Each token is a line (its residual stream, as wide as the stream is long), layers go from top to
    bottom, curves show what attention carries between tokens (weight times the length of what the
    value adds, one colour per head), boxes what the MLP adds, and the right edge what the model
    would predict if it stopped there. Heads can be switched off and edges cut; a layer opens into
    `BlockView`'s steps, a head into its attention pattern.

    `step` (None: the end), `first` (the first token shown, for texts of over 64 tokens; None: a
    decoder's last 64, an encoder's first 64), `edits`, `layer`, `head`, `kind` and `selected` can
    be read and set from Python. A saved page can embed the model, as an `Explorer`'s page does
    (`save_html(path, model=None)`), and then takes other texts and edits; a page without the model
    plays the saved pass.

    Args:
        trace: what `transformer_lab.trace` returned; with keep="all" for more than lengths.
        layer, head: the initial selection; by default the edge that carries most to the token.
        edits: those in force at the start.
        batch: which text of the trace.
        title: the model's name by default.
        link: as in `HeadView`.
        language: of the view, "en" or "de".

    Raises:
        ValueError: if the trace has no such layer, head or text, or for another language; an
            `EditError` for an edit that fits nothing in the model.
    """

    _esm: ClassVar[str] = esm("model/view.js")
    _css: ClassVar[str] = css("model", "block")
    _folder: ClassVar[str] = "model"

    absent: ClassVar[str] = "this page does not hold it"

    step = Int(None, allow_none=True, below=lambda self: len(self._steps)).tag(sync=True)
    first = Int(None, allow_none=True, below=lambda self: self._length).tag(sync=True)

    _edits = t.List().tag(sync=True)

    def __init__(
        self,
        trace: Trace,
        layer: int | None = None,
        head: int | None = None,
        *,
        edits: Sequence[Edit] = (),
        batch: int = 0,
        title: str | None = None,
        link: str | None = None,
        language: str = "en",
    ):
        translation = translated("model", language)
        check_traced(trace, batch)
        self.trace, self._data = trace, ModelData(trace, batch)
        sizes, main = sizes_of(trace), self._data.main
        check_places(layer=(layer, sizes[main]["layers"]), head=(head, sizes[main]["heads"]))
        self._batch = batch
        self._about = self._model()
        super().__init__(
            **traits_of(trace, batch, title, link, "The model"),
            _kinds=sizes,
            _stacks=self._data.tokens,
            _about=self._about,
            _messages=translation,
        )
        self._embedded = EmbeddedModel(self._subjects)
        self.kind = kind_of(trace, main)
        strongest = self._strongest() if layer is None or head is None else (0, 0)
        self.layer = strongest[0] if layer is None else layer
        self.head = strongest[1] if head is None else head
        self.edits = edits
        self._hold()

    def _model(self) -> dict[str, Any]:
        """What the browser needs to know about the model."""
        data, trace = self._data, self.trace
        try:
            known = bool(trace.residual_norms(data.main, data.batch).numel())
        except TraceError:
            known = False
        return {
            "main": data.main,
            "here": "decoder" not in trace.kinds,
            "positions": self._walks.positions,
            "classes": trace.logits is None and trace.answers is not None,
            "start": self._start,
            "first": data.last,
            "norms": known,
            "weighted": trace.value_note.startswith("‖"),
            "window": WINDOW,
            "none": {kind: data.without(kind) for kind in trace.kinds},
        }

    @cached_property
    def _start(self) -> int:
        """The token shown if none is selected: the last; for an encoder the first mask or token."""
        tokens = self._data.tokens[self._data.main]
        if "decoder" in self.trace.kinds:
            return len(tokens) - 1
        return next((i for i, token in enumerate(tokens) if token in MASKS), 0)

    def _strongest(self) -> tuple[int, int]:
        """Layer and head of the edge that carries most to the token."""
        best, found = (self.trace.attending(self.kind)[0], 0), 0.0
        for at, edges in self.found.edges.items():
            step = self.found.steps[at]
            if step["kind"] != self.kind:
                continue
            for (head, query, _), size in zip(
                edges.places.tolist(), edges.carried[0].tolist(), strict=True
            ):
                if query == self.token and size > found:
                    best, found = (step["layer"], head), size
        return best

    # -- edits ----------------------------------------------------------------------------------

    @property
    def edits(self) -> list[Edit]:
        """Edits to the model's pass, made by `tl.ablate`, `tl.knock_out` and similar functions."""
        return [edit_from_dict(values) for values in self._edits]

    @edits.setter
    def edits(self, edits: Sequence[Edit]) -> None:
        self._edits = [one.to_dict() for one in edits]

    @t.validate("_edits")
    def _check_edits(self, proposal: Any) -> list[dict[str, Any]]:
        try:
            for values in proposal["value"]:
                if self.trace.network is None:
                    raise EditError("this trace has no model, so nothing can be switched off")
                tap_for(editable(self.trace.network), edit_from_dict(values))
        except EditError as error:
            raise t.TraitError(f"edits: {error}") from None
        return proposal["value"]

    # -- for people -----------------------------------------------------------------------------

    @property
    def _length(self) -> int:
        return len(self._data.tokens[self._data.main])

    @property
    def _from(self) -> int:
        return self._data.last if self.first is None else self.first

    @property
    def found(self) -> Pass:
        """The pass that is shown, without and with the edits."""
        return self._data.found(self._from, edits_name(self._edits))

    @property
    def _steps(self) -> list[dict[str, Any]]:
        return self.found.steps

    @property
    def token(self) -> int:
        """The position of the selected token in the stack that predicts."""
        main = self._data.main
        query = self.selected[0] if self.selected and self.kind in (main, "cross") else None
        return min(self._start if query is None else query, self._length - 1)

    @property
    def answers(self) -> list[tuple[str, float, float]]:
        """Predictions at the token: (token, probability without the edits, with them)."""
        return [tuple(row) for row in self._said["answers"]]  # type: ignore[misc]

    @property
    def _said(self) -> dict[str, Any]:
        return self._data.lens(self.token, edits_name(self._edits))

    # -- for the browser ------------------------------------------------------------------------

    @cached_property
    def _walks(self) -> BlockData:
        return BlockData(self.trace, self._batch)

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        what, _, of = name.partition("/")
        if what in ("pass", "likely"):
            at, _, edits = of.partition("/")
            if not at.isdigit() or not int(at) < self._length:
                raise ValueError(f"{at[:20]} is outside the {self._length} tokens")
            if what == "likely":
                return self._data.lens(int(at), edits), [b""]
            info, data = self._data.block(int(at), edits)
            return info, [data]
        if what == "map":
            kind, layer, head, edits = of.split("/", 3)
            return {}, [pack_floats(self._data.map(kind, int(layer), int(head), edits))]
        if what == "walk":
            return self._walks.part(name)
        return super()._part_named(name)

    def _blocks(self) -> Iterable[Block]:
        edits = edits_name(self._edits)
        if edits != NO_EDITS:
            info, data = self._data.block(self._from, NO_EDITS)
            yield Block(f"pass/{self._from}/{NO_EDITS}", info, [data])
        if self.carried:
            return
        for name in self._stored(edits):
            try:
                info, buffers = self._part_named(name)
            except ValueError:  # a block that is not a sum of known parts, or a missing map
                continue
            yield Block(name, info, buffers)

    def _stored(self, edits: str) -> Iterable[str]:
        """Names of what a page without the model holds besides the pass that is shown."""
        data, trace, main = self._data, self.trace, self._data.main
        seen = data.window(main, self._from)
        cost = trace.n_layers(main) * (1 if trace.logits is None else trace.logits.shape[-1]) * 1e3
        shown = sorted(seen, key=lambda at: abs(at - self.token))
        yield from (f"likely/{at}/{edits}" for at in shown[: max(1, int(PAGE_LENS / cost))])
        left = PAGE_BYTES
        for kind, size in self.kinds.items():
            for layer in trace.attending(kind):
                for head in range(trace.heads_of(layer, kind)):
                    left -= 4 * size["queries"] * size["keys"]
                    if left > 0:
                        yield f"map/{kind}/{layer}/{head}/{edits}"
        if data.is_whole:
            near = sorted(trace.attending(main), key=lambda layer: abs(layer - self.layer))
            yield from (f"walk/{main}/{i}/{self.head}/{self.token}" for i in near[:PAGE_WALKS])
