"""Trace attention that a model's own code computes, where no attention function can replace it.

BLOOM, DeBERTa, XLNet and others write softmax(scores) · values out. While such a module runs,
PyTorch reports the functions that it calls (`TorchFunctionMode`, of this thread alone): the softmax
shows the scores, and taps act where its weights meet the values. The model's numbers stay the same,
to the bit, unless a tap changes them. A module that does more with its weights, or attends in
several parts (Longformer, Nyströmformer), is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention import AttentionCall, Site, Tap, attend, by_its_map, rows_from_map
from ..softmax import causal_mask, safe_softmax, spread_heads
from .interrupts import Mode
from .network import AdapterError

SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
PRODUCT = (torch.matmul, torch.bmm, Tensor.matmul, Tensor.bmm, Tensor.__matmul__, torch.einsum)
# Functions that leave the weights as they are (dropout is recorded).
SAME = (
    Tensor.to,
    Tensor.type,
    Tensor.type_as,
    Tensor.float,
    Tensor.half,
    Tensor.bfloat16,
    Tensor.view,
    Tensor.reshape,
    Tensor.contiguous,
    torch.reshape,
    F.dropout,
    torch.dropout,
)
# Functions that may change them, which is checked.
MASKING = (torch.masked_fill, Tensor.masked_fill)
HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "num_attn_heads")


def is_attention(module: nn.Module) -> bool:
    """Whether it is a layer's attention by its class's name: the innermost module so named."""
    kind = type(module)
    if "attention" not in kind.__name__.lower() or kind.__module__.startswith("torch."):
        return False
    inside = [m for m in module.modules() if m is not module]
    return bool(inside) and not any("attention" in type(m).__name__.lower() for m in inside)


def has_own_attention(module: nn.Module) -> bool:
    """Whether it is attention whose code does not use transformers' attention functions."""
    return is_attention(module) and _computes_itself(type(module))


@lru_cache(maxsize=1024)
def _computes_itself(kind: type) -> bool:
    # transformers, too, decides by the source whether a model's attention can be set.
    try:
        own = [c for c in kind.__mro__ if issubclass(c, nn.Module) and c is not nn.Module]
        source = "".join(inspect.getsource(c) for c in own)
    except (OSError, TypeError):  # written in a notebook: a pass will show it
        return True
    if "ALL_ATTENTION_FUNCTIONS" in source:
        return False
    return "softmax" in source or "scaled_dot_product_attention" in source


def heads_of(module: nn.Module) -> int | None:
    """The number of heads that an attention module states; None if it does not."""
    found = (getattr(module, name, None) for name in HEADS)
    return next((n for n in found if isinstance(n, int)), None)


