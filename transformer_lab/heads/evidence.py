"""The evidence for a head's label: scores on controlled inputs, of the model and of a random twin,
and the effect of switching heads off.

`naming` decides which of it earns a label.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..adapters.interrupts import no_grad, start_thread, together
from ..adapters.lookup import network_of
from ..adapters.network import Inputs, Network
from ..edits.constructors import ablate
from ..edits.interventions import edit, uncompiled
from ..edits.passes import evaluated
from ..text_model import TextModel
from ..tracing.trace import Trace
from . import inputs as controlled
from .inputs import Probe
from .measures import MEASURES, Measure, TwoHops, maps, of_heads_there

BAR = 0.5
LARGEST_OUTPUT = 2**23  # numbers in the predictions that are kept for comparison
LARGEST_TWIN = 2**29  # parameters, 2 GiB: a twin needs as much memory as the model itself
SMALL_TWIN = 2**22  # up to this many parameters, a twin takes almost no time to make
KL = "KL divergence of the predictions, in nats per token"
CHANGE = "relative change of the final hidden states (the model predicts no tokens)"

Spots = Sequence[tuple[int, int]]  # (layer, head)
Scores = dict[str, Tensor]  # label -> [layer, head]; NaN for heads that a layer does not have


@dataclass(frozen=True)
class SwitchedOff:
    """The effect of switching heads off (z set to 0).

    value: mean over tokens of the KL divergence, in nats, from the predictions before to those
        after; for a model with no head that predicts tokens, ‖after − before‖ / ‖before‖ of the
        final hidden states.
    measure: which of the two, in words.
    loss: mean loss in nats on the tokens that the repeat makes predictable, before and after; None
        for models that do not predict the next token.
    n_heads: how many heads were off together.
    on: the input, in words.
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
    """A model's inputs, and its outputs on them, made once for all of its heads.

    Args: as in `naming.labels`, which also documents the errors.
    """

    def __init__(
        self,
        model: Any,
        kind: str | None,
        texts: Sequence[str] | None,
        n_texts: int,
        seed: int,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ):
        if kind == "cross":
            raise ValueError(
                "labels are for self-attention, and kind='cross' attends to another text: give "
                "kind='encoder' or 'decoder'"
            )
        self.seed, self.network = seed, evaluated(model)
        self._progress, self._done = progress, 0
        self._subject: Any = self.network  # what is traced: a TextModel knows its tokens
        if isinstance(model, TextModel):
            self._subject = copy.copy(model)
            own = isinstance(model.model, Network)  # unlike its bare module
            self._subject.model = self.network if own else self.network.module
        self.lags = controlled.lags(model)
        self.repeats = [
            controlled.repeated(model, lag=lag, n_texts=n_texts, seed=seed + i)
            for i, lag in enumerate(self.lags)
        ]
        self.texts = [] if texts is None else _halves(model, texts)
        # The model's passes, and the twin's.
        self._passes = len(self.repeats) + 1 + sum(map(len, [*self.texts, *self.texts[:1]]))
        self._twin = _Twin(self.network, seed)
        try:
            self._look(kind)
        except BaseException:
            self._twin.made()  # leaves no thread running
            raise

    def _look(self, kind: str | None) -> None:
        first = self._first = self._traced(self.repeats[0], self._subject)
        self.kind = kind or ("decoder" if "decoder" in first.kinds else "encoder")
        if self.kind not in first.kinds:
            raise ValueError(f"kind={kind!r} is not in this model; it has {', '.join(first.kinds)}")
        self.layers = first.layers(self.kind)
        self._clean: list[Tensor] | None = None
        self._predicts = False

    def on_texts(self, label: str) -> bool:
        """Whether a label was measured on the user's own texts."""
        return bool(self.texts) and "texts" in MEASURES[label].on

    def scores(self) -> tuple[Scores, Scores | None, Scores]:
        """Return the scores of the model on the first inputs, of its twin there (None if it has
        none), and of the model on the second inputs.
        """
        again = self._scores(1, None)[0]  # while the twin is made
        twin = self._twin.made()
        own, other = self._scores(0, twin)
        return own, other if twin is not None else None, again

    def effect(self, off: Spots) -> SwitchedOff:
        """Measure the effect of switching these heads off together, on the first probe.

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
            return SwitchedOff(value, CHANGE, None, len(off), probe.about)
        loss = None
        if probe.target is None and self.kind == "decoder":
            loss = (_loss(before, probe), _loss(after, probe))
        return SwitchedOff(_divergence(before, after), KL, loss, len(off), probe.about)

    # -- inside ---------------------------------------------------------------------------------

    def _scores(self, which: int, twin: Any) -> tuple[Scores, Scores]:
        own: Scores = {}
        other: Scores = {}
        groups: list[tuple[Sequence[Probe], str]] = [([self.repeats[which]], "ids")]
        if self.texts:  # these override the probe's scores
            groups.append((self.texts[which], "texts"))
        for group, inputs in groups:
            mine: dict[str, list[Tensor]] = {}
            theirs: dict[str, list[Tensor]] = {}
            for probe in group:
                trace = (
                    self._first if probe is self.repeats[0] else self._traced(probe, self._subject)
                )
                twins = None if twin is None else self._traced(probe, twin)
                for batch in range(trace.batch_size):
                    wanted = _wanted(trace, probe, self.kind, batch, inputs)
                    _add(mine, trace, self.kind, batch, wanted)
                    if twins is not None:
                        _add(theirs, twins, self.kind, batch, wanted)
            for table, found in ((own, mine), (other, theirs)):
                table.update({name: torch.stack(each).mean(0) for name, each in found.items()})
        return own, other

    def _traced(self, probe: Probe, subject: Any) -> Trace:
        found = _traced(probe, subject)
        self._done += 1
        self._progress(self._done, self._passes)
        return found

    def _short_probe(self) -> Probe:
        """The first probe, with as many texts as `LARGEST_OUTPUT` allows."""
        probe, (read, written) = self.repeats[0], self.network.vocabulary
        width = written or read or 1
        n = max(1, LARGEST_OUTPUT // (probe.tokens.shape[1] * width))
        return replace(
            probe,
            tokens=probe.tokens[:n],
            plain=probe.plain[:n],
            repeated=probe.repeated[:n],
            target=None if probe.target is None else probe.target[:n],
            about=controlled.about(min(n, len(probe.tokens)), probe.lag or 0),
        )

    @no_grad()
    def _outputs(self, probe: Probe) -> list[Tensor]:
        """Logits, or final states if there are none, fp32 [position, …] for each text."""
        device = self.network.device
        target = None if probe.target is None else probe.target.to(device)
        given = self.network.run(Inputs(probe.tokens.to(device), target))
        self._predicts = given.logits is not None and given.logits.dim() == 3
        out = given.logits if self._predicts else given.states
        out = given.answers if out is None else out
        assert out is not None
        return list(out.float().cpu())


class _Wanted(NamedTuple):
    """A measure on one text, with the queries that can score, bool [query], and their keys, fp32
    [those queries, key].
    """

    measure: Measure
    rows: Tensor
    marked: Tensor


class _Twin:
    """A random twin, made while something else is computed, because drawing its weights on one core
    takes longer than a pass; None if the model is too large.
    """

    def __init__(self, network: Any, seed: int):
        self._found: list[Any] = []
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        n_weights = sum(p.numel() for p in network.module.parameters())
        if n_weights > LARGEST_TWIN:
            self._found = [None]
        elif n_weights <= SMALL_TWIN:
            self._found = [random_twin(network, seed)]
        else:
            self._thread = threading.Thread(target=self._make, args=(network, seed))
            start_thread(self._thread)

    def _make(self, network: Network, seed: int) -> None:
        try:
            self._found = [random_twin(network, seed)]
        except BaseException as error:  # raised in `made`
            self._error = error

    def made(self) -> Any:
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found[0]


def _traced(probe: Probe, subject: Any) -> Trace:
    """Trace a model on a probe, with predictions at one position only, since they are not used."""
    with network_of(subject).predicting_at(torch.zeros(1, dtype=torch.long)):
        return probe.trace(subject)


@together()  # torch draws weights without gradients, which Ctrl+C must not leave switched off
def random_twin(network: Network, seed: int = 0) -> Any:
    """The same architecture, randomly initialised, or None; leaves the global random state as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = network.untrained()
    if twin is not None:
        weights = getattr(twin, "module", twin)
        weights.to(next(network.module.parameters()).device).eval()
    return twin


