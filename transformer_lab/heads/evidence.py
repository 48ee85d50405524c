"""What a head's label rests on: scores on controlled inputs, of the model and of a random twin, and
what changes when heads are switched off. Which of it earns a label, `labels` decides."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import heads, hub, probes
from .edit import ablate, edit, uncompiled
from .passes import evaluated
from .probes import Probe
from .trace import Trace

BAR = 0.5
# Measured on texts of one's own where there are any: heads at rest, and what needs words.
RESTING = ("punctuation", "first token", "special tokens")
ON_TEXTS = ("same word", *RESTING)
ON_PROBES = (
    "induction", "two-hop induction", "duplicate token", "previous token", "next token",
    "self token", "first token", "special tokens",
)  # fmt: skip

LARGEST_OUTPUT = 2**23  # numbers in the predictions that are kept, to compare others with
LARGEST_TWIN = 2**29  # parameters, 2 GiB: a twin needs as much memory as the model itself
KL = "KL divergence of the predictions, in nats a token"
CHANGE = "relative change of the final hidden states (the model predicts no tokens)"

Spots = Sequence[tuple[int, int]]  # (layer, head)
Scores = dict[str, Tensor]  # label -> [layer, head]


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
    on: what it was measured on, in words.
    """

    value: float
    measure: str
    loss: tuple[float, float] | None
    n_heads: int
    on: str

    @property
    def words(self) -> str:
        if self.loss is not None:
            return f"loss on the repeat {self.loss[0]:.2f} → {self.loss[1]:.2f}"
        if self.measure == KL:
            return f"predictions move by {self.value:.3f} nats"
        return f"final states change by {self.value:.1%}"


