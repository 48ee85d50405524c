"""Sweeps: make many edits, one at a time, and see what each changes.

    sweep = tl.sweep_heads(model, tokens)
    sweep.values[layer, head]     # what switching that head off does to the prediction
    sweep.top(3)

Every number is that of the same edit made with `tl.edit`, but layers before the edit are not
computed again, and for our own models several edits share a pass.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .attention import AttentionCall, Tap, safe_softmax
from .edit import EditTap, default_kind, kinds_of, shape_of, tap_for
from .edit_kinds import Edit, EditError, KnockOut, real_keys
from .interventions import ablate, knock_out
from .passes import Inputs, Passes, evaluated, read

MEASURES = ("log_prob", "probability", "kl")
Measure = Callable[[Tensor], Any]


class Effect(NamedTuple):
    """One cell of a sweep: where it is, how much it changed, and the edits that it stands for."""

    where: dict[str, int]
    value: float
    edits: tuple[Edit, ...]


@dataclass(frozen=True, eq=False)
class Sweep:
    """What each of many edits changes.

    Attributes:
        measures: name -> fp32 array over the axes. "log_prob" and "probability": how much those
            of the chosen token change (below 0: the edit hurt it). "kl": the divergence
            KL(clean ‖ edited) of the whole prediction, in nats. With a measure of your own,
            "measure": how much that changes. NaN where there is nothing to edit.
        measure: which of them `values` is.
        axes: such as ("layer", "head").
        labels: axis -> what to show for each place on it.
        baseline: name -> the clean pass's own value.
        tokens: the chosen token's id, one a text; positions: the places they are predicted at.
        edits: the edits of each cell, rows first.
    """

    measures: dict[str, Tensor]
    measure: str
    axes: tuple[str, ...]
    labels: dict[str, list[str]]
    baseline: dict[str, float]
    tokens: list[int]
    positions: list[int]
    kind: str
    edits: tuple[tuple[Edit, ...], ...]

    @property
    def values(self) -> Tensor:
        return self.measures[self.measure]

    def top(self, k: int = 5) -> list[Effect]:
        """The k largest changes, either way, largest first."""
        flat = self.values.flatten()
        order = flat.abs().nan_to_num(-1.0).argsort(descending=True, stable=True)
        found = [i for i in order.tolist() if not math.isnan(flat[i])]
        return [self._effect(i) for i in found[:k]]

    def best(self) -> Effect:
        """The largest change."""
        return self.top(1)[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None where there is nothing to edit."""
        told = {name: _plain(values.tolist()) for name, values in self.measures.items()}
        return {
            "axes": list(self.axes), "labels": self.labels, "measure": self.measure,
            "measures": told, "baseline": self.baseline, "tokens": self.tokens,
            "positions": self.positions, "kind": self.kind,
        }  # fmt: skip

    def _effect(self, index: int) -> Effect:
        place = torch.unravel_index(torch.tensor(index), self.values.shape)
        where = {axis: int(i) for axis, i in zip(self.axes, place, strict=True)}
        return Effect(where, float(self.values.flatten()[index]), self.edits[index])

    def __repr__(self) -> str:
        size = " × ".join(
            f"{n} {axis}s" for n, axis in zip(self.values.shape, self.axes, strict=True)
        )
        first = "; ".join(
            " ".join(f"{axis} {self.labels[axis][i]}" for axis, i in effect.where.items())
            + f" {effect.value:+.3g}"
            for effect in self.top(3)
        )
        clean = f"{self.baseline[self.measure]:.3g}"
        return f"<Sweep of {self.measure} over {size} ({self.kind}); clean {clean}; most: {first}>"


def sweep_heads(
    model: Any,
    tokens: Any,
    target: Any = None,
    *,
    measure: str | Measure | None = None,
    kind: str | None = None,
    value: Any = "zero",
    token: int | None = None,
    position: int | None = None,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
    budget_mib: float = 128,
) -> Sweep:
    """Switch off every head, each alone.

    Args:
        model: a `Transformer`, a Hugging Face model or a `TextModel`; edits in force hold for
            the clean pass and for all others.
        tokens, target: as in `trace`; text for a TextModel.
        measure: "log_prob" (if None), "probability" or "kl": which of them `values` is. Or a
            function that is given the logits [batch, position, vocab] and returns a number.
        kind, value: as in `ablate`.
        token: whose probability is measured; the clean pass's likeliest if None (in a batch, each
            text's own). A batch's numbers are the means over its texts.
        position: where it is predicted; from the end of the real tokens if below 0. None: the
            last, or for a masked TextModel the text's first mask token.
        mask, target_mask: bool, True for real tokens.
        progress: called with (edits done, edits in all); what it raises ends the sweep.
        budget_mib: memory for what is kept of the clean pass, and for edits sharing a pass;
            where it is not enough, passes are done one by one and in full.

    Returns:
        A `Sweep` over ("layer", "head").

    Raises:
        EditError: for a model whose attention cannot be edited, or that predicts nothing.
    """
    swept = _Swept(model, tokens, target, mask, target_mask, kind, token, position)
    n_layers, n_heads = swept.shape
    cells = [
        (ablate(layer, head, kind=kind, value=value),)
        for layer in range(n_layers)
        for head in range(n_heads)
    ]
    labels = {"layer": _count(n_layers), "head": _count(n_heads)}
    return swept.run(cells, labels, measure, progress, budget_mib)


