"""Blocks of one head's attention pattern; where the call allows it, a block costs only its own rows
and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention import AttentionCall
from ..softmax import part_of

Span = tuple[int, int]
LEAST_LEFT = 1e-6  # of a row: if the keys that are not hidden have less, the row becomes 0


def as_shown(weights: Tensor, hidden: Sequence[int] = (), norms: Tensor | None = None) -> Tensor:
    """Set hidden keys of rows [..., key] to 0, scale the rest up to the row's sum, and multiply by
    `norms` [key]."""
    if len(hidden):
        whole = weights.sum(-1, keepdim=True)
        weights = weights.clone()
        weights[..., list(hidden)] = 0
        kept = weights.sum(-1, keepdim=True)
        weights = weights * (whole / kept.clamp(min=1e-12)).where(kept > LEAST_LEFT, 0)
    return weights if norms is None else weights * norms


def weights_of(
    call: Any, head: int, batch: int, hidden: Sequence[int] = (), norms: Tensor | None = None
) -> Weights:
    """Return the cheapest exact way to compute the weights of one head."""
    if type(call) is not AttentionCall:
        return Asked(call, head, batch, hidden, norms)
    alone = _alone(call, head, batch)
    return Asked(alone, 0, 0, hidden, norms) if alone.cuts else Computed(alone, hidden, norms)


def _alone(call: AttentionCall, head: int, batch: int) -> AttentionCall:
    """Reduce a call to one head and one text."""
    group = call.n_heads // call.key.shape[1]
    some, one = slice(batch, batch + 1), slice(head, head + 1)
    cuts = [cut for cut in call.cuts if head in range(call.n_heads)[cut.heads]]
    return replace(
        call,
        query=call.query[some, one],
        key=call.key[some, head // group : head // group + 1],
        value=None,
        bias=part_of(call.bias, some, one, None),
        sinks=part_of(call.sinks, some, one, None),
        cuts=tuple(replace(cut, heads=slice(0, 1)) for cut in cuts),
    )


class Weights:
    """One head's weights as displayed. `pooled` must be called first, once for every row."""

    device: torch.device

    def pooled(self, rows: Span, size: int) -> tuple[Tensor, Tensor]:
        """(maxima, sums), each [cell, query], of cells of `size` keys, up to the last key that the
        rows can attend to."""
        raise NotImplementedError

    def columns(self, rows: Span) -> Tensor:
        """Weights [key, query] of some rows, up to the last key that they can attend to; valid
        until the next call."""
        raise NotImplementedError

    def part(self, rows: Span | Tensor, keys: Span) -> Tensor:
        """Weights [query, key]; rows: a span, or the index of each."""
        raise NotImplementedError

    def nothing(self) -> Tensor:
        """Fraction of each row that goes to no key, [query]."""
        raise NotImplementedError

    def kept(self) -> list[Tensor]:
        """Tensors held in addition to the trace's."""
        return []


class Asked(Weights):
    """Weights of any call: computes whole rows with the call's `pattern`."""

    def __init__(
        self, call: Any, head: int, batch: int, hidden: Sequence[int], norms: Tensor | None
    ):
        self.call, self.head, self.batch = call, head, batch
        self.hidden, self.norms = hidden, norms
        self.device = call.pattern(batch, head, torch.arange(1)).device
        self._nothing: list[Tensor] = []

    def pooled(self, rows: Span, size: int) -> tuple[Tensor, Tensor]:
        weights = self.columns(rows)
        places = torch.arange(*rows, device=self.device)
        self._nothing.append(self.call.to_nothing(self.batch, self.head, places))
        weights = F.pad(weights, (0, 0, 0, -len(weights) % size)).unflatten(0, (-1, size))
        return weights.amax(1), weights.sum(1)

    def columns(self, rows: Span) -> Tensor:
        return self.part(rows, (0, self.call.shape[3])).T

    def part(self, rows: Span | Tensor, keys: Span) -> Tensor:
        places = rows if isinstance(rows, Tensor) else torch.arange(*rows, device=self.device)
        weights = self.call.pattern(self.batch, self.head, places.to(self.device))
        return as_shown(weights, self.hidden, self.norms)[:, slice(*keys)]

    def nothing(self) -> Tensor:
        return torch.cat(self._nothing)


