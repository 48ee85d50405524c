"""Attention of one word, by hand: drag its scores and see how weights and mixture change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import traitlets as t

from ..shared.base import css, esm
from ..shared.codecs import shown_token
from ..shared.scripted import ScriptedView
from ..shared.traits import Float, Int

LARGEST = 40.0
MOST_WORDS = 12


class MixView(ScriptedView):
    """scores → ÷ √d → softmax → sum, for one word that attends to others; scores can be dragged.

    `scores`, `d` and `hidden` can be read and set from Python; they follow what the reader does.
    `weights` and `mixture` are computed from them.

    Args:
        words: those it attends to, at most 12.
        scores: one number per word, query · key, between −40 and 40.
        values: one point (x, y) per word.
        query: the word that attends.
        d: size of queries and keys; the scores are divided by √d.
        hidden: numbers of the words that are masked out.
        title: above the view.

    Raises:
        ValueError: if the lists differ in length, or a number is outside its range.

    Source of the formula: Vaswani et al. 2017, equation 1.
    """

    _esm: ClassVar[str] = esm("mix/view.js")
    _css: ClassVar[str] = css("mix")
    _folder: ClassVar[str] = "mix"

    scores = t.List(Float()).tag(sync=True)
    d = Int(1).tag(sync=True)
    hidden = t.List(Int()).tag(sync=True)

    def __init__(
        self,
        words: Sequence[str],
        scores: Any,
        values: Any,
        *,
        query: str = "",
        d: int = 1,
        hidden: Sequence[int] = (),
        title: str = "Attention of one word",
    ):
        words = list(words)
        if not 1 <= len(words) <= MOST_WORDS:
            raise ValueError(f"words has {len(words)} entries; give 1 to {MOST_WORDS}")
        numbers = [float(score) for score in scores]
        points = [[float(x) for x in value] for value in values]
        for name, given in (("scores", numbers), ("values", points)):
            if len(given) != len(words):
                raise ValueError(f"{name} has {len(given)} entries for {len(words)} words")
        if any(len(point) != 2 or not all(map(math.isfinite, point)) for point in points):
            raise ValueError("values must be finite points (x, y), one a word")
        self._words, self._values = [shown_token(word) for word in words], points
        self._query = shown_token(query) if query else ""
        shown = dict(_words=self._words, _values=self._values, _query=self._query)
        super().__init__(title=title, **shown)
        self.scores, self.d, self.hidden = numbers, d, list(hidden)

    @t.validate("scores")
    def _check_scores(self, proposal: Any) -> list[float]:
        scores = proposal["value"]
        if len(scores) != len(self._words):
            raise t.TraitError(f"scores has {len(scores)} entries for {len(self._words)} words")
        for score in scores:
            if not abs(score) <= LARGEST:
                raise t.TraitError(f"scores holds {score}; each lies between −40 and 40")
        return scores

    @t.validate("d")
    def _check_d(self, proposal: Any) -> int:
        if proposal["value"] < 1:
            raise t.TraitError(f"d={proposal['value']} must be 1 or more")
        return proposal["value"]

    @t.validate("hidden")
    def _check_hidden(self, proposal: Any) -> list[int]:
        for word in proposal["value"]:
            if not 0 <= word < len(self._words):
                raise t.TraitError(f"hidden={word} is outside 0 … {len(self._words) - 1}")
        return sorted(set(proposal["value"]))

    @property
    def weights(self) -> list[float]:
        """softmax(scores / √d) over the words that are not hidden; all 0 when every word is."""
        return [float(weight) for weight in self._shown("weights")["weights"]]

    @property
    def mixture(self) -> tuple[float, float]:
        """The weighted sum of the values."""
        x, y = self._shown("mixture")["mixture"]
        return float(x), float(y)
