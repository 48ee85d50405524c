"""What attention adds, rather than where it goes: each key's weight times what it carries.

A head with all of its attention on a key whose value is nearly 0 does nearly nothing.
α_ij · v_j · W_O is the vector that key j adds to position i through one head. Summed over keys and
heads, these vectors are what the attention layer adds, less its output bias.
Source: Kobayashi et al. 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...softmax import spread_heads
from ...tracing.maps import GivenMaps, within_budget
from ...tracing.trace import Trace, TraceError


def value_weighted_norms(
    trace: Trace, layer: int, head: int | None = None, *, kind: str | None = None, batch: int = 0
) -> Tensor:
    """Lengths ‖α_ij · v_j · W_O‖ of the vectors that each key adds: fp32 [query, key], or [head,
    query, key] if no head is named. Rows do not sum to 1.

    Raises:
        TraceError: if the model gave patterns only, its output projection was not found, or its
            weights have changed since.
        MemoryBudgetError: if all heads together exceed `trace.budget_mib`.
    """
    call = trace.call(layer, head, kind=kind, batch=batch)
    given = isinstance(call, GivenMaps) or trace.output_weight(layer, kind=kind) is None
    found = None if given else trace.value_weighted(layer, head, kind=kind, batch=batch)
    if found is None:
        raise TraceError(
            f"value-weighted maps cannot be computed for this model: {trace.value_note}"
        )
    return found.cpu()


def contributions(
    trace: Trace, layer: int, query: int, *, kind: str | None = None, batch: int = 0
) -> Tensor:
    """The vectors themselves, for one query: α_ij · v_j · W_O, fp32 [head, key, d_model].

    Their sum over heads and keys is the attention layer's output at that query, less the output
    bias; their lengths are a row of `value_weighted_norms`.

    Raises:
        TraceError: as `value_weighted_norms`; if the trace kept no values, saying how to keep them;
            and if a gate or a norm comes between heads and W_O.
        ValueError: for a query that does not exist.
        MemoryBudgetError: if they take more than `trace.budget_mib`.
    """
    call, value, weight = _values(trace, layer, kind, batch)
    n_query = call.shape[2]
    if not 0 <= query < n_query:
        raise ValueError(f"query={query} is outside the {n_query} tokens (0 … {n_query - 1})")
    n_heads, n_key, _ = value.shape
    within_budget(n_heads * n_key * weight.shape[-1], trace.budget_mib, "raise trace.budget_mib")
    row = call.pattern(batch, slice(None), torch.tensor([query])).cpu()[:, 0]
    return (row[..., None] * value) @ weight


def layer_output(
    trace: Trace, layer: int, *, kind: str | None = None, batch: int = 0, by_head: bool = False
) -> Tensor:
    """What an attention layer adds, less its output bias: fp32 [query, d_model], the sum of all
    `contributions`; with `by_head` [head, query, d_model]. One head's pattern is in memory at a
    time.

    Raises:
        TraceError: as `contributions`.
    """
    call, value, weight = _values(trace, layer, kind, batch)
    heads = (
        trace.pattern(layer, head, kind=kind, batch=batch).cpu() @ value[head] @ weight[head]
        for head in range(len(value))
    )
    if by_head:
        n_query = call.shape[2]
        within_budget(
            len(value) * n_query * weight.shape[-1],
            trace.budget_mib,
            "set by_head=False for the sum over heads",
        )
        return torch.stack(list(heads))
    total = next(heads)
    for each in heads:
        total = total + each
    return total


def _values(trace: Trace, layer: int, kind: str | None, batch: int):
    """(call, v [head, key, d_value], W_O [head, d_value, d_model])"""
    call = trace.call(layer, kind=kind, batch=batch)
    if isinstance(call, GivenMaps):
        raise TraceError(f"the values of this model cannot be read: {trace.value_note}")
    if call.value is None:
        raise TraceError("this trace kept no values; use trace(..., keep='all') to keep them")
    weight = trace.output_weight(layer, kind=kind)
    if weight is None:
        raise TraceError(
            f"the output projection of layer {layer} of {trace.model_name} was not found, so what "
            "each key adds cannot be computed; trace.value_weighted weights each key by the "
            "length of its value alone"
        )
    if trace.gated(layer, kind):
        raise TraceError(
            f"in layer {layer} of {trace.model_name} a gate or a norm comes between the heads and "
            "W_O, so what each key adds cannot be computed; value_weighted_norms gives it before "
            "the gate"
        )
    value = spread_heads(call.by_position(call.value), call.n_heads)[batch].float().cpu()
    return call, value, weight.float().cpu().unflatten(0, (call.n_heads, -1))
