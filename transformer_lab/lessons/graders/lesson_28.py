"""Checks of lesson 28, Words, images, sounds."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, random
from transformer_lab.lessons.solutions import lesson_28 as solutions

SPECTROGRAM = Grader(
    reference=solutions.spectrogram,
    cases=lambda: [
        Case("40 samples, frames of 16, one every 8", (random(11, 40), 16, 8)),
        Case("two waves of 50 samples, frames of 12, one every 5", (random(12, 2, 50), 12, 5)),
        Case(
            "a tone of 3 waves per frame", (torch.sin(torch.arange(48.0) * 2 * torch.pi / 8), 24, 6)
        ),
    ],
    shape_hint="`[…, frequency, frame]`, with `size // 2 + 1` frequencies",
    mistakes="""
# window
- frames * torch.hann_window(size, dtype=wave.dtype)
+ frames
  The frames are not multiplied by the window, so their edges make frequencies that are not in the sound.

- torch.hann_window(size, dtype=wave.dtype)
+ torch.hann_window(size, periodic=False, dtype=wave.dtype)
  Your Hann window is the symmetric one (`numpy.hanning`). Use `torch.hann_window(size)`, which is periodic.

- torch.hann_window(size, dtype=wave.dtype)
+ torch.hamming_window(size, dtype=wave.dtype)
  You used a Hamming window. Use `torch.hann_window(size)`.

- frames * torch.hann_window(size, dtype=wave.dtype)
+ frames * torch.hann_window(size, dtype=wave.dtype) ** 2
  You multiplied by the window twice. Once is enough.

# frames
- wave.unfold(-1, size, hop)
+ wave.unfold(-1, size, size)
  Your frames do not overlap. A new one begins every `hop` samples.

- wave.unfold(-1, size, hop)
+ wave.unfold(-1, size, 1)
  Your frames begin at every sample. A new one begins every `hop` samples.

- wave.unfold(-1, size, hop)
+ torch.nn.functional.pad(wave, (size // 2, size // 2)).unfold(-1, size, hop)
  You padded the wave. The first frame is its first `size` samples, and every frame lies within the wave.

# transform
- torch.fft.rfft(windowed)
+ torch.fft.fft(windowed)
  You took all `size` frequencies. The upper half mirrors the lower: `torch.fft.rfft` leaves it out.

- torch.fft.rfft(windowed)
+ torch.fft.rfft(windowed, norm="ortho")
  You divided by √size. Leave `rfft` as it is.

- torch.fft.rfft(windowed)
+ torch.fft.rfft(windowed, norm="forward")
  You divided by size. Leave `rfft` as it is.

# power
- .abs().pow(2)
+ .abs()
  You returned amplitudes. The power is the square of the absolute value.

- .abs().pow(2)
+ .real.pow(2)
  You dropped the imaginary part, so the result depends on where in its wave a tone begins. Take the absolute value.

- .abs().pow(2)
+ .abs().pow(2).log()
  You took a logarithm. The lesson does this later, after the mel filters.

- .abs().pow(2)
+ .abs().pow(2).clamp(min=1e-10).log10()
  You took a logarithm. The lesson does this later, after the mel filters.

#
- .transpose(-1, -2)
  Two axes are exchanged: frequencies come first, then frames, as in a picture of the sound.

- .transpose(-1, -2)
+ .transpose(-1, -2).flip(-2)
  Your frequencies begin with the highest. The lowest comes first.
""",
)

FILL = Grader(
    reference=solutions.fill_in,
    cases=lambda: [
        Case(
            "two texts, each with its placeholders elsewhere",
            (
                random(1, 2, 6, 4),
                torch.tensor([[7, 0, 0, 3, 0, 5], [0, 7, 0, 0, 3, 5]]),
                0,
                random(2, 2, 3, 4),
            ),
        ),
        Case(
            "one text with placeholders of two kinds",
            (random(3, 1, 5, 3), torch.tensor([[9, 0, 9, 0, 1]]), 9, random(4, 1, 2, 3)),
        ),
        Case(
            "three texts of placeholders only",
            (random(5, 3, 4, 2), torch.full((3, 4), 2), 2, random(6, 3, 4, 2)),
        ),
    ],
    shape_hint="the shape of `vectors`: `[text, position, d_model]`",
    mistakes="""
# where
- ids == placeholder
+ ids == 0
  You compared the ids with 0. Compare them with `placeholder`, which can be any id.

= filled = vectors.clone()
= filled[:, (ids == placeholder)[0]] = parts
= filled
  You filled the positions of the first text in all texts. Every text has placeholders of its own.

= filled = vectors.clone()
= filled[:, : parts.shape[1]] = parts
= filled
  You filled the first positions. The placeholders can be anywhere: compare the ids with `placeholder`.

= filled = vectors.clone()
= filled[:, -parts.shape[1] :] = parts
= filled
  You filled the last positions. The placeholders can be anywhere: compare the ids with `placeholder`.

= torch.cat([parts, vectors], dim=1)
  You put the parts in front, so the sequence became longer. They replace the placeholders' vectors.

= torch.cat([vectors, parts], dim=1)
  You put the parts at the end, so the sequence became longer. They replace the placeholders' vectors.

# order
- parts.flatten(0, 1)
+ parts.flip(1).flatten(0, 1)
  The parts are in reverse order. The first part goes to the first placeholder.

- parts.flatten(0, 1)
+ parts.transpose(0, 1).flatten(0, 1)
  Texts and parts are mixed up: parts of one text ended up in another. Go through text 0 first, then text 1.

- parts.flatten(0, 1)
+ parts.flip(0).flatten(0, 1)
  Each text got the parts of another. Text i takes `parts[i]`.

- parts.flatten(0, 1)
+ parts.mean(1).repeat_interleave(parts.shape[1], 0)
  Every placeholder got the mean of the parts. Each one gets a part of its own.

- parts.flatten(0, 1)
+ parts[:, :1].expand_as(parts).flatten(0, 1)
  Every placeholder got the first part. The second placeholder gets the second part, and so on.

#
- filled[ids == placeholder] = parts.flatten(0, 1)
+ filled[ids == placeholder] += parts.flatten(0, 1)
  You added the parts to the placeholders' vectors. Replace these vectors.

- vectors.clone()
+ torch.zeros_like(vectors)
  The words are lost: their vectors are 0. Copy `vectors`, and replace those of the placeholders only.

= vectors
  Nothing was replaced.
""",
)
