"""The checks of lesson 28 accept right answers, however written, and name mistakes."""

import math

import torch

from tests.lessons.answers import checks_of


def filled_by_scatter(vectors, ids, placeholder, parts):
    return vectors.masked_scatter((ids == placeholder)[..., None], parts)


def filled_text_by_text(vectors, ids, placeholder, parts):
    rows = []
    for text, words, these in zip(vectors, ids.tolist(), parts, strict=True):
        waiting = iter(these)
        rows.append(
            torch.stack(
                [
                    next(waiting) if word == placeholder else vector
                    for word, vector in zip(words, text, strict=True)
                ]
            )
        )
    return torch.stack(rows)


def filled_by_gather(vectors, ids, placeholder, parts):
    here = ids == placeholder
    number = (here.cumsum(1) - 1).clamp(min=0)
    chosen = parts.gather(1, number[..., None].expand_as(vectors))
    return torch.where(here.unsqueeze(-1), chosen, vectors)


def by_stft(wave, size, hop):
    window = torch.hann_window(size, dtype=wave.dtype)
    made = torch.stft(wave, size, hop, window=window, center=False, return_complex=True)
    return made.real**2 + made.imag**2


def frame_by_frame(wave, size, hop):
    turn = 2 * math.pi * torch.arange(size) / size
    window = 0.5 - 0.5 * torch.cos(turn)
    frames = [
        torch.fft.rfft(wave[..., at : at + size] * window)
        for at in range(0, wave.shape[-1] - size + 1, hop)
    ]
    return torch.stack([(f * f.conj()).real for f in frames], dim=-1)


def by_sines(wave, size, hop):
    """The transform written out, as two matrix products."""
    sample = torch.arange(size, dtype=wave.dtype)
    angle = 2 * math.pi * torch.arange(size // 2 + 1)[:, None] * sample / size
    frames = wave.unfold(-1, size, hop) * torch.hann_window(size)
    return ((frames @ angle.cos().T) ** 2 + (frames @ angle.sin().T) ** 2).mT


def filled_with_ones(vectors, ids, placeholder, parts):
    return torch.where((ids == placeholder)[..., None], torch.ones_like(vectors), vectors)


test_right, test_odd, test_wrong = checks_of(
    "28",
    {
        "fill_in": (filled_by_scatter, filled_text_by_text, filled_by_gather),
        "spectrogram": (by_stft, frame_by_frame, by_sines),
    },
    {
        "fill_in": {
            "constant": (filled_with_ones, "text"),
            "nothing": (lambda *_: None, "returned nothing"),
            "too short": (lambda vectors, *_: vectors[:, 1:], "shape"),
            "crash": (lambda vectors, ids, *_: vectors[ids + 99], "IndexError"),
        },
        "spectrogram": {
            "nothing": (lambda *_: None, "returned nothing"),
            "one frame": (
                lambda wave, size, hop: torch.fft.rfft(wave[..., :size]).abs().pow(2),
                "shape",
            ),
            "lists": (lambda wave, size, hop: wave.tolist(), ""),
            "no frames": (lambda wave, size, hop: wave.unfold(-1, 9**9, hop), "RuntimeError"),
        },
    },
)
