"""Traces of one text under edits, each of a pass that begins where its edits do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..attention import Tap
from ..hub.network import Network
from ..hub.wrappers import is_compiled
from ..tracing.trace import Trace
from .hanging import edit, kind_in
from .kept_blocks import KeptBlocks
from .kinds import Edit, EditError

KEPT_MIB = 128.0


class Retraced:
    """One text, traced without edits, and then under some.

    What an edit does not reach is not computed again: the trace under it begins at the first block
    that it changes, and before holds what the clean one does. Where a pass cannot begin there (see
    `KeptBlocks`), and where others edit the model meanwhile, it is a whole one.

    Args:
        network: what runs, in evaluation mode.
        make: traces the text with it, the same in every call.
        budget_mib: for what is kept of the clean pass.

    Attributes:
        trace: without edits.
    """

    def __init__(
        self, network: Network, make: Callable[[], Trace], *, budget_mib: float = KEPT_MIB
    ):
        self._network, self._make = network, make
        self._kept, self._was_alone = KeptBlocks(network, budget_mib), self._is_alone
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
        start = 0 if whole else self._start_of(edits)
        with edit(self._network, *edits, this_thread=True), self._kept.replaying(start):
            after = self._make()
        if start:
            after.begin_with(self.trace)
        return after

    @property
    def _is_alone(self) -> bool:
        return not self._network.edited_beside(Tap())

    def _start_of(self, edits: Sequence[Edit]) -> int:
        """The first block that edits reach."""
        if not (self._was_alone and self._is_alone):
            return 0
        self._kept.check(self._make)
        places = [(kind_in(self._network, e.kind), e.layer) for e in edits if isinstance(e, Edit)]
        return min((self._kept.start_of(*place) for place in places), default=0)
