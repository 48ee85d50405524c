"""The precision of a model's weights in a page, and how it changes the model's answers."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...adapters.interrupts import no_grad
from ...adapters.lookup import network_of
from ...adapters.network import Inputs
from ...graphs.export import answer_of

if TYPE_CHECKING:
    from ...text_model import TextModel
    from ...tracing.trace import Trace

BITS = {"float32": 32, "float16": 16, "int8": 8}
PRECISIONS = ("auto", *BITS)
SCALE = "/scale"  # after the name of an 8-bit tensor: a 32-bit number for each of its rows
_LEVELS = 127
_NARROWEST = 16  # fewest columns of a matrix kept in 8 bits; with fewer, scales weigh too much
_LARGEST_HALF = torch.finfo(torch.float16).max
_AT_ONCE = 64  # positions whose probabilities are in memory at once


def check_precision(precision: str) -> None:
    """Check that a precision is known.

    Raises:
        ValueError: if it is not.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision={precision!r} is not known; choose one of {', '.join(PRECISIONS)}"
        )


def packed_size(tensors: Mapping[str, Tensor], precision: str) -> int:
    """Bytes of these weights in a page, before compression."""
    if precision != "int8":
        return sum(t.numel() for t in tensors.values()) * BITS[precision] // 8
    return sum(t.numel() + 4 * len(t) if _by_rows(t) else 4 * t.numel() for t in tensors.values())


def packed(tensors: Mapping[str, Tensor], precision: str) -> dict[str, Tensor]:
    """Weights as a page holds them.

    In 16 bits, a tensor with a number out of range keeps its 32. In 8 bits, each row of a matrix
    (an output of a layer, or a token's embedding) is `scale` times integers −127 … 127; vectors and
    matrices of under 16 columns keep 32 bits.

    Args:
        tensors: float32, by name.
        precision: "float32", "float16" or "int8".
    """
    if precision == "float32":
        return {name: t.contiguous() for name, t in tensors.items()}
    if precision == "float16":
        return {name: _halved(t).contiguous() for name, t in tensors.items()}
    found: dict[str, Tensor] = {}
    for name, t in tensors.items():
        if not _by_rows(t):
            found[name] = t.contiguous()
            continue
        scale = t.abs().amax(1) / _LEVELS
        steps = (t / scale.clamp(min=torch.finfo(torch.float32).tiny)[:, None]).round()
        found[name] = steps.clamp(-_LEVELS, _LEVELS).to(torch.int8).contiguous()
        found[name + SCALE] = scale
    return found


def unpacked(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The float32 weights that a page computes with, from the result of `packed`."""
    return {
        name: t.float() * kept[name + SCALE][:, None] if t.dtype == torch.int8 else t.float()
        for name, t in kept.items()
        if not name.endswith(SCALE)
    }


def _by_rows(t: Tensor) -> bool:
    return t.dim() == 2 and t.shape[1] >= _NARROWEST


def _halved(t: Tensor) -> Tensor:
    fits = not t.numel() or float(t.abs().max()) <= _LARGEST_HALF
    return t.half() if fits else t


@dataclass(frozen=True)
class Change:
    """How other weights change a model's answers.

    positions: how many answers were compared.
    largest: the largest change in the top prediction's probability; for a model without a head, how
        far a token's final state moves at most, as a fraction of its length.
    differ: at how many positions another token is predicted; None for a model without a head.
    """

    positions: int
    largest: float
    differ: int | None

    def sentence(self, bits: int) -> str:
        start = (
            f"Weights in {bits} bits: over {_counted(self.positions, 'position')} of the saved text"
        )
        if self.differ is None:
            return f"{start} the final state moves by at most {_up(100 * self.largest, 1)}% of its length."
        verb = "differs" if self.positions == 1 else "differ"
        return (
            f"{start} the top prediction’s probability changes by at most {_up(self.largest, 3)}; "
            f"{self.differ} of {_counted(self.positions, 'top prediction')} {verb}."
        )


def change_of(model: TextModel, weights: Mapping[str, Tensor], traces: Iterable[Trace]) -> Change:
    """Measure how these weights change a model's answers to the texts of some traces.

    Answers are those at every token, or at every mask if there are any.

    Args:
        weights: float32, by the model's names, as returned by `unpacked`.
    """
    module = network_of(model.model).module
    own = copy.deepcopy(module).eval() if module.training else module
    other = copy.deepcopy(own)
    tensors = dict(other.named_parameters(remove_duplicate=False))
    tensors |= dict(other.named_buffers(remove_duplicate=False))
    with no_grad():
        for name, t in weights.items():
            if name in tensors:
                tensors[name].copy_(t)
    count, largest, differ, headless = 0, 0.0, 0, False
    for trace in traces:
        target = None if trace.target is None else trace.target[:1]
        read = Inputs(trace.tokens[:1], target)
        outputs = [network_of(one).run(read) for one in (own, other)]
        headless = outputs[0].logits is None
        before, after = (answer_of(one)[1].detach()[0].float().cpu() for one in outputs)
        for rows in torch.arange(len(before)).split(_AT_ONCE):
            a, b = before[rows].double(), after[rows].double()
            if headless:
                moved = (a - b).norm(dim=-1) / a.norm(dim=-1).clamp(min=1e-12)
            else:
                at = _asked(model, trace, rows)
                a, b = a[at].softmax(-1), b[at].softmax(-1)
                top = a.argmax(-1)
                moved = (a - b).gather(1, top[:, None]).abs()[:, 0]
                differ += int((b.argmax(-1) != top).sum())
            count += len(moved)
            largest = max(largest, float(moved.max())) if len(moved) else largest
    return Change(count, largest, None if headless else differ)


def _asked(model: TextModel, trace: Trace, rows: Tensor) -> Tensor:
    """Which of these positions have an answer to compare, bool [row]."""
    mask = model.tokenizer.mask_id if model.kind == "encoder" else None
    if mask is None or not bool((trace.tokens[0] == mask).any()):
        return torch.ones(len(rows), dtype=torch.bool)
    return trace.tokens[0].cpu()[rows] == mask


def _up(x: float, decimals: int) -> str:
    """x with this many decimals, rounded up, so that it is still an upper bound."""
    return f"{math.ceil(x * 10**decimals - 1e-9) / 10**decimals:.{decimals}f}"


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
