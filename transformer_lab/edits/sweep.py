"""Sweeps: make many edits, one at a time, and see what each changes.

    sweep = tl.sweep_heads(model, tokens)
    sweep.values[layer, head]     # what switching off that head does to the prediction
    sweep.top(3)

Every number is that of the same edit made with `tl.edit`, but layers before the edit are not
recomputed, and for our own models several edits share a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..files.waiting import waiting
from ..tracing.provenance import finding
from .cells import Cells
from .constructors import ablate, knock_out
from .effects import LOGIT_MEASURES, Effect, Judge, LogitMeasure, Sweep
from .interventions import tap_for
from .kinds import EditError
from .sweep_target import SweepTarget

__all__ = ["LOGIT_MEASURES", "Effect", "Sweep", "sweep_edges", "sweep_groups", "sweep_heads"]


@finding
def sweep_heads(
    model: Any,
    tokens: Any = None,
    target: Any = None,
    *,
    measure: str | LogitMeasure | None = None,
    kind: str | None = None,
    value: Any = "zero",
    token: int | str | Tensor | None = None,
    position: int | None = None,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
    budget_mib: float = 128,
    **given: Any,
) -> Sweep:
    """Switch off each head alone and measure what changes.

    Args:
        model: a `Transformer`, a Hugging Face model or a `TextModel`; edits in force apply to the
            clean pass and to all others.
        tokens, target: as in `trace`; text for a TextModel, an image for an ImageModel.
        measure: "log_prob" (if None), "probability" or "kl": which of them `values` holds. Or a
            function of the logits [batch, position, vocab], or of the final states [batch,
            position, d_model] of a model with no head, that returns a number.
        kind, value: as in `ablate`.
        token: whose probability is measured, as an id or text; if None, the most likely in the
            clean pass. In a batch, one for all texts or one per text, [batch]; the numbers are
            means over its texts.
        position: where it is predicted; if below 0, from the end of the real tokens. None: the
            last, or for a masked TextModel the text's first mask token.
        mask, target_mask: bool, True for real tokens.
        progress: called with (edits done, edits in all); an exception from it ends the sweep.
        budget_mib: memory for what is kept of the clean pass, and for edits sharing a pass; if it
            is not enough, passes run one by one and in full.
        given: further inputs, as in `trace`, such as `pixel_values`.

    Returns:
        A `Sweep` over ("layer", "head").

    Raises:
        EditError: for a model whose attention cannot be edited, or that predicts nothing.
    """
    swept = SweepTarget(model, tokens, target, mask, target_mask, kind, token, position, given)
    heads, n_heads = swept.heads, max(swept.heads)
    cells = [
        (ablate(layer, head, kind=kind, value=value),) if head < heads[layer] else ()
        for layer in range(len(heads))
        for head in range(n_heads)
    ]
    labels = {"layer": _count(len(heads)), "head": _count(n_heads)}
    return _run(swept, cells, labels, measure, progress, budget_mib)


@finding
def sweep_groups(
    model: Any,
    tokens: Any = None,
    target: Any = None,
    *,
    groups: Mapping[str, Sequence] | Sequence[Sequence] | None = None,
    measure: str | LogitMeasure | None = None,
    kind: str | None = None,
    value: Any = "zero",
    token: int | str | Tensor | None = None,
    position: int | None = None,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
    budget_mib: float = 128,
    **given: Any,
) -> Sweep:
    """Switch off groups of heads and measure what changes: heads that can replace each other look
    dispensable one by one, but not together.

    Args:
        groups: name -> its heads, each a pair (layer, head); or a list of groups. If None, every
            layer is a group.
        others: as in `sweep_heads`.

    Returns:
        A `Sweep` over ("group",).

    Raises:
        EditError: as `sweep_heads`, and for a group that names no head of the model.
    """
    swept = SweepTarget(model, tokens, target, mask, target_mask, kind, token, position, given)
    if groups is None:
        groups = {f"layer {i}": [(i, h) for h in range(n)] for i, n in enumerate(swept.heads) if n}
    if not isinstance(groups, Mapping):
        groups = {", ".join(f"{a}.{b}" for a, b in map(_pair, group)): group for group in groups}
    cells = [
        tuple(ablate(*_pair(place), kind=kind, value=value) for place in group)
        for group in groups.values()
    ]
    empty = [name for name, cell in zip(groups, cells, strict=True) if not cell]
    if empty or not cells:
        raise EditError(
            "groups must name at least one head each, as pairs (layer, head), got "
            f"{empty or 'nothing'}"
        )
    return _run(swept, cells, {"group": list(groups)}, measure, progress, budget_mib)


@finding
def sweep_edges(
    model: Any,
    tokens: Any = None,
    target: Any = None,
    *,
    layer: int | None = None,
    head: int | None = None,
    query: int,
    measure: str | LogitMeasure | None = None,
    kind: str | None = None,
    token: int | str | Tensor | None = None,
    position: int | None = None,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
    budget_mib: float = 128,
    **given: Any,
) -> Sweep:
    """Cut each edge of one query alone, hiding one key at a time from it, and measure what changes.

    Args:
        layer, head: counted from 0; None means all.
        query: the row, a position in the text.
        others: as in `sweep_heads`.

    Returns:
        A `Sweep` over ("key",), NaN for keys that the query may not attend to.

    Raises:
        EditError: as `sweep_heads`, and for a query that is not in the text.
    """
    swept = SweepTarget(model, tokens, target, mask, target_mask, kind, token, position, given)
    n_query, n_key = swept.n_tokens
    if isinstance(query, bool) or not isinstance(query, int) or not 0 <= query < n_query:
        raise EditError(f"query={query!r} is outside the {n_query} tokens (0 … {n_query - 1})")
    last = query + 1 if swept.kind == "decoder" else n_key
    cells = [(knock_out(layer, head, query=query, key=k, kind=kind),) for k in range(last)]
    cells += [()] * (n_key - last)
    return _run(swept, cells, {"key": swept.key_labels()}, measure, progress, budget_mib)


def _run(swept: SweepTarget, cells, labels, measure, progress, budget_mib) -> Sweep:
    taps = [tuple(tap_for(swept.network, e) for e in cell) for cell in cells]
    own = callable(measure)
    runner = Cells(swept, budget_mib=budget_mib, states=own, whole=own)
    with runner.passes.open(), waiting("Switching off, one by one", progress) as tell:
        clean = runner.passes.clean()
        judge = Judge(runner.passes, clean, measure, swept.token, swept.places)
        n_texts = 1 if own else len(swept.inputs.first)
        found = torch.full((len(cells), len(judge.names), n_texts), math.nan)
        for start, chunk in runner.chunks(taps):
            for i, rows in zip(chunk, runner.outputs([taps[i] for i in chunk], start), strict=True):
                found[i] = judge.of_texts(rows)
                if not any(t.applied for t in taps[i]):
                    found[i] = math.nan  # masked away: there was nothing to edit
            tell(int((~found[:, 0, 0].isnan()).sum()), sum(map(bool, cells)))
    shape = [len(names) for names in labels.values()]
    each = {name: found[:, i].T.reshape(-1, *shape) for i, name in enumerate(judge.names)}
    return Sweep(
        {name: numbers.mean(0) for name, numbers in each.items()},
        judge.shown,
        tuple(labels),
        labels,
        judge.baseline,
        judge.tokens,
        judge.places.tolist(),
        swept.kind,
        tuple(cells),
        each={} if own else each,
    )


def _pair(place: Any) -> tuple[int, int]:
    pair = tuple(place) if isinstance(place, Sequence) and not isinstance(place, str) else ()
    if len(pair) != 2:
        raise EditError(f"a head must be a pair (layer, head), got {place!r}")
    return pair[0], pair[1]


def _count(n: int) -> list[str]:
    return [str(i) for i in range(n)]
