"""The loss that training minimises, and its mean over held-out batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..adapters.interrupts import evaluation_mode, no_grad, sheltered
from ..files.rng import own_randomness

IGNORED = -100  # the target that losses ignore

NOTHING_TO_EVALUATE = (
    "eval_batches has no batch with a target; give a list of batches (a generator can be read "
    "only once)"
)

Loss = Callable[[nn.Module, Any], Tensor]


@dataclass(frozen=True)
class CrossEntropy:
    """Mean cross entropy of the model's logits with a batch's targets, in nats per token.

    A batch has `tokens`, `targets` (−100 is ignored) and perhaps `target_in`, `mask` and
    `target_mask`; or is a pair (tokens, targets). Logits [..., vocab] are converted to fp32.
    Label smoothing is that of `F.cross_entropy`. Source: Szegedy et al. 2016.
    """

    label_smoothing: float = 0.0

    def __post_init__(self):
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        logits = predict(model, batch).float()
        return F.cross_entropy(
            logits.flatten(0, -2),
            targets(batch).flatten(),
            ignore_index=IGNORED,
            label_smoothing=self.label_smoothing,
        )

    def count(self, batch: Any) -> int:
        """Number of targets in the mean."""
        return int((targets(batch) != IGNORED).sum())

    def explain(self, batch: Any, n_classes: int | None = None) -> str | None:
        """Why the loss of this batch cannot be computed, or None."""
        labels = targets(batch)
        if not self.count(batch):
            return f"every target of the batch is {IGNORED} (ignored); there is nothing to learn"
        wrong = labels[(labels != IGNORED) & ((labels < 0) | (labels >= (n_classes or 2**62)))]
        if wrong.numel():
            return (
                f"a target is {wrong[0].item()}, but the model has {n_classes} classes; "
                f"targets must be 0 … {n_classes - 1 if n_classes else '?'} or {IGNORED} (ignored)"
            )
        return None


def predict(model: nn.Module, batch: Any) -> Tensor:
    """The model's logits for a batch; fields that the batch lacks are not passed on."""
    if isinstance(batch, tuple | list):
        return model(batch[0])
    _check_form(batch)
    inputs = [batch.tokens]
    if getattr(batch, "target_in", None) is not None:
        inputs.append(batch.target_in)
    masks = {name: getattr(batch, name, None) for name in ("mask", "target_mask")}
    return model(*inputs, **{name: mask for name, mask in masks.items() if mask is not None})


def targets(batch: Any) -> Tensor:
    if isinstance(batch, tuple | list):
        return batch[1]
    _check_form(batch)
    return batch.targets


def _check_form(batch: Any) -> None:
    if not (hasattr(batch, "tokens") and hasattr(batch, "targets")):
        kind = f"{type(batch).__name__} {list(getattr(batch, 'shape', []))}".removesuffix(" []")
        raise TypeError(
            f"a batch must be (inputs, targets), or have .tokens and .targets, got {kind}; to predict "
            "the next token of ids [batch, position], give (ids[:, :-1], ids[:, 1:])"
        )


def n_tokens(batch: Any) -> int:
    """Positions that the model reads, padding included; 0 for a batch of an unknown form."""
    if isinstance(batch, tuple | list):
        return batch[0].numel() if isinstance(batch[0], Tensor) else 0
    parts = [getattr(batch, name, None) for name in ("tokens", "target_in")]
    return sum(part.numel() for part in parts if isinstance(part, Tensor))


def n_padding(batch: Any) -> int:
    """Number of padding positions, according to the batch's masks."""
    masks = [getattr(batch, name, None) for name in ("mask", "target_mask")]
    return sum(mask.numel() - int(mask.sum()) for mask in masks if isinstance(mask, Tensor))


@sheltered
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards modes and random states are restored."""
    with own_randomness(), no_grad(), evaluation_mode(model):
        yield


def evaluate(
    model: nn.Module, batches: Any, *, loss: Loss | None = None, most: int | None = None
) -> float:
    """Compute the mean loss over batches, each weighted by the number of its targets.

    If the loss has no `count` method, all batches have the same weight.

    Args:
        batches: a list or loader; or an endless stream, of which the first `most` (20) are used.

    Raises:
        ValueError: if there are no batches, or no targets in them.
    """
    loss = loss or CrossEntropy()
    total, weight = sums(model, batches, loss=loss, most=most)
    if not weight:
        raise ValueError(NOTHING_TO_EVALUATE)
    return total / weight


def sums(
    model: nn.Module,
    batches: Any,
    *,
    loss: Loss,
    most: int | None = None,
    every: int = 1,
    start: int = 0,
) -> tuple[float, float]:
    """Loss × weight, and weight, summed over batches `start`, `start + every`, …"""
    count = getattr(loss, "count", lambda batch: 1)
    if most is None and hasattr(batches, "batch") and not hasattr(batches, "__len__"):
        most = 20
    if not hasattr(batches, "__iter__"):
        batches = map(batches.batch, itertools.count())
    device = next(model.parameters()).device
    total = weight = 0.0
    with evaluating(model):
        for batch in itertools.islice(batches, start, most, every):
            batch = to_device(batch, device)
            n = count(batch)
            if n:
                total += float(loss(model, batch)) * n
                weight += n
    return total, weight


def to_device(batch: Any, device: torch.device) -> Any:
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, tuple | list):
        return tuple(to_device(part, device) for part in batch)
    if isinstance(batch, dict):
        return {key: to_device(part, device) for key, part in batch.items()}
    return batch
