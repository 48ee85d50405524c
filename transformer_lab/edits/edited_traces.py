"""Traces of one text under edits, each from a pass that starts where its edits do."""

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
    """A pass under edits: the edits, the outputs of its blocks, and its trace."""

    edits: Sequence[Edit]
    kept: KeptBlocks
    trace: Trace


class Retraced:
    """Trace one text without edits, and then under edits.

    Blocks that the edits do not reach are not recomputed: a trace starts at the first block that
    differs from the clean pass or from the last edited one, and takes the earlier blocks from it.
    If a pass cannot start there (see `KeptBlocks`), or other edits are on the model, it runs in
    full.

    Args:
        network: the network to run, in evaluation mode.
        make: traces the text with it, the same way in every call.
        budget_mib: memory for what is kept of one pass; two are kept.

    Attributes:
        trace: the trace without edits.
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
        except EditError:  # its attention cannot be edited; it may still give patterns
            self.trace = make()

    def under(self, edits: Sequence[Edit], *, whole: bool = False) -> Trace:
        """Trace the text under edits, which apply to this thread alone.

        Args:
            whole: compute every block, because the weights are no longer those of the clean trace.

        Raises:
            EditError: for edits that match nothing in the model.
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
        """Check now whether passes may start in the middle, so that the first edit need not wait
        for it.
        """
        if self._was_alone and self._is_alone:
            self._kept.check(self._make)

    @property
    def _is_alone(self) -> bool:
        return not self._network.edited_beside(Tap())

    def _start(self, edits: Sequence[Edit], before: _Pass) -> int:
        """Return the first block that may differ between these edits and those of `before`."""
        now, then = ([_key(e) for e in some] for some in (edits, before.edits))
        both, places = Counter(now) & Counter(then), {}
        for e in (*edits, *before.edits):
            places[_key(e)] = self._place(e)
        same = [[key for key in keys if key in both] for keys in (now, then)]
        if same[0] != same[1]:  # another order may have another effect
            return min(places.values(), default=0)
        apart = (Counter(now) - both) + (Counter(then) - both)
        # A pass under the same edits is needed for its output alone, such as other logits.
        start = min((places[key] for key in apart), default=self._kept.last)
        # The output kept of a block lacks edits of the stream after it, and edits of every layer
        # must also act on the later ones.
        wide = (e for e in edits if _key(e) in both and (e.streams() or e.layer is None))
        return 0 if any(self._place(e) < start for e in wide) else start

    def _place(self, e: Edit) -> int:
        if not isinstance(e, Edit):
            return 0
        return self._kept.start_of(kind_in(self._network, e.kind), e.layer)


def _key(e: Edit) -> str:
    """Return a key that is equal for edits that do the same; an edit that may hold tensors equals
    only itself.
    """
    plain = isinstance(e, Edit) and type(e) in PLAIN
    try:
        return json.dumps(e.to_dict()) if plain else str(id(e))
    except EditError:
        return str(id(e))
