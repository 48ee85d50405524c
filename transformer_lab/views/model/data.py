"""Data for the browser: residual streams, what attention carries, and predictions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...adapters.interrupts import no_grad
from ...analysis.circuits import block_share, logit_lens, stream_norms
from ...analysis.circuits.sources import inputs_of
from ...edits.constructors import edit_from_dict
from ...edits.interventions import edit
from ...edits.kinds import Edit
from ...graphs import analyses
from ...tracing.running import trace as traced
from ...tracing.trace import TraceError
from ..shared.codecs import pack_floats, shown_text, shown_token

if TYPE_CHECKING:
    from ...tracing.trace import Trace

WINDOW = 64  # tokens shown side by side
LENS = 3  # tokens in a row of the logit lens
Plain = dict[str, Any]
NO_EDITS = "[]"


@dataclass(frozen=True, eq=False)
class Edges:
    """What one layer's attention carries.

    `places` is int [edge, 3] (head, query, key), `carried` fp32 [2, edge], without and with edits;
    `sums` [2] is over all edges, listed or not.
    """

    places: Tensor = field(repr=False)
    carried: Tensor = field(repr=False)
    sums: Tensor


@dataclass(frozen=True, eq=False)
class Pass:
    """One forward pass without edits and one with them (the same one if there are none).

    Attributes:
        steps: what is computed, in order: "what" is "start", "attention", "cross", "MLP",
            "block", "none" (a layer without attention) or "end"; "stack" and "layer" say where.
        edges: step -> its edges, for steps that have some.
        norms: stack -> [2, layer + 1, token]. shares: stack -> part -> [2, layer, token].
    """

    steps: list[Plain]
    edges: dict[int, Edges]
    norms: dict[str, Tensor]
    shares: dict[str, dict[str, Tensor]]


def edits_named(text: str) -> list[Edit]:
    return [edit_from_dict(values) for values in json.loads(text)]


def edits_name(edits: Sequence[Plain]) -> str:
    """The name by which a browser requests results under these edits."""
    return json.dumps(list(edits), separators=(",", ":"), ensure_ascii=False)


class ModelData:
    """One text of a trace, under any edits."""

    def __init__(self, trace: Trace, batch: int = 0):
        self.trace, self.batch = trace, trace.text(batch) % trace.batch_size
        self.stacks = tuple(kind for kind in trace.kinds if kind != "cross")
        self.main = "decoder" if "decoder" in self.stacks else self.stacks[0]
        self.tokens = {
            kind: [shown_token(x) for x in trace.query_tokens(kind, batch)] for kind in self.stacks
        }
        # On each view, not on the class: it must not keep traces alive.
        self.under = lru_cache(2)(self._under)
        self.found = lru_cache(8)(self._found)
        self.lens = lru_cache(64)(self._lens)

    @property
    def last(self) -> int:
        """Where the first window starts: at a decoder's last tokens, at an encoder's first."""
        return max(0, len(self.tokens[self.main]) - WINDOW) if self.main == "decoder" else 0

    def window(self, stack: str, first: int) -> range:
        """The tokens of a stack that are shown side by side."""
        n = len(self.tokens[stack])
        first = min(first, max(0, n - WINDOW)) if stack == self.main else 0
        return range(first, min(n, first + WINDOW))

    def without(self, kind: str) -> dict[str, str]:
        """Layers without attention of this kind -> what they have instead."""
        having, layers = self.trace.attending(kind), self.trace.layers(kind)
        return {str(i): shown_text(x.what) for i, x in enumerate(layers) if i not in having}

    def _under(self, edits: str) -> Trace:
        """The same text, traced under edits."""
        own, batch = self.trace, self.batch
        if edits == NO_EDITS:
            return own
        if own.network is None:
            raise TraceError("this trace has no model, so nothing can be switched off")
        inputs = inputs_of(own, batch)
        with edit(own.network, *edits_named(edits), this_thread=True):
            return traced(
                own.network,
                inputs.tokens,
                inputs.target,
                mask=inputs.mask,
                target_mask=inputs.target_mask,
                keep="all" if self.is_whole else "maps",
                **inputs.given,
            )

    @cached_property
    def is_whole(self) -> bool:
        """Whether the trace holds the residual stream itself, not only its length."""
        try:
            return bool(self.trace.residual(self.main, self.batch))
        except TraceError:
            return False

    # -- the pass -------------------------------------------------------------------------------

    def _found(self, first: int, edits: str) -> Pass:
        both = [(one, self._batch(one)) for one in (self.trace, self.under(edits))]
        steps: list[Plain] = [{"what": "start", "stack": self.main, "layer": 0}]
        edges, norms, shares = {}, {}, {}
        for stack in self.stacks:
            seen = self.window(stack, first)
            columns = slice(seen.start, seen.stop)
            norms[stack] = torch.stack(_of_each(both, partial(_norms, stack)))[..., columns]
            shares[stack] = {}
            added = _of_each(both, partial(_shares, stack))
            for name in added[0]:
                shares[stack][name] = torch.stack([one[name][:, columns] for one in added])
            for layer in range(self.trace.n_layers(stack)):
                for what, kind in (("attention", stack), ("cross", "cross")):
                    if kind == "cross" and (stack != "decoder" or "cross" not in self.trace.kinds):
                        continue
                    step: Plain = {"what": what, "stack": stack, "layer": layer, "kind": kind}
                    if why := self.without(kind).get(str(layer)):
                        step |= {"what": "none", "why": why}
                    else:
                        edges[len(steps)] = self._edges(both, kind, layer, seen, edits)
                    steps.append(step)
                last = next((name for name in ("MLP", "block") if name in shares[stack]), None)
                if last:
                    steps.append({"what": last, "stack": stack, "layer": layer})
        end = {"what": "end", "stack": self.main, "layer": self.trace.n_layers(self.main) - 1}
        return Pass([*steps, end], edges, norms, shares)

    def _edges(self, both: list, kind: str, layer: int, queries: range, edits: str) -> Edges:
        def read(trace: Trace, batch: int) -> tuple[Tensor, Tensor]:
            call = trace.call(layer, kind=kind, batch=batch)
            weights = call.pattern(batch, slice(None), torch.tensor(queries)).float().cpu()
            values = trace.value_norms(layer, kind=kind, batch=batch)
            ones = torch.ones(weights.shape[0], weights.shape[-1])
            return weights, ones if values is None else values.float().cpu()

        maps, lengths = map(list, zip(*_of_each(both, read), strict=True))
        lengths[1] = lengths[1] * self._left(kind, layer, len(lengths[1]), edits)[:, None]
        own = torch.tensor(queries) if kind != "cross" else torch.full((len(queries),), -1)
        found = analyses.carried(maps[0], maps[1], lengths[0], lengths[1], own)
        n = maps[0].shape[-1]
        at = found["places"]
        places = torch.stack(
            (at // (n * len(queries)), at // n % len(queries) + queries.start, at % n), 1
        )
        return Edges(places, torch.stack((found["before"], found["after"])), found["sums"])

    def _left(self, kind: str, layer: int, heads: int, edits: str) -> Tensor:
        """The factor by which edits scale each head's output: 0 where they replace it."""
        left = torch.ones(heads)
        for values in json.loads(edits):
            own = values.get("kind") or self.trace.kind()
            head, is_here = values.get("head"), values.get("layer") in (None, layer)
            replaces = values["edit"] == "ablate" or values.get("what") == "z"
            if own == kind and is_here and (replaces or values["edit"] == "scale"):
                left[slice(None) if head is None else head] *= 0 if replaces else values["by"]
        return left.abs()

    # -- predictions ----------------------------------------------------------------------------

    def _lens(self, position: int, edits: str) -> Plain:
        """The logit lens at a position after each layer, and the model's own prediction."""
        after = self.under(edits)
        names, rows, why = self._answer_names(), [], ""

        def read(trace: Trace, batch: int) -> list:
            lens = logit_lens(trace, k=LENS, positions=[position], batch=batch)
            both = zip(lens.tokens[:, 0].tolist(), lens.probabilities[:, 0].tolist(), strict=True)
            return [[[names(i), p] for i, p in zip(*row, strict=True)] for row in both]

        try:
            rows = _of_each([(one, self._batch(one)) for one in (self.trace, after)], read)
        except TraceError as error:
            why = shown_text(str(error))
        found, risen = [], 0
        given = [self._answers(trace, position) for trace in (self.trace, after)]
        if given[0] is not None and given[1] is not None:
            outcome = analyses.outcome(given[0], given[1])
            parts = (outcome[n].tolist() for n in ("tokens", "before", "after"))
            found = [[names(i), p, q] for i, p, q in zip(*parts, strict=True)]
            risen = int(outcome["risen"].sum())
        return {"position": position, "why": why, "rows": rows, "answers": found, "risen": risen}

    def _batch(self, trace: Trace) -> int:
        return self.batch if trace is self.trace else 0

    def _answers(self, trace: Trace, position: int) -> Tensor | None:
        """Logits of tokens at a position, or of classes; None if the model has neither."""
        batch = self._batch(trace)
        if trace.logits is not None:
            return trace.logits[batch, position].detach().float().cpu()
        return None if trace.answers is None else trace.answers[batch].detach().float().cpu()

    def _answer_names(self) -> Any:
        trace = self.trace
        if trace.logits is not None:
            return lambda i: shown_token(trace.name_token(i))
        classes = getattr(getattr(trace.model, "config", None), "id2label", None) or {}
        return lambda i: shown_text(str(classes.get(i, i)))

    # -- for the browser ------------------------------------------------------------------------

    def block(self, first: int, edits: str) -> tuple[Plain, bytes]:
        """A pass as (info, bytes); offsets in the info count floats."""
        found, data, size = self.found(first, edits), [], 0

        def put(x: Tensor) -> int:
            nonlocal size
            data.append(pack_floats(x.contiguous()))
            size += x.numel()
            return size - x.numel()

        stacks = {}
        for stack in self.stacks:
            seen = self.window(stack, first)
            stacks[stack] = {
                "first": seen.start,
                "count": len(seen),
                "norms": put(found.norms[stack]),
            }
            stacks[stack]["shares"] = {n: put(x) for n, x in found.shares[stack].items()}
        steps = [dict(step) for step in found.steps]
        for at, edges in found.edges.items():
            numbers = torch.cat((edges.places.T.float(), edges.carried))
            steps[at] |= {
                "edges": len(edges.places),
                "at": put(numbers),
                "sums": edges.sums.tolist(),
            }
        info = {"edited": edits != NO_EDITS, "stacks": stacks, "steps": steps}
        return info, b"".join(data)

    def map(self, kind: str, layer: int, head: int, edits: str) -> Tensor:
        """One head's attention weights, [query, key]."""
        trace = self.under(edits)
        with no_grad():
            return trace.pattern(layer, head, kind=kind, batch=self._batch(trace)).float().cpu()


def _of_each(both: list, read: Callable[[Trace, int], Any]) -> list:
    """Apply `read` to the passes without and with edits; once if they are the same pass."""
    first = read(*both[0])
    return [first, first if both[1][0] is both[0][0] else read(*both[1])]


def _norms(stack: str, trace: Trace, batch: int) -> Tensor:
    """Lengths of the residual stream, [layer + 1, token]; 1 where they are not known."""
    try:
        return stream_norms(trace, kind=stack, batch=batch).float()
    except TraceError:
        return torch.ones(trace.n_layers(stack) + 1, len(trace.query_tokens(stack, batch)))


def _shares(stack: str, trace: Trace, batch: int) -> dict[str, Tensor]:
    """Part -> what it adds relative to the stream's length, [layer, token]; empty if unknown."""
    try:
        found = block_share(trace, kind=stack, batch=batch)
    except TraceError:
        return {}
    return dict(zip(found.parts, found.share.float(), strict=True))
