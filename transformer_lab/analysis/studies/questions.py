"""What a study measures on every prompt: head scores, effects of ablated heads, or patches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...adapters.network import Network
from ...arguments import shown
from ...edits.estimates import estimate_effects
from ...edits.interventions import kind_in
from ...edits.kinds import EditError
from ...edits.sites import OF_STREAM, site_named
from ...edits.sweep import sweep_heads
from ...heads.measures import MEASURES, all_scores
from ...text_model import TextModel
from ...tracing.running import trace
from ..patching.metric import Metric, metric_of
from ..patching.patching_grid import SITES, Desk, axes_of
from ..patching.prompt_pair import Pair
from .batches import Ready, stacked

EFFECTS, ESTIMATES, PATCHING, SCORES = "effects", "estimates", "patching", "scores"
LAST = "last"
PATCHED, SOURCE = "metric of the patched run", "metric of the source run"
Values = dict[str, Tensor]  # measure -> fp32 [prompt, …]; NaN where a prompt has none


@dataclass(frozen=True)
class Questions:
    """What to measure, from the arguments of `tl.study`."""

    measures: tuple[str, ...]
    metric: Any = None
    kind: str | None = None
    sites: tuple[str, ...] | None = None
    by: str = "attribution"
    direction: str = "denoising"
    align: Any = None
    at: tuple[int, ...] | None = None
    value: Any = "zero"
    budget_mib: float = 512

    @property
    def alone(self) -> bool:
        """Whether prompts cannot share a pass: a function sees all of a batch, and words are paired
        for one text.
        """
        return callable(self.metric) or (self.align is not None and PATCHING in self.measures)


@dataclass(eq=False)
class Grid:
    """The cells of one measure: its axes, their labels, and the unit of its numbers."""

    axes: tuple[str, ...]
    labels: dict[str, list[str]] = field(repr=False)
    unit: str


class Question:
    """The measurements of a study on one model.

    Attributes:
        grids: measure -> its `Grid`, known after the first prompts.

    Raises:
        ValueError: for an unknown measure, or if prompts lack what it needs.
    """

    def __init__(self, model: Any, network: Network, asked: Questions, prompts: Sequence[Ready]):
        self.model, self.network, self.asked = model, network, asked
        self.kind = kind_in(network, asked.kind)
        self.heads = [name for name in asked.measures if name in MEASURES]
        self.grids: dict[str, Grid] = {}
        if PATCHING in asked.measures:
            self._can_patch(prompts)

    def of(self, batch: Sequence[Ready]) -> Values:
        """Measure prompts of one shape."""
        found: Values = {}
        if self.heads:
            found |= self._scores(batch)
        if EFFECTS in self.asked.measures:
            found |= self._effects(batch)
        if ESTIMATES in self.asked.measures:
            found |= self._estimates(batch)
        if PATCHING in self.asked.measures:
            found |= self._patches(batch)
        return found

    # -- scores of heads --------------------------------------------------------------------------

    def _scores(self, batch: Sequence[Ready]) -> Values:
        ids, target = stacked(batch, "clean"), stacked(batch, "target")
        assert ids is not None
        if isinstance(self.model, TextModel):
            found = self.model.trace_ids(ids, target, keep="maps")
        else:
            found = trace(self.model, ids, target, keep="maps")
        kind, shape = self.kind, (found.n_layers(self.kind), found.n_heads(self.kind))
        values = {name: torch.full((len(batch), *shape), math.nan) for name in self.heads}
        for row in range(len(batch)):
            scores = all_scores(found, kind=kind, batch=row, of=self.heads)
            for name, score in scores.items():
                values[name][row] = score
        for name in self.heads:
            labels = _counted("layer head", shape)
            self._know(name, ("layer", "head"), labels, MEASURES[name].unit)
        return values

    # -- heads that are switched off --------------------------------------------------------------

    def _effects(self, batch: Sequence[Ready]) -> Values:
        metric = self.asked.metric
        found = sweep_heads(
            self.model,
            stacked(batch, "clean"),
            stacked(batch, "target"),
            measure=metric,
            kind=self.asked.kind,
            value=self.asked.value,
            token=stacked(batch, "answer"),
            budget_mib=self.asked.budget_mib,
        )
        each = found.each or {name: x[None] for name, x in found.measures.items()}
        return self._swept(found, each, "")

    def _estimates(self, batch: Sequence[Ready]) -> Values:
        found = estimate_effects(
            self.model,
            stacked(batch, "clean"),
            stacked(batch, "target"),
            kind=self.asked.kind,
            token=stacked(batch, "answer"),
        )
        return self._swept(found, found.each, "estimated ")

    def _swept(self, found: Any, each: Mapping[str, Tensor], prefix: str) -> Values:
        units = {"log_prob": "nats", "probability": "probability", "kl": "nats"}
        for name in each:
            self._know(prefix + name, found.axes, found.labels, units.get(name, "measure"))
        first = found.measure  # the requested measure comes first
        order = [first, *(name for name in each if name != first)]
        return {prefix + name: each[name] for name in order}

    # -- patches ----------------------------------------------------------------------------------

    def _patches(self, batch: Sequence[Ready]) -> Values:
        asked, sites = self.asked, self.asked.sites
        pair = Pair(
            self.model,
            stacked(batch, "clean"),
            stacked(batch, "corrupted"),
            metric=self._metric(batch),
            direction=asked.direction,
            align=asked.align,
            target=stacked(batch, "target"),
            kind=asked.kind,
            given={},
        )
        desk = Desk(pair, sites or SITES, optional=sites is None, budget_mib=asked.budget_mib)
        columns = {site: self._columns(site, desk) for site in desk.sites}
        if asked.by == "exact":
            found = self._exact(desk, columns, len(batch))
        else:
            found = {s: x[:, :, columns[s]] for s, x in desk.estimates().items()}
        for site in desk.sites:
            labels = desk.labels(site)
            axis = axes_of(site)[1]
            names = [labels[axis][i] for i in columns[site]]
            if axis == "position":
                names = self._positions(names)
            self._know(site, axes_of(site), {**labels, axis: names}, pair.metric.description)
        both = {PATCHED: desk.into_values, SOURCE: pair.source_values}
        for name in both:
            self._know(name, (), {}, pair.metric.description)
        return {**found, **both}

    def _exact(self, desk: Desk, columns: Mapping[str, list[int]], n: int) -> Values:
        there = {site: desk.there(site) for site in desk.sites}
        cells = [
            (site, layer, place)
            for site in desk.sites
            for layer in range(len(there[site]))
            for place in columns[site]
            if there[site][layer, place]
        ]
        measured = desk.of_texts(cells)
        found = {}
        for site in desk.sites:
            whole = torch.full((n, *there[site].shape), math.nan)
            for (_, layer, place), values in ((c, v) for c, v in measured.items() if c[0] == site):
                whole[:, layer, place] = values.float()
            found[site] = whole[:, :, columns[site]]
        return found

    def _metric(self, batch: Sequence[Ready]) -> Any:
        if self.asked.metric is not None:
            return metric_of(
                self.asked.metric, getattr(self.model, "token_id", None), _no_tokens, str
            )
        wrong = stacked(batch, "wrong")
        text = "log-probability of the answer"
        text = text if wrong is None else "logit of the answer − logit of the wrong one"
        answer = stacked(batch, "answer")
        assert answer is not None
        return Metric(text, token=answer, against=wrong)

    def _columns(self, site: str, desk: Desk) -> list[int]:
        """The wanted columns of a site's cells."""
        n = desk.there(site).shape[1]
        if self.asked.at is None or site not in OF_STREAM:
            return list(range(n))
        outside = [one for one in self.asked.at if not -n <= one < n]
        if outside:
            raise EditError(f"at={outside[0]} is outside the {n} positions (−{n} … {n - 1})")
        return [one % n for one in self.asked.at]

    def _positions(self, names: list[str]) -> list[str]:
        """Labels of columns of positions: the requested positions, or their numbers."""
        if self.asked.at is None:
            return [str(i) for i in range(len(names))]
        return [LAST if one == -1 else str(one).replace("-", "−") for one in self.asked.at]

    def _can_patch(self, prompts: Sequence[Ready]) -> None:
        asked = self.asked
        lacks = [one.index for one in prompts if one.corrupted is None]
        if lacks:
            raise ValueError(
                f"patching needs a corrupted prompt for every clean one, but prompt {lacks[0]} has none"
            )
        lacks = [one.index for one in prompts if one.answer is None]
        if asked.metric is None and lacks:
            raise ValueError(
                f"patching needs a metric: give an answer with every prompt (prompt {lacks[0]} has "
                "none), or metric=(token, another)"
            )
        if asked.metric is None and len({one.wrong is None for one in prompts}) > 1:
            raise ValueError(
                "some prompts have a wrong token and others do not; give one to all or to none"
            )
        of_stream = [s for s in (asked.sites or SITES) if site_named(s)[0] in OF_STREAM]
        lengths = {len(one.clean) for one in prompts}
        if of_stream and asked.at is None and len(lengths) > 1:
            raise ValueError(
                f"{of_stream[0]} has a cell for every position, and prompts of {min(lengths)} to "
                f'{max(lengths)} tokens do not share positions: choose some with at="last" or '
                'at=[-2, -1], take sites="z", or give prompts of equal length'
            )

    # -- all of them ------------------------------------------------------------------------------

    def _know(
        self, name: str, axes: Sequence[str], labels: Mapping[str, list[str]], unit: str
    ) -> None:
        grid = Grid(tuple(axes), {axis: list(labels[axis]) for axis in axes}, unit)
        known = self.grids.setdefault(name, grid)
        if [len(x) for x in known.labels.values()] != [len(x) for x in grid.labels.values()]:
            raise ValueError(
                f"{name} does not have the same cells in all prompts; use prompts of equal length"
            )