def sweep_groups(
    model: Any,
    tokens: Any,
    target: Any = None,
    *,
    groups: Mapping[str, Sequence] | Sequence[Sequence] | None = None,
    measure: str | Measure | None = None,
    kind: str | None = None,
    value: Any = "zero",
    token: int | None = None,
    position: int | None = None,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
    budget_mib: float = 128,
) -> Sweep:
    """Switch off heads a group at a time: heads that stand in for each other look dispensable one
    by one, and are not together.

    Args:
        groups: name -> its heads, each a pair (layer, head); or a list of groups. If None, every
            layer is a group.
        others: as in `sweep_heads`.

    Returns:
        A `Sweep` over ("group",).

    Raises:
        EditError: as `sweep_heads`, and for a group that names no head of the model.
    """
    swept = _Swept(model, tokens, target, mask, target_mask, kind, token, position)
    if groups is None:
        n_layers, n_heads = swept.shape
        groups = {f"layer {i}": [(i, h) for h in range(n_heads)] for i in range(n_layers)}
    if not isinstance(groups, Mapping):
        groups = {", ".join(f"{a}.{b}" for a, b in map(_pair, group)): group for group in groups}
    cells = [
        tuple(ablate(*_pair(place), kind=kind, value=value) for place in group)
        for group in groups.values()
    ]
    empty = [name for name, cell in zip(groups, cells, strict=True) if not cell]
    if empty or not cells:
        raise EditError(f"groups={empty or 'nothing'} names no head; give pairs (layer, head)")
    return swept.run(cells, {"group": list(groups)}, measure, progress, budget_mib)


def sweep_edges(
    model: Any,
    tokens: Any,
    target: Any = None,
    *,
    layer: int | None = None,
    head: int | None = None,
    query: int,
    measure: str | Measure | None = None,
    kind: str | None = None,
    token: int | None = None,
    position: int | None = None,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
    budget_mib: float = 128,
) -> Sweep:
    """Cut every edge of one row, each alone: the query from each of the keys that it looks at.

    Args:
        layer, head: counted from 0; None means all.
        query: the row, a position in the text.
        others: as in `sweep_heads`.

    Returns:
        A `Sweep` over ("key",), NaN for keys that the query may not look at.

    Raises:
        EditError: as `sweep_heads`, and for a query that is not in the text.
    """
    swept = _Swept(model, tokens, target, mask, target_mask, kind, token, position)
    n_query, n_key = swept.n_tokens
    if isinstance(query, bool) or not isinstance(query, int) or not 0 <= query < n_query:
        raise EditError(f"query={query!r} is outside the {n_query} tokens (0 … {n_query - 1})")
    last = query + 1 if swept.kind == "decoder" else n_key
    cells = [(knock_out(layer, head, query=query, key=k, kind=kind),) for k in range(last)]
    cells += [()] * (n_key - last)
    return swept.run(cells, {"key": swept.key_labels()}, measure, progress, budget_mib)


