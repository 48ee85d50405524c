"""An Explorer without the widget: a text of a model, read without and with edits."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...analysis.chat import passage
from ...blocks import Dictionary
from ...edits.interventions import default_kind
from ...edits.kinds import Edit
from ...heads.spans import follow_segments
from ...text_model import SHIPPED
from ..heads.heads import Heads
from ..shared.codecs import shown_text, shown_token
from ..shared.embedded_model import joined
from ..shared.javascript import call, in_words
from .edits import EDITS, PROSE, Edits
from .effects import HeadEffects
from .exact import read_ids, words_of
from .runs import Outcome, Reading, Runs, Segments, say

if TYPE_CHECKING:
    from ...analysis.chat import Passage
    from ...heads.spans import Span
    from ...text_model import TextModel

UNASKED = 60.0  # seconds for unrequested effects, the most promising first
QUICK = 0.25  # seconds per forward pass: up to it, a chosen head's effect is shown automatically
VERY_QUICK = 0.05  # … and its label too
FOLDED = ("system", "developer")  # segments of a text that are folded until a reader opens them


@dataclass(frozen=True)
class State:
    """Everything that determines the content of the view: the text and the changes to it.

    Args:
        target: what an encoder-decoder writes; None: its own greedy answer.
        masked: positions whose token is replaced by the mask token (masked models).
        ids: the tokens of the predicted side, if its words would be split into others.
        segments: named segments of the text, each (name, start, end) in tokens, such as the turns
            of a conversation.
        edits: those in force, as plain values; see `Edits`.
        position: the token whose prediction is shown; None: the model's default.
    """

    text: str
    target: str | None = None
    masked: tuple[int, ...] = ()
    ids: tuple[int, ...] | None = None
    segments: Segments = ()
    edits: tuple[dict[str, Any], ...] = ()
    position: int | None = None


class Session:
    """A text of a model, read without and with edits: two sets of heads, and the predictions.

    `state` determines the content of the view. `change` creates a new state, and `restore` shows an
    earlier one, which undoes later changes. Each calls the functions in `observers`.

    Raises:
        ValueError: for empty or too long text, or a position that does not exist.
    """

    def __init__(
        self,
        model: TextModel,
        text: Any,
        target: str | None = None,
        edits: Iterable[Edit] = (),
        position: int | None = None,
    ):
        self.runs, self.edit_values = Runs(model), Edits()
        self.effects = HeadEffects(self.runs)  # of single heads
        self.lock = threading.RLock()
        self.observers: list[Callable[[], None]] = []
        self.count = 0  # of results
        self.note = ""  # on the last change
        self.after: Heads | None = None
        self.reading: Reading = None  # type: ignore[assignment]
        said = passage(model, text)
        if said is None:
            state = State(text, target)
        else:
            state, edits = self._spoken(said, target), (*said.edits, *edits)
        values = tuple(self.edit_values.dicts(edits))
        self.restore(replace(state, edits=values, position=position))

    @property
    def text_model(self) -> TextModel:
        return self.runs.text_model

    # -- changing ---------------------------------------------------------------------------------

    def change(self, **wanted: Any) -> None:
        """Change the state; on an error everything stays as it was. Edits that name tokens of an
        old text are dropped with it, and `note` says so.

        Args:
            text, target, masked, edits, position: as in `State`; edits may be objects, and the text
                messages or a `Chat`.
            ids: exact tokens of the predicted side, instead of its words.
            segments: as in `State`, or name -> (start, end); by default they follow the tokens, and
                are dropped if the change is not within one segment.
        """
        with self.lock:
            said = passage(self.text_model, wanted.get("text"))
            if said is not None:
                spoken = self._spoken(said, None)
                wanted = {**wanted, "text": spoken.text, "segments": spoken.segments}
                wanted = {"edits": said.edits, **wanted} if said.edits else wanted
            now, edits = self.state, self.state.edits
            new_text = wanted.get("text", now.text) != now.text
            new_words = new_text or wanted.get("target", now.target) != now.target
            masked = wanted.get("masked", () if new_text else now.masked)
            if not isinstance(masked, Iterable):
                raise ValueError(
                    f"masked={masked!r} is not a list of positions; use [3], or [] for none"
                )
            if "edits" in wanted:
                edits = tuple(self.edit_values.dicts(wanted["edits"]))
            state = State(
                wanted.get("text", now.text),
                wanted.get("target", None if new_text else now.target),
                tuple(masked),
                None if new_words else now.ids,
                now.segments,
                edits,
                wanted.get("position", None if new_words else now.position),
            )
            note = ""
            if said is not None:
                state = replace(state, ids=spoken.ids)
            if wanted.get("ids") is not None:
                position = wanted.get("position", now.position)
                state = self._with_ids(replace(state, position=position), wanted)
            elif new_words:
                kept = tuple(edit for edit in edits if not self.edit_values.names_tokens(edit))
                dropped = len(edits) - len(kept)
                note = in_words(lambda: say("dropped", n=dropped)) if dropped else ""
                state = replace(state, edits=kept)
            named = wanted.get("segments")
            if named is not None:
                state = replace(state, segments=self._read_segments(state, named))
            elif now.segments and (state.text, state.ids) != (now.text, now.ids):
                state = self._with_segments(state)
                if not state.segments:
                    note = joined(note, in_words(lambda: say("unnamed")))
            self.restore(state, note)

    def _spoken(self, said: Passage, target: str | None) -> State:
        """The state of a conversation."""
        try:
            exact = self.text_model.encode(said.text).tolist() == said.ids
        except ValueError:  # as words it would exceed the model's context
            exact = False
        segments = tuple((name, *span) for name, span in said.segments.items())
        return State(said.text, target, ids=None if exact else tuple(said.ids), segments=segments)

    def _tokens(self, state: State) -> list[int]:
        """The tokens of a text, without masks."""
        return list(state.ids) if state.ids else self.text_model.encode(state.text).tolist()

    def _with_segments(self, state: State) -> State:
        """Move the named segments to their positions in the tokens of this state."""
        before = {name: (start, end) for name, start, end in self.state.segments}
        moved = follow_segments(before, self.reading.plain, self._tokens(state))
        return replace(state, segments=tuple((name, *span) for name, span in moved.items()))

    def _read_segments(self, state: State, named: Any) -> Segments:
        """Return the named segments of the text, checked.

        Raises:
            ValueError: for segments that overlap or are not in the text, and for an
                encoder-decoder.
        """
        parts = named.items() if isinstance(named, Mapping) else named
        if parts and self.runs.kind == "encoder-decoder":
            raise ValueError("only a model that reads one text can have named parts of it")
        count, segments = len(self._tokens(state)), []
        for part in parts if isinstance(parts, Iterable) else [parts]:
            before = segments[-1][2] if segments else 0
            match part:
                case [str(name), [int(start), int(end)]] | [str(name), int(start), int(end)] if (
                    before <= start <= end <= count
                ):
                    segments.append((name, start, end))
                case _:
                    raise ValueError(
                        "segments must be name: (start, end), in their order, within the "
                        f"{count} tokens, got {part!r}"
                    )
        return tuple(segments)

    def _with_ids(self, state: State, wanted: dict[str, Any]) -> State:
        """Set exactly these tokens, and words for them."""
        ids = read_ids(self.text_model, wanted["ids"])
        both = self.runs.kind == "encoder-decoder"
        name = "target" if both else "text"
        hint = wanted.get(name) or (self.target_text if both else self.state.text)
        said = not both and "text" in wanted and self.runs.kind == "decoder"
        known = ids if said else self.reading.plain
        words, exact = words_of(self.text_model, ids, hint or "", known)
        state = replace(state, ids=None if exact else ids, **{name: words})
        if not both:
            return replace(state, target=self.state.target)
        last = wanted.get("position")
        return replace(state, position=len(ids) - 1 if last is None else last)

    def restore(self, state: State, note: str = "") -> None:
        """Show a state; on an error everything stays as it was."""
        with self.lock:
            reading = self.runs.read(
                state.text, state.target, state.masked, state.ids, state.segments
            )
            place = state.position
            if place is None:
                place = self.runs.first_position(reading)
            logits = reading.trace.logits
            n = None if logits is None else logits.shape[1]
            if n is not None and not (type(place) is int and 0 <= place < n):
                raise ValueError(f"position={place!r} is outside the {n} tokens (0 … {n - 1})")
            after = None
            if state.edits:
                edits = self.edit_values.objects(state.edits)
                after = self.runs.edited(reading, edits, json.dumps(state.edits), place)
            outcome = self.runs.compare(reading.trace, after, place)
            if reading is not self.reading:
                self.reading, self.heads = reading, Heads(reading.trace)
            if after is None:
                self.after = None
            elif self.after is None or after is not self.after.trace:
                self.after = Heads(after, like=self.heads, beside=self.after)
            self.state, self.place = state, place
            self.text, self.target, self.masked = state.text, state.target, list(state.masked)
            self.ids, self.predictions = list(reading.plain), list(outcome.rows)
            self.outcome, self.note, self.count = outcome, note, self.count + 1
            for observer in self.observers:
                observer()

    def append(self, token: int | str) -> None:
        """Write one token after the text (an encoder-decoder: after what it writes).

        Raises:
            ValueError: for an unknown token, for a masked model, and if no room is left.
        """
        if self.runs.kind == "encoder":
            raise ValueError(f"{self.text_model.name} writes nothing on; set view.text")
        self.change(ids=[*self.ids, self.text_model.token_id(token)])

    # -- what there is ----------------------------------------------------------------------------

    @property
    def edits(self) -> list[Edit]:
        return self.edit_values.objects(self.state.edits)

    @property
    def position(self) -> int | None:
        """The token whose prediction is shown; None if there is nothing to predict: without a head,
        or without a mask if no position was chosen."""
        nowhere = self.state.position is None and not self.runs.positions(self.reading)
        return self.place if self.predicts and not nowhere else None

    @property
    def predicts(self) -> bool:
        return self.reading.trace.logits is not None

    @property
    def can_edit(self) -> bool:
        return self.reading.trace.d_head() is not None

    @property
    def measures(self) -> bool:
        """Whether the effect of a head can be measured."""
        return self.can_edit and (not self.predicts or bool(self.runs.positions(self.reading)))

    @property
    def segments(self) -> dict[str, Span]:
        """name -> (start, end) of the text's named segments."""
        return {name: (start, end) for name, start, end in self.state.segments}

    @property
    def named_texts(self) -> list[tuple[str, str]]:
        """(name, text) of each named segment, as the model reads it."""
        ids, decode = self.reading.plain, self.text_model.decode
        return [(name, decode(ids[start:end])) for name, start, end in self.state.segments]

    @property
    def target_text(self) -> str | None:
        """The text that an encoder-decoder writes; None for other models."""
        ids, target = self.reading.target_ids, self.reading.target
        if ids is None:
            return None
        if target is not None:
            return target.encode("utf-8", "replace").decode()
        return self.text_model.decode(ids[1:])

    @property
    def tokens(self) -> list[str]:
        """The labels of the predicted side's tokens."""
        trace = self.reading.trace
        kind = "decoder" if "decoder" in trace.kinds else "encoder"
        return [shown_token(token) for token in trace.query_tokens(kind)]

    @property
    def subject(self) -> str:
        """The start of a sentence about the edits."""
        return self.edit_values.subject(self.state.edits, self.heads.kinds)

    @property
    def effect_sentence(self) -> str:
        """A sentence about the effect of the edits in force; "" if there are none."""
        return "" if self.after is None else self.outcome.sentence(self.subject)

    def effect_of(self, kind: str, layer: int, head: int) -> Outcome:
        """The effect of switching off this head alone."""
        effects = self.runs.effect(self.reading, kind, layer, head, [self.place])
        return effects[self.place]

    def sweep(self, kind: str, layer: int) -> None:
        """Measure the effect of switching off each head of a layer alone."""
        with self.lock:
            for head in range(self.heads.kinds[kind]["heads"]):
                self.effect_of(kind, layer, head)

    def heads_off(self, kind: str) -> list[tuple[int, int]]:
        """(layer, head) of every head of this kind that is switched off."""
        sizes, default = self.heads.kinds[kind], default_kind(list(self.heads.kinds))
        counts = sizes["layers"], sizes["heads"]
        return self.edit_values.heads_off(self.state.edits, kind, *counts, default)

    # -- Python that does the same ----------------------------------------------------------------

    @property
    def run_code(self) -> str:
        """Python that runs the text without and with `edits`."""
        state = self.state
        target = None if state.target is None else self.target_text
        text = state.text.encode("utf-8", "replace").decode()
        return call(PROSE, "runCode", text, target, state.masked, self.runs.kind, state.ids)

    @property
    def code(self) -> str:
        """Python that creates the edits, and prints the predictions without and with them."""
        return call(EDITS, "editsCode", self.sent_edits, self.run_code, self.position)

    # -- for the browser --------------------------------------------------------------------------

    def about(self, caution: str) -> dict[str, Any]:
        """Facts for the browser: the model, its input, and the edits that a reader can make."""
        model, reading = self.text_model, self.reading
        modules = model.network.module.modules()
        mask_id = model.tokenizer.mask_id if self.runs.kind == "encoder" else None
        heads = len(list(self.heads.every("")))
        return {
            "kind": self.runs.kind,
            "shipped": getattr(model.network.module, "loaded_from", None) == SHIPPED,
            "caution": shown_text(caution),
            "predicts": self.predicts,
            "mask": None if mask_id is None else shown_token(model.tokenizer.tokens([mask_id])[0]),
            "own_target": reading.target is None,
            # Whether every head is measured without being requested; else, estimates remain.
            "measures_all": self.measures and heads * reading.seconds / 3 <= UNASKED,
            "names": reading.seconds < VERY_QUICK,
            "note": "" if self.can_edit else shown_text(reading.trace.note or ""),
            "tokens": self.tokens,
            "unread": in_words(lambda: self.runs.unread(reading)),
            "ids": self.ids,
            "segments": [list(segment) for segment in self.state.segments],
            "folded": [n for n, *_ in self.state.segments if n.split(" ")[0] in FOLDED],
            "longest": model.n_ctx,
            "unit": "feature" if any(isinstance(m, Dictionary) for m in modules) else "expert",
        }

    @property
    def sent_edits(self) -> list[dict[str, Any]]:
        return self.edit_values.sent(self.state.edits, self.heads.kinds)

    def result(self) -> dict[str, Any]:
        """The predictions without and with the edits, and Python that reproduces them."""
        return {
            **self.outcome.to_dict(),
            "position": self.position,
            "positions": self.runs.positions(self.reading),
            "sentence": in_words(lambda: self.effect_sentence),
            "note": self.note,
            "code": in_words(lambda: self.run_code),
            "edits_of_maps": self.sent_edits,
            "experts": self.runs.routing((self.after or self.heads).trace),
        }