def _halves(model: Any, texts: Sequence[str]) -> list[list[Probe]]:
    if isinstance(texts, str) or len(texts) < 2:
        raise ValueError(f"texts must be a list of at least two texts, got {texts!r}")
    if not isinstance(model, TextModel):
        raise ValueError("texts need a tokenizer: give a TextModel, not a bare model")
    if controlled.is_pair(model):
        raise ValueError("texts are for models with one stack; leave them out here")
    half = (len(texts) + 1) // 2
    return [controlled.as_texts(model, some) for some in (texts[:half], texts[half:])]


def _wanted(trace: Trace, probe: Probe, kind: str, batch: int, inputs: str) -> list[_Wanted]:
    """Return what can be measured for the labels that these inputs ("ids" or "texts") give; special
    tokens are not counted as queries.
    """
    source = kind == "encoder" or probe.target is None
    asks = probe.plain[batch] if source else torch.ones(trace.shape(kind)[0], dtype=torch.bool)
    found = []
    for measure in MEASURES.values():
        if not measure.says or inputs not in measure.on:
            continue
        pairs = measure.reachable(trace, kind, batch)
        if pairs is None or (measure.beside_first and not pairs[:, 1:].any()):
            continue
        rows = pairs.any(-1) & asks
        if rows.any():
            found.append(_Wanted(measure, rows, pairs[rows].float()))
    return found


