"""A sound in a model: when each word of the answer attends to it, and whether that matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import traitlets as t
from torch import Tensor

from ...adapters.speech import FRAME_SECONDS
from ...edits.kinds import Edit
from ..shared.base import css, esm
from ..shared.codecs import pack_floats, png_of_bytes, shown_text, shown_token
from ..shared.overlay import OverlayView, plain
from ..shared.passes import Effect
from ..shared.selection import link_of
from ..shared.traits import Int
from .data import KIND, Effects, Rows, hear, hertz_ticks, shades
from .edits import edits_code, edits_words

MEANS = ("", "layer", "all")


class SpectrogramView(OverlayView):
    """A sound and the heads that attend to it, for a chosen word of the answer.

    The chosen head's weights are drawn over the log-mel spectrogram that the model reads, and those
    of every head over thumbnails. The view also shows how the probability of the next word changes
    when the head is ablated, or the edges to a time span are cut.

    A word's weights are those of the step at which the decoder reads it, as in every view; that
    step predicts the next word. Positions are 20 ms apart; each extends 10 ms to both sides.

    `layer`, `head` and `selected` (a pair (word, position)) can be read and set from Python, as can
    `mean` ("": the chosen head, "layer": the mean of its layer's heads, "all": of all heads),
    `span` (a pair of positions, both included, or None), `whole` (whether the silence after the
    sound is shown), `fade` (0: the spectrogram alone, 1: the weights alone) and `edits`.

    Args:
        source: a trace of Whisper, a speech model, or a transformers pipeline around one.
        audio: a wave, floats [sample] between −1 and 1; the model's silent padding is added.
        sampling_rate: of the wave, in Hz; Whisper needs 16,000.
        text: the transcript, which needs the tokenizer of `processor`. By default the model
            generates it greedily.
        target, labels: instead of a text, the ids that the decoder reads, and a label for each.
        input_features: instead of a wave, the log-mel frames, float [mel bin, frame].
        processor: the model's WhisperProcessor or feature extractor; by default frames are made as
            for all Whisper models.
        layer, head: chosen at first; by default the last layer's first head.
        title: the model's name by default.
        link: as in `HeadView`.

    Raises:
        ValueError: for a trace or a model without audio input, or invalid audio, in one sentence.
    """

    _esm: ClassVar[str] = esm("spectrogram/view.js")
    _css: ClassVar[str] = css("spectrogram")
    _folder: ClassVar[str] = "spectrogram"

    mean = t.Enum(MEANS, "").tag(sync=True)
    span = t.Tuple(Int(), Int(), allow_none=True, default_value=None).tag(sync=True)
    whole = t.Bool(False).tag(sync=True)

    def __init__(
        self,
        source: Any,
        audio: Any = None,
        *,
        sampling_rate: int | None = None,
        text: str | None = None,
        target: Any = None,
        labels: Sequence[str] | None = None,
        input_features: Any = None,
        processor: Any = None,
        layer: int | None = None,
        head: int = 0,
        title: str | None = None,
        link: str | None = None,
    ):
        heard = hear(source, audio, sampling_rate, text, target, labels, input_features, processor)
        trace, sound = heard.trace, heard.sound
        self.trace, self._network, self._heard = trace, heard.network, heard
        self._data = Rows(trace)
        self._effects = None if trace.logits is None else Effects(heard)
        n_queries, n_keys = trace.shape(KIND)
        after = [] if self._effects is None else self._effects.next
        low, high = float(heard.features.min()), float(heard.features.max())
        self._sound: dict[str, Any] = dict(
            words=[shown_token(x) for x in trace.query_tokens(KIND)],
            positions=n_keys,
            heads=[trace.heads_of(i, KIND) for i in range(trace.n_layers(KIND))],
            first=_first(trace),
            next=[[one.name, one.p, one.given] for one in after],
            hop=FRAME_SECONDS,
            step=sound.stride * FRAME_SECONDS,
            frames=sound.frames,
            bins=sound.bins,
            seconds=sound.seconds,
            end=sound.heard(heard.features),
            ticks=hertz_ticks(sound.bins),
            low=low,
            high=high,
        )
        super().__init__(
            title=title or trace.model_name,
            of=(trace,),
            link=link_of(trace) if link is None else link,
            _kinds={
                KIND: dict(
                    layers=trace.n_layers(KIND),
                    heads=trace.n_heads(KIND),
                    queries=n_queries,
                    keys=n_keys,
                )
            },
            _sound=self._sound,
            _picture=png_of_bytes(shades(heard.features)),
            _unit="" if self._effects is None else "change of the probability of",
            _note=shown_text(trace.note or ""),
        )
        self.kind = KIND
        self.layer = trace.attending(KIND)[-1] if layer is None else layer
        self.head = head
        self._hold()

    # -- for people -----------------------------------------------------------------------------

    @property
    def query(self) -> int:
        """The word that attends: the selected one, else the first that is not a special token."""
        chosen = self.selected[0] if self.selected else None
        return self._sound["first"] if chosen is None else chosen

    @t.validate("span")
    def _check_span(self, proposal: Any) -> tuple[int, int] | None:
        span = proposal["value"]
        n = self._sound.get("positions")
        if span is not None and n and not 0 <= span[0] <= span[1] < n:
            raise t.TraitError(
                f"span={span} must be two of the positions 0 … {n - 1}, the earlier one first"
            )
        return span

    @property
    def effect(self) -> Effect | None:
        """The effect of the edits at the chosen word; None without edits."""
        return self._effects.of(self.edits).at[self.query] if self._edits else None

    def every_head(self) -> Tensor:
        """Ablate each head alone, and measure the change in the next word's probability.

        Returns fp32 [layer, head], which the view then shows for every head.

        Raises:
            ValueError: for a model without a language-model head.
        """
        if self._effects is None:
            raise ValueError(self._no_effects())
        sizes = self._effects.every()
        self._publish(_every=plain(sizes))
        return sizes[self.query]

    def _effect_of(self, edits: Sequence[Edit]) -> dict[str, Any]:
        sound, plain = self._sound, [one.to_dict() for one in edits]
        words = edits_words(plain, sound["words"], sound["step"], sound["positions"])
        return {**super()._effect_of(edits), "edited": f"With {words}", "code": edits_code(plain)}

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        if name == "spectrogram":
            return {"shades": False}, [pack_floats(self._heard.features)]
        return super()._part_named(name)

    def _heads(self) -> list[int]:
        return self._sound["heads"]

    def _no_effects(self) -> str:
        return (
            f"{self.trace.model_name} has no head that writes words, so no probability can be compared; "
            "give WhisperForConditionalGeneration"
        )


def _first(trace: Any) -> int:
    """The first word that is not a special token; the first token, which starts the answer, is."""
    marks = trace.special(KIND, side="query")
    return next((i for i, mark in enumerate(marks) if i and not mark), 0)
