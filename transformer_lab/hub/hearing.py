"""From a wave to what Whisper reads of it, and to what it writes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arguments import shown
from .shield import no_grad
from .sounds import FEATURES, FRAME_SECONDS, HERTZ, Sound
from .tokenizer import HuggingFaceTokenizer

LOUDEST = 8.0  # a sample: what lies far beyond −1 … 1 is in other units
LONGEST = 64  # tokens that it writes by itself


def extractor_of(processor: Any, sound: Sound) -> Any:
    """What makes log-mel frames of a wave: a processor's, or where there is none Whisper's own.

    Raises:
        ValueError: for what is no feature extractor, or one of another kind of frames.
    """
    found = getattr(processor, "feature_extractor", processor)
    if found is None:
        from transformers import WhisperFeatureExtractor

        return WhisperFeatureExtractor(feature_size=sound.bins)
    rate, hop = (getattr(found, name, None) for name in ("sampling_rate", "hop_length"))
    if not callable(found) or not rate or not hop:
        raise ValueError(
            f"processor is a {type(processor).__name__}, which makes no frames of a wave; give the "
            "model's WhisperProcessor or WhisperFeatureExtractor"
        )
    if not math.isclose(hop / rate, FRAME_SECONDS) or rate != HERTZ:
        raise ValueError(
            f"processor makes frames of {1000 * hop / rate:g} ms at {rate:,} Hz; Whisper reads frames of "
            f"{1000 * FRAME_SECONDS:g} ms at {HERTZ:,} Hz: give the feature extractor of this model"
        )
    return found


def tokenizer_of(processor: Any) -> HuggingFaceTokenizer | None:
    """What makes tokens of a text, where a processor has it."""
    found = getattr(processor, "tokenizer", None)
    return HuggingFaceTokenizer(found) if hasattr(found, "convert_ids_to_tokens") else None


def frames_of(name: str, sound: Sound, audio: Any, rate: Any, processor: Any) -> Tensor:
    """Log-mel frames, float [1, mel bin, frame], of a wave that is padded with silence.

    Args:
        name: of the model, for what is said.
        audio: floats [sample] between −1 and 1.
        rate: samples a second.

    Raises:
        ValueError: for what is no such wave, in one sentence.
    """
    wave = _wave(name, audio)
    if rate is None or isinstance(rate, bool) or not isinstance(rate, int | float | np.number):
        raise ValueError(
            f"sampling_rate={shown(rate)}; say how many samples of the audio make a second, such as "
            f"sampling_rate={HERTZ}, which {name} hears"
        )
    if rate != HERTZ:
        raise ValueError(f"sampling_rate={rate}; {name} hears {HERTZ:,} Hz{_resampled(rate)}")
    most = round(sound.seconds * HERTZ)
    if len(wave) > most:
        raise ValueError(
            f"audio lasts {len(wave) / HERTZ:.2f} s; {name} hears {sound.seconds:g} s at once: give a part "
            f"of it, such as audio[:{most}]"
        )
    made = extractor_of(processor, sound)(
        wave, sampling_rate=HERTZ, return_tensors="pt", max_length=most
    )
    return made[FEATURES]


def written_ids(
    name: str, model: Any, given: Tensor, text: str | None, tokenizer: HuggingFaceTokenizer | None
) -> list[int]:
    """The decoder's input: a text with the marks that the tokenizer puts before it, or where there is
    none the model's own greedy answer. The end mark is left out.

    Raises:
        ValueError: for a text that cannot be read, or an answer that the model cannot give.
    """
    if text is not None:
        if not isinstance(text, str):
            raise ValueError(f"text is a {type(text).__name__}; give what was said as a string")
        if tokenizer is None:
            raise ValueError(
                f"text={shown(text)} needs the tokenizer of {name}: give processor=WhisperProcessor…, or "
                "its ids as target"
            )
        if not text.strip():
            raise ValueError(f"text is empty; leave it out, and {name} writes its own")
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
            f"audio is text; {name} reads sound: give the samples, floats at {HERTZ:,} Hz, which soundfile "
            "or scipy.io.wavfile read from a file, and what was said as text"
        )
    try:
        wave = np.asarray(audio.detach().cpu() if isinstance(audio, Tensor) else audio)
    except (TypeError, ValueError):
        wave = np.asarray(None)
    if wave.dtype.kind not in "fiu":
        raise ValueError(
            f"audio is a {type(audio).__name__} of no numbers; give the samples of a wave, floats [sample]"
        )
    if wave.ndim == 2 and 1 in wave.shape:
        wave = wave.reshape(-1)
    if wave.ndim != 1:
        channels = min(wave.shape) if wave.ndim == 2 else 0
        axis = int(np.argmin(wave.shape)) if channels else 0
        way = f"{channels} channels; {name} hears one: give audio.mean({axis})"
        raise ValueError(
            f"audio has shape {list(wave.shape)}"
            + (f", {way}" if channels else "; give one wave, floats [sample]")
        )
    if not len(wave):
        raise ValueError(f"audio has no samples; give at least one frame, {HERTZ // 100} of them")
    if wave.dtype.kind in "iu":
        top = 2 ** (8 * wave.dtype.itemsize - 1)
        raise ValueError(
            f"audio has type {wave.dtype}; {name} hears floats between −1 and 1: give audio / {top}"
        )
    wave = wave.astype(np.float32)
    if not np.isfinite(wave).all():
        what = "NaN" if np.isnan(wave).any() else "samples that are not finite"
        raise ValueError(f"audio holds {what}; every sample must be a finite number")
    if (loudest := float(np.abs(wave).max())) > LOUDEST:
        raise ValueError(
            f"audio reaches {loudest:g}; {name} hears samples between −1 and 1: divide by the largest "
            "that the recording can hold, 32768 for 16 bits"
        )
    return wave


def _resampled(rate: Any) -> str:
    """How to come to the right rate."""
    whole = int(rate) if math.isfinite(rate) else 0
    if whole != rate or whole <= 0:
        return ": resample the wave first"
    common = math.gcd(whole, HERTZ)
    return f": resample first, with scipy.signal.resample_poly(audio, {HERTZ // common}, {whole // common})"


def _start(model: Any, tokenizer: HuggingFaceTokenizer | None) -> list[int]:
    """What stands before what it writes: the marks of language and task, where they are known."""
    marks = list(getattr(getattr(tokenizer, "inner", None), "prefix_tokens", []))
    first = getattr(model.config, "decoder_start_token_id", None)
    return marks or [0 if first is None else first]


@no_grad()
def _answer(model: Any, given: Tensor, ids: list[int]) -> list[int]:
    """Greedily, over one pass of the encoder."""
    end, device = getattr(model.config, "eos_token_id", None), given.device
    limit = min(LONGEST, getattr(model.config, "max_target_positions", LONGEST))
    heard = model.get_encoder()(given)
    while len(ids) < limit:
        read = torch.tensor([ids], device=device)
        output = model(encoder_outputs=heard, decoder_input_ids=read, use_cache=False)
        if getattr(output, "logits", None) is None:
            raise ValueError(
                f"{type(model).__name__} has no head that writes words; give what was said as target"
            )
        ids = [*ids, int(output.logits[0, -1].argmax())]
        if ids[-1] == end:
            break
    return ids
