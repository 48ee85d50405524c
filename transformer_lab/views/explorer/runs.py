"""Computations of an Explorer: read a text with and without edits, and compare the predictions."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...edits.constructors import ablate
from ...edits.edited_traces import Retraced
from ...edits.interventions import edit
from ...edits.kinds import Edit
from ...graphs import analyses
from ...tracing.calls import TraceError
from ...training.usage import held_for_edits
from ..shared.codecs import shown_token
from ..shared.javascript import call
from ..shared.messages import messages
from ..shared.modules import VIEWS
from ..shared.weights import weights_mark
from .edits import PROSE

if TYPE_CHECKING:
    from ...text_model import TextModel
    from ...tracing.trace import Trace

Segments = tuple[tuple[str, int, int], ...]  # name, start, end

say = messages("explorer")
MOST_STATES = 8
UNREAD = VIEWS / "pages" / "unread.js"
MANY_POSITIONS = 64  # up to so many, a head's effect is computed at every position


@dataclass(frozen=True)
class Prediction:
    """A token, and its probability without and with the edits (None without edits).

    risen: whether it is listed because of its probability after the edits. id: the token's id.
    """

    token: str
    before: float
    after: float | None = None
    risen: bool = False
    id: int | None = None

    @property
    def change(self) -> float | None:
        return None if self.after is None else self.after - self.before


@dataclass(frozen=True)
class StateChange:
    """How far the edits move the final state of a token: ‖after − before‖ / ‖before‖."""

    index: int
    token: str
    change: float


@dataclass(frozen=True)
class Outcome:
    """The effect of edits at one position.

    kl: Σ p·log(p/q) in nats, p before and q after; for a model without a head that predicts
    tokens, None. rows: the likeliest tokens before, in order, then those that have risen into
    the likeliest after. states: for a model without such a head, the tokens whose final state
    changes most; mean_change is over all tokens.
    """

    position: int
    kl: float | None
    rows: tuple[Prediction, ...] = ()
    states: tuple[StateChange, ...] = ()
    mean_change: float | None = None

    @property
    def likeliest(self) -> Prediction:
        """The token that was likeliest before."""
        return self.rows[0]

    def sentence(self, subject: str) -> str:
        """ "With layer 1, head 2 switched off, “tired” becomes less likely: 34% → 11%. …"."""
        return call(PROSE, "outcomeSentence", subject, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "kl": self.kl,
            "rows": [[r.token, r.before, r.after, r.risen] for r in self.rows],
            "ids": [r.id for r in self.rows],
            "states": [[s.index, s.token, s.change] for s in self.states],
            "mean": self.mean_change,
        }


@dataclass(eq=False)
class Reading:
    """One text, read once without edits. request: everything that the result depends on."""

    request: tuple[Any, ...]
    text: str
    target: str | None
    masked: tuple[int, ...]
    retraced: Retraced
    ids: Tensor
    target_ids: Tensor | None
    version: bytes
    seconds: float
    exact_ids: tuple[int, ...] | None = (
        None  # the predicted side's tokens, if its words would be split into others
    )
    plain: tuple[int, ...] = ()  # that side's tokens without masks
    is_prepared: bool = False  # for edits
    effects: dict[tuple[str, int, int], dict[int, Outcome]] = field(default_factory=dict)
    # (kind, position) -> estimated change of the likeliest token's probability without each head,
    # [layer, head]; None if there are no estimates
    estimates: dict[tuple[str, int], Tensor | None] = field(default_factory=dict)
    scores: dict[str, dict[str, Tensor]] = field(
        default_factory=dict
    )  # kind -> measure -> [layer, head]

    @property
    def trace(self) -> Trace:
        return self.retraced.trace


class Runs:
    """A text model and its latest results. The model is not changed; one in training mode is
    copied."""

    def __init__(self, text_model: TextModel):
        self.text_model, self.kind = text_model, text_model.kind
        self._quiet: tuple[bytes, TextModel] | None = None
        self._reading: Reading | None = None
        self._after: tuple[Reading, tuple[str, int | None], Trace] | None = None

    # -- reading ----------------------------------------------------------------------------------

    def read(
        self,
        text: str,
        target: str | None = None,
        masked: tuple[int, ...] = (),
        exact_ids: tuple[int, ...] | None = None,
        segments: Segments = (),
    ) -> Reading:
        """Read a text without edits; reuse the last result if neither it nor the model has changed.

        Args:
            masked: positions whose token is replaced by the mask token (masked models).
            exact_ids: the tokens of the predicted side, instead of those of its words.
            segments: named segments of the text, which are passed on to its traces.

        Raises:
            ValueError: for empty or too long text, or a model that is being trained.
        """
        version = weights_mark(self.module)
        request = (text, target, masked, exact_ids, segments, version, self.module.training)
        if self._reading is not None and self._reading.request == request:
            return self._reading
        with held_for_edits(self.module):
            model = self.quiet(version)
            both = self.kind == "encoder-decoder"
            ids = model.encode(text) if both or exact_ids is None else torch.tensor(exact_ids)
            if target is not None and not both:
                raise ValueError(model.takes_no_target(target))
            plain = ids.tolist()
            for position in masked:
                ids[_maskable(model, ids, position)] = model.tokenizer.mask_id
            target_ids = None
            if both:
                own = exact_ids is None
                target_ids = model.target_ids(ids, target) if own else torch.tensor(exact_ids)
                plain = target_ids.tolist()
            # Without a head, only the final residual can be compared.
            keep = None if model.network.has_head else "all"
            named = {name: (start, end) for name, start, end in segments}

            def traced() -> Trace:
                trace = model.trace_ids(ids, target_ids, keep=keep)
                trace.segments = named
                return trace

            began = time.perf_counter()
            retraced = Retraced(model.network, traced)
            seconds = time.perf_counter() - began
        self._reading = Reading(
            request,
            text,
            target,
            masked,
            retraced,
            ids,
            target_ids,
            version,
            seconds,
            exact_ids,
            tuple(plain),
        )
        return self._reading

    def edited(
        self, reading: Reading, edits: Sequence[Edit], name: str, position: int | None = None
    ) -> Trace:
        """Read the same text under edits; `name` identifies the edits. If the model supports it,
        only that position's logits are computed, since all would take as long as several layers.
        All are computed if no position is named, or once a second one is requested under the same
        edits.

        Raises:
            EditError: for edits that match nothing in the model.
        """
        place = None if reading.trace.logits is None else position
        known = self._after
        if known and known[0] is reading and known[1][0] == name:
            if known[1][1] in (place, None):
                return known[2]
            place = None  # a reader steps through the text: compute every position
        with held_for_edits(self.module):
            network = self.quiet(reading.version).network
            some = nullcontext() if place is None else network.predicting_at(torch.tensor([place]))
            with some:
                after = reading.retraced.under(edits)
        self._after = (reading, (name, place), after)
        return after

    def prepare(self, reading: Reading) -> None:
        """Compute in advance what the first edit of a text needs.

        Raises:
            ModelIsTraining: while the model is being trained.
        """
        with held_for_edits(self.module, patient=True):
            reading.retraced.prepare()
        reading.is_prepared = True

    def write(
        self, reading: Reading, edits: Sequence[Edit], n: int, options: dict[str, Any]
    ) -> list[int]:
        """Generate tokens after this text, under edits; see `TextModel.write`."""
        with held_for_edits(self.module):
            model = self.quiet(reading.version)
            with edit(model, *edits, this_thread=True) if edits else nullcontext():
                return model.write(reading.ids, n, target_ids=reading.target_ids, **options)

    def unread(self, reading: Reading) -> str:
        """A note on unknown tokens, and on mask names that this model does not know; "" if there
        are none."""
        model, read = self.text_model, dict[str, Any]()
        for side, tokenizer, ids in (
            ("text", model.tokenizer, reading.ids),
            ("target", model.target_tokenizer, reading.target_ids),
        ):
            if ids is not None:
                tokens, unknown = ids.tolist(), tokenizer.unk_id
                sign = None if unknown is None else shown_token(tokenizer.tokens([unknown])[0])
                read[side] = dict(tokens=tokens, unknown=tokens.count(unknown), sign=sign)
        return call(UNREAD, "unreadSentence", reading.text, reading.target, self.kind, read)

    # -- positions --------------------------------------------------------------------------------

    def positions(self, reading: Reading) -> list[int]:
        """The positions where this model predicts on this text: every token of a decoder, the mask
        tokens of a masked model, none without a head."""
        if reading.trace.logits is None:
            return []
        if self.kind != "encoder":
            return list(range(reading.trace.logits.shape[1]))
        mask_id = self.text_model.tokenizer.mask_id
        return [i for i, token in enumerate(reading.ids.tolist()) if token == mask_id]

    def first_position(self, reading: Reading) -> int:
        """The initial position: the last token of a decoder, the first that an encoder-decoder
        writes, the first mask."""
        if self.kind == "decoder":
            return len(reading.ids) - 1
        return next(iter(self.positions(reading)), 0)

    # -- comparing --------------------------------------------------------------------------------

    def compare(self, before: Trace, after: Trace | None, position: int) -> Outcome:
        """The predictions at a position, of one trace or of two."""
        if before.logits is None:
            return self._states(before, after, position)
        q = None if after is None else _log_probabilities(after, position)
        return self.outcome(before, q, position)

    def outcome(self, before: Trace, q: Tensor | None, position: int) -> Outcome:
        """The predictions of a trace at a position, compared with q, log-probabilities fp64
        [vocab]."""
        p = _log_probabilities(before, position)
        compared = analyses.outcome(p, p if q is None else q)
        columns = (compared[name].tolist() for name in ("tokens", "before", "after", "risen"))
        rows = tuple(
            Prediction(shown_token(before.name_token(i)), p, None if q is None else a, risen, i)
            for i, p, a, risen in zip(*columns, strict=True)
        )
        return Outcome(position, None if q is None else float(compared["kl"]), rows)

    def effect(
        self, reading: Reading, kind: str, layer: int, head: int, positions: Iterable[int]
    ) -> dict[int, Outcome]:
        """position -> effect of switching off this head there."""
        wanted = list(positions)
        known = reading.effects.setdefault((kind, layer, head), {})
        if head >= reading.trace.heads_of(layer, kind):  # it does not exist: no effect
            known.update({p: self.compare(reading.trace, reading.trace, p) for p in wanted})
        if not all(position in known for position in wanted):
            with held_for_edits(self.module):
                stale = not self.is_fresh(reading)
                after = reading.retraced.under([ablate(layer, head, kind=kind)], whole=stale)
            known.update({p: self.compare(reading.trace, after, p) for p in wanted})
        return {position: known[position] for position in wanted}

    def wanted_positions(self, reading: Reading, position: int) -> list[int]:
        """The positions at which to compute a head's effect: all if they are few, and always
        `position`."""
        every = self.positions(reading)
        few = every if len(every) <= MANY_POSITIONS else []
        return sorted({*few, position})

    def _states(self, before: Trace, after: Trace | None, position: int) -> Outcome:
        if after is None:
            return Outcome(position, None)
        kind = "decoder" if "decoder" in before.kinds else "encoder"
        clean, edited = (t.residual(kind)["resid_post"][-1].double() for t in (before, after))
        change = analyses.state_changes(clean, edited)["change"]
        tokens = before.query_tokens(kind)
        top = change.topk(min(MOST_STATES, len(change)))
        changes = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        states = tuple(StateChange(i, shown_token(tokens[i]), c) for i, c in changes)
        return Outcome(position, None, (), states, float(change.mean()))

    @staticmethod
    def routing(trace: Trace) -> list[list[list[tuple[int, float]]] | None] | None:
        """[layer][token]: the experts that a token is routed to (or active features) and their
        gates, largest first. None for a layer without experts, and for a model without."""
        kind = "decoder" if "decoder" in trace.kinds else "encoder"
        layers: list[list[list[tuple[int, float]]] | None] = []
        for layer in range(trace.n_layers(kind)):
            try:
                gates = trace.activation("gates", layer, kind=kind)[0]
            except TraceError:
                layers.append(None)
                continue
            layers.append(
                [
                    sorted(((i, g) for i, g in enumerate(row) if g), key=lambda pair: -pair[1])
                    for row in gates.tolist()
                ]
            )
        return layers if any(layers) else None

    # -- inside -----------------------------------------------------------------------------------

    @property
    def module(self) -> Any:
        """The torch module itself, also for a `tl.Network`."""
        return self.text_model.network.module

    def is_fresh(self, reading: Reading) -> bool:
        """Whether the weights are still those that the text was read with."""
        return reading.version == weights_mark(self.module)

    def quiet(self, version: bytes) -> TextModel:
        """The model, or a copy with these weights while it is in training mode."""
        if not self.module.training:
            return self.text_model
        if self._quiet is None or self._quiet[0] != version:
            quiet = copy.copy(self.text_model)
            quiet.model = self.text_model.network.evaluated()
            self._quiet = (version, quiet)
        return self._quiet[1]


def _maskable(model: TextModel, ids: Tensor, position: int) -> int:
    if model.kind != "encoder" or model.tokenizer.mask_id is None:
        raise ValueError(f"{model.name} has no mask token, so nothing can be masked")
    if type(position) is not int or not 0 <= position < len(ids):
        raise ValueError(
            f"masked={position!r} is outside the {len(ids)} tokens; give numbers 0 … {len(ids) - 1}"
        )
    return position


def _log_probabilities(trace: Trace, position: int) -> Tensor:
    """Log-probabilities of all tokens, fp64; the trace may hold the logits of this position
    only."""
    assert trace.logits is not None
    logits = trace.logits[0]
    return torch.log_softmax(logits[position if len(logits) > 1 else 0].double().cpu(), -1)
