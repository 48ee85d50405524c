"""Grids of patches: which site, in which layer, at which position or head, carries the answer.

grids = tl.patching_grid(model, clean, corrupted)
grids["z"].values[layer, head]          # about how far it moves the metric, from one gradient pass
grids = grids.measure([("z", 3, 1)])    # and exactly, for chosen cells
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from ...adapters.interrupts import no_grad, stack
from ...adapters.network import AdapterError
from ...arguments import shown
from ...edits.cells import Cells
from ...edits.constructors import patch
from ...edits.interventions import tap_for
from ...edits.kinds import Edit, EditError
from ...edits.sites import OF_HEADS, OF_STREAM, site_named
from ...files.waiting import waiting
from ...tracing.provenance import finding
from ...tracing.trace import Trace, TraceError
from .metric import Metric
from .prompt_pair import Pair, logits_of
from .results import PatchingGrid, PatchingGrids

SITES = ("resid_pre", "attn_out", "mlp_out", "z")
WAYS = ("attribution", "exact", "both")
Place = tuple[str, int, int]


@finding
def patching_grid(
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
    progress: Callable[[int, int], None] | None = None,
    budget_mib: float = 512,
    **given: Any,
) -> PatchingGrids:
    """Patch activations of a run on one prompt into a run on another, one cell at a time: layer ×
    position for sites of the stream, layer × head (all positions together) for sites of heads.

    Args:
        model: a `Transformer`, a Hugging Face model, a `TextModel` (then give texts) or an
            `ImageModel`.
        clean, corrupted: two prompts, or two batches of as many token ids; for a model with other
            inputs a dict of them each, dict(pixel_values=…). Edits in force apply to both.
        metric: what is moved. A pair of tokens: the logit of the first less that of the second. One
            token: its log-probability. A `tl.Logit`, or a function from logits [batch, position,
            vocab] to one number. None: the pair of the most likely tokens after the clean prompt
            and after the corrupted one. Tokens are ids, or for a TextModel texts of one token. For
            a batch it is the mean.
        sites: some of "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "k",
            "v" and "pattern", or TransformerLens' names. None: the stream, attn_out, mlp_out and z,
            as far as the model offers them; `missing` has the others and why.
        by: "attribution" estimates all cells from two passes and one gradient (Nanda 2023); "exact"
            patches every cell; "both" does both.
        direction: "denoising" patches the clean run into the corrupted one (is it enough?),
            "noising" the corrupted one into the clean (is it needed?). See Heimersheim and Nanda
            2024.
        align: how positions are paired if the prompts differ in length: "words" pairs the last
            tokens of their words in turn; or pairs (position in clean, position in corrupted). Only
            paired positions are patched, and q, k and pattern, which depend on positions, cannot
            be.
        kind: of attention; as in `ablate`.
        target: of an encoder-decoder, for both prompts.
        position: where the prediction is read; by default the last token, or a masked model's mask.
        progress, budget_mib: as in `sweep_heads`, for exact patches; the budget also bounds the
            patterns of the gradient pass.
        given: further inputs of both, as in `trace`.

    Returns:
        `PatchingGrids`, site -> `PatchingGrid`.

    Raises:
        EditError: for prompts that cannot be paired, an unknown metric or site, and a site that the
            model does not offer, with the reason.
    """
    if by not in WAYS:
        raise EditError(f"by must be one of {', '.join(WAYS)}, got {shown(by)}")
    desk = desk_of(
        model,
        clean,
        corrupted,
        sites=SITES if sites is None else sites,
        optional=sites is None,
        budget_mib=budget_mib,
        metric=metric,
        direction=direction,
        align=align,
        kind=kind,
        target=target,
        position=position,
        given=given,
    )
    grids = desk.grids(estimated=by != "exact")
    return grids if by == "attribution" else grids.measure(progress=progress)


def desk_of(
    model: Any,
    clean: Any,
    corrupted: Any,
    *,
    sites: str | Sequence[str],
    optional: bool = False,
    budget_mib: float = 512,
    **pair: Any,
) -> Desk:
    """Return the `Desk` that makes the grids of `patching_grid`; arguments and errors as there.

    Args:
        optional: leave out sites that the model does not offer.
        pair: further arguments of `Pair`.
    """
    names = [sites] if isinstance(sites, str) else list(sites)
    named = [site_named(name) for name in names]
    if not named or any(layer is not None for _, layer in named):
        raise EditError(f"sites must name sites of all layers, such as 'z', got {shown(sites)}")
    found = Pair(model, clean, corrupted, **pair)
    return Desk(found, [site for site, _ in named], optional=optional, budget_mib=budget_mib)


class Desk:
    """Two runs and the sites that are patched.

    Args:
        optional: leave out a site that the model does not offer, and record why, instead of
            raising.
    """

    def __init__(self, pair: Pair, sites: Sequence[str], *, optional: bool, budget_mib: float):
        self.pair, self.budget = pair, budget_mib
        self.missing: dict[str, str] = {}
        self.sites: list[str] = []
        for site in dict.fromkeys(sites):
            why = self._why_not(site)
            if why and not optional:
                raise EditError(f"{site} cannot be patched in {pair.source.model_name}: {why}")
            self.sites += [] if why else [site]
            self.missing.update({site: why} if why else {})
        if not self.sites:
            raise EditError(f"no site can be patched: {next(iter(self.missing.values()))}")
        self._cells: Cells | None = None
        self.into_value, self.into_values = math.nan, torch.full((1,), math.nan)

    def grids(self, *, estimated: bool) -> PatchingGrids:
        changes: dict[str, Tensor] = {}
        if estimated:
            changes = {site: each.mean(0) for site, each in self.estimates().items()}
        else:
            self.measured([])
        found = {}
        for site in self.sites:
            there = self.there(site)
            unknown = torch.full(there.shape, math.nan)
            found[site] = PatchingGrid(
                site,
                axes_of(site),
                self.labels(site),
                changes.get(site, unknown),
                unknown,
                there,
                self.into_value,
                self.pair.source_value,
                self.pair.metric.description,
                self.pair.direction,
                self.pair.aligned,
                self.pair.source.model_name,
            )
        return PatchingGrids(found, self.missing, self.edit, self.measured)

    def edit(self, site: str, layer: int, place: int) -> Edit:
        """The edit of a cell."""
        pair = self.pair
        more: dict[str, Any] = dict(kind=pair.kind, what=site)
        if site in OF_STREAM:
            return patch(pair.source, layer, position=[pair.pairs[place]], **more)
        return patch(pair.source, layer, place, position=pair.places, **more)

    def measured(
        self, cells: Sequence[Place], progress: Callable[[int, int], None] | None = None
    ) -> dict[Place, float]:
        """Patch each cell, and return how far it moves the metric."""
        return {at: float(found.mean()) for at, found in self.of_texts(cells, progress).items()}

    def of_texts(
        self, cells: Sequence[Place], progress: Callable[[int, int], None] | None = None
    ) -> dict[Place, Tensor]:
        """Patch each cell, and return how far it moves the metric of every text, fp32 [batch]."""
        taps = [(tap_for(self.pair.network, self.edit(*cell)),) for cell in cells]
        own = self.pair.metric.of is not None
        first = self._cells is None
        if self._cells is None:
            self._cells = Cells(self.pair.into_of, budget_mib=self.budget, whole=own)
        runner, found = self._cells, {}
        judge = Judged(runner, self.pair.metric)
        with stack() as opened:
            opened.enter_context(runner.passes.open())
            tell = opened.enter_context(waiting("Patching, cell by cell", progress))
            if first:
                self.into_values = judge.of_texts(runner.passes.clean())
                self.into_value = float(self.into_values.mean())
            self._watch_stream(opened, runner, {name for (tap,) in taps for name in tap.streams})
            for start, chunk in runner.chunks(taps):
                outputs = runner.outputs([taps[i] for i in chunk], start)
                for i, rows in zip(chunk, outputs, strict=True):
                    found[cells[i]] = judge.of_texts(rows) - self.into_values
                tell(len(found), len(cells))
        return found

    def estimates(self) -> dict[str, Tensor]:
        """Estimate every cell by Σ (source − into) · ∂metric/∂into over its activations, for each
        text: site -> fp32 [batch, layer, place]; NaN where there is nothing to patch.
        """
        run = self._with_gradients()
        with no_grad():
            self.into_values = self.pair.metric.of_texts(logits_of(run).float()).cpu()
        self.into_value = float(self.into_values.mean())
        return {site: self._attribution(site, run) for site in self.sites}

    def there(self, site: str) -> Tensor:
        """Whether a cell has something to patch, bool [layer, place]."""
        run, layers = self.pair.source, self._layers(site)
        if site in OF_STREAM:
            widths = dict.fromkeys(layers, len(self.pair.pairs))
        else:
            widths = {i: self._activation(run, site, i).shape[1] for i in layers}
        there = torch.zeros(run.n_layers(self.pair.kind), max(widths.values()), dtype=torch.bool)
        for layer, n in widths.items():
            there[layer, :n] = True
        return there

    def labels(self, site: str) -> dict[str, list[str]]:
        n_layers, n = self.there(site).shape
        places = [str(i) for i in range(n)]
        if site in OF_STREAM:
            places = [self.pair.label(pair) for pair in self.pair.pairs]
        return {"layer": [str(i) for i in range(n_layers)], axes_of(site)[1]: places}

    # -- inside -----------------------------------------------------------------------------------

    def _watch_stream(self, stack: ExitStack, runner: Cells, names: set[str]) -> None:
        network, own = self.pair.network, self._stream_kind
        for name in sorted(names):
            try:
                stack.enter_context(network.changing_stream(runner.tap, [name], own, None))
            except AdapterError as error:
                raise EditError(f"{name} cannot be patched in {network.name}: {error}") from error

    @property
    def _stream_kind(self) -> str:
        return "decoder" if self.pair.kind == "cross" else self.pair.kind

    def _with_gradients(self) -> Trace:
        try:
            return self.pair.with_gradients(self.budget)
        except EditError:
            raise
        except ValueError as error:
            raise EditError(
                f'effects cannot be estimated: {error}; by="exact" patches instead'
            ) from error

    def _why_not(self, site: str) -> str:
        """Return why a site cannot be patched, or ""."""
        pair = self.pair
        if pair.places is not None and site in ("q", "k", "pattern"):
            return (
                "the prompts are aligned by pairs of positions, and queries, keys and attention "
                "patterns depend on their position"
            )
        try:
            layer = pair.source.attending(pair.kind)[0]
            self._activation(pair.source, site, layer)
        except (TraceError, EditError) as error:
            return str(error)
        return ""

    def _activation(self, run: Trace, site: str, layer: int) -> Tensor:
        name = self._name(site)
        return run.activation(name, layer, kind=self.pair.kind)

    def _name(self, site: str) -> str:
        if self.pair.kind != "cross" or site in OF_HEADS:
            return site
        if site != "attn_out":
            raise EditError(f"{site} belongs to kind='decoder', not to 'cross'")
        return "cross_out"

    def _layers(self, site: str) -> list[int]:
        """Layers that have this site."""
        run, found = self.pair.source, []
        for layer in range(run.n_layers(self.pair.kind)):
            try:
                self._activation(run, site, layer)
            except TraceError:
                continue
            found.append(layer)
        return found

    def _attribution(self, site: str, run: Trace) -> Tensor:
        """Estimates of one site, from a run with the metric's gradients."""
        pair, axis = self.pair, 1 if site in OF_STREAM else 2
        there, here = map(list, zip(*pair.pairs, strict=True))
        if site in ("q", "k", "pattern") or (site == "v" and pair.kind == "cross"):
            there = here = None  # the prompts have the same length
        batch = len(self.pair.into_of.inputs.first)
        found = torch.full((batch, *self.there(site).shape), math.nan)
        for layer in self._layers(site):
            before = self._activation(run, site, layer)
            source = self._activation(pair.source, site, layer)
            slope = run.gradient(self._name(site), layer, kind=pair.kind, batch=None)
            if there is not None:
                source = source.index_select(axis, torch.tensor(there, device=source.device))
                at = torch.tensor(here, device=before.device)
                before, slope = before.index_select(axis, at), slope.index_select(axis, at)
            product = (source.float() - before.float()) * slope.float()
            cells = product.sum(-1) if axis == 1 else product.sum((2, 3))
            found[:, layer, : cells.shape[1]] = batch * cells.cpu()  # the metric is the texts' mean
        return found


def axes_of(site: str) -> tuple[str, str]:
    return ("layer", "position") if site in OF_STREAM else ("layer", "head")


class Judged:
    """Compute the metric from the output of a pass."""

    def __init__(self, runner: Cells, metric: Metric):
        self.passes, self.metric = runner.passes, metric

    def __call__(self, rows: Tensor) -> float:
        return float(self.of_texts(rows).mean())

    def of_texts(self, rows: Tensor) -> Tensor:
        """Return the metric of every text, fp32 [batch] on the CPU; of a custom function, [1]."""
        passes, metric = self.passes, self.metric
        if metric.of is not None:
            return metric.of_texts(passes.logits(rows)).float().cpu()
        assert metric.places is not None
        one = rows.shape[1] == 1 and not passes.cut  # a classifier's one answer
        places = torch.zeros_like(metric.places) if one else metric.places
        return metric.at_places(passes.logits(passes.at(rows, places)[:, None])[:, 0]).cpu()
