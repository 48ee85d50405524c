"""Traces of one text under edits, each of a pass that begins where its edits do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from ..adapters.interrupts import together
from ..adapters.network import Network
from ..adapters.wrappers import is_compiled
from ..attention import Tap
from ..tracing.trace import Trace
from .block_cache import KeptBlocks
from .interventions import edit, kind_in
from .kinds import Ablation, Edit, EditError, KnockOut, Scale, Skip

KEPT_MIB = 128.0
PLAIN = (Ablation, KnockOut, Scale, Skip)


@dataclass(frozen=True)
class _Pass:
    """What a pass under edits gave, block by block and in all."""

    edits: Sequence[Edit]
    kept: KeptBlocks
    trace: Trace


class Retraced:
    """One text, traced without edits, and then under some.

    What edits do not reach is not computed again: the trace under them begins at the first block where
    they differ from none, or from the last ones, and before holds what was there. Where a pass cannot
    begin there (see `KeptBlocks`), and where others edit the model meanwhile, it is a whole one.

    Args:
        network: what runs, in evaluation mode.
        make: traces the text with it, the same in every call.
        budget_mib: for what is kept of a pass, of two of them.

    Attributes:
        trace: without edits.
    """

    def __init__(
        self, network: Network, make: Callable[[], Trace], *, budget_mib: float = KEPT_MIB
    ):
        self._network, self._make, self._budget = network, make, budget_mib
        self._kept, self._was_alone = KeptBlocks(network, budget_mib), self._is_alone
        self._last: _Pass | None = None
        if is_compiled(network.module):  # its blocks call no hooks
            self.trace = make()
            return
        try:
            with self._kept.keeping():
                self.trace = make()
        except EditError:  # its attention is not to be had; its maps may be
            self.trace = make()

    def under(self, edits: Sequence[Edit], *, whole: bool = False) -> Trace:
        """The same text under edits, in force for this thread alone.

        Args:
            whole: compute every block: the weights are no longer those of the clean trace.

        Raises:
            EditError: for edits that fit nothing in the model.
        """
        if whole or not (self._was_alone and self._is_alone):
            with edit(self._network, *edits, this_thread=True):
                return self._make()
        self._kept.check(self._make)
        begun = [_Pass((), self._kept, self.trace), *([self._last] if self._last else [])]
        start, before = max(((self._start(edits, one), one) for one in begun), key=lambda x: x[0])
        left = [e for e in edits if self._place(e) >= start]
        kept = KeptBlocks(
            self._network, self._budget if self._kept.reuses else 0.0, like=self._kept
        )
        hung = edit(self._network, *left, this_thread=True) if left or not start else nullcontext()
        with together(hung, before.kept.replaying(start), kept.keeping()):
            after = self._make()
        if start:
            after.begin_with(before.trace)
        if kept.reuses:
            self._last = _Pass(tuple(edits), kept, after)
        return after

    def prepare(self) -> None:
        """Find out now whether passes may begin in the middle, which the first edit would wait for."""
        if self._was_alone and self._is_alone:
            self._kept.check(self._make)

    @property
    def _is_alone(self) -> bool:
        return not self._network.edited_beside(Tap())

    def _start(self, edits: Sequence[Edit], before: _Pass) -> int:
        """The first block that is another under these edits than it was."""
        now, then = ([_key(e) for e in some] for some in (edits, before.edits))
        both, places = Counter(now) & Counter(then), {}
        for e in (*edits, *before.edits):
            places[_key(e)] = self._place(e)
        same = [[key for key in keys if key in both] for keys in (now, then)]
        if same[0] != same[1]:  # in another order, which may be another edit
            return min(places.values(), default=0)
        apart = (Counter(now) - both) + (Counter(then) - both)
        # A pass under the same edits is made for what it gives at its end, such as other logits.
        start = min((places[key] for key in apart), default=self._kept.last)
        # What is made of the stream between two blocks is not in what the first one gave, and what is
        # made of every layer has to be made of the others.
        wide = (e for e in edits if _key(e) in both and (e.streams() or e.layer is None))
        return 0 if any(self._place(e) < start for e in wide) else start

    def _place(self, e: Edit) -> int:
        if not isinstance(e, Edit):
            return 0
        return self._kept.start_of(kind_in(self._network, e.kind), e.layer)


def _key(e: Edit) -> str:
    """Of edits that do the same, the same; one that may hold tensors is like itself alone."""
    plain = isinstance(e, Edit) and type(e) in PLAIN
    try:
        return json.dumps(e.to_dict()) if plain else str(id(e))
    except EditError:
        return str(id(e))
