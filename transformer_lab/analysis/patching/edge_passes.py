"""Passes in which every edge carries its value in the clean run, or in the corrupted one.

A reader gets the stream of the corrupted run and, for each of its live edges, what the writer
writes *now* less what it wrote in that run. So with no live edge a pass is the corrupted run, and
with all of them the clean one. Readers of one layer that get different streams are in different
copies of the batch: of each copy, only its own readers' results are used. It is the model's own
code that reads, whatever its norms, positions and activations are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...adapters.checkpointing import NO_GRADIENTS
from ...adapters.interrupts import no_grad, sheltered, stack
from ...adapters.linear import gradient_stop
from ...adapters.network import AdapterError
from ...adapters.parts import with_grad
from ...attention import AttentionCall, Site, Tap
from ...edits.kinds import EditError
from ...edits.passes import Passes
from ...edits.patching import OF_CALL
from ...files.waiting import waiting
from ...softmax import spread_heads
from ...tracing.trace import TraceError
from .edge_graph import INPUTS, EdgeGraph
from .prompt_pair import Pair

ROOM, ROOM_HALF = 1e-3, 5e-2  # how far a stream may be from what was written; the same in 16 bits


class EdgePasses:
    """A model, two prompts, and what each writer writes in either run.

    Args:
        pair: its source is the clean run; the corrupted one has the same length.

    Attributes:
        graph: its edges.
        clean, corrupted: the metric of the two runs.

    Raises:
        EditError: for a model whose edges are not known, with the reason.
    """

    def __init__(self, pair: Pair, budget_mib: float):
        self.pair, self.kind, self.budget = pair, pair.kind, budget_mib
        network, run = pair.network, pair.source
        self.name = run.model_name
        n_layers = run.n_layers(pair.kind)
        if network.kind != "decoder":
            raise EditError(f"edge scores need a decoder; {self.name} is an {network.kind}")
        if run.attending(pair.kind) != list(range(n_layers)):
            raise EditError(
                f"edge scores need heads in every layer; some layers of {self.name} have none"
            )
        if any(network.stands_between(Site(pair.kind, i)) for i in range(n_layers)):
            raise EditError(
                f"edge scores need heads that write straight into the stream; in {self.name} a "
                "gate or norm comes in between"
            )
        mlps = network.transformer is None or not network.refuses_stream(("mlp_out",), pair.kind)
        heads = tuple(run.heads_of(i, pair.kind) for i in range(n_layers))
        self.graph = EdgeGraph(heads, mlps)
        self.out = [self._out(i) for i in range(n_layers)]
        self.apart = self._apart()  # of every writer, clean less corrupted: [writer, batch, …]
        self._tap = _Tap(self)
        whole = pair.metric.of is not None
        self.passes = Passes(
            network,
            pair.into_of.inputs,
            self._tap,
            budget_mib=budget_mib,
            places=None if whole else pair.into_of.places,
        )
        if network.in_copies(self._tap, pair.into_of.inputs) is False:
            raise EditError(
                f"edge scores need several copies of the text in one pass, which {self.name} does "
                "not take"
            )
        if mlps and self._is_parallel():
            self.graph = EdgeGraph(heads, mlps, parallel=True)
        self.clean = pair.source_value
        self.corrupted = self._opened()

    def activation(self, what: str, layer: int) -> Tensor:
        """An activation of the corrupted run."""
        return self.pair.into.activation(what, layer, kind=self.kind)

    def metrics(
        self, masks: Sequence[Tensor], progress: Callable[[int, int], None] | None = None
    ) -> list[float]:
        """Return the metric with only these edges live, for each mask bool [reader, writer].

        Args:
            progress: called with (masks done, masks in all).
        """
        plans = [_Plan.of(self.graph, mask) for mask in masks]
        found = [0.0] * len(plans)
        left = sorted(range(len(plans)), key=lambda i: (plans[i].start, plans[i].copies))
        with self._watching(no_grad()), waiting("Patching edges", progress) as tell:
            while left:
                plan = plans[left[0]]
                some = [i for i in left[: self._most(plan)] if plans[i].start == plan.start]
                left = left[len(some) :]
                rows = self._tap.run([plans[i] for i in some])
                for i, own in zip(some, rows, strict=True):
                    found[i] = float(self._metric(own))
                tell(len(plans) - len(left), len(plans))
        return found

    def slopes(self, share: float) -> Tensor:
        """Estimate how far each edge moves the metric, fp32 [reader, writer]: the gradient, with
        the input `share` (0 … 1) of the way from the corrupted run to the clean one, times what the
        edge carries in the clean run less in the corrupted one.

        Raises:
            EditError: if no gradient reaches the readers.
        """
        plan = _Plan.apart(self.graph)
        found = torch.zeros(self.graph.every.shape)
        with self._watching(with_grad()):
            if stop := gradient_stop(self.pair.network.module):
                raise EditError(
                    f"no gradient passes through {self.name}, because of {stop}; give by='exact'"
                )
            (rows,) = self._tap.run([plan], share=share, leaves=True)
            leaves = [leaf for _, leaf in self._tap.leaves]
            try:
                grads = torch.autograd.grad(self._metric(rows), leaves, allow_unused=True)
            except RuntimeError as error:
                raise EditError(
                    f"no gradient reaches what the heads of {self.name} read ({error}); give "
                    "by='exact'"
                ) from error
        for (readers, _), grad in zip(self._tap.leaves, grads, strict=True):
            if grad is None:
                continue
            moved = grad.flatten(1).to(self.apart) @ self.apart.flatten(1).T
            n = readers.stop - readers.start
            found[readers] = moved[[*range(n - 1), -1]].float().cpu()  # the last is an mlp's
        self._tap.leaves = []
        return found.masked_fill(~self.graph.every, 0.0)

    # -- inside -----------------------------------------------------------------------------------

    def _most(self, plan: _Plan) -> int:
        """How many masks can share a pass."""
        network, n = self.pair.network, self.passes.inputs.n_outputs * self.apart.shape[1]
        held = 4 * (
            plan.copies * n * network.numbers_per_token + self.apart.numel() + self.apart[0].numel()
        )
        return max(1, int(self.budget * 2**20 / held))

    def _metric(self, rows: Tensor) -> Tensor:
        metric, passes = self.pair.metric, self.passes
        if metric.of is not None:
            return metric(passes.logits(rows))
        assert metric.places is not None
        return metric.at_places(passes.logits(passes.at(rows, metric.places))).mean()

    def _opened(self) -> float:
        """Return the corrupted run's metric; after this, passes may start in the middle."""
        with self.passes.open():
            return float(self._metric(self.passes.clean()))

    @sheltered
    def _watching(self, grad: Any) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self.passes.open())
            stack.enter_context(grad)
            self._hang(stack, self._tap)
            yield

    def _hang(self, stack: ExitStack, tap: Tap) -> None:
        network, last = self.pair.network, len(self.graph.heads) - 1
        names = ["resid_pre", *["attn_out", "mlp_out"] * self.graph.mlps]
        try:
            for name in names:
                stack.enter_context(network.changing_stream(tap, [name], self.kind, None))
            stack.enter_context(network.changing_stream(tap, ["resid_post"], self.kind, last))
        except AdapterError as error:
            raise EditError(f"edge scores cannot be computed for {self.name}: {error}") from error

    def _out(self, layer: int) -> Tensor:
        """W_O of every head of a layer, fp32 [head, d_head, d_model]."""
        weight = self.pair.source.output_weight(layer, kind=self.kind)
        if weight is None:
            raise EditError(
                f"edge scores cannot be computed for {self.name}: the output matrix of layer "
                f"{layer}'s attention was not found"
            )
        wide = torch.promote_types(weight.dtype, torch.float32)
        return weight.to(wide).unflatten(0, (self.graph.heads[layer], -1))

    def _apart(self) -> Tensor:
        """Return what each writer writes in the clean run less in the corrupted one.

        Raises:
            EditError: if that is not known, or does not add up to the streams.
        """
        runs = self.pair.source, self.pair.into

        def apart(what: str, layer: int) -> Tensor:
            clean, corrupted = (run.activation(what, layer, kind=self.kind) for run in runs)
            wide = torch.promote_types(clean.dtype, torch.float32)
            return clean.to(wide) - corrupted.to(wide)

        try:
            found = [apart("resid_pre", 0)[None]]
            total = found[0][0].clone()
            for layer, out in enumerate(self.out):
                heads = torch.einsum("bhpk,hkd->hbpd", apart("z", layer), out)
                found.append(heads)
                total += heads.sum(0)
                if self.graph.mlps:
                    found.append(apart("mlp_out", layer)[None])
                    total += found[-1][0]
                self._check(total, apart("resid_post", layer), layer)
        except TraceError as error:
            raise EditError(f"edge scores cannot be computed for {self.name}: {error}") from error
        return torch.cat(found)

    def _check(self, total: Tensor, apart: Tensor, layer: int) -> None:
        stream = self.activation("resid_post", layer)
        room = ROOM_HALF if stream.dtype.itemsize < 4 else ROOM
        size, off = float(stream.float().norm()), float((total - apart).norm())
        if not off <= room * max(float(apart.norm()), 1e-2 * size):
            raise EditError(
                f"edge scores cannot be computed for {self.name}: what its heads and MLPs write "
                f"does not add up to its stream (layer {layer}, off by {100 * off / size:.2g}% "
                "of it)"
            )

    def _is_parallel(self) -> bool:
        probe = _Probe(len(self.passes.inputs.first))
        with stack() as opened:
            opened.enter_context(no_grad())
            opened.enter_context(self.pair.network.tapping(probe))
            self._hang(opened, probe)
            self.pair.network.run(self.passes.inputs.copies(2))
        return not probe.reads_heads