def _add(
    sums: dict[str, list[Tensor]], trace: Trace, kind: str, batch: int, wanted: list[_Wanted]
) -> None:
    """Append each label's scores on one text. Each layer's patterns are made once, one layer at a
    time.
    """
    scores: list[list[Tensor]] = [[] for _ in wanted]
    hops = [TwoHops(one.rows, one.marked) if one.measure.hops == 2 else None for one in wanted]
    for _, patterns in maps(trace, kind, batch):
        for one, hop, found in zip(wanted, hops, scores, strict=True):
            score = (patterns[:, one.rows] * one.marked).sum(-1).mean(-1)
            # Not through a head that does it alone: any later head that attends to its own token
            # would pass on what it found.
            found.append(score if hop is None else hop.add(patterns, score <= BAR))
    for one, found in zip(wanted, scores, strict=True):
        score = of_heads_there(trace, kind, torch.stack(found))
        sums.setdefault(one.measure.name, []).append(score)


def _divergence(before: list[Tensor], after: list[Tensor]) -> float:
    """KL(before ‖ after), mean over tokens."""
    each = [
        F.kl_div(a.log_softmax(-1), b.log_softmax(-1), reduction="none", log_target=True).sum(-1)
        for a, b in zip(after, before, strict=True)
    ]
    return torch.cat(each).mean().item()


def _loss(outputs: list[Tensor], probe: Probe) -> float:
    """Mean loss on the tokens that the repeat makes predictable."""
    losses = [
        F.cross_entropy(out[:-1][known[:-1]], tokens[1:][known[:-1]], reduction="none")
        for out, tokens, known in zip(outputs, probe.tokens, probe.repeated, strict=True)
    ]
    return torch.cat(losses).mean().item()
