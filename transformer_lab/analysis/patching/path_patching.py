"""Path patching: how far one part affects the answer by one path alone."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ...adapters.interrupts import stack
from ...adapters.network import AdapterError
from ...arguments import shown
from ...attention import AttentionCall, Site, Tap
from ...edits.cells import Cells
from ...edits.kinds import EditError
from ...edits.patching import OF_CALL
from ...files.waiting import waiting
from ...softmax import spread_heads
from ...tracing.provenance import Provenance, finding
from ...tracing.trace import TraceError
from .patching_grid import Judged
from .prompt_pair import Pair
from .results import PatchingGrid

LOGITS = "logits"
PARTS = ("attn_out", "mlp_out")
INPUTS = ("q", "k", "v")


@dataclass(frozen=True)
class Part:
    """A part that writes into the stream: a head, or a layer's attention or MLP."""

    layer: int
    what: str
    head: int | None = None

    def __str__(self) -> str:
        return f"({self.layer}, {self.head if self.what == 'z' else repr(self.what)})"


@dataclass(frozen=True)
class Reader:
    """A head that reads the stream, through its queries, keys or values."""

    layer: int
    head: int
    inputs: tuple[str, ...] = INPUTS

    def __str__(self) -> str:
        which = "" if self.inputs == INPUTS else f" ({', '.join(self.inputs)})"
        return f"head {self.layer}.{self.head}{which}"


@dataclass(frozen=True)
class PathEffect:
    """How far one sender moves the metric by the paths that are left open to it.

    Attributes:
        value: the change of the metric; `recovered` is that as a fraction of the difference between
            the runs.
        into, source: the metric of the run that is patched, and of the source run.
        sender, receiver, via, metric, direction: in words. provenance: how it was made, see
            `tl.report`.
    """

    value: float
    into: float
    source: float
    sender: str
    receiver: str
    via: str
    metric: str
    direction: str
    provenance: Provenance | None = field(default=None, repr=False)

    @property
    def recovered(self) -> float:
        between = self.source - self.into
        return self.value / between if between else math.nan


@finding
def path_patch(
    model: Any,
    clean: Any,
    corrupted: Any,
    *,
    sender: Any = None,
    receiver: Any = LOGITS,
    via: Any = None,
    metric: Any = None,
    direction: str = "denoising",
    align: Any = None,
    kind: str | None = None,
    position: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    budget_mib: float = 512,
) -> PathEffect | PatchingGrid:
    """Patch what a part of one run wrote into another run, and let it reach its receiver through
    the stream alone: everything between them is held at its old value.

    Args:
        model, clean, corrupted, metric, direction, align, kind, position: as in `patching_grid`.
        sender: a head (layer, head), or (layer, "attn_out") or (layer, "mlp_out"). None: every head
            that comes before its receiver, each alone.
        receiver: "logits"; or a head (layer, head), one of its inputs (layer, head, "q"), "k" or
            "v", or a list of those, which are patched together.
        via: what is not held between them, and so passes the change on: None for nothing; "mlp" for
            every MLP (as Wang et al. 2022 do); or a list of parts, as for the sender.

    Returns:
        A `PathEffect`; for every head a `PatchingGrid` over ("layer", "head").

    Raises:
        EditError: for a part that does not exist, a sender that does not come before its receiver,
            a model whose parts between them cannot be held, with the reason; and as
            `patching_grid`.

    Source: Wang et al. 2022; Goldowsky-Dill et al. 2023.
    """
    pair = Pair(
        model,
        clean,
        corrupted,
        metric=metric,
        direction=direction,
        align=align,
        kind=kind,
        position=position,
        given={},
    )
    readers = _readers(pair, receiver)
    paths = _Paths(pair, readers, via, budget_mib)
    senders = paths.every_head() if sender is None else [paths.part("sender", sender)]
    for one in senders:
        paths.check(one)
    found = paths.measured(senders, progress)
    fields: dict[str, Any] = dict(
        into=paths.into, source=pair.source_value, metric=pair.metric.description
    )
    receiver_told = ", ".join(map(str, readers)) or LOGITS
    via_told = "nothing" if via is None else str(via)
    if sender is not None:
        words = (str(senders[0]), receiver_told, via_told)
        return PathEffect(
            found[senders[0]],
            **fields,
            sender=words[0],
            receiver=words[1],
            via=words[2],
            direction=direction,
        )
    source = pair.source
    shape = source.n_layers(pair.kind), source.n_heads(pair.kind)
    exact = torch.full(shape, math.nan)
    for one, value in found.items():
        exact[one.layer, int(one.head or 0)] = value
    labels = {
        axis: [str(i) for i in range(n)] for axis, n in zip(("layer", "head"), shape, strict=True)
    }
    return PatchingGrid(
        "z",
        ("layer", "head"),
        labels,
        torch.full(shape, math.nan),
        exact,
        ~exact.isnan(),
        direction=direction,
        aligned=pair.aligned,
        model=source.model_name,
        path=f"on the path to {receiver_told} via {via_told}",
        **fields,
    )