class _Plan:
    """The copies of the batch that a circuit needs, and the readers of each.

    Attributes:
        rows: layer -> int [3, head], the copy in which each input of its heads is read.
        masks: layer -> bool [copy, writer], the live edges in each.
        start: the first layer whose readers are not all as in the clean run.
    """

    def __init__(self, rows: list[Tensor], masks: list[Tensor], logits: Tensor, start: int):
        self.rows, self.masks, self.logits, self.start = rows, masks, logits, start
        self.copies = max(len(mask) for mask in masks)

    @classmethod
    def of(cls, graph: EdgeGraph, mask: Tensor) -> _Plan:
        """Plan as few copies as there are different streams, the last one for the MLP."""
        rows, masks, start = [], [], len(graph.heads)
        for layer, n in enumerate(graph.heads):
            live, at = mask[graph.reading(layer)].unique(dim=0, return_inverse=True)
            rows.append(at.reshape(3, n))
            masks.append(cls._with_mlp(graph, layer, live, mask))
            end = graph.reading(layer).stop + graph.mlps
            own = slice(graph.reading(layer).start, end)
            if start == len(graph.heads) and not torch.equal(mask[own], graph.every[own]):
                start = layer
        return cls(rows, masks, mask[-1], min(start, len(graph.heads) - 1))

    @classmethod
    def apart(cls, graph: EdgeGraph) -> _Plan:
        """Plan all edges live, and each reader in its own copy."""
        rows = [torch.arange(3 * n).reshape(3, n) for n in graph.heads]
        masks = [
            cls._with_mlp(graph, i, graph.every[graph.reading(i)], graph.every)
            for i in range(len(graph.heads))
        ]
        return cls(rows, masks, graph.every[-1], 0)

    @staticmethod
    def _with_mlp(graph: EdgeGraph, layer: int, live: Tensor, mask: Tensor) -> Tensor:
        return torch.cat((live, mask[graph.mlp_reader(layer)][None])) if graph.mlps else live