def _no_tokens() -> tuple[int, int]:
    raise EditError("metric is None")


def _counted(axes: str, shape: Sequence[int]) -> dict[str, list[str]]:
    return {a: [str(i) for i in range(n)] for a, n in zip(axes.split(), shape, strict=True)}


def measures_of(asked: Any, patches: bool) -> tuple[str, ...]:
    """Return the names of the measures; by default patching if there is something to patch.

    Raises:
        ValueError: for an unknown measure.
    """
    if asked is None:
        asked = PATCHING if patches else EFFECTS
    names = [asked] if isinstance(asked, str) else list(asked)
    spelled = {name.replace(" ", "_").replace("-", "_"): name for name in MEASURES}
    found: list[str] = []
    for name in names:
        known = spelled.get(name, name) if isinstance(name, str) else None
        if known == SCORES:
            found += MEASURES
        elif known in (EFFECTS, ESTIMATES, PATCHING, *MEASURES):
            found.append(str(known))
        else:
            offered = ", ".join((EFFECTS, ESTIMATES, PATCHING, SCORES, *spelled))
            raise ValueError(f"measure must be one of {offered}, got {shown(name)}")
    if not found:
        raise ValueError("measure is empty; name at least one, such as 'effects'")
    return tuple(dict.fromkeys(found))
