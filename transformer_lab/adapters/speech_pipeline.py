"""Turn a waveform into Whisper's input, and get the tokens that it writes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arguments import shown
from .interrupts import no_grad
from .speech import FEATURES, FRAME_SECONDS, HERTZ, Sound
from .tokenizer import HuggingFaceTokenizer

LOUDEST = 8.0  # of a sample: one far beyond −1 … 1 is in other units
LONGEST = 64  # tokens that it writes by itself


def extractor_of(processor: Any, sound: Sound) -> Any:
    """The extractor of log-mel frames from a waveform: a processor's, or without one Whisper's own.

    Raises:
        ValueError: if it is not a feature extractor, or makes another kind of frames.
    """
    found = getattr(processor, "feature_extractor", processor)
    if found is None:
        from transformers import WhisperFeatureExtractor

        return WhisperFeatureExtractor(feature_size=sound.bins)
    rate, hop = (getattr(found, name, None) for name in ("sampling_rate", "hop_length"))
    if not callable(found) or not rate or not hop:
        raise ValueError(
            "processor must be the model's WhisperProcessor or WhisperFeatureExtractor, which "
            f"turn a waveform into frames, got {type(processor).__name__}"
        )
    if not math.isclose(hop / rate, FRAME_SECONDS) or rate != HERTZ:
        raise ValueError(
            f"processor makes frames of {1000 * hop / rate:g} ms at {rate:,} Hz, and Whisper "
            f"needs frames of {1000 * FRAME_SECONDS:g} ms at {HERTZ:,} Hz: give this model's own "
            "feature extractor"
        )
    return found


def tokenizer_of(processor: Any) -> HuggingFaceTokenizer | None:
    """The tokenizer of a processor; None if it has none."""
    found = getattr(processor, "tokenizer", None)
    return HuggingFaceTokenizer(found) if hasattr(found, "convert_ids_to_tokens") else None


def frames_of(name: str, sound: Sound, audio: Any, rate: Any, processor: Any) -> Tensor:
    """Log-mel frames, float [1, mel bin, frame], of a waveform that is padded with silence.

    Args:
        name: of the model, for messages.
        audio: floats [sample] between −1 and 1.
        rate: samples a second.

    Raises:
        ValueError: for anything but such a waveform, in one sentence.
    """
    wave = _wave(name, audio)
    if rate is None or isinstance(rate, bool) or not isinstance(rate, int | float | np.number):
        raise ValueError(
            f"sampling_rate must be the samples per second of the audio, got {shown(rate)}; "
            f"{name} needs sampling_rate={HERTZ}"
        )
    if rate != HERTZ:
        raise ValueError(
            f"sampling_rate must be {HERTZ:,} Hz for {name}, got {rate}{_resampled(rate)}"
        )
    most = round(sound.seconds * HERTZ)
    if len(wave) > most:
        raise ValueError(
            f"audio lasts {len(wave) / HERTZ:.2f} s, and {name} takes {sound.seconds:g} s at "
            f"most: give a part of it, such as audio[:{most}]"
        )
    made = extractor_of(processor, sound)(
        wave, sampling_rate=HERTZ, return_tensors="pt", max_length=most
    )
    return made[FEATURES]


def written_ids(
    name: str, model: Any, given: Tensor, text: str | None, tokenizer: HuggingFaceTokenizer | None
) -> list[int]:
    """The decoder's input: a text after the tokenizer's prefix tokens, or without a text the
    model's own greedy answer. The end token is left out.

    Raises:
        ValueError: for a text that cannot be read, or an answer that the model cannot give.
    """
    if text is not None:
        if not isinstance(text, str):
            raise ValueError(
                f"text must be a string, the words that are spoken, got {type(text).__name__}"
            )
        if tokenizer is None:
            raise ValueError(
                f"text={shown(text)} needs the tokenizer of {name}: give "
                "processor=WhisperProcessor…, or its token ids as target"
            )
        if not text.strip():
            raise ValueError(
                f"text is empty; leave it out, and {name} transcribes the audio itself"
            )
        ids = tokenizer.encode(text)
    else:
        ids = _answer(model, given, _start(model, tokenizer))
    ends = {getattr(model.config, "eos_token_id", None)}
    ends |= set() if tokenizer is None else {tokenizer.eos_id}
    while len(ids) > 1 and ids[-1] in ends:
        ids = ids[:-1]
    return ids


def _wave(name: str, audio: Any) -> np.ndarray:
    if isinstance(audio, str):
        raise ValueError(
            f"audio must be samples, floats at {HERTZ:,} Hz, got a string: soundfile or "
            f"scipy.io.wavfile read samples from a file, and the spoken words for {name} go into "
            "text"
        )
    try:
        wave = np.asarray(audio.detach().cpu() if isinstance(audio, Tensor) else audio)
    except (TypeError, ValueError):
        wave = np.asarray(None)
    if wave.dtype.kind not in "fiu":
        raise ValueError(
            "audio must be the samples of a waveform, floats [sample], got "
            f"{type(audio).__name__} without numbers"
        )
    if wave.ndim == 2 and 1 in wave.shape:
        wave = wave.reshape(-1)
    if wave.ndim != 1:
        channels = min(wave.shape) if wave.ndim == 2 else 0
        axis = int(np.argmin(wave.shape)) if channels else 0
        way = f"{channels} channels; {name} takes one: give audio.mean({axis})"
        raise ValueError(
            f"audio has shape {list(wave.shape)}"
            + (f", {way}" if channels else "; give one waveform, floats [sample]")
        )
    if not len(wave):
        raise ValueError(f"audio has no samples; give at least one frame, {HERTZ // 100} samples")
    if wave.dtype.kind in "iu":
        top = 2 ** (8 * wave.dtype.itemsize - 1)
        raise ValueError(
            f"audio must be floats between −1 and 1 for {name}, got type {wave.dtype}: give audio "
            f"/ {top}"
        )
    wave = wave.astype(np.float32)
    if not np.isfinite(wave).all():
        what = "NaN" if np.isnan(wave).any() else "samples that are not finite"
        raise ValueError(f"every sample of audio must be a finite number, got {what}")
    if (loudest := float(np.abs(wave).max())) > LOUDEST:
        raise ValueError(
            f"samples of audio must be between −1 and 1 for {name}, got {loudest:g}: divide by "
            "the largest value of the recording's format, 32768 for 16 bits"
        )
    return wave


def _resampled(rate: Any) -> str:
    """How to get to the right sampling rate."""
    whole = int(rate) if math.isfinite(rate) else 0
    if whole != rate or whole <= 0:
        return ": resample the audio first"
    common = math.gcd(whole, HERTZ)
    return f": resample first, with scipy.signal.resample_poly(audio, {HERTZ // common}, {whole // common})"


def _start(model: Any, tokenizer: HuggingFaceTokenizer | None) -> list[int]:
    """The tokens before an answer: language and task, where they are known."""
    marks = list(getattr(getattr(tokenizer, "inner", None), "prefix_tokens", []))
    first = getattr(model.config, "decoder_start_token_id", None)
    return marks or [0 if first is None else first]


@no_grad()
def _answer(model: Any, given: Tensor, ids: list[int]) -> list[int]:
    """The model's greedy answer, over one pass of the encoder."""
    end, device = getattr(model.config, "eos_token_id", None), given.device
    limit = min(LONGEST, getattr(model.config, "max_target_positions", LONGEST))
    heard = model.get_encoder()(given)
    while len(ids) < limit:
        read = torch.tensor([ids], device=device)
        output = model(encoder_outputs=heard, decoder_input_ids=read, use_cache=False)
        if getattr(output, "logits", None) is None:
            raise ValueError(
                f"{type(model).__name__} has no head that predicts words; give the token ids of "
                "the spoken words as target"
            )
        ids = [*ids, int(output.logits[0, -1].argmax())]
        if ids[-1] == end:
            break
    return ids
