"""Audio inputs of speech models, and the times of their positions. Whisper's input has a known
shape; others read a waveform, or the frames that their feature extractor makes of one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .structure import parameters_of

FEATURES, VALUES = "input_features", "input_values"
# Whisper's log-mel frames: 160 samples at 16 kHz apart, whatever its size (Radford et al. 2022, 2.2).
FRAME_SECONDS, HERTZ = 0.01, 16_000


@dataclass(frozen=True)
class Sound:
    """The shape of audio, float [batch, mel bin, frame]; `stride` frames make one position."""

    bins: int
    frames: int
    stride: int

    @property
    def wanted(self) -> str:
        return f"[batch, {self.bins}, {self.frames}]"

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.frames * FRAME_SECONDS

    @property
    def positions(self) -> int:
        """The number of the encoder's positions."""
        return self.frames // self.stride

    @property
    def labels(self) -> list[str]:
        """The time of each position: "0.02 s" is its middle, counted from the beginning."""
        step = self.stride * FRAME_SECONDS
        return [f"{i * step:.2f} s" for i in range(self.positions)]

    def span(self, first: int, last: int) -> tuple[float, float]:
        """The start and the end of these positions, both included, in seconds: each reaches half a
        step to both sides of its middle; the first begins with the audio."""
        half = self.stride / 2
        at = [max(0.0, self.stride * first - half), self.stride * last + half]
        return (round(at[0] * FRAME_SECONDS, 4), round(at[1] * FRAME_SECONDS, 4))

    def heard(self, features: Tensor) -> float:
        """When the audio falls silent for good, in seconds; its duration if it is all silent.

        Args:
            features: float [mel bin, frame]. A feature extractor pads a short waveform with the
                smallest number that it gives, in every bin.
        """
        x = features.detach().float().cpu()
        sounding = (x > x.min() + 1e-4).any(0).nonzero()
        if not len(sounding):
            return self.seconds
        return round(min(self.seconds, (int(sounding[-1]) + 1) * FRAME_SECONDS), 4)


def band_hertz(bins: int) -> list[float]:
    """The middle of each mel band in Hz: evenly spaced from 0 to 8,000 Hz on Slaney's scale, linear to
    1,000 Hz and logarithmic above. Source: Slaney 1998, Auditory Toolbox, as Whisper's own filters."""
    top = 15 + math.log(HERTZ / 2 / 1000) * 27 / math.log(6.4)
    mels = [top * (i + 1) / (bins + 1) for i in range(bins)]
    return [200 / 3 * m if m < 15 else 1000 * math.exp((m - 15) * math.log(6.4) / 27) for m in mels]


def sound_of(model: Any) -> Sound | None:
    """The audio input of a model whose encoder is two convolutions over mel frames and a fixed
    number of positions; None for others."""
    if getattr(model, "main_input_name", "") != FEATURES:
        return None
    if "decoder_input_ids" not in parameters_of(model) or not hasattr(model, "get_encoder"):
        return None
    encoder: Any = model.get_encoder()
    first, second = (getattr(encoder, name, None) for name in ("conv1", "conv2"))
    n = getattr(model.config, "max_source_positions", None)
    if not isinstance(first, nn.Conv1d) or not isinstance(second, nn.Conv1d) or not n:
        return None
    stride = first.stride[0] * second.stride[0]
    return Sound(first.in_channels, n * stride, stride)


def check_sound(model: Any, sound: Sound, tokens: Any, given: Any) -> None:
    """Check that a model of audio is given audio, and no text.

    Raises:
        ValueError: for text, or no audio.
    """
    name = type(model).__name__
    if tokens is not None:
        raise ValueError(
            f"{name} reads audio, not text: give {FEATURES}={sound.wanted}, and the ids that it "
            "writes as target"
        )
    if FEATURES not in given:
        raise ValueError(f"{name} reads audio: give {FEATURES}={sound.wanted}, and target")


# -- other models of speech -----------------------------------------------------------------------


def heard_by(model: Any) -> tuple[str, ...]:
    """The names under which a model takes audio, with no text beside it; several if any will do,
    none if it reads no audio."""
    known = parameters_of(model)
    if "input_ids" in known:
        return ()
    main = getattr(model, "main_input_name", "")
    return (main,) if main in (FEATURES, VALUES) else tuple({FEATURES, VALUES} & known)


def _reads_waves(model: Any) -> bool:
    return any(isinstance(m, nn.Conv1d) and m.in_channels == 1 for m in model.modules())


def _wanted(model: Any, name: str) -> str:
    if name == VALUES and _reads_waves(model):
        return f"{name}=[batch, sample], a waveform at {HERTZ:,} Hz"
    return f"{name}=[batch, frame, bin], as its feature extractor makes them"