class Computed(Weights):
    """Weights from queries and keys. Keeps each row's maximum score and softmax sum, so that a part
    costs only its own rows and columns.

    Args:
        call: of one head and one text, without cuts.
    """

    def __init__(self, call: AttentionCall, hidden: Sequence[int], norms: Tensor | None):
        self.query = call.query[0, 0].float() * call.scale
        self.key = call.key[0, 0].float()
        self.device = self.query.device
        self.bias = None if call.bias is None else call.bias[0, 0]
        self.sinks = None if call.sinks is None else call.sinks[0, 0, :, 0].float()
        self.softcap = call.softcap
        self.n_query, self.n_key = len(self.query), len(self.key)
        self.ahead = self.n_key - self.n_query if call.causal else None
        self.hidden = sorted(hidden)
        self.norms = None if norms is None else norms.float()[:, None]
        self.top, self.total = (torch.zeros(self.n_query, device=self.device) for _ in range(2))
        self._nothing = torch.zeros(self.n_query, device=self.device)
        self._room = self.query.new_empty(0)

    def pooled(self, rows: Span, size: int) -> tuple[Tensor, Tensor]:
        reach, some = self._reach(rows), slice(*rows)
        scores = self._scores(rows, (0, reach), -reach % size)
        aside = self._hide(scores, (0, reach))
        cells = scores.unflatten(0, (len(scores) // size, size))
        most = cells.amax(1)
        sinks = self.sinks if self.sinks is None or len(self.sinks) == 1 else self.sinks[some]
        tops = [x.amax(0) for x in (most, aside) if len(x)]
        tops += [] if sinks is None else [sinks.expand(rows[1] - rows[0])]
        top = torch.stack(tops).amax(0) if tops else most.new_zeros(most.shape[1])
        top.masked_fill_(top == float("-inf"), 0.0)
        scores.sub_(top).exp_()
        sums = cells.sum(1)
        left = sums.sum(0)
        beside = aside.sub(top).exp().sum(0)  # of hidden keys
        rest = torch.zeros_like(left) if sinks is None else (sinks - top).exp()
        whole = left + beside + rest
        # The other keys take over the sum of the hidden ones.
        total = left + rest if not len(aside) else left * whole / (left + beside)
        total.masked_fill_(whole == 0, 1.0)
        if len(aside):
            total.masked_fill_(~(left > LEAST_LEFT * whole), float("inf"))
        self.top[some], self.total[some] = top, total
        self._nothing[some] = rest / whole.masked_fill(whole == 0, 1.0)
        if self.norms is None:
            return most.sub_(top).exp_().div_(total), sums.div_(total)
        scores[:reach].mul_(self.norms[:reach])
        return cells.amax(1).div_(total), cells.sum(1).div_(total)

    def columns(self, rows: Span) -> Tensor:
        return self._weights(rows, (0, self._reach(rows)))

    def part(self, rows: Span | Tensor, keys: Span) -> Tensor:
        rows = rows if isinstance(rows, tuple) else rows.to(self.device)
        return self._weights(rows, keys).T.clone()

    def nothing(self) -> Tensor:
        return self._nothing

    def kept(self) -> list[Tensor]:
        return [self.query, self.top, self.total, self._nothing, self._room]

    # -- inside -----------------------------------------------------------------------------------

    def _reach(self, rows: Span) -> int:
        """How many keys the last of these rows can attend to."""
        if self.ahead is None:
            return self.n_key
        return max(0, min(self.n_key, rows[1] + self.ahead))

    def _weights(self, rows: Span | Tensor, keys: Span) -> Tensor:
        scores = self._scores(rows, keys)
        self._hide(scores, keys)
        weights = scores.sub_(_some(self.top, rows)).exp_().div_(_some(self.total, rows))
        return weights if self.norms is None else weights.mul_(self.norms[slice(*keys)])

    def _hide(self, scores: Tensor, keys: Span) -> Tensor:
        """Set the scores of hidden keys to −inf; return what they were."""
        places = [key - keys[0] for key in self.hidden if keys[0] <= key < keys[1]]
        aside = scores[places]
        scores[places] = float("-inf")
        return aside

    def _scores(self, rows: Span | Tensor, keys: Span, more: int = 0) -> Tensor:
        """Scores [key, query], a layout that keeps one key's scores contiguous. −inf where masked,
        and in `more` further rows below. The memory is reused by the next call."""
        query = _some(self.query, rows)
        n_rows, n_keys = len(query), keys[1] - keys[0]
        wanted = (n_keys + more) * n_rows
        if self._room.numel() < wanted:
            self._room = self.query.new_empty(wanted)
        whole = self._room[:wanted].view(n_keys + more, n_rows)
        whole[n_keys:] = float("-inf")
        scores = whole[:n_keys]
        torch.mm(self.key[slice(*keys)], query.T, out=scores)
        if self.softcap is not None:
            scores.div_(self.softcap).tanh_().mul_(self.softcap)
        if self.bias is not None:
            bias = self.bias if len(self.bias) == 1 else _some(self.bias, rows)
            bias = (bias if bias.shape[1] == 1 else bias[:, slice(*keys)]).T
            if bias.dtype == torch.bool:
                scores.masked_fill_(~bias, float("-inf"))
            else:
                scores.add_(bias)
        if self.ahead is not None:
            places = torch.arange(*rows, device=self.device) if isinstance(rows, tuple) else rows
            last = places + self.ahead  # the last key that each row can see
            first = max(keys[0], int(last.min()) + 1)  # the first key that some row cannot see
            if first < keys[1]:
                later = torch.arange(first, keys[1], device=self.device)[:, None]
                scores[first - keys[0] :].masked_fill_(later > last, float("-inf"))
        return whole


def _some(x: Tensor, rows: Span | Tensor) -> Tensor:
    return x[slice(*rows)] if isinstance(rows, tuple) else x[rows]
