"""Scores for a trained model: its accuracy, and whether its heads attend to the true keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..tracing.running import trace
from .objective import IGNORED, evaluating, predict, targets, to_device


def accuracy(model: nn.Module, batches: Iterable[Any]) -> float:
    """Fraction of all targets (−100 is ignored) that are the model's top prediction.

    Targets are tokens for a language model, classes for a `Classifier`, ends of spans for a
    `SpanReader`.
    """
    right = total = 0
    for hits, counts in _hits(model, batches):
        right += int((hits & counts).sum())
        total += int(counts.sum())
    return right / _some(total, "target")


def exact_match(model: nn.Module, batches: Iterable[Any]) -> float:
    """Fraction of the texts in which *every* target is the model's top prediction.

    For a decoder or an encoder-decoder this is the fraction that greedy decoding gets entirely
    right: as long as everything so far is right, the model has read exactly what teacher forcing
    shows it. So one forward pass is enough, and nothing has to be generated.
    """
    right = total = 0
    for hits, counts in _hits(model, batches):
        asked = counts.any(-1)
        right += int(((hits | ~counts).all(-1) & asked).sum())
        total += int(asked.sum())
    return right / _some(total, "text with a target")


def _hits(model: nn.Module, batches: Iterable[Any]) -> Iterable[tuple[Tensor, Tensor]]:
    """For each batch two bools [batch, target]: is the target predicted, and does it count."""
    device = next(model.parameters()).device
    with evaluating(model):
        for batch in batches:
            batch = to_device(batch, device)
            wanted = targets(batch)
            hits = predict(model, batch).argmax(-1) == wanted
            yield hits.view(len(wanted), -1), (wanted != IGNORED).view(len(wanted), -1)


def _some(total: int, what: str) -> int:
    if not total:
        raise ValueError(f"batches contain no {what}, so there is nothing to score")
    return total


@dataclass(frozen=True, eq=False)
class HeadAgreement:
    """How well each head's attention agrees with the truth; float [layer, head].

    hit: fraction of the queries whose most attended key is a true one. mass: mean weight on the
    true keys. n: number of queries that have a true key. kind: the kind of attention.
    """

    kind: str
    hit: Tensor
    mass: Tensor
    n: int

    def best(self, by: str = "hit") -> tuple[int, int, float]:
        """(layer, head, score) of the head that agrees best, by "hit" or by "mass"."""
        scores = {"hit": self.hit, "mass": self.mass}
        if by not in scores:
            raise ValueError(f"by must be 'hit' or 'mass', got {by!r}")
        flat = int(scores[by].argmax())
        layer, head = divmod(flat, self.hit.shape[1])
        return layer, head, float(scores[by][layer, head])


def grade_heads(
    model: Any, data: Any, batches: Iterable[Any], *, kind: str | None = None, pool: bool = False
) -> HeadAgreement:
    """Compare every head's attention pattern with the keys that the data's rule would attend to.

    Args:
        model: one of our models, with attention.
        data: the dataset that made the batches; patterns are compared with its `truth`.
        kind: "encoder", "decoder" or "cross"; by default the kind whose queries the truth is
            about: "cross" for an encoder-decoder.
        pool: average the pattern over the queries that have a true key, and score each text once:
            is most of the question's attention on the evidence?

    Raises:
        ValueError: if no query of any batch has a true key.
    """
    both = model.config.kind == "encoder-decoder"
    kind = kind or str("cross" if both else model.config.kind)
    hit = mass = torch.zeros(())
    n = 0
    with evaluating(model):
        for batch in batches:
            truth = data.truth(batch, kind=model.config.kind)
            seen = trace(
                model,
                batch.tokens,
                batch.target_in,
                mask=batch.mask,
                target_mask=batch.target_mask,
                keep="maps",
            )
            n += int(truth.any(-1).any(-1).sum() if pool else truth.any(-1).sum())
            pairs = [_agreement(m, truth, pool) for m in _maps(seen, kind)]
            hit = hit + torch.stack([h for h, _ in pairs])
            mass = mass + torch.stack([m for _, m in pairs])
    n = _some(n, "query whose true key is known")
    return HeadAgreement(kind, hit / n, mass / n, n)


def _maps(seen: Any, kind: str) -> Iterable[Tensor]:
    """Each layer's patterns: [batch, head, query, key]."""
    for layer in range(seen.n_layers(kind)):
        yield torch.stack([seen.pattern(layer, kind=kind, batch=b) for b in range(seen.batch_size)])


def _agreement(maps: Tensor, truth: Tensor, pool: bool) -> tuple[Tensor, Tensor]:
    """Sums per head over queries with a true key: hits, and weight on the true keys."""
    maps = maps.cpu()
    asked = truth.any(-1)
    if pool:
        weight = asked[:, None, :, None] / asked.sum(-1).clamp(min=1)[:, None, None, None]
        maps = (maps * weight).sum(2, keepdim=True)
        truth, asked = truth.any(1, keepdim=True), asked.any(-1, keepdim=True)
    right = truth[:, None].expand(maps.shape)
    hits = right.gather(-1, maps.argmax(-1, keepdim=True))[..., 0] & asked[:, None]
    mass = (maps * right).sum(-1) * asked[:, None]
    return hits.float().sum((0, 2)), mass.sum((0, 2))
