"""Two prompts of one model: the run that is patched, the source run, and their paired positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...adapters.interrupts import no_grad
from ...arguments import shown
from ...edits.kinds import EditError
from ...edits.sweep_target import SweepTarget
from ...tracing.running import trace
from ...tracing.trace import Trace
from .metric import Metric, metric_of, rows_at

DIRECTIONS = ("denoising", "noising")
SPACES = ("·", "↵", "⇥")  # how a token that begins with white space is shown
PIECE = "##"  # … and one that continues a word, in BERT's way


class Pair:
    """Two runs to compare: activations of `source` are patched into `into`.

    Args:
        target, kind, position, given: for both prompts.
        one_length: whether prompts of different length cannot be paired at all.

    Attributes:
        pairs: (position in the source, position in the run that is patched) of all paired
            positions.
        aligned: how the positions were paired, in words.
        metric: the number that a patch moves.
        source_values: the metric of the source's texts, [batch]; source_value: their mean.
    """

    def __init__(
        self,
        model: Any,
        clean: Any,
        corrupted: Any,
        *,
        metric: Any,
        direction: str,
        align: Any,
        target: Any = None,
        kind: str | None = None,
        position: int | None = None,
        given: dict[str, Any],
        one_length: bool = False,
    ):
        if direction not in DIRECTIONS:
            raise EditError(f"direction must be {' or '.join(DIRECTIONS)}, got {shown(direction)}")
        self.direction = direction
        more = (target, kind, position, given)
        both = [_swept(model, text, *more) for text in (clean, corrupted)]
        n_texts = [len(one.inputs.first) for one in both]
        if n_texts[0] != n_texts[1]:
            raise EditError(
                f"clean and corrupted must have the same number of texts, got {n_texts[0]} and "
                f"{n_texts[1]}"
            )
        self.denoises = direction == "denoising"
        self.source_of, self.into_of = both if self.denoises else both[::-1]
        self.network, self.kind = self.into_of.network, self.into_of.kind
        self.source_labels, self.labels = _labels(self.source_of), _labels(self.into_of)
        self._one_length = one_length
        self.pairs, self.aligned = self._paired(align)
        self._traces: dict[int, Trace] = {}
        self._model_name = model.name if self.into_of.tokenizers else ""
        find, name = getattr(model, "token_id", None), _namer(self.into_of)
        # A custom function gets every position.
        self._whole = metric.of is not None if isinstance(metric, Metric) else callable(metric)
        plain = metric_of(metric, find, self._likeliest, name)
        for swept in both:
            swept.places = _places(plain, swept)
        self.metric, of_source = (
            replace(plain, places=swept.places, n=swept.inputs.n_outputs)
            for swept in (self.into_of, self.source_of)
        )
        with no_grad():
            self.source_values = of_source.of_texts(logits_of(self.source).float()).cpu()
        self.source_value = float(self.source_values.mean())

    @property
    def source(self) -> Trace:
        """The run whose activations are patched in, with all that it can keep."""
        return self._traced(self.source_of)

    @property
    def into(self) -> Trace:
        """The run that is patched, as it is without the patch."""
        return self._traced(self.into_of)

    def with_gradients(self, budget_mib: float) -> Trace:
        """The run that is patched, with the metric's gradients."""
        return self._trace(self.into_of, gradients=self.metric, budget_mib=budget_mib)

    @property
    def places(self) -> list[tuple[int, int]] | None:
        """The paired positions for an edit; None if all are paired and the texts have the same
        length.
        """
        n = len(self.labels)
        whole = n == len(self.source_labels) and self.pairs == [(i, i) for i in range(n)]
        return None if whole else self.pairs

    def label(self, pair: tuple[int, int]) -> str:
        there, here = self.source_labels[pair[0]], self.labels[pair[1]]
        return here if there == here else f"{here} ← {there}"

    # -- inside -----------------------------------------------------------------------------------

    def _traced(self, swept: SweepTarget) -> Trace:
        if id(swept) not in self._traces:
            self._traces[id(swept)] = self._trace(swept)
        return self._traces[id(swept)]

    def _trace(self, swept: SweepTarget, **more: Any) -> Trace:
        inputs = swept.inputs
        read = (inputs.tokens, inputs.target)
        at = self.network.predicting_at(swept.places.unique())
        with nullcontext() if self._whole else at:  # the head takes a third of a small model's pass
            found = trace(self.network, *read, keep="all", **_words(swept), **more, **inputs.given)
        found.model_name = self._model_name or found.model_name
        return found

    def _likeliest(self) -> tuple[int, int]:
        """The most likely tokens of the first texts: after the clean prompt, and after the
        corrupted one.
        """
        found = []
        for swept in (self.source_of, self.into_of)[:: 1 if self.denoises else -1]:
            logits = logits_of(self._traced(swept))
            logits = logits[:, None] if logits.dim() == 2 else logits
            found.append(int(rows_at(logits, swept.places, swept.inputs.n_outputs)[0].argmax()))
        return found[0], found[1]

    def _paired(self, align: Any) -> tuple[list[tuple[int, int]], str]:
        n, m = len(self.source_labels), len(self.labels)
        if align is None:
            if n == m:
                return [(i, i) for i in range(n)], "token by token"
            ways = ', or align="words", or align=[(position in clean, position in corrupted), …]'
            raise EditError(
                f"{self._counts(n, m, 'tokens')}: give prompts of the same "
                f"length{ways * (not self._one_length)}"
            )
        if isinstance(align, str) and align == "words":
            return self._by_words(), "word by word, at the last token of each"
        if isinstance(align, str) or not isinstance(align, Sequence):
            raise EditError(
                f'align must be "words" or a list of pairs of positions, got {shown(align)}'
            )
        pairs = []
        for given in align:
            pair = tuple(given) if isinstance(given, Sequence) else (given,)
            pair = pair if self.denoises else pair[::-1]
            if not all(type(place) is int for place in pair) or len(pair) != 2:
                raise EditError(f"align must hold pairs of positions, got {shown(given)}")
            if not (0 <= pair[0] < n and 0 <= pair[1] < m):
                raise EditError(
                    f"align holds {shown(given)}, but {self._counts(n, m, 'tokens')} (counted "
                    "from 0)"
                )
            pairs.append((pair[0], pair[1]))
        if not pairs:
            raise EditError("align must hold at least one pair of positions")
        return pairs, "by the given pairs of positions"

    def _by_words(self) -> list[tuple[int, int]]:
        if self.into_of.tokenizers is None:
            raise EditError(
                'align="words" needs a TextModel, which can tell words apart; give pairs of '
                "positions"
            )
        there, here = _word_ends(self.source_labels), _word_ends(self.labels)
        if len(there) != len(here):
            raise EditError(
                f"{self._counts(len(there), len(here), 'words')}: give prompts with the same "
                "number of words, or align=[(position in clean, position in corrupted), …]"
            )
        return list(zip(there, here, strict=True))

    def _counts(self, source: int, into: int, what: str) -> str:
        clean, corrupted = (source, into) if self.denoises else (into, source)
        return f"clean has {clean} {what} and corrupted has {corrupted}"


