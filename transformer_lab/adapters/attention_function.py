"""The attention function that transformers calls, with every argument that models pass to it.

Models pass different arguments that change their scores. An unknown one raises an error that names
it: ignoring it would silently give wrong numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..attention import attend
from ..softmax import add_bias, as_additive
from .hooks import SESSION
from .network import AdapterError
from .structure import over_depth

NAME = "transformer_lab"
ADDITIVE = "transformer_lab_additive"  # the same, for models that do arithmetic on their masks
# Arguments that change no score, or are already part of the mask. Any other raises an error.
HARMLESS = frozenset(
    (
        "cache",
        "cache_position",
        "deterministic",
        "grid_thw",
        "logits_to_keep",
        "num_items_in_batch",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "past_key_values",
        "position_ids",
        "return_dict",
        "sliding_window",
        "use_cache",
    )
)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    indices: Tensor | None = None,
    block_indices: Tensor | None = None,
    s_aux: Tensor | None = None,
    sinks: Tensor | None = None,
    **other: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls; see AttentionInterface there.

    query [batch, head, query, d_head], key and value [batch, kv_head, key, …]; indices [batch,
    query, chosen]: the keys that a sparse layer chose (DeepSeek 3.2), block_indices [batch, group,
    query, chosen] blocks of them (MiniMax M3); s_aux [head], or sinks [batch, head, query, 1]: see
    `attend`. Returns [batch, query, head, d_head].

    Raises:
        AdapterError: for an unknown argument.
    """
    for name, given in other.items():
        if given is not None and name not in HARMLESS:
            raise AdapterError(
                f"{type(module).__name__} passes {name}= to its attention, an argument that "
                "transformer_lab does not know and that may change the scores"
            )
    session: Any = module.__dict__.get(SESSION)
    n_query, n_key = query.shape[2], key.shape[2]
    site, part, end, taps, windows = None, 0, None, (), None
    if session is not None and module in session.structure.apart:
        session.structure.met.add(module)
    elif session is not None and session.taps and not over_depth(module):
        taps = session.taps
        site = session.next_site(module, query, key)
        part = session.part_at(site)
        end = session.end_of(site, n_query)
        windows = session.following.windows_of(module, n_query, n_key)
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    # A mask already says which keys a query may attend to; without one, causality is implied.
    causal = bool(causal) and attention_mask is None
    if causal and n_key > n_query and (n_query > 1 or end is not None):
        # A static cache is longer than the text; the rest of it has not been written yet.
        n_key = min(n_key, n_query if end is None else end)
        key, value = key[:, :, :n_key], value[:, :, :n_key]
    causal = causal and n_query > 1
    bias = None if attention_mask is None else attention_mask[..., :n_key]
    chosen = _chosen(module, query, n_key, indices, block_indices)
    if chosen is not None:
        bias = chosen if bias is None else _only(bias, chosen)
    if position_bias is not None:  # T5; additive, and it may already hold the mask
        position_bias = position_bias[..., :n_query, :n_key]
        bias = position_bias if bias is None else add_bias(as_additive(bias), position_bias)
    z = attend(
        query,
        key,
        value,
        bias=bias,
        causal=causal,
        scale=scaling,
        dropout=dropout,
        softcap=softcap,
        sinks=_sinks(module, s_aux if sinks is None else sinks),
        tap=taps,
        site=site,
        module=module,
        part=part,
        windows=windows,
        start=None if end is None else end - n_query,
    )
    return z.transpose(1, 2).contiguous(), None


def _sinks(module: nn.Module, given: Tensor | None) -> Tensor | None:
    own = getattr(module, "sinks", None) if given is None else given
    return own if isinstance(own, Tensor) else None


def _chosen(
    module: nn.Module, query: Tensor, n_key: int, keys: Tensor | None, blocks: Tensor | None
) -> Tensor | None:
    """Bool [batch, head or 1, query, key]: the keys that a sparse layer chose; indices below 0 are
    none."""
    if keys is not None:
        return _at(keys, n_key)[:, None]
    if blocks is None:
        return None
    size = getattr(getattr(module, "indexer", None), "block_size", None)
    if not isinstance(size, int):
        raise AdapterError(
            f"{type(module).__name__} attends to chosen blocks of keys, and the size of a block "
            "is not known"
        )
    chosen = _at(blocks, -(-n_key // size)).repeat_interleave(size, -1)[..., :n_key]
    return chosen.repeat_interleave(query.shape[1] // blocks.shape[1], 1)


def _at(places: Tensor, n: int) -> Tensor:
    """Bool [..., n], True at the indices in `places` [..., chosen]; those outside 0 … n − 1 are
    ignored."""
    inside = (places >= 0) & (places < n)
    found = torch.zeros(*places.shape[:-1], n + 1, dtype=torch.bool, device=places.device)
    return found.scatter_(-1, places.long().masked_fill(~inside, n), True)[..., :n]


def _only(bias: Tensor, chosen: Tensor) -> Tensor:
    if bias.dtype == torch.bool:
        return bias & chosen
    return bias.masked_fill(~chosen, torch.finfo(bias.dtype).min)
