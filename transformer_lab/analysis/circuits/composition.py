"""How much of an earlier head's output a later head reads, from the weights alone.

`token_circuits` lists what these scores leave out. With QK-norm they use the matrices as they are.
Source: Elhage et al. 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .head_weights import spread
from .stack_heads import StackHeads, stack_heads


class Composition(NamedTuple):
    """How much of what an earlier head writes a later one reads: from 0 to 1.

    `random_mean` and `random_std` are of heads of the same shape with random weights; only a
    score's distance above them, in `sigmas`, is meaningful.
    """

    score: float
    random_mean: float
    random_std: float

    @property
    def sigmas(self) -> float:
        return (self.score - self.random_mean) / self.random_std


@dataclass(frozen=True, eq=False)
class Compositions:
    """The scores of all pairs: `values` [layer, head, earlier layer, earlier head], NaN where the
    earlier layer is not earlier; all have one random baseline, because all have one shape.
    """

    values: Tensor = field(repr=False)
    random_mean: float
    random_std: float

    def top(self, k: int = 10) -> list[tuple[tuple[int, int], tuple[int, int], float]]:
        """The k largest: (earlier head, later head, score)."""
        flat = self.values.nan_to_num(-1).flatten()
        found = flat.topk(min(k, int((flat >= 0).sum())))
        spots = [[int(n) for n in torch.unravel_index(i, self.values.shape)] for i in found.indices]
        scores = found.values.tolist()
        return [((c, d), (a, b), score) for (a, b, c, d), score in zip(spots, scores, strict=True)]


def composition(
    model: Any,
    earlier: tuple[int, int],
    later: tuple[int, int],
    kind: str = "K",
    *,
    stack: str | None = None,
    distance: int = 0,
    samples: int = 32,
    seed: int = 0,
) -> Composition:
    """How much a later head's queries (Q), keys (K) or values (V) read of what an earlier head
    writes: ‖OV_earlier · M‖ / (‖OV_earlier‖ · ‖M‖), Frobenius norms, with M the later head's
    W_Q·W_Kᵀ, W_K·W_Qᵀ or W_V·W_O. Source: Elhage et al. 2021.

    Random heads score about 1/√d_model. Heads that read exactly what is written, equally in r
    directions, score no more than 1/√r, so the number says nothing by itself: compare it with the
    baseline and with other pairs.

    Args:
        model: any whose blocks are known.
        earlier, later: (layer, head); the earlier in a lower layer.
        kind: "Q", "K" or "V".
        stack: "encoder" or "decoder" of an encoder-decoder; the decoder by default.
        distance: as in `qk_circuit`.
        samples, seed: of the random heads that the baseline comes from.

    Raises:
        ValueError: for another kind, a head that does not exist, a pair out of order, or a model
            whose parts are not known.
    """
    if earlier[0] >= later[0]:
        raise ValueError(
            f"earlier must be in a lower layer than later={later}, got {earlier}: heads of one "
            "layer do not read each other"
        )
    heads = stack_heads(model, stack)
    for at in (earlier, later):
        heads.check(*at)
    score = _pair_scores(heads, earlier[0], later[0], kind, distance)
    mean, std = _baseline(heads, kind, samples, seed)
    return Composition(score[later[1], earlier[1]].item(), mean, std)


def compositions(
    model: Any,
    kind: str = "K",
    *,
    stack: str | None = None,
    distance: int = 0,
    samples: int = 32,
    seed: int = 0,
) -> Compositions:
    """`composition` of all pairs of heads; arguments and errors as there."""
    heads = stack_heads(model, stack)
    n_layers, n_heads = heads.n_layers, max(heads.counts.values())
    values = torch.full((n_layers, n_heads, n_layers, n_heads), float("nan"))
    for later, n_later in heads.counts.items():
        for earlier, n_earlier in heads.counts.items():
            if earlier < later:
                found = _pair_scores(heads, earlier, later, kind, distance)
                values[later, :n_later, earlier, :n_earlier] = found
    return Compositions(values, *_baseline(heads, kind, samples, seed))


def _pair_scores(heads: StackHeads, earlier: int, later: int, kind: str, distance: int) -> Tensor:
    """[later head, earlier head]. Norms of d_model × d_model products are taken through d_head ×
    d_head ones: ‖A·Bᵀ‖² = tr(AᵀA · BᵀB)."""
    v, o = heads.weights("value", earlier), heads.carried(earlier, later)
    names = {"Q": ("query", "key"), "K": ("key", "query"), "V": ("value", "out")}
    near, far = (heads.weights(name, later) for name in names[_checked(kind)])
    if kind == "V":
        far = far.transpose(-1, -2)
    elif kind == "Q":
        near = heads.turned(near, later, distance)
    else:
        far = heads.turned(far, later, distance)
    return _overlap(v, o, near, far).float()


def _overlap(v: Tensor, o: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """‖v·o·near·farᵀ‖ / (‖v·o‖ · ‖near·farᵀ‖) for every later head (near, far [head, d_model,
    d_head]) and earlier head (v [head, d_model, d_head], o [head, d_head, d_model]).
    """
    gram_v, gram_far = v.transpose(-1, -2) @ v, far.transpose(-1, -2) @ far
    through = torch.einsum("eij,ljk->leik", o, near)
    inner = ((gram_v @ through) * (through @ gram_far[:, None])).sum((-1, -2))
    written = (gram_v * (o @ o.transpose(-1, -2))).sum((-1, -2))
    read = (gram_far * (near.transpose(-1, -2) @ near)).sum((-1, -2))
    return (inner.clamp(min=0) / (read[:, None] * written).clamp(min=1e-300)).sqrt()


def _checked(kind: str) -> str:
    if kind not in ("Q", "K", "V"):
        raise ValueError(f"kind must be 'Q', 'K' or 'V', got {kind!r}")
    return kind


def _baseline(heads: StackHeads, kind: str, samples: int, seed: int) -> tuple[float, float]:
    """Mean and standard deviation of scores between heads with random matrices."""
    if samples < 2:
        raise ValueError(f"samples must be at least 2, to measure a spread, got {samples}")
    _checked(kind)
    generator = torch.Generator().manual_seed(seed)
    shape = (samples, heads.d_model, heads.d_head)
    v, o, near, far = (
        torch.randn(shape, generator=generator, dtype=torch.double) for _ in range(4)
    )
    o = o.transpose(-1, -2)
    draws = [_overlap(v[[i]], o[[i]], near[[i]], far[[i]]).item() for i in range(samples)]
    return spread(draws)
