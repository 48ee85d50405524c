"""The random states that training depends on, as one object that can be restored."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomState:
    """States of torch, of each CUDA device in use, of numpy and of python's `random`.

    Taking and restoring one costs a few microseconds; `to_tensors` is for storing it.
    """

    torch: Tensor
    cuda: tuple[Tensor, ...]
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> RandomState:
        cuda = ()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            cuda = tuple(torch.cuda.get_rng_state(i) for i in range(torch.cuda.device_count()))
        return cls(torch.get_rng_state(), cuda, np.random.get_state(), random.getstate())

    def restore(self) -> None:
        """Make these the current states; states of missing devices are left out."""
        torch.set_rng_state(self.torch)
        np.random.set_state(self.numpy)
        random.setstate(self.python)
        if self.cuda and torch.cuda.is_available():
            for i, state in enumerate(self.cuda[: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(state, i)

    def to_tensors(self) -> dict[str, Tensor]:
        version, words, gauss = self.python
        _, keys, position, has_gauss, cached = self.numpy
        tensors = {
            "torch": self.torch,
            "python": torch.tensor([version, *words], dtype=torch.int64),
            "python.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
            "numpy": torch.tensor([*keys.tolist(), position, has_gauss], dtype=torch.int64),
            "numpy.gauss": torch.tensor([cached], dtype=torch.float64),
        }
        return tensors | {f"cuda.{i}": state for i, state in enumerate(self.cuda)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> RandomState:
        version, *words = tensors["python"].tolist()
        gauss = tensors["python.gauss"].tolist()
        *keys, position, has_gauss = tensors["numpy"].tolist()
        numpy = (
            "MT19937",
            np.array(keys, np.uint32),
            position,
            has_gauss,
            tensors["numpy.gauss"].item(),
        )
        cuda = tuple(tensors[f"cuda.{i}"] for i in range(sum(n[:5] == "cuda." for n in tensors)))
        python = (version, tuple(words), gauss[0] if gauss else None)
        return cls(tensors["torch"], cuda, numpy, python)


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and python alike."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


@contextmanager
def own_randomness() -> Iterator[None]:
    """Restore the random states at the end, so that draws inside do not change them."""
    before = RandomState.now()
    try:
        yield
    finally:
        before.restore()
