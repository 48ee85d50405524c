"""Training for the task benchmarks, timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

import transformer_lab as tl

from .report import Clock

MODERN = dict(optimizer="modern", lr=0.02)


def trained(make: Callable[[], Any], batches: Any, *, seed: int, **options: Any) -> tuple:
    """(model in evaluation mode, clock of its training), built and trained from this seed."""
    torch.manual_seed(seed)
    model = make()
    with Clock() as clock:
        for _ in tl.train(model, batches, **options):
            pass
    return model.eval(), clock


def config_for(data: Any, kind: str, **fields: Any) -> tl.ModelConfig:
    """A small model for a dataset, with the modern settings except for two.

    QK-norm bounds a score by √d_head, which is 4 for a head of 16, so no head could attend to a single
    token. Positions are learned where absolute positions matter (the first noun, the last letter), and
    rotary where distances do.
    """
    small = dict(
        kind=kind,
        vocab_size=data.vocab_size,
        pad_id=data.tokenizer.pad_id,
        n_layers=1,
        n_heads=4,
        d_model=64,
        n_ctx=128,
        positions="learned",
        qk_norm=False,
    )
    return tl.ModelConfig.modern(**{**small, **fields})


def seeds(options: Any) -> Iterator[int]:
    """The requested seed and those after it: no result should rest on a single seed."""
    yield from range(options.seed, options.seed + options.seeds)