class Watching(Mode):
    """Watches one run of an attention module, and lets taps read and change it.

    Args:
        n_tokens: the number of queries that a pattern has; None if unknown.
        place: called when the module attends, with the number of queries; returns its site, the
            text position of the first query, and the windows of an image that it attends in.
    """

    def __init__(
        self,
        module: nn.Module,
        taps: tuple[Tap, ...],
        n_tokens: int | None,
        place: Callable[[int], tuple[Site, int | None, Any]],
    ):
        super().__init__()
        self.module, self.taps, self.n_tokens, self.place = module, taps, n_tokens, place
        self.sums, self.unseen = 0, ""
        self.scores: Tensor | None = None
        self.dropout = 0.0
        # The softmax's weights and tensors made from them, by id; held, so that ids stay theirs.
        self.weights: dict[int, Tensor] = {}
        self.masked: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._fused(*args, **kwargs)
        first = args[1 if func is torch.einsum else 0] if args[1:] or args[:1] else None
        if func in PRODUCT and id(first) in self.weights:
            return self._summed(func, args, func(*args, **kwargs))
        output = func(*args, **kwargs)
        if func in SOFTMAX and isinstance(first, Tensor) and first.dim() > 2:
            axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if axis in (-1, first.dim() - 1):
                if self.sums:
                    self._not_seen(
                        "attends in several parts, which do not form a single map", output
                    )
                self.scores, self.weights, self.masked = first, {id(output): output}, set()
        elif id(first) in self.weights and (func in SAME or func in MASKING):
            self.weights[id(output)] = output
            if func in MASKING or id(first) in self.masked:
                self.masked.add(id(output))
            if func is F.dropout and kwargs.get("training", args[2] if len(args) > 2 else True):
                self.dropout = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
        return output

    def finish(self) -> str:
        """The reason why no attention was seen; empty if it was."""
        if self.unseen or self.sums:
            return self.unseen
        return f"{type(self.module).__name__} does not sum its values with the weights of a softmax"

    def _not_seen(self, why: str, output: Any) -> Any:
        """Note why the attention cannot be traced, and let the model continue.

        Raises:
            AdapterError: if a part of the attention has already been taken for all of it.
        """
        self.unseen = f"{type(self.module).__name__} {why}"
        if self.sums:
            raise AdapterError(self.unseen)
        return output

    # -- the two ways of attending --------------------------------------------------------------

    def _fused(
        self,
        query,
        key,
        value,
        attn_mask=None,
        dropout_p=0.0,
        is_causal=False,
        scale=None,
        enable_gqa=False,
    ) -> Tensor:
        why = "" if query.dim() == 4 else f"has queries of shape {list(query.shape)}"
        why = why or self._why_not(query.shape[-2], key.shape[-2])
        if why:
            given: Any = dict(
                attn_mask=attn_mask, dropout_p=dropout_p, is_causal=is_causal, scale=scale
            )
            plain = F.scaled_dot_product_attention
            return self._not_seen(why, plain(query, key, value, enable_gqa=enable_gqa, **given))
        if is_causal and query.shape[2] != key.shape[2]:  # the kernel aligns both at their start
            n = max(query.shape[2], key.shape[2])
            attn_mask = causal_mask(n, n, query.device)[: query.shape[2], : key.shape[2]]
            is_causal = False
        self.sums += 1
        site, start, windows = self.place(query.shape[2])
        z = attend(
            query,
            key,
            value,
            bias=attn_mask,
            causal=is_causal,
            scale=scale,
            dropout=dropout_p,
            tap=self.taps,
            site=site,
            start=start,
            module=self.module,
            windows=windows,
        )
        return z.clone()

    def _summed(self, func: Any, args: Any, output: Tensor) -> Tensor:
        """The model's product of weights and values, with the taps' changes if there are any."""
        assert self.scores is not None
        given, value = args[-2:]
        axes = _axes(args[0]) if func is torch.einsum else (None, None)
        scores = self._by_head(self.scores)
        if axes is None or scores is None:
            form = args[0] if axes is None else f"shape {list(self.scores.shape)}"
            return self._not_seen(f"has scores of an unknown form ({form})", output)
        batch, heads, n_query, n_key = scores.shape
        value = value if axes[0] is None else value.permute(axes[0])
        weights = safe_softmax(scores.detach().float())
        why = self._why_not(n_query, n_key)
        if value.shape[-2] != n_key:
            why = f"sums {value.shape[-2]} values with {n_key} weights"
        elif id(given) in self.masked and not _alike(given, weights):
            why = "changes its weights after the softmax"
        if why:
            return self._not_seen(why, output)
        self.sums += 1
        site, start, windows = self.place(n_query)
        call = (AttentionCall if windows is None else windows.call)(
            # Queries and keys are not known and not needed: the bias is the whole score.
            scores.new_empty(batch, heads, n_query, 0),
            scores.new_empty(batch, 1, n_key, 0),
            spread_heads(value.reshape(batch, -1, *value.shape[-2:]), heads),
            scores.masked_fill(weights == 0, float("-inf")),
            causal=False,
            scale=1.0,
            site=site,
            start=start,
            module=self.module,
            windows=windows,
        )
        plain = output if axes[1] is None else output.permute(axes[1])
        z = before = call.by_position(plain.reshape(batch, heads, n_query, -1))
        changed = call
        for tap in self.taps:
            changed = tap.on_attention(changed)
        if any(tap.wants_maps for tap in self.taps):
            z = by_its_map(changed, self.taps, self.dropout).to(plain.dtype)
        elif changed is not call:
            z = self._again(call, changed, z)
        for tap in self.taps:
            z = tap.on_heads(changed, z)
        changed_z = call.by_window(z).reshape(plain.shape).to(plain.dtype)
        found = changed_z if axes[1] is None else changed_z.permute(_inverse(axes[1]))
        # Some models add to it in place, and taps may have kept it: its graph goes through it.
        return found.clone() if z is before else found

    def _why_not(self, n_query: int, n_key: int) -> str:
        """The reason why this is not a pattern of all tokens; empty if it is one."""
        if self.sums:
            return "attends in several parts, which do not form a single map"
        wanted = self.n_tokens
        if wanted is not None and (n_query != wanted or n_key < wanted):
            return f"has {n_query} queries and {n_key} keys, and there are {wanted} tokens"
        return ""

    def _again(self, call: AttentionCall, changed: AttentionCall, z: Tensor) -> Tensor:
        """z after a tap changed the call; if it only cut edges, only their rows are recomputed."""
        cut_only = replace(changed, cuts=())
        same = all(
            getattr(cut_only, name) is getattr(call, name) for name in vars(call) if name != "cuts"
        )
        n_query = call.shape[2]
        places = (
            [(c.heads, c.queries) for c in changed.cuts] if same else [(slice(None), slice(None))]
        )
        z = z.clone()
        for heads, queries in places:
            rows = torch.arange(n_query, device=z.device)[queries]
            some = rows_from_map(changed, heads, rows, dropout=self.dropout)
            z[:, heads, rows] = some.to(z.dtype)
        return z

    def _by_head(self, scores: Tensor) -> Tensor | None:
        """Scores as [batch, head, query, key], also if they have batch and heads in one axis; None
        for other shapes."""
        if scores.dim() == 4:
            return scores
        heads = heads_of(self.module)
        if scores.dim() != 3 or not heads or scores.shape[0] % heads:
            return None
        return scores.unflatten(0, (-1, heads))


def _alike(given: Tensor, weights: Tensor) -> bool:
    return torch.allclose(given.detach().float().reshape(weights.shape), weights, atol=1e-3)


def _axes(equation: str) -> tuple[list[int], list[int]] | None:
    """How to permute the values and the output of "bnij,jbnd->ibnd" to [batch, head, key, d] and
    [batch, head, query, d]; None for other forms of equation."""
    inputs, _, out = equation.replace(" ", "").partition("->")
    weights, _, value = inputs.partition(",")
    rest = set(value) - set(weights)
    if not (len(weights) == len(value) == len(out) == 4 and len(rest) == 1):
        return None
    batch, head, query, key = weights
    (d,) = rest
    if set(value) != {batch, head, key, d} or set(out) != {batch, head, query, d}:
        return None
    return [value.index(x) for x in (batch, head, key, d)], [
        out.index(x) for x in (batch, head, query, d)
    ]


def _inverse(axes: list[int]) -> list[int]:
    return [axes.index(i) for i in range(len(axes))]
