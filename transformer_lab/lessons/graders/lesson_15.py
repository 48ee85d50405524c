"""Checks of lesson 15, What changed since 2017."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.graders.configs import CACHE, PARAMETERS
from transformer_lab.lessons.solutions import lesson_15 as solutions


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- rms_norm ------------------------------------------------------------------------------------


def _rms_cases() -> list[Case]:
    tiny = torch.tensor([[0.003, -0.001, 0.002, 0.004], [0.0, 0.0, 0.0, 0.0]])
    return [
        Case("a gain of ones", (2 * _random(1, 5, 4) + 1, torch.ones(4), 1e-6)),
        Case("a gain for each number", (_random(2, 3, 6) + 0.5, _random(3, 6), 1e-6)),
        Case("two texts at once", (_random(4, 2, 3, 8), _random(5, 8), 1e-6)),
        Case("numbers so small that eps counts", (tiny, torch.ones(4), 1e-5)),
    ]


def _rms(size, eps_in=True):
    def wrong(x, gain, eps):
        if eps_in:
            return x / torch.sqrt(size(x) + eps) * gain
        return x / (torch.sqrt(size(x)) + eps) * gain

    return wrong


def _mean_square(x):
    return (x * x).mean(dim=-1, keepdim=True)


def _without_eps(x, gain, eps):
    return torch.nan_to_num(x / torch.sqrt(_mean_square(x))) * gain


_RMS = Grader(
    name="15/rms_norm",
    cases=_rms_cases,
    reference=solutions.rms_norm,
    shape_hint="the shape of `x`, unchanged",
    suspects=(
        Suspect(
            "layer norm",
            lambda x, gain, eps: F.layer_norm(x, x.shape[-1:], gain, None, eps),
            "This is layer norm: you subtracted the mean first. RMSNorm only divides.",
        ),
        Suspect(
            "divided by the spread",
            _rms(lambda x: x.var(dim=-1, keepdim=True, unbiased=False)),
            "You divided by the standard deviation, which subtracts the mean before squaring. "
            "The root mean square does not.",
        ),
        Suspect(
            "divided by the length",
            _rms(lambda x: (x * x).sum(dim=-1, keepdim=True)),
            "You divided by the length of the vector: the *sum* of the squares. RMS is the root of "
            "their *mean*.",
        ),
        Suspect(
            "no root",
            lambda x, gain, eps: x / (_mean_square(x) + eps) * gain,
            "You divided by the mean square itself. The root is missing.",
        ),
        Suspect(
            "over the words",
            _rms(lambda x: (x * x).mean(dim=-2, keepdim=True)),
            "You took the mean over the words. Normalise each word by itself, along the last axis.",
        ),
        Suspect(
            "over everything",
            _rms(lambda x: (x * x).mean()),
            "You took one mean over all words. Normalise each word by itself, along the last axis.",
        ),
        Suspect(
            "no gain",
            lambda x, gain, eps: solutions.rms_norm(x, torch.ones_like(gain), eps),
            "The gain is missing: multiply each number by its own gain at the end.",
        ),
        Suspect(
            "one plus the gain",
            lambda x, gain, eps: solutions.rms_norm(x, 1 + gain, eps),
            "You multiplied by 1 + gain, as Gemma does. Here, multiply by the gain itself.",
        ),
        Suspect(
            "gain inside",
            lambda x, gain, eps: solutions.rms_norm(x * gain, torch.ones_like(gain), eps),
            "You multiplied by the gain before you took the mean square. Multiply after the division.",
        ),
        Suspect(
            "eps outside the root",
            _rms(_mean_square, eps_in=False),
            "You added eps to the root. It goes *under* the root, to the mean square.",
        ),
        Suspect(
            "no eps",
            _without_eps,
            "Without eps a vector of zeros is divided by zero. Add eps under the root.",
        ),
    ),
)


# --- swiglu --------------------------------------------------------------------------------------


def _swiglu_cases() -> list[Case]:
    return [
        Case("3 words, 4 numbers wide, 6 inside", (_random(10, 3, 4), *_three(11, 4, 6))),
        Case("two texts at once", (_random(12, 2, 3, 5), *_three(13, 5, 8))),
    ]


def _three(seed: int, d: int, wide: int) -> tuple[torch.Tensor, ...]:
    return _random(seed, wide, d), _random(seed + 50, wide, d), _random(seed + 90, d, wide)


def _gated(activation):
    def wrong(x, w_gate, w_up, w_down):
        return (activation(x @ w_gate.T) * (x @ w_up.T)) @ w_down.T

    return wrong


_SWIGLU = Grader(
    name="15/swiglu",
    cases=_swiglu_cases,
    reference=solutions.swiglu,
    shape_hint="the shape of `x`, unchanged",
    suspects=(
        Suspect(
            "gate and up swapped",
            lambda x, g, u, d: solutions.swiglu(x, u, g, d),
            "Gate and up are swapped: the activation belongs to the gate.",
        ),
        Suspect(
            "sigmoid only",
            _gated(torch.sigmoid),
            "You passed the gate through a sigmoid alone (that is a GLU). SiLU is z · sigmoid(z).",
        ),
        Suspect("gelu", _gated(F.gelu), "You used GELU (that is GEGLU, Gemma's). Here it is SiLU."),
        Suspect("relu", _gated(torch.relu), "You used ReLU. Here the gate's activation is SiLU."),
        Suspect(
            "no activation",
            _gated(lambda gate: gate),
            "Your gate has no activation. Use SiLU: z · sigmoid(z).",
        ),
        Suspect(
            "no up",
            lambda x, g, u, d: F.silu(x @ g.T) @ d.T,
            "The gate is not multiplied by anything: `w_up` is missing. This is the older form.",
        ),
        Suspect(
            "added",
            lambda x, g, u, d: (F.silu(x @ g.T) + x @ u.T) @ d.T,
            "You added the two. A gate multiplies.",
        ),
        Suspect(
            "activation after the product",
            lambda x, g, u, d: F.silu((x @ g.T) * (x @ u.T)) @ d.T,
            "You took the activation of the product. Only the gate goes through it.",
        ),
        Suspect(
            "activation of both",
            lambda x, g, u, d: (F.silu(x @ g.T) * F.silu(x @ u.T)) @ d.T,
            "You put both through the activation. Only the gate goes through it.",
        ),
        Suspect(
            "not brought down",
            lambda x, g, u, d: F.silu(x @ g.T) * (x @ u.T),
            "The last product is missing: `w_down` brings the result back to the width of `x`.",
        ),
    ),
)


# --- grouped_attention ---------------------------------------------------------------------------


# Ordinary attention first, then one key head for all, then groups: if there are two mistakes, the
# check names the one that has nothing to do with groups first.
def _grouped_cases() -> list[Case]:
    return [
        Case("4 heads, each with a key head of its own", _weights(20, 2, 5, 8, 4, 4, 2)),
        Case("3 heads that share one key head", _weights(30, 1, 4, 6, 3, 1, 4)),
        Case("6 heads in 2 groups", _weights(40, 2, 5, 7, 6, 2, 3)),
    ]


def _weights(seed, batch, length, d_model, n_heads, n_kv_heads, d_head):
    return (
        _random(seed, batch, length, d_model),
        _random(seed + 1, n_heads * d_head, d_model) / 2,
        _random(seed + 2, n_kv_heads * d_head, d_model) / 2,
        _random(seed + 3, n_kv_heads * d_head, d_model),
        _random(seed + 4, d_model, n_heads * d_head),
        n_heads,
        n_kv_heads,
    )


def _grouping(
    spread=lambda t, group: t.repeat_interleave(group, 1),
    spread_value=None,
    scale=lambda d_head, d_model, length: d_head**-0.5,
    hidden=lambda ones: ones.triu(1),
    axis=-1,
    split=lambda t, heads, d_head: t.unflatten(-1, (heads, d_head)).transpose(1, 2),
    merge=lambda z: z.transpose(1, 2).flatten(2),
    out=lambda z, w: z @ w.T,
):
    """grouped_attention with one of its steps replaced."""

    def wrong(x, w_q, w_k, w_v, w_out, n_heads, n_kv_heads):
        d_head, group = len(w_q) // n_heads, n_heads // n_kv_heads
        query = split(x @ w_q.T, n_heads, d_head)
        key = spread(split(x @ w_k.T, n_kv_heads, d_head), group)
        value = (spread_value or spread)(split(x @ w_v.T, n_kv_heads, d_head), group)
        length = x.shape[1]
        scores = query @ key.transpose(-2, -1) * scale(d_head, x.shape[-1], length)
        hide = hidden(torch.ones(length, length)).bool()
        weights = torch.softmax(scores.masked_fill(hide, -math.inf), dim=axis)
        return out(merge(weights @ value), w_out)

    return wrong


def _viewed(t, heads, d_head):
    return t.reshape(t.shape[0], heads, -1, d_head)


_GROUPED = Grader(
    name="15/grouped_attention",
    cases=_grouped_cases,
    reference=solutions.grouped_attention,
    shape_hint="the shape of `x`, unchanged",
    suspects=(
        Suspect(
            "no mask",
            _grouping(hidden=torch.zeros_like),
            "Nothing hides the later words. Set the scores right of the diagonal to −∞.",
        ),
        Suspect(
            "mask inverted",
            _grouping(hidden=lambda ones: ones.tril(-1)),
            "The mask is inverted: each word sees itself and the words after it.",
        ),
        Suspect(
            "no scale",
            _grouping(scale=lambda *_: 1.0),
            "The scores are not divided by √d_head.",
        ),
        Suspect(
            "scaled by d_model",
            _grouping(scale=lambda d_head, d_model, length: d_model**-0.5),
            "You divided by √d_model. A head has only `d_head` numbers: len(w_q) / n_heads.",
        ),
        Suspect(
            "softmax over queries",
            _grouping(axis=-2),
            "Your weights sum to 1 over the queries. They should sum to 1 over the keys of each query.",
        ),
        Suspect(
            "heads cut without turning axes",
            _grouping(split=_viewed),
            "You reshaped [position, head · d_head] straight to [head, position, d_head], so a head "
            "gets numbers of several words. Cut the last axis first, then swap head and position.",
        ),
        Suspect(
            "heads merged without turning axes",
            _grouping(merge=lambda z: z.reshape(z.shape[0], z.shape[2], -1)),
            "You put the heads together without swapping head and position back.",
        ),
        Suspect(
            "no output projection",
            _grouping(out=lambda z, w: z),
            "These are the heads side by side. The last step is missing: `w_out`.",
        ),
        Suspect(
            "output not turned",
            _grouping(out=lambda z, w: z @ w if w.shape[0] == w.shape[1] else z.new_zeros(0)),
            "`w_out` is the weight of an `nn.Linear`: multiply by its transpose.",
        ),
        Suspect(
            "groups interleaved",
            _grouping(spread=lambda t, group: t.repeat(1, group, 1, 1)),
            "Your query heads take turns: 0 1 0 1 0 1. Neighbours should share a key head: "
            "0 0 0 1 1 1. `repeat` puts whole copies one after the other; what repeats each head in "
            "place?",
        ),
        Suspect(
            "only the keys are shared right",
            _grouping(spread_value=lambda t, group: t.repeat(1, group, 1, 1)),
            "The keys are shared correctly, but the values are not: 0 1 0 1 instead of 0 0 1 1.",
        ),
        Suspect(
            "the first key head for all",
            _grouping(spread=lambda t, group: t[:, :1].expand(-1, t.shape[1] * group, -1, -1)),
            "All query heads read key head 0. Each group has its own key head.",
        ),
        Suspect(
            "the mean of the key heads",
            _grouping(
                spread=lambda t, group: t.mean(1, keepdim=True).expand(
                    -1, t.shape[1] * group, -1, -1
                )
            ),
            "You took the mean of the key heads. Each group has its own key head.",
        ),
    ),
)


GRADERS = (_RMS, _SWIGLU, _GROUPED, PARAMETERS, CACHE)
