"""The state of an Explorer: what is read, under which edits, and how it comes to that."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import traitlets as t

from ...edits.kinds import Edit
from ..heads.heads import Heads, Place, first_traits
from ..heads.state import HeadTraits
from ..shared.codecs import shown_text, shown_token
from ..shared.selection import link_of
from ..shared.traits import Int
from .edits import Edits, print_code, run_code
from .effects import HeadEffects
from .exact import read_ids, words_of
from .runs import Outcome, Prediction, Reading, Runs, say

if TYPE_CHECKING:
    from ...text_model import TextModel
    from ...tracing.trace import Trace

SMALL_MAPS_UP_TO = 512  # tokens: of longer texts the small maps are those before the edits
WHOLE_TEXT = "Maps of the whole text: tl.views.HeadView(view.trace)."
QUICK = 0.25  # seconds a forward pass: the effect of a chosen head is then shown unasked
VERY_QUICK = 0.05  # … and its label too


class Explored(HeadTraits):
    """A text of a model, read without and with edits: two sets of heads, and the predictions."""

    _text = t.Unicode("").tag(sync=True)
    _target = t.Unicode("", allow_none=True).tag(sync=True)
    _masked = t.List(Int()).tag(sync=True)
    _edits = t.List(t.Dict()).tag(sync=True)  # see edits.Edits
    _patterns = t.Dict().tag(sync=True)  # of edits that a reader makes: see Edits.patterns
    _code = t.Unicode("").tag(sync=True)  # Python that runs the text without and with `edits`
    _outcome = t.Dict().tag(sync=True)  # predictions at the position, without and with the edits
    _tables = t.Dict().tag(sync=True)  # on a page: the predictions before, by position
    _effects = t.Dict().tag(sync=True)  # "kind/layer/head" -> what happens without this one head
    _labels = t.Dict().tag(sync=True)
    _after_edits = t.List(t.Dict()).tag(sync=True)  # those that the maps below were made with
    _after_thumbs = t.Bytes(b"").tag(sync=True)
    _after_maps = t.Bytes(b"").tag(sync=True)
    _after_norms = t.Bytes(b"").tag(sync=True)
    _after_first = t.Dict().tag(sync=True)
    _after_first_data = t.Bytes(b"").tag(sync=True)
    _after_first_norms = t.Bytes(b"").tag(sync=True)
    _about = t.Dict().tag(sync=True)  # what the model can do: see viewer.js
    _live = t.Bool(True).tag(sync=True)
    _stamp = Int(0).tag(sync=True)  # counts results

    _runs: Runs
    _changes: Edits
    _single: HeadEffects
    _lock: threading.RLock
    _reading: Reading
    _after: Heads | None
    _position: int | None
    _made: list[dict[str, Any]]  # the edits in force, as plain values

    @property
    def text_model(self) -> TextModel:
        """The model that is explored."""
        return self._runs.text_model

    @property
    def text(self) -> str:
        """What the model reads. A new one is run at once; edits that cut edges are dropped, since
        they name tokens of the old one."""
        return self._reading.text

    @text.setter
    def text(self, text: str) -> None:
        self._run(text=text)

    @property
    def target(self) -> str | None:
        """What an encoder-decoder is given to write; None for its own greedy answer."""
        return self._reading.target

    @target.setter
    def target(self, target: str | None) -> None:
        self._run(target=target)

    @property
    def masked(self) -> list[int]:
        """Positions whose token is hidden behind the mask token (masked models)."""
        return list(self._masked)

    @masked.setter
    def masked(self, masked: Iterable[int]) -> None:
        if not isinstance(masked, Iterable):
            raise ValueError(f"masked={masked!r} is no list of positions; use [3], or [] for none")
        self._run(masked=tuple(masked))

    @property
    def edits(self) -> list[Edit]:
        """The edits in force, oldest first."""
        return self._changes.objects(self._made)

    @edits.setter
    def edits(self, edits: Iterable[Edit]) -> None:
        self._run(edits=edits)

    @property
    def position(self) -> int | None:
        """The token whose prediction is shown; None where there is nothing to predict."""
        return self._outcome.get("position")

    @position.setter
    def position(self, position: int | None) -> None:
        self._run(position=position)

    @property
    def predictions(self) -> list[Prediction]:
        """The rows on view: the likeliest tokens before, then those that rise into them."""
        return list(self._compare().rows)

    @property
    def effect(self) -> Outcome | None:
        """What the edits in force do at `position`; None when there are none."""
        return self._compare() if self._after is not None else None

    def effect_of(self, layer: int, head: int, kind: str | None = None) -> Outcome:
        """What happens at `position` when this head alone is switched off (its z set to 0).

        Raises:
            EditError: when there is no such head.
        """
        where = self._place()
        found = self._runs.effect(self._reading, kind or self.kind, layer, head, [where])
        return found[where]

    @property
    def code(self) -> str:
        """The edits in force as Python that runs where `model` is the text model: it makes them,
        and prints the predictions without and with them."""
        parts = [self._changes.code(self._made)]
        if self._made:
            parts.append(self._code)
            parts += [print_code(self.position)] if self.position is not None else []
        return "\n".join(parts)

    def _place(self) -> int:
        position = self.position
        return self._runs.first_position(self._reading) if position is None else position

    def _compare(self) -> Outcome:
        after = None if self._after is None else self._after.trace
        return self._runs.compare(self._reading.trace, after, self._place())

    # -- running ----------------------------------------------------------------------------------

    def _run(self, **wanted: Any) -> None:
        """Bring the view to a state; on an error everything stays as it was."""
        with self._lock:
            now = self._reading
            new_text = "text" in wanted and wanted["text"] != now.text
            new_words = new_text or ("target" in wanted and wanted["target"] != now.target)
            target = wanted.get("target", None if new_text else now.target)
            masked = wanted.get("masked", () if new_text else now.masked)
            given = now.given if not new_words else None
            if wanted.get("ids") is not None:
                wanted, target, given = self._exactly(wanted, now)
                new_words = False  # what is named stands where it stood
            edits = self._changes.dicts(wanted["edits"]) if "edits" in wanted else self._made
            note = ""
            if new_words:
                kept = [e for e in edits if not self._changes.names_tokens(e)]
                dropped = len(edits) - len(kept)
                if dropped:
                    note = say("dropped", n=dropped)
                edits = kept
            position = wanted.get("position", None if new_words else self._position)
            reading = self._runs.read(wanted.get("text", now.text), target, tuple(masked), given)
            self._show(reading, edits, position, note)

    def _exactly(
        self, wanted: dict[str, Any], now: Reading
    ) -> tuple[dict[str, Any], str | None, tuple[int, ...] | None]:
        """What is wanted, the target and the tokens, where tokens are given and not words."""
        ids = read_ids(self.text_model, wanted["ids"])
        both = self._runs.kind == "encoder-decoder"
        name = "target" if both else "text"
        text = wanted.get("text", now.text)
        hint = wanted.get(name) or (self._target if both else now.text)
        words, exact = words_of(self.text_model, ids, hint or "", now.plain)
        given = None if exact else ids
        if both:
            place = wanted.get("position")
            last = len(ids) - 1 if place is None else place
            return {**wanted, "text": text, "position": last}, words, given
        return {**wanted, "text": words}, now.target, given

    def append(self, token: int | str) -> None:
        """Write one token after the text (an encoder-decoder: after what it writes).

        Args:
            token: its id, or a text that is one token.

        Raises:
            ValueError: for another token, for a masked model, and where no room is left.
        """
        if self._runs.kind == "encoder":
            raise ValueError(f"{self.text_model.name} writes nothing on; set view.text")
        self._run(ids=[*self._reading.plain, self.text_model.token_id(token)])

    @property
    def ids(self) -> list[int]:
        """The tokens of what is predicted on, masks apart: of the text, or of what an
        encoder-decoder writes, with its start token."""
        return list(self._reading.plain)

    def _show(
        self, reading: Reading, edits: list[dict], position: int | None, note: str = ""
    ) -> None:
        positions = self._runs.positions(reading)
        place = self._runs.first_position(reading) if position is None else position
        limit = reading.trace.logits.shape[1] if reading.trace.logits is not None else None
        if limit is not None and not (type(place) is int and 0 <= place < limit):
            raise ValueError(f"position={place!r} is outside the {limit} tokens (0 … {limit - 1})")
        after = None
        if edits:
            objects = self._changes.objects(edits)
            after = self._runs.edited(reading, objects, json.dumps(edits), place)
        nowhere = limit is not None and not positions and position is None
        effect = self._runs.compare(reading.trace, after, place)
        with self.hold_sync():
            if reading is not self._reading:
                self._reading = reading
                self.selected = None
                self._look_again(Heads(reading.trace), self.shown)
            self._made, self._position = edits, position
            self._edits = self._changes.sent(edits, self._kinds)
            self._take_after(after)
            self._effects = self._single.known(reading, place)
            self._code = run_code(
                self._text,
                None if reading.target is None else self._target,
                self._masked,
                self._runs.kind,
                reading.given,
            )
            self._outcome = {
                **effect.to_dict(),
                "position": None if nowhere or limit is None else place,
                "positions": positions,
                "sentence": effect.sentence(self._subject()) if after is not None else "",
                "note": note,
            }
            self._stamp += 1

    def _look_again(self, heads: Heads, place: Place) -> None:
        """Take everything from a new reading, with this head on view."""
        reading = self._reading
        self._look_at(heads, place)
        if heads.data.is_cut:
            self._note = " ".join(filter(None, (self._note, WHOLE_TEXT)))
        self._patterns = self._changes.patterns(self._kinds)
        if self.link:
            self.link = link_of(reading.trace)
        model = self.text_model
        self._text = reading.text.encode("utf-8", "replace").decode()
        self._target = self._target_text(reading)
        self._masked = list(reading.masked)
        mask_id = model.tokenizer.mask_id if self._runs.kind == "encoder" else None
        self._about = {
            "kind": self._runs.kind,
            "caution": shown_text(self._caution),
            "predicts": reading.trace.logits is not None,
            "mask": None if mask_id is None else shown_token(model.tokenizer.tokens([mask_id])[0]),
            "own_target": reading.target is None,
            "quick": reading.seconds < QUICK,
            "names": reading.seconds < VERY_QUICK,
            "note": "" if self._can_edit(reading) else shown_text(reading.trace.note or ""),
            "tokens": [shown_token(x) for x in self._prediction_tokens(reading)],
            "unread": self._runs.unread(reading),
            "ids": list(reading.plain),
            "longest": model.n_ctx,
        }

    @staticmethod
    def _can_edit(reading: Reading) -> bool:
        return reading.trace.d_head() is not None

    @staticmethod
    def _prediction_tokens(reading: Reading) -> list[str]:
        kind = "decoder" if "decoder" in reading.trace.kinds else "encoder"
        return reading.trace.query_tokens(kind)

    def _target_text(self, reading: Reading) -> str | None:
        if reading.target_ids is None:
            return None
        if reading.target is not None:
            return reading.target.encode("utf-8", "replace").decode()
        return self.text_model.decode(reading.target_ids[1:])

    def _take_after(self, after: Trace | None) -> None:
        self._after_edits = list(self._edits)
        if after is not None and self._after is not None and after is self._after.trace:
            return
        last, self._after = self._after, None
        if after is not None:
            self._after = Heads(after, like=self.heads, beside=last)
        traits: dict[str, Any] = {"_maps": b"", "_norms": b"", "_thumbs": b"", **first_traits()}
        if self._after is not None:
            longest = max(max(after.shape(kind)) for kind in after.kinds)  # type: ignore[union-attr]
            few = longest <= SMALL_MAPS_UP_TO
            # Where no weight counts by its value's length, the lengths are asked for when one is to.
            weighted = self._options.get("weights") == "value"
            traits |= (self._after.weights if weighted else self._after.maps)(self.shown)
            traits["_thumbs"] = self._after.data.thumbnails() if few else b""
        self.set_trait("_after_first", {})
        for name, value in traits.items():
            self.set_trait(f"_after{name}", value)

    def _subject(self) -> str:
        return self._changes.subject(self._made, self._kinds)
