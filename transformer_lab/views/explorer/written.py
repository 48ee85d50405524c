"""Writing on in an Explorer: without edits and, where some are in force, once more with them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import traitlets as t

from ..shared.codecs import shown_token
from .runs import Reading, say
from .state import Explored

N = 20  # tokens that are written, where there is room for them


@dataclass(frozen=True)
class Written:
    """One text written on twice. `plain` and `edited` are whole texts, `start` tokens of them are
    what was given; `parts` is the first token that differs, None where none does."""

    read: tuple[int, ...]
    start: int
    plain: tuple[int, ...]
    edited: tuple[int, ...] | None
    edits: str
    sentence: str = ""

    @property
    def parts(self) -> int | None:
        if self.edited is None or self.edited == self.plain:
            return None
        pairs = enumerate(zip(self.plain, self.edited, strict=False))
        return next((i for i, (a, b) in pairs if a != b), min(len(self.plain), len(self.edited)))


class Writes(Explored):
    """An Explorer that goes on with its text."""

    _written = t.Dict().tag(sync=True)

    _both: Written | None = None

    def write(
        self,
        n: int | None = None,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> str:
        """Go on with the text (an encoder-decoder: with what it writes), and read all of it. Where
        edits are in force it is written again with them and the same seed, and shown beside.

        Args:
            n: how many tokens at most; the model may end the text before. By default 20, or as
                many as there is room for.
            temperature, top_k, top_p, seed: how tokens are drawn; by default the likeliest is taken.

        Returns:
            What was written, in a sentence; with edits, where the two texts part.

        Raises:
            ValueError: for a masked model, an option out of its range, or no room in the context.
        """
        options = dict(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        with self._lock:
            reading, edits = self._reading, self.edits
            n = self._fitting(reading) if n is None else n
            plain = (*reading.plain, *self._runs.write(reading, [], n, options))
            again = None
            if edits:
                again = (*reading.plain, *self._runs.write(reading, edits, n, options))
            start = len(reading.plain)
            both = Written(
                tuple(reading.ids.tolist()) if reading.target_ids is not None else (),
                start,
                plain,
                again,
                json.dumps(self._made),
            )
            sentence = self._told(both, n, options)
            self._both = Written(**{**vars(both), "sentence": sentence})
            self._run(ids=list(plain))
            return sentence

    def _fitting(self, reading: Reading) -> int:
        """20, or as many tokens as there is room for; 20 again where there is none, to be refused."""
        longest = self.text_model.n_ctx
        return N if longest is None else min(N, longest - len(reading.plain)) or N

    def _told(self, both: Written, n: int, options: dict[str, Any]) -> str:
        count, parts = len(both.plain) - both.start, both.parts
        values: dict[str, Any] = dict(n=count, ended=count < n)
        values |= dict(seed=options["seed"] if options["temperature"] else None)
        values |= dict(edited=both.edited is not None, page=False, subject=self._subject())
        values |= dict(parts=parts)
        if both.edited is not None and parts is not None:
            rest = both.edited[parts:]
            values["rest"] = self.text_model.decode(rest) if rest else None
            for name, ids in (("here", both.plain), ("there", both.edited)):
                values[name] = next(iter(self._names(ids[parts : parts + 1])), None)
        return say("written", **values)

    def _names(self, ids: tuple[int, ...]) -> list[str]:
        return [shown_token(x) for x in self.text_model.target_tokenizer.tokens(list(ids))]

    def _show(
        self, reading: Reading, edits: list[dict], position: int | None, note: str = ""
    ) -> None:
        with self.hold_sync():
            super()._show(reading, edits, position, note)
            self._written = self._beside(reading)

    def _beside(self, reading: Reading) -> dict[str, Any]:
        """What the browser shows of what was written, while one of the two texts is on view."""
        both = self._both
        read = tuple(reading.ids.tolist()) if reading.target_ids is not None else ()
        if both is None or read != both.read or reading.plain not in (both.plain, both.edited):
            return {}
        compared = both.edited is not None and json.dumps(self._made) == both.edits
        if both.edited is not None and not compared:
            return {}
        other = both.edited if reading.plain == both.plain else both.plain
        return {
            "start": both.start,
            "sentence": both.sentence,
            "parts": both.parts,
            "other": None if both.parts is None else list(other or ()),
            "tokens": [] if both.parts is None else self._names(other or ()),
            "whose": "with edits" if other == both.edited else "without edits",
        }
