"""Read a head's circuits from its weights, with no text at all.

A head has four matrices, which act in pairs. W_Q·W_Kᵀ (QK) says which token attends to which;
W_V·W_O (OV) says what attending to a token adds. Between vocabularies both are vocab × vocab of
rank d_head, and are only ever held as two thin factors. Source: Elhage et al. 2021.

What these are exact for, and what they leave out:

- They follow the *direct path*: the stream holds a token's embedding (normalised as the layer would
  normalise that alone) and nothing that earlier blocks wrote. For layer 0, without position
  embeddings, that is the model itself; deeper, it only describes the weights.
- Rotary positions turn queries against keys, so a QK circuit belongs to one `distance`. Added
  positions and biases by distance (ALiBi, T5) are left out.
- Norms divide by a number that depends on the whole stream. Gains and centring of the norms on
  the way are folded in; that division is not, so OV scores are logits up to a positive factor.
- With QK-norm a QK circuit holds normalised queries and keys (exact).

For models that are not ours, the network's own code computes what a head does with a vector that is
alone in the stream, so fused projections, shared key heads, adapters and multipliers are included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...adapters.interrupts import no_grad
from .head_weights import head_of, spread

_ROWS = 2**24  # numbers of a vocab × vocab matrix in memory at a time


@dataclass(frozen=True, eq=False)
class TokenCircuit:
    """A vocab × vocab matrix as `left` [from, d_head] times `right` [d_head, to].

    `name_from` and `name_to` show a token id; `note` says what was left out or replaced.
    """

    left: Tensor = field(repr=False)
    right: Tensor = field(repr=False)
    note: str | None = None
    name_from: Callable[[int], str] = field(repr=False, default=str)
    name_to: Callable[[int], str] = field(repr=False, default=str)

    def row(self, token: int) -> Tensor:
        """One token's row: fp32 [to]."""
        if not 0 <= token < len(self.left):
            raise ValueError(f"token={token} is outside the vocabulary (0 … {len(self.left) - 1})")
        return self.left[token] @ self.right

    def best(self, token: int, k: int = 5) -> list[tuple[str, float]]:
        """The largest entries of a token's row: (token, score), largest first."""
        found = self.row(token).topk(min(k, self.right.shape[1]))
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        return [(self.name_to(i), score) for i, score in pairs]

    def top_ids(self, k: int = 10) -> tuple[Tensor, Tensor]:
        """The k largest entries: ids int64 [k, 2] (from, to) and scores [k]. A block of rows is in
        memory at a time."""
        n_from, n_to = len(self.left), self.right.shape[1]
        step = max(1, _ROWS // n_to)
        ids, scores = torch.empty(0, 2, dtype=torch.long), torch.empty(0)
        for start in range(0, n_from, step):
            block = (self.left[start : start + step] @ self.right).flatten()
            found = block.topk(min(k, len(block)))
            where = torch.stack((found.indices // n_to + start, found.indices % n_to), 1)
            scores, kept = torch.cat((scores, found.values)).sort(descending=True, stable=True)
            ids = torch.cat((ids, where))[kept]
        return ids[:k], scores[:k]

    def top(self, k: int = 10) -> list[tuple[str, str, float]]:
        """The k largest entries: (from, to, score), largest first."""
        ids, scores = self.top_ids(k)
        return [
            (self.name_from(a), self.name_to(b), score)
            for (a, b), score in zip(ids.tolist(), scores.tolist(), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class QKCircuit(TokenCircuit):
    """Scores before the softmax, from query tokens to key tokens; `distance` as requested."""

    distance: int = 0


@dataclass(frozen=True, eq=False)
class OVCircuit(TokenCircuit):
    """Logits (up to a positive factor) that attending to a token adds, from the attended token to
    the token made more likely.

    copying_score: Σλ / Σ|λ| over the eigenvalues λ of the whole matrix, from −1 to 1: near 1,
        attending to a token raises its own logit on average, though not for each token. None for a
        "cross" head if encoder and decoder do not share one token embedding.
    copying_random: mean and standard deviation of that over heads of the same shape with random
        weights.
    """

    copying_score: float | None = None
    copying_random: tuple[float, float] | None = None


@no_grad()
def qk_circuit(
    model: Any, layer: int, head: int, *, kind: str | None = None, distance: int = 0
) -> QKCircuit:
    """Score every pair of tokens by which attends to which, from the weights alone.

    Args:
        model: any whose blocks are known; with a `TextModel` tokens have names.
        kind: "encoder", "decoder" or "cross" (from target tokens to source tokens); by default the
            decoder's (or only) self-attention.
        distance: how many tokens the key comes before the query; matters with rotary positions.

    Raises:
        ValueError: for a layer, head or kind that does not exist, or a model whose parts are not
            known.
    """
    part = head_of(model, layer, head, kind)
    left, right = part.queries(distance) * part.scale, part.keys().T.contiguous()
    return QKCircuit(left, right, part.position_note, part.name_query, part.name_key, distance)


@no_grad()
def ov_circuit(
    model: Any, layer: int, head: int, *, kind: str | None = None, samples: int = 16, seed: int = 0
) -> OVCircuit:
    """Score what attending to a token makes more likely, for every pair, from the weights alone.

    The output bias and the value bias, which do not depend on the attended token, are left out. A
    model without a head that predicts tokens, or with a nonlinear one (BERT's), is read with its
    embedding table in the head's place, and so is an encoder; `note` says so.

    Args:
        model, kind: as in `qk_circuit`. "cross": from source tokens to target tokens.
        samples, seed: of the random heads that `copying_random` comes from.

    Raises:
        ValueError: as in `qk_circuit`.
    """
    part = head_of(model, layer, head, kind)
    x, value, out = part.key_side(), part.values(), part.out()
    right, note = part.onward(out)
    score, random = None, None
    if part.one_vocabulary:
        # The eigenvalues of a thin product V·U are those of the small U·V, besides zeros.
        score = _copying(right.double() @ value.double())
        between = torch.cat(  # [d_model, d_model], from what a head writes to what it reads
            [
                part.onward(rows)[0].double() @ x.double()
                for rows in torch.eye(out.shape[1]).split(256)
            ]
        )
        generator = torch.Generator().manual_seed(seed)
        draws = []
        for _ in range(samples):
            w_v = torch.randn(value.shape[1], x.shape[1], generator=generator, dtype=torch.double)
            w_o = torch.randn(out.shape, generator=generator, dtype=torch.double)
            draws.append(_copying(w_o @ between @ w_v.T))
        random = spread(draws)
    return OVCircuit(value, right, note, part.name_key, part.name_out, score, random)


def _copying(small: Tensor) -> float:
    values = torch.linalg.eigvals(small.double())
    return float(values.real.sum() / values.abs().sum().clamp(min=1e-300))