class Evidence:
    """One model's inputs, and its own outputs on them, made once for all of its heads.

    Args: as in `labels.labels`, which also documents the errors.
    """

    def __init__(
        self, model: Any, kind: str | None, texts: Sequence[str] | None, n_texts: int, seed: int
    ):
        if kind == "cross":
            raise ValueError(
                "kind='cross' looks at another text; labels are for self-attention: give "
                "kind='encoder' or 'decoder'"
            )
        self.seed, self.network = seed, evaluated(model)
        self._subject: Any = self.network  # what is traced: a TextModel knows its tokens
        if hasattr(model, "tokenizer"):
            self._subject = copy.copy(model)
            self._subject.model = self.network
        self.lags = probes.lags(model)
        self.repeats = [
            probes.repeated(model, lag=lag, n_texts=n_texts, seed=seed + i)
            for i, lag in enumerate(self.lags)
        ]
        self.texts = [] if texts is None else _halves(model, texts)
        first = self._first = self.repeats[0].trace(self._subject)
        self.kind = kind or ("decoder" if "decoder" in first.kinds else "encoder")
        if self.kind not in first.kinds:
            raise ValueError(f"kind={kind!r} is not in this model; it has {', '.join(first.kinds)}")
        self._clean: list[Tensor] | None = None
        self._predicts = False

    def on_texts(self, label: str) -> bool:
        """Whether a label was measured on texts of one's own."""
        return bool(self.texts) and label in ON_TEXTS

    def scores(self) -> tuple[Scores, Scores | None, Scores]:
        """Of the model on the first inputs, of its twin there (None: too large to have one), and
        of the model on the second inputs."""
        twin = None
        if sum(p.numel() for p in self.network.parameters()) <= LARGEST_TWIN:
            twin = random_twin(self.network, self.seed)
        own, other = self._scores(0, twin)
        return own, other if twin is not None else None, self._scores(1, None)[0]

    def effect(self, off: Spots) -> Effect:
        """Of switching these heads off together, on the first probe.

        Raises:
            EditError: for a model whose attention cannot be edited.
        """
        probe = self._short_probe()
        with uncompiled(self.network):
            if self._clean is None:
                self._clean = self._outputs(probe)
            with edit(self.network, *(ablate(*spot, kind=self.kind) for spot in off)):
                after = self._outputs(probe)
        before = self._clean
        if not self._predicts:
            apart = torch.stack(after) - torch.stack(before)
            value = float(apart.norm() / torch.stack(before).norm())
            return Effect(value, CHANGE, None, len(off), probe.about)
        loss = None
        if probe.target is None and self.kind == "decoder":
            loss = (_loss(before, probe), _loss(after, probe))
        return Effect(_divergence(before, after), KL, loss, len(off), probe.about)

    # -- inside ---------------------------------------------------------------------------------

    def _scores(self, which: int, twin: Any) -> tuple[Scores, Scores]:
        own: Scores = {}
        other: Scores = {}
        groups: list[tuple[Sequence[Probe], tuple[str, ...]]] = [([self.repeats[which]], ON_PROBES)]
        if self.texts:  # these win over what the probe said
            groups.append((self.texts[which], ON_TEXTS))
        for group, names in groups:
            mine: dict[str, list[Tensor]] = {}
            theirs: dict[str, list[Tensor]] = {}
            for probe in group:
                trace = self._first if probe is self.repeats[0] else probe.trace(self._subject)
                twins = None if twin is None else probe.trace(twin)
                for batch in range(trace.batch_size):
                    wanted = _wanted(trace, probe, self.kind, batch, names)
                    _add(mine, trace, self.kind, batch, wanted)
                    if twins is not None:
                        _add(theirs, twins, self.kind, batch, wanted)
            for table, found in ((own, mine), (other, theirs)):
                table.update({name: torch.stack(each).mean(0) for name, each in found.items()})
        return own, other

    def _short_probe(self) -> Probe:
        """As many of the first probe's texts as may be kept predictions of."""
        probe, config = self.repeats[0], self.network.config
        width = getattr(config, "target_vocab_size", None) or config.vocab_size
        n = max(1, LARGEST_OUTPUT // (probe.tokens.shape[1] * width))
        return replace(
            probe, tokens=probe.tokens[:n], plain=probe.plain[:n], repeated=probe.repeated[:n],
            target=None if probe.target is None else probe.target[:n],
            about=probes.about(min(n, len(probe.tokens)), probe.lag or 0),
        )  # fmt: skip

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


def random_twin(network: Any, seed: int = 0) -> Any:
    """The same architecture, randomly initialised; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = type(network)(copy.deepcopy(network.config))
    return twin.to(next(network.parameters()).device).eval()


def _halves(model: Any, texts: Sequence[str]) -> list[list[Probe]]:
    if isinstance(texts, str) or len(texts) < 2:
        raise ValueError(f"texts={texts!r} must be a list of at least two texts")
    if not hasattr(model, "tokenizer"):
        raise ValueError("texts need a tokenizer: give a TextModel, not a bare model")
    if probes._both(model):
        raise ValueError("texts are for models of one stack; leave them out here")
    half = (len(texts) + 1) // 2
    return [probes.as_texts(model, some) for some in (texts[:half], texts[half:])]


def _wanted(
    trace: Trace, probe: Probe, kind: str, batch: int, names: Sequence[str]
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
    wanted: dict[str, tuple[Tensor, Tensor]],
) -> None:  # fmt: skip
    """Append each label's scores of one text. One layer's maps are in memory at a time."""
    scores: dict[str, list[Tensor]] = {name: [] for name in wanted}
    for _, patterns in _maps(trace, kind, batch):
        for name, (rows, marked) in wanted.items():
            scores[name].append((patterns[:, rows] * marked).sum(-1).mean(-1))
    if "induction" in wanted:
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


def _loss(outputs: list[Tensor], probe: Probe) -> float:
    """Mean over the tokens that the repeat makes known."""
    losses = [
        F.cross_entropy(out[:-1][known[:-1]], tokens[1:][known[:-1]], reduction="none")
        for out, tokens, known in zip(outputs, probe.tokens, probe.repeated, strict=True)
    ]
    return torch.cat(losses).mean().item()
