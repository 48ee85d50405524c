"""A label for every head, with the evidence for it; and none where there is none.

    tl.heads.labels(tl.shipped())[2][2].sentence
    # "looks at the token after earlier occurrences of its own: .93 (random twin .03; lag 37: .96); …"

A label says what a head does on controlled inputs (`probes`), and is given by four rules:

1. More than half of the attention, of the queries that could, goes where the label says (`BAR`).
   Half is where a label stops being one opinion among several: two disjoint ones cannot both have
   more.
2. The same at a second lag. Repeats at one lag can be matched by counting.
3. At least a quarter more (`ABOVE`) than the same head of a randomly initialised twin. Masks and
   position biases make patterns of their own: in an untrained model with ALiBi's steepest slope a
   token has most of its attention on itself.
4. For the labels of a head at rest (first token, special tokens, punctuation): a quarter more
   than the median head of the model. In many models every other head rests there, and a label
   that most heads have says nothing about any. (A score of `REST` is enough in any case.)

Where a head earns several, the one that says more about it is taken: content before place,
place before rest. None of this says that the head matters; `alone` and `group` do.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import heads, hub, probes
from .edit import EditError, ablate, edit
from .probes import Probe
from .trace import Trace, _frozen_copy

BAR, ABOVE, REST = 0.5, 0.25, 0.9

# label -> what such a head does. In order of precedence.
LABELS = {
    "induction": "looks at the token after earlier occurrences",
    "two-hop induction": "looks, through an earlier head, at the token after earlier occurrences",
    "duplicate token": "looks at earlier occurrences of the same token",
    "same word": "looks at the other pieces of the same word",
    "previous token": "looks at the token before",
    "next token": "looks at the token after",
    "self token": "looks at its own token",
    "punctuation": "rests on punctuation",
    "first token": "rests on the first token",
    "special tokens": "rests on special tokens",
}
_RESTING = ("punctuation", "first token", "special tokens")
_ON_TEXTS = ("same word", "punctuation")  # they need words
_LARGEST_OUTPUT = 2**23  # numbers in the predictions that ablations are compared with


@dataclass(frozen=True)
class Effect:
    """What switching heads off (z set to 0) changes.

    value: mean over tokens of the KL divergence, in nats, from the predictions before to those
        after; for a model with no head that predicts tokens, ‖after − before‖ / ‖before‖ of the
        final hidden states.
    measure: which of the two, in words.
    loss: mean loss in nats on the tokens that a repeat makes known, before and after; None for
        models that do not predict the next token.
    n_heads: how many heads were off together.
    """

    value: float
    measure: str
    loss: tuple[float, float] | None
    n_heads: int

    @property
    def words(self) -> str:
        if self.loss is not None:
            return f"loss on the repeat {self.loss[0]:.2f} → {self.loss[1]:.2f}"
        if self.measure == _KL:
            return f"predictions move by {self.value:.3f} nats"
        return f"final states change by {self.value:.1%}"


@dataclass(frozen=True)
class HeadLabel:
    """What a head does, or that it does nothing that has a name, and how that is known.

    name: one of `LABELS`, or None.
    score, twin, second: share of attention where the label says: on the first inputs, in a
        randomly initialised twin, and on the second ones. Of the nearest label where there is
        none; all three between 0 and 1.
    nearest: the label that these scores belong to.
    bar: what `score` and `second` had to pass.
    scores: every label's score on the first inputs.
    on, second_on: what was measured on, in words.
    lag, second_lag: of the repeats; None for labels measured on texts.
    alone, group, control: the effect of switching off this head, all heads of this label, and as
        many others; None where not measured (see `note`).
    """

    layer: int
    head: int
    kind: str
    name: str | None
    nearest: str
    score: float
    twin: float
    second: float
    bar: float
    on: str
    second_on: str
    lag: int | None
    second_lag: int | None
    scores: dict[str, float] = field(repr=False)
    alone: Effect | None = None
    group: Effect | None = None
    control: Effect | None = None
    note: str | None = None

    @property
    def sentence(self) -> str:
        """The label and its evidence in plain words."""
        again = f"lag {self.second_lag}" if self.second_lag else "other texts"
        score = f"{_share(self.score)} (random twin {_share(self.twin)}; {again}: {_share(self.second)})"  # fmt: skip
        if self.name is None:
            return f"no label: nearest is “{self.nearest}”, {score}, and a label needs {_share(self.bar)}"  # fmt: skip
        told = [f"{LABELS[self.name]}: {score}"]
        if self.alone is not None:
            told.append(f"off alone: {self.alone.words}")
        if self.group is not None and self.group.n_heads > 1:
            told.append(f"all {self.group.n_heads} of this label off: {self.group.words}")
        if self.control is not None:
            n = self.control.n_heads
            told.append(f"{n} other{'s' * (n > 1)} off: {self.control.words}")
        if self.note:
            told.append(self.note)
        return "; ".join(told)

    @property
    def short(self) -> str:
        """For a small place: "induction .93", or nothing."""
        return "" if self.name is None else f"{self.name} {_share(self.score)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the sentence among them."""
        return {**asdict(self), "sentence": self.sentence, "short": self.short}


