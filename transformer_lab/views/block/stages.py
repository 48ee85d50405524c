"""One token's way through a block as a row of stages, each with its numbers and its sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...analysis.circuits.block_walk import BlockSteps
from ..shared.messages import messages

say = messages("block")
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

    def stage(
        self,
        name: str,
        *vectors: Vector,
        keys: Keys | None = None,
        answers: tuple[tuple[str, float, float | None], ...] = (),
        **values: Any,
    ) -> Stage:
        s = self.s
        values |= dict(
            stage=name,
            query=self.a.queries[s.position],
            layer=s.layer,
            head=s.head,
            after=s.after,
            d=len(s.stream),
            width=len(s.query),
        )
        tab, title, formula = (say(key, **values) for key in ("tab", "title", "formula"))
        return Stage(name, tab, title, formula, say(name, **values), vectors, keys, answers)

    def stream(self) -> Stage:
        s = self.s
        return self.stage("stream", Vector("x", s.stream), length=_length(s.stream))

    def norm(self) -> Stage:
        s = self.s
        lengths: dict[str, Any] = {"from": _length(s.stream), "to": _length(s.reads)}
        rows = (Vector("x", s.stream), Vector("norm(x)", s.reads))
        return self.stage("norm", *rows, norm=s.norm, **lengths)

    def product(self) -> Stage:
        s = self.s
        keys = Keys(("q · k",), (s.dots,), s.keys, "key")
        best = self._top(s.dots, s.scores.isfinite())
        return self.stage("product", Vector("query", s.query, True), keys=keys, **best)

    def scale(self) -> Stage:
        s = self.s
        return self.stage(
            "scale",
            keys=Keys(("q · k", "scaled"), (s.dots, s.scaled)),
            root=math.isclose(s.scale, len(s.query) ** -0.5, rel_tol=1e-4),
            scale=f"{s.scale:.4g}",
            cap=None if s.softcap is None else f"{s.softcap:.4g}",
            **self._top(s.scaled, s.scores.isfinite()),
        )

    def mask(self) -> Stage:
        s = self.s
        reached = s.scores.isfinite()
        bias = s.bias[reached]
        biased = bool((bias != 0).any())
        ends: dict[str, Any] = (
            {"from": float(bias.min()), "to": float(bias.max())} if biased else {}
        )
        keys = Keys(("scaled", "bias", "score"), (s.scaled, s.bias, s.scores))
        return self.stage("mask", keys=keys, hidden=int((~reached).sum()), biased=biased, **ends)

    def softmax(self) -> Stage:
        s = self.s
        best = self._top(s.weights, s.scores.isfinite().any() & (s.weights >= 0))
        keys = Keys(("score", "weight"), (s.scores, s.weights))
        return self.stage("softmax", keys=keys, nothing=s.nothing, **best)

    def values(self) -> Stage:
        s = self.s
        z = s.z[s.head]
        parts = s.weights[:, None] * s.values
        size = float(z.square().sum())
        shares = parts @ z / size if size > 1e-20 else torch.zeros(len(parts), dtype=z.dtype)
        keys = Keys(("weight", "share of z"), (s.weights, shares), parts, "weight · value")
        best = self._top(shares, shares > -math.inf)
        return self.stage("values", Vector("z", z, True), keys=keys, length=_length(z), **best)

    def heads(self) -> Stage:
        s = self.s
        rows = [Vector(f"z of head {h}", z, h == s.head) for h, z in enumerate(s.z)]
        if len(rows) > 16:  # those beside the chosen one
            first = min(max(0, s.head - 8), len(rows) - 16)
            rows = rows[first : first + 16]
        rows += [Vector(f"W_O of head {s.head}", s.written, True), Vector("attention", s.attention)]
        lengths: dict[str, Any] = dict(written=_length(s.written), length=_length(s.attention))
        return self.stage("heads", *rows, n=len(s.z), **lengths)

    def sum_of_attention(self) -> Stage:
        s = self.s
        rows = (
            Vector("x", s.stream),
            Vector("attention", s.attention),
            Vector(self._middle, s.middle),
        )
        lengths: dict[str, Any] = dict(stream=_length(s.stream), attention=_length(s.attention))
        return self.stage("add", *rows, length=_length(s.middle), **lengths)

    @property
    def _middle(self) -> str:
        return say("formula", stage="add", after=self.s.after)

    def cross(self) -> Stage:
        s = self.s
        assert s.cross is not None
        rows = Vector("before", s.middle), Vector("cross-attention", s.cross)
        return self.stage("cross", *rows, length=_length(s.cross))

    def mlp_norm(self) -> Stage:
        s = self.s
        read = Vector("norm", s.mlp_reads if s.mlp_reads is not None else s.middle)
        rows = (Vector("stream", s.middle), read) if s.cross is None else (read,)
        return self.stage("norm2", *rows, norm=s.mlp_norm, length=read.length)

    def mlp(self) -> Stage:
        s = self.s
        assert s.mlp is not None
        rows = [] if s.mlp_reads is None else [Vector("reads", s.mlp_reads)]
        values: dict[str, Any] = dict(units=None, length=_length(s.mlp))
        if s.hidden is not None:
            rows.append(Vector("hidden", s.hidden))
            unit, positive = int(s.hidden.abs().argmax()), int((s.hidden > 0).sum())
            values |= dict(units=len(s.hidden), positive=positive, unit=unit)
            values["value"] = float(s.hidden[unit])
        return self.stage("mlp", *rows, Vector("feed-forward", s.mlp), **values)

    def sum_of_mlp(self) -> Stage:
        s = self.s
        assert s.mlp is not None
        cosine = float(torch.cosine_similarity(s.stream, s.out, 0, eps=1e-12))
        rows = [Vector(self._middle, s.middle)] if s.cross is None else []
        rows += [
            Vector("feed-forward", s.mlp),
            Vector("out", s.out),
            Vector("x, as it came", s.stream),
        ]
        return self.stage("add2", *rows, length=_length(s.out), cosine=cosine)

    def answer(self) -> Stage:
        a = self.a
        if not a.lens:
            return self.stage("answer", token=None, why=a.why_no_lens or None)
        final = dict(a.final)
        (top, chance), (told, p) = a.final[0], a.lens[0]
        return self.stage(
            "answer", answers=tuple((name, p, final.get(name)) for name, p in a.lens), token=top,
            chance=chance, last=a.last, told=told, p=p, here=a.here, without=a.without,
        )  # fmt: skip

    def _top(self, values: Tensor, among: Tensor) -> dict[str, Any]:
        """The key with the largest number, and that number; of equals the first."""
        if not bool(among.any()):
            return {"best": None}
        left = values.masked_fill(~among, -math.inf)
        room = 1e-5 * left.abs().nan_to_num(0, 0, 0).max().clamp(min=1)
        at = int((left >= left.max() - room).nonzero()[0])
        return {"best": self.a.keys[at], "value": float(values[at])}


def _length(x: Tensor) -> float:
    return float(x.norm())
