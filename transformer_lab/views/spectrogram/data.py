"""Data of a speech model for the browser: rows of all heads, the spectrogram, effects of edits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...adapters.lookup import network_of
from ...adapters.network import Inputs, Network, Output
from ...adapters.speech import FEATURES, Sound, band_hertz, sound_of
from ...adapters.speech_pipeline import frames_of, tokenizer_of, written_ids
from ...tracing.running import token_ids, trace
from ...tracing.trace import Trace
from ..shared.codecs import shown_token
from ..shared.messages import quoted
from ..shared.passes import Effect, Passes, changed
from ..shared.rows import HeadRows, evenly

KIND = "cross"
PAGE_BYTES = 48 << 20  # limit on rows in a saved page
TICKS = (250, 500, 1000, 2000, 4000)  # Hz beside the spectrogram


@dataclass(frozen=True, eq=False)
class Heard:
    """A sound in a model: `features` float [mel bin, frame], as the model read them."""

    network: Network
    trace: Trace
    sound: Sound
    features: Tensor


def hear(
    source: Any,
    audio: Any,
    rate: Any,
    text: Any,
    target: Any,
    labels: Any,
    features: Any,
    processor: Any,
) -> Heard:
    """Take the sound from a trace, or trace a speech model on it.

    Raises:
        ValueError: for a trace or a model without audio input, and for invalid audio.
    """
    if isinstance(source, Trace):
        more: dict[str, Any] = dict(audio=audio, sampling_rate=rate, text=text, target=target)
        more |= dict(labels=labels, input_features=features, processor=processor)
        named = [name for name, value in more.items() if value is not None]
        if named:
            raise ValueError(
                f"a trace has its sound and its words; leave out {', '.join(named)}, or give the model"
            )
        return _of_trace(source)
    if hasattr(source, "model") and hasattr(source, "feature_extractor"):  # a pipeline
        processor, source = processor or source, source.model
    network = network_of(source)
    model, name = network.module, network.name
    sound = sound_of(model)
    if sound is None:
        raise ValueError(
            f"{name} does not hear log-mel frames, as Whisper does, whose cross-attention "
            "SpectrogramView shows; HeadView(tl.trace(model, …)) shows the maps of every model"
        )
    if (audio is None) == (features is None):
        both = "audio and input_features are both given; leave one out"
        none = (
            f"{name} hears sound: give audio, a wave, with sampling_rate=16000, or "
            f"input_features={sound.wanted}"
        )
        raise ValueError(none if audio is None else both)
    if text is not None and target is not None:
        raise ValueError("text and target are both given; leave one out")
    if audio is not None:
        features = frames_of(name, sound, audio, rate, processor)
    given = network.more_inputs(None, {FEATURES: features})
    tokenizer = tokenizer_of(processor)
    ids = token_ids("target", target)
    if ids is None:
        running = network.evaluated()
        ids = torch.tensor([written_ids(name, running.module, given[FEATURES], text, tokenizer)])
    if labels is None and tokenizer is not None:
        labels = tokenizer.tokens(ids[0].tolist())
    made = trace(network.module, target=ids, target_labels=labels, keep="maps", **given)
    if tokenizer is not None:
        flags = [[int(i) in tokenizer.special_ids for i in ids[0]]]
        made.name_with(tokenizer, special={"decoder": flags})
    return _of_trace(made)


def _of_trace(trace: Trace) -> Heard:
    name = trace.model_name
    network = trace.network
    sound = None if network is None else sound_of(network.module)
    x = trace.given.get(FEATURES)
    if network is None or sound is None or x is None or KIND not in trace.kinds:
        raise ValueError(
            f"the trace of {name} has no sound that Whisper heard; give one of tl.trace(whisper, "
            "input_features=…, target=ids). HeadView(trace) shows its maps"
        )
    if trace.batch_size != 1:
        raise ValueError(f"the trace holds {trace.batch_size} sounds; trace one alone to show it")
    return Heard(network, trace, sound, x[0].detach().float().cpu())


# -- the picture ----------------------------------------------------------------------------------


def shades(features: Tensor) -> np.ndarray:
    """Bytes [mel bin, frame], highest band first: the lowest value is black, the highest white."""
    x = features - features.min()
    x = x / x.max().clamp(min=1e-9)
    return (x * 255).round().to(torch.uint8).flip(0).numpy()


def hertz_ticks(bins: int) -> list[tuple[float, str]]:
    """Heights of some frequencies in the spectrogram, 0 (bottom) … 1, and their names."""
    hertz = band_hertz(bins)
    places = np.interp(TICKS, hertz, (np.arange(bins) + 0.5) / bins, left=-1, right=-1)
    names = [f"{f // 1000} kHz" if f >= 1000 else f"{f} Hz" for f in TICKS]
    return [(float(p), n) for p, n in zip(places, names, strict=True) if p >= 0]


# -- rows -----------------------------------------------------------------------------------------


class Rows(HeadRows):
    """The rows of all heads for one word, float [layer, head, position].

    They are not rounded, since a long time span sums many small weights.
    """

    def __init__(self, trace: Trace):
        super().__init__(trace, KIND)
        self.n_queries = trace.shape(KIND)[0]

    def packed(self, query: int) -> bytes:
        return self.weights(query).numpy().astype("<f4").tobytes()

    def kept(self) -> list[int]:
        """Words whose rows a saved page holds: all, or as many as fit, evenly spaced."""
        return list(evenly(self.n_queries, PAGE_BYTES // (4 * int(np.prod(self.shape)))))


# -- what changes ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class WordEffects:
    """The effects of edits at every word."""

    at: tuple[Effect, ...]

    @property
    def size(self) -> list[float]:
        return [one.size for one in self.at]

    def plain(self) -> dict[str, Any]:
        return {"at": [one.plain() for one in self.at]}


@dataclass(frozen=True)
class Next:
    """The next word, as given or else the likeliest, and its probability."""

    token: int
    name: str
    p: float
    given: bool


class Effects(Passes[WordEffects]):
    """Passes over one sound with edits, compared with the pass without.

    The effect at a word is that on the probability of the next word.
    """

    def __init__(self, heard: Heard):
        trace = heard.trace
        assert trace.target is not None
        self._ids: list[int] = trace.target[0].tolist()
        words = [shown_token(word) for word in trace.query_tokens(KIND)]
        self._names = dict(
            zip(self._ids, words, strict=True)
        )  # as the words of the answer are shown
        inputs = Inputs(
            None, target=trace.target, target_mask=trace.target_mask, given=dict(trace.given)
        )
        super().__init__(heard.network, inputs, trace, KIND)

    def read(self, output: Output) -> Tensor:
        """Probabilities [position, token]."""
        assert output.logits is not None
        return output.logits[0].float().softmax(-1).cpu()

    def effect(self, after: Tensor) -> WordEffects:
        pairs = zip(self.before, after, self.next, strict=True)
        return WordEffects(tuple(changed(b, a, self._name, n.token) for b, a, n in pairs))

    def _name(self, token: int) -> str:
        return quoted(self._names.get(token) or shown_token(self.trace.name_token(token)))

    @property
    def next(self) -> list[Next]:
        """The next word of every word."""
        words = []
        for i, row in enumerate(self.before):
            given = i + 1 < len(self._ids)
            token = self._ids[i + 1] if given else int(row.argmax())
            words.append(Next(token, self._name(token), float(row[token]), given))
        return words