class _Paths:
    """Two runs, the receivers, and what is held between sender and receiver."""

    def __init__(self, pair: Pair, readers: list[Reader], via: Any, budget_mib: float):
        self.pair, self.readers, self.budget = pair, readers, budget_mib
        network, run = pair.network, pair.source
        self.into, self.runs = math.nan, (pair.into, run)
        self.layers = run.n_layers(pair.kind)
        if run.attending(pair.kind) != list(range(self.layers)):
            raise EditError(
                f"paths cannot be patched in {run.model_name}: some of its layers have no heads, "
                "so what they pass on cannot be held fixed"
            )
        if any(network.stands_between(Site(pair.kind, i)) for i in range(self.layers)):
            raise EditError(
                f"paths cannot be patched in {run.model_name}: a gate or norm comes between its "
                "heads and the stream"
            )
        self.free_mlps = isinstance(via, str) and via == "mlp"
        listed = [] if via is None or self.free_mlps else self._listed(via)
        self.free = frozenset(self.part("via", one) for one in listed)
        self.mlps = not (
            self.free_mlps
            or (network.transformer is not None and network.refuses_stream(("mlp_out",), pair.kind))
        )

    def part(self, name: str, given: Any) -> Part:
        """Return the part that an argument names.

        Raises:
            EditError: for one that does not exist.
        """
        listed = isinstance(given, Sequence) and not isinstance(given, str)
        pair: tuple[Any, ...] = tuple(given) if listed else ()
        if len(pair) != 2 or type(pair[0]) is not int or not isinstance(pair[1], int | str):
            raise EditError(
                f'{name} must be (layer, head), (layer, "attn_out") or (layer, "mlp_out"), got '
                f"{shown(given)}"
            )
        layer, what = pair[0], pair[1]
        self._inside(name, "layer", layer, self.layers)
        if isinstance(what, int):
            heads = self.pair.source.heads_of(layer, self.pair.kind)
            self._inside(name, "head", what, heads)
            return Part(layer, "z", what)
        if what not in PARTS:
            raise EditError(
                f"{name} must name a head, {' or '.join(PARTS)}, got {what!r} in {shown(given)}"
            )
        return Part(layer, what)

    def every_head(self) -> list[Part]:
        last = max((reader.layer for reader in self.readers), default=self.layers)
        kind, run = self.pair.kind, self.pair.source
        found = [Part(i, "z", h) for i in range(last) for h in range(run.heads_of(i, kind))]
        if not found:
            raise EditError("a receiver in layer 0 has no earlier head that could send to it")
        return found

    def check(self, sender: Part) -> None:
        """Check that a sender comes before its receiver.

        Raises:
            EditError: if it does not.
        """
        last = max((reader.layer for reader in self.readers), default=self.layers)
        if sender.layer >= last:
            raise EditError(
                f"sender={sender} must be in a layer before its receiver (layer {last}): a layer "
                "reads what earlier layers wrote"
            )

    def measured(
        self, senders: list[Part], progress: Callable[[int, int], None] | None
    ) -> dict[Part, float]:
        pair = self.pair
        tap = _Tap(self, len(pair.into_of.inputs.first))
        own = pair.metric.of is not None
        runner = Cells(pair.into_of, budget_mib=self.budget, whole=own, tap=tap)
        judge, found = Judged(runner, pair.metric), {}
        last = min((reader.layer for reader in self.readers), default=0)
        with stack() as opened:
            opened.enter_context(runner.passes.open())
            tell = opened.enter_context(waiting("Patching paths", progress))
            self.into = judge(runner.passes.clean())
            for name in self._streams(senders):
                self._watch(opened, tap, name)
            left = sorted(senders, key=lambda one: one.layer)
            while left:
                start = runner.passes.kept.start_of(pair.kind, left[0].layer)
                alike = [one for one in left if one.layer == left[0].layer][: runner.most]
                left = left[len(alike) :]
                outputs = runner.outputs(alike, start)
                if self.readers:
                    received = [tap.received.pop(one) for one in alike]
                    outputs = runner.outputs(received, runner.passes.kept.start_of(pair.kind, last))
                for one, rows in zip(alike, outputs, strict=True):
                    found[one] = judge(rows) - self.into
                tell(len(found), len(senders))
        return found

    # -- inside -----------------------------------------------------------------------------------

    def _streams(self, senders: list[Part]) -> list[str]:
        names = {one.what for one in senders if one.what != "z"}
        return sorted(names | ({"mlp_out"} if self.mlps else set()))

    def _watch(self, stack: ExitStack, tap: Tap, name: str) -> None:
        pair = self.pair
        try:
            pair.source.activation(name, 0, kind=pair.kind)
            stack.enter_context(pair.network.changing_stream(tap, [name], pair.kind, None))
        except (AdapterError, TraceError) as error:
            raise EditError(
                f"{name} cannot be held fixed between sender and receiver: {error}"
            ) from error

    def _listed(self, via: Any) -> list[Any]:
        if isinstance(via, str) or not isinstance(via, Sequence):
            raise EditError(f'via must be "mlp" or a list of parts, got {shown(via)}')
        return list(via)

    def _inside(self, name: str, what: str, value: int, limit: int) -> None:
        if not 0 <= value < limit:
            raise EditError(f"{name}: {what}={value} is outside 0 … {limit - 1}")