def _swept(
    model: Any,
    text: Any,
    target: Any,
    kind: str | None,
    position: int | None,
    given: dict[str, Any],
) -> SweepTarget:
    if isinstance(text, Mapping):
        given = {**given, **text}
        text, target = given.pop("tokens", None), given.pop("target", target)
    return SweepTarget(model, text, target, None, None, kind, None, position, given)


def _labels(swept: SweepTarget) -> list[str]:
    """Tokens of the text whose positions are patched: for cross-attention, the decoder's."""
    inputs = swept.inputs
    if inputs.tokens is None and inputs.target is None:
        return swept.key_labels()
    written = inputs.target is not None and swept.kind != "encoder"
    read: Tensor | None = inputs.target if written else inputs.tokens
    if read is None:
        return swept.key_labels()
    ids = read[0].tolist()
    return (
        [str(i) for i in ids] if swept.tokenizers is None else swept.tokenizers[written].tokens(ids)
    )


def _words(swept: SweepTarget) -> dict[str, list[str]]:
    """Labels for the trace of a text model, if it has one text only."""
    if swept.tokenizers is None or len(swept.inputs.first) > 1:
        return {}
    read = zip(("labels", "target_labels"), swept.tokenizers, strict=True)
    ids = (swept.inputs.tokens, swept.inputs.target)
    return {
        name: tokenizer.tokens(x[0].tolist())
        for (name, tokenizer), x in zip(read, ids, strict=True)
        if x is not None
    }


def _places(metric: Metric, swept: SweepTarget) -> Tensor:
    """Position at which each text's prediction is read, [batch]."""
    n = swept.inputs.n_outputs
    if not -n <= metric.position < n:
        raise EditError(f"position={metric.position} is outside the {n} tokens (−{n} … {n - 1})")
    if metric.position == -1:
        return swept.places
    return torch.full_like(swept.places, metric.position % n)


def _namer(swept: SweepTarget) -> Any:
    if swept.tokenizers is None:
        return str
    _, tokenizer = swept.tokenizers
    return lambda token: tokenizer.tokens([token])[0]


def _word_ends(labels: Sequence[str]) -> list[int]:
    """Return the position of every word's last token.

    A token begins a word if it begins with a space; in a tokenizer without spaces, if it does not
    continue the one before.
    """
    spaced = any(label.startswith(SPACES) for label in labels[1:])
    begins = [
        i
        for i, label in enumerate(labels)
        if i == 0 or (label.startswith(SPACES) if spaced else not label.startswith(PIECE))
    ]
    return [i - 1 for i in begins[1:]] + [len(labels) - 1]


def logits_of(found: Trace) -> Tensor:
    """Return the logits of a run, or a classifier's answers.

    Raises:
        EditError: for a model that predicts nothing.
    """
    logits = found.answers if found.logits is None else found.logits
    if logits is None:
        raise EditError(f"{found.model_name} has no head, so it makes no prediction to compare")
    return logits
