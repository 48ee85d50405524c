"""One token's way through a block as a row of stages, each with its numbers and its sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...circuits.block_walk import BlockSteps
from ..shared.messages import fixed, quoted, short

SHOWN_KEYS = 14  # rows of a table of keys; of more, those with most weight


@dataclass(frozen=True, eq=False)
class Vector:
    """A row of numbers with a name; `size` tells its length in the readout."""

    name: str
    values: Tensor
    chosen: bool = False

    @property
    def length(self) -> float:
        return float(self.values.norm())


@dataclass(frozen=True, eq=False)
class Keys:
    """A table with a row for each key: `columns` of numbers (None: the token may not look there), of
    which the last is drawn as a bar, and where there is one a `vector` [key, number] beside it."""

    columns: tuple[str, ...]
    numbers: tuple[Tensor, ...]
    vectors: Tensor | None = None
    vector_name: str = ""
    decimals: int = 2


@dataclass(frozen=True, eq=False)
class Stage:
    """One step: `tab` is its short name, `formula` what is computed, `sentence` what was."""

    name: str
    tab: str
    title: str
    formula: str
    sentence: str
    vectors: tuple[Vector, ...] = ()
    keys: Keys | None = None
    answers: tuple[tuple[str, float, float | None], ...] = field(default=())


@dataclass(frozen=True)
class Around:
    """What stands around the block: the tokens, and what the stream would say.

    `named` is how the layer and head are called. `lens` is what the stream after this block would
    predict and `final` what the model predicts, the likeliest first; `without` is the probability of
    the model's first answer with this head off. `why_no_lens` says why there are none.
    """

    queries: Sequence[str]
    keys: Sequence[str]
    last: bool  # whether this is the last block
    lens: Sequence[tuple[str, float]] = ()
    final: Sequence[tuple[str, float]] = ()
    without: float | None = None
    why_no_lens: str = ""
    here: bool = False  # whether logits say what stands at a position, not what comes next


def shown_keys(steps: BlockSteps) -> list[int]:
    """The keys of a table, in the order of the text: those with most weight where there are many."""
    n = len(steps.weights)
    if n <= SHOWN_KEYS:
        return list(range(n))
    best = steps.weights.argsort(descending=True, stable=True)[:SHOWN_KEYS].tolist()
    return sorted(best)


def stages_of(steps: BlockSteps, around: Around) -> list[Stage]:
    """All steps through the block, in their order."""
    told = _Teller(steps, around)
    found = [told.stream()]
    if steps.norm:
        found.append(told.norm())
    found += [
        told.product(),
        told.scale(),
        told.mask(),
        told.softmax(),
        told.values(),
        told.heads(),
    ]
    found.append(told.sum_of_attention())
    if steps.cross is not None:
        found.append(told.cross())
    if steps.mlp is not None:
        if steps.mlp_norm:
            found.append(told.mlp_norm())
        found += [told.mlp(), told.sum_of_mlp()]
    return [*found, told.answer()]


class _Teller:
    def __init__(self, steps: BlockSteps, around: Around):
        self.s, self.a = steps, around
        self.token = quoted(around.queries[steps.position])
        self.d, self.head = len(steps.stream), f"head {steps.head}"

    def stream(self) -> Stage:
        s = self.s
        below = {
            0: "the embedding of its token and its position",
            1: "its embedding, and what one block below wrote into it",
        }
        wrote = below.get(s.layer, f"its embedding, and what {s.layer} blocks below wrote into it")
        return Stage(
            "stream", "x", "The residual stream", "x",
            f"{self.token} comes to layer {s.layer} as {self.d} numbers, of length {_n(s.stream.norm())}: {wrote}.",
            (Vector("x", s.stream),),
        )  # fmt: skip

    def norm(self) -> Stage:
        s = self.s
        return Stage(
            "norm", "norm", "Norm", "norm(x)",
            f"{s.norm} brings the {self.d} numbers to one size, however long the stream has grown, and times a "
            f"gain: their length goes from {_n(s.stream.norm())} to {_n(s.reads.norm())}. The stream itself stays.",
            (Vector("x", s.stream), Vector("norm(x)", s.reads)),
        )  # fmt: skip

    def product(self) -> Stage:
        s = self.s
        best, value = self._top(s.dots, s.scores.isfinite())
        return Stage(
            "product", "q·k", "Query · keys", "q · k = Σ qᵢ kᵢ",
            f"{self.head.capitalize()} makes a query of {self.token}, {len(s.query)} numbers, and a key of every "
            f"token. Query times key is largest for {best} ({value}).",
            (Vector("query", s.query, True),),
            Keys(("q · k",), (s.dots,), s.keys, "key"),
        )  # fmt: skip

    def scale(self) -> Stage:
        s = self.s
        root = math.isclose(s.scale, len(s.query) ** -0.5, rel_tol=1e-4)
        by = (
            f"1/√{len(s.query)}"
            if root
            else f"{s.scale:.4g}, which is not 1/√{len(s.query)} in this model"
        )
        best, value = self._top(s.scaled, s.scores.isfinite())
        capped = (
            ""
            if s.softcap is None
            else f" They are capped too: {s.softcap:g} · tanh(score / {s.softcap:g})."
        )
        why = (
            ""
            if not root
            else " A sum of many products is large, and the softmax would see one key alone."
        )
        return Stage(
            "scale", "× scale", "Scale", "q · k / √d" if root else f"q · k × {s.scale:.4g}",
            f"The products are multiplied by {by}.{why}{capped} {best} has {value} now.",
            keys=Keys(("q · k", "scaled"), (s.dots, s.scaled)),
        )  # fmt: skip

    def mask(self) -> Stage:
        s = self.s
        hidden = int((~s.scores.isfinite()).sum())
        reached = s.scores.isfinite()
        bias = s.bias[reached]
        added = bool((bias != 0).any())
        parts = []
        if hidden:
            many = "1 key" if hidden == 1 else f"{hidden} keys"
            parts.append(f"{self.token} may not look at {many}: their score becomes −∞")
        if added:
            parts.append(
                f"a bias from {_n(bias.min())} to {_n(bias.max())} is added for where the keys stand"
            )
        text = (
            "; ".join(parts)
            if parts
            else f"{self.token} may look at every key, and nothing is added"
        )
        return Stage(
            "mask", "+ mask", "Mask and bias", "score = scaled + bias",
            f"{text[0].upper() if not text.startswith('“') else text[0]}{text[1:]}.",
            keys=Keys(("scaled", "bias", "score"), (s.scaled, s.bias, s.scores)),
        )  # fmt: skip

    def softmax(self) -> Stage:
        s = self.s
        best, value = self._top(s.weights, s.weights >= 0, weight=True)
        whole = "weights sum to 1"
        if s.nothing > 0.005:
            whole = f"weights and {short(s.nothing)}, which goes to nothing, sum to 1"
        if not bool(s.scores.isfinite().any()):
            text = f"{self.token} may look at nothing, so every weight is 0."
        else:
            text = f"e to each score, over the sum of all: {best} gets {value}. The {whole}."
        return Stage(
            "softmax", "softmax", "Softmax", "weight = eˢ / Σ eˢ", text,
            keys=Keys(("score", "weight"), (s.scores, s.weights)),
        )  # fmt: skip

    def values(self) -> Stage:
        s = self.s
        z = s.z[s.head]
        parts = s.weights[:, None] * s.values
        size = float(z.square().sum())
        shares = parts @ z / size if size > 1e-20 else torch.zeros(len(parts), dtype=z.dtype)
        best, value = self._top(shares, shares > -math.inf, weight=True)
        return Stage(
            "values", "Σ w·v", "Values", "z = Σ weight · v",
            f"Each key’s value, times its weight, and the sum: that is what {self.head} takes to {self.token}, "
            f"{len(z)} numbers of length {_n(z.norm())}. {best} gives {value} of it.",
            (Vector("z", z, True),),
            Keys(("weight", "share of z"), (s.weights, shares), parts, "weight · value"),
        )  # fmt: skip

    def heads(self) -> Stage:
        s = self.s
        rows = [Vector(f"z of head {h}", z, h == s.head) for h, z in enumerate(s.z)]
        several = (
            f"The {len(rows)} heads stand side by side, and W_O makes {self.d} numbers of them"
        )
        if len(rows) == 1:
            several = f"W_O makes {self.d} numbers of it"
        if len(rows) > 16:  # those beside the chosen one
            first = min(max(0, s.head - 8), len(rows) - 16)
            rows = rows[first : first + 16]
        rows += [
            Vector(f"W_O of head {s.head}", s.written, True), Vector("attention", s.attention)
        ]  # fmt: skip
        return Stage(
            "heads", "W_O", "The heads together", "attention = W_O [z₀ z₁ …]",
            f"{several}. {self.head.capitalize()} writes a vector of length {_n(s.written.norm())}, all together "
            f"{_n(s.attention.norm())}.",
            tuple(rows),
        )  # fmt: skip

    def sum_of_attention(self) -> Stage:
        s = self.s
        then = ", and the norm comes after the sum" if s.after else ""
        rows = (
            Vector("x", s.stream),
            Vector("attention", s.attention),
            Vector(self._middle, s.middle),
        )
        return Stage(
            "add", "+ x", "The residual connection", "norm(x + attention)" if s.after else "x + attention",
            f"Attention is added to the stream, not put in its place{then}: {_n(s.stream.norm())} and "
            f"{_n(s.attention.norm())} give a length of {_n(s.middle.norm())}.",
            rows,
        )  # fmt: skip

    @property
    def _middle(self) -> str:
        return "norm(x + attention)" if self.s.after else "x + attention"

    def cross(self) -> Stage:
        s = self.s
        assert s.cross is not None
        return Stage(
            "cross", "+ cross", "Cross-attention", "… + cross-attention",
            f"Cross-attention looks at the encoder’s text and adds a vector of length {_n(s.cross.norm())}: "
            'choose kind "cross" in a HeadView to see where.',
            (Vector("before", s.middle), Vector("cross-attention", s.cross)),
        )  # fmt: skip

    def mlp_norm(self) -> Stage:
        s = self.s
        read = Vector("norm", s.mlp_reads if s.mlp_reads is not None else s.middle)
        return Stage(
            "norm2", "norm", "Norm again", "norm(x)",
            f"{s.mlp_norm} brings the numbers to one size once more, for the feed-forward to read: length "
            f"{_n(read.length)}.",
            (Vector("stream", s.middle), read) if s.cross is None else (read,),
        )  # fmt: skip

    def mlp(self) -> Stage:
        s = self.s
        assert s.mlp is not None
        rows = [] if s.mlp_reads is None else [Vector("reads", s.mlp_reads)]
        if s.hidden is None:
            text = f"Some of its experts read {self.token} and add"
        else:
            rows.append(Vector("hidden", s.hidden))
            at = int(s.hidden.abs().argmax())
            share = int((s.hidden > 0).sum())
            text = (
                f"{len(s.hidden)} hidden units, each with what it looks for; {share} of them are above 0, and unit {at} is "
                f"furthest from it ({_n(s.hidden[at])}). They add"
            )
        rows.append(Vector("feed-forward", s.mlp))
        return Stage(
            "mlp", "MLP", "Feed-forward", "W₂ · act(W₁ · x)",
            f"{text} a vector of length {_n(s.mlp.norm())}. No other token is looked at here.",
            tuple(rows),
        )  # fmt: skip

    def sum_of_mlp(self) -> Stage:
        s = self.s
        assert s.mlp is not None
        cosine = float(torch.cosine_similarity(s.stream, s.out, 0, eps=1e-12))
        then = " Then comes the norm." if s.after else ""
        rows = [Vector(self._middle, s.middle)] if s.cross is None else []
        rows += [
            Vector("feed-forward", s.mlp),
            Vector("out", s.out),
            Vector("x, as it came", s.stream),
        ]
        return Stage(
            "add2", "+ x", "The stream goes on", "norm(… + MLP)" if s.after else "… + MLP",
            f"The feed-forward’s vector is added.{then} The stream leaves layer {s.layer} with length "
            f"{_n(s.out.norm())}; its direction is {'much as' if cosine >= 0.9 else 'other than'} it came "
            f"(cosine {'−' if cosine < 0 else ''}{short(abs(cosine))}).",
            tuple(rows),
        )  # fmt: skip

    def answer(self) -> Stage:
        a = self.a
        what = "stands here" if a.here else "comes next"
        if not a.lens:
            why = f": {a.why_no_lens}" if a.why_no_lens else ""
            text = f"What the stream would predict is not known{why}."
            return Stage("answer", "logits", "Towards an answer", "W_U · norm(x)", text)
        top, chance = a.final[0]
        if a.last:
            text = f"After this last block the model says {quoted(top)} {what} ({short(chance)})."
        else:
            told, p = a.lens[0]
            text = (
                f"If the model stopped here it would say that {quoted(told)} {what} ({short(p)}); after its last "
                f"layer it says {quoted(top)} ({short(chance)})."
            )
        if a.without is not None:
            falls = abs(a.without - chance) < 0.005
            then = "that stays" if falls else f"{quoted(top)} has {short(a.without)}"
            text += f" With {self.head} of this layer off, {then}{f' {short(a.without)}' if falls else ''}."
        final = dict(a.final)
        rows = tuple((name, p, final.get(name)) for name, p in a.lens)
        return Stage(
            "answer", "logits", "Towards an answer", "softmax(W_U · norm(x))", text, answers=rows
        )

    def _top(self, values: Tensor, among: Tensor, weight: bool = False) -> tuple[str, str]:
        """The key with the largest number, and that number; of equals the first."""
        left = values.masked_fill(~among, -math.inf)
        if not bool(among.any()):
            return "no key", "−"
        at = int(
            (
                left >= left.max() - 1e-5 * left.abs().nan_to_num(0, 0, 0).max().clamp(min=1)
            ).nonzero()[0]
        )
        return quoted(self.a.keys[at]), short(float(values[at])) if weight else _n(values[at])


def _n(x: Tensor | float) -> str:
    """A number in a sentence."""
    x = float(x)
    if x == -math.inf:
        return "−∞"
    return f"{'−' if x < 0 else ''}{fixed(abs(x))}"