class _Received(dict[int, dict[str, Tensor]]):
    """Inputs of receivers: layer -> "query", "key" or "value" -> [batch, head, position, …]."""


class _Tap(Tap):
    """Patch senders, each in its own copy of the batch, or the inputs that their receivers got."""

    def __init__(self, paths: _Paths, batch: int):
        self.paths, self.batch, self.owner = paths, batch, threading.get_ident()
        self.cells: list[Any] = []
        self.received: dict[Part, _Received] = {}

    def _mine(self, site: Site | None) -> bool:
        here = self.cells and threading.get_ident() == self.owner and site is not None
        return bool(here) and site is not None and site.kind == self.paths.pair.kind

    def _rows(self) -> Any:
        for i, cell in enumerate(self.cells):
            yield cell, slice(i * self.batch, (i + 1) * self.batch)

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        site = call.site
        if not self._mine(site) or site is None:
            return call
        readers = [one for one in self.paths.readers if one.layer == site.layer]
        if not readers:
            return call
        if call.value is None or not call.query.shape[-1]:
            raise EditError("the model's own attention code does not show what its heads read")
        # Give each head its own copy of shared keys, since one head's are patched.
        wide = {
            name: spread_heads(x, call.n_heads)
            for name in OF_CALL.values()
            if (x := getattr(call, name)) is not None
        }
        changed = False
        for cell, rows in self._rows():
            if isinstance(cell, Part):
                kept = self.received.setdefault(cell, _Received())
                kept[site.layer] = {name: x[rows].clone() for name, x in wide.items()}
                continue
            if not changed:
                wide, changed = {name: x.clone() for name, x in wide.items()}, True
            for reader in readers:
                for name in (OF_CALL[what] for what in reader.inputs):
                    wide[name][rows, reader.head] = cell[site.layer][name][:, reader.head]
        return replace(call, **wide) if changed else call

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        site = call.site
        if not self._mine(site) or site is None or not isinstance(self.cells[0], Part):
            return z
        held, source = self._both("z", site)
        z, before = z.clone(), z
        free = [one.head for one in self.paths.free if one.what == "z" and one.layer == site.layer]
        if Part(site.layer, "attn_out") in self.paths.free:
            free = list(range(z.shape[1]))
        for cell, rows in self._rows():
            z[rows] = held.to(z)
            if free:
                z[rows, free] = before[rows, free]
            if cell.what == "z" and cell.layer == site.layer:
                there, here = self._places()
                z[rows, cell.head, here] = source[:, cell.head, there].to(z)
        return z

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        if name not in PARTS or not self._mine(site) or not isinstance(self.cells[0], Part):
            return x
        held, source = self._both(name, site)
        holds = name == "mlp_out" and self.paths.mlps
        holds = holds and Part(site.layer, "mlp_out") not in self.paths.free
        x = x.clone()
        for cell, rows in self._rows():
            if holds:
                x[rows] = held.to(x)
            if (cell.layer, cell.what) == (site.layer, name):
                there, here = self._places()
                x[rows, here] = source[:, there].to(x)
        return x

    def _both(self, what: str, site: Site) -> tuple[Tensor, Tensor]:
        """Return the values there in the run that is patched, and in the source run."""
        runs = self.paths.runs
        held, source = (run.activation(what, site.layer, kind=site.kind) for run in runs)
        return held, source

    def _places(self) -> tuple[list[int], list[int]]:
        pairs = self.paths.pair.pairs
        return [there for there, _ in pairs], [here for _, here in pairs]


def _readers(pair: Pair, receiver: Any) -> list[Reader]:
    """Return the heads that receive.

    Raises:
        EditError: for anything that is not an input of a head.
    """
    if isinstance(receiver, str) and receiver == LOGITS:
        return []
    several = isinstance(receiver, list) and receiver and not isinstance(receiver[0], int)
    found = []
    for given in receiver if several else [receiver]:
        listed = isinstance(given, Sequence) and not isinstance(given, str)
        one: tuple[Any, ...] = tuple(given) if listed else ()
        if len(one) not in (2, 3) or any(type(x) is not int for x in one[:2]):
            raise EditError(
                'receiver must be "logits", a head (layer, head), or one of its inputs (layer, '
                f'head, "q"), got {shown(given)}'
            )
        layer, head = one[0], one[1]
        run = pair.source
        for name, value, limit in (
            ("layer", layer, run.n_layers(pair.kind)),
            ("head", head, run.n_heads(pair.kind)),
        ):
            if not 0 <= value < limit:
                raise EditError(f"receiver: {name}={value} is outside 0 … {limit - 1}")
        if len(one) == 3 and one[2] not in INPUTS:
            raise EditError(f"receiver must read 'q', 'k' or 'v', got {one[2]!r} in {shown(given)}")
        found.append(Reader(layer, head, INPUTS if len(one) == 2 else (one[2],)))
    return found
