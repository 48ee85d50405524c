"""Label every head that earns a label, with the evidence for it.

    tl.heads.labels(tl.shipped("manual"))[2][2].sentence
    # "attends to the token after earlier occurrences: 0.91 (random twin 0.03; lag 37: 0.95); this
    # head off: loss on the repeat 0.40 → 8.20; all 2 heads with this label off: …"

A label says what a head does on controlled inputs (`inputs`). It needs four things:

1. More than half (`BAR`) of the attention of the queries that have such a key goes where the
   label says. Two disjoint labels cannot both get more than half.
2. The same at a second lag. Repeats at one lag can be matched by counting.
3. At least a quarter more (`ABOVE`) than the same head of a randomly initialised twin. Masks and
   position biases make patterns of their own: in an untrained model, ALiBi's steepest slope puts
   most of a token's attention on itself.
4. For the labels of a head at rest (first token, special tokens, punctuation): a quarter more
   than the median head of the model. In many models half of the heads rest there, and a label
   that most heads have says nothing about any. (A score of `REST` is enough in any case.)

If a head earns several, it gets the one that says most about it: content before place, place before
rest. None of this shows that the head matters; `alone` and `group` do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..adapters.network import no_heads
from ..edits.kinds import EditError
from ..files.waiting import waiting
from .evidence import BAR, Evidence, Scores, SwitchedOff
from .measures import MEASURES

ABOVE, REST = 0.25, 0.9


@dataclass(frozen=True)
class HeadLabel:
    """A head's label, or None, with the evidence.

    name: of one of `measures.MEASURES`, or None.
    score, twin, second: fraction of attention that goes where the label says: on the first inputs,
        in a randomly initialised twin (None: the model is too large to have one, or its weights
        cannot be redrawn), and on the second inputs. Without a label, those of the nearest one; all
        three between 0 and 1.
    nearest: the label that these scores belong to.
    bar: what `score` and `second` must exceed.
    scores: every label's score on the first inputs.
    on, second_on: the two inputs, in words.
    lag, second_lag: of the repeats; None for labels measured on texts.
    alone, group, control: the effect of switching off this head, all heads with this label, and as
        many without it; None where not measured (see `note`).
    """

    layer: int
    head: int
    kind: str
    name: str | None
    nearest: str
    score: float
    twin: float | None
    second: float
    bar: float
    on: str
    second_on: str
    lag: int | None
    second_lag: int | None
    scores: dict[str, float] = field(repr=False)
    alone: SwitchedOff | None = None
    group: SwitchedOff | None = None
    control: SwitchedOff | None = None
    note: str | None = None

    @property
    def sentence(self) -> str:
        """The label and its evidence in plain words."""
        again = f"lag {self.second_lag}" if self.second_lag else "other texts"
        if self.name is None:
            return f"no label: the nearest is “{self.nearest}”, {self._why_none}"
        score = f"{_share(self.score)} (random twin {_share(self.twin)}; {again}: {_share(self.second)})"
        parts = [f"{MEASURES[self.name].says}: {score}"]
        if self.alone is not None:
            parts.append(f"this head off: {self.alone.words}")
        if self.group is not None and self.group.n_heads > 1:
            parts.append(f"all {self.group.n_heads} heads with this label off: {self.group.words}")
        if self.control is not None:
            n = self.control.n_heads
            parts.append(f"control, {n} other head{'s' * (n > 1)} off: {self.control.words}")
        if self.note:
            parts.append(self.note)
        return "; ".join(parts)

    @property
    def _why_none(self) -> str:
        """Which of the three tests the nearest label fails."""
        lag = self.second_lag
        where = f"on text that repeats after {lag} tokens" if lag else "on other texts"
        score, second, twin = (_share(x) for x in (self.score, self.second, self.twin))
        needs = f"a label needs more than {_share(self.bar)} on both texts"
        if self.score <= self.bar:
            return f"which scores only {score} ({where}: {second}, random twin: {twin}); {needs}"
        if self.second <= self.bar:
            return f"which scores {score}, but only {second} {where} (random twin: {twin}); {needs}"
        more = f"a label needs {_share(ABOVE)} more than the twin"
        return f"which scores {score} ({where}: {second}), but its random twin has {twin}; {more}"

    @property
    def short(self) -> str:
        """The label in a few characters: "induction 0.93", or nothing."""
        return "" if self.name is None else f"{self.name} {_share(self.score)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, including the sentence."""
        return {**asdict(self), "sentence": self.sentence, "short": self.short}


def labels(
    model: Any,
    *,
    kind: str | None = None,
    texts: Sequence[str] | None = None,
    ablation: bool = True,
    n_texts: int = 4,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[HeadLabel]]:
    """Label every head, or give it none, with the evidence: [layer][head]; [] for a layer without
    heads.

    It costs three forward passes over a few short texts and, with `ablation`, one more for each
    head with a label and two for each label.

    Args:
        model: our `Transformer`, a Hugging Face model or a `TextModel`.
        kind: "encoder" or "decoder": the self-attention to label; the decoder's by default.
        texts: texts in the model's language, at least two, for a `TextModel`: then the labels of
            heads at rest, and those that need words ("same word", "punctuation"), are measured on
            them, the first half of the texts against the second.
        ablation: False leaves out the effects, for a first look.
        n_texts: random texts in a probe.
        seed: of the probes and the twin.
        progress: called with (passes done, passes in all), not counting effects; an exception from
            it ends the work.

    Raises:
        ValueError: for a kind without self-attention, or a context too short to repeat a text in.
    """
    with waiting("Finding head types", progress) as tell:
        evidence = Evidence(model, kind, texts, n_texts, seed, tell)
        found = _screened(evidence)
    if not ablation:
        return found
    effects = _Effects(evidence, found)
    with waiting("Measuring heads with a label"):
        return [[effects.added_to(one) for one in row] for row in found]


