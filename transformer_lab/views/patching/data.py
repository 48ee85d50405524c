"""Activation patching in both directions, and its data for the browser."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch

from ...analysis.patching.patching_grid import WAYS, desk_of
from ...analysis.patching.prompt_pair import DIRECTIONS, Pair
from ...analysis.patching.results import PatchingGrid, PatchingGrids
from ...attention import Tap
from ...edits.kinds import EditError
from ...edits.sites import OF_HEADS
from ...text_model import TextModel
from ...tracing.trace import Trace
from ..pages.carried import Carried, why_not
from ..pages.carrying import carry
from ..pages.standing_by import answer_standby
from ..shared.codecs import pack_floats, shown_token
from ..shared.embedded_model import Answer, EmbeddedModel
from ..shared.weights import weights_mark

SITES = ("resid_pre", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern")
Place = tuple[str, int, int]


class Desks:
    """Activation patching of two prompts; the grids of each direction are computed lazily.

    Args:
        options: further arguments of `patching_grid`.
    """

    def __init__(self, model: Any, clean: Any, corrupted: Any, direction: str, **options: Any):
        if options["by"] not in WAYS:
            raise EditError(f"by must be one of {', '.join(WAYS)}, got {options['by']!r}")
        self.model, self.clean, self.corrupted = model, clean, corrupted
        self.by, self.sites = options.pop("by"), options.pop("sites")
        self.align = options["align"]
        self._options = options
        self._found: dict[str, tuple[Pair, PatchingGrids]] = {}
        self.pair = self._of(direction)[0]
        self._mark = weights_mark(self.pair.network.module)

    @property
    def is_fresh(self) -> bool:
        """Whether the weights are still those of the two runs."""
        return self._mark == weights_mark(self.pair.network.module)

    def grids(self, direction: str) -> PatchingGrids:
        return self._of(direction)[1]

    def measure(
        self,
        direction: str,
        cells: Iterable[Place] | str | None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Measure cells of one direction.

        Raises:
            EditError: as `PatchingGrids.measure`, and if the weights have changed since the runs.
        """
        pair, grids = self._of(direction)
        if not self.is_fresh:
            raise EditError(
                f"the weights of {pair.source.model_name} have changed since these two runs; make a "
                "new view"
            )
        self._found[direction] = pair, grids.measure(cells, progress=progress)

    def _sides(self, source: Any, into: Any) -> tuple[Any, Any]:
        """(of the clean prompt, of the corrupted one)"""
        return (source, into) if self.pair.denoises else (into, source)

    def runs(self) -> tuple[Trace, Trace]:
        """The traces of the clean prompt and of the corrupted one."""
        return self._sides(self.pair.source, self.pair.into)

    def places(self) -> list[tuple[int, int]]:
        """(position in the clean prompt, in the corrupted one) of all paired positions."""
        return [self._sides(a, b) for a, b in self.pair.pairs]

    def tokens(self) -> tuple[list[str], list[str]]:
        """The tokens of the first clean and the first corrupted text, as shown."""
        labels = (self.pair.source_labels, self.pair.labels)
        return self._sides(*(list(map(shown_token, x)) for x in labels))

    def columns(self) -> list[tuple[int | None, int | None, bool]]:
        """Aligned prompts: (position in the clean one, in the corrupted one, whether they differ).

        Unpaired tokens have None on the other side, and are left out if pairs are out of order.
        """
        first, second = self._sides(*map(self._ids, (self.pair.source_of, self.pair.into_of)))
        pairs, found = self.places(), []
        rising = all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(pairs))
        at, end = [0, 0], (len(first), len(second))
        for pair in [*pairs, end]:
            if rising:
                found += [(i, None, True) for i in range(at[0], pair[0])]
                found += [(None, i, True) for i in range(at[1], pair[1])]
                at = [pair[0] + 1, pair[1] + 1]
            if pair is not end:
                found.append((*pair, first[pair[0]] != second[pair[1]]))
        return found

    def _ids(self, swept: Any) -> list[Any]:
        inputs = swept.inputs
        read = inputs.tokens if inputs.target is None or swept.kind == "encoder" else inputs.target
        labels = self.pair.source_labels if swept is self.pair.source_of else self.pair.labels
        return labels if read is None else read[0].tolist()

    def _of(self, direction: str) -> tuple[Pair, PatchingGrids]:
        if direction not in self._found:
            desk = desk_of(
                self.model,
                self.clean,
                self.corrupted,
                sites=SITES if self.sites is None else self.sites,
                optional=self.sites is None,
                direction=direction,
                **self._options,
            )
            grids = desk.grids(estimated=self.by != "exact")
            self._found[direction] = (
                desk.pair,
                grids if self.by == "attribution" else grids.measure(),
            )
        return self._found[direction]

    # -- for the browser ----------------------------------------------------------------------------

    def sizes(self) -> list[dict[str, Any]]:
        """Each site's number of columns, how many of these each layer has, and how many heads share
        one; 0 if they are positions."""
        grids = next(iter(self._found.values()))[1]
        heads = self.runs()[0].n_heads(self.pair.kind)
        return [
            dict(
                site=site,
                group=max(1, heads // grid.there.shape[1]) if site in OF_HEADS else 0,
                places=grid.there.shape[1],
                there=grid.there.sum(1).tolist(),
            )
            for site, grid in grids.items()
        ]

    def numbers(self) -> dict[str, Any]:
        """Estimates and exact effects [direction, site, layer, place], NaN where unknown.

        Also the metric in the two runs of each direction.
        """
        shapes = [grid.there.shape for grid in next(iter(self._found.values()))[1].values()]

        def packed(name: str) -> bytes:
            parts = []
            for direction in DIRECTIONS:
                if direction in self._found:
                    grids = self._found[direction][1].values()
                    parts += [getattr(grid, name).flatten() for grid in grids]
                else:
                    parts += [torch.full((shape.numel(),), torch.nan) for shape in shapes]
            return pack_floats(torch.cat(parts))

        runs = {}
        for direction, (_, grids) in self._found.items():
            one: PatchingGrid = next(iter(grids.values()))
            runs[direction] = [one.into, one.source]
        return dict(_estimates=packed("estimate"), _exact=packed("exact"), _runs=runs)

    def for_engine(self) -> dict[str, Any]:
        """What a page's engine needs to measure a cell: plain values, clean before corrupted."""
        metric, clean = self.pair.metric, self.runs()[0]
        swept = self._sides(self.pair.source_of, self.pair.into_of)
        return dict(
            ids=[one.inputs.tokens[0].tolist() for one in swept],
            positions=[int(one.places[0]) for one in swept],
            token=metric.token,
            against=metric.against,
            plain=metric.plain,
            whole=self.pair.places is None,
            kind=self.pair.kind,
            of=clean.model_name,
        )

    def why_not_carried(self) -> str:
        """Why a page cannot measure cells of these runs; "" if it can."""
        pair, model = self.pair, self.model
        if not isinstance(model, TextModel):
            return "only a TextModel runs in a page"
        if why := why_not(model):
            return why
        if model.kind == "encoder-decoder":
            return "a page measures no cells of an encoder-decoder"
        if pair.metric.of is not None:
            return "its metric is a function of Python's"
        if len(pair.into_of.inputs.first) > 1:
            return "it holds several texts"
        if pair.into_of.inputs.given or pair.into_of.inputs.mask is not None:
            return "its prompts hold more than tokens"
        return "edits are in force" if pair.network.edited_beside(Tap()) else ""


class EmbeddedDesks(EmbeddedModel):
    """The model of two runs, with which a page measures further cells."""

    def __init__(self, desks: Callable[[], Desks]):
        self._desks = desks

    def take(self, model: bool | None, precision: str) -> tuple[Carried | None, str]:
        desks, lacks = self._desks(), "it measures no more cells"
        why = desks.why_not_carried()
        if why and model:
            raise ValueError(
                f"model=True: {desks.pair.source.model_name} cannot travel in this page: {why}; leave "
                "model out, and the page holds what was measured"
            )
        if why:
            return None, f"This page is a snapshot without its model, so {lacks}: {why}."
        return carry(desks.model, model, not desks.is_fresh, desks.runs(), lacks, precision)

    def page_state(self, carried: Carried | None, stays: str, note: str | None) -> dict[str, Any]:
        state = super().page_state(carried, stays, note)
        if carried:
            state["_carried"]["bits"] = carried.bits if carried.rounded else None
        return state

    def _texts(self) -> dict[str, Any]:
        return self._desks().for_engine()

    def standby(self, message: dict[str, Any], send: Callable[..., Any]) -> Answer:
        desks = self._desks()
        learned = "" if desks.is_fresh else "the model has learned since the two runs"
        model = desks.model if isinstance(desks.model, TextModel) else None
        why = lambda: desks.why_not_carried() or learned  # noqa: E731
        return answer_standby(message, model, why, desks.for_engine, send)
