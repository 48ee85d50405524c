"""Building blocks of `VectorProbe`'s passes: replace modules, pass other streams in, end early."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..attention import AttentionCall, Site, Tap
from .interrupts import sheltered
from .sources import PartsError
from .stream_writers import first_of


class Reading(NamedTuple):
    """One layer's queries [n, head, d_head], keys and values [n, kv_head, d_head] of streams that
    are alone, at the last position; the scale of their product, and whether anything other than a
    mask is added to it."""

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float
    biased: bool


class Continuation(NamedTuple):
    """The results of rows, [n, …] each: the input of attention by layer, the stream after the last
    block, the logits (None without a head)."""

    read: dict[int, Tensor]
    stream: Tensor
    logits: Tensor | None


class Reached(Exception):
    """Raised to end a pass that has reached what is read."""


class Until(Tap):
    """Ends a pass at the attention of a site."""

    records = True

    def __init__(self, site: Site):
        self._site, self.call, self._owner = site, None, threading.get_ident()

    call: AttentionCall | None

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        if threading.get_ident() == self._owner and call.site == self._site:
            self.call = call
            raise Reached
        return call


@sheltered
def replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    own = vars(module)
    before = own.get("forward")
    own["forward"] = forward
    try:
        yield
    finally:
        if before is None:
            del own["forward"]
        else:
            own["forward"] = before


def all_of(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """A function that makes a stream [m, position, d] of rows [m, d], each at all positions."""
    return lambda x: rows[:, None].expand(-1, x.shape[1], -1).to(x)


def with_stream(
    args: tuple, kwargs: dict, make: Callable[[Tensor], Tensor], which: int = 0
) -> tuple[tuple, dict]:
    """The same arguments with another stream in place of the first tensor [batch, position, d]
    among them, or of another (cross-attention takes the decoder's stream, then the encoder's)."""
    places = [i for i, x in enumerate(args) if _is_stream(x)]
    names = [name for name, x in kwargs.items() if _is_stream(x)]
    at = [*places, *names][which : which + 1]
    if not at:
        return args, kwargs
    if isinstance(at[0], int):
        return tuple(make(x) if i == at[0] else x for i, x in enumerate(args)), kwargs
    return args, {**kwargs, at[0]: make(kwargs[at[0]])}


def _is_stream(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.dim() == 3


def instead(given: Any, n: int, length: int, wrote: Tensor | None) -> Any:
    """A module's output for one token, with other numbers in its first tensor: `wrote`, or 0."""
    first = first_of(given)
    if first is None:
        raise PartsError(
            f"a part returned a {type(given).__name__}, and only a tensor or a tuple of tensors "
            "can be set to zero, so the circuits cannot be computed"
        )
    shape = (n * length,) if first.dim() == 2 else (n, length)
    made = first.new_zeros(*shape, first.shape[-1])
    made = made if wrote is None else wrote.to(made).reshape(made.shape)
    return made if isinstance(given, Tensor) else type(given)((made, *given[1:]))


def is_biased(bias: Tensor | None) -> bool:
    """Whether more than a mask is added to the scores."""
    if bias is None or not bias.is_floating_point():
        return False
    return bool(((bias != 0) & (bias > -1e4)).any())
