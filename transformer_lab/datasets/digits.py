"""scikit-learn's handwritten digits, small enough to learn from in a minute."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arguments import Seed, checked
from .batches import Stream, check_counts

SIDE, LEVELS, ALL = 8, 16, 1797


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images and their labels; `pixels` float32 [image, channel, height, width] in 0 … 1,
    `labels` int64 [image]."""

    pixels: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, at: int | slice | Tensor) -> tuple[Tensor, Tensor]:
        """(pixels, labels) of some images."""
        return self.pixels[at], self.labels[at]


@dataclass(frozen=True, eq=False)
class PictureData:
    """Training and held-out images; batches are pairs (pixels, labels)."""

    train: Pictures
    held_out: Pictures
    n_classes: int

    @checked
    def batches(self, batch_size: int, *, noise: float = 0.0, seed: Seed = 0) -> Stream:
        """An endless stream; batch(step) depends only on the seed and the step.

        Args:
            noise: standard deviation of the noise added to every pixel, so that no image is
                memorised. Pixels are 0 … 1.
        """
        check_counts(batch_size=batch_size)
        if not 0 <= noise < math.inf:
            raise ValueError(f"noise must be a standard deviation, 0 or more, got {noise}")

        def make(step: int) -> tuple[Tensor, Tensor]:
            chance = np.random.default_rng([seed, step])
            pixels, labels = self.train[
                torch.from_numpy(chance.integers(len(self.train), size=batch_size))
            ]
            if noise:
                grain = chance.standard_normal(pixels.shape, np.float32)
                pixels = pixels + noise * torch.from_numpy(grain)
            return pixels, labels

        return Stream(make, seed)  # type: ignore[arg-type]  # pairs, which train() reads as well

    @checked
    def epoch(self, batch_size: int) -> list[tuple[Tensor, Tensor]]:
        """Every held-out image once, in order."""
        check_counts(batch_size=batch_size)
        return list(self._cut(batch_size))

    def _cut(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.held_out), batch_size):
            yield self.held_out[start : start + batch_size]


@checked
def digits(*, held_out: int = 360, seed: Seed = 0) -> PictureData:
    """Load 1,797 digits of 8 × 8 pixels in 17 shades of grey, written by 13 people.

    They are part of scikit-learn (the test part of Alpaydin and Kaynak's "Optical Recognition of
    Handwritten Digits", 1998). The held-out digits are drawn at random, so people who wrote them
    also wrote some of the training digits.

    Args:
        held_out: number of held-out digits.
        seed: chooses which are held out.

    Raises:
        ImportError: if scikit-learn is not installed; the message says how to install it.
    """
    check_counts(held_out=held_out)
    if held_out >= ALL:
        raise ValueError(
            f"held_out={held_out} leaves none of the {ALL} digits to train on; lower it"
        )
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "the digits come with scikit-learn: pip install 'transformer-lab-notebooks[pictures]'"
        ) from error
    found: Any = load_digits()
    pixels = torch.as_tensor(found.images, dtype=torch.float32)[:, None] / LEVELS
    labels = torch.as_tensor(found.target, dtype=torch.int64)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    test, train = order[:held_out], order[held_out:]
    return PictureData(
        Pictures(pixels[train], labels[train]), Pictures(pixels[test], labels[test]), 10
    )
