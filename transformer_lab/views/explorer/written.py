"""Continue a text in an Explorer, without edits and, if some are in force, again with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..shared.codecs import shown_token
from ..shared.javascript import call
from .edits import PROSE
from .runs import say
from .session import Session

N = 20  # tokens to write, if there is room for them


@dataclass(frozen=True)
class Written:
    """One text continued without and with edits. `plain` and `edited` are whole texts, whose first
    `start` tokens were given; `parts` is the index of the first token that differs, None if none
    does."""

    read: tuple[int, ...]
    start: int
    plain: tuple[int, ...]
    edited: tuple[int, ...] | None
    edits: Sequence[Any]
    sentence: str = ""

    @property
    def parts(self) -> int | None:
        return call(PROSE, "partsAt", self.plain, self.edited)


class Writing:
    """Continues the text of a session, and remembers both texts."""

    def __init__(self, session: Session):
        self._session = session
        self.both: Written | None = None

    def write(self, n: int | None, **options: Any) -> str:
        """Continue the text, and read all of it; `options`: how tokens are sampled.

        Returns:
            A sentence about what was written.
        """
        session = self._session
        with session.lock:
            reading, runs = session.reading, session.runs
            n = self._fitting() if n is None else n
            plain = (*reading.plain, *runs.write(reading, [], n, options))
            edited = None
            if session.edits:
                edited = (*reading.plain, *runs.write(reading, session.edits, n, options))
            edits = session.state.edits
            both = Written(self._source(), len(reading.plain), plain, edited, edits)
            both = replace(both, sentence=self.sentence(both, n, options))
            self.both = both
            session.change(ids=list(plain))
            return both.sentence

    def _fitting(self) -> int:
        """20, or as many tokens as there is room for; 20 if there is none, which is then
        refused."""
        longest = self._session.text_model.n_ctx
        return N if longest is None else min(N, longest - len(self._session.reading.plain)) or N

    def _source(self) -> tuple[int, ...]:
        """The tokens that an encoder-decoder reads; () for other models."""
        reading = self._session.reading
        return tuple(reading.ids.tolist()) if reading.target_ids is not None else ()

    def sentence(self, both: Written, n: int, options: dict[str, Any]) -> str:
        count, parts = len(both.plain) - both.start, both.parts
        values: dict[str, Any] = dict(n=count, ended=count < n)
        values |= dict(seed=options["seed"] if options["temperature"] else None)
        values |= dict(edited=both.edited is not None, page=False, subject=self._session.subject)
        values |= dict(parts=parts)
        if both.edited is not None and parts is not None:
            rest = both.edited[parts:]
            values["rest"] = self._session.text_model.decode(rest) if rest else None
            for name, ids in (("here", both.plain), ("there", both.edited)):
                values[name] = next(iter(self.names(ids[parts : parts + 1])), None)
        return say("written", **values)

    def names(self, ids: Sequence[int]) -> list[str]:
        tokenizer = self._session.text_model.target_tokenizer
        return [shown_token(token) for token in tokenizer.tokens(list(ids))]

    def on_view(self) -> dict[str, Any]:
        """The comparison of both texts for the browser, while one of them is on view; else {}."""
        both, plain = self.both, self._session.reading.plain
        if both is None or self._source() != both.read or plain not in (both.plain, both.edited):
            return {}
        if both.edited is not None and self._session.state.edits != both.edits:
            return {}
        other = both.edited if plain == both.plain else both.plain
        return {
            "start": both.start,
            "sentence": both.sentence,
            "parts": both.parts,
            "other": None if both.parts is None else list(other or ()),
            "tokens": [] if both.parts is None else self.names(other or ()),
            "edited": other == both.edited,
        }
