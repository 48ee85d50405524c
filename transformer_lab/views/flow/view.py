"""How a logit is built up: what heads carry between tokens, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t

from ...edits.kinds import Edit
from ...tracing.gradients import as_token_id
from ..pages.export import Block
from ..shared.base import css, esm
from ..shared.codecs import shown_text
from ..shared.embedded_model import EmbeddedModel
from ..shared.scripted import ScriptedView
from ..shared.selection import SelectionView, check_places, check_traced, sizes_of, traits_of
from ..shared.traits import Float, Int
from .data import Cut, FlowData, FlowFound, edits_of, read_name

if TYPE_CHECKING:
    from ...analysis.patching.circuit_scores import Circuit
    from ...tracing.trace import Trace
    from ..marks.scene import Scene

PAGE_CUTS = 24  # a saved page holds the result of cutting each of so many edges alone


class FlowView(ScriptedView, SelectionView):
    """How one logit is built up: tokens from left to right, layers from bottom to top, an edge for what a
    head carries from one token to another toward that logit.

    With attention patterns and norms frozen, everything drawn sums to the logit (see
    `tl.circuits.token_flow`). A threshold hides small edges. A click cuts an edge before the
    softmax, runs the model again and shows how the prediction changes.

    `position`, `token` (None: the likeliest), `threshold` (a fraction of the largest edge) and
    `cuts` (a list of (layer, head, query, key)) can be read and set from Python; so can `layer`,
    `head` and `selected`, the edge in focus, which the other views of the page follow. A saved page
    holds the effect of cutting each of the 24 largest edges alone. It can embed the model, as an
    `Explorer`'s page does (`save_html(path, model=None)`), and then follows every logit of other
    texts, under any cuts.

    Args:
        trace: what `transformer_lab.trace` returned, for a model with one stack.
        token: a token, or its id; the likeliest one at the position by default.
        against: a second token; the difference of the two logits is followed.
        position: where the prediction is read.
        circuit: what `tl.circuit` found in this model: its heads stand out, and its scores are
            shown with their controls.
        cuts, threshold: initial values.
        batch: which text of the trace.
        title: the model's name by default.
        link: as in `HeadView`.

    Raises:
        ValueError: for a token or position that does not exist, a text of over 256 tokens, a model
            whose logits are not such a sum (with the reason), and a circuit of another model.
    """

    _esm: ClassVar[str] = esm("flow/view.js")
    _css: ClassVar[str] = css("flow")
    _folder: ClassVar[str] = "flow"

    position = Int(0, below=lambda self: len(self._data.tokens)).tag(sync=True)
    token = Int(None, allow_none=True, below=lambda self: self._data.vocabulary).tag(sync=True)
    threshold = Float(0.05, within=(0, 1)).tag(sync=True)
    cuts = t.List().tag(sync=True)

    _options = t.Dict().tag(sync=True)  # circuit: whether its heads stand out

    def __init__(
        self,
        trace: Trace,
        token: int | str | None = None,
        position: int = -1,
        *,
        against: int | str | None = None,
        circuit: Circuit | None = None,
        cuts: Sequence[Cut] = (),
        threshold: float = 0.05,
        batch: int = 0,
        title: str | None = None,
        link: str | None = None,
    ):
        check_traced(trace, batch)
        ids = getattr(trace.text_model, "token_id", None)
        token = None if token is None else as_token_id("token", token, ids)
        against = None if against is None else as_token_id("against", against, ids)
        self.trace, self._data = trace, FlowData(trace, batch, against)
        n = len(self._data.tokens)
        if not -n <= position < n:
            raise ValueError(f"position={position} is outside the {n} tokens (−{n} … {n - 1})")
        check_places(token=(token, self._data.vocabulary), against=(against, self._data.vocabulary))
        self._circuit = {} if circuit is None else self._laid_over(circuit)
        self._embedded = EmbeddedModel(self._subjects, written=True)
        super().__init__(
            **traits_of(trace, batch, title, link, "Flow"),
            _kinds=sizes_of(trace),
            _tokens=self._data.tokens,
            _circuit=self._circuit,
            _against=against,
        )
        self.kind = trace.kinds[0]
        self.position, self.token, self.threshold = position % n, token, threshold
        self.cuts = list(cuts)
        self._hold()

    @t.validate("cuts")
    def _check_cuts(self, proposal: Any) -> list[Cut]:
        n, data, found = len(self._data.tokens), self._data, set()
        for cut in proposal["value"]:
            if not isinstance(cut, list | tuple) or len(cut) != 4:
                raise t.TraitError(f"cuts holds {cut!r}, which is no (layer, head, query, key)")
            names, limits = ("layer", "head", "query", "key"), (data.layers, data.heads, n, n)
            places = dict(zip(names, zip(cut, limits, strict=True), strict=True))
            try:
                check_places(**places)
            except (ValueError, TypeError) as error:
                raise t.TraitError(f"cuts holds {tuple(cut)}: {error}") from error
            found.add(tuple(int(x) for x in cut))
        return sorted(found)

    # -- for people -----------------------------------------------------------------------------

    @property
    def edits(self) -> list[Edit]:
        """The edges that are cut, as edits."""
        return edits_of(self.cuts)

    @property
    def found(self) -> FlowFound:
        """The flow that is shown; its `flow` is a `TokenFlow`."""
        return self._data.found(self.position, self.token, tuple(self.cuts))

    @property
    def shown(self) -> int:
        """The number of edges shown, largest first."""
        return int(self._shown("marked")["marked"]["edges"])

    def _scene(self) -> Scene:
        scene = super()._scene()
        over = self._circuit if self._options.get("circuit", True) else {}
        return replace(scene, sentence=f"{scene.sentence} {over.get('sentence', '')}".strip())

    def _laid_over(self, circuit: Circuit) -> dict[str, Any]:
        """A circuit's heads and its sentence.

        Raises:
            ValueError: if it is not a circuit, or one of another model.
        """
        if not hasattr(circuit, "faithfulness"):
            raise ValueError(
                f"circuit is a {type(circuit).__name__}; give what tl.circuit returned"
            )
        heads = []
        for node in circuit.nodes:
            layer, dot, head = node[1:].partition(".h")
            if dot:
                heads.append((int(layer), int(head)))
        for layer, head in heads:
            if layer >= self._data.layers or head >= self._data.heads:
                raise ValueError(
                    f"circuit has head {head} of layer {layer}, and {self.trace.model_name} has "
                    f"{self._data.layers} layers of {self._data.heads} heads"
                )
        return {"heads": heads, "sentence": shown_text(f"The circuit: {circuit.sentence}")}

    # -- for the browser ------------------------------------------------------------------------

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        info, data = self._data.block(*read_name(name))
        return info, [data]

    def _page_state(self, **options: Any) -> dict[str, Any]:
        state = super()._page_state(**options)
        if not self.carried:
            held = "This page holds the flow on view, and those with one edge more or less cut."
            state["_note"] = " ".join(filter(None, (state["_note"], held)))
        return state

    def _blocks(self) -> Iterable[Block]:
        """Flows with one more of the largest edges cut, and with one of the cuts undone."""
        now = set(self.cuts)
        edges: list[Cut] = [tuple(place) for place in self.found.places[:PAGE_CUTS].tolist()]
        for edge in [*edges, *sorted(now)]:
            cuts = tuple(sorted(now ^ {edge}))
            info, data = self._data.block(self.position, self.token, cuts)
            yield Block(info["names"][-1], info, [data])
