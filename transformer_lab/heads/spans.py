"""How much one part of a text attends to another: from a span A (queries) to a span B (keys).

A span is a pair (start, end) as in a slice: (2, 5) is tokens 2, 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..tracing.trace import Trace
from .measures import mass_on
from .over_texts import FORBIDDEN

Span = tuple[int, int]
ROWS_AT_ONCE = 256
SEGMENTS = ("token_type_ids", "token_types")  # what models call the segment of each token


def share_between(
    trace: Trace, a: Span, b: Span, *, kind: str | None = None, batch: int = 0
) -> Tensor:
    """Fraction of A's attention that goes to B: the mean, over the queries of A, of the total
    weight on the keys of B. [layer, head], between 0 and 1; `even_between` is its control.

    Args:
        a: (start, end) of the queries, as in a slice.
        b: (start, end) of the keys.

    Raises:
        ValueError: for a span that is empty, reversed or out of range, spans of one text that
            overlap without being equal, and keys that no query of A can attend to.
    """
    wanted = torch.zeros(trace.shape(kind), dtype=torch.bool)
    a, b = checked(trace, a, b, kind)
    wanted[slice(*a), slice(*b)] = True
    return mass_on(trace, wanted, kind=kind, batch=batch)


def even_between(
    trace: Trace,
    a: Span,
    b: Span,
    layer: int,
    head: int,
    *,
    kind: str | None = None,
    batch: int = 0,
    hidden: Any = (),
) -> float:
    """Fraction of A's attention that would go to B if every query attended equally to all keys in
    its reach, with this layer's masks, padding and windows. The control of `share_between`, 0 to 1.

    Args:
        hidden: keys that are left out, as if no query could attend to them.

    Raises:
        ValueError: as `share_between`; for a layer or head that does not exist.
    """
    a, b = checked(trace, a, b, kind)
    call = trace.call(layer, head, kind=kind, batch=batch)
    total = 0.0
    for rows in torch.arange(*a).split(ROWS_AT_ONCE):  # the whole pattern of a long text is large
        rows = call.scores(batch, head, rows).cpu() > FORBIDDEN
        rows[:, list(hidden)] = False
        inside, seen = rows[:, slice(*b)].sum(-1).double(), rows.sum(-1)
        total += float((inside / seen.clamp(min=1)).sum())
    return total / (a[1] - a[0])


def segments(trace: Trace, *, kind: str | None = None, batch: int = 0) -> list[Span]:
    """The segments of a text as spans; empty if there are fewer than two. See `named_segments`.

    Raises:
        ValueError: for a kind or text that does not exist.
    """
    return [*named_segments(trace, kind=kind, batch=batch).values()]


def named_segments(trace: Trace, *, kind: str | None = None, batch: int = 0) -> dict[str, Span]:
    """Return name -> (start, end) of the segments of a text: those with names (`trace.segments`,
    such as the turns of a conversation), or those passed to the model (BERT's `token_type_ids`),
    without padding. Empty if there are fewer than two.

    Raises:
        ValueError: for a kind or text that does not exist.
    """
    if trace.segments and trace.kind(kind) != "cross" and not trace.text(batch):
        named = {name: span for name, span in trace.segments.items() if span[1] > span[0]}
        return named if len(named) > 1 else {}
    types = _types_of(trace, kind, batch)
    return {f"segment {i + 1}": span for i, span in enumerate(types)} if len(types) > 1 else {}


def follow_segments(
    segments: Mapping[str, Span], before: Sequence[int], after: Sequence[int]
) -> dict[str, Span]:
    """Return the segments of a text after some of its tokens changed.

    The segment that holds the whole change grows or shrinks, and those after it move. Empty if no
    segment holds all of it. The counterpart of explorer/segments.js.

    Args:
        before, after: the tokens of the text; `segments` are (start, end) in `before`.
    """
    shorter = min(len(before), len(after))
    same = (i for i in range(shorter) if before[i] != after[i])
    start = next(same, shorter)
    left = shorter - start
    tail = next((i for i in range(left) if before[-1 - i] != after[-1 - i]), left)
    end, grows = len(before) - tail, len(after) - len(before)
    holding = [name for name, (a, b) in segments.items() if a <= start and end <= b]
    if not holding:
        return {}
    moved, grown = {}, False
    for name, (a, b) in segments.items():
        was_grown, grown = grown, grown or name == holding[-1]
        moved[name] = (a + grows * was_grown, b + grows * grown)
    return moved


def _types_of(trace: Trace, kind: str | None, batch: int) -> list[Span]:
    """Spans of consecutive tokens of one type, as passed to the model."""
    types_given = next((trace.given[name] for name in SEGMENTS if name in trace.given), None)
    if types_given is None:
        return []
    kind, batch = trace.kind(kind), trace.text(batch)
    if kind == "cross" or (kind == "decoder" and trace.target is not None):
        return []
    types = torch.as_tensor(types_given)
    types = (types[batch] if types.dim() > 1 else types).tolist()
    real = [True] * len(types) if trace.mask is None else trace.mask[batch].tolist()
    if len(types) != trace.shape(kind)[1]:
        return []
    found: list[list[int]] = []
    before = None
    for at, (now, counts) in enumerate(zip(types, real, strict=True)):
        if not counts:
            before = None
        elif now == before:
            found[-1][1] = at + 1
        else:
            found.append([at, at + 1])
            before = now
    return [(start, end) for start, end in found]


def checked(trace: Trace, a: Any, b: Any, kind: str | None = None) -> tuple[Span, Span]:
    """Check two spans and return them as pairs of integers.

    Raises:
        ValueError: as `share_between`.
    """
    kind = trace.kind(kind)
    n_query, n_key = trace.shape(kind)
    a, b = as_span("a", a, n_query), as_span("b", b, n_key)
    ahead = n_key - n_query if trace.causal(kind) else None
    wrong = why_not_between(a, b, same=kind != "cross", ahead=ahead)
    if wrong:
        raise ValueError(wrong)
    return a, b


def as_span(name: str, span: Any, count: int) -> Span:
    """Check a span of a text with `count` tokens, and return it as a pair.

    Raises:
        ValueError: if it is not a span of that text.
    """
    try:
        start, end = span
    except (TypeError, ValueError):
        start = end = None
    if type(start) is not int or type(end) is not int:
        raise ValueError(
            f"{name} must be (start, end) as in a slice, got {span!r}; (2, 5) is tokens 2, 3 and 4"
        )
    if start > end:
        raise ValueError(
            f"{name}=({start}, {end}) ends before it starts; did you mean ({end}, {start})?"
        )
    if start == end:
        raise ValueError(
            f"{name}=({start}, {end}) holds no token, because its end is not included; ({start}, "
            f"{start + 1}) is token {start}"
        )
    if start < 0 or end > count:
        raise ValueError(
            f"{name}=({start}, {end}) is outside the {count} tokens; keep it within (0, {count})"
        )
    return start, end


def why_not_between(a: Span, b: Span, *, same: bool, ahead: int | None) -> str:
    """Return why attention between two spans cannot be measured, or "". The counterpart of
    heads/spans.js.

    same: whether both are in one text. ahead: how far beyond its own index a query may attend; None
    if anywhere.
    """
    if ahead is not None and b[0] >= a[1] + ahead:
        return (
            f"b=({b[0]}, {b[1]}) comes after a=({a[0]}, {a[1]}), and no token here attends to a "
            "later one; swap the two"
        )
    if same and a != b and a[0] < b[1] and b[0] < a[1]:
        return (
            f"a=({a[0]}, {a[1]}) and b=({b[0]}, {b[1]}) share tokens; end one where the other "
            "starts, or give both the same span to see what goes on within it"
        )
    return ""
