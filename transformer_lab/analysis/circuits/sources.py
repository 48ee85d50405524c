"""The parts of a traced text's residual stream, and the component that wrote each."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from ...adapters.network import AdapterError, Inputs
from ...adapters.sources import Parts, PartsError
from ...tracing.trace import Trace, TraceError

MISSING = (
    "the parts of layer {layer}'s stream do not add up to it: the model's weights have changed "
    "since this trace, or it was traced under edits; trace the model again, unedited"
)
_parts: WeakKeyDictionary[Trace, tuple[int, Parts]] = WeakKeyDictionary()  # of one text each


def inputs_of(trace: Trace, batch: int) -> Inputs:
    """Return the inputs of one text of a trace, as a batch of one."""
    read = (trace.tokens, trace.target, trace.mask, trace.target_mask)
    own: list[Any] = [None if x is None else x[[batch]] for x in read]
    whole = lambda x: isinstance(x, Tensor) and len(x) == trace.batch_size  # noqa: E731
    given = {name: x[[batch]] if whole(x) else x for name, x in trace.given.items()}
    return Inputs(*own, given=given)


def parts_of(trace: Trace, batch: int) -> Parts:
    """Return the parts of one text of a trace, computed by its network. The last text's are kept.

    Raises:
        TraceError: for patterns that were saved without a model.
        PartsError: see `Network.parts`.
    """
    if trace.network is None:
        raise TraceError(
            "this trace holds saved maps without the model that made them; trace the model itself"
        )
    known = _parts.get(trace)
    if known is None or known[0] != batch:
        try:
            known = _parts[trace] = (batch, trace.network.parts(inputs_of(trace, batch)))
        except AdapterError as error:
            raise PartsError(
                f"the attention of {trace.model_name} does not go through the attention interface "
                f"({error}), so it is not known which part wrote what"
            ) from error
    return known[1]


def precise(x: Tensor) -> Tensor:
    """Return x in fp64 on the CPU."""
    return x.detach().cpu().double()  # in this order: not every device supports fp64