def check_heard(model: Any, names: tuple[str, ...], tokens: Any, given: Any) -> None:
    """Check that a model of audio is given audio, and no text.

    Raises:
        ValueError: for text, or no audio.
    """
    wanted = " or ".join(_wanted(model, name) for name in sorted(names))
    if tokens is not None:
        raise ValueError(f"{type(model).__name__} reads audio, not text: give {wanted}")
    if not any(name in given for name in names):
        raise ValueError(f"{type(model).__name__} reads audio: give {wanted}")


def heard_floats(model: Any, name: str, value: Any) -> Tensor:
    """Audio as floats of the model's dtype, with a batch axis.

    Raises:
        ValueError: for values that are not numbers, or not finite.
    """
    wanted = _wanted(model, name)
    try:
        x = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{type(model).__name__} reads {wanted}, but {name} is a {type(value).__name__}"
        ) from None
    rank = 2 if "sample" in wanted else 3
    x = x[None] if x.dim() == rank - 1 else x
    if x.dim() != rank or 0 in x.shape:
        given = list(torch.as_tensor(value).shape)
        raise ValueError(f"{type(model).__name__} reads {wanted}, but {name} has shape {given}")
    if not x.is_floating_point():
        kind = str(x.dtype).removeprefix("torch.")
        raise ValueError(
            f"{type(model).__name__} reads floats, {wanted}, but {name} has type {kind}"
        )
    if not bool(torch.isfinite(x).all()):
        what = "NaN" if bool(x.isnan().any()) else "numbers that are not finite"
        raise ValueError(f"every number of {name} must be finite, got {what}")
    return x.to(next(model.parameters()).dtype)


def unread(model: Any, given: Any, error: Exception) -> str:
    """The message for a speech model that cannot read its input; empty for other models."""
    name = next((n for n in heard_by(model) if n in given), "")
    if not name:
        return ""
    first = str(error).strip().partition("\n")[0]
    return (
        f"{type(model).__name__} cannot read {name} of shape {list(given[name].shape)} ({first}); give "
        f"{_wanted(model, name)}"
    )


def times_of(model: Any, given: Any) -> list[str] | None:
    """The time of each position, in a model with convolutions over a waveform (wav2vec 2.0 and its
    kin): the middle of its receptive field; None for others."""
    wave, config = given.get(VALUES), model.config
    kernels, strides = (getattr(config, f"conv_{what}", None) for what in ("kernel", "stride"))
    if not isinstance(wave, Tensor) or wave.dim() != 2 or not kernels or not strides:
        return None
    n, step, field = wave.shape[1], 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        n, field, step = (n - kernel) // stride + 1, field + (kernel - 1) * step, step * stride
    squeezed = getattr(config, "squeeze_factor", 1)  # SEW
    n, step, field = n // squeezed, step * squeezed, field + (squeezed - 1) * step
    return [f"{(i * step + (field - 1) / 2) / HERTZ:.2f} s" for i in range(n)]


# -- Whisper's frames -----------------------------------------------------------------------------


def features(model: Any, sound: Sound, value: Any) -> Tensor:
    """Log-mel frames as floats of the model's dtype, with a batch axis.

    Raises:
        ValueError: for values that are not numbers, or of a shape that the model does not take.
    """
    name, maker = type(model).__name__, "which its feature extractor makes from"
    try:
        x = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{FEATURES} must be a float tensor {sound.wanted}, {maker} a waveform at {HERTZ:,} "
            f"Hz, got {type(value).__name__}"
        ) from None
    if not x.is_floating_point():
        raise ValueError(
            f"{name} reads floats {sound.wanted}, log-mel frames, {maker} a waveform at {HERTZ:,} "
            f"Hz, but {FEATURES} has type {str(x.dtype).removeprefix('torch.')}"
        )
    shape = list(x.shape)
    x = x[None] if x.dim() == 2 else x
    if x.dim() != 3 or 0 in shape or (x.shape[1] != sound.bins and len(shape) == 2):
        raise ValueError(
            f"{name} reads log-mel frames {sound.wanted}, {maker} a waveform at {HERTZ:,} Hz "
            f"(resample any other rate first), but {FEATURES} has shape {shape}"
        )
    if x.shape[1] != sound.bins:
        last = x.shape[2] == sound.bins
        way = (
            "the bins are last here: .transpose(1, 2)" if last else "use its own feature extractor"
        )
        raise ValueError(
            f"{name} reads {sound.wanted}, but {FEATURES} has shape {shape}, {x.shape[1]} mel "
            f"bins; {way}"
        )
    if x.shape[2] != sound.frames:
        raise ValueError(
            f"{FEATURES} must have {sound.frames} frames of {1000 * FRAME_SECONDS:.0f} ms for "
            f"{name} ({sound.frames * FRAME_SECONDS:g} s), got {x.shape[2]}: pad or cut the "
            "waveform, as its feature extractor does"
        )
    if not bool(torch.isfinite(x).all()):
        what = "NaN" if bool(x.isnan().any()) else "numbers that are not finite"
        raise ValueError(f"every number of {FEATURES} must be finite, got {what}")
    return x.to(next(model.parameters()).dtype)
