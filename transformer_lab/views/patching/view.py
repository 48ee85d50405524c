"""Activation patching: which layers, positions and heads carry the answer between two prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import traitlets as t

from ...analysis.patching.prompt_pair import DIRECTIONS
from ...analysis.patching.results import PatchingGrids
from ...edits.kinds import EditError
from ...tracing.gradients import Logit
from ..shared.base import Answer, css, esm
from ..shared.codecs import shown_text
from ..shared.scripted import ScriptedView
from ..shared.selection import SelectionView, link_of, sizes_of
from .data import Desks, EmbeddedDesks, Place


class PatchingView(ScriptedView, SelectionView):
    """Activation patching: two prompts, a metric, and grids of how far each activation moves the
    metric toward the other run's value when it is patched in from there.

    Grids are layer × position for the residual stream and for what attention and MLP add, layer ×
    head for z, q, k, v and pattern. All cells are estimated at once (attribution patching, one
    gradient pass); a click measures a cell and shows both numbers. Estimates are hatched.

    `site`, `direction` ("denoising" patches the clean run into the corrupted one, "noising" the
    corrupted one into the clean), `layer`, `head` and `selected` (its query is the position in the
    clean prompt) can be read and set from Python; `grids` holds what is known. Views of the clean
    prompt follow the head and the position chosen here.

    Args:
        model, clean, corrupted, metric, direction, align, kind, target, position, budget_mib,
            given: as in `tl.patching_grid`.
        sites: as there; by default those that the model offers among the stream before each layer,
            the outputs of attention and MLP, z, q, k, v and pattern.
        by: "attribution"; "exact" or "both" measures every cell before any is shown.
        title: the model's name by default.
        link: as in `HeadView`, with the views of the clean prompt.

    Raises:
        EditError: as `tl.patching_grid`, in one sentence.
    """

    _esm: ClassVar[str] = esm("patching/view.js")
    _css: ClassVar[str] = css("patching")
    _folder: ClassVar[str] = "patching"
    absent: ClassVar[str] = "this page does not hold it; that needs a live kernel"
    first_results: ClassVar = SelectionView.first_results | {
        "_carried": {"travels": False},
        "_sites": [],
    }

    _sites: list[dict[str, Any]]

    site = t.Unicode("").tag(sync=True)
    direction = t.Enum(DIRECTIONS, "denoising").tag(sync=True)

    def __init__(
        self,
        model: Any,
        clean: Any,
        corrupted: Any,
        *,
        metric: Any = None,
        sites: str | Sequence[str] | None = None,
        by: str = "attribution",
        direction: str = "denoising",
        align: Any = None,
        kind: str | None = None,
        target: Any = None,
        position: int | None = None,
        budget_mib: float = 512,
        title: str | None = None,
        link: str | None = None,
        **given: Any,
    ):
        self._given = dict(
            sites=sites,
            by=by,
            kind=kind,
            target=target,
            position=position,
            budget_mib=budget_mib,
            given=given,
        )
        self._named, self._linked = title, link
        desks = Desks(model, clean, corrupted, direction, metric=metric, align=align, **self._given)
        self._embedded = EmbeddedDesks(lambda: self._desks)
        super().__init__(title=self._heading(desks), of=desks.runs())
        self.direction = direction
        self._show(desks, metric)
        self.observe(lambda _: self._tell(), "direction")

    def compare(
        self, clean: Any = None, corrupted: Any = None, *, metric: Any = None, align: Any = None
    ) -> None:
        """Show other prompts or another metric, and discard what was measured so far.

        Args:
            clean, corrupted: None keeps the current one.
            metric, align: as in `tl.patching_grid`.

        Raises:
            EditError: as `tl.patching_grid`; then nothing changes.
        """
        old = self._desks
        clean = old.clean if clean is None else clean
        corrupted = old.corrupted if corrupted is None else corrupted
        desks = Desks(
            old.model, clean, corrupted, self.direction, metric=metric, align=align, **self._given
        )
        with self.hold_sync():
            self._call(self._heading(desks), desks.runs())
            self._show(desks, metric)

    def _heading(self, desks: Desks) -> str:
        return self._named or f"{desks.pair.source.model_name or 'Model'} · activation patching"

    def _show(self, desks: Desks, metric: Any) -> None:
        self._desks = desks
        clean, pair = desks.runs()[0], desks.pair
        first, second = desks.tokens()
        shown = dict(
            clean=first,
            corrupted=second,
            columns=desks.columns(),
            places=desks.places(),
            aligned=pair.aligned,
            metric=shown_text(pair.metric.description),
        )
        with self.hold_sync():
            self._publish(
                _kinds={pair.kind: sizes_of(clean)[pair.kind]},
                _sites=desks.sizes(),
                _pair=shown,
                _code=_code_of(desks, metric),
                _asked=_asked_of(desks),
                _note=_missing(desks.grids(self.direction)),
            )
            self.selected = None
            self.kind = pair.kind
            self.link = link_of(clean) if self._linked is None else self._linked
            groups = {one["site"]: one["group"] for one in self._sites}
            if self.site not in groups:
                self.site = "resid_pre" if "resid_pre" in groups else next(iter(groups))
            self._tell()
            for cell in self.grids[self.site].top(1):
                self.layer = cell.layer
                if group := groups[self.site]:
                    self.head = cell.place * group
                else:
                    self.selected = (shown["places"][cell.place][0], None)

    def _tell(self) -> None:
        """Publish all known numbers, at least those of the direction shown."""
        self._desks.grids(self.direction)
        self._publish(**self._desks.numbers())

    @t.validate("site")
    def _check_site(self, proposal: Any) -> str:
        known = [one["site"] for one in self._sites]
        if known and proposal["value"] not in known:
            raise t.TraitError(
                f"site={proposal['value']!r} is not on view; it has {', '.join(known)}"
            )
        return proposal["value"]

    # -- results -----------------------------------------------------------------------------------

    @property
    def prompts(self) -> tuple[Any, Any]:
        """The clean and the corrupted prompt, as they were passed."""
        return self._desks.clean, self._desks.corrupted

    @property
    def grids(self) -> PatchingGrids:
        """The grids of the direction shown, as `tl.patching_grid` returns them."""
        return self._desks.grids(self.direction)

    def measure(
        self,
        cells: Iterable[Place] | str | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> PatchingGrids:
        """Measure cells of the direction shown; the view then has them beside their estimates.

        Args:
            cells, progress: as in `PatchingGrids.measure`.

        Raises:
            EditError: as there, and if the model's weights have changed since the two runs.
        """
        self._desks.measure(self.direction, cells, progress)
        self._tell()
        return self.grids

    @property
    def place(self) -> tuple[str, int, int]:
        """The chosen cell, as `measure` and `grids.edit_of` take it."""
        site, layer, column = self._shown("place")["place"]
        return site, layer, column

    # -- for the browser ----------------------------------------------------------------------------

    def _requests(self) -> dict[str, Any]:
        return super()._requests() | {
            "measure": self._measure_cells,
            "compare": self._compare_texts,
        }

    def _measure_cells(self, message: dict[str, Any]) -> Answer:
        cells = [(str(s), int(layer), int(place)) for s, layer, place in message["cells"]]
        self._desks.measure(str(message["direction"]), cells)
        self._tell()
        return {"type": "measure"}, []

    def _compare_texts(self, message: dict[str, Any]) -> Answer:
        metric = _metric_of(*map(str, message["metric"]))
        texts = str(message["clean"]), str(message["corrupted"])
        self.compare(*texts, metric=metric, align=message.get("align"))
        return {"type": "compare"}, []

    def _page_state(self, **options: Any) -> dict[str, Any]:
        for direction in DIRECTIONS if self._desks.is_fresh else ():
            self._desks.grids(direction)  # a page cannot request the other one
        self.left_out = self.stays
        return {**super()._page_state(**options), **self._desks.numbers()}


def _metric_of(answer: str, wrong: str) -> str | tuple[str, str] | None:
    """The metric that a reader typed; empty strings where nothing was typed.

    Raises:
        EditError: if only the second token is given.
    """
    if wrong and not answer:
        raise EditError(f"the token to compare {wrong!r} with is missing; give both")
    return (answer, wrong) if wrong else answer or None


def _missing(grids: PatchingGrids) -> str:
    """Which sites are missing, and why."""
    reasons: dict[str, list[str]] = {}
    for site, why in grids.missing.items():
        reasons.setdefault(shown_text(why).rstrip("."), []).append(site)
    return " ".join(f"No {', '.join(sites)}: {why}." for why, sites in reasons.items())


def _code_of(desks: Desks, metric: Any) -> str:
    """Python code that makes these grids, without the direction and the closing bracket."""
    prompts = (desks.clean, desks.corrupted)
    words = all(isinstance(one, str) for one in prompts)
    lines = [f"clean, corrupted = {desks.clean!r}, {desks.corrupted!r}"] if words else []
    found = desks.pair.metric
    if metric is None:
        text = ""
    elif found.of is not None:
        text = ", metric=metric"
    elif isinstance(metric, Logit):
        text = f", metric=tl.Logit({found.token}, {found.against}, {found.position})"
    else:
        text = f", metric={tuple(metric) if isinstance(metric, list) else metric!r}"
    align = "" if desks.align is None else f", align={desks.align!r}"
    return "\n".join([*lines, f"grids = tl.patching_grid(model, clean, corrupted{text}{align}"])


def _asked_of(desks: Desks) -> list[str]:
    """What a reader may change if prompts are texts: these, and the two words of the metric."""
    if not all(isinstance(one, str) for one in (desks.clean, desks.corrupted)):
        return []
    metric = desks.pair.metric
    ids = (None, None) if metric.of is not None else (metric.token, metric.against)
    target = desks.model.target_tokenizer
    words = ["" if i is None else target.decode([i]) for i in ids]
    return [desks.clean, desks.corrupted, *words]