class _Swept:
    """A model and what it reads, with what the clean pass predicts."""

    def __init__(self, model, tokens, target, mask, target_mask, kind, token, position):
        self.network = evaluated(model)
        self.inputs = read(model, self.network, tokens, target, mask, target_mask)
        kinds = kinds_of(self.network)
        if kind is not None and kind not in kinds:
            raise EditError(f"kind={kind!r} is not in this model; it has {', '.join(kinds)}")
        self.kind = kind or default_kind(kinds)
        self.tokenizers = _tokenizers(model)
        if position is None:
            position = -1 if target is not None else _first_mask(model, self.inputs)
        self.token, self.places = token, _places(self.inputs, position)

    @property
    def shape(self) -> tuple[int, int]:
        layers, heads = shape_of(self.network, self.kind)
        if heads is None:
            raise EditError(f"the number of heads of {type(self.network).__name__} is not known")
        return layers, heads

    @property
    def n_tokens(self) -> tuple[int, int]:
        """(queries, keys) of the kind."""
        source = self.inputs.tokens.shape[1]
        if self.kind == "encoder":
            return source, source
        return self.inputs.n_outputs, source if self.kind == "cross" else self.inputs.n_outputs

    def key_labels(self) -> list[str]:
        target = self.inputs.target if self.kind == "decoder" else None
        own = target is not None
        ids = (self.inputs.tokens if target is None else target)[0].tolist()
        return (
            [str(i) for i in ids] if self.tokenizers is None else self.tokenizers[own].tokens(ids)
        )

    def run(self, cells, labels, measure, progress, budget_mib) -> Sweep:
        taps = [tuple(tap_for(self.network, e) for e in cell) for cell in cells]
        tap = _Cells(len(self.inputs.tokens))
        passes = Passes(self.network, self.inputs, tap, budget_mib=budget_mib)
        with passes.open() as clean:
            judge = _Judge(passes, clean, measure, self.token, self.places)
            found = torch.full((len(cells), len(judge.names)), math.nan)
            for chunk, start in _chunks(passes, taps, budget_mib):
                tap.cells = [taps[i] for i in chunk]
                outputs = passes.outputs(len(chunk), start)
                for i, rows in zip(chunk, outputs.split(tap.batch), strict=True):
                    found[i] = torch.tensor(judge(rows))
                    if not any(t.applied for t in taps[i]):
                        found[i] = math.nan  # masked away: there was nothing to edit
                if progress is not None:
                    progress(int((~found[:, 0].isnan()).sum()), sum(map(bool, cells)))
            tap.cells = []
        shape = [len(names) for names in labels.values()]
        return Sweep(
            {name: found[:, i].reshape(shape) for i, name in enumerate(judge.names)},
            judge.shown, tuple(labels), labels, judge.baseline, judge.tokens,
            judge.places.tolist(), self.kind, tuple(cells),
        )  # fmt: skip


class _Cells(Tap):
    """The edits of several cells at once, each in its own copy of the batch."""

    def __init__(self, batch: int):
        self.batch, self.owner = batch, threading.get_ident()
        self.cells: list[tuple[EditTap, ...]] = []
        self._real: Tensor | None = None

    def _mine(self, call: AttentionCall) -> bool:
        return bool(self.cells) and threading.get_ident() == self.owner

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        if self._mine(call) and call.site is not None and call.site.kind != "cross":
            means = any(getattr(t.edit, "value", None) == "mean" for c in self.cells for t in c)
            self._real = real_keys(call) if means else None
        return call

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if not self._mine(call):
            return z
        changed = None
        for i, cell in enumerate(self.cells):
            rows = slice(i * self.batch, (i + 1) * self.batch)
            for tap in cell:
                if not tap._here(tap.kind, call.site):
                    continue
                changed = z.clone() if changed is None else changed
                if isinstance(tap.edit, KnockOut):
                    tap.applied += _cut(tap.edit, call, changed, rows)
                else:
                    real = self._real
                    real = real if real is None or len(real) == 1 else real[rows]
                    changed[rows] = tap.edit.change_heads(call, changed[rows], 0, real)
                    tap.applied += 1
        return z if changed is None else changed


def _cut(edit: KnockOut, call: AttentionCall, z: Tensor, rows: slice) -> bool:
    """Put into z what the query sees without the edge; only that row is computed again."""
    query, key = edit.query, edit.key
    assert query is not None and key is not None
    heads = edit.heads(call)
    scores = call.scores(rows, heads, torch.tensor([query], device=z.device))
    if not bool((scores[..., key] > torch.finfo(scores.dtype).min / 2).any()):
        return False
    scores[..., key] = -math.inf
    value = call.value
    assert value is not None
    groups = call.n_heads // value.shape[1]
    value = value[rows].repeat_interleave(groups, 1)[:, heads]
    z[rows, heads, query] = (safe_softmax(scores).to(value.dtype) @ value)[:, :, 0]
    return True