class _Tap(Tap):
    """Set the readers' streams, and record what is written. The batch axis is [circuit, copy,
    batch].
    """

    def __init__(self, runs: EdgePasses):
        self.runs, self.owner = runs, threading.get_ident()
        self.plans: Sequence[_Plan] = ()
        self.start = self.copies = 0
        self.written: list[Tensor] = []  # [writer, circuit, batch, position, d_model] each
        self._wants = False
        self.leaves: list[tuple[slice, Tensor]] = []  # readers, and what is added to their streams

    def run(
        self, plans: Sequence[_Plan], *, share: float = 1.0, leaves: bool = False
    ) -> list[Tensor]:
        """Return what the pass predicts for each circuit; all start at one layer."""
        runs = self.runs
        self.plans, self.start, self._wants = plans, plans[0].start, leaves
        self.copies = max(plan.copies for plan in plans)
        self.leaves = []
        apart = runs.apart[:, None].expand(-1, len(plans), *runs.apart.shape[1:])
        self.written = [share * apart[: runs.graph.first_writer(self.start)]]
        try:
            begin = runs.passes.kept.start_of(runs.kind, self.start)
            outputs = runs.passes.outputs(len(plans) * self.copies, begin)
        finally:
            self.plans = ()
        outputs = outputs.unflatten(0, (len(plans), self.copies, -1))
        return list(outputs[:, 0])

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        graph = self.runs.graph
        if not self._here(site) or site.layer < self.start:
            return x
        if name == "resid_pre":
            return self._given(x, site.layer)
        if name == "attn_out" and graph.mlps and not graph.parallel:
            return self._to_mlp(x, site.layer)
        if name == "mlp_out" and graph.mlps:
            own = self._apart(x)[:, -1] - self.runs.activation(name, site.layer)
            self.written.append(own[None])
        if name == "resid_post" and site.layer == len(graph.heads) - 1:
            return self._to_logits(x, site.layer)
        return x

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        site = call.site
        if not self._here(site) or site is None or site.layer < self.start:
            return call
        if call.value is None or not call.query.shape[-1]:
            raise EditError("the model's own attention code does not show what its heads read")
        rows = torch.stack([plan.rows[site.layer] for plan in self.plans])  # [circuit, 3, head]
        wide = {}
        for i, what in enumerate(INPUTS):
            x = self._apart(spread_heads(getattr(call, OF_CALL[what]), call.n_heads))
            circuits = torch.arange(len(x))[:, None]
            read = x[
                circuits, rows[:, i], :, torch.arange(call.n_heads)
            ]  # [circuit, head, batch, …]
            x = torch.cat((read.transpose(1, 2)[:, None], x[:, 1:]), 1)
            wide[OF_CALL[what]] = x.flatten(0, 2)
        return replace(call, **wide)

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        site = call.site
        if not self._here(site) or site is None or site.layer < self.start:
            return z
        out = self.runs.out[site.layer]
        apart = self._apart(z)[:, 0].to(out) - self.runs.activation("z", site.layer).to(out)
        self.written.append(torch.einsum("cbhpk,hkd->hcbpd", apart, out))
        return z

    # -- inside -----------------------------------------------------------------------------------

    def _here(self, site: Site | None) -> bool:
        here = bool(self.plans) and threading.get_ident() == self.owner
        return here and site is not None and site.kind == self.runs.kind

    def _apart(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (len(self.plans), self.copies, -1))

    def _live(self, masks: Sequence[Tensor], written: Sequence[Tensor]) -> Tensor:
        """Sum what the live edges carry: [circuit, copy, batch, position, d_model]; each mask is
        [copy, writer].
        """
        whole = torch.cat(list(written))
        live = torch.zeros(len(masks), self.copies, len(whole))
        for circuit, mask in zip(live, masks, strict=True):
            circuit[: len(mask)] = mask[:, : len(whole)]
            if self.runs.graph.mlps:  # whose copy is the last
                circuit[-1] = mask[-1, : len(whole)]
        return torch.einsum("cnw,wcbpd->cnbpd", live.to(whole), whole)

    def _given(self, x: Tensor, layer: int) -> Tensor:
        graph = self.runs.graph
        live = self._live([plan.masks[layer] for plan in self.plans], self.written)
        live = live + self.runs.activation("resid_pre", layer)
        if self._wants:
            readers = graph.reading(layer)
            live = live + self._leaf(live[0], slice(readers.start, readers.stop + graph.mlps))
        return live.flatten(0, 2).to(x)

    def _leaf(self, x: Tensor, readers: slice) -> Tensor:
        """A zero like x, whose gradient is that of what these readers are given."""
        if not torch.is_grad_enabled():  # allow_unused would make every edge into it 0
            raise EditError(
                f"no gradient reaches what the heads of {self.runs.name} read: {NO_GRADIENTS}; give "
                "by='exact'"
            )
        leaf = torch.zeros_like(x).requires_grad_()
        self.leaves.append((readers, leaf))
        return leaf

    def _to_mlp(self, x: Tensor, layer: int) -> Tensor:
        """Give an MLP its own stream, in its own copy: what the layer's heads add is set there."""
        masks = [plan.masks[layer][-1:, self.runs.graph.head_writers(layer)] for plan in self.plans]
        heads = torch.einsum(
            "ch,hcbpd->cbpd", torch.cat(masks).to(self.written[-1]), self.written[-1]
        )
        own = (heads + self.runs.activation("attn_out", layer)).to(x)
        return torch.cat((self._apart(x)[:, :-1], own[:, None]), 1).flatten(0, 2)

    def _to_logits(self, x: Tensor, layer: int) -> Tensor:
        whole = torch.cat(self.written)
        live = torch.stack([plan.logits for plan in self.plans]).to(whole)
        given = torch.einsum("cw,wcbpd->cbpd", live, whole)
        given = given + self.runs.activation("resid_post", layer)
        if self._wants:
            last = len(self.runs.graph.readers) - 1
            given = given + self._leaf(given, slice(last, last + 1))
        return torch.cat((given[:, None].to(x), self._apart(x)[:, 1:]), 1).flatten(0, 2)


class _Probe(Tap):
    """Find out whether an MLP reads what its layer's heads wrote: in the second half of the batch,
    they write something else into the same stream.
    """

    def __init__(self, half: int):
        self.half, self.owner, self.reads_heads = half, threading.get_ident(), False

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        if threading.get_ident() != self.owner:
            return x
        first, second = x[: self.half], x[self.half :]
        if name == "resid_pre":
            return torch.cat((first, first))
        if name == "attn_out":
            return torch.cat((first, second.flip(-1)))
        if name == "mlp_out":
            self.reads_heads |= not torch.allclose(first, second, rtol=1e-3, atol=1e-6)
        return x