def labels(
    model: Any,
    *,
    kind: str | None = None,
    texts: Sequence[str] | None = None,
    ablation: bool = True,
    n_texts: int = 4,
    seed: int = 0,
) -> list[list[HeadLabel]]:
    """A label for every head, or none, with its evidence: [layer][head].

    It costs three forward passes over a few short texts and, with `ablation`, one more for each
    head with a label and two for each label.

    Args:
        model: our `Transformer`, a Hugging Face model or a `TextModel`.
        kind: "encoder" or "decoder": the self-attention to label; the decoder's unless named.
        texts: texts of the model's language, at least two, for a `TextModel`: then the labels of
            heads at rest, and those that need words ("same word", "punctuation"), are
            measured on them, the first half of the texts against the second.
        ablation: False leaves out the effects, for a first look.
        n_texts: random texts in a probe.
        seed: of the probes and the twin.

    Raises:
        ValueError: for a kind without self-attention, or a context too short to repeat a text in.
    """
    study = _Study(model, kind, texts, n_texts, seed)
    found = study.screen()
    if not ablation:
        return found
    groups = _groups(found)
    wanted = [(one.layer, one.head) for row in found for one in row if one.name]
    for layer, head in wanted:
        found[layer][head] = study.with_effects(found[layer][head], groups)
    return found


def label(model: Any, layer: int, head: int, **options: Any) -> HeadLabel:
    """One head's label with its evidence; the options are those of `labels`. All heads are looked
    at, for the group that shares the label, and only this one and its group are switched off.

    Raises:
        ValueError: for a head that is not there, and as `labels`.
    """
    ablation = options.pop("ablation", True)
    study = _Study(model, **{**dict(kind=None, texts=None, n_texts=4, seed=0), **options})
    found = study.screen()
    for name, value, limit in (("layer", layer, len(found)), ("head", head, len(found[0]))):
        if not 0 <= value < limit:
            raise ValueError(f"{name}={value} is outside 0 … {limit - 1} of this model")
    one = found[layer][head]
    return study.with_effects(one, _groups(found)) if ablation and one.name else one