class _Judge:
    """Turns what a pass gave into numbers."""

    def __init__(self, passes: Passes, clean: Tensor, measure, token, places):
        self.passes, self.places = passes, places
        self.own: Any = measure if callable(measure) else None
        if self.own is None and measure not in (None, *MEASURES):
            raise EditError(
                f"measure={measure!r} is not known; choose one of {', '.join(MEASURES)}, or give a "
                "function of the logits"
            )
        self.names = ("measure",) if self.own else MEASURES
        self.shown = measure if isinstance(measure, str) else self.names[0]
        self.tokens: list[int] = []
        if self.own:
            self.clean = 0.0
            self.clean = self(clean)[0]
            self.baseline = {"measure": self.clean}
            return
        if clean.shape[1] == 1:  # a classifier's one answer
            self.places = torch.zeros_like(places)
        elif clean.shape[1] != passes.inputs.n_outputs:
            raise EditError(
                f"{type(passes.network).__name__} gives {list(clean.shape)}, no prediction for "
                "each token; say what to look at with measure=lambda logits: …"
            )
        self.log_probs = self._log_probs(clean)
        size = self.log_probs.shape[-1]
        if token is not None and not 0 <= token < size:
            raise EditError(f"token={token} is outside the vocabulary of {size} tokens")
        chosen = self.log_probs.argmax(-1)
        self.chosen = chosen if token is None else torch.full_like(chosen, token)
        self.tokens = self.chosen.tolist()
        self.own_log_prob = self._of_chosen(self.log_probs)
        self.baseline = {
            "log_prob": float(self.own_log_prob.mean()),
            "probability": float(self.own_log_prob.exp().mean()),
            "kl": 0.0,
        }

    def __call__(self, rows: Tensor) -> list[float]:
        if self.own:
            return [float(self.own(self.passes.logits(rows))) - self.clean]
        log_probs = self._log_probs(rows)
        now, before = self._of_chosen(log_probs), self.own_log_prob
        kl = (self.log_probs.exp() * (self.log_probs - log_probs)).nan_to_num().sum(-1)
        changes = (now - before, now.exp() - before.exp(), kl.clamp(min=0))
        return [float(x.mean()) for x in changes]

    def _log_probs(self, outputs: Tensor) -> Tensor:
        at = outputs[torch.arange(len(outputs), device=outputs.device), self.places]
        return self.passes.logits(at[:, None])[:, 0].log_softmax(-1)

    def _of_chosen(self, log_probs: Tensor) -> Tensor:
        return log_probs.gather(-1, self.chosen[:, None])[:, 0]


def _chunks(passes: Passes, taps: list[tuple[EditTap, ...]], budget_mib: float):
    """Cells that share a pass, with the block that it begins at."""
    starts: dict[int, list[int]] = {}
    for i, cell in enumerate(taps):
        if cell:
            first = min(passes.start_of(t.kind, t.edit.layer) for t in cell)
            starts.setdefault(first, []).append(i)
    most = _copies(passes, budget_mib)
    for start, indices in sorted(starts.items()):
        for i in range(0, len(indices), most):
            yield indices[i : i + most], start


def _copies(passes: Passes, budget_mib: float) -> int:
    """How many copies of the batch fit the budget in one pass; 1 for others' models, and where
    edits of the user's own may hold tensors for the batch as it is."""
    network, inputs = passes.network, passes.inputs
    if passes.hugging_face or any(
        tap is not passes.tap for module in network.tapped() for tap in module.taps
    ):
        return 1
    config = network.config
    n = inputs.tokens.numel() + (0 if inputs.target is None else inputs.target.numel())
    widths = 4 * getattr(config, "d_ff", config.d_model) + 8 * config.d_model
    longest = max(inputs.tokens.shape[1], inputs.n_outputs)
    scores = config.n_heads * longest if inputs.mask is not None else 0  # a mask is spread out
    return max(1, int(budget_mib * 2**20 / (4 * n * (widths + scores))))


def _places(inputs: Inputs, position: int) -> Tensor:
    """[batch]: where each text's prediction is read."""
    n, batch, mask = inputs.n_outputs, len(inputs.tokens), inputs.output_mask
    if isinstance(position, bool) or not isinstance(position, int) or not -n <= position < n:
        raise EditError(f"position={position!r} is outside the {n} tokens (−{n} … {n - 1})")
    if position >= 0:
        return torch.full((batch,), position, device=inputs.tokens.device)
    if mask is None:
        return torch.full((batch,), n + position, device=inputs.tokens.device)
    ends = n - mask.flip(1).long().argmax(1)  # one after the last real token
    return (ends + position).clamp(min=0)


def _first_mask(model: Any, inputs: Inputs) -> int:
    """A masked TextModel predicts at its text's first mask token; others at the end."""
    mask_id = getattr(getattr(model, "tokenizer", None), "mask_id", None)
    if getattr(model, "kind", None) != "encoder" or mask_id is None:
        return -1
    ids = inputs.tokens[0].tolist()
    return ids.index(mask_id) if mask_id in ids else -1


def _tokenizers(model: Any) -> tuple[Any, Any] | None:
    if not hasattr(model, "tokenizer"):
        return None
    return model.tokenizer, model.target_tokenizer


def _pair(place: Any) -> tuple[int, int]:
    pair = tuple(place) if isinstance(place, Sequence) and not isinstance(place, str) else ()
    if len(pair) != 2:
        raise EditError(f"{place!r} is no head; give pairs (layer, head)")
    return pair[0], pair[1]


def _count(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def _plain(values: Any) -> Any:
    if isinstance(values, list):
        return [_plain(v) for v in values]
    return None if math.isnan(values) else values
