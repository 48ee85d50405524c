"""How wide the weights of a model are in a page, and what that changes of its answers."""

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
SCALE = "/scale"  # after the name of a tensor of 8 bits: a 32-bit number for each of its rows
_LEVELS = 127
_NARROWEST = 16  # columns of a matrix that is kept in 8 bits; below, scales would weigh too much
_LARGEST_HALF = torch.finfo(torch.float16).max
_AT_ONCE = 64  # positions whose probabilities are held at once


def check_precision(precision: str) -> None:
    """
    Raises:
        ValueError: for one that is not known.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision={precision!r} is not known; choose one of {', '.join(PRECISIONS)}"
        )


def packed_size(tensors: Mapping[str, Tensor], precision: str) -> int:
    """Bytes of these weights in a page, before they are compressed."""
    if precision != "int8":
        return sum(t.numel() for t in tensors.values()) * BITS[precision] // 8
    return sum(t.numel() + 4 * len(t) if _by_rows(t) else 4 * t.numel() for t in tensors.values())


def packed(tensors: Mapping[str, Tensor], precision: str) -> dict[str, Tensor]:
    """Weights as a page keeps them. In 16 bits, a tensor with a number that they cannot hold keeps
    its 32. In 8 bits, each row of a matrix (an output of a layer, or a token's embedding) is
    `scale` times integers of −127 … 127, and vectors keep 32 bits.

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
    """The float32 weights that a page computes with, from what `packed` gave."""
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
    """What other weights change of a model's answers.

    positions: how many answers were compared.
    largest: by how much the probability of the top prediction changes at most; of a model with no
        head, how far a token's final state moves at most, as a share of its length.
    differ: at how many positions another token is predicted; None for a model with no head.
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
    """What these weights change of a model's answers to the texts of some traces: after every token,
    or at every mask where there are some.

    Args:
        weights: float32, by the model's names, as `unpacked` gives them.
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
    """Of some positions those that are asked about."""
    mask = model.tokenizer.mask_id if model.kind == "encoder" else None
    if mask is None or not bool((trace.tokens[0] == mask).any()):
        return torch.ones(len(rows), dtype=torch.bool)
    return trace.tokens[0].cpu()[rows] == mask


def _up(x: float, decimals: int) -> str:
    """So many decimals, rounded up: what is at most x is at most this."""
    return f"{math.ceil(x * 10**decimals - 1e-9) / 10**decimals:.{decimals}f}"


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