def label(
    model: Any,
    layer: int,
    head: int,
    *,
    kind: str | None = None,
    texts: Sequence[str] | None = None,
    ablation: bool = True,
    n_texts: int = 4,
    seed: int = 0,
) -> HeadLabel:
    """Return one head's label with its evidence; the options are those of `labels`.

    All heads are scored, to find those that share the label; only this head, its group and the
    control are switched off.

    Raises:
        ValueError: for a head that does not exist, and as `labels`.
    """
    with waiting("Finding head types") as tell:
        evidence = Evidence(model, kind, texts, n_texts, seed, tell)
        found = _screened(evidence)
    _check("layer", layer, len(found))
    if not found[layer]:
        raise ValueError(no_heads(evidence.layers[layer], evidence.layers))
    _check("head", head, len(found[layer]))
    one = found[layer][head]
    return _Effects(evidence, found).added_to(one) if ablation else one


# -- inside -----------------------------------------------------------------------------------------

_Table = list[list[HeadLabel]]
_Spots = list[tuple[int, int]]


def _check(name: str, value: int, limit: int) -> None:
    if not 0 <= value < limit:
        raise ValueError(f"{name}={value} is outside 0 … {limit - 1} of this model")


def _screened(evidence: Evidence) -> _Table:
    own, twin, again = evidence.scores()
    names = [name for name in _in_order() if name in own and name in again]
    bars = {name: _bar(name, own[name]) for name in names}
    return [
        [
            _decided(evidence, layer.number, head, bars, own, twin, again)
            for head in range(layer.heads or 0)
        ]
        for layer in evidence.layers
    ]


def _in_order() -> list[str]:
    """Names of the labels, the most informative first."""
    order = ("content", "place", "rest")
    known = sorted(MEASURES.values(), key=lambda one: order.index(one.about))
    return [one.name for one in known if one.says]


def _bar(name: str, scores: Tensor) -> float:
    if MEASURES[name].about != "rest":
        return BAR
    return max(BAR, min(REST, scores.nanmedian().item() + ABOVE))


def _decided(
    evidence: Evidence,
    layer: int,
    head: int,
    bars: dict[str, float],
    own: Scores,
    twin: Scores | None,
    again: Scores,
) -> HeadLabel:
    score, second = ({n: t[n][layer, head].item() for n in bars} for t in (own, again))
    random = {n: None if twin is None else twin[n][layer, head].item() for n in bars}
    weakest = {n: min(score[n], second[n]) for n in bars}
    earned = [n for n in bars if weakest[n] > bars[n] and score[n] - (random[n] or 0.0) >= ABOVE]
    nearest = earned[0] if earned else max(bars, key=lambda n: weakest[n] / bars[n])
    on_texts = evidence.on_texts(nearest)
    inputs = (
        [_about(t) for t in evidence.texts] if on_texts else [p.about for p in evidence.repeats]
    )
    lags = (None, None) if on_texts else evidence.lags
    return HeadLabel(
        layer,
        head,
        evidence.kind,
        earned[0] if earned else None,
        nearest,
        score=score[nearest],
        twin=random[nearest],
        second=second[nearest],
        bar=bars[nearest],
        on=inputs[0],
        second_on=inputs[1],
        lag=lags[0],
        second_lag=lags[1],
        scores=score,
    )


class _Effects:
    """Effects of heads and of groups; a group's are measured once."""

    def __init__(self, evidence: Evidence, table: _Table):
        self.evidence, self.all = evidence, [(x.layer, x.head) for row in table for x in row]
        self.members: dict[str, _Spots] = {}
        for one in (one for row in table for one in row if one.name):
            self.members.setdefault(str(one.name), []).append((one.layer, one.head))
        self._of_groups: dict[str, tuple[SwitchedOff, SwitchedOff | None]] = {}

    def added_to(self, one: HeadLabel) -> HeadLabel:
        if one.name is None:
            return one
        members = self.members[one.name]
        try:
            alone = self.evidence.effect([(one.layer, one.head)])
            if one.name not in self._of_groups:
                together = self.evidence.effect(members) if len(members) > 1 else alone
                others = self._others(members)
                control = self.evidence.effect(others) if others else None
                self._of_groups[one.name] = together, control
        except EditError as error:
            return replace(one, note=f"effect not measured: {error}")
        group, control = self._of_groups[one.name]
        return replace(one, alone=alone, group=group, control=control)

    def _others(self, members: _Spots) -> _Spots:
        """Draw as many heads without this label, from the same layers where possible."""
        free = [spot for spot in self.all if spot not in set(members)]
        generator = torch.Generator().manual_seed(self.evidence.seed)
        free = [free[i] for i in torch.randperm(len(free), generator=generator).tolist()]
        chosen: _Spots = []
        for layer, _ in members:
            left = [spot for spot in free if spot not in chosen]
            chosen += ([spot for spot in left if spot[0] == layer] or left)[:1]
        return chosen if len(chosen) == len(members) else []


def _about(group: list[Any]) -> str:
    n_tokens = sum(probe.tokens.shape[1] for probe in group)
    return f"{len(group)} text{'s' * (len(group) > 1)} of {n_tokens} tokens in all"


def _share(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.2f}"
