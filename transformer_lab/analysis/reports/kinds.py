"""What can be reported: how it is made, what is done with it afterwards, and its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ...arguments import shown
from ...edits.effects import Sweep
from ...edits.estimates import estimate_effects
from ...edits.sweep import sweep_edges, sweep_groups, sweep_heads
from ...heads.table import HeadTable, head_table
from ...tracing.provenance import code, held
from ..patching.circuit_scores import Circuit
from ..patching.edge_scores import circuit
from ..patching.patching_grid import patching_grid
from ..patching.path_patching import PathEffect, path_patch
from ..patching.results import PatchingGrid, PatchingGrids
from ..studies.results import Study
from ..studies.run import study

# The functions that a file may name.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (
        patching_grid,
        path_patch,
        sweep_heads,
        sweep_groups,
        sweep_edges,
        estimate_effects,
        head_table,
        study,
        circuit,
    )
}
Step = tuple[str, Any]


def steps_of(finding: Any) -> list[Step]:
    """What was done with a finding after it was made, as far as it shows."""
    found: list[Step] = []
    if isinstance(finding, PatchingGrid) and not finding.path:
        found = [*_measured({finding.site: finding}), ("site", finding.site)]
    elif isinstance(finding, PatchingGrids):
        found = _measured(finding.grids)
    elif isinstance(finding, HeadTable) and finding.query:
        found = [("where", finding.query)]
    return found


def taken(finding: Any, steps: list[Any]) -> Any:
    """Apply these steps to a finding.

    Raises:
        ValueError: for an unknown step.
    """
    for name, argument in steps:
        if name == "measure" and isinstance(finding, PatchingGrids):
            finding = finding.measure([(site, layer, place) for site, layer, place in argument])
        elif name == "where" and isinstance(finding, HeadTable):
            finding = finding.where(argument)
        elif name == "site" and isinstance(finding, PatchingGrids):
            finding = finding[argument]
        else:
            raise ValueError(f"it contains the unknown step {shown(name)}")
    return finding


def step_code(name: str, step: Step) -> str:
    """Python code of a step."""
    what, argument = step
    if what == "site":
        return f"{name} = {name}[{code(argument)}]"
    return f"{name} = {name}.{what}({code(argument)})"


def arguments_of(finding: Any) -> dict[str, Any]:
    """The arguments that it was made with; for a study the prompts themselves, because their file
    may change.
    """
    found = dict(finding.provenance.arguments)
    if isinstance(finding, Study):
        found["prompts"] = [held(prompt.to_dict()) for prompt in finding.prompts]
    return found


def numbers_of(finding: Any) -> dict[str, Any]:
    """All its values as plain JSON, by name where the order may change."""
    if isinstance(finding, HeadTable):
        rows = finding.to_dict()["rows"]
        named = {f"layer {row['layer']}, head {row['head']}": row for row in rows}
        return {"about": finding.about, "heads": named}
    if isinstance(finding, Circuit):
        numbers = finding.to_dict()
        kept = {n: x for n, x in numbers.items() if n not in ("sentence", "computed", "edges")}
        return {**kept, "edges": {edge["edge"]: edge["score"] for edge in numbers["edges"]}}
    if isinstance(finding, PathEffect):
        return {f.name: getattr(finding, f.name) for f in fields(finding) if f.name != "provenance"}
    return finding.to_dict()


def metric_of(finding: Any) -> str:
    """What its numbers measure, in words."""
    if isinstance(finding, PatchingGrids):
        finding = next(iter(finding.grids.values()))
    if isinstance(finding, HeadTable):
        return finding.about
    if isinstance(finding, Study):
        return "; ".join(f"{name} ({spread.unit})" for name, spread in finding.items())
    return getattr(finding, "metric", "") or getattr(finding, "measure", "")


def seeds_of(finding: Any) -> dict[str, int]:
    """Seeds of its random draws; empty if there were none."""
    if isinstance(finding, Circuit):
        return {"random circuits": finding.seed}
    return {"bootstrap": finding.seed} if isinstance(finding, Study) else {}


def sentence_of(finding: Any) -> str:
    if isinstance(finding, PatchingGrids):
        first, *rest = finding.grids.values()
        estimated = any(grid.estimated for grid in finding.grids.values())
        return first.sentence_of("each", finding.top(3), estimated) if rest else first.sentence
    if isinstance(finding, HeadTable):
        return repr(finding).strip("<>")
    if isinstance(finding, PathEffect):
        return (
            f"Sender {finding.sender} changes the {finding.metric} by {finding.value:.4g} of "
            f"{finding.source - finding.into:.4g} through the path to {finding.receiver} via "
            f"{finding.via}."
        ).replace("-", "−")
    return getattr(finding, "sentence", "") or repr(finding).strip("<>")


def panels_of(finding: Any) -> list[Any]:
    """(title, numbers, which are marked, axes, labels) of each map, for `scene_of_maps`."""
    if isinstance(finding, PatchingGrid):
        return [finding.panel()]
    if isinstance(finding, PatchingGrids):
        return [grid.panel() for grid in finding.grids.values()]
    if isinstance(finding, Study):
        return [spread.panel() for spread in finding.values()]
    if isinstance(finding, Sweep):
        values, axes, labels = finding.values, finding.axes, finding.labels
        if values.dim() == 1:
            values, axes, labels = values[None], ("", *axes), {"": [finding.measure], **labels}
        marked = values == values if finding.estimated else values != values
        return [(f"{finding.measure}, change", values, marked, axes, labels)]
    return []


def rows_of(finding: Any) -> tuple[list[str], list[list[Any]]]:
    """(columns, rows) of its table, the largest first."""
    if isinstance(finding, HeadTable):
        return list(finding.columns), [[row[c] for c in finding.columns] for row in finding.rows]
    if isinstance(finding, Study):
        columns = ["measure", "layer", "place", "n", "mean", "std", "low", "high"]
        names = ["measure", "layer", "label", *columns[3:]]
        return columns, [[getattr(row, n) for n in names] for row in finding.table()]
    if isinstance(finding, PathEffect):
        numbers: Mapping[str, Any] = numbers_of(finding)
        return ["what", "value"], [[name, value] for name, value in numbers.items()]
    if isinstance(finding, Circuit):
        scored = zip(finding.edges, finding.scores, strict=True)
        rows = sorted(scored, key=lambda edge: -abs(edge[1] or 0.0))
        return ["edge", "score"], [list(edge) for edge in rows]
    if isinstance(finding, Sweep):
        rows = []
        for effect in finding.top(40):
            place = [finding.labels[axis][i] for axis, i in effect.where.items()]
            rows.append([*place, effect.value])
        return [*finding.axes, f"change of {finding.measure}"], rows
    cells = finding.top(40)
    return ["site", "layer", "place", "exact", "estimate"], [
        [cell.site, cell.layer, cell.where, cell.exact, cell.estimate] for cell in cells
    ]


def _measured(grids: Mapping[str, PatchingGrid]) -> list[Step]:
    """The cells that were patched one by one, in addition to estimates of all."""
    cells = [
        [site, layer, place]
        for site, grid in grids.items()
        if not grid.estimate.isnan().all()
        for layer, place in (~grid.exact.isnan()).nonzero().tolist()
    ]
    return [("measure", cells)] if cells else []
