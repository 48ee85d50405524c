"""Passes that carry several edits, each in its own copy of the batch.

A model reads its weights once per pass, whatever the batch size: nine heads of a layer, switched
off in nine copies of a short text, cost about as much as two passes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..attention import AttentionCall, Site, Tap, rows_from_map
from .calls import cut_from, real_keys
from .interventions import EditTap
from .kinds import KnockOut
from .passes import Passes
from .patching import OF_CALL, Patch
from .sweep_target import SweepTarget

ALIKE = 1e-4  # of the largest number: rows computed together may differ by rounding


class Cells:
    """Run a text once without edits and then under cells, groups of edits that apply together.

    Args:
        budget_mib: memory for what is kept of the clean pass, and for cells sharing a pass.
        states: see `Passes`.
        whole: return the predictions at every position, not only at the one that is measured.
        between: called at every layer of a pass; an exception from it ends the pass.
        tap: for cells that are not edits, a tap that reads its attribute `cells`; each has `batch`
            rows.

    Attributes:
        passes: must be open while `outputs` is called.
        tap: on the model meanwhile; it changes the stream only within `Network.changing_stream`.
        most: how many cells may share a pass; known after the clean pass.
    """

    def __init__(
        self,
        swept: SweepTarget,
        *,
        budget_mib: float = 128,
        states: bool = False,
        whole: bool = False,
        between: Callable[[], None] | None = None,
        tap: Any = None,
    ):
        self.tap = _Tap(len(swept.inputs.first), between) if tap is None else tap
        self.passes = Passes(
            swept.network,
            swept.inputs,
            self.tap,
            budget_mib=budget_mib,
            states=states,
            places=None if whole else swept.places,
        )
        self._budget, self._most = budget_mib, 0
        self._tried: set[bool] = set()  # passes from the first block (False), from a later one

    @property
    def is_alone(self) -> bool:
        """Whether no other edits are on the model now."""
        return not self.passes.network.edited_beside(self.tap)

    @property
    def most(self) -> int:
        if not self._most:
            self._most, known = self._copies()
            self._tried = {False, True} if known else set()
        return self._most

    def chunks(self, taps: Sequence[tuple[EditTap, ...]]) -> Iterator[tuple[int, list[int]]]:
        """Yield the first block of each pass and the cells that share it, the earliest block first;
        `most` is read again for each pass.
        """
        starts: dict[int, list[int]] = {}
        for i, cell in enumerate(taps):
            if cell:
                starts.setdefault(self.start_of(cell), []).append(i)
        for start, indices in sorted(starts.items()):
            while indices:
                n = self.most
                yield start, indices[:n]
                indices = indices[n:]

    def start_of(self, cell: tuple[EditTap, ...]) -> int:
        return min(self.passes.kept.start_of(tap.kind, tap.edit.layer) for tap in cell)

    def outputs(self, cells: Sequence[Any], start: int) -> list[Tensor]:
        """Return the output of a pass under each of these cells, see `Passes.outputs`.

        If they cannot share a pass after all, each gets its own, and `most` becomes 1.
        """
        if len(cells) > 1 and self.most > 1:
            try:
                found = self._together(cells, start)
                if (start > 0) in self._tried or self._holds(found, cells, start):
                    return found
            except (_NotInCopies, RuntimeError):
                pass  # the batch is not the first axis; any other error is raised again below
            self._most = 1
        return [rows for cell in cells for rows in self._together([cell], start)]

    def _holds(self, found: list[Tensor], cells: Sequence[Any], start: int) -> bool:
        """Check whether cells may share a pass from this block, if that is not known: if the last
        cell gives the same rows as alone, so do all.
        """
        if not _alike(found[-1], self._together(cells[-1:], start)[0]):
            return False
        self._tried.add(start > 0)
        return True

    def _together(self, cells: Sequence[Any], start: int) -> list[Tensor]:
        self.tap.cells = list(cells)
        try:
            outputs = self.passes.outputs(len(cells), start)
        finally:
            self.tap.cells = []
        return list(outputs.split(self.tap.batch))

    def _copies(self) -> tuple[int, bool]:
        """Return how many copies of the batch fit the budget in one pass, and whether they are
        known to give the same rows.

        It is 1 if they do not, or if the user's own edits may hold tensors of the batch's size.
        """
        network, inputs = self.passes.network, self.passes.inputs
        known = network.in_copies(self.tap, inputs)
        if known is False:
            return 1, True
        n, n_heads = network.n_positions(inputs), network.n_heads(network.kinds[0]) or 1
        # A mask is expanded over heads and queries.
        scores = n_heads * n // len(inputs.first) if inputs.mask is not None else 0
        held = 4 * n * (network.numbers_per_token + scores)
        return max(1, int(self._budget * 2**20 / held)), bool(known)


class _NotInCopies(Exception):
    """Attention does not run over the copies of the batch."""


def _alike(found: Tensor, wanted: Tensor) -> bool:
    if found.shape != wanted.shape:
        return False
    there = wanted.isfinite()
    if not torch.equal(there, found.isfinite()):
        return False
    apart = (found - wanted)[there].abs()
    largest = wanted[there].abs()
    return not apart.numel() or bool(apart.max() <= ALIKE * largest.max())


class _Tap(Tap):
    """The edits of several cells at once, each in its own copy of the batch."""

    def __init__(self, batch: int, between: Callable[[], None] | None = None):
        self.batch, self.owner, self.between = batch, threading.get_ident(), between
        self.cells: list[tuple[EditTap, ...]] = []
        self._real: Tensor | None = None

    def _mine(self, call: AttentionCall) -> bool:
        return bool(self.cells) and threading.get_ident() == self.owner

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        if self.between is not None and threading.get_ident() == self.owner:
            self.between()
        if self._mine(call) and call.site is not None and call.site.kind != "cross":
            means = any(getattr(t.edit, "value", None) == "mean" for c in self.cells for t in c)
            self._real = real_keys(call) if means else None
        return self._given(call) if self._mine(call) else call

    def _given(self, call: AttentionCall) -> AttentionCall:
        """The call with each cell's own queries, keys and values."""
        changed: dict[str, Tensor] = {}
        for tap, rows in self._acting(call.site):
            if not isinstance(tap.edit, Patch) or tap.edit.what not in OF_CALL:
                continue
            self._in_copies(call.query)
            name = OF_CALL[tap.edit.what]
            x = changed.setdefault(name, getattr(call, name).clone())
            own = _own(replace(call, **changed), rows)
            x[rows] = getattr(tap.edit.change_attention(own, 0), name)
            tap.applied += 1
        return replace(call, **changed) if changed else call

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if not self._mine(call):
            return z
        self._in_copies(z)
        changed = None
        for tap, rows in self._acting(call.site):
            if tap.streams or (isinstance(tap.edit, Patch) and tap.edit.what in OF_CALL):
                continue
            changed = z.clone() if changed is None else changed
            if isinstance(tap.edit, KnockOut):
                tap.applied += _cut(tap.edit, call, changed, rows)
            elif isinstance(tap.edit, Patch) and tap.edit.what == "pattern":
                tap.applied += _put(tap.edit, call, changed, rows)
            else:
                real = self._real
                real = real if real is None or len(real) == 1 else real[rows]
                changed[rows] = tap.edit.change_heads(call, changed[rows], 0, real)
                tap.applied += 1
        return z if changed is None else changed

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        if not self.cells or threading.get_ident() != self.owner:
            return x
        changed = None
        for tap, rows in self._acting(site, of_stream=True):
            if name not in tap.streams:
                continue
            self._in_copies(x)
            changed = x.clone() if changed is None else changed
            changed[rows] = tap.edit.change_stream(name, site, changed[rows])
            tap.applied += 1
        return x if changed is None else changed

    def _acting(
        self, site: Site | None, *, of_stream: bool = False
    ) -> Iterator[tuple[EditTap, slice]]:
        """Yield the edits that act at a site, each with its rows of the batch."""
        for i, cell in enumerate(self.cells):
            for tap in cell:
                if tap.here(tap.stream_kind if of_stream else tap.kind, site):
                    yield tap, slice(i * self.batch, (i + 1) * self.batch)

    def _in_copies(self, x: Tensor) -> None:
        if len(x) != len(self.cells) * self.batch and len(self.cells) > 1:
            raise _NotInCopies