class _Study:
    """One model's inputs, twin and untouched outputs, made once for all of its heads."""

    def __init__(self, model: Any, kind: str | None, texts, n_texts: int, seed: int):
        self.kind, self.seed = kind, seed
        if kind == "cross":
            raise ValueError(
                "kind='cross' looks at another text; labels are for self-attention: give "
                "kind='encoder' or 'decoder'"
            )
        self.network: Any = probes._parts(model)[0]
        self.subject = (
            model  # what is traced: the TextModel, which knows its tokens, or the network
        )
        if self.network.training:
            self.network = _frozen_copy(self.network)
            self.subject = copy.copy(model) if hasattr(model, "tokenizer") else self.network
            if self.subject is not self.network:
                self.subject.model = self.network
        self.lags = probes.lags(model)
        self.repeats = [
            probes.repeated(model, lag=lag, n_texts=n_texts, seed=seed + i)
            for i, lag in enumerate(self.lags)
        ]
        self.texts: list[list[Probe]] = []
        if texts is not None:
            if isinstance(texts, str) or len(texts) < 2:
                raise ValueError(f"texts={texts!r} must be a list of at least two texts")
            if not hasattr(model, "tokenizer"):
                raise ValueError("texts need a tokenizer: give a TextModel, not a bare model")
            if probes._both(model):
                raise ValueError("texts are for models of one stack; leave them out here")
            half = (len(texts) + 1) // 2
            self.texts = [probes.as_texts(model, t) for t in (texts[:half], texts[half:])]
        self.resolved_kind = kind or ""
        self._predicts = False
        self._clean: list[Tensor] | None = None
        self._control: dict[str, Effect | None] = {}
        self._group: dict[str, Effect | None] = {}

    # -- scores ---------------------------------------------------------------------------------

    def screen(self) -> list[list[HeadLabel]]:
        twin = _twin(self.network, self.seed)
        first = self._scores(self.repeats[:1], self.texts[:1], twin)
        second = self._scores(self.repeats[1:], self.texts[1:], None)
        del twin
        own, other, again = first[0], first[1], second[0]
        names = [name for name in LABELS if name in own and name in again]
        n_layers, n_heads = own[names[0]].shape
        bars = {name: _bar(name, own[name]) for name in names}
        return [
            [self._decide(layer, head, names, own, other, again, bars) for head in range(n_heads)]
            for layer in range(n_layers)
        ]

    def _decide(self, layer, head, names, own, other, again, bars) -> HeadLabel:
        at = lambda table, name: table[name][layer, head].item()  # noqa: E731
        weakest = {n: min(at(own, n), at(again, n)) for n in names}
        earned = [
            n
            for n in names
            if weakest[n] > bars[n] and at(own, n) - at(other, n) >= ABOVE
        ]  # fmt: skip
        nearest = earned[0] if earned else max(names, key=lambda n: weakest[n] / bars[n])
        on_texts = bool(self.texts) and nearest in (*_RESTING, *_ON_TEXTS)
        about = [_about(t) for t in self.texts] if on_texts else [r.about for r in self.repeats]
        return HeadLabel(
            layer, head, self.resolved_kind, earned[0] if earned else None, nearest,
            score=at(own, nearest), twin=at(other, nearest), second=at(again, nearest),
            bar=bars[nearest], on=about[0], second_on=about[1],
            lag=None if on_texts else self.lags[0], second_lag=None if on_texts else self.lags[1],
            scores={n: at(own, n) for n in names},
        )  # fmt: skip

    def _scores(self, repeats, texts, twin) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """label -> [layer, head], of the model and of its twin."""
        tables: list[dict[str, Tensor]] = [{}, {}]
        names = [n for n in LABELS if n not in _ON_TEXTS]
        for probe in repeats:
            self._measure(tables, [probe], names, twin)
        for group in texts:
            self._measure(tables, group, [*_RESTING, "same word"], twin)
        return tables[0], tables[1]

    def _measure(self, tables, group: list[Probe], names: list[str], twin) -> None:
        sums: list[dict[str, list[Tensor]]] = [{}, {}]
        hops = "two-hop induction" in names
        for probe in group:
            mine = probe.trace(self.subject)
            theirs = None if twin is None else probe.trace(twin)
            kind = self.kind or ("decoder" if "decoder" in mine.kinds else "encoder")
            if kind not in mine.kinds:
                raise ValueError(
                    f"kind={kind!r} is not in this model; it has {', '.join(mine.kinds)}"
                )
            self.resolved_kind = kind
            for batch in range(mine.batch_size):
                wanted = _wanted(mine, probe, kind, batch, names)
                _add(sums[0], mine, kind, batch, wanted, hops)
                if theirs is not None:
                    _add(sums[1], theirs, kind, batch, wanted, hops)
        for table, found in zip(tables, sums, strict=True):
            table.update({name: torch.stack(each).mean(0) for name, each in found.items()})

    # -- effects --------------------------------------------------------------------------------

    def with_effects(self, one: HeadLabel, groups: dict[str, list[tuple[int, int]]]) -> HeadLabel:
        assert one.name is not None
        members = groups[one.name]
        try:
            alone = self.effect([(one.layer, one.head)])
            if one.name not in self._group:
                self._group[one.name] = self.effect(members) if len(members) > 1 else alone
                others = self._others(members, groups)
                self._control[one.name] = self.effect(others) if others else None
        except EditError as error:
            return replace(one, note=f"effect not measured: {error}")
        return replace(
            one, alone=alone, group=self._group[one.name], control=self._control[one.name]
        )

    def effect(self, off: list[tuple[int, int]]) -> Effect:
        """Of switching these heads off together, on the first probe."""
        probe, rows = self._probe_for_effects()
        if self._clean is None:
            self._clean = self._outputs(probe)
        edits = [ablate(layer, head, kind=self.resolved_kind) for layer, head in off]
        with edit(self.network, *edits):
            after = self._outputs(probe)
        before = self._clean
        if not self._predicts:
            apart = torch.stack(after) - torch.stack(before)
            return Effect(float(apart.norm() / torch.stack(before).norm()), _CHANGE, None, len(off))
        loss = None if rows is None else (_loss(before, probe, rows), _loss(after, probe, rows))
        return Effect(_divergence(before, after), _KL, loss, len(off))

    def _probe_for_effects(self) -> tuple[Probe, Tensor | None]:
        """As many of the first probe's texts as memory allows, and which tokens' next one the
        repeat makes known, where the model predicts next tokens."""
        probe, config = self.repeats[0], self.network.config
        width = getattr(config, "target_vocab_size", None) or config.vocab_size
        n = max(1, min(len(probe.tokens), _LARGEST_OUTPUT // (probe.tokens.shape[1] * width)))
        target = None if probe.target is None else probe.target[:n]
        probe = replace(probe, tokens=probe.tokens[:n], plain=probe.plain[:n], repeated=probe.repeated[:n], target=target)  # fmt: skip
        one_stack_decoder = target is None and self.resolved_kind == "decoder"
        return probe, probe.repeated if one_stack_decoder else None

    @torch.no_grad()
    def _outputs(self, probe: Probe) -> list[Tensor]:
        """Logits, or final states where there are none, fp32 [position, …] for each text."""
        network = self.network
        device = next(network.parameters()).device
        tokens = probe.tokens.to(device)
        target = None if probe.target is None else probe.target.to(device)
        if hub.is_hugging_face(network):
            given = network(**hub.inputs_of(tokens, target, None, None, network))
            out = getattr(given, "logits", None)
            out = getattr(given, "prediction_logits", None) if out is None else out
            self._predicts = out is not None and out.dim() == 3
            out = out if out is not None and self._predicts else given.last_hidden_state
        else:
            out = network(tokens, target)
            self._predicts = network.config.head
        return list(out.float().cpu())

    def _others(self, members, groups) -> list[tuple[int, int]]:
        """As many heads without this label: from the same layers where there are any."""
        free = [spot for spot in groups[_ALL] if spot not in set(members)]
        generator = torch.Generator().manual_seed(self.seed)
        order = [free[i] for i in torch.randperm(len(free), generator=generator).tolist()]
        chosen: list[tuple[int, int]] = []
        for layer, _ in members:
            same = [s for s in order if s not in chosen and s[0] == layer]
            chosen += (same or [s for s in order if s not in chosen])[:1]
        return chosen if len(chosen) == len(members) else []


_KL = "KL divergence of the predictions, in nats a token"
_CHANGE = "relative change of the final hidden states (the model predicts no tokens)"
_ALL = "all heads"


def _groups(found: list[list[HeadLabel]]) -> dict[str, list[tuple[int, int]]]:
    """label -> the heads that have it; all heads under `_ALL`."""
    groups: dict[str, list[tuple[int, int]]] = {_ALL: []}
    for one in (one for row in found for one in row):
        groups[_ALL].append((one.layer, one.head))
        if one.name:
            groups.setdefault(one.name, []).append((one.layer, one.head))
    return groups


def _bar(name: str, scores: Tensor) -> float:
    if name not in _RESTING:
        return BAR
    return max(BAR, min(REST, scores.median().item() + ABOVE))


def _wanted(
    trace: Trace, probe: Probe, kind: str, batch: int, names: list[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """label -> (queries that could, their keys [query, key]); special tokens ask nothing."""
    source = kind == "encoder" or probe.target is None
    asks = probe.plain[batch] if source else torch.ones(trace.shape(kind)[0], dtype=torch.bool)
    found = {}
    for name in names:
        if (name == "next token" and trace.causal(kind)) or name == "two-hop induction":
            continue
        marked = heads.pairs(trace, name.replace(" ", "_"), kind=kind, batch=batch)
        if name == "special tokens":  # the first token alone has its own label
            special = marked[0].clone()
            special[0] = False
            if not special.any():
                continue
        rows = marked.any(-1) & asks
        if rows.any():
            found[name] = (rows, marked[rows].float())
    return found


def _add(
    sums: dict[str, list[Tensor]], trace: Trace, kind: str, batch: int,
    wanted: dict[str, tuple[Tensor, Tensor]], hops: bool,
) -> None:  # fmt: skip
    """Append each label's scores of one text. One layer's maps are in memory at a time."""
    scores: dict[str, list[Tensor]] = {name: [] for name in wanted}
    for _, patterns in _maps(trace, kind, batch):
        for name, (rows, marked) in wanted.items():
            scores[name].append((patterns[:, rows] * marked).sum(-1).mean(-1))
    if hops and "induction" in wanted:
        through = _two_hops(trace, kind, batch, wanted["induction"], scores["induction"])
        scores["two-hop induction"] = [*through]
    for name, each in scores.items():
        sums.setdefault(name, []).append(torch.stack(each))


def _two_hops(
    trace: Trace, kind: str, batch: int, wanted: tuple[Tensor, Tensor], raw: list[Tensor]
) -> Iterator[Tensor]:
    """As `heads.two_hop_induction`, but not through a head that does it alone: whatever looks at
    its own token would pass on what that head has found."""
    rows, marked = wanted
    reach: list[Tensor] = []
    for layer, patterns in _maps(trace, kind, batch):
        best = torch.zeros(len(patterns))
        for seen in reach:
            if len(seen):
                hop = torch.einsum("hqm,gmq->hgq", patterns[:, rows], seen).mean(-1)
                best = torch.maximum(best, hop.amax(1))
        reach.append(torch.einsum("gmk,qk->gmq", patterns[raw[layer] <= BAR], marked))
        yield best


def _maps(trace: Trace, kind: str, batch: int) -> Iterator[tuple[int, Tensor]]:
    for layer in range(trace.n_layers(kind)):
        yield layer, trace.pattern(layer, kind=kind, batch=batch).cpu()


def _twin(network: Any, seed: int) -> Any:
    """The same architecture, randomly initialised; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = type(network)(copy.deepcopy(network.config))
    return twin.to(next(network.parameters()).device).eval()


def _divergence(before: list[Tensor], after: list[Tensor]) -> float:
    """KL(before ‖ after), mean over tokens."""
    each = [
        F.kl_div(a.log_softmax(-1), b.log_softmax(-1), reduction="none", log_target=True).sum(-1)
        for a, b in zip(after, before, strict=True)
    ]
    return torch.cat(each).mean().item()


def _loss(outputs: list[Tensor], probe: Probe, rows: Tensor) -> float:
    losses = [
        F.cross_entropy(out[:-1][known[:-1]], tokens[1:][known[:-1]], reduction="none")
        for out, tokens, known in zip(outputs, probe.tokens, rows, strict=True)
    ]
    return torch.cat(losses).mean().item()


def _about(group: list[Probe]) -> str:
    return f"{len(group)} text{'s' * (len(group) > 1)} of {sum(p.tokens.shape[1] for p in group)} tokens"  # fmt: skip


def _share(value: float) -> str:
    return "1.00" if value >= 0.995 else f"{value:.2f}".lstrip("0")
