"""Activation patching: which layers, positions and heads carry the answer between two prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t

from ...analysis.patching.prompt_pair import DIRECTIONS
from ...analysis.patching.results import Cell, PatchingGrid, PatchingGrids
from ...edits.kinds import EditError
from ...edits.sites import OF_HEADS
from ...text_model import TextModel
from ...tracing.gradients import Logit
from ..pages.carrying import carry, for_readers
from ..pages.standing_by import answer_standby
from ..shared.base import Answer, css, esm
from ..shared.codecs import shown_text
from ..shared.selection import SelectionView, link_of, sizes_of
from .data import Desks, Place
from .metric import Metric, say
from .scene import patching_scene

if TYPE_CHECKING:
    from ..marks.scene import Scene


class PatchingView(SelectionView):
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

    absent: ClassVar[str] = "this page does not hold it; that needs a live kernel"
    first_results: ClassVar = SelectionView.first_results | {"_carried": {}}

    site = t.Unicode("").tag(sync=True)
    direction = t.Enum(DIRECTIONS, "denoising").tag(sync=True)

    _sites: Sequence[dict[str, Any]] = ()

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
        compared = pair.metric
        shown: dict[str, Any] = dict(clean=first, corrupted=second, columns=desks.columns())
        shown |= dict(
            places=desks.places(), aligned=pair.aligned, metric=shown_text(compared.description)
        )
        with self.hold_sync():
            self._sites, self._pair = desks.sizes(), shown
            self._publish(
                _kinds={pair.kind: sizes_of(clean)[pair.kind]},
                _sites=self._sites,
                _pair=shown,
                _code=_code_of(desks, metric),
                _asked=_asked_of(desks),
                _note=_missing(desks.grids(self.direction)),
            )
            self.selected = None
            self.kind = pair.kind
            self.link = link_of(clean) if self._linked is None else self._linked
            known = [one["site"] for one in self._sites]
            if self.site not in known:
                self.site = "resid_pre" if "resid_pre" in known else known[0]
            self._tell()
            self._choose(self.grids[self.site].top(1))

    def _choose(self, cells: Sequence[Cell]) -> None:
        """Select a cell by layer, head and position, which linked views share."""
        for cell in cells:
            self.layer = cell.layer
            if cell.site in OF_HEADS:
                self.head = cell.place * self._group(cell.site)
            else:
                self.selected = (self._pair["places"][cell.place][0], None)

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
        grid = self.grids[self.site]
        if self.site in OF_HEADS:
            column = self.head // self._group(self.site)
        else:
            query = None if self.selected is None else self.selected[0]
            places = [clean for clean, _ in self._pair["places"]]
            column = places.index(query) if query in places else len(places) - 1
        return self.site, min(self.layer, len(grid.there) - 1), min(column, grid.there.shape[1] - 1)

    def _group(self, site: str) -> int:
        """How many heads share one column of a site: keys and values may be shared."""
        width = next(one["places"] for one in self._sites if one["site"] == site)
        return max(1, self.kinds[self.kind]["heads"] // width)

    # -- for people ---------------------------------------------------------------------------------

    @property
    def sentence(self) -> str:
        site, layer, column = self.place
        cell = self.grids[site].cell(layer, column)
        where, label = column, ""
        if site not in OF_HEADS:
            where = self._pair["places"][column][0]
            label = self._pair["clean"][where]
        shared = site in OF_HEADS and self._group(site) > 1
        metric = self._metric()
        source, into = metric.runs
        values = {source: metric.source, into: metric.into}
        spot = metric.spot(
            cell.exact,
            cell.estimate,
            site=site,
            layer=layer,
            place=where,
            label=label,
            shared=shared,
        )
        return say(
            "sentence",
            metric=metric.description,
            clean=metric.amount(values["clean"]),
            spot=spot,
            corrupted=metric.amount(values["corrupted"]),
            alike=metric.alike,
            source=source,
            into=into,
        )

    def _metric(self) -> Metric:
        into, source = self._results["_runs"][self.direction]
        return Metric(self._pair["metric"], self.direction, into, source)

    def _scene(self) -> Scene:
        site, layer, column = self.place
        tokens = [self._pair["clean"][place] for place, _ in self._pair["places"]]
        grids: dict[str, PatchingGrid] = dict(self.grids.grids)
        return patching_scene(
            self._title,
            self.sentence,
            grids,
            site,
            (layer, column),
            self._metric(),
            tokens,
            {one["site"]: self._group(one["site"]) for one in self._sites},
        )

    # -- for the browser ----------------------------------------------------------------------------

    def _requests(self) -> dict[str, Any]:
        return super()._requests() | {
            "measure": self._measure_cells,
            "compare": self._compare_texts,
            "standby": lambda message: answer_standby(message, *self._for_page(), self.send),
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

    def _for_page(self) -> tuple[TextModel | None, Callable[[], str], Callable[[], dict[str, Any]]]:
        """What measures cells in the page when Python does not answer; see `answer_standby`."""
        desks = self._desks
        learned = "" if desks.is_fresh else "the model has learned since the two runs"
        why = desks.why_not_carried()
        model = desks.model if isinstance(desks.model, TextModel) else None
        return model, lambda: why or learned, desks.for_engine

    def _page(
        self, *, model: bool | None = None, precision: str = "auto", **options: Any
    ) -> Iterable[str]:
        desks, lacks = self._desks, "it measures no more cells"
        why = desks.why_not_carried()
        if why and model:
            raise ValueError(
                f"model=True: {desks.pair.source.model_name} cannot travel in this page: {why}; leave "
                "model out, and the page holds what was measured"
            )
        self.carried, why_not = (
            None,
            f"This page is a snapshot without its model, so {lacks}: {why}.",
        )
        if not why:
            self.carried, why_not = carry(
                desks.model, model, not desks.is_fresh, desks.runs(), lacks, precision
            )
        self.left_out = "" if self.carried else why_not
        return super()._page(**options)

    def _page_state(self, **options: Any) -> dict[str, Any]:
        for direction in DIRECTIONS if self._desks.is_fresh else ():
            self._desks.grids(direction)  # a page cannot request the other one
        travels = self.carried is not None
        own = self._desks.for_engine() if self.carried else {}
        return {
            **super()._page_state(**options),
            **self._desks.numbers(),
            "_carried": {
                "travels": travels,
                "bits": self.carried.bits if self.carried and self.carried.rounded else None,
                "note": self.carried.note if self.carried else "",
                **own,
            },
            "_note": " ".join(filter(None, (for_readers(self.left_out), self._results["_note"]))),
        }


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


def _asked_of(desks: Desks) -> dict[str, Any]:
    """What a reader may change if prompts are texts: these, and the tokens of the metric."""
    if not all(isinstance(one, str) for one in (desks.clean, desks.corrupted)):
        return {}
    metric = desks.pair.metric
    ids = [] if metric.of is not None else [metric.token, metric.against]
    target = desks.model.target_tokenizer
    words = ["" if i is None else target.decode([i]) for i in ids]
    return dict(clean=desks.clean, corrupted=desks.corrupted, metric=words)