def _own(call: AttentionCall, rows: slice) -> AttentionCall:
    """Restrict a call over copies of the batch to the queries, keys and values of one copy."""
    own = {n: x[rows] for n in OF_CALL.values() if (x := getattr(call, n)) is not None}
    return replace(call, **own, bias=None, sinks=None)


def _put(edit: Patch, call: AttentionCall, z: Tensor, rows: slice) -> bool:
    """Recompute z of the patched queries with another run's weights; return whether any are."""
    own = _own(call, rows)
    put = edit.put_of(own, 0)
    if put is None:
        return False
    heads = slice(put.heads.start, put.heads.stop)
    z[rows, heads, put.queries] = own.mixed(put.weights, heads=heads).to(z)
    return True


def _cut(edit: KnockOut, call: AttentionCall, z: Tensor, rows: slice) -> bool:
    """Recompute the query's row of z without the edge; return whether there was one."""
    query, key = edit.query, edit.key
    assert query is not None and key is not None
    heads = edit.heads(call)
    if all(call.is_cut(head, query, key) for head in range(call.n_heads)[heads]):
        return False
    without = cut_from(call, heads, slice(query, query + 1), slice(key, key + 1))
    if without is call:
        return False
    row = torch.tensor([query], device=z.device)
    z[rows, heads, query] = rows_from_map(without, heads, row, batch=rows)[:, :, 0]
    return True
